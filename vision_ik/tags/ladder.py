"""The rungs of a search for markers, from cheap to thorough, and the work they may cost.

Each rung shows the finder of quads the same picture in another way: as it is, in the logarithm of
its tones (in which a hard shadow is no edge between black and white), smaller (which averages
noise away), cut at several grey levels (which finds a border whatever lies next to its quiet
zone, and a blurred one), cut at the mean of a small window, and larger (for small markers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vision_ik.tags.pictures import at_level, grey_range, local_cut, logarithm, resized
from vision_ik.types import Image, TagDetection

Tone = Literal["plain", "logarithm", "levels", "local"]

_CONTRAST_OVER_NOISE = 7.0
"""The range over the library's tiles is 5 to 6 times the noise; below this, noise is segmented."""
_LEAST_CONTRAST = 5
_MOST_CONTRAST = 100
_LEVEL_STEP = 16.0
"""[grey levels] Between two cuts: a border that is 25 darker than its quiet zone is met by one at least."""
_MOST_LEVELS = 14
_CUT_CONTRAST = 100
_WINDOW, _BELOW_MEAN = 7, 2.0
"""[px] and [grey levels] of the local cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much work one frame may cost; counted, never timed, so that the same frame always gives the same result."""

    passes: int = 12
    """Rungs that may be tried; at least one is."""
    frames: float = 8.0
    """Pixels that may be looked at, in units of the frame's own; the first rung is always affordable."""

    def __post_init__(self) -> None:
        if self.passes < 1 or not self.frames > 0.0:
            raise ValueError(f"A budget needs at least one pass and some pixels, not {self.passes} and {self.frames}.")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SearchResult:
    """What a search found, and what it cost."""

    detections: list[TagDetection]
    """By increasing id."""
    passes: int
    """Rungs that were tried."""
    pixels: int
    """That were looked at, over all rungs."""
    complete: bool
    """Whether all that was asked for was found; where nothing was, whether anything was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to look at a picture."""

    tone: Tone
    scale: float = 1.0
    contrast: int = 30
    """[grey levels] Least step of an edge; more where the picture is noisy."""


FRAME_RUNGS = (
    Rung(tone="plain"),
    Rung(tone="logarithm", scale=0.5),
    Rung(tone="plain", scale=0.5, contrast=_LEAST_CONTRAST),
    Rung(tone="levels", scale=0.5),
    Rung(tone="logarithm", contrast=15),
    Rung(tone="local"),
    Rung(tone="plain", scale=2.0, contrast=15),
)
"""For whole frames."""
REGION_RUNGS = (
    Rung(tone="plain", contrast=20),
    Rung(tone="logarithm"),
    Rung(tone="plain", scale=0.5, contrast=_LEAST_CONTRAST),
    Rung(tone="levels"),
    Rung(tone="plain", scale=2.0, contrast=15),
)
"""For the small pictures around markers that are expected."""


class Meter:
    """Counts the work of one search against its budget."""

    def __init__(self, budget: Budget, frame_pixels: int) -> None:
        self.passes = 0
        self.pixels = 0
        self._budget = budget
        self._most = budget.frames * frame_pixels

    def allows(self, pixels: float) -> bool:
        """Return whether one more pass over so many pixels is within the budget; the first always is."""
        return self.passes == 0 or (self.passes < self._budget.passes and self.pixels + pixels <= self._most)

    def count(self, pixels: float) -> None:
        """Note one pass over so many pixels."""
        self.passes += 1
        self.pixels += int(pixels)


def cost(rung: Rung, gray: Image) -> float:
    """Return the pixels that a rung looks at in a picture."""
    pictures = len(_levels(gray)) if rung.tone == "levels" else 1
    return pictures * rung.scale**2 * gray.size


def views(rung: Rung, gray: Image, noise: float) -> Iterator[tuple[Image, int]]:
    """Yield what a rung looks at: pictures, and the least contrast [grey levels] of an edge in each.

    Args:
        rung: How to look.
        gray: (H, W) picture.
        noise: Its noise [grey levels].
    """
    small = resized(gray, rung.scale)
    noise *= min(rung.scale, 1.0)  # a picture of half the size holds means of four pixels
    if rung.tone == "levels":
        for level in _levels(gray):
            yield at_level(small, level), _CUT_CONTRAST
    elif rung.tone == "local":
        yield local_cut(small, _WINDOW, max(_BELOW_MEAN, noise)), _CUT_CONTRAST
    else:
        picture = logarithm(small) if rung.tone == "logarithm" else small
        limit = int(np.clip(_CONTRAST_OVER_NOISE * noise, rung.contrast, _MOST_CONTRAST))
        yield picture, limit


def _levels(gray: Image) -> list[float]:
    """Return the grey levels at which a picture is cut."""
    low, high = grey_range(gray)
    count = int(np.clip(np.ceil((high - low) / _LEVEL_STEP) - 1, 3, _MOST_LEVELS))
    return np.linspace(low, high, count + 2)[1:-1].tolist()
