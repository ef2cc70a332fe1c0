"""One judge for all designs: what the solver's kernel makes of their proposals."""

from __future__ import annotations

from dataclasses import dataclass
from time import thread_time

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import pose_error, refine
from vision_ik.ik.seeds import FEATURES, Floats32, activate, affine, complete, features
from vision_ik.learning.designs.design import Fitted, Task
from vision_ik.learning.sampling import ITERATIONS, TOLERANCE, sample
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats

_SEED = 20_000
"""Far from any training seed."""
_REPEATS = 5
"""Timings are the least of so many."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Shares in [0, 1] of random reachable poses; one refinement a proposal, 1e-6 m and rad, inside limits."""

    targets: int
    first_shot: float
    any_proposal: float
    steps_mean: float
    """From the best-ranked proposal, where it converges."""
    steps_p99: float
    steps_spent: float
    """Mean over all targets, what is spent in vain included."""
    error_mm: float
    """Median before refinement, best-ranked proposal."""
    error_deg: float
    least_error_mm: float
    """Median before refinement, proposal of the least weighted pose error."""
    least_error_deg: float
    weights: int
    forward_us: float
    forward_note: str


def measure(task: Task, fitted: Fitted, symmetric: bool, *, targets: int, seed: int = _SEED) -> Measured:
    """Return what ``fitted`` is worth on poses of uniform random joints; ``symmetric``: it proposes inner joints."""
    rng = np.random.default_rng(seed)
    poses = sample(task.chain, symmetric, targets, rng)
    proposals = fitted.propose(poses, rng)
    best = np.argmax(proposals.scores, axis=1)
    top = proposals.outputs[np.arange(targets), best][:, None]
    top_done, steps, _ = refine_all(task.chain, symmetric, poses.q, top)
    done, spent, steps = top_done[:, 0], float(steps.mean()), steps[top_done]
    few = max(1, targets // 5)
    some, _, _ = refine_all(task.chain, symmetric, poses.q[:few], proposals.outputs[:few])
    errors = raw_errors(task.chain, symmetric, poses.q, proposals.outputs)
    rows = np.arange(targets)
    least = errors[rows, np.argmin(errors[:, :, 2], axis=1)]
    chosen = errors[rows, best]
    forward_us, note = fitted.forward_us(poses.x[:2000])
    return Measured(
        targets=targets,
        first_shot=float(done.mean()),
        any_proposal=float(some.any(axis=1).mean()),
        steps_mean=float(steps.mean()) if len(steps) else float("nan"),
        steps_p99=float(np.percentile(steps, 99)) if len(steps) else float("nan"),
        steps_spent=spent,
        error_mm=1e3 * float(np.median(chosen[:, 0])),
        error_deg=float(np.degrees(np.median(chosen[:, 1]))),
        least_error_mm=1e3 * float(np.median(least[:, 0])),
        least_error_deg=float(np.degrees(np.median(least[:, 1]))),
        weights=fitted.weights,
        forward_us=forward_us,
        forward_note=note,
    )


def step_us(task: Task, *, targets: int = 5000) -> float:
    """Return the CPU time [us] of one refinement step on the arm."""
    rng = np.random.default_rng(_SEED)
    poses = sample(task.chain, False, targets, rng)
    outputs = sample(task.chain, False, targets, rng).y[:, None]
    refine_all(task.chain, False, poses.q[:10], outputs[:10])
    least = float("inf")
    for _ in range(_REPEATS):
        begin = thread_time()
        _, steps, _ = refine_all(task.chain, False, poses.q, outputs)
        least = min(least, (thread_time() - begin) / float(steps.sum()))
    return 1e6 * least


@_compiled
def refine_all(
    chain: Chain, symmetric: bool, q: Floats, outputs: Floats32
) -> tuple[NDArray[np.bool_], NDArray[np.int64], Floats32]:
    """Refine every proposal (N, K, outputs) for the poses of ``q`` (N, n).

    Returns:
        Which converge (N, K), the steps taken (N, K), the outputs of the postures reached (N, K, outputs).
    """
    done = np.empty(outputs.shape[:2], np.bool_)
    steps = np.empty(outputs.shape[:2], np.int64)
    reached = np.empty(outputs.shape, np.float32)
    first = 1 if symmetric else 0
    T, M, x, trial = np.empty((4, 4)), np.empty((3, 4)), np.empty(FEATURES, np.float32), np.empty(q.shape[1])
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], T)
        features(chain, symmetric, T, M, x)
        for head in range(outputs.shape[1]):
            complete(chain, symmetric, M, outputs[k, head], trial)
            done[k, head], steps[k, head], _, _ = refine(
                chain.fixed, chain.prismatic, chain.lower, chain.upper, T, trial, ITERATIONS, TOLERANCE, TOLERANCE
            )
            for i in range(outputs.shape[2]):
                reached[k, head, i] = (trial[first + i] - chain.centre[first + i]) / chain.half[first + i]
    return done, steps, reached


@_compiled
def raw_errors(chain: Chain, symmetric: bool, q: Floats, outputs: Floats32) -> Floats:
    """Return (N, K, 3): position error [m], rotation error [rad] and weighted square of every proposal."""
    errors = np.empty((outputs.shape[0], outputs.shape[1], 3))
    T, M, x, trial = np.empty((4, 4)), np.empty((3, 4)), np.empty(FEATURES, np.float32), np.empty(q.shape[1])
    reached, e = np.empty((4, 4)), np.empty(6)
    for k in range(q.shape[0]):
        fk(chain.fixed, chain.prismatic, q[k], T)
        features(chain, symmetric, T, M, x)
        for head in range(outputs.shape[1]):
            complete(chain, symmetric, M, outputs[k, head], trial)
            fk(chain.fixed, chain.prismatic, trial, reached)
            m, rad = pose_error(T, reached, e)
            errors[k, head, 0], errors[k, head, 1] = m, rad
            errors[k, head, 2] = 6.25 * m * m + rad * rad  # 1 rad weighs as much as 0.4 m, as in the kernel
    return errors


def forward_time_us(layers: tuple[Floats32, Floats32, Floats32, Floats32, Floats32], sees: bool, x: Floats32) -> float:
    """Return the CPU time [us] per row of ranking all heads and computing the best one's outputs, compiled."""
    first, hidden, judge, rank, heads = layers
    _choose_all(first, hidden, judge, rank, heads, sees, x[:2])
    least = float("inf")
    for _ in range(_REPEATS):
        begin = thread_time()
        _choose_all(first, hidden, judge, rank, heads, sees, x)
        least = min(least, (thread_time() - begin) / len(x))
    return 1e6 * least


@_compiled
def _choose_all(
    first: Floats32, hidden: Floats32, judge: Floats32, rank: Floats32, heads: Floats32, sees: bool, x: Floats32
) -> float:
    """Rank and compute the best head, as a solver would; ``heads`` is (heads, width + 1, outputs)."""
    width, m = first.shape[1], x.shape[1]
    known, work = np.empty(m + width, np.float32), np.empty(width, np.float32)
    judges, logits = np.empty(judge.shape[1], np.float32), np.empty(rank.shape[1], np.float32)
    outputs, total = np.empty(heads.shape[2], np.float32), 0.0
    for row in range(x.shape[0]):
        for j in range(m):
            known[j] = x[row, j]
        h = known[m:]
        affine(first, known[:m], h)
        activate(h)
        for layer in range(hidden.shape[0]):
            affine(hidden[layer], h, work)
            activate(work)
            for j in range(width):
                h[j] = work[j]
        if judges.shape[0]:
            affine(judge, known if sees else h, judges)
            activate(judges)
            affine(rank, judges, logits)
        else:
            affine(rank, h, logits)
        affine(heads[np.argmax(logits)], h, outputs)
        total += outputs[0]
    return total
