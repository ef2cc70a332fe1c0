"""The print of a known marker as what a picture shows of it: cells, and edges between black and white.

Coordinates on the print: the marker's outline is the unit square, x right, y down, as in the picture
of an upright marker.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vision_ik.types import Floats, Image

_ENDS = 0.2
"""[cells] Left out at either end of an edge, where blur rounds the corner of a cell."""
_PROFILES = 250
"""Profiles across edges over the whole marker, roughly."""
_PER_EDGE = (3, 6)
"""Bounds of the profiles per edge of a cell."""
_NEAR = 1.5
"""[cells] Distance (standard deviation) over which edges tell how bright black and white are."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KnownPattern:
    """Cells of one marker and the edges between them."""

    cells: NDArray[np.bool_]
    """(m, m) True where white, black border included."""
    points: Floats
    """(P, 2) where profiles cross edges, on the print."""
    normals: Floats
    """(P, 2) unit vectors from black to white there, on the print."""
    edge_of: NDArray[np.int64]
    """(P,) which edge a profile crosses."""
    sides: NDArray[np.int64]
    """(E, 2) flat index of the black and the white cell at each edge, -1 for the paper around the marker."""
    nearness: Floats
    """(m * m, E) weight with which an edge tells the brightness of a cell's surroundings."""
    knots: Floats
    """(K, 2) corners of cells where edges meet, on the print."""
    knot_cells: NDArray[np.int64]
    """(K, 4) flat index of the cells around each knot, -1 for paper."""


@lru_cache(maxsize=256)
def _known(key: bytes, m: int) -> KnownPattern:
    cells = np.frombuffer(key, dtype=np.bool_).reshape(m, m)
    sheet = np.pad(cells, 1, constant_values=True)
    index = np.pad(np.arange(m * m).reshape(m, m), 1, constant_values=-1)
    middles, normals, sides = [], [], []
    for dy, dx in ((0, 1), (1, 0)):
        first, second = sheet[: m + 2 - dy, : m + 2 - dx], sheet[dy:, dx:]
        for row, column in np.argwhere(first != second):
            towards = 1.0 if second[row, column] else -1.0
            middles.append((column - 0.5 + 0.5 * dx, row - 0.5 + 0.5 * dy))
            normals.append((towards * dx, towards * dy))
            pair = (index[row, column], index[row + dy, column + dx])
            sides.append(pair if towards > 0 else pair[::-1])
    middle, normal = np.array(middles), np.array(normals)
    per_edge = int(np.clip(round(_PROFILES / len(middle)), *_PER_EDGE))
    along = np.linspace(_ENDS - 0.5, 0.5 - _ENDS, per_edge)
    tangent = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
    points = (middle[:, None] + along[:, None] * tangent[:, None]).reshape(-1, 2)
    centres = np.stack(np.meshgrid(np.arange(m) + 0.5, np.arange(m) + 0.5), axis=-1).reshape(-1, 2)
    squared = ((centres[:, None] - middle) ** 2).sum(axis=2)
    knots, knot_cells = _knots(sheet, index)
    return KnownPattern(
        cells=cells,
        points=points / m,
        normals=np.repeat(normal, per_edge, axis=0),
        edge_of=np.repeat(np.arange(len(middle)), per_edge),
        sides=np.array(sides),
        nearness=np.exp(-0.5 * squared / _NEAR**2),
        knots=knots / m,
        knot_cells=knot_cells,
    )


def known_pattern(cells: Image) -> KnownPattern:
    """Return the print of a marker.

    Args:
        cells: (m, m) 0 where black, border included, as :func:`vision_ik.tags.families.marker_cells` gives them.
    """
    return _known(np.ascontiguousarray(cells > 0).tobytes(), len(cells))


def _knots(sheet: NDArray[np.bool_], index: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Return where two or more edges meet at an angle, in cells, and the cells around."""
    around = np.stack([sheet[:-1, :-1], sheet[:-1, 1:], sheet[1:, :-1], sheet[1:, 1:]], axis=-1)
    white = around.sum(axis=-1)
    saddle = (white == 2) & (around[..., 0] == around[..., 3])
    rows, columns = np.nonzero((white == 1) | (white == 3) | saddle)
    indices = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]], axis=-1)
    return np.stack([columns, rows], axis=1).astype(np.float64), indices[rows, columns]
