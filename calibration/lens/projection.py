"""From points in the camera frame to pixels and back, with derivatives, for every lens model."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from vision_ik.types import CameraIntrinsics, Floats

_NO_MOTION = np.zeros(3)


def project(points_camera: Floats, intrinsics: CameraIntrinsics) -> tuple[Floats, Floats]:
    """Project (M, 3) points [m] of the camera frame.

    Returns:
        Pixels (M, 2) and their derivatives (M, 2, 3) by the points [px/m].
    """
    points = np.ascontiguousarray(points_camera, dtype=np.float64).reshape(-1, 1, 3)
    if intrinsics.model == "fisheye":
        uv, jacobian = cv2.fisheye.projectPoints(
            points, _NO_MOTION, _NO_MOTION, intrinsics.K, intrinsics.distortion, jacobian=np.empty(0)
        )
        by_point = cast("Floats", jacobian)[:, 11:14]  # after f, c, k (8) and the rotation (3)
    else:
        uv, jacobian = cv2.projectPoints(points, _NO_MOTION, _NO_MOTION, intrinsics.K, intrinsics.distortion)
        by_point = cast("Floats", jacobian)[:, 3:6]  # moving the board by t moves every point by t
    return np.asarray(uv, dtype=np.float64).reshape(-1, 2), np.asarray(by_point, dtype=np.float64).reshape(-1, 2, 3)


def normalise(points_image: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the undistorted (N, 2) coordinates x/z, y/z of pixels (N, 2)."""
    points = np.ascontiguousarray(points_image, dtype=np.float64).reshape(-1, 1, 2)
    if intrinsics.model == "fisheye":
        rays = cv2.fisheye.undistortPoints(points, intrinsics.K, intrinsics.distortion)
    else:
        rays = cv2.undistortPoints(points, intrinsics.K, intrinsics.distortion)
    return np.asarray(rays, dtype=np.float64).reshape(-1, 2)


def lens_derivatives(points_camera: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the (M, 2, p) derivatives of the pixels of (M, 3) points [m] by fx, fy, cx, cy, distortion."""
    points = np.ascontiguousarray(points_camera, dtype=np.float64).reshape(-1, 1, 3)
    count = 4 + len(intrinsics.distortion)
    if intrinsics.model == "fisheye":
        _, jacobian = cv2.fisheye.projectPoints(
            points, _NO_MOTION, _NO_MOTION, intrinsics.K, intrinsics.distortion, jacobian=np.empty(0)
        )
        by_lens = cast("Floats", jacobian)[:, :count]  # f, c, k come first
    else:
        _, jacobian = cv2.projectPoints(points, _NO_MOTION, _NO_MOTION, intrinsics.K, intrinsics.distortion)
        by_lens = cast("Floats", jacobian)[:, 6 : 6 + count]  # after rotation and translation
    return np.asarray(by_lens, dtype=np.float64).reshape(-1, 2, count)
