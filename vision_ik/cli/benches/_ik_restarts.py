"""The refinement behind seeds that are no network's: one seed, then random postures, until one converges."""

from __future__ import annotations

import numpy as np
from numba import njit

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import refine
from vision_ik.ik.lane_refine import refine_many
from vision_ik.ik.packed import Packed, unpack
from vision_ik.ik.search import Settings, random_posture
from vision_ik.types import Floats


@njit(cache=True, nogil=True, error_model="numpy")
def solve_from(packed: Packed, T_base_tip: Floats, seed: Floats) -> Floats:
    """Return the posture (n,) reached from ``seed`` (n,), or from the first random posture that converges."""
    chain, _, _, settings = unpack(packed)
    q, state = seed.copy(), np.uint64(settings.seed)
    for _ in range(settings.restarts + 1):
        done, _, _, _ = refine(
            chain.fixed,
            chain.prismatic,
            chain.lower,
            chain.upper,
            T_base_tip,
            q,
            settings.iterations,
            settings.tolerance_m,
            settings.tolerance_rad,
        )
        if done:
            return q
        state = random_posture(chain, state, q)
    return q


def refine_batch(chain: Chain, settings: Settings, Ts: Floats, seeds: Floats) -> tuple[Floats, Floats]:
    """Refine one seed (N, n) for each target (N, 4, 4), on vector lanes.

    Returns:
        The postures reached (N, n), and 1.0 where one converged (N,), else 0.0.
    """
    q, errors = seeds.copy(), np.empty((len(seeds), 2))
    done, steps = np.empty(len(seeds), np.bool_), np.empty(len(seeds), np.int64)
    tolerances = settings.tolerance_m, settings.tolerance_rad
    refine_many(chain, Ts, q, 1, settings.iterations, *tolerances, done, steps, errors)
    return q, done.astype(np.float64)
