"""Drawing markers and boards as images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vision_ik.errors import TagError
from vision_ik.tags.families import find_family, marker_cells
from vision_ik.types import Board, CharucoBoard, Chessboard, Floats, Image, TagBundle, TagGridBoard

_FINE = 8
"""Samples along either side of a pixel of a bundle's sheet."""


def render_marker(family: str | Path, tag_id: int, cell_px: int = 8) -> Image:
    """Return the upright marker as a grey image with its black border, without quiet zone.

    Args:
        family: Family, dictionary or dictionary file.
        tag_id: Id of the marker.
        cell_px: Edge of one cell [px]; the marker measures (bits + 2) cells.

    Returns:
        (H, H) uint8, 0 or 255; the outer edges of the border are the image's edges.

    Raises:
        TagError: The family is unknown, has no such id, or cannot be drawn.
    """
    if cell_px < 1:
        raise ValueError(f"A cell needs at least one pixel, not {cell_px}.")
    return np.kron(marker_cells(family, tag_id), np.ones((cell_px, cell_px), dtype=np.uint8))


def board_cells(board: Board) -> list[tuple[Floats, Image]]:
    """Return what is printed on a board: black chess squares, then markers.

    Returns:
        Pairs of (4, 3) corners [m] in the board frame (upright order) and (k, k) cells, 0 or 255.
    """
    printed: list[tuple[Floats, Image]] = []
    if not isinstance(board, TagGridBoard):
        printed += [(square, np.zeros((1, 1), dtype=np.uint8)) for square in _black_squares(board)]
    if isinstance(board, Chessboard):
        return printed
    turns = 2 if prints_turned(board) else 0
    for tag_id, corners in board.markers.items():
        printed.append((corners, np.ascontiguousarray(np.rot90(marker_cells(board.family, tag_id), turns))))
    return printed


def bundle_cells(bundle: TagBundle) -> list[tuple[Floats, Image]]:
    """Return what is printed on the sheet of a flat bundle.

    Returns:
        Pairs of (4, 2) corners [m] on the sheet and (k, k) cells, 0 or 255. The x axis is that of
        the tag with the smallest id; the origin is the lower left corner of all.

    Raises:
        TagError: The bundle is not flat, or its tags cannot be drawn.
    """
    if not bundle.flat:
        raise TagError(
            "This bundle is not flat, so it fits no sheet of paper.",
            "Print its tags one by one and mount them; or learn the bundle from a video of the mounted tags.",
        )
    T_first_bundle = next(iter(bundle.Ts_bundle_tag.values())).inv()
    corners = {tag_id: points[:, :2] for tag_id, points in bundle.within(T_first_bundle).markers.items()}
    origin = np.concatenate(list(corners.values())).min(axis=0)
    return [(points - origin, marker_cells(bundle.family, tag_id)) for tag_id, points in corners.items()]


def render_bundle(bundle: TagBundle, px_per_m: float, *, margin_m: float = 0.0) -> Image:
    """Return the sheet of a flat bundle as a grey image, as :func:`render_board` does for boards.

    Turned tags have their edges sampled 8 x 8 times a pixel.

    Raises:
        TagError: The bundle is not flat, or its tags cannot be drawn.
    """
    if not px_per_m > 0 or margin_m < 0:
        raise ValueError("The resolution must be positive and the margin not negative.")
    printed = bundle_cells(bundle)
    size = np.concatenate([corners for corners, _ in printed]).max(axis=0)
    width, height = np.ceil((size + 2 * margin_m) * px_per_m - 1e-6).astype(int).tolist()
    fine = (np.arange(_FINE) + 0.5) / _FINE
    x = (np.arange(width)[:, None] + fine).ravel() / px_per_m - margin_m
    y = size[1] + margin_m - (np.arange(height)[:, None] + fine).ravel() / px_per_m
    black = np.zeros((len(y), len(x)), dtype=np.bool_)
    for corners, cells in printed:
        across, down = corners[1] - corners[0], corners[3] - corners[0]
        (left, low), (right, high) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        rows, columns = np.flatnonzero((y > low) & (y < high)), np.flatnonzero((x > left) & (x < right))
        at = np.stack(np.meshgrid(x[columns] - corners[0, 0], y[rows] - corners[0, 1]), axis=-1)
        i = np.floor(at @ down / (down @ down) * len(cells)).astype(int)
        j = np.floor(at @ across / (across @ across) * len(cells)).astype(int)
        on = (i >= 0) & (i < len(cells)) & (j >= 0) & (j < len(cells))
        dark = np.zeros(on.shape, dtype=np.bool_)
        dark[on] = cells[i[on], j[on]] == 0
        black[np.ix_(rows, columns)] |= dark
    share = black.reshape(height, _FINE, width, _FINE).mean(axis=(1, 3))
    return np.rint(255.0 * (1.0 - share)).astype(np.uint8)


def prints_turned(board: Board) -> bool:
    """Return whether the board's markers stand on their heads.

    ChArUco boards are OpenCV's, whose AprilTag patterns are turned by 180 degrees against
    the AprilTag image set; ours are printed the same way, so both kinds can be used.
    """
    return isinstance(board, CharucoBoard) and find_family(board.family).opencv_turned


def render_board(board: Board, px_per_m: float, *, margin_m: float = 0.0) -> Image:
    """Return the board as a grey image, seen from the front, y up.

    Each pixel holds the share of white in its area, so edges between pixels stay exact.

    Args:
        board: Layout to draw.
        px_per_m: Resolution [px/m].
        margin_m: White margin on all sides [m].

    Returns:
        (H, W) uint8, with size_m plus margins rounded up to whole pixels; the board's top
        left corner lies at ``margin_m * px_per_m - 0.5`` [px] in both directions.
    """
    if not px_per_m > 0 or margin_m < 0:
        raise ValueError("The resolution must be positive and the margin not negative.")
    width, height = (int(np.ceil((s + 2 * margin_m) * px_per_m - 1e-6)) for s in board.size_m)
    black = np.zeros((height, width))
    for corners, cells in board_cells(board):
        left, top = corners[0, 0], board.size_m[1] - corners[0, 1]
        pitch = (corners[1, 0] - corners[0, 0]) / len(cells) * px_per_m
        edges = np.arange(len(cells) + 1) * pitch
        across = _coverage(edges + (left + margin_m) * px_per_m, width)
        down = _coverage(edges + (top + margin_m) * px_per_m, height)
        black += down.T @ (cells == 0).astype(np.float64) @ across
    return np.rint(255.0 * (1.0 - np.clip(black, 0.0, 1.0))).astype(np.uint8)


def _coverage(edges: Floats, n: int) -> Floats:
    """Return the (k, n) share of each of n pixels covered by each of the k intervals between ``edges`` [px]."""
    pixels = np.arange(n)
    upper = np.minimum(edges[1:, None], pixels + 1)
    lower = np.maximum(edges[:-1, None], pixels)
    return np.clip(upper - lower, 0.0, 1.0)


def _black_squares(board: CharucoBoard | Chessboard) -> list[Floats]:
    """Return the (4, 3) corners [m] of the black squares: on a ChArUco board, those that carry no marker."""
    s, height = board.square_m, board.size_m[1]
    if isinstance(board, Chessboard):
        white = {(row, column) for row in range(board.rows) for column in range(board.columns) if (row + column) % 2}
    else:
        centres = [corners.mean(axis=0) for corners in board.markers.values()]
        white = {(round((height - c[1]) / s - 0.5), round(c[0] / s - 0.5)) for c in centres}
    return [
        np.array([[0, 0, 0], [s, 0, 0], [s, -s, 0], [0, -s, 0]]) + np.array([column * s, height - row * s, 0.0])
        for row in range(board.rows)
        for column in range(board.columns)
        if (row, column) not in white
    ]
