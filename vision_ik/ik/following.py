"""The plain solve of one target, and whether it left a posture that was close to reaching it.

Along a path each start is near its target, and `search.solve_one` keeps the arm's posture where refinement from there
converges nearby. Where it does not (at a singularity its steps die away, at a limit they end) any seed may win, and
the arm would leap farther than it has to. Such a leap is told, so that the caller can look for the nearest solution
instead; it is rare, and costs nothing otherwise.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import LENGTH, pose_error
from vision_ik.ik.packed import Packed, unpack
from vision_ik.ik.search import CONVERGED, NEAR_COST, NEAR_JOINT, Settings, solve_one
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def solve_single(
    packed: Packed, settings: Settings, matrix: Floats, start: Floats, has_start: bool
) -> tuple[Floats, int, float, float, int, int, bool]:
    """Solve one target as `search.solve_one` does; return the posture (n,), its results, and whether the arm leaps."""
    chain, net = unpack(packed)
    q = np.empty(start.shape[0])
    status, m, rad, kind, steps = solve_one(chain, net, settings, matrix, start, has_start, q)
    leaps = has_start and status == CONVERGED and _moves_far(chain, start, q) and _is_near(chain, matrix, start)
    return q, status, m, rad, kind, steps, leaps


@_compiled
def _moves_far(chain: Chain, start: Floats, q: Floats) -> bool:
    for i in range(q.shape[0]):
        if abs(q[i] - min(max(start[i], chain.lower[i]), chain.upper[i])) > NEAR_JOINT:
            return True
    return False


@_compiled
def _is_near(chain: Chain, target: Floats, start: Floats) -> bool:
    """Return whether the pose of ``start`` is so near to ``target`` (4, 4) that the arm is following it."""
    T, e, inside = np.empty((4, 4)), np.empty(6), np.empty(start.shape[0])
    for i in range(start.shape[0]):
        inside[i] = min(max(start[i], chain.lower[i]), chain.upper[i])
    fk(chain.fixed, chain.prismatic, inside, T)
    m, rad = pose_error(target, T, e)
    return (m / LENGTH) ** 2 + rad * rad < NEAR_COST
