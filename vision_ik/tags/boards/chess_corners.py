"""The chess corners of a ChArUco board: predicted from its markers, then moved to the saddles of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vision_ik.tags.boards.matching import Straightener, homography, transfer
from vision_ik.tags.corners.saddles import RefinedSaddles, refine_saddles
from vision_ik.types import CharucoBoard, Floats, Image, TagDetection

_NEAREST = 3
"""Markers whose common homography predicts a chess corner, where the lens is not known."""
_FARTHEST = 2.5
"""[squares] From a corner to the markers that predict it."""
_FLAT_PX = 1.0
"""[px] Misfit of the markers (rms) up to which one homography predicts the corners of the whole board."""
_LARGEST_WINDOW = 11.0
"""[px] Half width of what is looked at around a corner; more adds time and the bend of the paper."""
_QUADRANT = 0.6
"""Where the four squares are compared, as a share of the way from the corner to the nearest marker."""
_LEAST_CONTRAST = 3.0
"""[grey levels] Half the difference of black and white squares."""
_UNLIKE = 0.6
"""Difference of opposite squares, as a share of the contrast, beyond which something covers the corner."""


def find_chess_corners(
    gray: Image, board: CharucoBoard, markers: Sequence[TagDetection], view: Straightener
) -> tuple[Floats, Floats, Floats]:
    """Return the chess corners that the picture shows.

    Where the lens is known and the board is flat, all markers together predict all corners; else
    the nearest markers do, so that neither lens nor bend matters, and corners beside none are left out.

    Returns:
        (M, 3) [m] in the board frame, (M, 2) [px], and the standard deviation of their coordinates (M,) [px].
    """
    corners = board.chess_corners
    around, near = _predicted(corners, board, markers, view)
    predicted = around[:, 0]
    window = np.linalg.norm(around[:, 1:5] - predicted[:, None], axis=2).min(axis=1)
    refined = refine_saddles(gray, predicted, np.minimum(np.where(near, window, 0.0), _LARGEST_WINDOW))
    shown = refined.found & _shows_squares(gray, around[:, 5:], refined, predicted)
    return corners[shown], refined.points[shown], refined.sigma[shown]


def _predicted(
    corners: Floats, board: CharucoBoard, markers: Sequence[TagDetection], view: Straightener
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (N, 9, 2) pixels: each corner, points as far from it as the markers are, points in its squares.

    And whether (N,) markers stand near enough to predict it.
    """
    reach = 0.5 * (board.square_m - board.marker_m)  # the markers must stay outside the window
    ring = reach * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    squares = _QUADRANT * reach * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    points = corners[:, None, :2] + np.concatenate([ring, squares])
    layout = board.markers
    plane = np.stack([layout[d.tag_id][:, :2] for d in markers])
    picture = view.flat(np.stack([d.corners for d in markers]))
    H = _common_map(plane, picture, markers, view)
    if H is not None:
        return view.pixels(transfer(H, points).reshape(-1, 2)).reshape(points.shape), np.ones(len(corners), np.bool_)
    distance = np.linalg.norm(corners[:, None, :2] - plane.mean(axis=1), axis=2) / board.square_m
    order = np.argsort(distance, axis=1)[:, :_NEAREST]
    near = distance.min(axis=1) < 1.0
    predicted = np.full(points.shape, np.nan)
    for i in np.flatnonzero(near).tolist():
        k = order[i][distance[i, order[i]] < _FARTHEST]
        H = homography(plane[k].reshape(-1, 2), picture[k].reshape(-1, 2))
        if H is not None:
            predicted[i] = view.pixels(transfer(H, points[i]))
    return predicted, near & np.isfinite(predicted).all(axis=(1, 2))


def _common_map(plane: Floats, picture: Floats, markers: Sequence[TagDetection], view: Straightener) -> Floats | None:
    """Return the homography of all markers, None where the lens is unknown or the board not flat."""
    if not view.exact or len(markers) < 2:
        return None
    H = homography(plane.reshape(-1, 2), picture.reshape(-1, 2))
    if H is None:
        return None
    miss = view.pixels(transfer(H, plane).reshape(-1, 2)) - np.concatenate([d.corners for d in markers])
    return H if np.sqrt((miss**2).sum(axis=1).mean()) < _FLAT_PX else None


def _shows_squares(gray: Image, squares: Floats, refined: RefinedSaddles, predicted: Floats) -> NDArray[np.bool_]:
    """Return (N,) whether opposite squares are alike and neighbouring ones differ; false where one is covered."""
    height, width = gray.shape
    at = np.rint(squares + (refined.points - predicted)[:, None])
    inside = np.all((at >= 0) & (at <= (width - 1, height - 1)), axis=(1, 2))
    columns, rows = np.moveaxis(np.where(inside[:, None, None], at, 0.0).astype(int), 2, 0)
    a, b, c, d = gray[rows, columns].astype(np.float64).T
    contrast = np.abs(a + c - b - d) / 2.0
    alike = np.maximum(np.abs(a - c), np.abs(b - d)) < _UNLIKE * contrast
    return inside & alike & (contrast > _LEAST_CONTRAST)
