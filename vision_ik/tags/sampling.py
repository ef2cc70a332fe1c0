"""Brightness between pixels, for compiled code."""

from __future__ import annotations

from numba import njit

from vision_ik.types import Image


@njit(cache=True, nogil=True, error_model="numpy")
def sample(gray: Image, x: float, y: float) -> float:
    """Return the brightness at (x, y) [px] between pixels (bilinear); outside the picture that of its rim.

    What is not a number counts as 0: compiled code must not read beside the picture, whatever it is given.

    Args:
        gray: (H, W) picture of at least 2 by 2 pixels.
        x: Column.
        y: Row.
    """
    height, width = gray.shape
    x = min(x, width - 1.001) if x > 0.0 else 0.0
    y = min(y, height - 1.001) if y > 0.0 else 0.0
    i, j = int(x), int(y)
    a, b = x - i, y - j
    top = gray[j, i] + a * (float(gray[j, i + 1]) - gray[j, i])
    low = gray[j + 1, i] + a * (float(gray[j + 1, i + 1]) - gray[j + 1, i])
    return top + b * (low - top)
