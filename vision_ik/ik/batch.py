"""Many targets: sixteen lanes that each refine one target, filled again as soon as it is done.

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
from vision_ik.ik.kernels import PATIENCE
from vision_ik.ik.lane_net import GROUP, INPUT_BLOCKS, LaneNet, affine, evaluate
from vision_ik.ik.lane_step import advance
from vision_ik.ik.lanes import LANES, NEW, PER_JOINT, QN, SEED, TXX
from vision_ik.ik.search import (
    CONVERGED,
    INVALID,
    NEAR_COST,
    NEAR_JOINT,
    PLAUSIBLE_ODDS,
    Settings,
    random_posture,
    unwind,
)
from vision_ik.types import Floats

PENDING = -1
"""Status of a target that is left to `single.solve_single`."""
_CANDIDATES = 3
"""Plausible heads that are completed to find the one nearest to the start."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def solve_lanes(
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
) -> int:
    """Solve (N, 4, 4) targets from ``starts`` (N, n) or (1, n); write (N, n), (N,), (N, 2) and (N,) results.

    Returns:
        How many targets are left; their status is `PENDING`.
    """
    count, n = matrices.shape[0], q.shape[1]
    group, work = lane_seeds.make_group(n, net), lanes.make_lanes(n)
    s, joints, J, J_trial = work.state, work.joints, work.J, work.J_trial
    owner, tries = np.full(LANES, -1), np.zeros(LANES, np.int64)
    random_state, trial = np.zeros(LANES, np.uint64), np.empty(n)
    from_start = np.zeros(LANES, np.bool_)
    restarts = settings.restarts if net.n_heads == 0 else 0
    ahead, taken, busy, left = 0, GROUP, 0, 0
    while True:
        for l in range(LANES):
            while owner[l] < 0:
                if taken == GROUP:
                    if ahead >= count:
                        break
                    lane_seeds.read_targets(chain, matrices, starts, ahead, group)
                    following = has_start and _take_near_starts(chain, s, joints, J_trial, group)
                    if net.n_heads > 0 and not following:
                        _propose(chain, net, has_start, group)
                    ahead, taken = ahead + GROUP, 0
                k = ahead - GROUP + taken
                if k >= count:
                    taken = GROUP
                    break
                steps[k] = 0
                if group.valid[taken] < 0.5:
                    status[k], errors[k, 0], errors[k, 1] = INVALID, np.nan, np.nan
                    for i in range(n):
                        q[k, i] = np.nan
                else:
                    owner[l], status[k], busy = k, PENDING, busy + 1
                    from_start[l] = group.near[taken] > 0.5
                    tries[l], random_state[l] = 0, np.uint64(settings.seed)
                    for r in range(12):
                        s[TXX + r * LANES + l] = group.T[r * GROUP + taken]
                    for i in range(n):
                        joints[PER_JOINT * i * LANES + SEED + l] = group.seed[i * GROUP + taken]
                    s[NEW + l] = 1.0
                taken += 1
        if busy == 0:
            return left
        if advance(chain, s, joints, J, J_trial):
            J, J_trial = J_trial, J
        for l in range(LANES):
            k = owner[l]
            if k < 0:
                continue
            m, rad = s[lanes.METRES + l], s[lanes.RADIANS + l]
            done = m <= settings.tolerance_m and rad <= settings.tolerance_rad
            if not done and s[lanes.STALLED + l] <= PATIENCE and s[lanes.STEPS + l] < settings.iterations:
                continue
            steps[k] += int(s[lanes.STEPS + l])
            if done:
                reference = starts[min(k, starts.shape[0] - 1)]
                for i in range(n):
                    trial[i] = joints[PER_JOINT * LANES * i + l]
                unwind(chain, trial, reference)
                farthest = 0.0
                for i in range(n):
                    q[k, i] = trial[i]
                    farthest = max(farthest, abs(trial[i] - reference[i]))
                if not from_start[l] or farthest <= NEAR_JOINT:
                    status[k], errors[k, 0], errors[k, 1] = CONVERGED, m, rad
            elif tries[l] < restarts:
                s[NEW + l], tries[l], from_start[l] = 1.0, tries[l] + 1, False
                random_state[l] = random_posture(chain, random_state[l], trial)
                for i in range(n):
                    joints[PER_JOINT * LANES * i + SEED + l] = trial[i]
                continue
            owner[l], busy = -1, busy - 1
            left += status[k] == PENDING


@_compiled
def _take_near_starts(chain: Chain, s: Floats, joints: Floats, J: Floats, g: lane_seeds.Group) -> bool:
    """Write to ``g.near`` whose start is near its target; return whether all are. ``g.seed`` holds the starts.

    Between two steps the trial postures, their Jacobian ``J`` and the frames reached are free to use.
    """
    n, near = chain.lower.shape[0], 0.0
    for begin in range(0, GROUP, LANES):
        for i in range(n):
            trial = joints[PER_JOINT * LANES * i + QN : PER_JOINT * LANES * i + QN + LANES]
            reference = g.reference[i * GROUP + begin : i * GROUP + begin + LANES]
            for l in range(LANES):
                trial[l] = reference[l]
        lanes.fk_jacobian(chain.fixed, chain.prismatic, QN, s, joints, J)
        lane_seeds.near_targets(s, begin, NEAR_COST, g)
    for l in range(GROUP):
        near += g.near[l]
    return near == GROUP


@_compiled
def _propose(chain: Chain, net: LaneNet, has_start: bool, g: lane_seeds.Group) -> None:
    """Write the network's seeds to ``g.seed`` for the targets whose start is not near."""
    n = chain.lower.shape[0]
    lane_seeds.features(chain, net.symmetric, g.T, g.M, g.x)
    evaluate(net, g.x, g.work, g.judged, g.logits)
    lane_seeds.best_head(net.n_heads, g.logits, g.head)
    if not has_start:
        lane_seeds.propose(chain, net, g)
        return
    affine(net.heads, net.heads_bias, g.x[INPUT_BLOCKS:], g.outputs)
    lane_seeds.near_distances(chain, net, PLAUSIBLE_ODDS, g)
    for k in range(_CANDIDATES):
        lane_seeds.take_nearest(chain, net, g)
        lane_seeds.keep_nearer(chain, g, k == 0)
    for i in range(n):
        seed, best = g.seed[i * GROUP : (i + 1) * GROUP], g.best[i * GROUP : (i + 1) * GROUP]
        reference = g.reference[i * GROUP : (i + 1) * GROUP]
        for l in range(GROUP):
            seed[l] = reference[l] if g.near[l] > 0.5 else best[l]
