"""How much of a marker can be read where its print was laid onto a picture, and whether that is enough.

A marker counts as read when its bits are there, as a detector would have it. A marker that something
covers is believed when most of its cells look as printed, each visible edge is in its place, and what does
not look as printed lies together, as under a finger: cells that disagree here and there mean that the print
was laid onto something else, or off by a cell.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from vision_ik.tags.following.known_pattern import KnownPattern
from vision_ik.tags.following.pattern_fit import PatternFit

_LEAST_CONTRAST = 4.0
"""[grey levels] Fainter steps are noise and compression."""
_BORDER_HIDDEN = 0.1
"""Share of border cells that may be hidden in a marker that counts as read."""
_EDGES_READ = 0.85
"""Share of the edges that must be seen in a marker that counts as read."""
_LEAST_VISIBLE = 0.6
"""Share of the cells that must look as printed in a marker that is believed."""
_EDGES_VISIBLE = 0.8
"""Share of the edges between visible cells that must be in their places."""
_RAGGED = (4.0, 6.0)
"""Neighbours across the rim of the hidden cells, at most: the first by the root of their number, plus the second.
A disc of n cells has 4.5 sqrt(n) of them inside the marker and half of that on its rim; n cells strewn
about have 4 n."""
_APART = 2
"""Visible bits by which every other marker of the family must differ to make sure of the id."""


class Legibility(Enum):
    """What a picture shows of a known marker."""

    READ = "read"
    """Its bits, but for a few that can be corrected."""
    IDENTIFIED = "identified"
    """It is partly hidden; what is visible belongs to no other marker of the family."""
    RECOGNISED = "recognised"
    """It is partly hidden; what is visible looks as printed, but would fit another marker, too."""
    ILLEGIBLE = "illegible"
    """Too little of it is there, or something else is."""


def judge(
    fit: PatternFit, pattern: KnownPattern, family_bits: NDArray[np.float32], max_hamming: int
) -> tuple[Legibility, int]:
    """Return what can be read of a marker, and how many of its bits cannot.

    Args:
        fit: Where the print lies.
        pattern: The marker's print.
        family_bits: (N, n * n) from :func:`all_turns` of the family.
        max_hamming: Most unreadable bits in a marker that counts as read.
    """
    visible = visible_cells(fit, pattern)
    hidden_bits = int((~visible[1:-1, 1:-1]).sum())
    if fit.contrast < _LEAST_CONTRAST:
        return Legibility.ILLEGIBLE, hidden_bits
    hidden = int((~visible).sum())
    border = 4 * (len(visible) - 1)
    if (
        hidden_bits <= max_hamming
        and hidden - hidden_bits <= _BORDER_HIDDEN * border
        and fit.edges.mean() >= _EDGES_READ
    ):
        return Legibility.READ, hidden_bits
    if visible.mean() < _LEAST_VISIBLE or _rim(visible) > _RAGGED[0] * np.sqrt(hidden) + _RAGGED[1]:
        return Legibility.ILLEGIBLE, hidden_bits
    # Index -1, the paper around, is always visible.
    both = np.append(visible.ravel(), True)[pattern.sides].all(axis=1)
    if fit.edges[both].mean() < _EDGES_VISIBLE:
        return Legibility.ILLEGIBLE, hidden_bits
    unique = _others_differ(pattern.cells[1:-1, 1:-1].ravel(), visible[1:-1, 1:-1].ravel(), family_bits)
    return Legibility.IDENTIFIED if unique else Legibility.RECOGNISED, hidden_bits


def all_turns(patterns: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the bits (4 N, n * n) of markers (N, n, n) in all four turns, -1 for black and 1 for white."""
    turned = np.concatenate([np.rot90(patterns, k, axes=(1, 2)) for k in range(4)])
    return (2.0 * turned.reshape(4 * len(patterns), -1) - 1.0).astype(np.float32)


def visible_cells(fit: PatternFit, pattern: KnownPattern) -> NDArray[np.bool_]:
    """Return which cells (m, m) look as printed and have most of their edges in place."""
    m = len(pattern.cells)
    sides = pattern.sides.ravel()
    seen = np.repeat(fit.edges, 2).astype(np.float64)
    total = np.bincount(sides + 1, minlength=m * m + 1)[1:]
    there = np.bincount(sides + 1, seen, minlength=m * m + 1)[1:]
    return (fit.cells == 1) & (there >= 0.5 * total).reshape(m, m)


def _rim(visible: NDArray[np.bool_]) -> int:
    """Return how many pairs of neighbours consist of a visible and a hidden cell."""
    return int((visible[1:] != visible[:-1]).sum() + (visible[:, 1:] != visible[:, :-1]).sum())


def _others_differ(bits: NDArray[np.bool_], visible: NDArray[np.bool_], family_bits: NDArray[np.float32]) -> bool:
    """Return whether every other marker, or turn of this one, differs in enough of the visible bits."""
    signs = np.where(bits, np.float32(1.0), np.float32(-1.0))
    alike = family_bits @ np.stack([signs, signs * visible], axis=1)
    others = alike[:, 0] < len(bits) - 0.5
    differing = 0.5 * (float(visible.sum()) - alike[others, 1])
    return bool(differing.min(initial=len(bits)) > _APART - 0.5)
