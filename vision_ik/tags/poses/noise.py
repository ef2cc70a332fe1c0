"""How uncertain a pose is: the level of the noise, what it does to the pose, and what the lens adds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vision_ik.tags.poses.algebra import Bools, invert_positive
from vision_ik.tags.poses.spread import widen
from vision_ik.tags.projection import project
from vision_ik.transforms import Transform, log_rotation
from vision_ik.types import CameraIntrinsics, Floats

_LARGE = 1e6
"""[m, rad] Standard deviation reported along directions the points do not determine."""
_TAG_TRUST = {True: 20.0, False: 3.0}
"""Degrees of freedom that the stated noise counts for when it was measured in the picture, and when not."""
_BOARD_TRUST = {True: 8.0, False: 3.0}
"""The same for boards, whose points tell themselves how noisy they are."""
_BOARD_SHARE = {True: 0.5, False: 0.0}
"""What the stated noise counts for beyond that, for each degree of freedom: neighbouring points err together, of which
their misfit shows less than there is."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PointFit:
    """The distinct poses that explain points, best first."""

    points: Floats
    """(N, 3) [m]"""
    image: Floats
    """(N, 2) [px]"""
    W: Floats
    """Their weight, see :func:`vision_ik.tags.poses.kernels.linearise`; zero for those that were not taken."""
    Ts: Floats
    """(K, 4, 4) T_camera_object."""
    costs: Floats
    """(K,) Chi-square."""
    Hs: Floats
    """(K, 6, 6) Information for the stated noise."""

    @property
    def taken(self) -> Bools:
        """(N,) Points that were taken."""
        return np.asarray(self.W[::2].any(axis=1), dtype=np.bool_)

    @property
    def freedom(self) -> int:
        """Numbers measured beyond the six of a pose."""
        return 2 * int(self.taken.sum()) - 6


def tag_variance(fit: PointFit, *, measured: bool) -> float:
    """Return the factor on the stated variance of a tag's corners.

    Two degrees of freedom tell little: the factor is 1 unless the misfit is great.
    """
    trust = _TAG_TRUST[measured]
    return max(1.0, (trust + float(fit.costs[0])) / (trust + fit.freedom))


def board_variance(fit: PointFit, *, measured: bool) -> float:
    """Return the factor on the stated variance of a board's points: the mean of its inverse gamma posterior."""
    trust = _BOARD_TRUST[measured] + _BOARD_SHARE[measured] * fit.freedom
    return (trust + float(fit.costs[0])) / (trust + fit.freedom - 2.0)


def covariances(fit: PointFit, lens: Floats, variance: float) -> list[Floats]:
    """Return the covariance (6, 6) of each solution in the tangent at it.

    Args:
        fit: Solutions.
        lens: Packed lens.
        variance: Factor on the stated variance of the points.
    """
    flat = bool(np.all(fit.points[:, 2] == fit.points[0, 2]))
    found: list[Floats] = []
    for T, cost, H in zip(fit.Ts, fit.costs.tolist(), fit.Hs, strict=True):
        covariance = variance * inverse(H)
        if flat:
            widen(fit.points, fit.image, lens, fit.W, T, cost, variance, covariance)
        found.append(covariance)
    return found


def inverse(information: Floats) -> Floats:
    """Invert a symmetric matrix (6, 6) that is positive, with a large finite variance where it is singular."""
    covariance = np.empty((6, 6))
    if invert_positive(information.copy(), covariance):
        return covariance
    values, vectors = np.linalg.eigh(information)
    inverted = 1.0 / np.maximum(values, 1.0 / _LARGE**2)
    covariance = (vectors * inverted) @ vectors.T
    return 0.5 * (covariance + covariance.T)


def lens_covariance(fit: PointFit, intrinsics: CameraIntrinsics) -> Floats | None:
    """Return what the uncertainty of the lens adds to that of the best pose (6, 6); None where it is not known.

    A lens that is off by d moves the pixels by A d, and the fit follows by ``inv(H) J' W' W A d``.
    """
    if intrinsics.covariance is None:
        return None
    T = Transform(fit.Ts[0])
    J, A = project(fit.points, T, intrinsics)[1].reshape(-1, 6), _by_lens(fit.points, T, intrinsics)
    width = fit.W.shape[1]
    for first in range(0, len(J), width):
        rows = slice(first, first + width)
        W = fit.W[rows, : len(J[rows])]
        J[rows], A[rows] = W @ J[rows], W @ A[rows]
    follows = inverse(fit.Hs[0]) @ J.T @ A
    covariance = follows @ intrinsics.covariance @ follows.T
    return 0.5 * (covariance + covariance.T)


def _by_lens(points: Floats, T: Transform, intrinsics: CameraIntrinsics) -> Floats:
    """Return the derivatives (2N, 4 + n) of the pixels by fx, fy, cx, cy and the n coefficients."""
    objects = np.ascontiguousarray(points).reshape(-1, 1, 3)
    rvec, tvec = log_rotation(T.rotation).reshape(3, 1), np.array(T.translation).reshape(3, 1)
    if intrinsics.model == "fisheye":
        _, by_all = cv2.fisheye.projectPoints(objects, rvec, tvec, intrinsics.K, intrinsics.distortion)
        return np.array(by_all[:, :8], dtype=np.float64)
    _, by_all = cv2.projectPoints(objects, rvec, tvec, intrinsics.K, intrinsics.distortion)
    return np.array(by_all[:, 6 : 10 + len(intrinsics.distortion)], dtype=np.float64)
