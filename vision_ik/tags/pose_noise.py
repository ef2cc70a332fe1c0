"""How uncertain a pose is: the level of the noise, what it does to the pose, and what the lens adds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vision_ik.tags.projection import project
from vision_ik.transforms import Transform, log_rotation
from vision_ik.types import CameraIntrinsics, Floats

_LARGE = 1e6
"""[m, rad] Standard deviation reported along directions the points do not determine."""
_TRUST = {True: 20.0, False: 3.0}
"""Degrees of freedom that the stated noise counts for when it was measured in the picture, and when not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of the points, relative to what was stated."""

    variance: float
    """Factor on the stated variance."""

    @classmethod
    def of_tag(cls, chi_square: float, *, measured: bool) -> Noise:
        """Return the level that two degrees of freedom leave: the stated one, or more where the misfit is great."""
        trust = _TRUST[measured]
        return cls(variance=max(1.0, (trust + chi_square) / (trust + 2.0)))

    @classmethod
    def of_board(cls, chi_square: float, freedom: int, *, measured: bool) -> Noise:
        """Return the level that the points of a board show: the mean of its inverse gamma posterior."""
        trust = _TRUST[measured]
        return cls(variance=(trust + chi_square) / (trust + freedom - 2.0))


def spread(
    points: Floats,
    image: Floats,
    intrinsics: CameraIntrinsics,
    W: Floats,
    Ts: Floats,
    costs: Floats,
    Hs: Floats,
    variance: float,
) -> list[Floats]:
    """Return the covariance (6, 6) of each solution, in the tangent at it."""
    return [variance * inverse(H) for H in Hs]


def inverse(information: Floats) -> Floats:
    """Invert a symmetric positive matrix, with a large finite variance where it is singular."""
    values, vectors = np.linalg.eigh(information)
    inverted = 1.0 / np.maximum(values, 1.0 / _LARGE**2)
    covariance = (vectors * inverted) @ vectors.T
    return 0.5 * (covariance + covariance.T)


def lens_covariance(points: Floats, T: Transform, intrinsics: CameraIntrinsics, W: Floats, H: Floats) -> Floats | None:
    """Return what the uncertainty of the lens adds to that of the pose (6, 6); None where it is not known.

    A lens that is off by d moves the pixels by A d, and the fit follows by ``inv(H) J' W' W A d``.
    """
    if intrinsics.covariance is None:
        return None
    _, J = project(points, T, intrinsics)
    J = J.reshape(-1, 6)
    if W.shape[1] == 1:
        J, A = J * W, _by_lens(points, T, intrinsics) * W
    else:
        J, A = W @ J, W @ _by_lens(points, T, intrinsics)
    follows = inverse(H) @ J.T @ A
    covariance = follows @ intrinsics.covariance @ follows.T
    return 0.5 * (covariance + covariance.T)


def _by_lens(points: Floats, T: Transform, intrinsics: CameraIntrinsics) -> Floats:
    """Return the derivatives (2N, 4 + n) of the pixels by fx, fy, cx, cy and the n coefficients."""
    objects = np.ascontiguousarray(points).reshape(-1, 1, 3)
    rvec, tvec = log_rotation(T.rotation).reshape(3, 1), np.array(T.translation).reshape(3, 1)
    if intrinsics.model == "fisheye":
        _, by_all = cv2.fisheye.projectPoints(objects, rvec, tvec, intrinsics.K, intrinsics.distortion)
        return np.asarray(by_all[:, :8], dtype=np.float64)
    _, by_all = cv2.projectPoints(objects, rvec, tvec, intrinsics.K, intrinsics.distortion)
    return np.asarray(by_all[:, 6 : 10 + len(intrinsics.distortion)], dtype=np.float64)
