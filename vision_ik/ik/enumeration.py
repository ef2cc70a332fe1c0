"""Compiled listing of solutions: every branch, samples of self-motions, and the solution nearest to a start.

Branches come from all seeds of `task_search.next_seed`, until ``patience`` random ones in a row have shown none that
is new. Where solutions form a continuum it is then walked: from every known solution a step of the wanted spacing is
made along a direction that the task does not notice, in and against it, and refined back onto the task. What lies
apart from all that is known is kept and walked from in turn, so that samples spread over the whole self-motion,
as far as limits let them. Spacings go from coarse to fine, so that a large continuum is covered before room runs out.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vision_ik.ik.chain import Chain
from vision_ik.ik.collision_kernels import posture_collides
from vision_ik.ik.kernels import assign, solve6
from vision_ik.ik.search import RANDOM, START, random_posture, unwind
from vision_ik.ik.task import Goal
from vision_ik.ik.task_kernels import distance2, linearise, slide
from vision_ik.ik.task_search import Arm, attempt, keep_locked, make_proposals, next_seed, prepare
from vision_ik.robots.kernels import fk_jacobian
from vision_ik.types import Floats

SAME = 1e-3
"""[rad, m] Isolated solutions nearer than this are one."""
COARSEST = 1.2
"""[rad, m] First spacing of the samples on a self-motion; halved down to the one asked for."""
SPARSE = 0.6
"""Share of the spacing from which a sample counts as apart from another."""
DIRECTIONS = 3
"""Random directions walked from each sample where the continuum has more than one dimension."""
SLIDERS = 16
"""Solutions, nearest first, from which the way down to the nearest one is followed."""
NUDGES = (0.02, 0.1, 0.3)
"""[rad, m] By how much at most joints of the start are shifted to find solutions close by: at a singularity the start
itself leads nowhere."""
NUDGED = 4
"""Seeds for each of them."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def find_distinct(
    arm: Arm,
    goal: Goal,
    target: Floats,
    reference: Floats,
    apart: float,
    patience: int,
    q: Floats,
    info: Floats,
    count: int,
) -> int:
    """Add solutions that are ``apart`` from all others, whole turns not counted, to the first ``count`` rows of ``q``.

    ``q`` is (most, n), and ``info`` (most, 4) receives both errors, the kind of seed and its steps.

    Returns:
        How many there are.
    """
    trial, vain = np.empty(reference.shape[0]), 0
    proposals = make_proposals(arm.net, reference.shape[0])
    cursor, state = np.array([-1, 0, 0, 0]), np.array([arm.settings.seed], dtype=np.uint64)
    while count < q.shape[0] and vain < patience:
        seed = next_seed(arm, goal, target, reference, proposals, cursor, state, trial)
        if seed < 0:
            break
        done, steps, m, rad, _ = attempt(arm, goal, target, reference, trial)
        if done and is_apart(arm.chain, q[:count], trial, apart):
            _keep(q, info, count, trial, m, rad, seed, steps)
            count, vain = count + 1, 0
        else:
            vain += seed == RANDOM
    return count


@_compiled
def find_close(arm: Arm, goal: Goal, target: Floats, reference: Floats, q: Floats, info: Floats) -> int:
    """Write solutions found from postures close to ``reference`` (n,) into ``q`` (most, n); return how many."""
    count, trial, chain = 0, np.empty(reference.shape[0]), arm.chain
    state = np.array([arm.settings.seed + 2], dtype=np.uint64)
    for k in range(NUDGED * len(NUDGES)):
        state[0] = random_posture(chain, state[0], trial)
        for i in range(trial.shape[0]):
            unit = (trial[i] - chain.centre[i]) / max(chain.half[i], 1e-9)
            shifted = reference[i] + NUDGES[k // NUDGED] * unit
            trial[i] = min(max(shifted, chain.lower[i]), chain.upper[i])
        keep_locked(goal, reference, trial)
        done, steps, m, rad, _ = attempt(arm, goal, target, reference, trial)
        if done and is_apart(chain, q[:count], trial, SAME):
            _keep(q, info, count, trial, m, rad, START, steps)
            count += 1
    return count


@_compiled
def _keep(q: Floats, info: Floats, row: int, found: Floats, m: float, rad: float, seed: int, steps: int) -> None:
    assign(q[row], found)
    info[row, 0], info[row, 1], info[row, 2], info[row, 3] = m, rad, seed, steps


@_compiled
def is_apart(chain: Chain, known: Floats, q: Floats, apart: float) -> bool:
    """Return whether ``q`` (n,) is ``apart`` [rad, m] from all of ``known`` (m, n), whole turns not counted."""
    for k in range(known.shape[0]):
        squared = 0.0
        for i in range(q.shape[0]):
            d = q[i] - known[k, i]
            if not chain.prismatic[i]:
                d -= 2.0 * math.pi * np.rint(d / (2.0 * math.pi))
            squared += d * d
        if squared < apart * apart:
            return False
    return True


@_compiled
def walk(
    arm: Arm, goal: Goal, target: Floats, reference: Floats, spacing: float, q: Floats, info: Floats, count: int
) -> int:
    """Add samples of the self-motions through the first ``count`` rows of ``q`` (most, n); return the new count."""
    n = reference.shape[0]
    v, trial = np.empty(n), np.empty(n)
    state = np.array([arm.settings.seed + 1], dtype=np.uint64)
    row = 0
    while row < count:
        for _ in range(DIRECTIONS):
            state[0] = random_posture(arm.chain, state[0], v)
            dimensions = tangent(arm, goal, target, q[row], v)
            for sign in (-1.0, 1.0):
                for i in range(n):
                    moved = q[row, i] + sign * spacing * v[i]
                    trial[i] = min(max(moved, arm.chain.lower[i]), arm.chain.upper[i])
                done, steps, m, rad, _ = attempt(arm, goal, target, reference, trial)
                if done and count < q.shape[0] and is_apart(arm.chain, q[:count], trial, SPARSE * spacing):
                    _keep(q, info, count, trial, m, rad, int(info[row, 2]), steps)
                    count += 1
            if dimensions == 1:
                break
        row += 1
    return count


@_compiled
def tangent(arm: Arm, goal: Goal, target: Floats, q: Floats, v: Floats) -> int:
    """Turn the posture ``v`` (n,) into a direction, of length one, in which ``q`` (n,) moves without leaving the task.

    Returns:
        The number of such directions that are independent, as far as conditions and joints count.
    """
    n = q.shape[0]
    T, J, e = np.empty((4, 4)), np.empty((6, n)), np.empty(6)
    H, y, b = np.empty((6, 6)), np.empty(6), np.zeros(6)
    fk_jacobian(arm.chain.fixed, arm.chain.prismatic, q, T, J)
    linearise(goal, target, T, J, e, arm.settings.tolerance_m, arm.settings.tolerance_rad)
    dimensions = 0
    for i in range(n):
        v[i] = (v[i] - arm.chain.centre[i]) / max(arm.chain.half[i], 1e-9)
        if goal.mobility[i] == 0.0:
            v[i] = 0.0
        else:
            dimensions += 1
    for r in range(6):
        dimensions -= goal.bands[r] == 0.0
        for i in range(n):
            if goal.mobility[i] == 0.0:
                J[r, i] = 0.0
            b[r] += J[r, i] * v[i]
        for c in range(r + 1):
            H[r, c] = 0.0
            for i in range(n):
                H[r, c] += J[r, i] * J[c, i]
        H[r, r] += 1e-9
    solve6(H, b, y)
    squared = 0.0
    for i in range(n):
        for r in range(6):
            v[i] -= J[r, i] * y[r]
        squared += v[i] * v[i]
    for i in range(n):
        v[i] /= math.sqrt(max(squared, 1e-12))
    return dimensions


@_compiled
def list_solutions(
    arm: Arm,
    goal: Goal,
    matrix: Floats,
    start: Floats,
    spacing: float,
    most: int,
    patience: int,
    q: Floats,
    info: Floats,
) -> int:
    """Write solutions into ``q`` (room, n): all branches, or samples ``spacing`` apart where they form a continuum.

    Returns:
        How many there are, walking no finer once there are ``most``; -1 for an invalid target or start.
    """
    target, reference = np.empty((4, 4)), np.empty(start.shape[0])
    if not prepare(arm.chain, goal, matrix, start, target, reference):
        return -1
    if not goal.redundant:
        return find_distinct(arm, goal, target, reference, SAME, patience, q, info, 0)
    # Self-motions may pass each other closely: seeds are told apart finely, though walks begin with wide steps.
    count = find_distinct(arm, goal, target, reference, spacing, patience, q[: 2 * most], info, 0)
    step = max(spacing, COARSEST)
    while count > 0:
        count = walk(arm, goal, target, reference, step, q, info, count)
        if step <= spacing or count >= most:
            break
        step = max(0.5 * step, spacing)
    return count


@_compiled
def solve_nearest(arm: Arm, goal: Goal, matrix: Floats, start: Floats, patience: int, q: Floats, info: Floats) -> int:
    """Write into ``q`` (most, n) solutions moved to where they are nearest to ``start`` (n,); return the nearest's row.

    Returns:
        -1 for an invalid target or start, -2 if there is no solution.
    """
    target, reference = np.empty((4, 4)), np.empty(start.shape[0])
    if not prepare(arm.chain, goal, matrix, start, target, reference):
        return -1
    chain, settings = arm.chain, arm.settings
    apart = COARSEST * SPARSE if goal.redundant else SAME
    count = find_close(arm, goal, target, reference, q, info)
    count = find_distinct(arm, goal, target, reference, apart, patience, q, info, count)
    best, nearest, trial = np.inf, -2, np.empty(start.shape[0])
    squared = np.empty(count)
    for k in range(count):
        squared[k] = distance2(goal, q[k], reference)
        if squared[k] < best:
            best, nearest = squared[k], k
    if not goal.redundant:
        return nearest
    for _ in range(min(count, SLIDERS)):
        k = int(np.argmin(squared))
        squared[k] = np.inf
        assign(trial, q[k])
        info[k, 3] += slide(chain, goal, target, reference, settings.tolerance_m, settings.tolerance_rad, trial)
        unwind(chain, trial, reference)
        if arm.shape.pairs.shape[0] > 0 and posture_collides(arm.shape, chain.fixed, chain.prismatic, trial):
            continue
        if distance2(goal, trial, reference) <= distance2(goal, q[k], reference):
            assign(q[k], trial)
        if distance2(goal, q[k], reference) < best:
            best, nearest = distance2(goal, q[k], reference), k
    return nearest
