"""Parts of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
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
    left, top = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    right, bottom = max(min(x1, width), left + 1), max(min(y1, height), top + 1)
    gray = to_gray(image[top:bottom, left:right])
    more_x, more_y = x1 - x0 - (right - left), y1 - y0 - (bottom - top)
    if more_x or more_y:
        before_x, before_y = min(max(-x0, 0), more_x), min(max(-y0, 0), more_y)
        pad = (before_y, more_y - before_y, before_x, more_x - before_x)
        gray = np.asarray(cv2.copyMakeBorder(gray, *pad, cv2.BORDER_REPLICATE), dtype=np.uint8)
    return Window(gray=gray, origin=np.array([x0, y0], dtype=np.float64))
