"""Which of a board's corners to calibrate with: no misread ones, and the better of two kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.board_pose import all_board_poses
from calibration.hand_eye.evidence import Corners
from calibration.lens.projection import project
from vision_ik.types import Board, BoardDetection, CameraIntrinsics, CharucoBoard, Floats

_ENOUGH = 8
"""Corners that fix a board's pose well."""
_SPREAD = 0.3
"""Second over first extent they must have for it."""
_MISREAD = 5.0
"""A corner farther off than this many times the typical distance in its view is misread ..."""
_MISREAD_FLOOR = 0.5
"""[px] ... if it is at least this far off."""
_ROUNDS = 3
_AHEAD = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
"""Some pose in front of the camera."""
_CLEARLY_BETTER = 0.75
"""Typical distance of chess corners over that of marker corners from which the latter are left out."""


def without_misread(detection: BoardDetection, intrinsics: CameraIntrinsics) -> BoardDetection:
    """Return a view without the corners that lie far from where the others put them."""
    return all_without_misread([detection], intrinsics)[0]


def all_without_misread(detections: Sequence[BoardDetection], intrinsics: CameraIntrinsics) -> list[BoardDetection]:
    """Return every view without the corners that lie far from where the others of the view put them."""
    return posed_without_misread(detections, intrinsics)[0]


def posed_without_misread(
    detections: Sequence[BoardDetection], intrinsics: CameraIntrinsics
) -> tuple[list[BoardDetection], Floats]:
    """Return what `all_without_misread` does, and the poses of the board.

    Returns:
        The views, and the (N, 2, 4, 4) poses T_camera_board that their corners allow (`all_board_poses`).
    """
    cleaned, poses = list(detections), np.full((len(detections), 2, 4, 4), np.nan)
    doubtful = list(range(len(cleaned)))
    for left in reversed(range(_ROUNDS + 1)):
        tried = [cleaned[i] for i in doubtful]
        poses[doubtful] = all_board_poses(tried, intrinsics)
        if not left:
            break
        distances = _distances(tried, poses[doubtful, 0], intrinsics)
        again: list[int] = []
        for i, distance in zip(doubtful, distances, strict=True):
            limit = max(_MISREAD_FLOOR, _MISREAD * float(np.median(distance)))
            good = distance <= limit
            if not good.all() and _enough(cleaned[i].points_board[good]):
                cleaned[i] = keep_points(cleaned[i], good)
                again.append(i)
        if not again:
            break
        doubtful = again
    return cleaned, poses


def keep_points(detection: BoardDetection, keep: NDArray[np.bool_]) -> BoardDetection:
    """Return a view with some of its points (N,) only.

    Markers come first, four corners each: one that loses a corner is listed no longer, and its other
    corners stand behind those of the whole ones.
    """
    markers = len(detection.tag_ids)
    whole: NDArray[np.bool_] = np.all(keep[: 4 * markers].reshape(markers, 4), axis=1)
    first = np.zeros(len(keep), dtype=np.bool_)
    first[: 4 * markers] = np.repeat(whole, 4)
    order = np.concatenate([np.flatnonzero(first), np.flatnonzero(keep & ~first)])
    covariances = detection.marker_covariances
    if covariances is not None:
        covariances = covariances[whole] if len(covariances) == markers and whole.any() else None
    return replace(
        detection,
        points_board=detection.points_board[order],
        points_image=detection.points_image[order],
        tag_ids=tuple(tag_id for tag_id, intact in zip(detection.tag_ids, whole, strict=True) if intact),
        marker_covariances=covariances,
        sigma=None if detection.sigma is None else detection.sigma[order],
    )


def better_corners(
    detections: Sequence[BoardDetection], board: Board, intrinsics: CameraIntrinsics
) -> list[BoardDetection]:
    """Return the chess corners of a ChArUco board alone where they are clearly better than the markers' corners.

    Which are better depends on print, blur and detector: a chess corner is a saddle, sharp from four
    sides, where bleeding ink moves a marker's corner outward; but a marker's edges are long. The
    views decide, all together; views with few chess corners keep everything.
    """
    if not isinstance(board, CharucoBoard):
        return list(detections)
    chess = [_chess(detection, board) for detection in detections]
    distances = _distances(detections, all_board_poses(detections, intrinsics)[:, 0], intrinsics)
    of_chess = np.concatenate([d[c] for d, c in zip(distances, chess, strict=True)])
    of_markers = np.concatenate([d[~c] for d, c in zip(distances, chess, strict=True)])
    if not len(of_chess) or not len(of_markers) or np.median(of_chess) > _CLEARLY_BETTER * np.median(of_markers):
        return list(detections)
    return [
        keep_points(detection, c) if _enough(detection.points_board[c]) else detection
        for detection, c in zip(detections, chess, strict=True)
    ]


def _distances(detections: Sequence[BoardDetection], poses: Floats, intrinsics: CameraIntrinsics) -> list[Floats]:
    """Return per view how far each corner is from its projection with the board in its pose (N, 4, 4) [px].

    Zeros where the corners allow no pose.
    """
    posed = batch.posed(poses)
    corners = Corners(detections, intrinsics)
    uv, _ = project(corners.points_camera(np.where(posed[:, None, None], poses, _AHEAD)), intrinsics)
    distance = np.linalg.norm(corners.points_image - uv, axis=1) * posed[corners.view]
    return [distance[corners.view == i] for i in range(corners.count)]


def _chess(detection: BoardDetection, board: CharucoBoard) -> NDArray[np.bool_]:
    chess = {tuple(point) for point in np.round(board.chess_corners, 9).tolist()}
    return np.array([tuple(point) in chess for point in np.round(detection.points_board, 9).tolist()], dtype=np.bool_)


def _enough(points: Floats) -> bool:
    if len(points) < _ENOUGH:
        return False
    extent = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(extent[1] >= _SPREAD * extent[0])
