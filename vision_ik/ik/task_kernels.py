"""Compiled refinement of tasks: some components of the pose, dead bands, locked and weighted joints.

The step is that of `vision_ik.ik.kernels`: damped least squares with the limits kept by an active set, written for
joints of different mobility. With ``M`` the diagonal of inverse squared weights it minimises
``|e - J dq|^2 + damping dq^T M^-1 dq``, so ``dq = M J^T y`` with ``(J M J^T + damping I) y = e``. A locked joint has
no mobility, and a component that does not count, or lies inside its dead band, has a row of zeros.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import (
    DAMPING,
    GROWTH,
    LENGTH,
    MAX_STEP,
    MIN_DAMPING,
    PATIENCE,
    STALL,
    assign,
    pose_error,
    solve6,
)
from vision_ik.ik.task import Goal, Rotation
from vision_ik.robots.kernels import fk_jacobian
from vision_ik.types import Floats

VECTOR, SWING, AIM = int(Rotation.VECTOR), int(Rotation.SWING), int(Rotation.AIM)

NEAREST = 1e-6
"""[m] A target nearer than this gives no direction to aim at."""
SLIDES = 40
"""Steps along the self-motion toward the nearest solution."""
SLIDE_STEP = 0.5
"""[rad, m] Longest of them, of one joint."""
SLIDE_REFINEMENT = 8
"""Steps that may bring a posture back onto the task after a slide."""
SLIDE_GAIN = 1e-10
"""Share of the squared distance that a slide must save for another to follow."""

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})


@_compiled
def linearise(
    goal: Goal, target: Floats, T: Floats, J: Floats, e: Floats, tolerance_m: float, tolerance_rad: float
) -> tuple[float, float]:
    """Turn the Jacobian ``J`` (6, n) of pose ``T`` into that of the task's weighted error, and write the error (6,).

    Returns:
        What is left of position [m] and orientation [rad] beyond the dead bands.
    """
    if goal.rotation == AIM:
        _aim(goal.distance, target, T, J, e)
    else:
        pose_error(target, T, e)
        if goal.rotation == SWING:
            _swing(T[0, 2], T[1, 2], T[2, 2], target[0, 2], target[1, 2], target[2, 2], T, e)
        else:
            _vector_rate(J, e)
        _into_axes(target, J, e, 0)
        _into_axes(target, J, e, 3)
    m = rad = 0.0
    for r in range(6):
        tolerance = tolerance_m if r < 3 else tolerance_rad
        # Twice the tolerance inside the band, so that what converges lies within it.
        band = max(goal.bands[r] - 2.0 * tolerance, 0.0)
        left = max(abs(e[r]) - band, 0.0)
        if left == 0.0:
            e[r] = 0.0
            for i in range(J.shape[1]):
                J[r, i] = 0.0
            continue
        e[r] = math.copysign(left, e[r])
        if r < 3:
            m += left * left
            e[r] /= LENGTH
            for i in range(J.shape[1]):
                J[r, i] /= LENGTH
        else:
            rad += left * left
    return math.sqrt(m), math.sqrt(rad)


@_compiled
def _vector_rate(J: Floats, e: Floats) -> None:
    """Turn angular velocities into rates of the rotation vector ``phi = e[3:]``, both in base axes.

    ``phi' = Jr^-1 w`` with ``Jr^-1 = I + [phi]/2 + c [phi]^2``, c = 1/angle^2 - (1 + cos)/(2 angle sin)
    (Sola et al., "A micro Lie theory", 2018, eq. 144). It matters where some components of a large one do not count.
    """
    x, y, z = e[3], e[4], e[5]
    squared = x * x + y * y + z * z
    angle = math.sqrt(squared)
    c = 1.0 / 12.0
    if angle > 1e-3:
        c = 1.0 / squared - 0.5 / (angle * math.tan(0.5 * min(angle, 3.1415)))
    for i in range(J.shape[1]):
        a, b, d = J[3, i], J[4, i], J[5, i]
        p, q, r = y * d - z * b, z * a - x * d, x * b - y * a
        J[3, i] = a + 0.5 * p + c * (y * r - z * q)
        J[4, i] = b + 0.5 * q + c * (z * p - x * r)
        J[5, i] = d + 0.5 * r + c * (x * q - y * p)


@_compiled
def _swing(x: float, y: float, z: float, tx: float, ty: float, tz: float, T: Floats, e: Floats) -> None:
    """Write into ``e[3:]``, in base axes, the smallest rotation that turns direction (x, y, z) to (tx, ty, tz)."""
    wx, wy, wz = y * tz - z * ty, z * tx - x * tz, x * ty - y * tx
    sin, cos = math.sqrt(wx * wx + wy * wy + wz * wz), x * tx + y * ty + z * tz
    if sin > 1e-9:
        scale = math.atan2(sin, cos) / sin
        e[3], e[4], e[5] = scale * wx, scale * wy, scale * wz
    elif cos > 0.0:
        e[3], e[4], e[5] = wx, wy, wz
    else:  # opposite: about the tool's x axis, as good as any
        e[3], e[4], e[5] = math.pi * T[0, 0], math.pi * T[1, 0], math.pi * T[2, 0]


@_compiled
def _aim(distance: float, target: Floats, T: Floats, J: Floats, e: Floats) -> None:
    """Write error and rates for looking at the target: distance as component z, direction as rx and ry, tool axes.

    The direction ``d`` turns with ``-d x v / |d|`` while the tool moves with ``v``; the tool's axis turns with ``w``.
    """
    dx, dy, dz = target[0, 3] - T[0, 3], target[1, 3] - T[1, 3], target[2, 3] - T[2, 3]
    length = max(math.sqrt(dx * dx + dy * dy + dz * dz), NEAREST)
    dx, dy, dz = dx / length, dy / length, dz / length
    _swing(T[0, 2], T[1, 2], T[2, 2], dx, dy, dz, T, e)
    for i in range(J.shape[1]):
        vx, vy, vz = J[0, i], J[1, i], J[2, i]
        J[0, i] = J[1, i] = 0.0
        J[2, i] = dx * vx + dy * vy + dz * vz
        J[3, i] += (dy * vz - dz * vy) / length
        J[4, i] += (dz * vx - dx * vz) / length
        J[5, i] += (dx * vy - dy * vx) / length
    _into_axes(T, J, e, 3)
    e[0], e[1], e[2] = 0.0, 0.0, length - distance


@_compiled
def _into_axes(T: Floats, J: Floats, e: Floats, a: int) -> None:
    """Express the vectors in rows ``a`` to ``a + 2``, given in base axes, in the axes of ``T``, in place."""
    b, c = a + 1, a + 2
    for i in range(J.shape[1]):
        x, y, z = J[a, i], J[b, i], J[c, i]
        J[a, i] = T[0, 0] * x + T[1, 0] * y + T[2, 0] * z
        J[b, i] = T[0, 1] * x + T[1, 1] * y + T[2, 1] * z
        J[c, i] = T[0, 2] * x + T[1, 2] * y + T[2, 2] * z
    x, y, z = e[a], e[b], e[c]
    e[a] = T[0, 0] * x + T[1, 0] * y + T[2, 0] * z
    e[b] = T[0, 1] * x + T[1, 1] * y + T[2, 1] * z
    e[c] = T[0, 2] * x + T[1, 2] * y + T[2, 2] * z


@_compiled
def bounded_step(
    J: Floats,
    e: Floats,
    base: Floats,
    lower: Floats,
    upper: Floats,
    mobility: Floats,
    damping: float,
    work: Floats,
    q_new: Floats,
) -> None:
    """Write ``q_new`` (n,): ``base`` (n,) plus the damped step for ``e``, limits kept. ``work`` is (8, 6) scratch."""
    n = base.shape[0]
    H, b, y = work[:6], work[6], work[7]
    pinned = 0  # bit i: joint i stands at its limit
    for r in range(6):
        b[r] = e[r]
    for i in range(n):
        q_new[i] = base[i]
    for _ in range(n + 1):
        for r in range(6):
            for c in range(r + 1):
                s = 0.0
                for i in range(n):
                    if not (pinned >> i) & 1:
                        s += J[r, i] * mobility[i] * J[c, i]
                H[r, c] = s
            H[r, r] += damping
        solve6(H, b, y)
        worst, excess = -1, 0.0
        for i in range(n):
            if (pinned >> i) & 1 or mobility[i] == 0.0:
                continue
            d = 0.0
            for r in range(6):
                d += J[r, i] * y[r]
            q_new[i] = base[i] + mobility[i] * d
            over = max(q_new[i] - upper[i], lower[i] - q_new[i])
            if over > excess:
                worst, excess = i, over
        if worst < 0:
            break
        q_new[worst] = upper[worst] if q_new[worst] > upper[worst] else lower[worst]
        pinned |= 1 << worst
        d = q_new[worst] - base[worst]
        for r in range(6):
            b[r] -= J[r, worst] * d


@_compiled
def shorten(chain: Chain, q: Floats, most: float, q_new: Floats) -> float:
    """Move ``q_new`` back toward ``q`` until no joint moves by more than ``most``; return how far one did [rad, m]."""
    longest = 0.0
    for i in range(q.shape[0]):
        longest = max(longest, abs(q_new[i] - q[i]))
    if longest > most:
        shrink = most / longest
        for i in range(q.shape[0]):
            q_new[i] = min(max(q[i] + shrink * (q_new[i] - q[i]), chain.lower[i]), chain.upper[i])
    return longest


@_compiled
def refine_task(
    chain: Chain, goal: Goal, target: Floats, q: Floats, most: int, tolerance_m: float, tolerance_rad: float
) -> tuple[bool, int, float, float]:
    """Refine ``q`` (n,), which must lie inside the limits, on a task, in at most ``most`` steps.

    Returns:
        Whether it converged, the steps taken, position error [m] and rotation error [rad] beyond the dead bands.
    """
    n = q.shape[0]
    T, J, e = np.empty((4, 4)), np.empty((6, n)), np.empty(6)
    J_new, e_new = np.empty((6, n)), np.empty(6)
    work, q_new = np.empty((8, 6)), np.empty(n)
    fk_jacobian(chain.fixed, chain.prismatic, q, T, J)
    e_m, e_rad = linearise(goal, target, T, J, e, tolerance_m, tolerance_rad)
    cost = (e_m / LENGTH) ** 2 + e_rad * e_rad
    factor, stalled, steps = 1.0, 0, 0
    while steps < most and stalled <= PATIENCE and (e_m > tolerance_m or e_rad > tolerance_rad):
        damping = factor * DAMPING * cost + MIN_DAMPING
        bounded_step(J, e, q, chain.lower, chain.upper, goal.mobility, damping, work, q_new)
        shorten(chain, q, MAX_STEP, q_new)
        steps += 1
        fk_jacobian(chain.fixed, chain.prismatic, q_new, T, J_new)
        m, rad = linearise(goal, target, T, J_new, e_new, tolerance_m, tolerance_rad)
        cost_new = (m / LENGTH) ** 2 + rad * rad
        if cost_new < cost:
            stalled = stalled + 1 if cost_new > STALL * cost else 0
            factor = max(1.0, factor / GROWTH)
            e_m, e_rad, cost = m, rad, cost_new
            assign(q, q_new)
            J, J_new = J_new, J
            e, e_new = e_new, e
        else:
            stalled += 1
            factor *= GROWTH
    return e_m <= tolerance_m and e_rad <= tolerance_rad, steps, e_m, e_rad


@_compiled
def distance2(goal: Goal, q: Floats, reference: Floats) -> float:
    """Return the squared distance of two postures [rad^2, m^2], joints weighed; locked ones are left out."""
    squared = 0.0
    for i in range(q.shape[0]):
        if goal.mobility[i] > 0.0:
            squared += (q[i] - reference[i]) ** 2 / goal.mobility[i]
    return squared


@_compiled
def slide(
    chain: Chain, goal: Goal, target: Floats, reference: Floats, tolerance_m: float, tolerance_rad: float, q: Floats
) -> int:
    """Move the solution ``q`` (n,) along the self-motion to where ``reference`` (n,) is nearest; return the steps.

    A projected Gauss-Newton method: the nearest point of the linearised task is ``reference`` plus the smallest step
    that meets it, limits kept, which is `bounded_step` from ``reference``. It is refined back onto the task, and
    taken if it is nearer.
    """
    n = q.shape[0]
    T, J, e = np.empty((4, 4)), np.empty((6, n)), np.empty(6)
    work, trial = np.empty((8, 6)), np.empty(n)
    squared, most, total = distance2(goal, q, reference), SLIDE_STEP, 0
    for _ in range(SLIDES):
        fk_jacobian(chain.fixed, chain.prismatic, q, T, J)
        linearise(goal, target, T, J, e, tolerance_m, tolerance_rad)
        for r in range(6):
            for i in range(n):
                e[r] -= J[r, i] * (reference[i] - q[i])
        bounded_step(J, e, reference, chain.lower, chain.upper, goal.mobility, MIN_DAMPING, work, trial)
        longest = shorten(chain, q, most, trial)
        done, steps, _, _ = refine_task(chain, goal, target, trial, SLIDE_REFINEMENT, tolerance_m, tolerance_rad)
        total += steps + 1
        nearer = distance2(goal, trial, reference)
        if done and nearer < squared:
            gain = squared - nearer
            assign(q, trial)
            squared, most = nearer, min(2.0 * most, SLIDE_STEP)
            if gain < SLIDE_GAIN * squared:
                break
        else:
            most = 0.25 * min(longest, most)
            if most < 1e-5:
                break
    return total
