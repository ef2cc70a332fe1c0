"""Compiled sampling and labelling: poses from random joints, and what refinement makes of proposals.

Labels come from the very kernel that solves later, so the network learns what that kernel
can use rather than a proxy of it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import refine
from vision_ik.ik.seeds import FEATURES, Floats32, Net, complete, evaluate, features
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats

ITERATIONS = 30
"""Steps a seed may take, as in the solver."""
TOLERANCE = 1e-6
"""[m], [rad]"""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Poses:
    """Reachable poses and the joints that made them."""

    q: Floats
    """(N, n) [rad], [m]."""
    x: Floats32
    """(N, FEATURES) what the network sees of the pose."""
    y: Floats32
    """(N, outputs) the proposed joints, in units of half their range from the middle."""


def has_symmetry(chain: Chain) -> bool:
    """Return whether the outer joints follow in closed form from the others; see `vision_ik.ik.seeds`."""
    n = len(chain.lower)
    if n < 3 or chain.prismatic[0] or chain.prismatic[-1]:
        return False
    poses = sample(chain, False, 256, np.random.default_rng(0))
    radius = np.hypot(poses.x[:, 0], poses.x[:, 1])  # of the last joint's origin about the first axis, per reach
    return bool(np.median(radius) > 1e-3)


def sample(chain: Chain, symmetric: bool, count: int, rng: np.random.Generator) -> Poses:
    """Return ``count`` poses of joints uniform in the range of the seeds."""
    unit = rng.uniform(-1.0, 1.0, (count, len(chain.lower)))
    q = chain.centre + chain.half * unit
    x = np.empty((count, FEATURES), np.float32)
    write_features(chain, symmetric, q, x)
    return Poses(q=q, x=x, y=(unit[:, 1:-1] if symmetric else unit).astype(np.float32))


def refine_outputs(
    chain: Chain, symmetric: bool, q: Floats, outputs: Floats32, *, threads: int = 1
) -> tuple[NDArray[np.bool_], Floats32]:
    """Refine one proposal (N, outputs) for each pose of ``q`` (N, n).

    Returns:
        Which converged (N,), and the outputs that would have hit the posture reached (N, outputs).
    """
    done, reached = np.empty(len(q), np.bool_), np.empty_like(outputs)

    def work(part: slice) -> None:
        _refine_outputs(chain, symmetric, q[part], outputs[part], done[part], reached[part])

    _in_parts(work, len(q), threads)
    return done, reached


def label_heads(chain: Chain, net: Net, q: Floats, *, threads: int = 1) -> NDArray[np.bool_]:
    """Return (N, heads): from which heads refinement converges, for the poses of ``q`` (N, n)."""
    labels = np.empty((len(q), net.rank.shape[1]), np.bool_)

    def work(part: slice) -> None:
        _label(chain, net, q[part], labels[part])

    _in_parts(work, len(q), threads)
    return labels


def first_shot(chain: Chain, net: Net, q: Floats, *, threads: int = 1) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Refine the best-ranked head alone for the poses of ``q`` (N, n): which converged, and in how many steps."""
    done, steps = np.empty(len(q), np.bool_), np.empty(len(q), np.int64)

    def work(part: slice) -> None:
        _first_shot(chain, net, q[part], done[part], steps[part])

    _in_parts(work, len(q), threads)
    return done, steps


def _in_parts(work: Callable[[slice], None], count: int, threads: int) -> None:
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
def write_features(chain: Chain, symmetric: bool, q: Floats, x: Floats32) -> None:
    """Write the network's input ``x`` (N, FEATURES) for the poses of ``q`` (N, n)."""
    T, M = np.empty((4, 4)), np.empty((3, 4))
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], T)
        features(chain, symmetric, T, M, x[k])


@_compiled
def _refine_outputs(
    chain: Chain, symmetric: bool, q: Floats, outputs: Floats32, done: NDArray[np.bool_], reached: Floats32
) -> None:
    T, M, x, trial = np.empty((4, 4)), np.empty((3, 4)), np.empty(FEATURES, np.float32), np.empty(q.shape[1])
    first = 1 if symmetric else 0
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], T)
        features(chain, symmetric, T, M, x)
        complete(chain, symmetric, M, outputs[k], trial)
        done[k] = refine(
            chain.fixed, chain.prismatic, chain.lower, chain.upper, T, trial, ITERATIONS, TOLERANCE, TOLERANCE
        )[0]
        for i in range(outputs.shape[1]):
            reached[k, i] = (trial[first + i] - chain.centre[first + i]) / chain.half[first + i]


@_compiled
def _label(chain: Chain, net: Net, q: Floats, labels: NDArray[np.bool_]) -> None:
    T, M, x, trial = np.empty((4, 4)), np.empty((3, 4)), np.empty(FEATURES, np.float32), np.empty(q.shape[1])
    heads = net.rank.shape[1]
    outputs, logits = np.empty((heads, net.heads.shape[1] // heads), np.float32), np.empty(heads, np.float32)
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], T)
        features(chain, net.symmetric, T, M, x)
        evaluate(net, x, outputs, logits)
        for head in range(heads):
            complete(chain, net.symmetric, M, outputs[head], trial)
            labels[k, head] = refine(
                chain.fixed, chain.prismatic, chain.lower, chain.upper, T, trial, ITERATIONS, TOLERANCE, TOLERANCE
            )[0]


@_compiled
def _first_shot(chain: Chain, net: Net, q: Floats, done: NDArray[np.bool_], steps: NDArray[np.int64]) -> None:
    T, M, x, trial = np.empty((4, 4)), np.empty((3, 4)), np.empty(FEATURES, np.float32), np.empty(q.shape[1])
    heads = net.rank.shape[1]
    outputs, logits = np.empty((heads, net.heads.shape[1] // heads), np.float32), np.empty(heads, np.float32)
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], T)
        features(chain, net.symmetric, T, M, x)
        evaluate(net, x, outputs, logits)
        complete(chain, net.symmetric, M, outputs[np.argmax(logits)], trial)
        done[k], steps[k], _, _ = refine(
            chain.fixed, chain.prismatic, chain.lower, chain.upper, T, trial, ITERATIONS, TOLERANCE, TOLERANCE
        )
