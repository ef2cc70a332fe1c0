"""The rungs of a search for markers, from cheap to thorough, and the work they may cost.

Each rung shows the finder of quads the same picture in another way: as it is, in the logarithm of
its tones (in which a hard shadow is no edge between black and white), smaller (which averages
noise away), with the smear of motion undone, cut at several grey levels (which finds a border
whatever lies next to its quiet zone), and larger (for small markers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from vision_ik.tags.detection.deblur import motion_path, without_motion
from vision_ik.tags.pictures import at_level, grey_range, logarithm, noise_level, resized
from vision_ik.types import Image, TagDetection

Tone = Literal["plain", "logarithm", "levels", "still"]

_CONTRAST_OVER_NOISE = 7.0
"""The range over the library's tiles is 5 to 6 times the noise; below this, noise is segmented."""
_LEAST_CONTRAST = 5
_MOST_CONTRAST = 100
_LEVEL_STEP = 16.0
"""[grey levels] Between two cuts: a border that is 25 darker than its quiet zone is met by one at least."""
_MOST_LEVELS = 14
_STEEPEST_CUT = 16.0
_CUT_CONTRAST = 100
"""[grey levels] Of an edge in a picture that was cut."""
_PATH_SCALE = 0.5
"""Size at which the path of a smear is looked for in whole frames."""
_PATH_PIXELS = 100_000
"""Smaller pictures show it at their full size only."""


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
    Rung(tone="still", contrast=20),
    Rung(tone="levels", scale=0.5),
    Rung(tone="logarithm", contrast=15),
    Rung(tone="plain", scale=2.0, contrast=15),
)
"""For whole frames. The last, for markers of 10 px, is beyond the default budget; a frame without any marker would
pay for it every time."""
REGION_RUNGS = (
    Rung(tone="plain", contrast=20),
    Rung(tone="logarithm"),
    Rung(tone="plain", scale=0.5, contrast=_LEAST_CONTRAST),
    Rung(tone="still", contrast=20),
    Rung(tone="levels"),
    Rung(tone="plain", scale=2.0, contrast=15),
)
"""For the small pictures around markers that are expected."""


class View(NamedTuple):
    """What is looked at in one go."""

    gray: Image
    """(H, W) from which the bits are read; the camera's picture, or that with the smear undone."""
    picture: Image
    """In which outlines are looked for; the same at another size, in other tones."""
    contrast: int
    """Least step of an edge in ``picture`` [grey levels]."""


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

    def affordable(self, rungs: Sequence[Rung], gray: Image) -> list[Rung]:
        """Return the rungs of a ladder that could be climbed from here, one after the other."""
        trial, chosen = copy(self), list[Rung]()
        for rung in rungs:
            pixels = cost(rung, gray)
            if trial.allows(pixels):
                trial.count(pixels)
                chosen.append(rung)
        return chosen


def in_turn(rungs: Sequence[Rung], turn: int | None) -> list[Rung]:
    """Return the rung whose turn it is, all of them where ``turn`` is None."""
    return list(rungs) if turn is None or not rungs else [rungs[turn % len(rungs)]]


def cost(rung: Rung, gray: Image) -> float:
    """Return the pixels that a rung looks at in a picture."""
    pictures = len(_levels(gray)) if rung.tone == "levels" else 2 if rung.tone == "still" else 1
    return pictures * rung.scale**2 * gray.size


def views(rung: Rung, gray: Image, noise: float) -> Iterator[View]:
    """Yield what a rung looks at.

    Args:
        rung: How to look.
        gray: (H, W) picture.
        noise: Its noise [grey levels].
    """
    if rung.tone == "still":
        scale = _PATH_SCALE if gray.size > _PATH_PIXELS else 1.0
        path = motion_path(resized(gray, scale))
        if path is not None:
            gray = without_motion(gray, path / scale, noise)
            yield View(gray, gray, _limit(rung.contrast, noise_level(gray)))
        return
    small = resized(gray, rung.scale)
    noise *= min(rung.scale, 1.0)  # a picture of half the size holds means of four pixels
    if rung.tone == "levels":
        # Where a soft gradient crosses the level, the noise must not be cut out of the picture.
        steepness = min(_STEEPEST_CUT, _CUT_CONTRAST / max(_CONTRAST_OVER_NOISE * noise, 1.0))
        for level in _levels(gray):
            yield View(gray, at_level(small, level, steepness), _CUT_CONTRAST)
    else:
        picture = logarithm(small) if rung.tone == "logarithm" else small
        yield View(gray, picture, _limit(rung.contrast, noise))


def _limit(contrast: int, noise: float) -> int:
    """Return the least contrast of an edge that is asked for in a picture with so much noise [grey levels]."""
    return int(np.clip(_CONTRAST_OVER_NOISE * noise, contrast, _MOST_CONTRAST))


def _levels(gray: Image) -> list[float]:
    """Return the grey levels at which a picture is cut."""
    low, high = grey_range(gray)
    count = int(np.clip(np.ceil((high - low) / _LEVEL_STEP) - 1, 3, _MOST_LEVELS))
    return np.linspace(low, high, count + 2)[1:-1].tolist()
