"""What all that looks at pictures needs: brightness, noise, other tones and sizes, and a credible outline."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from vision_ik.types import Floats, Image

_MIN_SIDE = 5.0
"""[px] Shortest edge of a credible marker."""
_NOISE_SAMPLES = 30_000
"""Pixels from which the noise is told; it is good to 2 %."""
_ROUNDING = 1.0 / 12.0
"""[grey levels^2] Variance of the rounding to whole grey levels."""
LOG_FLOOR = 8.0
"""[grey levels] Added before the logarithm; below it a sensor's noise would be stretched."""


def to_gray(image: Image) -> Image:
    """Return the (H, W) brightness of a BGR picture."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def is_convex_quad(corners: Floats) -> bool:
    """Return whether (4, 2) corners [px] run clockwise in the picture around a convex quad of credible size."""
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    turning = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return bool((turning > 0).all() and np.linalg.norm(edges, axis=1).min() >= _MIN_SIDE)


def noise_level(gray: Image) -> float:
    """Return the standard deviation of the pixel noise in grey levels, from differences of neighbours.

    Their median is set by flat areas, so edges and tags do not count.
    """
    step = max(1, gray.size // _NOISE_SAMPLES)
    rows = gray[::step].astype(np.int16)
    counts = np.bincount(np.abs(rows[:, 1:] - rows[:, :-1]).ravel(), minlength=2)
    variance = 0.5 * (1.4826 * _median(counts)) ** 2
    return float(np.sqrt(max(variance - _ROUNDING, 0.0)))


def logarithm(gray: Image) -> Image:
    """Return the picture with its tones on a logarithmic scale, in which light is a summand and no factor."""
    return np.asarray(cv2.LUT(gray, _log_table()), dtype=np.uint8)


def at_level(gray: Image, level: float, steepness: float) -> Image:
    """Return the picture cut at one grey level, with a few levels of transition for the edges' position."""
    steep = np.clip((np.arange(256.0) - level) * steepness + 127.5, 0.0, 255.0).astype(np.uint8)
    return np.asarray(cv2.LUT(gray, steep), dtype=np.uint8)


def resized(gray: Image, scale: float) -> Image:
    """Return the picture at another size: averaged over areas when smaller, interpolated when larger."""
    if scale == 1.0:
        return gray
    height, width = gray.shape
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(gray, size, interpolation=how), dtype=np.uint8)


def unscaled(corners: Floats, small: Image, gray: Image) -> Floats:
    """Return corners (..., 2) found in ``small`` as pixels of ``gray``, of which it is the resized picture."""
    factors = np.array([gray.shape[1] / small.shape[1], gray.shape[0] / small.shape[0]])
    return (corners + 0.5) * factors - 0.5


def grey_range(gray: Image) -> tuple[float, float]:
    """Return the grey levels that 1 % of the pixels lie below and above."""
    step = max(1, gray.size // _NOISE_SAMPLES)
    counts = np.cumsum(np.bincount(gray[::step].ravel(), minlength=256))
    low, high = np.searchsorted(counts, [0.01 * counts[-1], 0.99 * counts[-1]])
    return float(low), float(high)


def _median(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    """Return the median of counted whole numbers, as if each stood for the unit interval around it."""
    total = np.cumsum(counts)
    half = 0.5 * float(total[-1])
    at = int(np.searchsorted(total, half))
    before = float(total[at - 1]) if at else 0.0
    # All magnitudes are counted, so that of 0 stands for half an interval.
    share = (half - before) / max(float(counts[at]), 1.0)
    return 0.5 * share if at == 0 else at - 0.5 + share


@lru_cache(maxsize=1)
def _log_table() -> Image:
    grey = np.arange(256.0)
    return np.rint(255.0 * np.log1p(grey / LOG_FLOOR) / np.log1p(255.0 / LOG_FLOOR)).astype(np.uint8)
