"""Compiled distances between capsules, and the self-collision test a search can afford at every candidate.

A capsule is all points within ``radius`` of the segment ``centre + s half``, s in [-1, 1], so that its
bounding sphere comes for free: about ``centre``, of radius ``|half| + radius``.

What does not depend on the posture lies in `CollisionArrays`, which compiled code can take as an argument.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.robots.kernels import Bools, fk_frames
from vision_ik.types import Floats

_POINT = 1e-30
"""[m^2] Half an axis whose square is shorter is a point."""

# No flag assumes that numbers are finite: a NaN joint must count as a collision.
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})


class CollisionArrays(NamedTuple):
    """The capsules of an arm and which of them to keep apart."""

    shapes: Floats
    """(M, 8) centre (3), half axis (3), radius, bounding radius; in the frame that carries the capsule [m]."""
    frames: NDArray[np.int64]
    """(M,) that frame: 0 the base, i + 1 the one behind joint i; see `vision_ik.robots.kernels.fk_frames`."""
    pairs: NDArray[np.int64]
    """(P, 2) rows of ``shapes`` to keep apart, likeliest to touch first."""
    margin: float
    """[m] Capsules nearer than this count as touching."""


@_compiled
def axis_distance(placed: Floats, i: int, j: int) -> tuple[float, float, float]:
    """Return squared distance of the axes of capsules ``i`` and ``j`` [m^2], and where on each, in [-1, 1].

    Ericson, Real-Time Collision Detection, 2005, section 5.1.9: nearest points of the two lines, clamped to one
    axis, then to the other. The first comes from cross products instead of ``a e - b b``, which loses
    everything to rounding when the axes are nearly parallel.

    Args:
        placed: (M, 6) centre and half axis of each capsule, in one frame [m].
        i: Row of the first.
        j: Row of the second.
    """
    ux, uy, uz = placed[i, 3], placed[i, 4], placed[i, 5]
    vx, vy, vz = placed[j, 3], placed[j, 4], placed[j, 5]
    rx, ry, rz = placed[i, 0] - placed[j, 0], placed[i, 1] - placed[j, 1], placed[i, 2] - placed[j, 2]
    a = ux * ux + uy * uy + uz * uz
    e = vx * vx + vy * vy + vz * vz
    b = ux * vx + uy * vy + uz * vz
    c = ux * rx + uy * ry + uz * rz
    f = vx * rx + vy * ry + vz * rz
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    squared = nx * nx + ny * ny + nz * nz
    s = t = 0.0
    if squared > 0.0:
        s = (nx * (vy * rz - vz * ry) + ny * (vz * rx - vx * rz) + nz * (vx * ry - vy * rx)) / squared
        s = min(max(s, -1.0), 1.0)
    if e > _POINT:
        t = min(max((b * s + f) / e, -1.0), 1.0)
    if a > _POINT:
        s = min(max((b * t - c) / a, -1.0), 1.0)
    dx, dy, dz = rx + s * ux - t * vx, ry + s * uy - t * vy, rz + s * uz - t * vz
    return dx * dx + dy * dy + dz * dz, s, t


@_compiled
def place(model: CollisionArrays, Ts: Floats, placed: Floats) -> None:
    """Write centre and half axis (M, 6) of every capsule in the base frame into ``placed`` [m].

    Args:
        model: The capsules.
        Ts: (n+1, 4, 4) frames behind the joints, from `vision_ik.robots.kernels.fk_frames`.
        placed: (M, 6), written.
    """
    shapes = model.shapes
    for k in range(shapes.shape[0]):
        frame = model.frames[k]
        for r in range(3):
            x, y, z = Ts[frame, r, 0], Ts[frame, r, 1], Ts[frame, r, 2]
            placed[k, r] = Ts[frame, r, 3] + x * shapes[k, 0] + y * shapes[k, 1] + z * shapes[k, 2]
            placed[k, r + 3] = x * shapes[k, 3] + y * shapes[k, 4] + z * shapes[k, 5]


@_compiled
def self_collides(model: CollisionArrays, Ts: Floats) -> bool:
    """Tell whether any pair of capsules comes nearer than the margin, for frames ``Ts`` (n+1, 4, 4).

    Stops at the first such pair. NaN in ``Ts`` counts as a collision.
    """
    shapes, pairs, margin = model.shapes, model.pairs, model.margin
    placed = np.empty((shapes.shape[0], 6))
    place(model, Ts, placed)
    for k in range(pairs.shape[0]):
        i, j = pairs[k, 0], pairs[k, 1]
        dx, dy, dz = placed[i, 0] - placed[j, 0], placed[i, 1] - placed[j, 1], placed[i, 2] - placed[j, 2]
        spheres = shapes[i, 7] + shapes[j, 7] + margin
        if spheres <= 0.0 or dx * dx + dy * dy + dz * dz >= spheres * spheres:
            continue
        squared, _, _ = axis_distance(placed, i, j)
        if not math.sqrt(squared) >= shapes[i, 6] + shapes[j, 6] + margin:
            return True
    return False


@_compiled
def posture_collides(model: CollisionArrays, fixed: Floats, prismatic: Bools, q: Floats) -> bool:
    """Tell whether the posture ``q`` (n,) makes any pair of capsules come nearer than the margin.

    Args:
        model: The capsules.
        fixed: (n+1, 4, 4) constant transforms between the joints, see `RobotModel`; the last does not matter.
        prismatic: (n,)
        q: (n,) [rad], [m]; NaN counts as a collision.
    """
    Ts = np.empty((q.shape[0] + 1, 4, 4))
    fk_frames(fixed, prismatic, q, Ts)
    return self_collides(model, Ts)


@_compiled
def self_distance(model: CollisionArrays, Ts: Floats) -> tuple[float, int]:
    """Return the smallest distance between the surfaces of a pair [m] and its row in ``pairs``.

    Negative where capsules overlap: by how far their axes are nearer than their radii. Infinity and -1 without
    any pair. The margin is left out.
    """
    shapes, pairs = model.shapes, model.pairs
    placed = np.empty((shapes.shape[0], 6))
    place(model, Ts, placed)
    best, nearest = math.inf, -1
    for k in range(pairs.shape[0]):
        i, j = pairs[k, 0], pairs[k, 1]
        dx, dy, dz = placed[i, 0] - placed[j, 0], placed[i, 1] - placed[j, 1], placed[i, 2] - placed[j, 2]
        spheres = shapes[i, 7] + shapes[j, 7] + best
        if spheres <= 0.0 or dx * dx + dy * dy + dz * dz >= spheres * spheres:
            continue
        squared, _, _ = axis_distance(placed, i, j)
        distance = math.sqrt(squared) - shapes[i, 6] - shapes[j, 6]
        if distance < best:
            best, nearest = distance, k
    return best, nearest


@_compiled
def pair_points(model: CollisionArrays, Ts: Floats, pair: int, points: Floats) -> float:
    """Write the points (2, 3) in which the surfaces of one pair are nearest, in the base frame [m].

    Of overlapping capsules they are the deepest points. Where the axes meet, any direction across the first is taken.

    Returns:
        The distance of the surfaces [m].
    """
    shapes = model.shapes
    i, j = model.pairs[pair, 0], model.pairs[pair, 1]
    placed = np.empty((shapes.shape[0], 6))
    place(model, Ts, placed)
    squared, s, t = axis_distance(placed, i, j)
    apart = math.sqrt(squared)
    normal = np.zeros(3)
    for r in range(3):
        points[0, r] = placed[i, r] + s * placed[i, r + 3]
        points[1, r] = placed[j, r] + t * placed[j, r + 3]
    if apart > 1e-12:
        for r in range(3):
            normal[r] = (points[1, r] - points[0, r]) / apart
    else:
        _across(placed, i, normal)
    for r in range(3):
        points[0, r] += shapes[i, 6] * normal[r]
        points[1, r] -= shapes[j, 6] * normal[r]
    return apart - shapes[i, 6] - shapes[j, 6]


@_compiled
def _across(placed: Floats, i: int, normal: Floats) -> None:
    """Write a unit vector (3,) perpendicular to the axis of capsule ``i``."""
    x, y, z = placed[i, 3], placed[i, 4], placed[i, 5]
    if abs(x) <= abs(y) and abs(x) <= abs(z):
        normal[0], normal[1], normal[2] = 0.0, z, -y
    elif abs(y) <= abs(z):
        normal[0], normal[1], normal[2] = -z, 0.0, x
    else:
        normal[0], normal[1], normal[2] = y, -x, 0.0
    norm = math.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2])
    if norm > 0.0:
        for r in range(3):
            normal[r] /= norm
    else:
        normal[2] = 1.0


@_compiled
def collides_batch(model: CollisionArrays, fixed: Floats, prismatic: Bools, q: Floats, out: Bools) -> None:
    """Write whether each posture of ``q`` (N, n) collides into ``out`` (N,)."""
    for k in range(q.shape[0]):
        out[k] = posture_collides(model, fixed, prismatic, q[k])


@_compiled
def distance_batch(
    model: CollisionArrays, fixed: Floats, prismatic: Bools, q: Floats, out: Floats, pair: NDArray[np.int64]
) -> None:
    """Write the smallest distance (N,) [m] and its pair (N,) for each posture of ``q`` (N, n)."""
    Ts = np.empty((q.shape[1] + 1, 4, 4))
    for k in range(q.shape[0]):
        fk_frames(fixed, prismatic, q[k], Ts)
        out[k], pair[k] = self_distance(model, Ts)
