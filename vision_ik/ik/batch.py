"""Many targets: one seed each, refined sixteen at a time.

A target's seed is its start if that is near, else of the network's plausible heads the one nearest to the start,
or the best-ranked one where there is no start. Without a network random postures follow the start. Targets that
are not reached like this, or only far from a start that is near, are left to `single.solve_single`. What a target
gets does not depend on its neighbours, so that neither the size of the batch nor threads change it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik import lane_seeds, lanes
from vision_ik.ik.chain import Chain
from vision_ik.ik.lane_net import GROUP, INPUT_BLOCKS, LaneNet, affine, evaluate
from vision_ik.ik.lane_refine import refine_many
from vision_ik.ik.lanes import LANES, PER_JOINT, Q
from vision_ik.ik.search import (
    CONVERGED,
    INVALID,
    NEAR_COST,
    STILL_JOINT,
    Settings,
    inside,
    random_posture,
    unwind,
)
from vision_ik.types import Floats

PENDING = -1
"""Status of a target that is left to `single.solve_single`."""
_FOLLOWING = -2
"""Status of a target whose start is near, while it is refined."""
_SURE_ODDS = 4.0
"""Log-odds from which a head counts as plausible: higher than for single targets, for a miss costs ten times a hit."""
_CANDIDATES = 3
"""Plausible heads that are completed to find the one nearest to the start."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


def solve_many(
    chain: Chain,
    net: LaneNet,
    settings: Settings,
    matrices: Floats,
    starts: Floats,
    has_start: bool,
    q: Floats,
    status: NDArray[np.int64],
    errors: Floats,
    steps: NDArray[np.int64],
) -> bool:
    """Solve (N, 4, 4) targets from ``starts`` (N, n) or (1, n); write (N, n), (N,), (N, 2) and (N,) results.

    Returns:
        Whether any are left; their status is `PENDING`.
    """
    targets, done = np.empty_like(matrices), np.empty(len(q), np.bool_)
    limits = settings.iterations, settings.tolerance_m, settings.tolerance_rad
    propose_many(chain, net, matrices, starts, has_start, targets, q, status)
    refine_many(chain, targets, q, 1, *limits, done, steps, errors)
    if net.n_heads == 0:
        state, seed = np.uint64(settings.seed), np.empty(q.shape[1])
        for _ in range(settings.restarts):
            rows = np.flatnonzero(~done & (status == PENDING))
            if not rows.size:
                break
            state = np.uint64(random_posture(chain, state, seed))
            again = np.repeat(seed[None], len(rows), axis=0)
            found, more, left = np.empty(len(rows), np.bool_), np.empty(len(rows), np.int64), np.empty((len(rows), 2))
            refine_many(chain, targets[rows], again, 1, *limits, found, more, left)
            q[rows], done[rows], errors[rows] = again, found, left
            steps[rows] += more
    conclude_many(chain, starts, done, q, status, errors, steps)
    return bool((status == PENDING).any())


@_compiled
def propose_many(
    chain: Chain,
    net: LaneNet,
    matrices: Floats,
    starts: Floats,
    has_start: bool,
    targets: Floats,
    seeds: Floats,
    status: NDArray[np.int64],
) -> None:
    """Write the rigid ``targets`` (N, 4, 4), a seed (N, n) for each, and INVALID, PENDING or following as status."""
    count, n = seeds.shape
    g, work = lane_seeds.make_group(n, net), lanes.make_lanes(n)
    for begin in range(0, count, GROUP):
        lane_seeds.read_targets(chain, matrices, starts, begin, g)
        following = has_start and _take_near_starts(chain, work, g)
        if net.n_heads > 0 and not following:
            lane_seeds.features(chain, net.symmetric, g.T, g.M, g.x)
            evaluate(net, g.x, g.work, g.judged, g.logits)
            lane_seeds.best_head(net.n_heads, g.logits, g.head)
            if has_start:
                affine(net.heads, net.heads_bias, g.x[INPUT_BLOCKS:], g.outputs)
                lane_seeds.near_distances(chain, net, _SURE_ODDS, g)
                for k in range(_CANDIDATES):
                    lane_seeds.take_nearest(chain, net, g)
                    lane_seeds.keep_nearer(chain, g, k == 0)
            else:
                lane_seeds.propose(chain, net, g)
        for l in range(min(GROUP, count - begin)):
            k = begin + l
            near = g.near[l] > 0.5
            status[k] = INVALID if g.valid[l] < 0.5 else (_FOLLOWING if near else PENDING)
            chosen = g.reference if near or net.n_heads == 0 else (g.best if has_start else g.seed)
            for i in range(n):
                seeds[k, i] = chosen[i * GROUP + l]
            for c in range(4):
                for r in range(3):
                    targets[k, r, c] = g.T[(3 * c + r) * GROUP + l]


@_compiled
def conclude_many(
    chain: Chain,
    starts: Floats,
    done: NDArray[np.bool_],
    q: Floats,
    status: NDArray[np.int64],
    errors: Floats,
    steps: NDArray[np.int64],
) -> None:
    """Turn what converged by whole turns toward the starts, and tell solutions from what is invalid or left."""
    for k in range(q.shape[0]):
        if status[k] == INVALID:
            errors[k, 0], errors[k, 1], steps[k] = np.nan, np.nan, 0
            for i in range(q.shape[1]):
                q[k, i] = np.nan
            continue
        reference = starts[min(k, starts.shape[0] - 1)]
        unwind(chain, q[k], reference)
        farthest = 0.0
        for i in range(q.shape[1]):
            farthest = max(farthest, abs(q[k, i] - inside(chain, i, reference[i])))
        status[k] = CONVERGED if done[k] and (status[k] != _FOLLOWING or farthest <= STILL_JOINT) else PENDING


@_compiled
def _take_near_starts(chain: Chain, work: lanes.Lanes, g: lane_seeds.Group) -> bool:
    """Write to ``g.near`` whose start is near its target; return whether all are."""
    n, near = chain.lower.shape[0], 0.0
    for begin in range(0, GROUP, LANES):
        for i in range(n):
            posture = work.joints[PER_JOINT * LANES * i : PER_JOINT * LANES * i + LANES]
            reference = g.reference[i * GROUP + begin : i * GROUP + begin + LANES]
            for l in range(LANES):
                posture[l] = reference[l]
        lanes.fk_jacobian(chain.fixed, chain.prismatic, Q, work.state, work.joints, work.J)
        lane_seeds.near_targets(work.state, begin, NEAR_COST, g)
    for l in range(GROUP):
        near += g.near[l]
    return near == GROUP
