"""Compiled refinement: damped least squares on SE(3) with the limits inside the step.

Chain convention (``RobotModel``): ``T_base_tip = fixed[0] Z(q0) fixed[1] Z(q1) ... fixed[n]``,
``Z`` a rotation about, or for a prismatic joint a shift along, the z axis.

One step minimises ``|e - J dq|^2 + damping |dq|^2`` subject to ``lower <= q + dq <= upper``
by an active set: solve, pin the joint that leaves its limits the farthest exactly at its
limit, take its share out of ``e``, and solve again for the rest. Clamping afterwards
instead loses the other joints' chance to make up for it.

The damping follows the error (Sugihara, "Solvability-unconcerned inverse kinematics by the
Levenberg-Marquardt method", IEEE T-RO 27(5), 2011, eq. 15), which keeps convergence
quadratic near the target, and grows while steps are refused (Levenberg-Marquardt).

The normal matrix is the 6x6 one of task space, ``J J^T + damping I``: equivalent to the
n x n one for any positive damping, and its loops have constant length.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vision_ik.robots.kernels import Bools, fk_jacobian
from vision_ik.types import Floats

LENGTH = 0.4
"""[m] A position error of this size weighs as much as 1 rad."""
DAMPING = 2e-2
"""Damping per squared, weighted error."""
MIN_DAMPING = 1e-10
"""Keeps the 6x6 system solvable at singular postures and for arms of fewer than six joints."""
GROWTH = 10.0
"""Factor on the damping after a refused step."""
MAX_STEP = 1.0
"""[rad or m] Longest step of one joint; the linearisation means nothing beyond."""
STALL = 0.9
"""A step that leaves more than this share of the cost counts as stalled, as does a refused one."""
PATIENCE = 6
"""Stalled steps in a row after which a seed is dropped."""

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz"})


@_compiled
def assign(a: Floats, b: Floats) -> None:
    """Copy ``b`` (m,) to ``a`` (m,). ``a[:] = b`` does the same, but takes numba 1.5 s longer to compile."""
    for i in range(a.shape[0]):
        a[i] = b[i]


@_compiled
def pose_error(target: Floats, T: Floats, e: Floats) -> tuple[float, float]:
    """Write the twist (6,) from pose ``T`` (4, 4) to ``target`` (4, 4), in base axes; return both norms [m], [rad]."""
    wx = wy = wz = 0.0
    trace = 0.0
    for c in range(3):
        ax, ay, az = T[0, c], T[1, c], T[2, c]
        bx, by, bz = target[0, c], target[1, c], target[2, c]
        wx += ay * bz - az * by
        wy += az * bx - ax * bz
        wz += ax * by - ay * bx
        trace += ax * bx + ay * by + az * bz
    wx, wy, wz = 0.5 * wx, 0.5 * wy, 0.5 * wz  # the axis times the sine of the angle
    cos = 0.5 * (trace - 1.0)
    sin2 = wx * wx + wy * wy + wz * wz
    if cos > 0.99:
        scale = 1.0 + sin2 * (1.0 / 6.0 + sin2 * (3.0 / 40.0 + sin2 * (15.0 / 336.0)))
    elif sin2 > 1e-12:
        sin = math.sqrt(sin2)
        scale = math.atan2(sin, cos) / sin
    else:  # half a turn: the sine vanishes, the axis is the largest column of E + I, E = R_target R_T^T
        best, wx, wy, wz, scale = -1.0, 0.0, 0.0, 0.0, 1.0
        for k in range(3):
            x = target[0, 0] * T[k, 0] + target[0, 1] * T[k, 1] + target[0, 2] * T[k, 2]
            y = target[1, 0] * T[k, 0] + target[1, 1] * T[k, 1] + target[1, 2] * T[k, 2]
            z = target[2, 0] * T[k, 0] + target[2, 1] * T[k, 1] + target[2, 2] * T[k, 2]
            x, y, z = x + (k == 0), y + (k == 1), z + (k == 2)
            norm = math.sqrt(x * x + y * y + z * z)
            if norm > best:
                best = norm
                wx, wy, wz = math.pi * x / norm, math.pi * y / norm, math.pi * z / norm
    for r in range(3):
        e[r] = target[r, 3] - T[r, 3]
    e[3], e[4], e[5] = scale * wx, scale * wy, scale * wz
    return (
        math.sqrt(e[0] * e[0] + e[1] * e[1] + e[2] * e[2]),
        math.sqrt(e[3] * e[3] + e[4] * e[4] + e[5] * e[5]),
    )


@_compiled
def solve6(H: Floats, b: Floats, y: Floats) -> None:
    """Solve ``H y = b`` for a symmetric positive definite (6, 6) ``H`` by LDL^T; ``H`` (lower half) is overwritten."""
    for j in range(6):
        d = H[j, j]
        for k in range(j):
            d -= H[j, k] * H[j, k] * H[k, k]
        d = max(d, 1e-300)
        H[j, j] = d
        inverse = 1.0 / d
        for i in range(j + 1, 6):
            s = H[i, j]
            for k in range(j):
                s -= H[i, k] * H[j, k] * H[k, k]
            H[i, j] = s * inverse
    for i in range(6):
        s = b[i]
        for k in range(i):
            s -= H[i, k] * y[k]
        y[i] = s
    for i in range(6):
        y[i] /= H[i, i]
    for m in range(6):
        i = 5 - m
        s = y[i]
        for k in range(i + 1, 6):
            s -= H[k, i] * y[k]
        y[i] = s


@_compiled
def step(
    J: Floats, e: Floats, q: Floats, lower: Floats, upper: Floats, damping: float, work: Floats, q_new: Floats
) -> None:
    """Write ``q_new``: the damped step with the limits kept by an active set. ``work`` is (8, 6) scratch."""
    n = q.shape[0]
    H, b, y = work[:6], work[6], work[7]
    pinned = 0  # bit i: joint i stands at its limit
    for r in range(6):
        b[r] = e[r]
        for c in range(r + 1):
            s = 0.0
            for i in range(n):
                s += J[r, i] * J[c, i]
            H[r, c] = s
        H[r, r] += damping
    for _ in range(n + 1):
        solve6(H, b, y)
        worst, excess = -1, 0.0
        longest = 0.0
        for i in range(n):
            if (pinned >> i) & 1:
                continue
            d = 0.0
            for r in range(6):
                d += J[r, i] * y[r]
            q_new[i] = q[i] + d
            longest = max(longest, abs(d))
            over = max(q_new[i] - upper[i], lower[i] - q_new[i])
            if over > excess:
                worst, excess = i, over
        if worst < 0:
            break
        bound = upper[worst] if q_new[worst] > upper[worst] else lower[worst]
        q_new[worst] = bound
        pinned |= 1 << worst
        d = bound - q[worst]
        for r in range(6):
            b[r] -= J[r, worst] * d
            for c in range(r + 1):
                s = 0.0
                for i in range(n):
                    if not (pinned >> i) & 1:
                        s += J[r, i] * J[c, i]
                H[r, c] = s
            H[r, r] += damping
    longest = 0.0
    for i in range(n):
        longest = max(longest, abs(q_new[i] - q[i]))
    if longest > MAX_STEP:
        shrink = MAX_STEP / longest
        for i in range(n):
            q_new[i] = min(max(q[i] + shrink * (q_new[i] - q[i]), lower[i]), upper[i])


@_compiled
def refine(
    fixed: Floats,
    prismatic: Bools,
    lower: Floats,
    upper: Floats,
    target: Floats,
    q: Floats,
    max_iterations: int,
    tolerance_m: float,
    tolerance_rad: float,
) -> tuple[bool, int, float, float]:
    """Run damped least squares from ``q`` (n,), which must lie inside the limits; ``q`` becomes the best posture.

    Returns:
        Whether it converged, the steps taken, position error [m], rotation error [rad].
    """
    n = q.shape[0]
    T, J, e = np.empty((4, 4)), np.empty((6, n)), np.empty(6)
    T_new, J_new, e_new = np.empty((4, 4)), np.empty((6, n)), np.empty(6)
    work, q_new = np.empty((8, 6)), np.empty(n)
    weight = 1.0 / LENGTH
    fk_jacobian(fixed, prismatic, q, T, J)
    e_m, e_rad = pose_error(target, T, e)
    cost = weight * weight * e_m * e_m + e_rad * e_rad
    factor, stalled, iterations, fresh = 1.0, 0, 0, True
    while iterations < max_iterations and (e_m > tolerance_m or e_rad > tolerance_rad):
        if fresh:
            _scale(J, e, weight)
        step(J, e, q, lower, upper, factor * DAMPING * cost + MIN_DAMPING, work, q_new)
        iterations += 1
        fk_jacobian(fixed, prismatic, q_new, T_new, J_new)
        m, rad = pose_error(target, T_new, e_new)
        cost_new = weight * weight * m * m + rad * rad
        fresh = cost_new < cost
        if fresh:
            stalled = stalled + 1 if cost_new > STALL * cost else 0
            factor = max(1.0, factor / GROWTH)
            e_m, e_rad, cost = m, rad, cost_new
            assign(q, q_new)
            J, J_new = J_new, J
            e, e_new = e_new, e
        else:
            stalled += 1
            factor *= GROWTH
        if stalled > PATIENCE:
            break
    return e_m <= tolerance_m and e_rad <= tolerance_rad, iterations, e_m, e_rad


@_compiled
def _scale(J: Floats, e: Floats, weight: float) -> None:
    """Weigh the position rows of the Jacobian (6, n) and of the error (6,)."""
    for r in range(3):
        e[r] *= weight
        for i in range(J.shape[1]):
            J[r, i] *= weight
