"""Pose of a marker or board from its corners: IPPE, then maximum likelihood with covariance.

A plane seen in weak perspective has two poses that look alike (Collins and Bartoli,
"Infinitesimal plane-based pose estimation", IJCV 2014). Both are refined to their own
minimum of the reprojection error and kept; which is true is decided over time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from scipy.special import gammaincinv

from vision_ik.errors import InvalidPoseError
from vision_ik.tags.projection import project, undistort
from vision_ik.transforms import Transform, exp_rotation
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, PoseEstimate, TagDetection, tag_corners
from vision_ik.types.vision import PointObservation

DEFAULT_PIXEL_SIGMA = 0.3
"""[px] Standard deviation of a detected corner coordinate: blur, noise and paper together."""
_SAME_POSE = 1e-3
"""[rad] Two refined solutions closer than this are one."""
_MAX_STEPS = 30
_CONVERGED = 1e-10
"""Relative decrease of the cost that ends the refinement: far below a thousandth of a sigma."""
_LARGE = 1e6
"""[m, rad] Standard deviation reported along directions the corners do not determine."""


def estimate_pose(
    detection: TagDetection,
    size_m: float,
    intrinsics: CameraIntrinsics,
    *,
    pixel_sigma: float = DEFAULT_PIXEL_SIGMA,
) -> PoseEstimate:
    """Return the pose of a tag from its four corners.

    Args:
        detection: Corners [px].
        size_m: Edge of the black border [m].
        intrinsics: Lens of the frame the detection came from.
        pixel_sigma: Standard deviation of each corner coordinate [px]. Where the corners fit
            worse than this allows (99.9 %), the covariance grows with the misfit.

    Returns:
        Both planar solutions, each at its own minimum, the better one first.

    Raises:
        ValueError: Size or sigma is not positive and finite.
        InvalidPoseError: The corners are no picture of a square in front of the camera.
    """
    if not 0 < size_m < np.inf or not 0 < pixel_sigma < np.inf:
        raise ValueError(f"Tag size {size_m} m and pixel sigma {pixel_sigma} px must be positive and finite.")
    points = tag_corners(size_m)
    flat = _is_line(detection.corners)
    solutions = [] if flat else planar_poses(points, detection.corners, intrinsics)
    if not solutions:
        raise InvalidPoseError(
            f"The corners of tag {detection.tag_id} are no picture of a square in front of this camera.",
            "Drop the detection, or check that the intrinsics belong to this camera.",
            tag_id=detection.tag_id,
        )
    noise = detection.covariance if detection.covariance is not None else pixel_sigma**2 * np.eye(8)
    estimate = _estimate(detection.tag_id, detection.timestamp, points, solutions, intrinsics, pixel_sigma)
    seen = PointObservation(points=points, pixels=detection.corners, covariance=noise, intrinsics=intrinsics)
    return replace(estimate, observation=seen)


def estimate_board_pose(
    detection: BoardDetection,
    intrinsics: CameraIntrinsics,
    *,
    pixel_sigma: float = DEFAULT_PIXEL_SIGMA,
) -> PoseEstimate | None:
    """Return the pose of a board (``tag_id`` -1, ``T_camera_tag`` is T_camera_board), None when undetermined.

    Points that fit worse than 4 robust sigmas are left out and the rest is fitted again.

    Raises:
        ValueError: The sigma is not positive and finite.
    """
    if not 0 < pixel_sigma < np.inf:
        raise ValueError(f"Pixel sigma {pixel_sigma} px must be positive and finite.")
    points, image = detection.points_board, detection.points_image
    keep = np.ones(len(points), dtype=np.bool_)
    for _ in range(3):
        if keep.sum() < 4 or _is_line(points[keep]):
            return None
        solutions = planar_poses(points[keep], image[keep], intrinsics)
        if not solutions:
            return None
        distance = np.linalg.norm(project(points, solutions[0][0], intrinsics)[0] - image, axis=1)
        # Median of a Rayleigh distance is 1.18 sigma; never stricter than the stated noise.
        sigma = max(float(np.median(distance[keep])) / 1.18, pixel_sigma)
        fits = np.isfinite(distance) & (distance < 4.0 * sigma)
        if np.array_equal(fits, keep):
            break
        keep = fits
    if keep.sum() < 4 or _is_line(points[keep]):
        return None
    solutions = planar_poses(points[keep], image[keep], intrinsics)
    if not solutions:
        return None
    return _estimate(-1, detection.timestamp, points[keep], solutions, intrinsics, pixel_sigma)


Solution = tuple[Transform, float, Floats]
"""Pose, root mean square reprojection error [px], information (6, 6) for unit pixel noise."""


def planar_poses(points: Floats, image: Floats, intrinsics: CameraIntrinsics) -> list[Solution]:
    """Return the one or two refined poses of points in a plane z = const, the better first.

    Args:
        points: (N, 3) [m], N >= 4, not on one line.
        image: (N, 2) [px].
        intrinsics: Lens.
    """
    rays = undistort(image, intrinsics)
    if not np.isfinite(rays).all():
        return []
    centre = points.mean(axis=0)
    try:
        _, rvecs, tvecs, _ = cv2.solvePnPGeneric(
            np.ascontiguousarray(points - centre),
            np.ascontiguousarray(rays),
            np.eye(3),
            np.zeros(4),
            flags=cv2.SOLVEPNP_IPPE,
        )
    except cv2.error:
        return []  # The homography is degenerate: corners on a line or on one spot.
    T_centre_object = Transform.from_translation(-centre)
    solutions: list[Solution] = []
    for rvec, tvec in zip(rvecs, tvecs, strict=True):
        if not (np.isfinite(rvec).all() and np.isfinite(tvec).all()):
            continue
        T_camera_centre = Transform.from_parts(exp_rotation(np.ravel(rvec)), np.ravel(tvec))
        refined = refine_pose(points, image, T_camera_centre @ T_centre_object, intrinsics)
        if refined is not None and not any(_same(refined[0], other[0]) for other in solutions):
            solutions.append(refined)
    return sorted(solutions, key=lambda s: s[1])


def refine_pose(points: Floats, image: Floats, T: Transform, intrinsics: CameraIntrinsics) -> Solution | None:
    """Minimise the reprojection error from ``T`` by Levenberg-Marquardt; None when it ends behind the camera."""
    damping = 1e-6
    pose = T
    residual, slope, cost = _residual(points, image, pose, intrinsics)
    for _ in range(_MAX_STEPS):
        information = slope.T @ slope
        scale = np.diag(information) + 1e-12 * float(np.trace(information))
        try:
            step = -np.linalg.solve(information + damping * np.diag(scale), slope.T @ residual)
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(step).all() or not np.isfinite(cost):
            return None
        moved = pose @ Transform.exp(step)
        new_residual, new_slope, new_cost = _residual(points, image, moved, intrinsics)
        if new_cost <= cost:
            converged = cost - new_cost <= _CONVERGED * cost + 1e-16
            pose, residual, slope, cost = moved, new_residual, new_slope, new_cost
            damping *= 0.1
            if converged:
                break
        elif damping > 1e6:
            break
        else:
            damping = max(damping, 1e-9) * 10.0
    if (pose.apply(points)[:, 2] <= 0).any() or not np.isfinite(cost):
        return None
    return Transform(pose.matrix), float(np.sqrt(cost / len(points))), slope.T @ slope


def _residual(
    points: Floats, image: Floats, T: Transform, intrinsics: CameraIntrinsics
) -> tuple[Floats, Floats, float]:
    uv, J = project(points, T, intrinsics)
    residual = (uv - image).ravel()
    return residual, J.reshape(-1, 6), float(residual @ residual)


def _estimate(
    tag_id: int,
    timestamp: float,
    points: Floats,
    solutions: list[Solution],
    intrinsics: CameraIntrinsics,
    pixel_sigma: float,
) -> PoseEstimate:
    (T, error, information), other = solutions[0], solutions[1] if len(solutions) > 1 else None
    freedom = 2 * len(points) - 6
    misfit = len(points) * error**2 / (pixel_sigma**2 * freedom * _unlikely_misfit(freedom))
    # The smaller of the two errors comes first, so the ratio is at most 1; two perfect fits are undecidable.
    ambiguity = 0.0 if other is None else (error / other[1] if other[1] > 1e-9 else 1.0)
    return PoseEstimate(
        tag_id=tag_id,
        timestamp=timestamp,
        T_camera_tag=T,
        covariance=pixel_sigma**2 * max(1.0, misfit) * _inverse(information),
        reprojection_error=error,
        alternative=None if other is None else other[0],
        alternative_error=np.inf if other is None else other[1],
        ambiguity=ambiguity,
    )


@lru_cache(maxsize=512)
def _unlikely_misfit(freedom: int) -> float:
    """Return the reduced chi-square that good corners exceed once in a thousand times."""
    return 2.0 * float(gammaincinv(0.5 * freedom, 0.999)) / freedom


def _inverse(information: Floats) -> Floats:
    """Invert a symmetric positive matrix, with a large finite variance where it is singular."""
    values, vectors = np.linalg.eigh(information)
    inverse = 1.0 / np.maximum(values, 1.0 / _LARGE**2)
    covariance = (vectors * inverse) @ vectors.T
    return 0.5 * (covariance + covariance.T)


def _same(a: Transform, b: Transform) -> bool:
    return a.distance_to(b)[1] < _SAME_POSE


def _is_line(points: Floats) -> bool:
    """Return whether points (N, 2 or 3), in a plane or a picture, lie on one line."""
    spread = np.linalg.svd(points[:, :2] - points[:, :2].mean(axis=0), compute_uv=False)
    return bool(spread[-1] < 1e-3 * spread[0])
