"""Projection of points and its derivative by the pose, for both lens models."""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.transforms import Transform, log_rotation
from vision_ik.types import CameraIntrinsics, Floats

_NEWTON_STEPS = 5
_EXACT = 1e-9
"""[px] Inversion error that ends the Newton steps."""


def project(points: Floats, T_camera_object: Transform, intrinsics: CameraIntrinsics) -> tuple[Floats, Floats]:
    """Project points and differentiate by the pose.

    Args:
        points: (N, 3) [m] in the object's frame.
        T_camera_object: Pose of the object.
        intrinsics: Lens.

    Returns:
        Pixels (N, 2) and their Jacobian (N, 2, 6) by a right perturbation (v, w) of the pose:
        with p_camera = R p + t, the chain rule gives d uv / d xi = (d uv / d t) R [I, -skew(p)].
    """
    R = T_camera_object.rotation
    n = len(points)
    objects = np.ascontiguousarray(points, dtype=np.float64).reshape(n, 1, 3)
    rvec, tvec = log_rotation(R).reshape(3, 1), np.array(T_camera_object.translation).reshape(3, 1)
    if intrinsics.model == "fisheye":
        uv, by_all = cv2.fisheye.projectPoints(objects, rvec, tvec, intrinsics.K, intrinsics.distortion)
        by_t = by_all[:, 11:14]  # columns: f 2, c 2, k 4, rotation 3, translation 3, skew 1
    else:
        uv, by_all = cv2.projectPoints(objects, rvec, tvec, intrinsics.K, intrinsics.distortion)
        by_t = by_all[:, 3:6]
    by_v = np.asarray(by_t, dtype=np.float64).reshape(n, 2, 3) @ R
    # -a skew(p) = (p x a) for each row a, as skew(p)' = -skew(p).
    jacobian = np.empty((n, 2, 6))
    jacobian[:, :, :3] = by_v
    x, y, z = points.T[:, :, None]
    jacobian[:, :, 3] = y * by_v[:, :, 2] - z * by_v[:, :, 1]
    jacobian[:, :, 4] = z * by_v[:, :, 0] - x * by_v[:, :, 2]
    jacobian[:, :, 5] = x * by_v[:, :, 1] - y * by_v[:, :, 0]
    return np.asarray(uv, dtype=np.float64).reshape(n, 2), jacobian


def undistort(points_image: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the normalised rays (N, 2), x/z and y/z, of pixels (N, 2); not finite where the lens maps none there.

    OpenCV's fixed-point inversion stops early on strong lenses, so Newton steps on the true
    projection finish it.
    """
    pixels = np.ascontiguousarray(points_image, dtype=np.float64).reshape(-1, 1, 2)
    if intrinsics.model == "fisheye":
        rays = np.asarray(cv2.fisheye.undistortPoints(pixels, intrinsics.K, intrinsics.distortion), dtype=np.float64)
        rays = rays.reshape(-1, 2)
        return np.where(np.abs(rays) < 1e3, rays, np.nan)
    rays = np.asarray(cv2.undistortPoints(pixels, intrinsics.K, intrinsics.distortion), dtype=np.float64).reshape(-1, 2)
    for _ in range(_NEWTON_STEPS if np.any(intrinsics.distortion) else 0):
        objects = np.column_stack([rays, np.ones(len(rays))])
        uv, J = project(objects, Transform.identity(), intrinsics)
        miss = uv - pixels.reshape(-1, 2)
        if np.abs(miss).max(initial=0.0) < _EXACT:
            break
        a, b, c, d = J[:, 0, 0], J[:, 0, 1], J[:, 1, 0], J[:, 1, 1]
        with np.errstate(all="ignore"):  # beyond the reach of the lens model the inverse does not exist
            step = np.stack([d * miss[:, 0] - b * miss[:, 1], a * miss[:, 1] - c * miss[:, 0]], axis=1)
            rays = rays - step / (a * d - b * c)[:, None]
    return rays


def project_rays(rays: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the pixels (N, 2) of normalised rays (N, 2), the inverse of :func:`undistort`."""
    finite = np.isfinite(rays).all(axis=1, keepdims=True)
    objects = np.column_stack([np.where(finite, rays, 0.0), np.ones(len(rays))])
    return np.where(finite, project(objects, Transform.identity(), intrinsics)[0], np.nan)
