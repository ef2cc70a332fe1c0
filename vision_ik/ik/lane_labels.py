"""What refinement makes of many given seeds: the labels from which the network learns, sixteen lanes at a time."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik import lane_seeds, lanes
from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import PATIENCE
from vision_ik.ik.lane_net import GROUP, INPUT_BLOCKS, LaneNet, affine, evaluate
from vision_ik.ik.lane_step import advance
from vision_ik.ik.lanes import LANES, NEW, PER_JOINT, SEED, TXX
from vision_ik.robots.kernels import Bools, fk
from vision_ik.types import Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def refine_many(
    chain: Chain,
    targets: Floats,
    seeds: Floats,
    per_target: int,
    iterations: int,
    tolerance: float,
    done: Bools,
    steps: NDArray[np.int64],
) -> None:
    """Refine ``seeds`` (N * per_target, n) in place toward ``targets`` (N, 4, 4), ``per_target`` in a row for each.

    Writes whether each converged to ``tolerance`` [m], [rad], and the steps it took.
    """
    count, n = seeds.shape
    work = lanes.make_lanes(n)
    s, joints, J, J_trial = work.state, work.joints, work.J, work.J_trial
    owner, ahead, busy = np.full(LANES, -1), 0, 0
    while True:
        for l in range(LANES):
            if owner[l] < 0 and ahead < count:
                owner[l], busy = ahead, busy + 1
                T = targets[ahead // per_target]
                for c in range(4):
                    for r in range(3):
                        s[TXX + (3 * c + r) * LANES + l] = T[r, c]
                for i in range(n):
                    joints[PER_JOINT * i * LANES + SEED + l] = seeds[ahead, i]
                s[NEW + l] = 1.0
                ahead += 1
        if busy == 0:
            return
        if advance(chain, s, joints, J, J_trial):
            J, J_trial = J_trial, J
        for l in range(LANES):
            k = owner[l]
            if k < 0:
                continue
            reached = s[lanes.METRES + l] <= tolerance and s[lanes.RADIANS + l] <= tolerance
            if reached or s[lanes.STALLED + l] > PATIENCE or s[lanes.STEPS + l] >= iterations:
                owner[l], busy = -1, busy - 1
                done[k], steps[k] = reached, int(s[lanes.STEPS + l])
                for i in range(n):
                    seeds[k, i] = joints[PER_JOINT * i * LANES + l]


@_compiled
def head_seeds(chain: Chain, net: LaneNet, q: Floats, targets: Floats, logits: Floats, seeds: Floats) -> None:
    """Write the poses of ``q`` (N, n) to ``targets`` (N, 4, 4), what the network makes of them to the others.

    ``logits`` (N, heads) receives the heads' log-odds, ``seeds`` (N, heads, n) what each proposes, inside the limits.
    """
    n, first = q.shape[1], 1 if net.symmetric else 0
    g = lane_seeds.make_group(n, net)
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], targets[k])
    for begin in range(0, q.shape[0], GROUP):
        here = min(GROUP, q.shape[0] - begin)
        lane_seeds.read_targets(chain, targets, q, begin, g)
        lane_seeds.features(chain, net.symmetric, g.T, g.M, g.x)
        evaluate(net, g.x, g.work, g.judged, g.logits)
        affine(net.heads, net.heads_bias, g.x[INPUT_BLOCKS:], g.outputs)
        odds, outputs = g.logits.reshape(-1), g.outputs.reshape(-1)
        for head in range(net.n_heads):
            for o in range(net.outputs):
                j = first + o
                for l in range(GROUP):
                    out = outputs[(head * net.outputs + o) * GROUP + l]
                    g.seed[j * GROUP + l] = chain.centre[j] + chain.half[j] * out
            lane_seeds.complete(chain, net.symmetric, g.M, g.F, g.seed)
            for l in range(here):
                logits[begin + l, head] = odds[head * GROUP + l]
                for i in range(n):
                    seeds[begin + l, head, i] = g.seed[i * GROUP + l]
