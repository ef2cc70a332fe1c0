"""The arm as it is, from the views of a hand-eye calibration with joints.

The errors of the arm's geometry are unknowns beside mount, holder and noise levels, with priors, in
the same likelihood (``hand_eye.joint_fit``). Whether the views want them is asked of the evidence,
the likelihood with the errors integrated out (MacKay, 1992): an arm that is as drawn is left so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.arm import checks
from calibration.arm.link_errors import ArmPrior, LinkErrors
from calibration.arm.link_term import LinkTerm
from calibration.arm.values import ArmCalibration, LinkError
from calibration.hand_eye.corners import better_corners, without_misread
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.joint_fit import JointFit, fit
from calibration.hand_eye.noise_levels import Variances, adjusted_covariance
from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.terms import TermStack
from calibration.hand_eye.values import ArmNoise, HandEyeResult, HandEyeView
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, Floats

_TURN = float(np.deg2rad(1.0))
PRIORS = (
    ArmPrior(),
    ArmPrior(zero=_TURN),
    ArmPrior(position=2e-3, angle=0.4 * _TURN, zero=0.4 * _TURN),
    ArmPrior(position=2e-3, angle=0.4 * _TURN, zero=3.0 * _TURN),
)
"""How arms may be built: as machines are; with joints whose zeros were set by hand; from kits; both."""
_GAIN = 5.0
"""Evidence from which another arm than the nominal one is adopted: odds of 150 to 1."""


def calibrate_arm(
    views: Sequence[HandEyeView],
    *,
    robot: RobotModel,
    intrinsics: CameraIntrinsics,
    mount: Mount = "eye_to_hand",
    prior: ArmPrior | None = None,
    pixel_sigma: float | None = None,
    arm_sigma: ArmNoise | None = None,
    board: Board | None = None,
    seed: int = 0,
) -> ArmCalibration:
    """Compute joint zeros and link geometry of the arm together with where the camera is.

    The result's ``robot`` is a model like any other: `save_urdf` writes it, `load_solver` solves for it, with the
    learned seeds of the nominal arm. Where the views do not ask for another arm, it is the nominal one.

    Args:
        views: With joints ``q``; 30 and more that use the joints' ranges. Their flange poses are not used: the
            controller may have computed them from a chain of its own.
        robot: The arm as drawn; the chain that the joints belong to.
        intrinsics: Lens the pictures were taken with, taken as exact.
        mount: Who carries the camera.
        prior: How well the arm is built; None takes the likeliest of some, from machines to kits.
        pixel_sigma: Noise of a corner per axis [px]; None estimates it.
        arm_sigma: Noise of the flange from view to view: the arm's repeatability; None estimates it.
        board: Layout, when known: the views then choose between chess and marker corners.
        seed: Of the random view triples the start is chosen from.

    Raises:
        CalibrationError: Views have no joints, or those of another arm; or as in ``calibrate_hand_eye``.
    """
    joints = checks.joints_of(views, robot)
    warnings = checks.check_reported(views, robot.forward(joints))
    believed = _believed(views, robot, joints, intrinsics, board)

    def hand_eye(*terms: LinkTerm) -> HandEyeResult:
        return calibrate_hand_eye(
            believed,
            intrinsics=intrinsics,
            mount=mount,
            pixel_sigma=pixel_sigma,
            arm_sigma=arm_sigma,
            board=board,
            terms=terms,
            seed=seed,
        )

    errors = LinkErrors.of(robot)
    nominal = hand_eye()
    question = _Question(believed, joints, intrinsics, errors, (pixel_sigma is None, arm_sigma is None))
    if errors.count == 0:
        return _kept_as_drawn(robot, errors, nominal, question, prior or PRIORS[0], 0.0, (), warnings)
    # Which prior, on the views that agree; then everything once more with it, for a single bad view hides in the
    # errors of an arm that was not calibrated.
    used = _used(nominal)
    priors = PRIORS if prior is None else (prior,)
    likeliest = max(priors, key=lambda p: question.evidence(question.answer(nominal, used, p)))
    term = LinkTerm(errors=errors, q=joints, prior=likeliest)
    calibrated = hand_eye(term)
    used = _used(calibrated)
    without = question.answer(nominal, used, None)
    reached = question.answer(calibrated, used, likeliest)
    gain = question.evidence(reached) - question.evidence(without)
    covariance = question.covariance(reached)
    link_errors = _told(errors, reached.theta, covariance, likeliest)
    warnings += checks.doubts(joints[used], robot, link_errors)
    if gain < _GAIN:
        return _kept_as_drawn(robot, errors, nominal, question, likeliest, gain, link_errors, warnings)
    name = robot.name if robot.name.endswith("_calibrated") else f"{robot.name}_calibrated"
    return ArmCalibration(
        robot=replace(robot, name=name, fixed=errors.fixed(reached.theta)),
        nominal=robot,
        adopted=True,
        gain=gain,
        prior=likeliest,
        link_errors=link_errors,
        hand_eye=calibrated,
        hand_eye_nominal=nominal,
        covariance=covariance,
        errors=errors,
        warnings=(*warnings, *calibrated.warnings),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Fits of the same views with and without errors of the arm."""

    views: list[HandEyeView]
    joints: Floats
    intrinsics: CameraIntrinsics
    errors: LinkErrors
    estimated: tuple[bool, bool]
    """Whether the noise of pixels, and of the arm, is estimated."""

    def answer(self, start: HandEyeResult, used: NDArray[np.bool_], prior: ArmPrior | None) -> JointFit:
        """Fit the ``used`` (N,) views from where ``start`` ended, with the arm's errors unless ``prior`` is None."""
        views = [view for view, use in zip(self.views, used, strict=True) if use]
        terms = [] if prior is None else [LinkTerm(errors=self.errors, q=self.joints[used], prior=prior)]
        noise = start.arm_sigma
        return fit(
            Corners([view.detection for view in views], self.intrinsics),
            np.stack([view.flange.matrix for view in views]),
            start.mount,
            X=start.T_mount_camera.matrix,
            Y=start.T_holder_board.matrix,
            start=Variances(start.pixel_sigma**2, noise.translation**2, noise.rotation**2),
            free=self._free,
            terms=TermStack(terms),
            theta=start.terms[0].theta if terms and start.terms else None,
        )

    def evidence(self, reached: JointFit) -> float:
        """Return the log likelihood with the errors integrated out, by Laplace's method."""
        information = reached.solution.information
        volumes = np.linalg.slogdet(information[:12, :12])[1] - np.linalg.slogdet(information)[1]
        return reached.log_likelihood + 0.5 * float(volumes + np.log(reached.model.prior).sum())

    def covariance(self, reached: JointFit) -> Floats:
        """Return the (12 + k, 12 + k) covariance of camera, board and errors, with noise levels uncertain, too."""
        covariance = adjusted_covariance(reached.model, reached.variances, self._free)
        return 0.5 * (covariance + covariance.T)

    @property
    def _free(self) -> tuple[bool, bool, bool]:
        pixel, arm = self.estimated
        return pixel, arm, arm


def _believed(
    views: Sequence[HandEyeView], robot: RobotModel, joints: Floats, intrinsics: CameraIntrinsics, board: Board | None
) -> list[HandEyeView]:
    """Return the views with the nominal arm's own poses and the corners that are good."""
    detections = [without_misread(view.detection, intrinsics) for view in views]
    if board is not None:
        detections = better_corners(detections, board, intrinsics)
    return [
        replace(view, T_base_flange=Transform(T), detection=detection, name=view.name or str(i))
        for i, (view, T, detection) in enumerate(zip(views, robot.forward(joints), detections, strict=True))
    ]


def _used(result: HandEyeResult) -> NDArray[np.bool_]:
    return np.array([view.used for view in result.views], dtype=np.bool_)


def _told(errors: LinkErrors, theta: Floats, covariance: Floats, prior: ArmPrior) -> tuple[LinkError, ...]:
    sigma = np.sqrt(np.diag(covariance)[12:])
    columns = zip(errors.names, theta.tolist(), sigma.tolist(), errors.sigma(prior).tolist(), strict=True)
    return tuple(
        LinkError(
            name=name[: name.index(" [")],
            unit=name[name.index("[") + 1 : -1],
            estimate=estimate,
            sigma=sigma,
            prior_sigma=before,
        )
        for name, estimate, sigma, before in columns
    )


def _kept_as_drawn(
    robot: RobotModel,
    errors: LinkErrors,
    nominal: HandEyeResult,
    question: _Question,
    prior: ArmPrior,
    gain: float,
    link_errors: tuple[LinkError, ...],
    warnings: list[str],
) -> ArmCalibration:
    return ArmCalibration(
        robot=robot,
        nominal=robot,
        adopted=False,
        gain=gain,
        prior=prior,
        link_errors=link_errors,
        hand_eye=nominal,
        hand_eye_nominal=nominal,
        covariance=question.covariance(question.answer(nominal, _used(nominal), None)),
        errors=errors,
        warnings=(*warnings, *nominal.warnings),
    )
