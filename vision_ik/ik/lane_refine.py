"""Refinement of many seeds: sixteen lanes, each filled again as soon as its seed is done."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik import lanes
from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import PATIENCE
from vision_ik.ik.lane_step import advance
from vision_ik.ik.lanes import LANES, NEW, PER_JOINT, SEED, TXX
from vision_ik.robots.kernels import Bools
from vision_ik.types import Floats


@njit(cache=True, nogil=True, error_model="numpy")
def refine_many(
    chain: Chain,
    targets: Floats,
    seeds: Floats,
    per_target: int,
    iterations: int,
    tolerance_m: float,
    tolerance_rad: float,
    done: Bools,
    steps: NDArray[np.int64],
    errors: Floats,
) -> None:
    """Refine ``seeds`` (N * per_target, n) in place toward ``targets`` (N, 4, 4), ``per_target`` in a row for each.

    What becomes of a seed does not depend on its neighbours. Writes whether each converged, the steps it took, and
    position and rotation error (N * per_target, 2) [m], [rad].
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
            reached = s[lanes.METRES + l] <= tolerance_m and s[lanes.RADIANS + l] <= tolerance_rad
            if reached or s[lanes.STALLED + l] > PATIENCE or s[lanes.STEPS + l] >= iterations:
                owner[l], busy = -1, busy - 1
                done[k], steps[k] = reached, int(s[lanes.STEPS + l])
                errors[k, 0], errors[k, 1] = s[lanes.METRES + l], s[lanes.RADIANS + l]
                for i in range(n):
                    seeds[k, i] = joints[PER_JOINT * i * LANES + l]
