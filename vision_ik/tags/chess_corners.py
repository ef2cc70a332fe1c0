"""The chess corners of a ChArUco board: predicted from its markers, then moved to the saddles of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vision_ik.tags.board_matching import Straightener, homography, transfer
from vision_ik.types import CharucoBoard, Floats, Image, TagDetection

_NEAREST = 3
"""Markers whose common homography predicts a chess corner, where the lens is not known."""
_FARTHEST = 2.5
"""[squares] From a corner to the markers that predict it."""
_FLAT_PX = 1.0
"""[px] Misfit of the markers (rms) up to which one homography predicts the corners of the whole board."""
_TERMINATION = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)


def find_chess_corners(
    gray: Image, board: CharucoBoard, markers: Sequence[TagDetection], view: Straightener
) -> tuple[Floats, Floats]:
    """Return the chess corners that the picture shows: (M, 3) [m] in the board frame, and (M, 2) [px].

    Where the lens is known and the board is flat, all markers together predict all corners; else
    the nearest markers do, so that neither lens nor bend matters, and corners beside none are left out.
    """
    layout = board.markers
    plane = np.stack([layout[d.tag_id][:, :2] for d in markers])
    picture = view.flat(np.stack([d.corners for d in markers]))
    everywhere = _common_map(plane, picture, markers, view)
    centres = plane.mean(axis=1)
    kept_board: list[Floats] = []
    kept_image: list[Floats] = []
    for corner in board.chess_corners:
        H = everywhere
        if H is None:
            distance = np.linalg.norm(centres - corner[:2], axis=1) / board.square_m
            order = np.argsort(distance)[:_NEAREST]
            if distance[order[0]] > 1.0:  # no marker beside this corner was read
                continue
            near = order[distance[order] < _FARTHEST]
            H = homography(plane[near].reshape(-1, 2), picture[near].reshape(-1, 2))
        refined = None if H is None else _saddle(gray, H, corner, board, view)
        if refined is not None:
            kept_board.append(corner)
            kept_image.append(refined)
    return np.reshape(kept_board, (-1, 3)).astype(np.float64), np.reshape(kept_image, (-1, 2)).astype(np.float64)


def _common_map(plane: Floats, picture: Floats, markers: Sequence[TagDetection], view: Straightener) -> Floats | None:
    if not view.exact or len(markers) < 2:
        return None
    H = homography(plane.reshape(-1, 2), picture.reshape(-1, 2))
    if H is None:
        return None
    miss = view.pixels(transfer(H, plane).reshape(-1, 2)) - np.concatenate([d.corners for d in markers])
    return H if np.sqrt((miss**2).sum(axis=1).mean()) < _FLAT_PX else None


def _saddle(gray: Image, H: Floats, corner: Floats, board: CharucoBoard, view: Straightener) -> Floats | None:
    """Return the chess corner (2,) [px] near its prediction, None when the picture shows none there."""
    reach = 0.5 * (board.square_m - board.marker_m)  # the markers must stay outside the window
    ring = corner[:2] + np.array([[0, 0], [reach, 0], [-reach, 0], [0, reach], [0, -reach]])
    projected = view.pixels(transfer(H, ring))
    predicted = projected[0]
    if not np.isfinite(projected).all():
        return None
    half = float(np.linalg.norm(projected[1:] - predicted, axis=1).min())
    window = int(np.clip(round(half), 2, 11))
    height, width = gray.shape
    if not (window < predicted[0] < width - 1 - window and window < predicted[1] < height - 1 - window):
        return None
    start = predicted.astype(np.float32).reshape(1, 1, 2)
    refined = cv2.cornerSubPix(gray, start, (window, window), (-1, -1), _TERMINATION).reshape(2).astype(np.float64)
    if np.linalg.norm(refined - predicted) > max(1.5, 0.6 * window):
        return None
    d = 0.6 * reach
    quadrants = view.pixels(transfer(H, corner[:2] + np.array([[d, d], [-d, d], [-d, -d], [d, -d]])))
    return refined if _is_chess_corner(gray, quadrants + (refined - predicted)) else None


def _is_chess_corner(gray: Image, quadrants: Floats) -> bool:
    """Return whether opposite quadrants are alike and neighbouring ones differ; false where the corner is covered."""
    height, width = gray.shape
    if not np.isfinite(quadrants).all():
        return False
    columns, rows = np.rint(quadrants).astype(int).T
    if columns.min() < 0 or rows.min() < 0 or columns.max() >= width or rows.max() >= height:
        return False
    a, b, c, e = gray[rows, columns].astype(np.float64)
    contrast = abs(a + c - b - e) / 2.0
    return bool(contrast > 8.0 and max(abs(a - c), abs(b - e)) < 0.6 * contrast)
