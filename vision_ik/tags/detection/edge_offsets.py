"""Compiled look at how far each printed edge of a marker lies from where its corners say."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.tags.sampling import sample
from vision_ik.types import Floats, Image

_SAMPLES = 13
"""Of a profile, which reaches half a cell to either side."""
_LINES = (-0.15, 0.15)
"""[cells] From the middle of an edge: profiles that are averaged."""
_NEAR = 0.08, 0.4
"""[cells], [px] An edge is in its place when it is off by less than the larger of these."""
_FAINT = 0.25
"""Share of the typical step below which an edge is not there."""
OFFSET, STEP, CELL, STATE = range(4)
HIDDEN, ASTRAY, IN_PLACE = 0.0, 1.0, 2.0


class PrintedEdges(NamedTuple):
    """Edges of cells between black and white, the outline included."""

    place: Floats
    """(E, 2) their middles in cells from the top-left corner of the border, x right, y down."""
    across: Floats
    """(E, 2) unit vectors from black to white."""
    inner: NDArray[np.bool_]
    """(E,) False for those of the outline."""


def printed_edges(cells: Image) -> PrintedEdges:
    """Return the edges of a marker with (n, n) cells, border included, white where not 0."""
    sheet = np.pad(cells > 0, 1, constant_values=True)
    n = len(cells)
    places, normals = [], []
    for dy, dx in ((0, 1), (1, 0)):
        first, second = sheet[: n + 2 - dy, : n + 2 - dx], sheet[dy:, dx:]
        rows, columns = np.nonzero(first != second)
        sign = np.where(second[rows, columns], 1.0, -1.0)
        places.append(np.column_stack([columns - 0.5 + 0.5 * dx, rows - 0.5 + 0.5 * dy]))
        normals.append(np.column_stack([sign * dx, sign * dy]))
    place, across = np.concatenate(places), np.concatenate(normals)
    at = (place * np.abs(across)).sum(axis=1)
    return PrintedEdges(place, across, (at > 0.0) & (at < n))


@njit(cache=True, nogil=True, error_model="numpy")
def look_at_edges(gray: Image, H: Floats, place: Floats, across: Floats, bend: Floats, seen: Floats) -> None:
    """Write for each edge how far off it is towards white [cells], its step, a cell's size across [px], and its state.

    Steps are weighed by their square, which ignores what else is in the profile.

    Args:
        gray: (H, W) picture.
        H: (3, 3) from cells to pixels.
        place: (E, 2) see :class:`PrintedEdges`.
        across: (E, 2) see :class:`PrintedEdges`.
        bend: (E, 2) [px] by which the lens moves each edge away from where ``H`` has it.
        seen: (E, 4), written.
    """
    profile = np.empty(_SAMPLES)
    middle = 0.5 * (_SAMPLES - 1)
    for e in range(len(place)):
        first_x = first_y = x = y = 0.0
        nx, ny = across[e, 0], across[e, 1]
        for k in range(_SAMPLES):
            s = 0.5 * (k - middle) / middle
            profile[k] = 0.0
            for line in range(2):
                u, v = place[e, 0] + s * nx - _LINES[line] * ny, place[e, 1] + s * ny + _LINES[line] * nx
                w = 1.0 / (H[2, 0] * u + H[2, 1] * v + H[2, 2])
                x = (H[0, 0] * u + H[0, 1] * v + H[0, 2]) * w + bend[e, 0]
                y = (H[1, 0] * u + H[1, 1] * v + H[1, 2]) * w + bend[e, 1]
                profile[k] += 0.5 * sample(gray, x, y)
            if k == 0:
                first_x, first_y = x, y
        total = moment = 0.0
        for k in range(_SAMPLES - 1):
            rise = max(profile[k + 1] - profile[k], 0.0)
            total += rise * rise
            moment += rise * rise * 0.5 * (k + 0.5 - middle) / middle
        seen[e, OFFSET] = moment / max(total, 1e-9)
        seen[e, STEP] = profile[_SAMPLES - 1] - profile[0]
        seen[e, CELL] = max(math.hypot(x - first_x, y - first_y), 1e-6)
    least = max(_FAINT * np.median(seen[:, STEP]), 1.0)
    for e in range(len(place)):
        near = abs(seen[e, OFFSET]) < max(_NEAR[0], _NEAR[1] / seen[e, CELL])
        seen[e, STATE] = (IN_PLACE if near else ASTRAY) if seen[e, STEP] > least else HIDDEN
