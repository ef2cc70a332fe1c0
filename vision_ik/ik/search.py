"""What all searches share: outcomes, settings, the check of a target, whole turns, random postures, order of heads."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.seeds import Floats32, Net, complete, inner_distance
from vision_ik.types import Floats, IkStatus

CONVERGED, LIMITED, UNREACHABLE, INVALID = (
    int(IkStatus.CONVERGED),
    int(IkStatus.LIMITED),
    int(IkStatus.UNREACHABLE),
    int(IkStatus.INVALID),
)
SEED_NAMES = ("start", "network", "random")
START, NETWORK, RANDOM = 0, 1, 2

RIGID_TOLERANCE = 1e-6
"""Largest accepted deviation of R^T R from the identity."""
NEAR_COST = 0.5**2
"""Weighted squared pose error (20 cm, 0.5 rad) up to which a start is refined before the network's seeds."""
NEAR_JOINT = 0.5
"""[rad, m] Largest joint change with which a start's own solution wins at once ..."""
STILL_JOINT = 0.1
"""[rad, m] ... which a change as small as this always does ..."""
FOLLOWING_GAIN = 2.0
"""... and one in between if it is at most this much more per weighted pose error: at a singularity it is not."""
PLAUSIBLE_ODDS = 3.0
"""Log-odds from which a head counts as plausible; the best always does."""
PLAUSIBLE_HEADS = 6
"""Plausible heads, the nearest to the start, that go before the others."""
HOLD_COST = 0.5
"""Share of the start's remaining cost below which another seed's closest pose replaces it ..."""
HOLD_MARGIN = 0.02**2
"""... less this weighted squared error (8 mm, 0.02 rad): nobody wants to see an arm jump for less."""
FARTHEST = 1e12
"""[m] Targets farther away count as this far, in the same direction: single precision overflows beyond 1e19."""
WOUND_UP = 1e4
"""[rad] An endless joint that has turned farther loses digits that the tolerance needs."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


class Settings(NamedTuple):
    """How hard to try."""

    tolerance_m: float
    tolerance_rad: float
    iterations: int
    """Steps a seed may take."""
    heads: int
    """Network seeds that a batch on a GPU tries before restarts."""
    restarts: int
    """Random seeds tried at last."""
    seed: int
    """Of the random postures."""


@_compiled
def shrink(matrix: Floats) -> float:
    """Return the factor on the position of a pose (4, 4) that brings it within `FARTHEST`."""
    farthest = max(abs(matrix[0, 3]), abs(matrix[1, 3]), abs(matrix[2, 3]))
    return FARTHEST / farthest if farthest > FARTHEST else 1.0


@_compiled
def rigid(matrix: Floats, T: Floats) -> bool:
    """Write the rigid transform nearest to ``matrix`` (4, 4) into ``T``; return False if it is none."""
    for r in range(4):
        for c in range(4):
            if not math.isfinite(matrix[r, c]):
                return False
            T[r, c] = matrix[r, c]
    if abs(T[3, 0]) + abs(T[3, 1]) + abs(T[3, 2]) + abs(T[3, 3] - 1.0) > RIGID_TOLERANCE:
        return False
    S = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            S[a, b] = T[0, a] * T[0, b] + T[1, a] * T[1, b] + T[2, a] * T[2, b]
            if abs(S[a, b] - (a == b)) > RIGID_TOLERANCE:
                return False
    cross = T[1, 0] * T[2, 1] - T[2, 0] * T[1, 1]
    cross = cross * T[0, 2] + (T[2, 0] * T[0, 1] - T[0, 0] * T[2, 1]) * T[1, 2]
    if cross + (T[0, 0] * T[1, 1] - T[1, 0] * T[0, 1]) * T[2, 2] < 0.0:
        return False
    for r in range(3):  # one Newton step to the polar factor: R (3 I - R^T R) / 2
        x, y, z = T[r, 0], T[r, 1], T[r, 2]
        for c in range(3):
            T[r, c] = 1.5 * T[r, c] - 0.5 * (x * S[0, c] + y * S[1, c] + z * S[2, c])
    factor = shrink(matrix)
    for r in range(3):
        T[r, 3] *= factor
    return True


@_compiled
def inside(chain: Chain, joint: int, value: float) -> float:
    """Return a start's joint inside its limits; an endless one that is wound up beyond `WOUND_UP` is unwound."""
    if abs(value) > WOUND_UP and math.isinf(chain.upper[joint]) and not chain.prismatic[joint]:
        return value - 2.0 * math.pi * np.rint(value / (2.0 * math.pi))
    return min(max(value, chain.lower[joint]), chain.upper[joint])


@_compiled
def unwind(chain: Chain, q: Floats, reference: Floats) -> float:
    """Turn joints by whole turns toward ``reference`` where limits allow; return the squared distance left.

    A reference outside the limits counts as at the nearer one, which also bounds the turns that are tried.
    """
    distance = 0.0
    for i in range(q.shape[0]):
        goal = inside(chain, i, reference[i])
        if not chain.prismatic[i] and math.isfinite(goal - q[i]):
            turns = round((goal - q[i]) / (2.0 * math.pi))
            while turns != 0.0:
                turned = q[i] + 2.0 * math.pi * turns
                if chain.lower[i] <= turned <= chain.upper[i]:
                    q[i] = turned
                    break
                turns -= math.copysign(1.0, turns)
        distance += (q[i] - goal) ** 2
    return distance


@_compiled
def random_posture(chain: Chain, state: np.uint64, q: Floats) -> np.uint64:
    """Write a uniform posture into ``q`` and return the generator's next state (SplitMix64, Steele et al., 2014)."""
    for i in range(q.shape[0]):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        z = state
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        unit = float(z >> np.uint64(11)) * 2.0**-53
        q[i] = chain.centre[i] + chain.half[i] * (2.0 * unit - 1.0)
        q[i] = min(max(q[i], chain.lower[i]), chain.upper[i])
    return state


@_compiled
def order_heads(
    chain: Chain,
    net: Net,
    M: Floats,
    outputs: Floats32,
    logits: Floats32,
    reference: Floats,
    order: NDArray[np.int64],
    postures: Floats,
) -> int:
    """Write into ``order`` the heads to try: plausible ones nearest to ``reference`` first, then the others by odds.

    A head's own joints are cheap and sort out the nearest; only those are completed, into its row of ``postures``
    (heads, n), and measured in full.

    Returns:
        How many of them are plausible.
    """
    heads, least = logits.shape[0], min(logits.max(), PLAUSIBLE_ODDS)
    distances, used, full = np.full(heads, np.inf), np.zeros(heads, np.bool_), np.empty(PLAUSIBLE_HEADS)
    for head in range(heads):
        if logits[head] >= least:
            distances[head] = inner_distance(chain, net.symmetric, outputs[head], reference)
    near = 0
    while near < min(PLAUSIBLE_HEADS, order.shape[0]):
        head = int(np.argmin(distances))
        if distances[head] == np.inf:
            break
        distances[head], used[head] = np.inf, True
        complete(chain, net.symmetric, M, outputs[head], postures[head])
        distance, place = unwind(chain, postures[head], reference), near
        while place > 0 and full[place - 1] > distance:
            order[place], full[place] = order[place - 1], full[place - 1]
            place -= 1
        order[place], full[place] = head, distance
        near += 1
    for k in range(near, order.shape[0]):
        best = -1
        for head in range(heads):
            if not used[head] and (best < 0 or logits[head] > logits[best]):
                best = head
        order[k], used[best] = best, True
    return near
