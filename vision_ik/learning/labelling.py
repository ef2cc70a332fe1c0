"""Labels: what refinement makes of the network's proposals.

They come from the very steps that solve later, so the network learns what those can use rather than a proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.lane_labels import head_seeds
from vision_ik.ik.lane_net import make_lane_net
from vision_ik.ik.lane_refine import refine_many
from vision_ik.ik.seeds import FEATURES, Floats32, Net, activate, affine, complete, features
from vision_ik.learning.sampling import ITERATIONS, TOLERANCE
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats

Steps = NDArray[np.int8]
"""Steps until convergence; 0 where a seed does not converge."""

_BLOCK = 256
"""Poses whose seeds are held at once."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trials:
    """What became of one proposal for each pose."""

    head: NDArray[np.int64]
    """(N,) the head that proposed it."""
    best: NDArray[np.bool_]
    """(N,) whether that is the best-ranked one."""
    steps: Steps
    """(N,)"""
    reached: Floats32
    """(N, outputs) the outputs that would have hit the posture reached."""


def refine_outputs(chain: Chain, symmetric: bool, q: Floats, outputs: Floats32) -> tuple[Steps, Floats32]:
    """Refine one proposal (N, outputs) for each pose of ``q`` (N, n).

    Returns:
        Steps (N,), and the outputs that would have hit the posture reached (N, outputs).
    """
    Ts, seeds = np.empty((len(q), 4, 4)), np.empty_like(q)
    _complete(chain, symmetric, q, outputs, Ts, seeds)
    return _refined(chain, Ts, seeds), _outputs(chain, symmetric, seeds)


def label_heads(chain: Chain, net: Net, q: Floats, *, threads: int = 1) -> Steps:
    """Return the steps (N, heads) from each head for the poses of ``q`` (N, n)."""
    heads, lane_net = net.rank.shape[1], make_lane_net(net)
    labels = np.empty((len(q), heads), np.int8)

    def work(part: slice) -> None:
        for begin in range(part.start, min(part.stop, len(q)), _BLOCK):
            rows = slice(begin, min(begin + _BLOCK, part.stop, len(q)))
            count = rows.stop - begin
            Ts, odds, seeds = np.empty((count, 4, 4)), np.empty((count, heads)), np.empty((count, heads, q.shape[1]))
            head_seeds(chain, lane_net, q[rows], Ts, odds, seeds)
            labels[rows] = _refined(chain, Ts, seeds.reshape(count * heads, -1)).reshape(count, heads)

    in_parts(work, len(q), threads)
    return labels


def first_shot(chain: Chain, net: Net, q: Floats, *, threads: int = 1) -> Steps:
    """Return the steps (N,) from the best-ranked head for the poses of ``q`` (N, n)."""
    return try_heads(chain, net, q, np.ones(len(q)), threads=threads).steps


def try_heads(chain: Chain, net: Net, q: Floats, luck: Floats, *, threads: int = 1) -> Trials:
    """Refine one head's proposal for each pose of ``q`` (N, n).

    Args:
        chain: The arm.
        net: The network.
        q: (N, n) joints whose poses are the targets.
        luck: (N,) in [0, 1]; where it is below 1, the head is drawn with it from the softmax of half the logits,
            else it is the best-ranked.
        threads: Among which rows are shared out; the result does not depend on it.
    """
    count, seeds, Ts = len(q), np.empty_like(q), np.empty((len(q), 4, 4))
    head, best, steps = np.empty(count, np.int64), np.empty(count, np.bool_), np.empty(count, np.int8)

    def work(part: slice) -> None:
        _propose(chain, net, q[part], luck[part], head[part], best[part], Ts[part], seeds[part])
        steps[part] = _refined(chain, Ts[part], seeds[part])

    in_parts(work, count, threads)
    return Trials(head=head, best=best, steps=steps, reached=_outputs(chain, net.symmetric, seeds))


def _refined(chain: Chain, Ts: Floats, seeds: Floats) -> Steps:
    """Refine ``seeds`` (N * k, n) in place toward ``Ts`` (N, 4, 4); return the steps (N * k,)."""
    done, steps, errors = np.empty(len(seeds), np.bool_), np.empty(len(seeds), np.int64), np.empty((len(seeds), 2))
    each = max(1, len(seeds) // max(1, len(Ts)))
    refine_many(chain, Ts, seeds, each, ITERATIONS, TOLERANCE, TOLERANCE, done, steps, errors)
    return np.where(done, np.maximum(steps, 1), 0).astype(np.int8)


def _outputs(chain: Chain, symmetric: bool, q: Floats) -> Floats32:
    """Return the outputs (N, outputs) that stand for the postures ``q`` (N, n)."""
    unit = (q - chain.centre) / chain.half
    return (unit[:, 1:-1] if symmetric else unit).astype(np.float32)


def in_parts(work: Callable[[slice], None], count: int, threads: int) -> None:
    """Do ``work`` on ``count`` rows, shared out among threads; what it writes does not depend on their number."""
    size = max(1, -(-count // threads))
    parts = [slice(begin, begin + size) for begin in range(0, count, size)]
    if len(parts) < 2:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))


@_compiled
def _complete(chain: Chain, symmetric: bool, q: Floats, outputs: Floats32, Ts: Floats, seeds: Floats) -> None:
    """Write the poses ``Ts`` (N, 4, 4) of ``q`` and the ``seeds`` (N, n) that ``outputs`` (N, outputs) stand for."""
    M, x = np.empty((3, 4)), np.empty(FEATURES, np.float32)
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], Ts[k])
        features(chain, symmetric, Ts[k], M, x)
        complete(chain, symmetric, M, outputs[k], seeds[k])


@_compiled
def _drawn(logits: Floats32, luck: float) -> int:
    """Return a head drawn from the softmax of half the logits by inverting its distribution at ``luck``."""
    largest, total = logits.max(), 0.0
    for head in range(logits.shape[0]):
        total += np.exp(0.5 * (logits[head] - largest))
    left = luck * total
    for head in range(logits.shape[0]):
        left -= np.exp(0.5 * (logits[head] - largest))
        if left < 0.0:
            return head
    return int(np.argmax(logits))


@_compiled
def _propose(
    chain: Chain,
    net: Net,
    q: Floats,
    luck: Floats,
    chosen: NDArray[np.int64],
    best: NDArray[np.bool_],
    Ts: Floats,
    seeds: Floats,
) -> None:
    """Choose a head for each pose, see `try_heads`, and write pose and seed; only the head's outputs are computed."""
    M, x = np.empty((3, 4)), np.empty(FEATURES, np.float32)
    heads, width = net.rank.shape[1], net.first.shape[1]
    known, work = np.empty(FEATURES + width, np.float32), np.empty(width, np.float32)
    h, judges = known[FEATURES:], np.empty(net.judge.shape[1], np.float32)
    logits, outputs = np.empty(heads, np.float32), np.empty(net.heads.shape[1] // heads, np.float32)
    m = outputs.shape[0]
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], Ts[k])
        features(chain, net.symmetric, Ts[k], M, x)
        for j in range(FEATURES):
            known[j] = x[j]
        affine(net.first, x, h)
        activate(h)
        for layer in range(net.hidden.shape[0]):
            affine(net.hidden[layer], h, work)
            activate(work)
            for j in range(width):
                h[j] = work[j]
        affine(net.judge, known, judges)
        activate(judges)
        affine(net.rank, judges, logits)
        head = int(np.argmax(logits))
        chosen[k] = head if luck[k] >= 1.0 else _drawn(logits, luck[k])
        best[k] = chosen[k] == head
        for i in range(m):
            s = net.heads[width, chosen[k] * m + i]
            for j in range(width):
                s += net.heads[j, chosen[k] * m + i] * h[j]
            outputs[i] = s
        complete(chain, net.symmetric, M, outputs, seeds[k])
