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


NO_NET = Net(
    np.zeros((FEATURES + 1, 0), np.float32),
    np.zeros((0, 1, 0), np.float32),
    np.zeros((FEATURES + 1, 0), np.float32),
    np.zeros((1, 0), np.float32),
    np.zeros((1, 0), np.float32),
    False,
)


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
    known[:m] = x
    affine(net.first, x, h)
    activate(h)
    for layer in range(net.hidden.shape[0]):
        affine(net.hidden[layer], h, work)
        activate(work)
        h[:] = work
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
    X, p = np.eye(3), np.zeros(3)
    for i in range(1, n):
        F = chain.fixed[i]
        for r in range(3):
            x, y, z = X[r, 0], X[r, 1], X[r, 2]
            p[r] += x * F[0, 3] + y * F[1, 3] + z * F[2, 3]
            for c in range(3):
                X[r, c] = x * F[0, c] + y * F[1, c] + z * F[2, c]
        if i == n - 1:
            break
        if chain.prismatic[i]:
            for r in range(3):
                p[r] += q[i] * X[r, 2]
        else:
            cos, sin = math.cos(q[i]), math.sin(q[i])
            for r in range(3):
                x, y = X[r, 0], X[r, 1]
                X[r, 0] = cos * x + sin * y
                X[r, 1] = cos * y - sin * x
    turn = math.atan2(p[0] * M[1, 3] - p[1] * M[0, 3], p[0] * M[0, 3] + p[1] * M[1, 3])
    cos, sin = math.cos(turn), math.sin(turn)
    same = cross = 0.0
    for c in range(2):
        # Column c of M turned back by the first joint, against columns x and y of X.
        mx, my, mz = cos * M[0, c] + sin * M[1, c], cos * M[1, c] - sin * M[0, c], M[2, c]
        along_x = X[0, 0] * mx + X[1, 0] * my + X[2, 0] * mz
        along_y = X[0, 1] * mx + X[1, 1] * my + X[2, 1] * mz
        if c == 0:
            same, cross = same + along_x, cross + along_y
        else:
            same, cross = same + along_y, cross - along_x
    return turn, math.atan2(cross, same)


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
