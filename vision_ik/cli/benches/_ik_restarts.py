"""One seed and its refinement on vector lanes: what a first shot is, whatever the seed comes from."""

from __future__ import annotations

import numpy as np
from numba import njit

from vision_ik.ik.chain import Chain
from vision_ik.ik.lane_refine import refine_many
from vision_ik.ik.search import Settings
from vision_ik.ik.seeds import FEATURES, Net, complete, evaluate, features
from vision_ik.types import Floats


@njit(cache=True, nogil=True, error_model="numpy")
def propose_first(chain: Chain, net: Net, Ts: Floats, seeds: Floats) -> None:
    """Write to ``seeds`` (N, n) the posture of the best-ranked head for each target (N, 4, 4)."""
    heads = net.rank.shape[1]
    outputs, logits = np.empty((heads, net.heads.shape[1] // heads), np.float32), np.empty(heads, np.float32)
    x, M = np.empty(FEATURES, np.float32), np.empty((3, 4))
    for k in range(Ts.shape[0]):
        features(chain, net.symmetric, Ts[k], M, x)
        evaluate(net, x, outputs, logits)
        complete(chain, net.symmetric, M, outputs[np.argmax(logits)], seeds[k])


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
