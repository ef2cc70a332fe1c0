"""Poses of markers, boards and bundles from their points: maximum likelihood, as uncertain as they say.

A plane seen in weak perspective has two poses that look alike (Collins and Bartoli,
"Infinitesimal plane-based pose estimation", IJCV 2014). Both are refined to their own
minimum of chi-square and kept; which is true is decided over time.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from vision_ik.errors import InvalidPoseError
from vision_ik.tags.board_fit import fit_board
from vision_ik.tags.pose_kernels import fit, plane_starts
from vision_ik.tags.pose_noise import Noise, lens_covariance, spread
from vision_ik.tags.projection import pack_lens, project
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, PoseEstimate, TagDetection, tag_corners
from vision_ik.types.vision import PointObservation

DEFAULT_PIXEL_SIGMA = 0.3
"""[px] Standard deviation of a corner coordinate where nothing measured it: blur, noise and paper together."""
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
        InvalidPoseError: The corners are no picture of a square in front of the camera, are mirrored, or have
            a covariance that is none.
    """
    if not 0 < size_m < np.inf or not 0 < pixel_sigma < np.inf:
        raise ValueError(f"Tag size {size_m} m and pixel sigma {pixel_sigma} px must be positive and finite.")
    points, image, lens = tag_corners(size_m), detection.corners, pack_lens(intrinsics)
    _refuse_mirrored(detection)
    W = np.full((8, 1), 1.0 / pixel_sigma) if detection.covariance is None else _whitening(detection)
    starts, Ts, costs, Hs = np.empty((2, 4, 4)), np.empty((3, 4, 4)), np.empty(3), np.empty((3, 6, 6))
    count = plane_starts(np.ascontiguousarray(points[:, :2]), image, lens, starts)
    found = fit(points, image, lens, W, starts[:count], _UP, Ts, costs, Hs)
    if not found:
        raise InvalidPoseError(
            f"The corners of tag {detection.tag_id} are no picture of a square in front of this camera.",
            "Drop the detection, or check that the intrinsics belong to this camera.",
            tag_id=detection.tag_id,
        )
    noise = Noise.of_tag(costs[0], measured=detection.covariance is not None)
    return _estimate(
        detection.tag_id,
        detection.timestamp,
        points,
        image,
        intrinsics,
        W,
        Ts[:found],
        costs[:found],
        Hs[:found],
        noise,
    )


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
    points, image = detection.points_board, detection.points_image
    sigma = np.full(len(points), pixel_sigma) if detection.sigma is None else np.maximum(detection.sigma, 1e-3)
    found = fit_board(points, image, sigma, intrinsics)
    if found is None:
        return None
    keep = found.kept
    noise = Noise.of_board(found.costs[0], 2 * int(keep.sum()) - 6, measured=detection.sigma is not None)
    W = np.repeat(1.0 / sigma[keep], 2)[:, None]
    return _estimate(
        -1, detection.timestamp, points[keep], image[keep], intrinsics, W, found.Ts, found.costs, found.Hs, noise
    )


def _estimate(
    tag_id: int,
    timestamp: float,
    points: Floats,
    image: Floats,
    intrinsics: CameraIntrinsics,
    W: Floats,
    Ts: Floats,
    costs: Floats,
    Hs: Floats,
    noise: Noise,
    seen: PointObservation | None = None,
) -> PoseEstimate:
    poses = [Transform(T) for T in Ts[:2]]
    errors = [_error(points, image, T, intrinsics) for T in poses]
    covariances = spread(points, image, intrinsics, W, Ts[:2], costs[:2], Hs[:2], noise.variance)
    two = len(poses) > 1
    # At a given noise; chi-square comes in ascending order, so the ratio is at most 1.
    ambiguity = float(np.exp(-0.5 * (costs[1] - costs[0]) / noise.variance)) if two else 0.0
    return PoseEstimate(
        tag_id=tag_id,
        timestamp=timestamp,
        T_camera_tag=poses[0],
        covariance=covariances[0],
        reprojection_error=errors[0],
        alternative=poses[1] if two else None,
        alternative_error=errors[1] if two else np.inf,
        ambiguity=ambiguity,
        chi_square=float(costs[0]),
        freedom=2 * len(points) - 6,
        alternative_chi_square=float(costs[1]) if two else np.inf,
        alternative_covariance=covariances[1] if two else None,
        lens_covariance=lens_covariance(points, poses[0], intrinsics, W, Hs[0]),
        observation=seen,
    )


def _error(points: Floats, image: Floats, T: Transform, intrinsics: CameraIntrinsics) -> float:
    """Return the root mean square distance [px] of the points from where the pose has them."""
    miss = project(points, T, intrinsics)[0] - image
    return float(np.sqrt((miss * miss).sum() / len(points)))


def _whitening(detection: TagDetection) -> Floats:
    """Return the (8, 8) inverse of the Cholesky factor of the corners' covariance."""
    try:
        factor = np.linalg.cholesky(np.asarray(detection.covariance))
    except np.linalg.LinAlgError as error:
        raise InvalidPoseError(
            f"The covariance of the corners of tag {detection.tag_id} is not positive definite.",
            "Give the detector's own covariance, or None to take pixel_sigma.",
            tag_id=detection.tag_id,
        ) from error
    return np.ascontiguousarray(solve_triangular(factor, np.eye(8), lower=True))


def _refuse_mirrored(detection: TagDetection) -> None:
    """Refuse corners that run anticlockwise in the picture: only a mirror shows a tag like that."""
    x, y = detection.corners.T
    area = 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
    if area < 0.0:
        raise InvalidPoseError(
            f"The corners of tag {detection.tag_id} run the wrong way round, as in a mirror.",
            "Switch off mirroring in the camera or its driver, or print the tag anew.",
            tag_id=detection.tag_id,
        )
