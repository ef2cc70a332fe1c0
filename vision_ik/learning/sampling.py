"""Poses to train and to judge on: of random joints, of rare postures, and around failures.

Uniform joints seldom come near what makes a pose hard. Each kind of rare posture is the tail of
the uniform ones by one criterion, so that the kinds mean the same on every arm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from vision_ik.ik.chain import Chain
from vision_ik.ik.seeds import FEATURES, Floats32, features
from vision_ik.robots.kernels import fk, fk_jacobian
from vision_ik.types import Floats

ITERATIONS = 30
"""Steps a seed may take, as in the solver."""
TOLERANCE = 1e-6
"""[m], [rad]"""
RARE = ("limits", "singular", "edge", "axis")
"""One or two joints within 1 % of their range of a limit; of 20 random postures the most singular one, the farthest
stretched one, and the one whose last joint is nearest to the first axis, where azimuth means little."""

_CANDIDATES = 20
"""Random postures of which the most extreme one is kept."""
_NEAR_LIMIT = 0.01
"""Share of a joint's range that counts as near its limit."""
_SPREAD = (1e-3, 0.3)
"""Smallest and largest standard deviation of `perturb`, in units of half a joint's range."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Poses:
    """Reachable poses and the joints that made them."""

    q: Floats
    """(N, n) [rad], [m]."""
    x: Floats32
    """(N, FEATURES) what the network sees of the pose."""
    y: Floats32
    """(N, outputs) the joints a head should propose, in units of half their range from the middle."""


def has_symmetry(chain: Chain) -> bool:
    """Return whether the outer joints follow in closed form from the others; see `vision_ik.ik.seeds`."""
    n = len(chain.lower)
    if n < 3 or chain.prismatic[0] or chain.prismatic[-1]:
        return False
    poses = sample(chain, False, 256, np.random.default_rng(0))
    radius = np.hypot(poses.x[:, 0], poses.x[:, 1])  # of the last joint's origin about the first axis, per reach
    return bool(np.median(radius) > 1e-3)


def sample(chain: Chain, symmetric: bool, count: int, rng: np.random.Generator) -> Poses:
    """Return ``count`` poses of joints uniform in the range of the seeds."""
    return poses_of(chain, symmetric, _uniform(chain, count, rng))


def poses_of(chain: Chain, symmetric: bool, q: Floats) -> Poses:
    """Return the poses that the joints ``q`` (N, n) make."""
    x = np.empty((len(q), FEATURES), np.float32)
    write_features(chain, symmetric, q, x)
    unit = (q - chain.centre) / chain.half
    return Poses(q=q, x=x, y=(unit[:, 1:-1] if symmetric else unit).astype(np.float32))


def rare(chain: Chain, kind: str, count: int, rng: np.random.Generator) -> Floats:
    """Return ``count`` postures (count, n) of a kind in `RARE`.

    Raises:
        ValueError: There is no such kind.
    """
    if kind == "limits":
        return _near_limits(chain, count, rng)
    if kind not in RARE:
        raise ValueError(f"The kinds of rare postures are {', '.join(RARE)}, not {kind!r}.")
    q = np.empty((count, len(chain.lower)))
    _extremes(chain, RARE.index(kind), _uniform(chain, count * _CANDIDATES, rng), q)
    return q


def perturb(chain: Chain, q: Floats, rng: np.random.Generator) -> Floats:
    """Return postures (N, n) near ``q``, at distances of all scales: around a failure lie more."""
    low, high = (math.log(spread) for spread in _SPREAD)
    spread = np.exp(rng.uniform(low, high, (len(q), 1)))
    moved = q + spread * chain.half * rng.standard_normal(q.shape)
    lower = np.maximum(chain.centre - chain.half, chain.lower)  # rounding may leave the limits
    return np.clip(moved, lower, np.minimum(chain.centre + chain.half, chain.upper))


def _uniform(chain: Chain, count: int, rng: np.random.Generator) -> Floats:
    return chain.centre + chain.half * rng.uniform(-1.0, 1.0, (count, len(chain.lower)))


def _near_limits(chain: Chain, count: int, rng: np.random.Generator) -> Floats:
    """Return postures with one or two joints near a limit; uniform where no joint has any."""
    q = _uniform(chain, count, rng)
    limited = np.flatnonzero(np.isfinite(chain.lower))
    rows = np.arange(count)
    for chosen in (np.ones(count, np.bool_), rng.random(count) < 0.5):
        if not len(limited):
            break
        joint, upper = rng.choice(limited, count), rng.random(count) < 0.5
        span = chain.upper[joint] - chain.lower[joint]
        inward = _NEAR_LIMIT * span * rng.random(count)
        at = np.where(upper, chain.upper[joint] - inward, chain.lower[joint] + inward)
        q[rows[chosen], joint[chosen]] = at[chosen]
    return q


@_compiled
def write_features(chain: Chain, symmetric: bool, q: Floats, x: Floats32) -> None:
    """Write the network's input ``x`` (N, FEATURES) for the poses of ``q`` (N, n)."""
    T, M = np.empty((4, 4)), np.empty((3, 4))
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], T)
        features(chain, symmetric, T, M, x[k])


@_compiled
def _extremes(chain: Chain, kind: int, candidates: Floats, q: Floats) -> None:
    """Write into ``q`` (N, n) the most extreme of each group of ``candidates`` (N * group, n), by place in `RARE`."""
    n = q.shape[1]
    T, J, M, x = np.empty((4, 4)), np.empty((6, n)), np.empty((3, 4)), np.empty(FEATURES, np.float32)
    group = candidates.shape[0] // q.shape[0]
    for k in range(q.shape[0]):
        best = -np.inf
        for c in range(k * group, (k + 1) * group):
            if kind == 1:
                fk_jacobian(chain.fixed, chain.prismatic, candidates[c], T, J)
                value = -_manipulability(J, chain.reach)
            else:
                fk(chain.fixed, chain.prismatic, candidates[c], T)
                features(chain, False, T, M, x)  # M: the last joint seen from the first
                radius2 = M[0, 3] ** 2 + M[1, 3] ** 2
                value = radius2 + M[2, 3] ** 2 if kind == 2 else -radius2
            if value > best:
                best = value
                for i in range(n):
                    q[k, i] = candidates[c, i]


@_compiled
def _manipulability(J: Floats, reach: float) -> float:
    """Return the product of the squared singular values of ``J`` (6, n), positions per ``reach`` (Yoshikawa, 1985)."""
    n = J.shape[1]
    m = min(n, 6)
    A = np.zeros((m, m))
    for r in range(3):
        for i in range(n):
            J[r, i] /= reach
    for a in range(m):
        for b in range(a + 1):
            for k in range(max(n, 6)):
                if n < 6:
                    A[a, b] += J[k, a] * J[k, b]
                elif k < n:
                    A[a, b] += J[a, k] * J[b, k]
    product = 1.0  # the determinant, by LDL^T
    for j in range(m):
        if A[j, j] <= 0.0:
            return 0.0
        product *= A[j, j]
        for i in range(j + 1, m):
            share = A[i, j] / A[j, j]
            for k in range(j + 1, i + 1):
                A[i, k] -= share * A[k, j]
    return product
