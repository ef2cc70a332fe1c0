"""Capsules that bound a mesh: for links whose URDF has nothing simpler.

A link is cut into a few parts where that saves volume, and each part gets the smallest capsule found around it.
Capsules are convex, so one that holds the corners of a triangle holds the triangle: nothing sticks out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial import ConvexHull, QhullError

from vision_ik.types import Floats

MOST = 4
"""Capsules one mesh gets at most."""
_ENOUGH = 1.05
"""Fewer capsules are taken while they need at most this many times the room of the tightest set."""
_PROBES = 4096
"""Points in the box around a mesh by which that room is counted."""
_FINE = 0.15
"""Triangles are divided until no edge is longer than this share of the mesh, so that cuts can fall anywhere."""
_CUTS = (0.25, 0.4, 0.5, 0.6, 0.75)
"""Where along each principal axis a part may be cut, as shares of its extent."""
_STEPS = 64
"""Of the search for the smallest circle: within about a percent after so many, and around all points at any."""
_DIRECTIONS = np.array([(1.0, a / 2.0, b / 2.0) for a in range(-2, 3) for b in range(-2, 3)])
_DIRECTIONS = np.concatenate([np.roll(_DIRECTIONS, turn, axis=1) for turn in range(3)])
"""(75, 3) over half the faces of a cube."""


class Bound(NamedTuple):
    """A capsule around points."""

    p0: Floats
    """(3,) one end of its axis [m]."""
    p1: Floats
    """(3,) the other [m]."""
    radius: float
    """[m]"""

    @property
    def volume(self) -> float:
        """Room it takes [m^3]."""
        length = float(np.linalg.norm(self.p1 - self.p0))
        return np.pi * self.radius**2 * (length + 4.0 / 3.0 * self.radius)


def bound_mesh(vertices: Floats, triangles: NDArray[np.int64]) -> list[Bound]:
    """Return capsules that together hold every triangle of a mesh.

    Args:
        vertices: (V, 3) [m]
        triangles: (F, 3) rows of ``vertices``.
    """
    corners = _divide(vertices[triangles])
    parts, bounds = [corners], [bound_points(corners.reshape(-1, 3))]
    probes = _probes(bounds[0])
    kept = [bounds]
    cuts = [_cut(corners, probes)]
    while len(parts) < MOST:
        # The best cut even where it gains nothing: it may take two to part an elbow.
        choices = [[*bounds[:k], *around, *bounds[k + 1 :]] for k, (_, around) in enumerate(cuts)]
        best = int(np.argmin([_held(choice, probes) for choice in choices]))
        bounds = choices[best]
        parts[best : best + 1] = cuts[best][0]
        cuts[best : best + 1] = [_cut(part, probes) for part in cuts[best][0]]
        kept.append(bounds)
    volumes = np.array([_held(bounds, probes) for bounds in kept])
    return kept[int(np.argmax(volumes <= _ENOUGH * volumes.min()))]


def _probes(bound: Bound) -> Floats:
    """Return points (N, 3) spread evenly over the box around a capsule.

    The R3 sequence of Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018.
    """
    steps = 1.2207440846057596 ** -np.arange(1.0, 4.0)
    ends = np.stack([bound.p0, bound.p1])
    low, high = ends.min(axis=0) - bound.radius, ends.max(axis=0) + bound.radius
    return low + (high - low) * np.modf(0.5 + np.arange(1, _PROBES + 1)[:, None] * steps)[0]


def _held(bounds: list[Bound], probes: Floats) -> int:
    """Return how many probes lie in any of the capsules."""
    held = np.zeros(len(probes), dtype=bool)
    for bound in bounds:
        along = bound.p1 - bound.p0
        length2 = max(float(along @ along), 1e-30)
        offsets = probes - bound.p0
        s = np.clip(offsets @ along / length2, 0.0, 1.0)
        offsets = offsets - s[:, None] * along
        held |= np.einsum("ij,ij->i", offsets, offsets) <= bound.radius**2
    return int(held.sum())


def _divide(corners: Floats) -> Floats:
    """Halve triangles (F, 3, 3) at their longest edge until all are short."""
    longest = _FINE * float(np.linalg.norm(np.ptp(corners.reshape(-1, 3), axis=0)))
    done: list[Floats] = []
    while len(corners):
        edges = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        short = edges.max(axis=1) <= longest
        done.append(corners[short])
        corners, edge = corners[~short], edges[~short].argmax(axis=1)
        rows = np.arange(len(corners))
        a, b, c = (corners[rows, (edge + k) % 3] for k in range(3))
        middle = 0.5 * (a + b)
        corners = np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])
    return np.concatenate(done)


def _cut(corners: Floats, probes: Floats) -> tuple[list[Floats], list[Bound]]:
    """Return the two parts, with their capsules, that take the least room; the whole if it cannot be cut."""
    middles = corners.mean(axis=1)
    _, _, axes = np.linalg.svd(middles - middles.mean(axis=0), full_matrices=False)
    best = [corners]
    smallest = math.inf
    for axis in axes:
        along = middles @ axis
        for share in _CUTS:
            side = along < along.min() + share * np.ptp(along)
            if side.all() or not side.any():
                continue
            parts = [corners[side], corners[~side]]
            room = _held([_along_axes(_extremes(part)) for part in parts], probes)
            if room < smallest:
                best, smallest = parts, room
    return best, [bound_points(part.reshape(-1, 3)) for part in best]


def bound_points(points: Floats) -> Bound:
    """Return a small capsule that holds points (N, 3) [m]: the best axis near a principal one."""
    hull = _hull(points)
    start = _along_axes(hull)
    axis = start.p1 - start.p0
    length = float(np.linalg.norm(axis))
    if length == 0.0:
        return start
    frame, _ = np.linalg.qr(np.column_stack([axis / length, np.eye(3)]))

    def tilted(tilt: Floats) -> Bound:
        direction = frame @ np.array([1.0, *tilt])
        return _along(hull, direction / np.linalg.norm(direction))

    def volume(tilt: Floats) -> float:
        return tilted(tilt).volume

    found = minimize(volume, np.zeros(2), method="Nelder-Mead", options={"maxfev": 80})
    return min(start, tilted(found.x), key=lambda bound: bound.volume)


def _along_axes(points: Floats) -> Bound:
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return min((_along(points, axis) for axis in axes), key=lambda bound: bound.volume)


def _along(points: Floats, axis: Floats) -> Bound:
    """Return the capsule along a unit vector (3,): the smallest circle across, and no longer than needed."""
    p0, p1 = np.empty(3), np.empty(3)
    return Bound(p0, p1, _fit(points, axis, p0, p1))


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(points: Floats, axis: Floats, p0: Floats, p1: Floats) -> float:
    """Write the ends (3,) of a capsule along ``axis`` that holds points (N, 3), and return its radius [m].

    The circle across by Badoiu and Clarkson, "Smaller core-sets for balls", SODA 2003: step to the farthest point,
    less and less.
    """
    count = points.shape[0]
    t, across, centre = np.empty(count), np.empty((count, 3)), np.zeros(3)
    for i in range(count):
        t[i] = points[i, 0] * axis[0] + points[i, 1] * axis[1] + points[i, 2] * axis[2]
        for r in range(3):
            across[i, r] = points[i, r] - t[i] * axis[r]
            centre[r] += across[i, r] / count
    radius = 0.0
    for step in range(_STEPS + 1):
        far, farthest = -1.0, 0
        for i in range(count):
            x, y, z = across[i, 0] - centre[0], across[i, 1] - centre[1], across[i, 2] - centre[2]
            squared = x * x + y * y + z * z
            if squared > far:
                far, farthest = squared, i
        radius = math.sqrt(far)
        if step < _STEPS:
            for r in range(3):
                centre[r] += (across[farthest, r] - centre[r]) / (step + 2)
    radius += 1e-9 * (1.0 + radius)  # what rounding takes
    low, high = math.inf, -math.inf
    for i in range(count):
        x, y, z = across[i, 0] - centre[0], across[i, 1] - centre[1], across[i, 2] - centre[2]
        # A point nearer to the axis than the rim may lie this far beyond the axis' end.
        cap = math.sqrt(max(radius * radius - x * x - y * y - z * z, 0.0))
        low, high = min(low, t[i] + cap), max(high, t[i] - cap)
    if low > high:
        low = high = 0.5 * (low + high)
    for r in range(3):
        p0[r], p1[r] = centre[r] + low * axis[r], centre[r] + high * axis[r]
    return radius


def _extremes(corners: Floats) -> Floats:
    """Return the points of triangles (F, 3, 3) that lie farthest out in some directions: a quick hull to compare by."""
    points = corners.reshape(-1, 3)
    along = _DIRECTIONS @ points.T
    return points[np.unique(np.concatenate([along.argmax(axis=1), along.argmin(axis=1)]))]


def _hull(points: Floats) -> Floats:
    """Return the corners of the convex hull; all points where they are flat."""
    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        return np.unique(points, axis=0)


def find_mesh(name: str, urdf: Path) -> Path | None:
    """Return the file that ``filename`` of a mesh in a URDF means, or None if there is none.

    ``package://`` is looked for in the folders above the URDF and in those of ``ROS_PACKAGE_PATH``.
    """
    return next((path for path in _candidates(name, urdf) if path.is_file()), None)


def _candidates(name: str, urdf: Path) -> Iterator[Path]:
    scheme, _, rest = name.rpartition("://")
    if scheme == "file":
        yield Path(rest)
        return
    if not scheme:
        yield urdf.parent / name
        return
    package, _, inside = rest.partition("/")
    roots = [Path(root) for root in os.environ.get("ROS_PACKAGE_PATH", "").split(os.pathsep) if root]
    for folder in (*urdf.parents, *roots):
        yield folder / package / inside
        yield folder / inside
