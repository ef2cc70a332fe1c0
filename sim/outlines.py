"""Where a picture of solid bodies needs more rays, and where it can do with fewer."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.types import Floats

_JUMP = np.float32(0.02)
"""Relative step in distance between neighbours that counts as an outline."""
_CONTRAST = np.float32(14.0)
"""[grey levels] Difference between neighbours up to which the pixel between them is interpolated."""


@njit(cache=True, nogil=True)
def even_pixels(pixels: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return those flat indices that lie in an even row and an even column."""
    kept = np.empty(len(pixels), dtype=np.int64)
    n = 0
    for p in pixels:
        if (p // width) % 2 == 0 and (p % width) % 2 == 0:
            kept[n] = p
            n += 1
    return kept[:n]


@njit(cache=True, nogil=True)
def fill_between(
    colour: NDArray[np.float32], distance: NDArray[np.float32], body_of: NDArray[np.int16]
) -> NDArray[np.bool_]:
    """Interpolate the pixels between even ones where these agree; return (H, W) True where they do not."""
    height, width = distance.shape
    undecided = np.zeros((height, width), dtype=np.bool_)
    for y in range(height):
        for x in range(1 - y % 2, width, 1 if y % 2 else 2):
            x0, x1 = x - x % 2, min(x + x % 2, (width - 1) // 2 * 2)
            y0, y1 = y - y % 2, min(y + y % 2, (height - 1) // 2 * 2)
            label = body_of[y0, x0]
            same = body_of[y0, x1] == label and body_of[y1, x0] == label and body_of[y1, x1] == label
            if same and label == 0:
                continue
            if same:
                a, b, c, d = distance[y0, x0], distance[y0, x1], distance[y1, x0], distance[y1, x1]
                low, high = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
                same = high - low <= _JUMP * low
            if same:
                for k in range(3):
                    e, f, g, h = colour[y0, x0, k], colour[y0, x1, k], colour[y1, x0, k], colour[y1, x1, k]
                    same = same and max(max(e, f), max(g, h)) - min(min(e, f), min(g, h)) <= _CONTRAST
            if not same:
                undecided[y, x] = True
                continue
            quarter = np.float32(0.25)
            for k in range(3):
                colour[y, x, k] = quarter * (
                    colour[y0, x0, k] + colour[y0, x1, k] + colour[y1, x0, k] + colour[y1, x1, k]
                )
            distance[y, x] = quarter * (distance[y0, x0] + distance[y0, x1] + distance[y1, x0] + distance[y1, x1])
            body_of[y, x] = label
    return undecided


@njit(cache=True, nogil=True)
def find_edges(body_of: NDArray[np.int16], distance: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return flat indices of pixels at an outline: another body beside them, or a jump in distance of 2 %."""
    height, width = body_of.shape
    found = np.zeros((height, width), dtype=np.bool_)
    for y in range(height):
        for x in range(width):
            b, d = body_of[y, x], distance[y, x]
            if x + 1 < width:
                e = distance[y, x + 1]
                if b != body_of[y, x + 1] or (b != 0 and abs(d - e) > _JUMP * d):
                    found[y, x] = found[y, x + 1] = True
            if y + 1 < height:
                e = distance[y + 1, x]
                if b != body_of[y + 1, x] or (b != 0 and abs(d - e) > _JUMP * d):
                    found[y, x] = found[y + 1, x] = True
    return np.flatnonzero(found)


@njit(cache=True, nogil=True)
def split_rays(corners: Floats, pixels: NDArray[np.int64], directions: NDArray[np.float32]) -> None:
    """Write four unit directions on a rotated grid for each pixel into ``directions`` (N, 4, 3)."""
    width = corners.shape[1] - 1
    for i in range(len(pixels)):
        row, column = pixels[i] // width, pixels[i] % width
        for k in range(4):
            x = (0.375, 0.875, 0.125, 0.625)[k]
            y = (0.125, 0.375, 0.625, 0.875)[k]
            squared = 0.0
            for c in range(3):
                top = (1.0 - x) * corners[row, column, c] + x * corners[row, column + 1, c]
                low = (1.0 - x) * corners[row + 1, column, c] + x * corners[row + 1, column + 1, c]
                value = (1.0 - y) * top + y * low
                directions[i, k, c] = value
                squared += value * value
            for c in range(3):
                directions[i, k, c] /= np.float32(math.sqrt(squared))
