"""What the network proposes for many poses, head by head: with `lane_refine`, the labels from which it learns."""

from __future__ import annotations

from numba import njit

from vision_ik.ik import lane_seeds
from vision_ik.ik.chain import Chain
from vision_ik.ik.lane_net import GROUP, INPUT_BLOCKS, LaneNet, affine, evaluate
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")


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
