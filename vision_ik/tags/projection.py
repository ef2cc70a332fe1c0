"""Projection of points and its derivative by the pose, for both lens models."""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.transforms import Transform, log_rotation
from vision_ik.types import CameraIntrinsics, Floats


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
    by_w = np.cross(points[:, None, :], by_v)
    return np.asarray(uv, dtype=np.float64).reshape(n, 2), np.concatenate([by_v, by_w], axis=2)


def undistort(points_image: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the normalised rays (N, 2), x/z and y/z, of pixels (N, 2); NaN beyond a fisheye's half sphere.

    OpenCV's fixed-point inversion stops early on strong lenses, so Newton steps on the true
    projection finish it.
    """
    pixels = np.ascontiguousarray(points_image, dtype=np.float64).reshape(-1, 1, 2)
    if intrinsics.model == "fisheye":
        rays = np.asarray(cv2.fisheye.undistortPoints(pixels, intrinsics.K, intrinsics.distortion), dtype=np.float64)
        rays = rays.reshape(-1, 2)
        return np.where(np.abs(rays) < 1e3, rays, np.nan)
    rays = np.asarray(cv2.undistortPoints(pixels, intrinsics.K, intrinsics.distortion), dtype=np.float64).reshape(-1, 2)
    for _ in range(3):
        objects = np.column_stack([rays, np.ones(len(rays))])
        uv, J = project(objects, Transform.identity(), intrinsics)
        rays = rays - np.linalg.solve(J[:, :, :2], (uv - points_image)[..., None])[..., 0]
    return rays


def project_rays(rays: Floats, intrinsics: CameraIntrinsics) -> Floats:
    """Return the pixels (N, 2) of normalised rays (N, 2), the inverse of :func:`undistort`."""
    finite = np.isfinite(rays).all(axis=1, keepdims=True)
    objects = np.column_stack([np.where(finite, rays, 0.0), np.ones(len(rays))])
    return np.where(finite, project(objects, Transform.identity(), intrinsics)[0], np.nan)
