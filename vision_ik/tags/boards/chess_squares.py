"""Whether a lattice of corners is a chessboard's: what lies between the corners must be its squares.

A search for chess corners may return a lattice whose rows are shifted by a square each. Its corners
are true ones, and a homography fits them; but its cells lie across two squares.
"""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.types import Floats, Image

_LARGEST_JUMP = 0.6
"""Between neighbouring steps along a row or column, as a share of the shorter one."""
_INNER = np.array([0.3, 0.5, 0.7])
"""Where a cell is looked at, as shares of its sides: clear of blurred edges."""
_LEAST_APART = 0.45
"""Of a cell's every part from its neighbours, as a share of the whole cell's difference from them."""
_LEAST_CONTRAST = 3.0
"""[grey levels] Between neighbouring squares."""
_LEAST_RIM = 0.3
"""Contrast of the squares on a rim, as a share of that inside, from which on they are squares."""
_LARGEST_ASPECT = 8.0
"""Of a square's sides in the picture, by tilt."""


def shows_squares(gray: Image, grid: Floats) -> bool:
    """Return whether the cells of a grid of corners (rows, columns, 2) [px] are alternately black and white squares.

    Each cell must be darker than all of its neighbours, or lighter than all, and so must all parts of
    it: a white square half in shadow is still lighter than the black ones beside it, while a cell that
    lies across two squares has parts of either colour. The squares of the rim, outside the corners,
    must alternate too, where they are in the picture.
    """
    if _uneven(grid) or _narrow(grid):
        return False
    samples = _sample(gray, _cells(grid))
    if not np.isfinite(samples).all():
        return False
    inner = samples.mean(axis=2)
    sign = np.where(np.indices(inner.shape).sum(axis=0) % 2 == 0, 1.0, -1.0)
    whole = np.full((inner.shape[0] + 2, inner.shape[1] + 2), np.nan)
    whole[1:-1, 1:-1] = inner
    if inner.size < 4:  # no neighbours inside, or hardly any
        whole = _sample(gray, _cells(_grown(grid))).mean(axis=2)
    around = np.stack([whole[:-2, 1:-1], whole[2:, 1:-1], whole[1:-1, :-2], whole[1:-1, 2:]])
    steps = sign * (inner - around)
    known = steps[np.isfinite(steps)]
    if not len(known) or not ((known > _LEAST_CONTRAST).all() or (known < -_LEAST_CONTRAST).all()):
        return False
    contrast = np.nanmean(np.abs(steps), axis=0)
    way = np.sign(known[0])
    parts = way * sign[..., None] * (samples - np.nanmean(around, axis=0)[..., None])
    if (parts.min(axis=2) < _LEAST_APART * contrast).any():
        return False
    return _rim_alternates(gray, grid, float(way * np.median(contrast)))


def darkness(gray: Image, grid: Floats) -> float:
    """Return by how many grey levels the inner squares that should be black are darker than the white ones.

    The square inside the corners (row, column) = (0, 0) is the second of the second row: black, as
    the top left one.
    """
    greys = _sample(gray, _cells(grid)).mean(axis=2)
    black = np.indices(greys.shape).sum(axis=0) % 2 == 0
    if black.all():  # a single square, beside the white ones around it
        around = _sample(gray, _cells(_grown(grid))).mean(axis=2)
        return float(np.nanmean([around[0, 1], around[1, 0], around[1, 2], around[2, 1]]) - greys[0, 0])
    return float(greys[~black].mean() - greys[black].mean())


def _rim_alternates(gray: Image, grid: Floats, contrast: float) -> bool:
    """Return whether the squares of each side's rim alternate, going on from a signed contrast inside."""
    whole = _sample(gray, _cells(_grown(grid))).mean(axis=2)
    sign = np.where(np.indices(whole.shape).sum(axis=0) % 2 == 0, 1.0, -1.0)  # that of (1, 1) is positive
    for side, signs in zip(
        (whole[0], whole[-1], whole[:, 0], whole[:, -1]), (sign[0], sign[-1], sign[:, 0], sign[:, -1]), strict=True
    ):
        light, dark = side[(signs > 0) & np.isfinite(side)], side[(signs < 0) & np.isfinite(side)]
        if len(light) and len(dark) and (np.median(light) - np.median(dark)) / contrast < _LEAST_RIM:
            return False
    return True


def _uneven(grid: Floats) -> bool:
    """Return whether the distances in a grid (rows, columns, 2) jump, as no lens and no tilt makes them."""
    for points in (grid, np.swapaxes(grid, 0, 1)):
        steps = np.diff(points, axis=0)
        jumps = np.linalg.norm(np.diff(steps, axis=0), axis=2)
        lengths = np.linalg.norm(steps, axis=2)
        if (jumps > _LARGEST_JUMP * np.minimum(lengths[1:], lengths[:-1])).any():
            return True
    return False


def _narrow(grid: Floats) -> bool:
    """Return whether cells are folded over, or far longer than wide."""
    right, down = np.diff(grid, axis=1)[:-1], np.diff(grid, axis=0)[:, :-1]
    area = right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]
    if not ((area > 0.0).all() or (area < 0.0).all()):
        return True
    longer = np.maximum(np.linalg.norm(right, axis=2), np.linalg.norm(down, axis=2))
    return bool((longer**2 > _LARGEST_ASPECT * np.abs(area)).any())


def _grown(grid: Floats) -> Floats:
    """Return the grid (rows + 2, columns + 2, 2) with a further corner on all sides, as the last steps go on."""
    rows = np.concatenate([2.0 * grid[:1] - grid[1:2], grid, 2.0 * grid[-1:] - grid[-2:-1]])
    return np.concatenate([2.0 * rows[:, :1] - rows[:, 1:2], rows, 2.0 * rows[:, -1:] - rows[:, -2:-1]], axis=1)


def _cells(grid: Floats) -> Floats:
    """Return points (rows - 1, columns - 1, 9, 2) within the cells of a grid (rows, columns, 2)."""
    x, y = (part.ravel()[:, None] for part in np.meshgrid(_INNER, _INNER))
    a, b, c, d = (part[:, :, None] for part in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]))
    return (1.0 - y) * ((1.0 - x) * a + x * b) + y * ((1.0 - x) * c + x * d)


def _sample(gray: Image, points: Floats) -> Floats:
    """Return the greys at points (..., 2) [px], interpolated; NaN outside the picture."""
    height, width = gray.shape
    flat = points.reshape(-1, 2)
    greys = cv2.remap(gray, flat[None].astype(np.float32), np.empty(0), cv2.INTER_LINEAR)
    inside = np.all((flat >= 0.0) & (flat <= (width - 1.0, height - 1.0)), axis=1)
    return np.where(inside, np.asarray(greys, dtype=np.float64).ravel(), np.nan).reshape(points.shape[:-1])
