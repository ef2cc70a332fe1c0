"""Learned start postures: the network's forward pass without torch, and what symmetry gives for free.

With the constant ends taken off, a pose is ``T = Z(q_first) X(q_middle) Z(q_last)``. Turning the
target about the first axis only adds to ``q_first``, rolling it about the last only to ``q_last``.
So the network sees the target turned to zero azimuth and proposes the middle joints alone; the
two outer ones follow in closed form from the middle and the target. Its remaining inputs (azimuth
and roll) matter only because the outer joints have limits.

A chain whose outer joints do not turn, or whose last joint's origin lies on the first axis, has no such
symmetry to use; then the network sees the whole pose and proposes every joint.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.types import Floats

Floats32 = NDArray[np.float32]

FEATURES = 11
"""Length of the network's input."""

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})


class Net(NamedTuple):
    """Weights of the seed network, float32; the bias is the last row (or column) of each matrix."""

    first: Floats32
    """(FEATURES + 1, width)"""
    hidden: Floats32
    """(layers, width + 1, width)"""
    judge: Floats32
    """(FEATURES + width + 1, judges): from the input and the last hidden layer."""
    rank: Floats32
    """(judges + 1, heads): log-odds that refinement converges from each head."""
    heads: Floats32
    """(width + 1, heads * outputs): joints in units of half their range, from the middle."""
    symmetric: bool
    """Whether the first and the last joint follow in closed form."""


def _no_net() -> Net:
    shapes = ((FEATURES + 1, 0), (0, 1, 0), (FEATURES + 1, 0), (1, 0), (1, 0))
    arrays = [np.zeros(shape, np.float32) for shape in shapes]
    for array in arrays:  # writable ones are another type to numba, and every kernel would compile a second time
        array.setflags(write=False)
    return Net(*arrays, symmetric=False)


NO_NET = _no_net()
"""Proposes nothing."""


@_compiled
def features(chain: Chain, symmetric: bool, target: Floats, M: Floats, x: Floats32) -> None:
    """Write ``M`` (4, 4), the target between the ends of the chain, and the network's input ``x`` (FEATURES,)."""
    A, B = chain.ends[0], chain.ends[1]
    for r in range(3):
        for c in range(4):
            M[r, c] = A[r, 0] * target[0, c] + A[r, 1] * target[1, c] + A[r, 2] * target[2, c]
        M[r, 3] += A[r, 3]
        t0, t1, t2 = M[r, 0], M[r, 1], M[r, 2]
        M[r, 3] += t0 * B[0, 3] + t1 * B[1, 3] + t2 * B[2, 3]
        for c in range(3):
            M[r, c] = t0 * B[0, c] + t1 * B[1, c] + t2 * B[2, c]
    radius = math.hypot(M[0, 3], M[1, 3])
    cos, sin = 1.0, 0.0
    if symmetric and radius > 1e-9:
        cos, sin = M[0, 3] / radius, M[1, 3] / radius
    x[0] = (cos * M[0, 3] + sin * M[1, 3]) / chain.reach
    x[1] = (cos * M[1, 3] - sin * M[0, 3]) / chain.reach
    x[2] = M[2, 3] / chain.reach
    for k in range(2):
        c = 2 - 2 * k  # the last axis, which roll leaves alone, then the x axis
        x[3 + 3 * k] = cos * M[0, c] + sin * M[1, c]
        x[4 + 3 * k] = cos * M[1, c] - sin * M[0, c]
        x[5 + 3 * k] = M[2, c]
    x[9], x[10] = cos, sin


@_compiled
def activate(h: Floats32) -> None:
    """Apply ``h (1 + h / sqrt(h^2 + 1)) / 2`` in place: shaped like SiLU, but without an exponential."""
    half, one = np.float32(0.5), np.float32(1.0)
    for j in range(h.shape[0]):
        a = h[j]
        h[j] = half * a * (one + a / np.sqrt(a * a + one))


@_compiled
def affine(W: Floats32, x: Floats32, y: Floats32) -> None:
    """Write ``y = W[:-1]^T x + W[-1]``, four rows at a time so that ``y`` is loaded seldom."""
    m, n = W.shape[0] - 1, y.shape[0]
    for j in range(n):
        y[j] = W[m, j]
    k = 0
    while k + 4 <= m:
        a, b, c, d = x[k], x[k + 1], x[k + 2], x[k + 3]
        W0, W1, W2, W3 = W[k], W[k + 1], W[k + 2], W[k + 3]
        for j in range(n):
            y[j] += a * W0[j] + b * W1[j] + c * W2[j] + d * W3[j]
        k += 4
    while k < m:
        a = x[k]
        for j in range(n):
            y[j] += a * W[k, j]
        k += 1


@_compiled
def evaluate(net: Net, x: Floats32, outputs: Floats32, logits: Floats32) -> None:
    """Write the ``outputs`` (heads, outputs) of all heads and their ``logits`` (heads,) for input ``x`` (FEATURES,)."""
    width, m = net.first.shape[1], x.shape[0]
    known, work = np.empty(m + width, np.float32), np.empty(width, np.float32)
    h = known[m:]
    for j in range(m):
        known[j] = x[j]
    affine(net.first, x, h)
    activate(h)
    for layer in range(net.hidden.shape[0]):
        affine(net.hidden[layer], h, work)
        activate(work)
        for j in range(width):
            h[j] = work[j]
    affine(net.heads, h, outputs.reshape(-1))
    judges = np.empty(net.judge.shape[1], np.float32)
    affine(net.judge, known, judges)
    activate(judges)
    affine(net.rank, judges, logits)


@_compiled
def complete(chain: Chain, symmetric: bool, M: Floats, outputs: Floats32, q: Floats) -> None:
    """Write the posture ``q`` (n,) that a head's ``outputs`` stand for, inside the limits."""
    first = 1 if symmetric else 0
    for i in range(outputs.shape[0]):
        j = first + i
        angle = chain.centre[j] + chain.half[j] * outputs[i]
        q[j] = into_limits(angle, chain.lower[j], chain.upper[j], chain.prismatic[j])
    if symmetric:
        turn, roll = outer_joints(chain, M, q)
        q[0] = into_limits(turn, chain.lower[0], chain.upper[0], False)
        q[-1] = into_limits(roll, chain.lower[-1], chain.upper[-1], False)


@_compiled
def inner_distance(chain: Chain, symmetric: bool, outputs: Floats32, reference: Floats) -> float:
    """Return the squared distance [rad^2, m^2] of the proposed joints to ``reference`` (n,), angles the short way."""
    first, distance = 1 if symmetric else 0, 0.0
    for i in range(outputs.shape[0]):
        j = first + i
        d = chain.centre[j] + chain.half[j] * outputs[i] - reference[j]
        if not chain.prismatic[j]:
            d -= 2.0 * math.pi * np.rint(d / (2.0 * math.pi))
        distance += d * d
    return distance


@_compiled
def outer_joints(chain: Chain, M: Floats, q: Floats) -> tuple[float, float]:
    """Return the first and the last joint for which the middle ones of ``q`` come closest to ``M``.

    The first brings the origin of the last joint to the target's azimuth; the last then makes
    ``trace(R^T R_target)`` largest.
    """
    n = q.shape[0]
    # Columns x, y, z of the rotation and the origin p reached so far, seen from the turned first joint.
    F = chain.fixed[1]
    xx, xy, xz = F[0, 0], F[1, 0], F[2, 0]
    yx, yy, yz = F[0, 1], F[1, 1], F[2, 1]
    zx, zy, zz = F[0, 2], F[1, 2], F[2, 2]
    px, py = F[0, 3], F[1, 3]
    for i in range(1, n - 1):
        if chain.prismatic[i]:
            px += q[i] * zx
            py += q[i] * zy
        else:
            c, s = math.cos(q[i]), math.sin(q[i])
            xx, yx = c * xx + s * yx, c * yx - s * xx
            xy, yy = c * xy + s * yy, c * yy - s * xy
            xz, yz = c * xz + s * yz, c * yz - s * xz
        F = chain.fixed[i + 1]
        px += F[0, 3] * xx + F[1, 3] * yx + F[2, 3] * zx
        py += F[0, 3] * xy + F[1, 3] * yy + F[2, 3] * zy
        ax, ay, az = _turned(F, 0, xx, yx, zx), _turned(F, 0, xy, yy, zy), _turned(F, 0, xz, yz, zz)
        bx, by, bz = _turned(F, 1, xx, yx, zx), _turned(F, 1, xy, yy, zy), _turned(F, 1, xz, yz, zz)
        zx, zy, zz = _turned(F, 2, xx, yx, zx), _turned(F, 2, xy, yy, zy), _turned(F, 2, xz, yz, zz)
        xx, xy, xz = ax, ay, az
        yx, yy, yz = bx, by, bz
    turn = math.atan2(px * M[1, 3] - py * M[0, 3], px * M[0, 3] + py * M[1, 3])
    c, s = math.cos(turn), math.sin(turn)
    # Columns x and y of the target, turned back by the first joint.
    tx, ty, tz = c * M[0, 0] + s * M[1, 0], c * M[1, 0] - s * M[0, 0], M[2, 0]
    ux, uy, uz = c * M[0, 1] + s * M[1, 1], c * M[1, 1] - s * M[0, 1], M[2, 1]
    same = xx * tx + xy * ty + xz * tz + yx * ux + yy * uy + yz * uz
    cross = yx * tx + yy * ty + yz * tz - xx * ux - xy * uy - xz * uz
    return turn, math.atan2(cross, same)


@_compiled
def _turned(F: Floats, column: int, x: float, y: float, z: float) -> float:
    """Return one coordinate of a column of ``F`` after the rotation whose columns have coordinates x, y, z."""
    return F[0, column] * x + F[1, column] * y + F[2, column] * z


@_compiled
def into_limits(angle: float, lower: float, upper: float, prismatic: bool) -> float:
    """Return ``angle`` inside the limits: turned by whole turns where that does it, else at the nearer limit."""
    if lower <= angle <= upper:
        return angle
    if not prismatic:
        if angle < lower:
            turned = angle + 2.0 * math.pi * math.ceil((lower - angle) / (2.0 * math.pi))
            over = turned - upper
            if over <= 0.0:
                return turned
            return lower if over > lower - (turned - 2.0 * math.pi) else upper
        turned = angle - 2.0 * math.pi * math.ceil((angle - upper) / (2.0 * math.pi))
        if turned >= lower:
            return turned
        return upper if lower - turned > turned + 2.0 * math.pi - upper else lower
    return min(max(angle, lower), upper)
