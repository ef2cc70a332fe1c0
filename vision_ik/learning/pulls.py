"""Compiled gradients of the heads: which head is pulled where.

Only one head in many is pulled by a pose, and the distances go the short way round a turn; done by
torch's tensors this takes three times as long as the rest of a step.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.seeds import Floats32

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz", "reassoc"})


def scales(chain: Chain, symmetric: bool) -> tuple[Floats32, Floats32]:
    """Return half the range and the full turn [rad, m] of each output; a sliding joint's turn is endless."""
    inner = slice(1, -1) if symmetric else slice(None)
    turn = np.where(chain.prismatic[inner], 1e9, 2.0 * math.pi)
    return chain.half[inner].astype(np.float32), turn.astype(np.float32)


@_compiled
def pull_nearest(
    outputs: Floats32, wanted: Floats32, half: Floats32, turn: Floats32, others: float, gradient: Floats32
) -> float:
    """Write the gradient (B, heads * o) of the mean squared distance of each row's nearest head from ``wanted`` (B, o).

    Args:
        outputs: (B, heads * o) of all heads.
        wanted: (B, o) outputs that hit.
        half: (o,) [rad, m] per unit of output.
        turn: (o,) [rad, m] after which a joint repeats.
        others: Share of the loss spread evenly over all heads.
        gradient: (B, heads * o) is overwritten.

    Returns:
        The loss [rad^2, m^2].
    """
    count, m = wanted.shape
    heads = outputs.shape[1] // m
    spread, rate = 2.0 * others / (heads * count), 2.0 * (1.0 - others) / count
    loss = 0.0
    for k in range(count):
        winner, least = 0, np.inf
        for head in range(heads):
            squared = 0.0
            for i in range(m):
                d = half[i] * (outputs[k, head * m + i] - wanted[k, i])
                d -= turn[i] * np.rint(d / turn[i])
                squared += d * d
                gradient[k, head * m + i] = spread * half[i] * d
            if squared < least:
                winner, least = head, squared
        for i in range(winner * m, winner * m + m):
            if spread > 0.0:
                gradient[k, i] *= 1.0 + rate / spread
            else:
                d = half[i - winner * m] * (outputs[k, i] - wanted[k, i - winner * m])
                d -= turn[i - winner * m] * np.rint(d / turn[i - winner * m])
                gradient[k, i] = rate * half[i - winner * m] * d
        loss += least
    return loss / count


@_compiled
def pull_chosen(
    outputs: Floats32,
    chosen: NDArray[np.int64],
    steps: NDArray[np.int8],
    reached: Floats32,
    half: Floats32,
    turn: Floats32,
    gradient: Floats32,
) -> float:
    """Add to ``gradient`` that of the mean squared distance of the ``chosen`` (B,) heads from where they converged.

    Rows whose ``steps`` (B,) are 0 did not converge and pull nothing; see `pull_nearest` for the others.
    """
    count, m = reached.shape
    loss = 0.0
    for k in range(count):
        if steps[k] == 0:
            continue
        for i in range(m):
            d = half[i] * (outputs[k, chosen[k] * m + i] - reached[k, i])
            d -= turn[i] * np.rint(d / turn[i])
            gradient[k, chosen[k] * m + i] += 2.0 * half[i] * d / count
            loss += d * d
    return loss / count
