"""Finding ChArUco boards and tag grids: marker corners and chess corners together.

A covered board keeps its pose as long as any marker is read: OpenCV's own ChArUco detector
gives chess corners only where two neighbouring markers are seen.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from vision_ik.tags.chessboards import detect_chessboard
from vision_ik.tags.detector import TagDetector
from vision_ik.tags.pictures import to_gray
from vision_ik.tags.render import prints_turned
from vision_ik.types import Board, BoardDetection, CharucoBoard, Chessboard, Floats, Frame, Image, TagDetection

_MAX_MISFIT = 0.25
"""Share of a marker's edge by which its corners may miss the board's plane (lenses bend it)."""
_NEAREST = 3
"""Markers whose common homography predicts a chess corner."""
_TERMINATION = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)


def detect_board(frame: Frame, board: Board, *, detector: TagDetector | None = None) -> BoardDetection | None:
    """Return the points of a board seen in a frame, None when no marker of it is (a chessboard: all of it).

    Both ChArUco layouts are tried (before and since OpenCV 4.6); they share the board frame
    and the chess corners, so the answer means the same.

    Args:
        frame: Picture.
        board: Layout.
        detector: Detector to use; None takes the shared one of the board's family.
    """
    if isinstance(board, Chessboard):
        return detect_chessboard(frame, board)
    found = (detector or _shared_detector(board.family)).detect(frame)
    if prints_turned(board):
        found = [replace(d, corners=np.roll(d.corners, 2, axis=0)) for d in found]
    layouts: list[Board] = [board]
    if isinstance(board, CharucoBoard) and board.rows % 2 == 0:
        layouts.append(replace(board, legacy=not board.legacy))
    consistent = [_consistent(found, layout) for layout in layouts]
    best = max(range(len(layouts)), key=lambda i: len(consistent[i]))
    markers, layout = consistent[best], layouts[best]
    if not markers:
        return None
    points_board = [layout.markers[d.tag_id] for d in markers]
    points_image = [np.array(d.corners) for d in markers]
    if isinstance(layout, CharucoBoard):
        chess_board, chess_image = _chess_corners(frame.image, layout, markers)
        points_board.append(chess_board)
        points_image.append(chess_image)
    return BoardDetection(
        points_board=np.concatenate(points_board),
        points_image=np.concatenate(points_image),
        timestamp=frame.timestamp,
        tag_ids=tuple(d.tag_id for d in markers),
    )


@lru_cache(maxsize=16)
def _shared_detector(family: str) -> TagDetector:
    return TagDetector(family)


def _consistent(found: list[TagDetection], board: Board) -> list[TagDetection]:
    """Return the markers of the board that agree on one plane; a foreign or doubled id does not."""
    markers = board.markers
    known = [d for d in found if d.tag_id in markers]
    if len(known) < 2:
        return known
    best: list[TagDetection] = []
    # Each marker alone proposes a plane, good enough to judge its neighbours by.
    for proposer in known:
        H = _homography([proposer], markers)
        votes = [d for d in known if _agrees(H, d, markers, 1.0 + _reach(proposer, d, markers))]
        if len(votes) > len(best):
            best = votes
        if len(best) == len(known):
            break
    if len(best) >= 2:
        H = _homography(best, markers)
        best = [d for d in best if _agrees(H, d, markers, 1.0)]
    unique = {d.tag_id: d for d in best}
    return [unique[i] for i in sorted(unique)]


def _reach(a: TagDetection, b: TagDetection, markers: dict[int, Floats]) -> float:
    """Return the distance of two markers on the board, in marker edges: errors of one homography grow with it."""
    edge = np.linalg.norm(markers[a.tag_id][1] - markers[a.tag_id][0])
    return float(np.linalg.norm(markers[a.tag_id].mean(axis=0) - markers[b.tag_id].mean(axis=0)) / edge)


def _homography(detections: list[TagDetection], markers: dict[int, Floats]) -> Floats | None:
    plane = np.concatenate([markers[d.tag_id][:, :2] for d in detections])
    image = np.concatenate([d.corners for d in detections])
    H, _ = cv2.findHomography(plane, image, 0)
    # No homography comes back as None, whatever OpenCV's stubs say.
    return np.asarray(H, dtype=np.float64) if np.shape(H) == (3, 3) else None


def _agrees(H: Floats | None, detection: TagDetection, markers: dict[int, Floats], slack: float) -> bool:
    if H is None:
        return False
    expected = _map(H, markers[detection.tag_id][:, :2])
    edges = np.linalg.norm(np.roll(detection.corners, -1, axis=0) - detection.corners, axis=1)
    misfit = np.linalg.norm(expected - detection.corners, axis=1).max()
    return bool(misfit < _MAX_MISFIT * slack * edges.min())


def _map(H: Floats, points: Floats) -> Floats:
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ H.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def _chess_corners(image: Image, board: CharucoBoard, markers: list[TagDetection]) -> tuple[Floats, Floats]:
    """Return the chess corners next to a marker that was read: (M, 3) [m] and (M, 2) [px].

    Each is predicted by the homography of the nearest markers (local, so the lens does not
    matter) and then moved to the saddle of the picture.
    """
    gray = to_gray(image)
    layout = board.markers
    centres = np.stack([layout[d.tag_id].mean(axis=0) for d in markers])
    kept_board: list[Floats] = []
    kept_image: list[Floats] = []
    for corner in board.chess_corners:
        distance = np.linalg.norm(centres - corner, axis=1)
        order = np.argsort(distance)[:_NEAREST]
        if distance[order[0]] > board.square_m:  # no marker beside this corner was read
            continue
        near = [markers[i] for i in order if distance[i] < 2.5 * board.square_m]
        H = _homography(near, layout)
        refined = None if H is None else _saddle(gray, H, corner, board)
        if refined is not None:
            kept_board.append(corner)
            kept_image.append(refined)
    return np.reshape(kept_board, (-1, 3)).astype(np.float64), np.reshape(kept_image, (-1, 2)).astype(np.float64)


def _saddle(gray: Image, H: Floats, corner: Floats, board: CharucoBoard) -> Floats | None:
    """Return the chess corner (2,) [px] near its prediction, None when the picture shows none there."""
    s = board.square_m
    reach = 0.5 * (s - board.marker_m)  # the markers must stay outside the window
    ring = corner[:2] + np.array([[0, 0], [reach, 0], [-reach, 0], [0, reach], [0, -reach]])
    projected = _map(H, ring)
    predicted = projected[0]
    half = float(np.linalg.norm(projected[1:] - predicted, axis=1).min())
    window = int(np.clip(round(half), 2, 11))
    height, width = gray.shape
    if not (window < predicted[0] < width - 1 - window and window < predicted[1] < height - 1 - window):
        return None
    start = predicted.astype(np.float32).reshape(1, 1, 2)
    refined = cv2.cornerSubPix(gray, start, (window, window), (-1, -1), _TERMINATION).reshape(2).astype(np.float64)
    if np.linalg.norm(refined - predicted) > max(1.5, 0.6 * window):
        return None
    return refined if _is_chess_corner(gray, H, corner[:2], refined - predicted, reach) else None


def _is_chess_corner(gray: Image, H: Floats, corner: Floats, shift: Floats, reach: float) -> bool:
    """Return whether opposite quadrants are alike and neighbouring ones differ; false where the corner is covered."""
    d = 0.6 * reach
    quadrants = _map(H, corner + np.array([[d, d], [-d, d], [-d, -d], [d, -d]])) + shift
    height, width = gray.shape
    columns, rows = np.rint(quadrants).astype(int).T
    if columns.min() < 0 or rows.min() < 0 or columns.max() >= width or rows.max() >= height:
        return False
    a, b, c, e = gray[rows, columns].astype(np.float64)
    contrast = abs(a + c - b - e) / 2.0
    return bool(contrast > 8.0 and max(abs(a - c), abs(b - e)) < 0.6 * contrast)
