"""Where the tool is, from a tag on it that a calibrated camera sees.

Every view puts the tag at Z = A^-1 X M (eye to hand; Z = X M eye in hand), with the camera X, the flange A
and the tag M as the camera sees it. Three things blur it: the corners (M), the arm (A, eye to hand), and the
camera's place X, which is off by the same in all views and therefore an unknown beside Z, known by its
covariance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from calibration import batch
from calibration.hand_eye.board_pose import all_board_poses
from calibration.hand_eye.checks import check_detection, check_units
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.values import ArmNoise, HandEyeView
from calibration.tool.mixed import LevelPrior, LinearFit, LinearModel, fit_levels
from calibration.tool.touches import USUAL
from calibration.tool.values import ToolResult, TouchReport
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import CameraIntrinsics, Floats

_TAG, _CAMERA = slice(0, 6), slice(6, 12)
_PIXEL = 0.3
"""[px]"""
_PRIOR_LEVEL, _PRIOR_RATIO, _PRIOR_PIXEL = 2.0 * np.log(5.0), 2.0 * np.log(3.0), 2.0 * np.log(4.0)
"""One standard deviation, in log variance, of the arm's levels together, of one over the other, of the corners'."""
_UNKNOWN = 1e-12
"""[m^2], [rad^2] Variance of a camera whose covariance is not given."""
_ROUNDS = 5
_FALSE_ALARM = 0.003
_NEAR = (0.03, 0.3)
"""[m], [rad] Views that agree so well support each other before anything is fitted."""


def calibrate_tool_tag(
    views: Sequence[HandEyeView],
    *,
    intrinsics: CameraIntrinsics,
    T_mount_camera: TransformLike,
    mount: Mount,
    camera_covariance: Floats | None = None,
    T_tool_tag: TransformLike | None = None,
    arm_sigma: ArmNoise | None = None,
) -> ToolResult:
    """Find a tool by a tag (or several, or a board) on it, whose place on the tool is known.

    Args:
        views: The arm's poses and what the camera saw of the tag: its corners in the tag's frame and in the
            picture. One will do; several tell how sure they are.
        intrinsics: Lens of the camera.
        T_mount_camera: Where the camera is: T_base_camera (eye to hand) or T_flange_camera (eye in hand).
        mount: Who carries the camera.
        camera_covariance: (6, 6) of T_mount_camera, as in the rig; None takes it as exact.
        T_tool_tag: Where the tag is on the tool; by default the tag is the tool.
        arm_sigma: Noise of the arm, where it is known; estimated otherwise.

    Raises:
        CalibrationError: A view determines no pose of the tag, or the views do not agree on one place.
    """
    if not views:
        raise CalibrationError("There is no view of the tag.", "Take some with the tag on the tool in the picture.")
    names = tuple(view.name or str(i + 1) for i, view in enumerate(views))
    for view, name in zip(views, names, strict=True):
        check_detection(view.detection, name)
    flanges = np.stack([view.flange.matrix for view in views])
    check_units(flanges)
    A = flanges if mount == "eye_to_hand" else np.tile(np.eye(4), (len(views), 1, 1))
    X = as_transform(T_mount_camera).matrix
    corners = Corners([view.detection for view in views], intrinsics)
    candidates = all_board_poses([view.detection for view in views], intrinsics)
    if np.isnan(candidates[:, 0]).any(axis=(1, 2)).any():
        lost = names[int(np.flatnonzero(np.isnan(candidates[:, 0]).any(axis=(1, 2)))[0])]
        raise CalibrationError(f"The corners of view {lost} are no picture of the tag.", "Drop this view.", view=lost)
    Z, M = _start(batch.inverses(A) @ X @ np.swapaxes(candidates, 0, 1), candidates)
    prior = _UNKNOWN * np.eye(6) if camera_covariance is None else np.asarray(camera_covariance) + _UNKNOWN * np.eye(6)
    problem = _Problem(A, X, M, corners, batch.inverse(prior), arm_sigma, carried=mount == "eye_to_hand")
    keep, Z, fit = problem.settle(Z)
    reports = problem.reports(names, keep, Z, fit)
    T_tag_tool = (Transform.identity() if T_tool_tag is None else as_transform(T_tool_tag)).inv()
    to_tool = T_tag_tool.inv().adjoint()
    variances = fit.levels
    return ToolResult(
        T_flange_tool=Transform(Z) @ T_tag_tool,
        covariance=_symmetric(to_tool @ fit.region(_TAG) @ to_tool.T),
        orientation="the tag's",
        point=np.full(3, np.nan),
        point_covariance=np.full((3, 3), np.nan),
        arm_sigma=ArmNoise(translation=float(np.sqrt(variances[1])), rotation=float(np.sqrt(variances[2]))),
        noise_estimated=arm_sigma is None and mount == "eye_to_hand",
        touches=reports,
        warnings=tuple(_warnings(keep, camera_covariance, mount)),
    )


class _Problem:
    """All views, linearised about a place of the tag on the flange."""

    def __init__(
        self,
        A: Floats,
        X: Floats,
        M: Floats,
        corners: Corners,
        known: Floats,
        given: ArmNoise | None,
        *,
        carried: bool,
    ) -> None:
        self._A, self._X, self._M, self._known, self._given = A, X, M, known, given
        self._carried = carried
        seen = corners.linearise(M)
        Ad = batch.adjoints(batch.inverses(M))
        # Left twists (camera frame) to right ones (tag frame).
        self._sight = Ad @ seen.covariance @ np.swapaxes(Ad, 1, 2)
        self._by_camera = Ad
        self._misfit, self._dof = seen.misfit, corners.residual_dof

    def settle(self, Z: Floats) -> tuple[NDArray[np.bool_], Floats, LinearFit]:
        """Return which views agree, the tag's place they agree on, and the fit there."""
        n = len(self._A)
        # The half that agrees best, and then whatever agrees with that: bad views would hide in noise levels
        # that were estimated from them.
        off = _apart(Z, self._places())
        keep = off <= np.sort(off)[min(n, max(3, n // 2 + 1)) - 1]
        while True:
            Z, fit = self._fit(keep, Z)
            chances = np.where(keep, 0.0, self._chances(keep, Z, fit))
            likeliest = int(np.argmax(chances))
            if chances[likeliest] <= _FALSE_ALARM / n:
                return keep, Z, fit
            keep[likeliest] = True

    def _fit(self, keep: NDArray[np.bool_], Z: Floats) -> tuple[Floats, LinearFit]:
        camera = np.zeros(6)
        levels = _start_levels(self._given)
        fit = None
        for _ in range(_ROUNDS):
            fit = fit_levels(self._model(keep, Z, camera), levels)
            levels = fit.log_levels
            Z = Z @ batch.exp(fit.theta[None, _TAG])[0]
            camera = fit.theta[_CAMERA]
            if np.linalg.norm(fit.theta[_TAG]) < 1e-9:
                break
        if fit is None:
            raise ValueError("At least one round is needed.")
        return Z, fit

    def _places(self) -> Floats:
        """Return the (N, 4, 4) places of the tag on the flange by each view alone."""
        return batch.inverses(self._A) @ self._X @ self._M

    def _parts(self, rows: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        """Return twists' derivatives by tag and camera (n, 6, 12), and noise parts (3, n, 6, 6), tag frame."""
        # Z_i = A^-1 X M: an error of A by exp(eps) on its right moves Z by exp(-Ad(Z^-1) eps) on its right.
        AdZ = batch.adjoints(batch.inverses(self._places()[rows]))
        n = int(rows.sum())
        D = np.concatenate([np.tile(np.eye(6), (n, 1, 1)), -self._by_camera[rows]], axis=2)
        turned = np.swapaxes(AdZ, 1, 2)
        share = 1.0 if self._carried else 0.0
        parts = np.stack(
            [self._sight[rows], share * AdZ[:, :, :3] @ turned[:, :3], share * AdZ[:, :, 3:] @ turned[:, 3:]]
        )
        return D, parts, np.array([self._misfit[rows].sum(), self._dof[rows].sum()])

    def _twists(self, rows: NDArray[np.bool_], Z: Floats) -> Floats:
        return batch.log(batch.inverses(Z[None]) @ self._places()[rows])

    def _model(self, keep: NDArray[np.bool_], Z: Floats, camera: Floats) -> LinearModel:
        D, parts, scattered = self._parts(keep)
        n = len(D)
        together, difference = np.array([0.0, 0.5, 0.5]), np.array([0.0, 1.0, -1.0])
        precision = np.outer(together, together) / _PRIOR_LEVEL**2 + np.outer(difference, difference) / _PRIOR_RATIO**2
        precision[0, 0] = 1.0 / _PRIOR_PIXEL**2
        known = np.zeros((12, 12))
        known[_CAMERA, _CAMERA] = self._known
        spread = np.zeros((3, 6 * n, 6 * n))
        for i in range(n):
            block = slice(6 * i, 6 * i + 6)
            spread[:, block, block] = parts[:, i]
        scatter = np.zeros((3, 2))
        scatter[0] = scattered
        estimate = self._given is None and self._carried
        return LinearModel(
            observed=self._twists(keep, Z).ravel(),
            D=D.reshape(6 * n, 12),
            parts=spread,
            prior=LevelPrior(mean=_start_levels(None), precision=precision),
            free=np.array([True, estimate, estimate]),
            known=known,
            known_pull=np.zeros(12),
            scatter=scatter,
        )

    def _misses(self, Z: Floats, fit: LinearFit, keep: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return by how much (N, 6) views miss what the others say, and the covariances (N, 6, 6)."""
        everything = np.ones(len(keep), dtype=np.bool_)
        D, parts, _ = self._parts(everything)
        V = np.tensordot(fit.levels, parts, 1)
        theta = np.concatenate([np.zeros(6), fit.theta[_CAMERA]])
        error = self._twists(everything, Z) - D @ theta
        inside = D @ fit.C @ np.swapaxes(D, 1, 2)
        away = V + np.where(keep[:, None, None], -inside, inside)
        # Deletion of one observation, as for a linear fit.
        factor = np.where(keep[:, None, None], V @ np.linalg.pinv(away, hermitian=True), np.eye(6))
        missed = (factor @ error[:, :, None])[:, :, 0]
        return missed, np.where(keep[:, None, None], factor @ V, away)

    def _chances(self, keep: NDArray[np.bool_], Z: Floats, fit: LinearFit) -> Floats:
        missed, covariances = self._misses(Z, fit, keep)
        squares = np.einsum("na,nab,nb->n", missed, np.linalg.pinv(covariances, hermitian=True), missed)
        dof = max(min(fit.dof(_TAG), 1e6), 3.0)
        return np.asarray(f_distribution.sf(squares / 6.0, 6, dof), dtype=np.float64)

    def reports(
        self, names: Sequence[str], keep: NDArray[np.bool_], Z: Floats, fit: LinearFit
    ) -> tuple[TouchReport, ...]:
        """Return how each view fits the others."""
        missed, covariances = self._misses(Z, fit, keep)
        told: list[TouchReport] = []
        for i, name in enumerate(names):
            alone = bool(keep[i]) and keep.sum() == 1
            off = float("nan") if alone else float(np.linalg.norm(missed[i, :3]))
            square = float(missed[i] @ np.linalg.pinv(covariances[i], hermitian=True) @ missed[i])
            turn = float(np.rad2deg(np.linalg.norm(missed[i, 3:])))
            reason = (
                "" if keep[i] else f"puts the tag {1e3 * off:.1f} mm and {turn:.1f} degrees from where the others do"
            )
            told.append(
                TouchReport(
                    name=name,
                    used=bool(keep[i]),
                    reason=reason,
                    error=off,
                    chi_square=float("nan") if alone else square,
                )
            )
        return tuple(told)


def _start(places: Floats, candidates: Floats) -> tuple[Floats, Floats]:
    """Return the place (4, 4) most views support, and each view's pose of the tag (N, 4, 4) that fits it best.

    Args:
        places: (2, N, 4, 4) of the tag on the flange by both mirrored poses of each view; NaN where there is none.
        candidates: (N, 2, 4, 4) those poses.
    """
    flat = places.reshape(-1, 4, 4)
    flat = flat[np.isfinite(flat).all(axis=(1, 2))]
    best, supported = flat[0], np.inf
    for place in flat:
        off = np.nan_to_num(_apart(place, places), nan=np.inf).min(axis=0)
        cost = float(np.minimum(off, 1.0).sum())
        if cost < supported:
            best, supported = place, cost
    off = np.nan_to_num(_apart(best, places), nan=np.inf)
    return best, candidates[np.arange(len(candidates)), np.argmin(off, axis=0)]


def _apart(place: Floats, places: Floats) -> Floats:
    """Return how far (2, N) places are from one, in units of what is near."""
    distance = np.linalg.norm(places[..., :3, 3] - place[:3, 3], axis=-1) / _NEAR[0]
    # |R - R'| is 2 sqrt(2) sin(angle / 2).
    turn = np.linalg.norm(places[..., :3, :3] - place[:3, :3], axis=(-2, -1)) / (np.sqrt(2.0) * _NEAR[1])
    return np.hypot(distance, turn)


def _start_levels(given: ArmNoise | None) -> Floats:
    arm = given or USUAL
    return 2.0 * np.log(np.maximum([_PIXEL, arm.translation, arm.rotation], 1e-6))


def _warnings(keep: NDArray[np.bool_], camera_covariance: Floats | None, mount: Mount) -> list[str]:
    said: list[str] = []
    if camera_covariance is None:
        said.append("The camera's place was taken as exact: the tool is as sure as stated only beside it.")
    if keep.sum() < 3 and mount == "eye_to_hand":
        said.append("So few views cannot tell whether one of them is bad: take five, from different postures.")
    return said


def _symmetric(C: Floats) -> Floats:
    return 0.5 * (C + C.T)
