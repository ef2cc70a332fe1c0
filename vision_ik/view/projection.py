"""Points of the camera frame on the picture, for drawing."""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.types import CameraIntrinsics, Floats

_NEAR = 1e-3
"""[m] Nothing nearer than this, or behind the camera, is drawn."""
_SPREAD = 0.5
"""Points this many picture sizes outside are not drawn: distortion polynomials fold back out there."""


def project(points_camera: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the pixels (N, 2) of points (N, 3) [m] in the camera frame; NaN where a point is not drawable.

    The centre of the top-left pixel is (0, 0).
    """
    points = np.asarray(points_camera, dtype=np.float64).reshape(-1, 3)
    pixels = np.full((len(points), 2), np.nan)
    drawable = np.isfinite(points).all(axis=1) & (points[:, 2] > _NEAR)
    drawable &= _inside_undistorted(points, intrinsics)
    if drawable.any():
        pixels[drawable] = _through_lens(points[drawable], intrinsics)
    return pixels


def _inside_undistorted(points: Floats, intrinsics: CameraIntrinsics) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which points a lens without distortion would show on the picture or near it."""
    if intrinsics.model == "fisheye":  # monotonic in the angle: no folding to fear
        return np.ones(len(points), dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        uv = points[:, :2] / points[:, 2:] * intrinsics.K[[0, 1], [0, 1]] + intrinsics.K[:2, 2]
    size = np.array([intrinsics.width, intrinsics.height])
    near = (uv > -_SPREAD * size) & (uv < (1.0 + _SPREAD) * size)
    return np.asarray(near.all(axis=1), dtype=np.bool_)


def _through_lens(points: Floats, intrinsics: CameraIntrinsics) -> Floats:
    zero = np.zeros(3)
    if intrinsics.model == "fisheye":
        pixels, _ = cv2.fisheye.projectPoints(points[:, None], zero, zero, intrinsics.K, intrinsics.distortion)
    else:
        pixels, _ = cv2.projectPoints(points[:, None], zero, zero, intrinsics.K, intrinsics.distortion)
    return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
