"""Putting a calibration right with a few views: what is new are only the twelve numbers that moved.

Maximum a posteriori: the old calibration is the prior of camera and board together, with what the
camera may have moved by added to its own uncertainty. As the board still sits where it sat, each view
then tells where the camera is by itself, and three of them check each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from calibration import batch
from calibration.drift.explaining import Moved
from calibration.drift.monitor import DriftStatus
from calibration.hand_eye import checks
from calibration.hand_eye.board_pose import board_poses
from calibration.hand_eye.chain import ChainState, arm_poses, camera_board, derivatives
from calibration.hand_eye.closed_form import discrepancies
from calibration.hand_eye.correcting import corrected
from calibration.hand_eye.evidence import Corners, Linearised
from calibration.hand_eye.terms import TermEstimate
from calibration.hand_eye.values import ArmNoise, HandEyeResult, HandEyeView, ViewReport
from calibration.views.information import Accuracy, Noise
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount, Rig
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import CameraIntrinsics, Floats

_MAY_HAVE_MOVED = ArmNoise(translation=20e-3, rotation=float(np.deg2rad(2.0)))
_ANYWHERE = np.diag(np.repeat([1.0, 1.0], 3)) ** 2
"""(6, 6) covariance of a board whose place is not known [m, rad]."""
_STEPS = 12
_STANDSTILL = 1e-9
"""[m, rad]"""
_OUTLIER_PROBABILITY = 1e-4
"""Chance that a good view is said to contradict."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prior:
    """What is known before the new views."""

    mount: Mount
    T_mount_camera: Transform
    T_holder_board: Transform | None
    """None when its place is not known."""
    joint_covariance: Floats
    """(12, 12) of both, right perturbations."""
    noise: Noise
    """Of the new views."""
    terms: tuple[TermEstimate, ...] = ()
    """What the old calibration found beside: the new views are put right by it."""

    @classmethod
    def of(cls, result: HandEyeResult) -> Prior:
        """Return what a calibration tells."""
        return cls(
            mount=result.mount,
            T_mount_camera=result.T_mount_camera,
            T_holder_board=result.T_holder_board,
            joint_covariance=result.joint_covariance,
            noise=Noise.of(result),
            terms=result.terms,
        )

    @classmethod
    def of_rig(
        cls,
        rig: Rig,
        *,
        T_holder_board: TransformLike | None = None,
        holder_covariance: Floats | None = None,
        noise: Noise | None = None,
    ) -> Prior:
        """Return what a rig tells, and where the board sits if that is known besides.

        Args:
            rig: With the camera's place.
            T_holder_board: T_flange_board (eye to hand) or T_base_board (eye in hand).
            holder_covariance: (6, 6) of it; none takes it as exact.
            noise: Of the new views; typical of a cobot by default.

        Raises:
            CalibrationError: The rig does not know where its camera is.
        """
        if rig.T_mount_camera is None:
            raise CalibrationError(
                "This rig does not know where its camera is.", "Run `vision-ik calibrate hand-eye` first."
            )
        covariance = np.zeros((12, 12))
        if rig.camera_covariance is not None:
            covariance[:6, :6] = rig.camera_covariance
        if T_holder_board is None:
            covariance[6:, 6:] = _ANYWHERE
        elif holder_covariance is not None:
            covariance[6:, 6:] = holder_covariance
        return cls(
            mount=rig.mount,
            T_mount_camera=rig.T_mount_camera,
            T_holder_board=None if T_holder_board is None else as_transform(T_holder_board),
            joint_covariance=covariance,
            noise=noise or Noise(),
        )

    def moved(self, drift: DriftStatus | None, may: ArmNoise) -> Prior:
        """Return what is still known when the camera moved, by what the monitor says or else by about ``may``."""
        added = np.diag(np.repeat([may.translation**2, may.rotation**2], 3))
        shift = np.zeros(6)
        if drift is not None and drift.moved is Moved.CAMERA and drift.shift is not None:
            shift = drift.shift
            added = np.diag(np.repeat([drift.translation**2, drift.rotation**2], 3))
            if drift.shift_covariance is not None:
                added = added + drift.shift_covariance
        # The old uncertainty seen from the frame that moved, and the motion's own.
        turn = np.eye(12)
        turn[:6, :6] = Transform.exp(-shift).adjoint()
        covariance = turn @ self.joint_covariance @ turn.T
        covariance[:6, :6] += added
        covariance += np.diag(np.repeat([1e-7, 1e-7], 6)) ** 2  # what is exact still needs an inverse
        return replace(self, T_mount_camera=self.T_mount_camera @ Transform.exp(shift), joint_covariance=covariance)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Recalibration:
    """A calibration put right."""

    result: HandEyeResult
    """The new one; its views are the new views."""
    sigma_before: Accuracy
    """How sure the camera's pose was after the drift, before the views."""
    sigma_after: Accuracy
    twist: Floats
    """(6,) by which the camera moved: old T_mount_camera to new, in its own frame, (v, w) [m, rad]."""
    sentence: str


def recalibrate(
    before: HandEyeResult | Prior,
    views: Sequence[HandEyeView],
    *,
    intrinsics: CameraIntrinsics,
    drift: DriftStatus | None = None,
    may_have_moved: ArmNoise = _MAY_HAVE_MOVED,
) -> Recalibration:
    """Compute where the camera is now from a few views, three as a rule, and what was known before it moved.

    The board must sit where it sat at the old calibration; views that say otherwise are named.

    Args:
        before: The old calibration; ``Prior.of_rig(rig)`` where only the rig is left of it.
        views: At least one, or three where it is not known where the board sits; as taken: they are put right by
            what the old calibration found beside.
        intrinsics: The lens.
        drift: What the monitor said: narrows down where the camera is, when it was the camera that moved.
        may_have_moved: Without that, how far about the camera may have moved along and about each axis.

    Raises:
        CalibrationError: The views are too few, or contradict each other or the old place of the board.
    """
    known = Prior.of(before) if isinstance(before, HandEyeResult) else before
    least = 1 if known.T_holder_board is not None else checks.MIN_VIEWS
    if len(views) < least:
        raise CalibrationError(
            f"{len(views)} views, but at least {least} are needed.",
            "Take three views with the board turned in between.",
        )
    names = [view.name or str(i) for i, view in enumerate(views)]
    for view, name in zip(views, names, strict=True):
        checks.check_detection(view.detection, name)
    views = corrected(known.terms, views, intrinsics)
    prior = known.moved(drift, may_have_moved)
    flanges = np.stack([view.flange.matrix for view in views])
    corners = Corners([view.detection for view in views], intrinsics)
    X0, Y0 = _start(prior, views, flanges, intrinsics)
    fitted = _fit(prior, corners, flanges, X0, Y0)
    reports = _judge(fitted, corners, names)
    result = replace(_result(prior, fitted, corners, reports), intrinsics=intrinsics)
    if isinstance(before, HandEyeResult):
        result = replace(result, pixel_sigma=before.pixel_sigma, time_offset=before.time_offset)
    twist = (known.T_mount_camera.inv() @ result.T_mount_camera).log()
    after = Accuracy.of(fitted.covariance)
    moved = ArmNoise(translation=float(np.linalg.norm(twist[:3])), rotation=float(np.linalg.norm(twist[3:])))
    return Recalibration(
        result=result,
        sigma_before=Accuracy.of(prior.joint_covariance),
        sigma_after=after,
        twist=twist,
        sentence=(
            f"The camera is {moved.translation * 1e3:.1f} mm and {np.rad2deg(moved.rotation):.2f} deg from where it "
            f"was, known to {after} after {len(views)} views."
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """Where the fit came to rest."""

    X: Floats
    Y: Floats
    covariance: Floats
    """(12, 12)"""
    D: Floats
    """(N, 6, 12)"""
    V: Floats
    """(N, 6, 6) covariance of each view's noise."""
    seen: Linearised
    """At the fit."""
    sights: Floats
    """(N, 4, 4) Ts_camera_board"""


def _start(
    prior: Prior, views: Sequence[HandEyeView], flanges: Floats, intrinsics: CameraIntrinsics
) -> tuple[Floats, Floats]:
    """Return X and Y (4, 4) to start from: the camera where one view sees it from that the others agree with most."""
    arms = arm_poses(flanges, prior.mount)
    sights = [board_poses(view.detection, intrinsics) for view in views]
    if prior.T_holder_board is None:
        X = prior.T_mount_camera.matrix
        return X, batch.inverses(arms[:1])[0] @ X @ sights[0][0]
    Y = prior.T_holder_board.matrix
    starts = [arms[i] @ Y @ np.linalg.inv(M) for i, seen in enumerate(sights) for M in seen]
    if not starts:
        return prior.T_mount_camera.matrix, Y

    def misfit(X: Floats) -> float:
        return sum(float(discrepancies(arms[[i] * len(M)], M, X, Y).min()) for i, M in enumerate(sights) if len(M))

    return min(starts, key=misfit), Y


def _fit(prior: Prior, corners: Corners, flanges: Floats, X: Floats, Y: Floats) -> _Fit:
    """Return the maximum a posteriori, by Gauss-Newton."""
    X0 = prior.T_mount_camera.matrix
    Y0 = Y if prior.T_holder_board is None else prior.T_holder_board.matrix
    known = batch.inverse(prior.joint_covariance)
    from_prior = batch.inverses(np.stack([X0, Y0]))
    fitted = _linearise(prior, corners, flanges, X, Y, known)
    for _ in range(_STEPS):
        off = batch.log(from_prior @ np.stack([fitted.X, fitted.Y])).ravel()
        pull = np.einsum("nap,na->p", np.linalg.solve(fitted.V, fitted.D), fitted.seen.twist)
        step = (fitted.covariance @ (pull - known @ off)).reshape(2, 6)
        X, Y = np.stack([fitted.X, fitted.Y]) @ batch.exp(step)
        fitted = _linearise(prior, corners, flanges, X, Y, known)
        if np.abs(step).max() < _STANDSTILL:
            break
    return fitted


def _linearise(prior: Prior, corners: Corners, flanges: Floats, X: Floats, Y: Floats, known: Floats) -> _Fit:
    """Return the views as they are seen from ``X`` and ``Y``."""
    state = ChainState(X, Y, np.tile(np.eye(4), (len(flanges), 1, 1)))
    arm = np.array([prior.noise.arm.translation] * 3 + [prior.noise.arm.rotation] * 3) ** 2
    sights = camera_board(state, flanges, prior.mount)
    seen = corners.linearise(sights)
    D, A = derivatives(state, flanges, prior.mount)
    V = prior.noise.pixel**2 * seen.covariance + A * arm @ np.swapaxes(A, 1, 2)
    information = known + np.sum(np.swapaxes(D, 1, 2) @ np.linalg.solve(V, D), axis=0)
    return _Fit(X, Y, batch.inverse(information), D, V, seen, sights)


def _judge(fitted: _Fit, corners: Corners, names: list[str]) -> tuple[ViewReport, ...]:
    """Return how each view agrees with the others and with what was known.

    Raises:
        CalibrationError: One of them does not.
    """
    reports: list[ViewReport] = []
    for i, name in enumerate(names):
        D, V, twist = fitted.D[i], fitted.V[i], fitted.seen.twist[i]
        # Left out: the residual divided by what its own view took of it.
        taken = D @ fitted.covariance @ D.T @ batch.inverse(V)
        alone = np.linalg.solve(np.eye(6) - taken, twist)
        spread = V @ np.linalg.inv(np.eye(6) - taken).T
        chi_square = float(alone @ np.linalg.solve(0.5 * (spread + spread.T), alone))
        centre = corners.centres[i] @ fitted.sights[i, :3, :3].T + fitted.sights[i, :3, 3]
        free = max(float(fitted.seen.misfit_free[i]), 0.0)
        reports.append(
            ViewReport(
                name=name,
                used=True,
                reason="",
                chi_square=chi_square,
                pixel_rms=float(np.sqrt(free / (0.5 * (corners.residual_dof[i] + 6.0)))),
                position_error=float(np.linalg.norm(alone[:3] + np.cross(alone[3:], centre))),
                rotation_error=float(np.linalg.norm(alone[3:])),
            )
        )
    worst = max(reports, key=lambda report: report.chi_square)
    if worst.chi_square > float(chi2.isf(_OUTLIER_PROBABILITY, 6)):
        raise CalibrationError(
            f"View {worst.name} contradicts the other views and the board's old place by "
            f"{worst.position_error * 1e3:.1f} mm and {np.rad2deg(worst.rotation_error):.2f} deg.",
            "Take it again; if that does not help, the board was moved too: calibrate in full.",
            view=worst.name,
        )
    return tuple(reports)


def _result(prior: Prior, fitted: _Fit, corners: Corners, reports: tuple[ViewReport, ...]) -> HandEyeResult:
    covariance = 0.5 * (fitted.covariance + fitted.covariance.T)
    count = float(np.sum(0.5 * (corners.residual_dof + 6.0)))
    return HandEyeResult(
        mount=prior.mount,
        T_mount_camera=Transform(fitted.X),
        covariance=covariance[:6, :6],
        T_holder_board=Transform(fitted.Y),
        joint_covariance=covariance,
        pixel_sigma=prior.noise.pixel,
        sight_sigma=prior.noise.pixel,
        arm_sigma=prior.noise.arm,
        noise_estimated=False,
        views=reports,
        pixel_rms=float(np.sqrt(max(float(fitted.seen.misfit_free.sum()), 0.0) / count)),
        chain_rms=float(np.sqrt(fitted.seen.misfit.sum() / count)),
        terms=prior.terms,
    )
