"""Laying a marker's known print onto a frame near an expected place, and believing it or not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vision_ik.tags.corners.refinement import refine_visible
from vision_ik.tags.families import TagFamily, marker_cells
from vision_ik.tags.following.known_pattern import KnownPattern, known_pattern
from vision_ik.tags.following.legibility import Legibility, all_turns, judge, visible_cells
from vision_ik.tags.following.pattern_fit import PatternFit, fit_pattern
from vision_ik.tags.following.windows import Window, bounds_of, cut
from vision_ik.tags.pictures import is_convex_quad
from vision_ik.tags.projection import project_rays, undistort
from vision_ik.tags.quads import longest_edge, on_print
from vision_ik.types import CameraIntrinsics, Floats, Frame, Image

_STRAIGHT = np.zeros((1, 1, 2))
_BEND_GRID = 5
_MARGIN = (0.35, 8.0)
"""[edges], [px] Around a marker in the part of the picture that is looked at: for the flow that starts from it."""
_ASTRAY = 0.2
"""[cells] Refinement that moves a corner farther has found something else."""
_WORST_CORNER = (0.005, 0.25)
"""[edges], [px] Largest standard deviation, their sum, of a corner that is reported."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Placement:
    """Where a marker's print lies in a frame, and what of it is seen."""

    corners: Floats
    """(4, 2) [px] in the order of the upright marker, hidden ones included."""
    covariance: Floats
    """(8, 8) [px^2]"""
    legibility: Legibility
    hidden_bits: int
    """Bits that cannot be read."""
    knots: Floats
    """(K, 2) corners of visible cells on the print, where the picture has texture."""
    window: Window
    """Part of the frame around it."""


class PrintPlacer:
    """Finds markers of one family by their print.

    Args:
        family: What the markers are.
    """

    def __init__(self, family: TagFamily) -> None:
        self._family = family
        self._bits = None if family.dictionary is None else all_turns(family.dictionary.patterns)

    def pattern(self, tag_id: int) -> KnownPattern | None:
        """Return the print of a marker, None for families whose print is not known here."""
        return None if self._bits is None else _pattern(self._family.name, tag_id)

    def place(self, frame: Frame, corners: Floats, pattern: KnownPattern | None) -> Placement | None:
        """Return where a print lies, None when it is not there or too little of it is visible.

        Args:
            frame: Where to look.
            corners: (4, 2) [px] where it is expected, within a cell.
            pattern: The print.
        """
        if pattern is None or self._bits is None or not (np.isfinite(corners).all() and is_convex_quad(corners)):
            return None
        height, width = frame.image.shape[:2]
        x, y = corners.mean(axis=0)
        if not (0.0 <= x < width and 0.0 <= y < height):
            return None
        window = cut(frame.image, bounds_of(corners, _MARGIN[0] * longest_edge(corners) + _MARGIN[1]))
        height, width = window.gray.shape
        x0, y0 = window.origin.tolist()
        lens = frame.intrinsics.part(x0, y0, width, height)
        expected = corners - window.origin
        fit = fit_pattern(window.gray, expected, pattern, _bend(expected, lens))
        if fit is None:
            return None
        legibility, hidden_bits = judge(fit, pattern, self._bits, self._family.max_hamming)
        if legibility is Legibility.ILLEGIBLE:
            return None
        refined = _refined(window.gray, fit, pattern, lens)
        if refined is None:
            return None
        placed, covariance = refined
        seen = np.append(visible_cells(fit, pattern).ravel(), True)  # the last one is the paper around
        return Placement(
            corners=placed + window.origin,
            covariance=covariance,
            legibility=legibility,
            hidden_bits=hidden_bits,
            knots=pattern.knots[seen[pattern.knot_cells].all(axis=1)],
            window=window,
        )


def _refined(
    gray: Image, fit: PatternFit, pattern: KnownPattern, lens: CameraIntrinsics
) -> tuple[Floats, Floats] | None:
    """Return the corners (4, 2) [px] refined on the visible cells, and their covariance (8, 8) [px^2].

    None where the refinement, which models each edge, finds the edges elsewhere or not at all: then the print was
    laid onto something that only resembles it.
    """
    cells, visible = pattern.cells.astype(np.uint8), visible_cells(fit, pattern)
    refined = refine_visible(gray, fit.corners, cells, visible, fit.blur_px, None if lens.approximate else lens)
    if refined is None or np.abs(refined[0] - fit.corners).max() > _ASTRAY * longest_edge(fit.corners) / len(cells):
        return None
    return refined if _credible(*refined) else None


def _credible(corners: Floats, covariance: Floats) -> bool:
    """Return whether corners are those of a marker, and all known well enough."""
    if not is_convex_quad(corners):
        return False
    variances = np.diag(covariance).reshape(4, 2).sum(axis=1)
    return bool(np.sqrt(variances.max()) <= _WORST_CORNER[0] * longest_edge(corners) + _WORST_CORNER[1])


@lru_cache(maxsize=256)
def _pattern(family: str, tag_id: int) -> KnownPattern:
    return known_pattern(marker_cells(family, tag_id))


def _bend(corners: Floats, lens: CameraIntrinsics) -> Floats:
    """Return (n, n, 2) [px] how the lens moves points of the print away from their homography."""
    if lens.approximate or (lens.model == "pinhole" and not np.any(lens.distortion)):
        return _STRAIGHT
    steps = np.linspace(0.0, 1.0, _BEND_GRID)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    rays = undistort(corners, lens)
    if not np.isfinite(rays).all():
        return _STRAIGHT
    bent = project_rays(on_print(rays, grid), lens) - on_print(corners, grid)
    return bent.reshape(_BEND_GRID, _BEND_GRID, 2) if np.isfinite(bent).all() else _STRAIGHT
