"""Laying the known print of a marker onto a picture: all its edges at once, covered ones left out.

Where a marker is expected within a cell of its place, each edge between black and white is looked
for along its normal, and the homography that brings all of them onto what is seen is fitted by
iteratively reweighted least squares (Tukey's biweight; Huber, Ronchetti, "Robust statistics",
2009, section 7.8). Edges that are not there, because a finger lies on them, fall out; what is left
says which cells are visible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision_ik.tags.following.known_pattern import KnownPattern
from vision_ik.tags.following.pattern_kernels import fit_homography, read_middles
from vision_ik.types import Floats, Image

_COUNTS = 0.2
"""Weight above which a profile shows the edge in its place."""
_CLEAR = 0.4
"""Half steps from the middle grey beyond which a cell is black or white."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatternFit:
    """Where the print lies, and what of it is seen."""

    corners: Floats
    """(4, 2) [px] in the order of the upright marker."""
    cells: NDArray[np.int8]
    """(m, m): 1 seen as printed, -1 seen in the other colour, 0 neither (covered, in glare)."""
    edges: NDArray[np.bool_]
    """(E,) whether each edge is seen where it belongs."""
    contrast: float
    """[grey levels] Typical step at an edge."""
    blur_px: float
    """[px] Width of the steps (root mean square, squared weights), along the axis where it is wider."""


def fit_pattern(gray: Image, corners: Floats, pattern: KnownPattern, bend: Floats) -> PatternFit | None:
    """Lay a marker's print onto the picture.

    Args:
        gray: (H, W) picture, or a part of it that holds the marker.
        corners: (4, 2) [px] of ``gray`` where the marker is expected, within a cell.
        pattern: Its print.
        bend: (n, n, 2) [px] by which the lens moves a grid of points over the print away from where the homography
            through the corners puts them; (1, 1, 2) for a lens that keeps lines straight.

    Returns:
        The best fit, whatever of the print is seen; None where hardly an edge is.
    """
    m = len(pattern.cells)
    start = corners - _at_corners(bend)
    held, h, seen, weights, blur = fit_homography(gray, start, pattern.points, pattern.normals, bend, 1.0 / m)
    if not held or not np.isfinite(h).all():
        return None
    believed = weights > 0.0
    if not believed.any():
        return None
    profiles = np.bincount(pattern.edge_of)
    edges = np.bincount(pattern.edge_of, weights > _COUNTS) >= 0.5 * profiles
    middle = np.bincount(pattern.edge_of, seen[:, 1]) / profiles
    step = np.bincount(pattern.edge_of, seen[:, 0]) / profiles
    # Black and white differ over the marker with the light; the edges near a cell tell what they are there.
    trust = pattern.nearness * edges + 1e-9
    total = trust.sum(axis=1)
    above = read_middles(gray, h, bend, m) - trust @ middle / total
    above *= np.where(pattern.cells.ravel(), 1.0, -1.0) / np.maximum(0.5 * (trust @ step) / total, 1.0)
    return PatternFit(
        corners=_corners_of(h) + _at_corners(bend),
        cells=np.where(above > _CLEAR, 1, np.where(above < -_CLEAR, -1, 0)).astype(np.int8).reshape(m, m),
        edges=edges,
        contrast=float(np.median(seen[believed, 0])),
        blur_px=float(np.where(np.isfinite(blur), blur, 0.0).max()),
    )


def _at_corners(bend: Floats) -> Floats:
    return bend[[0, 0, -1, -1], [0, -1, -1, 0]]


def _corners_of(h: Floats) -> Floats:
    """Return the corners (4, 2) of the print."""
    u, v = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 1.0])
    w = h[6] * u + h[7] * v + 1.0
    return np.stack([(h[0] * u + h[1] * v + h[2]) / w, (h[3] * u + h[4] * v + h[5]) / w], axis=1)
