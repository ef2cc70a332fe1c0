"""What one estimate says of any pose near it: the measurement that the tracker takes in."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import gammaincinv

from vision_ik.tags.projection import pack_lens
from vision_ik.tags.tracking.motion_bank import MotionBank, PoseQuadratic, to_base_axes, to_tag_axes
from vision_ik.tags.tracking.pose_filter import exp_so3, linearise, turn_between
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate

_CREDIBLE = 0.99
"""Share of good estimates whose corners fit better."""
_WIDEST = 1.0
"""[rad] Rotation is believed to be known so well at least, whatever the corners say."""


class Sighting:
    """One estimate in the base frame.

    Where the estimate tells its points, they are compared with each hypothesis itself: the
    estimate's own poses and covariances hold near these poses only, which is not enough for far
    tags seen nearly from the front. Without points its poses are taken as measured.

    Args:
        estimate: Of the tag.
        T_base_camera: At its time.
        noise_ratio: Variance of the pixels over the one that the estimate states.

    Where the corners fit worse than their noise allows, because the lens or the print is not as told, they are
    believed as much less: such a target is known less surely, it is not one to be refused.
    """

    def __init__(self, estimate: PoseEstimate, T_base_camera: Transform, noise_ratio: float = 1.0) -> None:
        self.timestamp = estimate.timestamp
        self.T_camera_tag = estimate.T_camera_tag
        self.T_base_camera = T_base_camera
        self._T_camera_base = T_base_camera.inv()
        self.poses = [T_base_camera @ estimate.T_camera_tag]
        """T_base_tag of the planar solutions, the one with the smaller reprojection error first."""
        if estimate.alternative is not None:
            self.poses.append(T_base_camera @ estimate.alternative)
        seen = estimate.observation
        self.freedom = 2 if estimate.tag_id >= 0 else 0
        """Numbers measured beyond a pose's six, of which the misfit shows the noise; 0 where that is not known."""
        self.sigma = 0.0
        """[px] Stated standard deviation of the corners; 0 where it is not told."""
        self.edge = 0.0
        """[px] Of a square of points that reach as far from their middle."""
        self.measured = False
        """Whether the stated noise was measured in the picture, not assumed."""
        self._points: tuple[Floats, Floats, Floats, Floats] | None = None
        self._errors = (estimate.reprojection_error, estimate.alternative_error)
        self._covariance = estimate.covariance * noise_ratio  # widened for the misfit already
        noise_ratio *= _excess(estimate, noise_ratio)
        self._noise_ratio = noise_ratio
        if seen is None:
            return
        n = len(seen.points)
        weight = _inverse(seen.covariance) / noise_ratio
        self._points = seen.points, seen.pixels, weight, pack_lens(seen.intrinsics)
        self.freedom = 2 * n - 6
        diagonal = np.diag(seen.covariance)
        self.sigma = float(np.sqrt(diagonal.mean()))
        self.edge = float(np.sqrt(2.0) * np.linalg.norm(seen.pixels - seen.pixels.mean(axis=0), axis=1).mean())
        self.measured = bool(np.any(seen.covariance - np.diag(np.full(2 * n, diagonal[0]))))

    @property
    def dimension(self) -> int:
        """How many numbers the hypotheses are compared with."""
        return 6 if self._points is None else self.freedom + 6

    def near(self, bank: MotionBank) -> tuple[PoseQuadratic, int] | None:
        """Return the measurement as the hypothesis of ``bank``, predicted to this time, sees it.

        Returns:
            The measurement, and the number of the planar solution that it is nearest to; None when the hypothesis
            puts the tag behind the camera.
        """
        state = bank.state
        if self._points is None:
            fits = [self._as_measured(k) for k in range(len(self.poses))]
            apart = [_distance(fit, state.x[:3], state.R, state.P) for fit in fits]
            k = int(np.argmin(apart))
            return fits[k], k
        fit = bank.likeliest(*self._points, self._T_camera_base)
        if fit is None:
            return None
        return fit, int(np.argmin([angle_between(fit.rotation, pose.rotation) for pose in self.poses]))

    def at(self, T_base_tag: Transform) -> PoseQuadratic | None:
        """Return the measurement about one pose; None without points, or behind the camera."""
        if self._points is None:
            return None
        information, slope = np.empty((6, 6)), np.empty(6)
        p, R = np.array(T_base_tag.translation), np.array(T_base_tag.rotation)
        misfit = linearise(
            p,
            R,
            np.ascontiguousarray(self._T_camera_base.rotation),
            np.ascontiguousarray(self._T_camera_base.translation),
            *self._points,
            information,
            slope,
        )
        return PoseQuadratic(p, R, information, slope, misfit) if np.isfinite(misfit) else None

    def misfit(self, k: int, pixel_sigma: float) -> float:
        """Return the squared residual over the noise of planar solution ``k``.

        Args:
            k: 0 or 1.
            pixel_sigma: Noise [px] that estimates without points leave to be assumed.
        """
        fit = self.at(self.poses[k])
        if fit is not None:
            return unconstrained_misfit(fit)
        return 4.0 * (self._errors[k] / pixel_sigma) ** 2 / self._noise_ratio

    def covariance(self, k: int) -> Floats:
        """Return the (6, 6) covariance of planar solution ``k``, right perturbation."""
        fit = self.at(self.poses[k])
        return self._covariance if fit is None else covariance_of(fit)

    def _as_measured(self, k: int) -> PoseQuadratic:
        pose = self.poses[k]
        information = _inverse(to_base_axes(pose.rotation, self._covariance))
        return PoseQuadratic(np.array(pose.translation), np.array(pose.rotation), information, np.zeros(6), 0.0)


def covariance_of(fit: PoseQuadratic) -> Floats:
    """Return the (6, 6) covariance, right perturbation (tag's axes), of a pose known by this measurement alone."""
    information = fit.information.copy()
    information[3:, 3:] += np.eye(3) / _WIDEST**2
    return to_tag_axes(fit.rotation, _inverse(information))


def widened(fit: PoseQuadratic, position: float, rotation: float) -> PoseQuadratic:
    """Return a measurement with more noise: ``position`` [m] and ``rotation`` [rad] standard deviation on each axis."""
    noise = np.repeat((position**2, rotation**2), 3)
    weaker = np.linalg.solve(np.eye(6) + fit.information * noise, np.column_stack([fit.information, fit.slope]))
    information = np.asarray(0.5 * (weaker[:, :6] + weaker[:, :6].T), dtype=np.float64)
    # What is left of the misfit at the best pose stays; the way there costs less.
    best = fit.misfit - float(fit.slope @ np.linalg.solve(fit.information, fit.slope))
    slope = np.array(weaker[:, 6], dtype=np.float64)
    misfit = best + float(slope @ np.linalg.solve(information, slope))
    return PoseQuadratic(fit.position, fit.rotation, information, slope, misfit)


def unconstrained_misfit(fit: PoseQuadratic) -> float:
    """Return the squared residual that is left at the pose which fits the measurement best."""
    information = fit.information.copy()
    information[3:, 3:] += np.eye(3) / _WIDEST**2
    return max(0.0, fit.misfit - float(fit.slope @ np.linalg.solve(information, fit.slope)))


def midway(a: Transform, b: Transform) -> tuple[Transform, Floats]:
    """Return the pose halfway between two, and the rotation vector (3,) [rad] in the body from it to ``b``."""
    w, turn = np.empty(3), np.empty((3, 3))
    turn_between(np.array(a.rotation), np.array(b.rotation), w)
    exp_so3(0.5 * w, turn)
    return Transform.from_parts(a.rotation @ turn, 0.5 * (a.translation + b.translation)), 0.5 * w


def angle_between(A: Floats, B: Floats) -> float:
    """Return the angle [rad] between two rotations (3, 3)."""
    w = np.empty(3)
    turn_between(np.ascontiguousarray(A), np.ascontiguousarray(B), w)
    return float(np.sqrt(w @ w))


@lru_cache(maxsize=64)
def chi2_limit(share: float, freedom: int) -> float:
    """Return the chi-square with ``freedom`` degrees of freedom that a ``share`` of draws stays below."""
    return 2.0 * float(gammaincinv(0.5 * freedom, share))


def _excess(estimate: PoseEstimate, noise_ratio: float) -> float:
    """Return by how much the variance of the points must be larger for the estimate's misfit to be credible."""
    if estimate.freedom < 1 or not np.isfinite(estimate.chi_square):
        return 1.0
    return max(1.0, estimate.chi_square / noise_ratio / chi2_limit(_CREDIBLE, estimate.freedom))


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _distance(fit: PoseQuadratic, p: Floats, R: Floats, P: Floats) -> float:
    e = np.empty(6)
    turn_between(R, fit.rotation, e[3:])
    e[:3] = fit.position - p
    return float(e @ np.linalg.solve(P[:6, :6] + _inverse(fit.information), e))
