"""Parts of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision_ik.tags.pictures import to_gray
from vision_ik.types import Floats, Image

Bounds = tuple[int, int, int, int]
"""x0, y0, x1, y1 [px], the last ones excluded."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Window:
    """A part of a picture."""

    gray: Image
    """(h, w) brightness."""
    origin: Floats
    """(2,) [px] Where its first pixel lies in the picture."""


def bounds_of(points: Floats, margin: float) -> Bounds:
    """Return the bounds of points (N, 2) [px] with a margin [px]."""
    x0, y0 = np.floor(points.min(axis=0) - margin).astype(int).tolist()
    x1, y1 = np.ceil(points.max(axis=0) + margin).astype(int).tolist()
    return x0, y0, x1 + 1, y1 + 1


def cut(image: Image, bounds: Bounds) -> Window:
    """Return a part of a BGR picture, of exactly the size asked for; outside the picture its rim goes on."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = bounds
    rows, columns = np.clip(np.arange(y0, y1), 0, height - 1), np.clip(np.arange(x0, x1), 0, width - 1)
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    gray = to_gray(image[top:bottom, left:right])
    if gray.shape != (y1 - y0, x1 - x0):
        gray = gray[np.ix_(rows - top, columns - left)]
    return Window(gray=gray, origin=np.array([x0, y0], dtype=np.float64))
