"""Viewing rays of a lens: the exact inverse of OpenCV's projection, for any of its models."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.types import CameraIntrinsics, Floats

_STEPS = 30
"""Newton steps at most; strong lenses need about ten at the border."""
_CONVERGED = 1e-9
"""[px] Residual of a ray that counts as found."""


class RayTable:
    """Unit viewing directions in the camera frame for one lens, computed once.

    A pixel that the lens model cannot reach (its polynomial folds back) has a NaN ray and stays dark.
    """

    def __init__(self, lens: CameraIntrinsics) -> None:
        self.lens = lens
        height, width = lens.height, lens.width
        xs = np.arange(width + 1) - 0.5
        ys = np.arange(height + 1) - 0.5
        grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float64)
        self.corners: Floats = rays_through(grid, lens).reshape(height + 1, width + 1, 3)
        """(H+1, W+1, 3) through the corners of the pixels."""
        self.centres: NDArray[np.float32] = _middle(self.corners)
        """(H, W, 3) through the centres, from the corners by interpolation (1e-6 rad)."""
        self._sides = _side_planes(self.corners)

    def never_sees(self, points_camera: Floats) -> bool:
        """Return whether the convex hull of points (N, 3) lies wholly beside the picture.

        For a side with inward normal n, all rays d have n.d >= m; the cone n.p < m |p| of
        points that no ray can reach is convex for m <= 0, so its points bound a hull.
        """
        norms = np.linalg.norm(points_camera, axis=1)
        beside = points_camera @ self._sides[:, :3].T < self._sides[:, 3] * norms[:, None] - 1e-6
        return bool(beside.all(axis=0).any())

    def inside(self, side: int) -> NDArray[np.float32]:
        """Return directions (H, W, side^2, 3) through an even grid inside each pixel, interpolated."""
        c = self.corners
        steps = (np.arange(side) + 0.5) / side
        rows = [(1 - y) * c[:-1] + y * c[1:] for y in steps.tolist()]
        grid = [(1 - x) * row[:, :-1] + x * row[:, 1:] for row in rows for x in steps.tolist()]
        return np.stack(grid, axis=2, dtype=np.float32, casting="same_kind")


def rays_through(points: Floats, lens: CameraIntrinsics) -> Floats:
    """Return unit directions (N, 3) in the camera frame through pixels (N, 2); NaN where there is none."""
    if lens.model == "fisheye":
        return _fisheye_rays(points, lens)
    K_inverse = np.linalg.inv(lens.K)
    xy = np.column_stack([points, np.ones(len(points))]) @ K_inverse.T
    xy = xy[:, :2] / xy[:, 2:]
    if np.any(lens.distortion):
        # OpenCV's own inverse (fixed point, 1e-3 px at the border of strong lenses) is the start only.
        guess = cv2.undistortPoints(points[:, None].astype(np.float64), lens.K, lens.distortion).reshape(-1, 2)
        xy = _undistort(points, np.where(np.abs(guess) < 10.0, guess, xy), lens)
    rays = np.column_stack([xy, np.ones(len(xy))])
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def project(points_camera: Floats, lens: CameraIntrinsics) -> Floats:
    """Return the pixels (N, 2) of points (N, 3) [m] in the camera frame; NaN for points not in front."""
    points = np.ascontiguousarray(points_camera, dtype=np.float64).reshape(-1, 3)
    uv = np.full((len(points), 2), np.nan)
    front = points[:, 2] > 1e-6
    if front.any():
        zero = np.zeros(3)
        if lens.model == "fisheye":
            found, _ = cv2.fisheye.projectPoints(points[front, None], zero, zero, lens.K, lens.distortion)
        else:
            found, _ = cv2.projectPoints(points[front], zero, zero, lens.K, lens.distortion)
        uv[front] = found.reshape(-1, 2)
    return uv


@lru_cache(maxsize=8)
def _cached_rays(key: tuple[bytes, bytes, int, int, str]) -> RayTable:
    K, distortion, width, height, model = key
    return RayTable(
        CameraIntrinsics(
            K=np.frombuffer(K).reshape(3, 3),
            distortion=np.frombuffer(distortion),
            width=width,
            height=height,
            model="fisheye" if model == "fisheye" else "pinhole",
        )
    )


def ray_table(lens: CameraIntrinsics) -> RayTable:
    """Return the rays of ``lens``; lenses of equal numbers share one table."""
    return _cached_rays((lens.K.tobytes(), lens.distortion.tobytes(), lens.width, lens.height, lens.model))


def _undistort(points: Floats, start: Floats, lens: CameraIntrinsics) -> Floats:
    """Solve projection(x, y, 1) = pixel by Newton with a numeric Jacobian, so it inverts OpenCV's own formula."""
    xy = start.copy()
    h = 1e-6
    dx, dy = np.array([h, 0.0]), np.array([0.0, h])
    residual = np.zeros_like(xy)
    for _ in range(_STEPS):
        residual = _forward(xy, lens) - points
        if not np.nanmax(np.abs(residual), initial=0.0) > _CONVERGED:
            break
        jx = (_forward(xy + dx, lens) - _forward(xy - dx, lens)) / (2 * h)
        jy = (_forward(xy + dy, lens) - _forward(xy - dy, lens)) / (2 * h)
        determinant = jx[:, 0] * jy[:, 1] - jx[:, 1] * jy[:, 0]
        # A lens that keeps orientation has a positive determinant; where it folds there is no ray.
        determinant = np.where(determinant > 1e-6, determinant, np.nan)
        xy[:, 0] -= (jy[:, 1] * residual[:, 0] - jy[:, 0] * residual[:, 1]) / determinant
        xy[:, 1] -= (jx[:, 0] * residual[:, 1] - jx[:, 1] * residual[:, 0]) / determinant
    xy[~(np.abs(residual).max(axis=1) < 1e-6)] = np.nan
    return xy


def _forward(xy: Floats, lens: CameraIntrinsics) -> Floats:
    points = np.column_stack([xy, np.ones(len(xy))])
    uv, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), lens.K, lens.distortion)
    return uv.reshape(-1, 2).astype(np.float64, copy=False)


def _fisheye_rays(points: Floats, lens: CameraIntrinsics) -> Floats:
    """Invert r = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) by Newton (Kannala, Brandt, 2006)."""
    fx, skew, cx, _, fy, cy, *_ = lens.K.ravel().tolist()
    y = (points[:, 1] - cy) / fy
    x = (points[:, 0] - cx - skew * y) / fx
    r = np.hypot(x, y)
    k = np.array([1.0, *lens.distortion.tolist()])
    powers = 2 * np.arange(5)
    theta = np.minimum(r, 0.5 * np.pi)
    slope = np.ones_like(theta)
    residual = np.zeros_like(theta)
    for _ in range(_STEPS):
        even = theta[:, None] ** powers
        residual = theta * (even @ k) - r
        slope = even @ (k * (powers + 1))
        theta = theta - residual / np.where(slope > 1e-3, slope, np.nan)
        if not np.nanmax(np.abs(residual), initial=0.0) > 1e-14:
            break
    theta[~(np.abs(residual) < 1e-9) | (theta >= np.pi) | (theta < 0.0)] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(r > 1e-12, np.sin(theta) / r, 1.0)
    return np.column_stack([x * scale, y * scale, np.cos(theta)])


def _side_planes(corners: Floats) -> Floats:
    """Return for each side of the picture the inward normal n and the least n.d over all rays d, at most 0: (4, 4)."""
    rays = corners.reshape(-1, 3)
    rays = rays[np.isfinite(rays).all(axis=1)]
    ends = [corners[0, 0], corners[0, -1], corners[-1, -1], corners[-1, 0]]
    sides: list[Floats] = []
    for a, b in zip(ends, [*ends[1:], ends[0]], strict=True):
        n = np.cross(a, b)
        n = n / np.linalg.norm(n) if np.isfinite(n).all() and np.linalg.norm(n) > 1e-9 else np.zeros(3)
        n = n if n @ np.nanmean(rays, axis=0) >= 0 else -n
        sides.append(np.append(n, min(float((rays @ n).min()), 0.0) if n.any() else -1.0))
    return np.stack(sides)


def _middle(corners: Floats) -> NDArray[np.float32]:
    middle = 0.25 * (corners[:-1, :-1] + corners[1:, :-1] + corners[:-1, 1:] + corners[1:, 1:])
    return (middle / np.linalg.norm(middle, axis=-1, keepdims=True)).astype(np.float32)
