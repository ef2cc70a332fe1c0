"""Poses of markers, boards and bundles from their points: maximum likelihood, as uncertain as they say.

A plane seen in weak perspective has two poses that look alike (Collins and Bartoli,
"Infinitesimal plane-based pose estimation", IJCV 2014). Both are refined to their own
minimum of chi-square and kept; which is true is decided over time.
"""

from __future__ import annotations

import numpy as np

from vision_ik.errors import InvalidPoseError
from vision_ik.tags.poses.algebra import whitening
from vision_ik.tags.poses.board_fit import fit_board
from vision_ik.tags.poses.kernels import fit_starts, reprojection_error
from vision_ik.tags.poses.noise import PointFit, board_variance, covariances, lens_covariance, tag_variance
from vision_ik.tags.poses.starts import plane_starts
from vision_ik.tags.projection import pack_lens
from vision_ik.transforms import Transform
from vision_ik.types import (
    BoardDetection,
    CameraIntrinsics,
    PointObservation,
    PoseEstimate,
    TagDetection,
    tag_corners,
)

DEFAULT_PIXEL_SIGMA = 0.3
"""[px] Standard deviation of a corner coordinate where nothing measured it: blur, noise and paper together."""
_LEAST_SIGMA = 1e-3
"""[px] No point is believed more than this."""
_FARTHEST = 10.0
"""[picture sizes] Beyond the picture: no corner that was seen, or carried on, lies so far out."""
_UP = np.array([0.0, 0.0, 1.0])
"""Normal of a tag."""


def estimate_pose(
    detection: TagDetection,
    size_m: float,
    intrinsics: CameraIntrinsics,
    *,
    pixel_sigma: float = DEFAULT_PIXEL_SIGMA,
) -> PoseEstimate:
    """Return the pose of a tag from its four corners.

    Args:
        detection: Corners [px], weighted by the inverse of their covariance where it is known.
        size_m: Edge of the black border [m].
        intrinsics: Lens of the frame the detection came from.
        pixel_sigma: Standard deviation of each corner coordinate [px] where the detection tells no covariance.

    Returns:
        Both planar solutions, each at its own minimum, the better one first. Where the corners fit worse than
        their noise allows, the covariances grow with the misfit (``chi_square`` over ``freedom``).

    Raises:
        ValueError: Size or sigma is not positive and finite.
        InvalidPoseError: The corners are no picture of a square in front of the camera, are mirrored, lie far
            outside the picture, or have a covariance that is none.
    """
    if not 0 < size_m < np.inf or not 0 < pixel_sigma < np.inf:
        raise ValueError(f"Tag size {size_m} m and pixel sigma {pixel_sigma} px must be positive and finite.")
    _refuse_far(detection, intrinsics)
    _refuse_mirrored(detection)
    noise = pixel_sigma**2 * np.eye(8) if detection.covariance is None else detection.covariance
    seen = PointObservation(
        points=tag_corners(size_m), pixels=detection.corners, covariance=noise, intrinsics=intrinsics
    )
    found = _fit_square(seen, detection.tag_id)
    if found is None:
        raise InvalidPoseError(
            f"The corners of tag {detection.tag_id} are no picture of a square in front of this camera.",
            "Drop the detection, or check that the intrinsics belong to this camera.",
            tag_id=detection.tag_id,
        )
    variance = tag_variance(found, measured=detection.covariance is not None)
    return _estimate(detection.tag_id, detection.timestamp, found, intrinsics, variance, seen)


def estimate_board_pose(
    detection: BoardDetection,
    intrinsics: CameraIntrinsics,
    *,
    pixel_sigma: float = DEFAULT_PIXEL_SIGMA,
) -> PoseEstimate | None:
    """Return the pose of a board or bundle (``tag_id`` -1, ``T_camera_tag`` is T_camera_board), None when undetermined.

    The points may lie in a plane or in space. Those that fit much worse than the others are left out; the noise
    of the others is estimated from how they fit, so ``pixel_sigma`` is only where that starts.

    Args:
        detection: Points, weighted by their ``sigma`` where it is known.
        intrinsics: Lens of the frame the detection came from.
        pixel_sigma: Standard deviation of each coordinate [px] where the detection tells none.

    Raises:
        ValueError: The sigma is not positive and finite.
    """
    if not 0 < pixel_sigma < np.inf:
        raise ValueError(f"Pixel sigma {pixel_sigma} px must be positive and finite.")
    points, image, sigma = detection.points_board, detection.points_image, detection.sigma
    weights = 1.0 / (np.full(len(points), pixel_sigma) if sigma is None else np.maximum(sigma, _LEAST_SIGMA))
    found = fit_board(points, image, weights, detection.marker_covariances, pack_lens(intrinsics))
    if found is None:
        return None
    variance = board_variance(found, measured=sigma is not None)
    return _estimate(-1, detection.timestamp, found, intrinsics, variance, None)


def _fit_square(seen: PointObservation, tag_id: int) -> PointFit | None:
    """Fit both planar solutions; None where there is none."""
    W = np.empty((8, 8))
    if not whitening(seen.covariance, W):
        raise InvalidPoseError(
            f"The covariance of the corners of tag {tag_id} is not positive definite.",
            "Give the detector's own covariance, or None to take pixel_sigma.",
            tag_id=tag_id,
        )
    lens = pack_lens(seen.intrinsics)
    points, image = seen.points.copy(), seen.pixels.copy()  # kernels are compiled once more for read-only arrays
    starts, Ts, costs, Hs = np.empty((2, 4, 4)), np.empty((3, 4, 4)), np.empty(3), np.empty((3, 6, 6))
    count = plane_starts(np.ascontiguousarray(points[:, :2]), image, lens, starts)
    found = fit_starts(points, image, lens, W, starts[:count], _UP, Ts, costs, Hs)
    if not found:
        return None
    return PointFit(points=points, image=image, W=W, Ts=Ts[:found], costs=costs[:found], Hs=Hs[:found])


def _estimate(
    tag_id: int,
    timestamp: float,
    fit: PointFit,
    intrinsics: CameraIntrinsics,
    variance: float,
    seen: PointObservation | None,
) -> PoseEstimate:
    lens = pack_lens(intrinsics)
    poses = [Transform(T) for T in fit.Ts[:2]]
    points, image = fit.points[fit.taken], fit.image[fit.taken]
    errors = [reprojection_error(points, image, T, lens) for T in fit.Ts[:2]]
    spreads = covariances(fit, lens, variance)
    two = len(poses) > 1
    # Chi-square comes in ascending order, so the ratio is at most 1.
    ambiguity = float(np.exp(-0.5 * (fit.costs[1] - fit.costs[0]) / variance)) if two else 0.0
    return PoseEstimate(
        tag_id=tag_id,
        timestamp=timestamp,
        T_camera_tag=poses[0],
        covariance=spreads[0],
        reprojection_error=errors[0],
        alternative=poses[1] if two else None,
        alternative_error=errors[1] if two else np.inf,
        ambiguity=ambiguity,
        chi_square=float(fit.costs[0]),
        freedom=fit.freedom,
        alternative_chi_square=float(fit.costs[1]) if two else np.inf,
        alternative_covariance=spreads[1] if two else None,
        lens_covariance=lens_covariance(fit, intrinsics),
        observation=seen,
    )


def _refuse_far(detection: TagDetection, intrinsics: CameraIntrinsics) -> None:
    """Refuse corners that cannot be of this picture: any square fits them, right before the lens."""
    size = np.array([intrinsics.width, intrinsics.height])
    outside = np.maximum(-detection.corners, detection.corners - size)
    if (outside > _FARTHEST * size).any():
        raise InvalidPoseError(
            f"Corners of tag {detection.tag_id} lie more than {_FARTHEST:.0f} picture sizes outside the picture.",
            "Drop the detection, or check that the intrinsics belong to this camera.",
            tag_id=detection.tag_id,
        )


def _refuse_mirrored(detection: TagDetection) -> None:
    """Refuse corners that run anticlockwise in the picture: only a mirror shows a tag like that."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = detection.corners.tolist()
    # Twice the area, from the diagonals.
    if (cx - ax) * (dy - by) - (cy - ay) * (dx - bx) < 0.0:
        raise InvalidPoseError(
            f"The corners of tag {detection.tag_id} run the wrong way round, as in a mirror.",
            "Switch off mirroring in the camera or its driver, or print the tag anew.",
            tag_id=detection.tag_id,
        )
