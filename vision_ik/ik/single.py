"""One target: the likeliest seed alone, then sixteen at once for hardly more than what one costs.

1. *Start.* A start whose pose is close to the target is refined alone, and wins if it converges nearby: along a
   path the arm does not change its posture.
2. *Network.* Of the plausible heads the one nearest to the start is refined. Where it fails, sixteen others are
   refined side by side: plausible ones by nearness, then the rest by odds. Of those that converge the nearest
   wins; the search does not wait for lanes that are farther away.
3. *Restarts.* The remaining heads, the start if it was not tried, and random postures, sixteen at a time. Without
   a network the start goes first, alone.

Nothing converged: the closest pose is kept, and the start's own unless another comes clearly closer, so that an
arm following a target out of its reach does not jump about.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik import lane_seeds, lanes, solo_net
from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import LENGTH, PATIENCE, assign, pose_error, refine
from vision_ik.ik.lane_net import GROUP
from vision_ik.ik.lane_step import advance
from vision_ik.ik.lanes import COST, LANES, METRES, NEW, PER_JOINT, RADIANS, SEED, STALLED, STEPS, TXX
from vision_ik.ik.packed import Heads, unpack
from vision_ik.ik.search import (
    CONVERGED,
    FOLLOWING_GAIN,
    HOLD_COST,
    HOLD_MARGIN,
    INVALID,
    NEAR_COST,
    NEAR_JOINT,
    NETWORK,
    PLAUSIBLE_ODDS,
    RANDOM,
    START,
    STILL_JOINT,
    UNREACHABLE,
    Settings,
    inside,
    random_posture,
    rigid,
    unwind,
)
from vision_ik.ik.seeds import Floats32, features
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats

_WAIT = 3
"""Steps granted to lanes that are nearer than the first one that converged."""
_NEARLY = 1e-4
"""Weighted squared error (4 mm, 0.01 rad) from which a closest posture counts as nearly there."""
_ROUNDS = 20
"""Further runs it gets."""
_PROMISING = 0.25
"""Weighted squared error below which a lane that is still at work is waited for."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


class Begun(NamedTuple):
    """How far the search has come when the start has had its turn."""

    has_start: bool
    tried_start: bool
    found: bool
    score: float
    """Squared distance to the reference where it converged, else the weighted squared error."""


@_compiled
def solve_single(
    numbers: Floats, prismatic: NDArray[np.bool_], weights: Floats32, matrix: Floats, start: Floats, has_start: bool
) -> Floats:
    """Solve one target with what a `Packed` holds: its fields are the first three arguments.

    Returns:
        (n + 6,) the posture, then status, position error [m], rotation error [rad], kind of seed, steps, and
        whether the arm leaps: the start was near the target, but its joints have to go far. Such a leap is rare
        (at a singularity the start's steps die away, at a limit they end); the caller may look for a nearer solution.
    """
    chain, net, kinds, settings = unpack(numbers, prismatic, weights)
    n = chain.lower.shape[0]
    out, target, reference = np.empty(n + 6), np.empty((4, 4)), np.empty(n)
    valid = rigid(matrix, target)
    for i in range(n):
        valid = valid and math.isfinite(start[i])
        reference[i] = inside(chain, i, start[i])
    q, facts = out[:n], out[n:]
    facts[0], facts[1], facts[2], facts[3], facts[4], facts[5] = INVALID, np.nan, np.nan, START, 0.0, 0.0
    if not valid:
        for i in range(n):
            q[i] = np.nan
        return out
    facts[0], facts[1], facts[2] = UNREACHABLE, np.inf, np.inf
    assign(q, reference)
    best, tried_start, allowed = np.inf, False, STILL_JOINT
    if has_start:
        T, e = np.empty((4, 4)), np.empty(6)
        fk(chain.fixed, chain.prismatic, reference, T)
        m, rad = pose_error(target, T, e)
        cost = (m / LENGTH) ** 2 + rad * rad
        tried_start = cost < NEAR_COST
        allowed = min(NEAR_JOINT, STILL_JOINT + FOLLOWING_GAIN * math.sqrt(cost))
    found = False
    if tried_start:
        assign(q, reference)
        found, steps, m, rad = _refine(chain, settings, target, q)
        best = unwind(chain, q, reference)
        facts[0], facts[1], facts[2], facts[4] = CONVERGED if found else UNREACHABLE, m, rad, steps
        if found and _farthest(q, reference) <= allowed:
            return out
        if not found:
            best = HOLD_COST * ((m / LENGTH) ** 2 + rad * rad) - HOLD_MARGIN
    _search(chain, net, kinds, settings, target, reference, Begun(has_start, tried_start, found, best), out)
    if facts[0] == UNREACHABLE:
        _insist(chain, settings, target, reference, out)
    facts[5] = 1.0 if tried_start and facts[0] == CONVERGED and _farthest(q, reference) > allowed else 0.0
    return out


@_compiled
def _insist(chain: Chain, settings: Settings, target: Floats, reference: Floats, out: Floats) -> None:
    """Go on from a closest posture that is nearly there: at singularities steps converge, but slowly."""
    n = reference.shape[0]
    trial = out[:n].copy()
    for _ in range(_ROUNDS):
        m, rad = out[n + 1], out[n + 2]
        if (m / LENGTH) ** 2 + rad * rad > _NEARLY:
            return
        done, steps, m, rad = _refine(chain, settings, target, trial)
        out[n + 4] += steps
        if done:
            unwind(chain, trial, reference)
        if done or (m / LENGTH) ** 2 + rad * rad < 0.5 * ((out[n + 1] / LENGTH) ** 2 + out[n + 2] ** 2):
            _put(trial, CONVERGED if done else UNREACHABLE, m, rad, int(out[n + 3]), out)
        if done:
            return


@_compiled
def _farthest(q: Floats, reference: Floats) -> float:
    farthest = 0.0
    for i in range(q.shape[0]):
        farthest = max(farthest, abs(q[i] - reference[i]))
    return farthest


@_compiled
def _refine(chain: Chain, settings: Settings, target: Floats, q: Floats) -> tuple[bool, int, float, float]:
    return refine(
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


@_compiled
def _put(q: Floats, status: int, m: float, rad: float, kind: int, out: Floats) -> None:
    """Write a posture and what is known of it to ``out``, as `solve_single` returns it."""
    n = q.shape[0]
    for i in range(n):
        out[i] = q[i]
    out[n], out[n + 1], out[n + 2], out[n + 3] = status, m, rad, kind


@_compiled
def _search(
    chain: Chain,
    net: solo_net.SoloNet,
    kinds: Heads,
    settings: Settings,
    target: Floats,
    reference: Floats,
    begun: Begun,
    out: Floats,
) -> None:
    """Try the network's seeds, then restarts; ``out`` holds what the start came to."""
    n, heads = chain.lower.shape[0], kinds.n_heads
    has_start, tried_start, found, best = begun
    if found and heads == 0:
        return
    padded = -(-heads // GROUP) * GROUP
    seeds, keys, order = np.empty((padded // GROUP, n * GROUP)), np.empty(padded), np.empty(heads, np.int64)
    if heads > 0:
        _propose(chain, net, kinds, target, reference, seeds, keys)
    state, done_heads, restarts = np.uint64(settings.seed), 0, 0
    trial = np.empty(n)
    if heads > 0 or not tried_start:
        head = np.argmin(keys[:heads]) if heads > 0 else -1
        for i in range(n):
            trial[i] = reference[i] if heads == 0 else seeds[head // GROUP, i * GROUP + head % GROUP]
        done, steps, m, rad = _refine(chain, settings, target, trial)
        out[n + 4] += steps
        score = unwind(chain, trial, reference) if done else (m / LENGTH) ** 2 + rad * rad
        if heads == 0 and has_start and not done:
            score = HOLD_COST * score - HOLD_MARGIN
        if (done and not found) or (done == found and score < best):
            best = score
            _put(trial, CONVERGED if done else UNREACHABLE, m, rad, NETWORK if heads > 0 else START, out)
        if done or found:
            return
        tried_start = tried_start or heads == 0
        _sort(keys, order)
        done_heads = 1
    work = lanes.make_lanes(n)
    while done_heads < heads or restarts < settings.restarts or not tried_start:
        from_start = False
        kind = NETWORK if done_heads < heads else RANDOM
        for l in range(LANES):
            if kind == NETWORK:
                head = order[min(done_heads + l, heads - 1)]
                for i in range(n):
                    trial[i] = seeds[head // GROUP, i * GROUP + head % GROUP]
            elif not tried_start:
                tried_start = from_start = True
                assign(trial, reference)
            elif restarts < settings.restarts:
                restarts += 1
                state = random_posture(chain, state, trial)
            for i in range(n):
                work.joints[PER_JOINT * LANES * i + SEED + l] = trial[i]
        network_round = kind == NETWORK
        lane, converged, score, m, rad, steps = _round(chain, settings, target, reference, work, trial)
        out[n + 4] += steps
        if from_start and has_start and not converged:
            held = HOLD_COST * work.state[COST] - HOLD_MARGIN
            if held < score:
                lane, score = 0, held
                m, rad = _take(chain, reference, work, lane, trial)
        if converged or score < best:
            best = score
            kind = START if from_start and lane == 0 else kind
            _put(trial, CONVERGED if converged else UNREACHABLE, m, rad, kind, out)
        if converged:
            return
        done_heads += LANES if network_round else 0


@_compiled
def _propose(
    chain: Chain,
    net: solo_net.SoloNet,
    kinds: Heads,
    target: Floats,
    reference: Floats,
    seeds: Floats,
    keys: Floats,
) -> None:
    """Write every head's posture to ``seeds`` (groups, n * GROUP), and to ``keys`` what puts them in order."""
    heads, outputs, symmetric = kinds
    n, first = reference.shape[0], 1 if symmetric else 0
    width = net.judge.shape[1] * solo_net.DEEP - solo_net.INPUTS
    known, M = np.zeros(solo_net.INPUTS + width, np.float32), np.empty((3, 4))
    logits = np.empty(net.rank.shape[0] * solo_net.WIDE, np.float32)
    proposed = np.empty(net.heads.shape[0] * solo_net.WIDE, np.float32)
    features(chain, symmetric, target, M, known)
    solo_net.evaluate(
        net,
        known,
        np.empty(width, np.float32),
        np.empty(net.judge.shape[0] * solo_net.WIDE, np.float32),
        logits,
        proposed,
    )
    rows, frame, near = np.empty(12 * GROUP), np.empty(12 * GROUP), np.empty(n * GROUP)
    for l in range(GROUP):
        for r in range(3):
            for c in range(4):
                rows[(3 * c + r) * GROUP + l] = M[r, c]
        for i in range(n):
            near[i * GROUP + l] = reference[i]
    distance = np.empty(GROUP)
    likeliest = logits[0]
    for head in range(1, heads):
        likeliest = max(likeliest, logits[head])
    for group in range(seeds.shape[0]):
        seed = seeds[group]
        for l in range(GROUP):
            head = min(group * GROUP + l, heads - 1)
            for o in range(outputs):
                j = first + o
                seed[j * GROUP + l] = chain.centre[j] + chain.half[j] * proposed[head * outputs + o]
        lane_seeds.complete(chain, symmetric, rows, frame, seed)
        lane_seeds.unwind(chain, near, seed, distance)
        for l in range(GROUP):
            head = min(group * GROUP + l, heads - 1)
            plausible = logits[head] >= min(likeliest, PLAUSIBLE_ODDS)
            # Plausible heads by distance, ahead of all others by odds.
            keys[group * GROUP + l] = distance[l] if plausible else 1e6 - logits[head]


@_compiled
def _sort(keys: Floats, order: NDArray[np.int64]) -> None:
    """Write to ``order`` which of ``keys`` comes first, second, ..."""
    for k in range(order.shape[0]):
        place = k
        while place > 0 and keys[order[place - 1]] > keys[k]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = k


@_compiled
def _round(
    chain: Chain, settings: Settings, target: Floats, reference: Floats, work: lanes.Lanes, posture: Floats
) -> tuple[int, bool, float, float, float, int]:
    """Refine the seeds in all lanes; ``posture`` (n,) receives the nearest that converged, else the closest.

    Returns:
        Its lane, whether it converged, its score, both errors, and the steps of all lanes.
    """
    n = reference.shape[0]
    s, joints, J, J_trial = work.state, work.joints, work.J, work.J_trial
    for l in range(LANES):
        s[NEW + l] = 1.0
        for r in range(3):
            for c in range(4):
                s[TXX + (3 * c + r) * LANES + l] = target[r, c]
    finished, trial = np.zeros(LANES, np.bool_), np.empty(n)
    winner, best, best_m, best_rad, waited, steps = -1, np.inf, np.inf, np.inf, 0, 0
    for _ in range(settings.iterations + 1):
        if advance(chain, s, joints, J, J_trial):
            J, J_trial = J_trial, J
        for l in range(LANES):
            if finished[l]:
                continue
            if s[METRES + l] <= settings.tolerance_m and s[RADIANS + l] <= settings.tolerance_rad:
                finished[l] = True
                steps += int(s[STEPS + l])
                for i in range(n):
                    trial[i] = joints[PER_JOINT * LANES * i + l]
                distance = unwind(chain, trial, reference)
                if distance < best:
                    winner, best, best_m, best_rad = l, distance, s[METRES + l], s[RADIANS + l]
                    assign(posture, trial)
            elif s[STALLED + l] > PATIENCE:
                finished[l] = True
                steps += int(s[STEPS + l])
        running = False
        for l in range(LANES):
            if finished[l]:
                continue
            if winner < 0:
                running = True
            elif s[COST + l] < _PROMISING and s[STALLED + l] == 0.0:
                distance = 0.0
                for i in range(n):
                    distance += (joints[PER_JOINT * LANES * i + l] - reference[i]) ** 2
                running = running or distance < best
        if not running or waited == _WAIT:
            break
        waited += winner >= 0
    for l in range(LANES):
        if not finished[l]:
            steps += int(s[STEPS + l])
    if winner >= 0:
        return winner, True, best, best_m, best_rad, steps
    for l in range(LANES):
        if s[COST + l] < best:
            winner, best = l, s[COST + l]
    winner = max(winner, 0)
    best_m, best_rad = _take(chain, reference, work, winner, posture)
    return winner, False, best, best_m, best_rad, steps


@_compiled
def _take(chain: Chain, reference: Floats, work: lanes.Lanes, lane: int, q: Floats) -> tuple[float, float]:
    """Write the posture of a lane to ``q``, turned toward the reference; return both errors."""
    for i in range(q.shape[0]):
        q[i] = work.joints[PER_JOINT * LANES * i + lane]
    unwind(chain, q, reference)
    return work.state[METRES + lane], work.state[RADIANS + lane]
