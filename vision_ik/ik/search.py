"""Compiled search: which seeds are refined, in which order, and which solution is kept.

For one target:

1. *Start.* A start posture whose pose is close to the target is refined first, and wins if it
   converges nearby: along a path the arm does not change its posture.
2. *Network.* The heads are ranked by the odds that refinement converges from them. Among the
   plausible ones, those nearest to the start are refined first; of the first ``settings.collect``
   that converge the nearest wins. The others follow by rank when none did.
3. *Restarts.* The start if it was not tried, then random postures, until one converges.

Nothing converged: the closest pose is kept, and the start's own unless another comes clearly
closer, so that an arm following a target out of its reach does not jump about.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import LENGTH, assign, pose_error, refine
from vision_ik.ik.packed import Packed, unpack
from vision_ik.ik.seeds import Floats32, Net, complete, evaluate, features, inner_distance
from vision_ik.robots.kernels import fk
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
"""[rad, m] Largest joint change with which a start's own solution wins at once."""
PLAUSIBLE_ODDS = 4.0
"""Log-odds from which a head counts as plausible; the best always does."""
PLAUSIBLE_HEADS = 6
"""Plausible heads, the nearest to the start, that go before the others."""
HOLD_COST = 0.5
"""Share of the start's remaining cost below which another seed's closest pose replaces it ..."""
HOLD_MARGIN = 0.02**2
"""... less this weighted squared error (8 mm, 0.02 rad): nobody wants to see an arm jump for less."""
AT_LIMIT = 1e-9
"""[rad, m] A joint this close to its limit stands at it."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


class Settings(NamedTuple):
    """How hard to try."""

    tolerance_m: float
    tolerance_rad: float
    iterations: int
    """Steps a seed may take."""
    collect: int
    """Converged seeds among which the nearest is chosen."""
    heads: int
    """Network seeds tried before restarts."""
    restarts: int
    """Random seeds tried at last."""
    seed: int
    """Of the random postures."""


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
    return True


@_compiled
def unwind(chain: Chain, q: Floats, reference: Floats) -> float:
    """Turn joints by whole turns toward ``reference`` where limits allow; return the squared distance left."""
    distance = 0.0
    for i in range(q.shape[0]):
        if not chain.prismatic[i]:
            turns = round((reference[i] - q[i]) / (2.0 * math.pi))
            while turns != 0.0:
                turned = q[i] + 2.0 * math.pi * turns
                if chain.lower[i] <= turned <= chain.upper[i]:
                    q[i] = turned
                    break
                turns -= math.copysign(1.0, turns)
        distance += (q[i] - reference[i]) ** 2
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
def _attempt(
    chain: Chain, settings: Settings, target: Floats, q: Floats, reference: Floats
) -> tuple[bool, int, float, float, float]:
    """Refine ``q``; return whether it converged, the steps, both errors, and its distance or its cost."""
    done, steps, e_m, e_rad = refine(
        chain.fixed,
        chain.prismatic,
        chain.lower,
        chain.upper,
        target,
        q,
        settings.iterations,
        settings.tolerance_m,
        settings.tolerance_rad,
    )
    distance = unwind(chain, q, reference)
    return done, steps, e_m, e_rad, distance if done else (e_m / LENGTH) ** 2 + e_rad * e_rad


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


@_compiled
def solve_one(
    chain: Chain, net: Net, settings: Settings, matrix: Floats, start: Floats, has_start: bool, q: Floats
) -> tuple[int, float, float, int, int]:
    """Solve one target; ``q`` (n,) receives the posture.

    Returns:
        Status, position error [m], rotation error [rad], kind of seed, steps over all seeds.
    """
    n = q.shape[0]
    target, reference, trial = np.empty((4, 4)), np.empty(n), np.empty(n)
    valid = rigid(matrix, target)
    for i in range(n):
        if not math.isfinite(start[i]):
            valid = False
        reference[i] = min(max(start[i], chain.lower[i]), chain.upper[i])
    if not valid:
        for i in range(n):
            q[i] = np.nan
        return INVALID, np.nan, np.nan, START, 0

    found, best_m, best_rad, kind, total = 0, np.inf, np.inf, START, 0
    best = np.inf  # distance once something converged, cost before
    tried_start = False
    if has_start:
        T, e = np.empty((4, 4)), np.empty(6)
        fk(chain.fixed, chain.prismatic, reference, T)
        m, rad = pose_error(target, T, e)
        tried_start = (m / LENGTH) ** 2 + rad * rad < NEAR_COST
        if tried_start:
            assign(q, reference)
            done, total, best_m, best_rad, best = _attempt(chain, settings, target, q, reference)
            found = int(done)
            if done and np.abs(q - reference).max() <= NEAR_JOINT:
                return CONVERGED, best_m, best_rad, START, total
            best = best if done else HOLD_COST * best - HOLD_MARGIN

    heads = net.rank.shape[1]
    random_state = np.uint64(settings.seed)
    if heads > 0:
        M, x = np.empty((3, 4)), np.empty(net.first.shape[0] - 1, np.float32)
        outputs = np.empty((heads, net.heads.shape[1] // heads), np.float32)
        logits = np.empty(heads, np.float32)
        features(chain, net.symmetric, target, M, x)
        evaluate(net, x, outputs, logits)
        order = np.empty(min(settings.heads, heads), np.int64)
        postures = np.empty((heads, n))
        near = order_heads(chain, net, M, outputs, logits, reference, order, postures)
        for k in range(order.shape[0]):
            if found >= settings.collect or (found > 0 and k >= near):
                break
            if k < near:
                assign(trial, postures[order[k]])
            else:
                complete(chain, net.symmetric, M, outputs[order[k]], trial)
            done, steps, m, rad, score = _attempt(chain, settings, target, trial, reference)
            total += steps
            if (done and found == 0) or ((done or found == 0) and score < best):
                assign(q, trial)
                best_m, best_rad, best, kind = m, rad, score, NETWORK
            found += done
    for k in range(-1, settings.restarts):
        if found > 0:
            break
        if k < 0:
            if tried_start:
                continue
            assign(trial, reference)
        else:
            random_state = random_posture(chain, random_state, trial)
        done, steps, m, rad, score = _attempt(chain, settings, target, trial, reference)
        total += steps
        found += done
        if k < 0 and has_start and not done:
            score = HOLD_COST * score - HOLD_MARGIN
        if done or score < best:
            assign(q, trial)
            best_m, best_rad, best, kind = m, rad, score, START if k < 0 else RANDOM
    if found > 0:
        return CONVERGED, best_m, best_rad, kind, total
    if _beyond_reach(chain, target):
        return UNREACHABLE, best_m, best_rad, kind, total
    for i in range(n):
        if q[i] - chain.lower[i] <= AT_LIMIT or chain.upper[i] - q[i] <= AT_LIMIT:
            return LIMITED, best_m, best_rad, kind, total
    return UNREACHABLE, best_m, best_rad, kind, total


@_compiled
def _beyond_reach(chain: Chain, target: Floats) -> bool:
    """Return whether the last joint would have to be farther from the first than the stretched chain is long."""
    first, last = chain.fixed[0], chain.fixed[-1]
    squared = 0.0
    for i in range(3):
        # Origin of the last joint: T_base_tip inv(T_last_tip), minus that of the first.
        p = target[i, 3] - first[i, 3]
        for j in range(3):
            for k in range(3):
                p -= target[i, j] * last[k, j] * last[k, 3]
        squared += p * p
    return squared > chain.reach**2


@_compiled
def solve_single(
    packed: Packed, settings: Settings, matrix: Floats, start: Floats, has_start: bool
) -> tuple[Floats, int, float, float, int, int]:
    """Solve one target as `solve_one` does, and return the posture (n,) in front of its results."""
    chain, net = unpack(packed)
    q = np.empty(start.shape[0])
    status, m, rad, kind, steps = solve_one(chain, net, settings, matrix, start, has_start, q)
    return q, status, m, rad, kind, steps


@_compiled
def solve_many(
    chain: Chain,
    net: Net,
    settings: Settings,
    matrices: Floats,
    starts: Floats,
    has_start: bool,
    q: Floats,
    status: NDArray[np.int64],
    errors: Floats,
    steps: NDArray[np.int64],
) -> None:
    """Solve (N, 4, 4) targets from ``starts`` (N, n) or (1, n); write (N, n), (N,), (N, 2) and (N,) results."""
    for k in range(matrices.shape[0]):
        start = starts[min(k, starts.shape[0] - 1)]
        status[k], errors[k, 0], errors[k, 1], _, steps[k] = solve_one(
            chain, net, settings, matrices[k], start, has_start, q[k]
        )


@_compiled
def solve_distinct(
    chain: Chain, net: Net, settings: Settings, matrix: Floats, reference: Floats, apart: float, q: Floats, info: Floats
) -> int:
    """Refine every head and all random seeds; keep solutions that differ by ``apart`` [rad, m] in some joint.

    Postures that differ by whole turns are one; the one nearest to ``reference`` stands for them.

    Returns:
        The number of solutions, at most ``q.shape[0]``, or -1 for an invalid target. ``info`` (count, 4)
        receives both errors, the kind of seed and the steps.
    """
    target, trial = np.empty((4, 4)), np.empty(reference.shape[0])
    if not rigid(matrix, target):
        return -1
    heads, count = net.rank.shape[1], 0
    M, x = np.empty((3, 4)), np.empty(net.first.shape[0] - 1, np.float32)
    outputs = np.empty((heads, net.heads.shape[1] // max(heads, 1)), np.float32)
    if heads > 0:
        features(chain, net.symmetric, target, M, x)
        evaluate(net, x, outputs, np.empty(heads, np.float32))
    state = np.uint64(settings.seed)
    for k in range(-1, heads + settings.restarts):
        kind = NETWORK
        if k < 0:
            assign(trial, reference)
            kind = START
        elif k < heads:
            complete(chain, net.symmetric, M, outputs[k], trial)
        else:
            state = random_posture(chain, state, trial)
            kind = RANDOM
        done, steps, m, rad, _ = _attempt(chain, settings, target, trial, reference)
        if done and count < q.shape[0] and _is_new(chain, q[:count], trial, apart):
            assign(q[count], trial)
            info[count, 0], info[count, 1], info[count, 2], info[count, 3] = m, rad, kind, steps
            count += 1
    return count


@_compiled
def _is_new(chain: Chain, known: Floats, q: Floats, apart: float) -> bool:
    for k in range(known.shape[0]):
        largest = 0.0
        for i in range(q.shape[0]):
            d = q[i] - known[k, i]
            if not chain.prismatic[i]:
                d -= 2.0 * math.pi * round(d / (2.0 * math.pi))
            largest = max(largest, abs(d))
        if largest < apart:
            return False
    return True
