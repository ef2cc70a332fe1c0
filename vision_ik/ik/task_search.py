"""Compiled search for tasks: completed targets for the network, refinement on the task, restarts.

The network knows whole poses. Where a task leaves some of the pose free, that part is taken from a *donor*
posture: first from the start, so that seeds come out near it, then from random postures. Seeds for the completed
pose are then refined on the task alone.

A posture that collides with itself is no solution; the search goes on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.collision_kernels import CollisionArrays, posture_collides
from vision_ik.ik.kernels import LENGTH, assign, pose_error
from vision_ik.ik.reasons import classify
from vision_ik.ik.search import (
    CONVERGED,
    HOLD_COST,
    HOLD_MARGIN,
    INVALID,
    NEAR_JOINT,
    NETWORK,
    RANDOM,
    START,
    Settings,
    inside,
    order_heads,
    random_posture,
    rigid,
    unwind,
)
from vision_ik.ik.seeds import Floats32, Net, complete, evaluate, features
from vision_ik.ik.task import Goal
from vision_ik.ik.task_kernels import AIM, NEAREST, SWING, distance2, refine_task
from vision_ik.robots.kernels import fk
from vision_ik.types import Floats, IkStatus

COLLISION = int(IkStatus.COLLISION)

DONORS = 4
"""Postures that complete a target of which some part is free."""
DONATED_HEADS = 4
"""Seeds tried for each of them but the first."""
RESTARTS = 3
"""Random seeds tried for each that a full pose would get: with a locked joint, fewer of them converge."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


class Arm(NamedTuple):
    """What a search needs of an arm."""

    chain: Chain
    net: Net
    settings: Settings
    shape: CollisionArrays
    """Without pairs where self-collision does not matter."""


class Proposals(NamedTuple):
    """Room for what the network says of one completed target."""

    target: Floats
    """(4, 4) the completed target."""
    M: Floats
    """(3, 4) the same between the ends of the chain."""
    x: Floats32
    outputs: Floats32
    logits: Floats32
    order: NDArray[np.int64]
    """(heads,) as `order_heads` ranks them."""
    postures: Floats
    """(heads, n)"""


def _no_shape() -> CollisionArrays:
    shape = CollisionArrays(np.zeros((0, 8)), np.zeros(0, np.int64), np.zeros((0, 2), np.int64), 0.0)
    for array in shape[:3]:  # writable ones are another type to numba
        array.setflags(write=False)
    return shape


NO_SHAPE = _no_shape()
"""Never touches itself."""


@_compiled
def make_proposals(net: Net, n: int) -> Proposals:
    """Return empty proposals of a network for an arm of ``n`` joints."""
    heads = net.rank.shape[1]
    return Proposals(
        np.empty((4, 4)),
        np.empty((3, 4)),
        np.empty(net.first.shape[0] - 1, np.float32),
        np.empty((heads, net.heads.shape[1] // max(heads, 1)), np.float32),
        np.empty(heads, np.float32),
        np.empty(heads, np.int64),
        np.empty((heads, n)),
    )


@_compiled
def propose(arm: Arm, goal: Goal, target: Floats, donor: Floats, reference: Floats, into: Proposals) -> int:
    """Complete ``target`` from the posture ``donor`` (n,) and let the network propose; return the plausible heads."""
    T = np.empty((4, 4))
    fk(arm.chain.fixed, arm.chain.prismatic, donor, T)
    complete_target(goal, target, T, into.target)
    features(arm.chain, arm.net.symmetric, into.target, into.M, into.x)
    evaluate(arm.net, into.x, into.outputs, into.logits)
    return order_heads(arm.chain, arm.net, into.M, into.outputs, into.logits, reference, into.order, into.postures)


@_compiled
def take(arm: Arm, goal: Goal, proposals: Proposals, k: int, plausible: int, reference: Floats, q: Floats) -> None:
    """Write the ``k``-th proposal into ``q`` (n,), locked joints as in ``reference``."""
    head = proposals.order[k]
    if k < plausible:
        assign(q, proposals.postures[head])
    else:
        complete(arm.chain, arm.net.symmetric, proposals.M, proposals.outputs[head], q)
    keep_locked(goal, reference, q)


@_compiled
def keep_locked(goal: Goal, reference: Floats, q: Floats) -> None:
    """Set the locked joints of ``q`` (n,) to those of ``reference`` (n,)."""
    for i in range(q.shape[0]):
        if goal.mobility[i] == 0.0:
            q[i] = reference[i]


@_compiled
def prepare(chain: Chain, goal: Goal, matrix: Floats, start: Floats, target: Floats, reference: Floats) -> bool:
    """Write the rigid ``target`` and the start (n,) inside the limits, locked joints in place; False if invalid."""
    valid = rigid(matrix, target)
    for i in range(start.shape[0]):
        if not math.isfinite(start[i]):
            valid = False
        reference[i] = inside(chain, i, start[i])
        if math.isfinite(goal.hold[i]):
            reference[i] = goal.hold[i]
    return valid


@_compiled
def attempt(arm: Arm, goal: Goal, target: Floats, reference: Floats, q: Floats) -> tuple[bool, int, float, float, bool]:
    """Refine ``q`` on the task; return whether it solves it, steps, errors, and whether it does but collides."""
    chain, settings = arm.chain, arm.settings
    done, steps, m, rad = refine_task(
        chain, goal, target, q, settings.iterations, settings.tolerance_m, settings.tolerance_rad
    )
    if done:
        unwind(chain, q, reference)
        if arm.shape.pairs.shape[0] > 0 and posture_collides(arm.shape, chain.fixed, chain.prismatic, q):
            return False, steps, m, rad, True
    return done, steps, m, rad, False


@_compiled
def next_seed(
    arm: Arm,
    goal: Goal,
    target: Floats,
    reference: Floats,
    proposals: Proposals,
    cursor: NDArray[np.int64],
    state: NDArray[np.uint64],
    q: Floats,
) -> int:
    """Write the next seed into ``q`` (n,): the start, the network's, random ones; return its kind, -1 after the last.

    ``cursor`` (4,) holds what comes next: the donor (-1 before the start was given), its proposal, the plausible ones
    and how many are taken; ``state`` (1,) is that of the random generator.
    """
    heads = proposals.order.shape[0]
    donors = min(heads, 1)
    if heads > 0 and is_partial(goal):
        donors = DONORS
    if cursor[0] < 0:
        cursor[0] = 0
        assign(q, reference)
        return START
    if cursor[0] < donors:
        if cursor[1] == 0:
            assign(q, reference)
            if cursor[0] > 0:
                state[0] = random_posture(arm.chain, state[0], q)
                keep_locked(goal, reference, q)
            cursor[2] = propose(arm, goal, target, q, reference, proposals)
            cursor[3] = heads if cursor[0] == 0 else min(DONATED_HEADS, heads)
        take(arm, goal, proposals, cursor[1], cursor[2], reference, q)
        cursor[1] += 1
        if cursor[1] >= cursor[3]:
            cursor[0] += 1
            cursor[1] = 0
        return NETWORK
    if cursor[0] < donors + RESTARTS * arm.settings.restarts:
        cursor[0] += 1
        state[0] = random_posture(arm.chain, state[0], q)
        keep_locked(goal, reference, q)
        return RANDOM
    return -1


@_compiled
def solve_task(
    arm: Arm, goal: Goal, matrix: Floats, start: Floats, has_start: bool, q: Floats
) -> tuple[int, float, float, int, int]:
    """Solve one target as `single.solve_single` does, but for a task; ``q`` (n,) receives the posture.

    Returns:
        Status, position error [m] and rotation error [rad] beyond the dead bands, kind of seed, steps over all seeds.
    """
    n = q.shape[0]
    target, reference, trial = np.empty((4, 4)), np.empty(n), np.empty(n)
    if not prepare(arm.chain, goal, matrix, start, target, reference):
        for i in range(n):
            q[i] = np.nan
        return INVALID, np.nan, np.nan, START, 0
    proposals = make_proposals(arm.net, n)
    cursor, state = np.array([-1, 0, 0, 0]), np.array([arm.settings.seed], dtype=np.uint64)
    best, best_m, best_rad, kind, total, found, touches = np.inf, np.inf, np.inf, START, 0, 0, False
    while True:
        seed = next_seed(arm, goal, target, reference, proposals, cursor, state, trial)
        if seed < 0 or found == 2 or (found == 1 and seed == RANDOM):
            break
        done, steps, m, rad, collides = attempt(arm, goal, target, reference, trial)
        total += steps
        if done:
            score = distance2(goal, trial, reference)
        else:
            score = (m / LENGTH) ** 2 + rad * rad
            if seed == START and has_start:
                score = HOLD_COST * score - HOLD_MARGIN
        if (done and found == 0) or ((done or found == 0) and score < best):
            assign(q, trial)
            best, best_m, best_rad, kind, touches = score, m, rad, seed, collides
        # The start's own solution wins at once where it is near; another one ends the search.
        if done:
            found = 2 if seed != START or goal.redundant or _largest(trial, reference) <= NEAR_JOINT else 1
    if found > 0:
        return CONVERGED, best_m, best_rad, kind, total
    if touches:
        return COLLISION, best_m, best_rad, kind, total
    return classify(arm.chain, goal, target, q), best_m, best_rad, kind, total


@_compiled
def _largest(q: Floats, reference: Floats) -> float:
    largest = 0.0
    for i in range(q.shape[0]):
        largest = max(largest, abs(q[i] - reference[i]))
    return largest


@_compiled
def is_partial(goal: Goal) -> bool:
    """Return whether the task leaves some of the pose free."""
    return goal.bands.max() > 0.0


@_compiled
def complete_target(goal: Goal, target: Floats, donor: Floats, T: Floats) -> None:
    """Write the pose ``T`` (4, 4) that fulfils the task and is otherwise close to the pose ``donor`` (4, 4)."""
    for r in range(4):
        for c in range(4):
            T[r, c] = donor[r, c]
    if goal.rotation == AIM:
        _complete_aim(goal, target, T)
        return
    e = np.empty(6)
    pose_error(donor, target, e)  # from target to donor
    for r in range(3):  # in target axes; what the task counts is clamped to its band
        p = target[0, r] * e[0] + target[1, r] * e[1] + target[2, r] * e[2]
        p -= min(max(p, -goal.bands[r]), goal.bands[r])
        for k in range(3):
            T[k, 3] -= p * target[k, r]
    if goal.rotation == SWING:
        swing_to(T, target[0, 2], target[1, 2], target[2, 2])
        return
    phi = np.empty(3)
    for r in range(3):
        w = target[0, r] * e[3] + target[1, r] * e[4] + target[2, r] * e[5]
        phi[r] = min(max(w, -goal.bands[3 + r]), goal.bands[3 + r])
    _turn(target, phi, T)


@_compiled
def _complete_aim(goal: Goal, target: Floats, T: Floats) -> None:
    dx, dy, dz = target[0, 3] - T[0, 3], target[1, 3] - T[1, 3], target[2, 3] - T[2, 3]
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    if length < NEAREST:
        return
    dx, dy, dz = dx / length, dy / length, dz / length
    if goal.bands[2] < np.inf:
        T[0, 3] = target[0, 3] - goal.distance * dx
        T[1, 3] = target[1, 3] - goal.distance * dy
        T[2, 3] = target[2, 3] - goal.distance * dz
    swing_to(T, dx, dy, dz)


@_compiled
def swing_to(T: Floats, x: float, y: float, z: float) -> None:
    """Turn ``T`` (4, 4) by the smallest rotation that brings its z axis to the unit vector (x, y, z)."""
    ax, ay, az = T[0, 2], T[1, 2], T[2, 2]
    wx, wy, wz = ay * z - az * y, az * x - ax * z, ax * y - ay * x
    cos = ax * x + ay * y + az * z
    for c in range(3):
        vx, vy, vz = T[0, c], T[1, c], T[2, c]
        if cos > -1.0 + 1e-9:
            # Rodrigues with the sine in w: v + w x v + w x (w x v) / (1 + cos)
            bx, by, bz = wy * vz - wz * vy, wz * vx - wx * vz, wx * vy - wy * vx
            T[0, c] = vx + bx + (wy * bz - wz * by) / (1.0 + cos)
            T[1, c] = vy + by + (wz * bx - wx * bz) / (1.0 + cos)
            T[2, c] = vz + bz + (wx * by - wy * bx) / (1.0 + cos)
        elif c > 0:  # half a turn about x
            T[0, c], T[1, c], T[2, c] = -vx, -vy, -vz


@_compiled
def _turn(target: Floats, phi: Floats, T: Floats) -> None:
    """Write the rotation ``R_target exp(phi)`` into ``T`` (4, 4); ``phi`` (3,) is a rotation vector."""
    x, y, z = phi[0], phi[1], phi[2]
    squared = x * x + y * y + z * z
    angle = math.sqrt(squared)
    a, b = 1.0, 0.5
    if angle > 1e-6:
        a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / squared
    for r in range(3):
        u, v, w = target[r, 0], target[r, 1], target[r, 2]
        # Row times exp(phi) = I + a [phi] + b [phi]^2, so v + a v x phi + b (v x phi) x phi.
        p, q, s = v * z - w * y, w * x - u * z, u * y - v * x
        T[r, 0] = u + a * p + b * (q * z - s * y)
        T[r, 1] = v + a * q + b * (s * x - p * z)
        T[r, 2] = w + a * s + b * (p * y - q * x)


@_compiled
def solve_tasks(
    arm: Arm,
    goal: Goal,
    matrices: Floats,
    starts: Floats,
    has_start: bool,
    q: Floats,
    status: NDArray[np.int64],
    errors: Floats,
    steps: NDArray[np.int64],
) -> None:
    """Solve (N, 4, 4) targets from ``starts`` (N, n) or (1, n); write (N, n), (N,), (N, 2) and (N,) results."""
    for k in range(matrices.shape[0]):
        start = starts[min(k, starts.shape[0] - 1)]
        status[k], errors[k, 0], errors[k, 1], _, steps[k] = solve_task(arm, goal, matrices[k], start, has_start, q[k])
