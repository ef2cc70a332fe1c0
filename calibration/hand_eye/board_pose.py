"""Poses of the board in single views: the raw material of closed-form starts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from calibration import batch
from calibration.hand_eye.evidence import Corners
from calibration.lens.projection import normalise
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats

_FEWEST_CORNERS = 4
_REFINEMENTS = 6
"""Gauss-Newton steps from the PnP start; two or three suffice."""
_USUAL_EXTENT = 0.15
"""Half the edge of a board over its distance: a field of view of 17 degrees is filled."""
_USUAL_NOISE = 0.2e-3
"""[rad] Of each of the four corners that stand for all: 0.3 px of 24 corners at a focal length of 600 px."""
_NO_DISTANCE = 1e-6
"""[m]"""
_STANDSTILL = 1e-9
"""Relative gain below which a pose stands still: a step of 1e-4 of its uncertainty."""


def board_poses(detection: BoardDetection, intrinsics: CameraIntrinsics) -> Floats:
    """Return the (K, 4, 4) poses T_camera_board that explain the corners, best first.

    A flat board far away fits almost as well tilted the other way (Schweighofer & Pinz, 2006), so
    K is 1 or 2. Empty when the corners determine no pose.
    """
    poses = all_board_poses([detection], intrinsics)[0]
    return poses[np.isfinite(poses).all(axis=(1, 2))]


def all_board_poses(detections: Sequence[BoardDetection], intrinsics: CameraIntrinsics) -> Floats:
    """Return the (N, 2, 4, 4) poses of many views as `board_poses` does, NaN where there is none."""
    starts = [_starts(detection, intrinsics) for detection in detections]
    poses = np.full((len(detections), 2, 4, 4), np.nan)
    known = np.array([(i, k) for i, found in enumerate(starts) for k in range(min(2, len(found)))], dtype=int)
    if len(known) == 0:
        return poses
    corners = Corners([detections[i] for i in known[:, 0]], intrinsics)
    refined, misfit = refine(corners, np.stack([starts[i][k] for i, k in known]))
    poses[known[:, 0], known[:, 1]] = np.where(np.isfinite(misfit)[:, None, None], refined, np.nan)
    misfits = np.full((len(detections), 2), np.inf)
    misfits[known[:, 0], known[:, 1]] = misfit
    return np.where((misfits[:, 1] < misfits[:, 0])[:, None, None, None], poses[:, ::-1], poses)


def _starts(detection: BoardDetection, intrinsics: CameraIntrinsics) -> list[Floats]:
    """Return up to two finite poses that OpenCV finds."""
    rays = normalise(detection.points_image, intrinsics)
    points = detection.points_board
    if len(points) < _FEWEST_CORNERS:
        return []
    flat = float(np.ptp(points[:, 2])) < 1e-9
    method = cv2.SOLVEPNP_IPPE if flat else cv2.SOLVEPNP_SQPNP
    _, rotations, translations, _ = cv2.solvePnPGeneric(
        points.reshape(-1, 1, 3), rays.reshape(-1, 1, 2), np.eye(3), None, flags=method
    )
    found = [_matrix(r, t) for r, t in zip(rotations, translations, strict=True)]
    return [T for T in found if np.isfinite(T).all()]


def usual_covariances(Ts_camera_board: Floats) -> Floats:
    """Return how surely each direction of a board's pose is usually told, where nothing is said of it.

    Of the corners of a flat square, seen under the usual angle from the middle distance: across the line of sight a
    picture tells well, along it and of the tilt badly, and from afar worse.

    Args:
        Ts_camera_board: (N, 4, 4); the board lies across its own z axis.

    Returns:
        (N, 6, 6), tangent at the pose, (v, w) [m, rad]; zeros where the poses tell no distance.
    """
    distance = float(np.median(np.linalg.norm(Ts_camera_board[:, :3, 3], axis=1)))
    if distance < _NO_DISTANCE:
        return np.zeros((len(Ts_camera_board), 6, 6))
    corners = _USUAL_EXTENT * distance * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=np.float64)
    R = Ts_camera_board[:, None, :3, :3]
    points = (R @ corners[:, :, None])[..., 0] + Ts_camera_board[:, None, :3, 3]
    length = np.linalg.norm(points, axis=2)[..., None]
    ray = points / length
    across = (np.eye(3) - ray[..., :, None] * ray[..., None, :]) / length[..., None]
    by_twist = np.concatenate([np.tile(np.eye(3), (4, 1, 1)), -batch.skews(corners)], axis=2)
    J = (across @ R @ by_twist).reshape(len(points), -1, 6)
    return _USUAL_NOISE**2 * batch.inverse(np.swapaxes(J, 1, 2) @ J)


def refine(corners: Corners, Ts_camera_board: Floats) -> tuple[Floats, Floats]:
    """Move each pose to the least squares of its own pixels.

    Returns:
        The (N, 4, 4) poses and their (N,) sums of squares [px^2], infinite where it failed.
    """
    poses = Ts_camera_board
    seen = corners.linearise(poses)
    misfit, step = _ahead(corners, poses, seen.misfit), seen.twist
    for _ in range(_REFINEMENTS):
        moved = batch.exp(np.nan_to_num(step)) @ poses
        seen = corners.linearise(moved)
        moved_misfit = _ahead(corners, moved, seen.misfit)
        better = moved_misfit < misfit
        # Half the way where the whole one overshoots.
        step = np.where(better[:, None], seen.twist, 0.5 * step)
        gained = misfit - np.where(better, moved_misfit, misfit)
        poses = np.where(better[:, None, None], moved, poses)
        misfit = np.where(better, moved_misfit, misfit)
        if (gained <= _STANDSTILL * misfit).all():
            break
    return poses, misfit


def _ahead(corners: Corners, poses: Floats, misfit: Floats) -> Floats:
    """Return ``misfit`` (N,), infinite where a corner lies behind the camera or nothing is known."""
    ahead = np.minimum.reduceat(corners.points_camera(poses)[:, 2], corners.starts) > 0
    return np.where(ahead & np.isfinite(misfit), misfit, np.inf)


def _matrix(rotation: object, translation: object) -> Floats:
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.asarray(rotation, dtype=np.float64))[0]
    T[:3, 3] = np.asarray(translation, dtype=np.float64).ravel()
    return T
