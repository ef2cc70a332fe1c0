"""Finding plain chessboards, in a frame that is as definite as the print allows."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.errors import TagError
from vision_ik.tags.boards.chess_squares import darkness, shows_squares
from vision_ik.tags.corners.saddles import refine_saddles
from vision_ik.tags.pictures import to_gray
from vision_ik.types import BoardDetection, Chessboard, Floats, Frame, Image

_LARGEST_PX = 1_400
"""Longer side beyond which the board is first looked for in a smaller picture: the search grows with the area."""
_SMALL_PX = 640
"""Longer side of the picture in which boards of any size are looked for."""
_MOST_SQUARES = 14
"""Along a side, of the boards looked for then."""
_WINDOW_SHARE = 0.35
"""Radius of the refinement as a share of the shortest distance between corners."""
_LARGEST_WINDOW = 12.0
"""[px]"""
_MOST = 0.9
"""Of the corners of a further row, that must look like chess corners for the board to go on."""


def detect_chessboard(frame: Frame, board: Chessboard, *, thorough: bool = True) -> BoardDetection | None:
    """Return the inner corners of a chessboard, None when it is not in view as a whole.

    Every corner must be found, and every square between them must have its colour: corners that
    are true ones but not the right ones make a pose that is wrong without a sign of it.

    The frame is right-handed with z out of the paper, and the top left square is black. Where the
    print leaves a choice (``board.symmetric``; any quarter turn if it is also square), the turn
    whose x axis points most to the right of the picture is taken.

    Args:
        frame: Picture.
        board: Layout.
        thorough: Also search slowly (about a second in a picture without a board); else only as
            fast as a live view wants it.

    Raises:
        TagError: The board goes on beyond the squares told.
    """
    gray = to_gray(frame.image)
    for found in _searches(gray, (board.columns - 1, board.rows - 1), thorough=thorough):
        corners = refine_saddles(gray, found, _window(found))
        grid = corners.points.reshape(board.rows - 1, board.columns - 1, 2)
        if not corners.found.all() or not shows_squares(gray, grid):  # a row skipped or shifted, or clutter taken in
            continue
        if _goes_on(gray, grid):
            raise TagError(
                f"The picture shows a chessboard of more than {board.columns}x{board.rows} squares.",
                "Set columns and rows to what is on the paper; squares are counted, not the corners inside.",
            )
        order = _upright(gray, grid)
        return BoardDetection(
            points_board=board.chess_corners,
            points_image=corners.points[order],
            timestamp=frame.timestamp,
            sigma=corners.sigma[order],
        )
    return None


def explain_missing_chessboard(frame: Frame, board: Chessboard) -> TagError | None:
    """Return what chessboard a picture shows in place of the one that was told; None when none.

    Tries other counts of squares, which takes seconds: meant for one picture of a set in which the
    board was not found.
    """
    gray = to_gray(frame.image)
    scale = max(1.0, max(gray.shape) / _SMALL_PX)
    small = (
        gray if scale == 1.0 else cv2.resize(gray, None, fx=1.0 / scale, fy=1.0 / scale, interpolation=cv2.INTER_AREA)
    )
    sizes = [(columns, rows) for columns in range(_MOST_SQUARES, 3, -1) for rows in range(columns, 3, -1)]
    told = (board.columns + 1, board.rows + 1)  # what was told were corners, perhaps
    for columns, rows in (told, *sorted(sizes, key=lambda size: -size[0] * size[1])):
        found, _ = cv2.findChessboardCornersSB(small, (columns - 1, rows - 1), flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
        if found:
            corners = " (squares are counted, not the corners inside)" if (columns, rows) == told else ""
            return TagError(
                f"The picture shows a chessboard of {columns}x{rows} squares, not one of "
                f"{board.columns}x{board.rows}{corners}.",
                f"Set columns = {columns} and rows = {rows}.",
                columns=columns,
                rows=rows,
            )
    return None


def _searches(gray: Image, size: tuple[int, int], *, thorough: bool) -> Iterator[Floats]:
    """Yield corners (N, 2) [px] by rows of ``size``, in any turn or mirror, by one search after another.

    The sector-based search (Duda & Frese, 2018) stands blur and tilt; the older one finds boards
    with squares of few pixels that the first misses.
    """
    scale = max(1.0, max(gray.shape) / _LARGEST_PX)
    small = (
        gray if scale == 1.0 else cv2.resize(gray, None, fx=1.0 / scale, fy=1.0 / scale, interpolation=cv2.INTER_AREA)
    )
    sectors = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
    older = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    for search, flags in (
        (cv2.findChessboardCornersSB, sectors),
        *([(cv2.findChessboardCornersSB, sectors | cv2.CALIB_CB_EXHAUSTIVE)] if thorough else []),
        (cv2.findChessboardCorners, older),
    ):
        found, corners = search(small, size, flags=flags)
        if found:
            # Pixel centres: the centre of the top left pixel is (0, 0) in both pictures.
            yield (np.asarray(corners, dtype=np.float64).reshape(-1, 2) + 0.5) * scale - 0.5


def _window(corners: Floats) -> float:
    """Return the radius [px] around each corner in which nothing but its four squares is seen."""
    apart = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    apart[np.diag_indices(len(apart))] = np.inf
    return float(np.clip(_WINDOW_SHARE * apart.min(), 2.0, _LARGEST_WINDOW))


def _upright(gray: Image, grid: Floats) -> NDArray[np.intp]:
    """Return the order (N,) in which the corners of a grid (rows, columns, 2) are by rows from the top left.

    Seen from the front, and with the top left square black.
    """
    numbers = np.arange(grid.shape[0] * grid.shape[1]).reshape(grid.shape[:2])
    if _turning(grid) < 0.0:  # by columns, or from below: a mirror no flat print can undergo
        numbers = numbers[::-1]
    turns = [numbers, numbers[::-1, ::-1]]
    if grid.shape[0] == grid.shape[1]:
        turns += [np.rot90(numbers), np.rot90(numbers, -1)]
    points = grid.reshape(-1, 2)
    black = [turn for turn in turns if darkness(gray, points[turn]) > 0.0]
    candidates = black or turns
    return candidates[int(np.argmax([_rightness(points[turn]) for turn in candidates]))].ravel()


def _goes_on(gray: Image, grid: Floats) -> bool:
    """Return whether another row or column of chess corners follows on any side of a grid (rows, columns, 2)."""
    for turned in (grid, grid[::-1], np.swapaxes(grid, 0, 1), np.swapaxes(grid, 0, 1)[::-1]):
        rows, columns = turned.shape[:2]
        plane = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2).astype(np.float64)
        near = plane[:, 1] >= rows - 3  # local: the lens bends the rest
        H, _ = cv2.findHomography(plane[near], turned.reshape(-1, 2)[near], 0)
        if np.shape(H) != (3, 3):
            continue
        beyond = np.column_stack([np.arange(columns), np.full(columns, rows)]).astype(np.float64)
        mapped = cv2.perspectiveTransform(beyond.reshape(1, -1, 2), np.asarray(H, dtype=np.float64))
        predicted = np.asarray(mapped, dtype=np.float64).reshape(-1, 2)
        radius = _window(np.concatenate([predicted, turned[-1]]))
        if refine_saddles(gray, predicted, radius).found.mean() >= _MOST:
            return True
    return False


def _turning(grid: Floats) -> float:
    """Return the turning sense from rows to columns in the picture, positive as seen from the front (y down)."""
    x, y = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    return float(x[0] * y[1] - x[1] * y[0])


def _rightness(grid: Floats) -> float:
    """Return the cosine between the board's x axis and that of the picture."""
    x = grid[:, -1].mean(axis=0) - grid[:, 0].mean(axis=0)
    return float(x[0] / max(float(np.linalg.norm(x)), 1e-12))
