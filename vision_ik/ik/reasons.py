"""Why a pose was not reached: out of reach, held by a limit, or stuck at a singular posture.

Judged at the closest posture ``q``, with the weighted error ``e`` (6,) that is left and the Jacobian ``J`` (6, n):

1. *Out of reach*: the last joint would have to be farther from the first than the stretched chain is long.
2. *Limit*: joints that stand at a limit and are pushed against it (by the gradient ``J^T e``) hold back a good
   part of what a Gauss-Newton step would take off ``e`` without them.
3. *Singular*: the step of all joints leaves ``e`` as it is, yet the posture is no minimum of ``|e|^2``: some
   direction of the Hessian bends down, so another posture is closer although no joint speed leads toward it
   (an arm stretched straight, with its target between hand and shoulder). Or the step would take ``e`` away, but
   only along a direction that is nearly lost, where steps shrink and the iterations end before the target.
4. *Out of reach as far as the search can tell*: a minimum of ``|e|^2`` inside the limits, so the edge of the
   workspace or of a hole in it (Siciliano et al., Robotics, 2009, section 3.3: boundary singularities).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import solve6
from vision_ik.ik.task import Goal
from vision_ik.ik.task_kernels import linearise
from vision_ik.robots import RobotModel
from vision_ik.robots.kernels import Bools, fk_jacobian
from vision_ik.types import Floats, IkBatch, IkSolution, IkStatus

if TYPE_CHECKING:
    from vision_ik.ik.collision import CollisionModel

CONVERGED, INVALID = int(IkStatus.CONVERGED), int(IkStatus.INVALID)
_NOT_REACHED = (IkStatus.LIMITED, IkStatus.SINGULAR, IkStatus.UNREACHABLE)
LIMITED, UNREACHABLE, SINGULAR = int(IkStatus.LIMITED), int(IkStatus.UNREACHABLE), int(IkStatus.SINGULAR)

AT_LIMIT = 1e-9
"""[rad, m] A joint this close to its limit stands at it."""
HELD_SHARE = 0.1
"""Share of the squared error from which what blocked joints would take off counts."""
LONGEST = 2.0
"""[rad] A direction along which the error asks for a longer step than this counts as lost: no joint gets so far."""
SLOW = 1e-2
"""Singular value of the weighted Jacobian below which steps shrink before the target is reached."""
STUCK_SHARE = 0.5
"""Share of the squared error that a step must leave for the posture to count as stationary."""
NUDGE = 1e-4
"""[rad, m] Difference step of the Hessian: error 1e-8 of the curvature, far below what is asked of it."""
BENT_DOWN = 0.02
"""Curvature per unit of the weighted error (1/rad^2) from which a direction bends down."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def classify(chain: Chain, goal: Goal, target: Floats, q: Floats) -> int:
    """Return LIMITED, SINGULAR or UNREACHABLE for the closest posture ``q`` (n,) to a target that was not reached."""
    n = q.shape[0]
    if beyond_reach(chain, goal, target):
        return UNREACHABLE
    J, e, g = np.empty((6, n)), np.empty(6), np.empty(n)
    _gradient(chain, goal, target, q, J, e, g)
    free = np.ones(n, np.bool_)
    blocked = False
    for i in range(n):
        at_upper, at_lower = chain.upper[i] - q[i] <= AT_LIMIT, q[i] - chain.lower[i] <= AT_LIMIT
        if (at_upper and g[i] > 0.0) or (at_lower and g[i] < 0.0):
            free[i] = False
            blocked = True
    squared = 0.0
    for r in range(6):
        squared += e[r] * e[r]
    everything = np.ones(n, np.bool_)
    lost = max(squared / LONGEST**2, 1e-12)
    left = _left_by_step(J, e, everything, lost)
    if blocked and _left_by_step(J, e, free, lost) - left > HELD_SHARE * squared:
        return LIMITED
    if left < STUCK_SHARE * squared:
        return SINGULAR if _is_slow(J) else UNREACHABLE
    return SINGULAR if _bends_down(chain, goal, target, q, J, e, g, free, np.sqrt(squared)) else UNREACHABLE


@_compiled
def classify_many(chain: Chain, goal: Goal, targets: Floats, q: Floats, status: NDArray[np.int64]) -> None:
    """Classify every target (N, 4, 4) whose ``status`` (N,) tells neither success nor an invalid one, in place."""
    for k in range(targets.shape[0]):
        if status[k] != CONVERGED and status[k] != INVALID:
            status[k] = classify(chain, goal, targets[k], q[k])


@_compiled
def beyond_reach(chain: Chain, goal: Goal, target: Floats) -> bool:
    """Return whether the last joint would have to be farther from the first than the stretched chain is long."""
    if max(goal.bands[0], goal.bands[1], goal.bands[2]) > 0.0:
        return False
    oriented = max(goal.bands[3], goal.bands[4], goal.bands[5]) == 0.0
    first, last = chain.fixed[0], chain.fixed[-1]
    squared, tool = 0.0, 0.0
    for i in range(3):
        p = target[i, 3] - first[i, 3]
        tool += last[i, 3] ** 2
        if oriented:  # the origin of the last joint: T_base_tip inv(T_last_tip)
            for j in range(3):
                for k in range(3):
                    p -= target[i, j] * last[k, j] * last[k, 3]
        squared += p * p
    return np.sqrt(squared) > chain.reach + (0.0 if oriented else np.sqrt(tool))


@_compiled
def _gradient(chain: Chain, goal: Goal, target: Floats, q: Floats, J: Floats, e: Floats, g: Floats) -> None:
    """Write the weighted ``J`` (6, n) and ``e`` (6,), and ``g = J^T e`` (n,), the way down of ``|e|^2 / 2``."""
    T = np.empty((4, 4))
    fk_jacobian(chain.fixed, chain.prismatic, q, T, J)
    linearise(goal, target, T, J, e, 0.0, 0.0)
    for i in range(q.shape[0]):
        g[i] = 0.0
        for r in range(6):
            if goal.mobility[i] == 0.0:
                J[r, i] = 0.0
            g[i] += J[r, i] * e[r]


@_compiled
def _left_by_step(J: Floats, e: Floats, free: Bools, lost: float) -> float:
    """Return the squared error left by a step of the ``free`` joints damped by ``lost``, a squared singular value."""
    H, y = np.empty((6, 6)), np.empty(6)
    _normal(J, free, lost, H)
    solve6(H, e, y)
    left = 0.0
    for r in range(6):  # e - J dq = lost (J J^T + lost I)^-1 e
        left += (lost * y[r]) ** 2
    return left


@_compiled
def _normal(J: Floats, free: Bools, damping: float, H: Floats) -> None:
    for r in range(6):
        for c in range(6):
            H[r, c] = 0.0
            for i in range(J.shape[1]):
                if free[i]:
                    H[r, c] += J[r, i] * J[c, i]
        H[r, r] += damping


@_compiled
def _is_slow(J: Floats) -> bool:
    """Return whether some direction is slow: inverse iteration on ``J J^T`` (or ``J^T J`` of fewer than 6 joints)."""
    n = J.shape[1]
    H, b, y = np.empty((6, 6)), np.empty(6), np.empty(6)
    for r in range(6):
        b[r] = 1.0 + 0.1 * r
    size = 1.0
    for _ in range(8):
        if n >= 6:
            _normal(J, np.ones(n, np.bool_), 1e-12, H)
        else:  # the n x n matrix, filled up with ones
            for r in range(6):
                for c in range(6):
                    H[r, c] = 0.0
                    if r == c:
                        H[r, c] = 1.0 if r >= n else 1e-12
                    if r < n and c < n:
                        for k in range(6):
                            H[r, c] += J[k, r] * J[k, c]
        solve6(H, b, y)
        size = 0.0
        for r in range(6):
            size += y[r] * y[r]
        size = np.sqrt(size)
        for r in range(6):
            b[r] = y[r] / size
    return 1.0 / size < SLOW**2


@_compiled
def _bends_down(
    chain: Chain, goal: Goal, target: Floats, q: Floats, J: Floats, e: Floats, g: Floats, free: Bools, size: float
) -> bool:
    """Return whether ``|e|^2 / 2`` falls along some direction of the free joints, to second order.

    The Hessian is differenced from gradients. It has an eigenvalue below ``-BENT_DOWN * |e|`` exactly if the
    LDL^T factors of ``H + BENT_DOWN |e| I`` have a negative pivot (Sylvester's law of inertia).
    """
    n = q.shape[0]
    H, moved, ahead, behind = np.zeros((n, n)), q.copy(), np.empty(n), np.empty(n)
    for i in range(n):
        if not free[i]:
            H[i, i] = 1.0
            continue
        moved[i] = q[i] + NUDGE
        _gradient(chain, goal, target, moved, J, e, ahead)
        moved[i] = q[i] - NUDGE
        _gradient(chain, goal, target, moved, J, e, behind)
        moved[i] = q[i]
        for j in range(n):
            if free[j]:
                H[i, j] = (behind[j] - ahead[j]) / (2.0 * NUDGE)
    for i in range(n):
        H[i, i] += BENT_DOWN * size
    for j in range(n):
        pivot = H[j, j]
        if pivot <= 0.0:
            return True
        for i in range(j + 1, n):
            factor = H[i, j] / pivot
            for k in range(j + 1, n):
                H[i, k] -= factor * H[j, k]
    return False


def explain(robot: RobotModel, solution: IkSolution, collision: CollisionModel | None = None) -> str:
    """Return one sentence on how a solve ended, with the joints at their limits where those hold it back.

    Args:
        robot: The arm.
        solution: How its solve ended.
        collision: Tells which links touch.

    Raises:
        TypeError: ``solution`` is none.
    """
    if not isinstance(solution, IkSolution):  # pyright: ignore[reportUnnecessaryIsInstance]
        hint = "; solve that target of the batch alone" if isinstance(solution, IkBatch) else ""
        raise TypeError(f"explain takes an IkSolution, as solve returns it, not {type(solution).__name__}{hint}.")
    missing = f"{_length(solution.position_error)} and {solution.rotation_error:.3g} rad are missing"
    if solution.status in _NOT_REACHED and solution.iterations == 0:
        return f"All joints are locked, and where they are held {missing}."
    match solution.status:
        case IkStatus.CONVERGED:
            return f"The target is reached to {solution.position_error:.1g} m and {solution.rotation_error:.1g} rad."
        case IkStatus.LIMITED:
            return f"Held by {_joints_at_limits(robot, solution.q)}: {missing}."
        case IkStatus.SINGULAR:
            return f"Stuck at a singular posture, which cannot move the way that is left: {missing}."
        case IkStatus.UNREACHABLE:
            return f"Out of the arm's reach as far as the search can tell: {missing}."
        case IkStatus.COLLISION:
            return f"Reached only by postures in which the arm touches itself{_touching(collision, solution.q)}."
        case IkStatus.INVALID:
            return "The target or the start was not finite, or the target no rigid transform."


def _length(metres: float) -> str:
    return f"{metres:.3g} m" if metres >= 1.0 else f"{1e3 * metres:.3g} mm"


def _touching(collision: CollisionModel | None, q: Floats) -> str:
    """Return the links that touch in ``q`` in words: those that do so most deeply."""
    if collision is None or not len(collision.pairs):
        return ""
    nearest = collision.distance(q)
    first, second = nearest.links
    if nearest.distance >= 0.0:
        return f", or nearly: here {first} comes within {_length(nearest.distance)} of {second}"
    return f": here {first} and {second} overlap by {_length(-nearest.distance)}"


def _joints_at_limits(robot: RobotModel, q: Floats) -> str:
    words: list[str] = []
    for name, angle, lower, upper in zip(robot.joint_names, q, robot.lower, robot.upper, strict=True):
        if angle - lower <= AT_LIMIT:
            words.append(f"the lower limit of {name}")
        elif upper - angle <= AT_LIMIT:
            words.append(f"the upper limit of {name}")
    return " and ".join(words)
