"""Compiled core of the pose fits: weighted least squares on SE(3) by Levenberg and Marquardt."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vision_ik.tags.poses.algebra import copy_information, copy_pose, move, solve_positive
from vision_ik.tags.poses.starts import mirror_pose
from vision_ik.tags.projection import FISHEYE, REACH, project_all
from vision_ik.types import Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")

_MAX_STEPS = 40
_CONVERGED = 1e-12
"""Decrease of chi-square that ends the refinement: a millionth of a sigma."""
_SAME_POSE = 1e-3
"""[rad] Two refined solutions closer than this are one."""


@_compiled
def linearise(
    points: Floats, image: Floats, T: Floats, lens: Floats, W: Floats, J: Floats, r: Floats, H: Floats, g: Floats
) -> float:
    """Write the normal equations ``H`` (6, 6), ``g`` (6,) of the whitened residuals at ``T``.

    Args:
        points: (N, 3) [m].
        image: (N, 2) [px].
        T: (4, 4) T_camera_object.
        lens: Packed lens.
        W: (2N, B) [1/px] Weight of the residuals (x0, y0, x1, ...): inverse Cholesky factors (lower triangular) of
            their covariance, B rows at a time; B is 1 for reciprocal standard deviations. Rows of zeros do not count.
        J: (2N, 6) and ``r`` (2N,), room for the whitened Jacobian and residuals.
        r: See ``J``.
        H: Result.
        g: Result.

    Returns:
        Chi-square, infinite when a point lies where the lens does not see.
    """
    n = len(points)
    for i in range(n):
        if not _visible(points[i], T, lens):
            return math.inf
    uv = np.empty((n, 2))
    project_all(points, T, lens, uv, J)
    for i in range(n):
        r[2 * i], r[2 * i + 1] = uv[i, 0] - image[i, 0], uv[i, 1] - image[i, 1]
    _whiten(W, r, J)
    cost = 0.0
    for a in range(6):
        g[a] = 0.0
        for b in range(a + 1):
            H[a, b] = 0.0
    for i in range(2 * n):
        cost += r[i] * r[i]
        for a in range(6):
            g[a] += J[i, a] * r[i]
            for b in range(a + 1):
                H[a, b] += J[i, a] * J[i, b]
    for a in range(6):
        for b in range(a):
            H[b, a] = H[a, b]
    return cost if math.isfinite(cost) else math.inf


@_compiled
def _visible(point: Floats, T: Floats, lens: Floats) -> bool:
    """Return whether a pinhole lens sees a point: in front, and not where its polynomial folds back. A fisheye does."""
    if lens[5] == FISHEYE:
        return True
    x, y, z = point[0], point[1], point[2]
    p = T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3]
    q = T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3]
    depth = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
    return depth > 0.0 and p * p + q * q <= (lens[REACH] * depth) ** 2


@_compiled
def reprojection_error(points: Floats, image: Floats, T: Floats, lens: Floats) -> float:
    """Return the root mean square distance [px] of pixels (N, 2) from where the pose ``T`` (4, 4) has their points."""
    n = len(points)
    uv, J = np.empty((n, 2)), np.empty((2 * n, 6))
    project_all(points, T, lens, uv, J)
    total = 0.0
    for i in range(n):
        total += (uv[i, 0] - image[i, 0]) ** 2 + (uv[i, 1] - image[i, 1]) ** 2
    return math.sqrt(total / n)


@_compiled
def _whiten(W: Floats, r: Floats, J: Floats) -> None:
    """Multiply ``r`` (m,) and ``J`` (m, 6) by ``W`` from the left, in place."""
    m, width = W.shape
    for k in range(m):
        i = m - 1 - k  # from below: row i needs the rows above as they were
        first = i - i % width
        r[i] *= W[i, i - first]
        for a in range(6):
            J[i, a] *= W[i, i - first]
        for j in range(first, i):
            r[i] += W[i, j - first] * r[j]
            for a in range(6):
                J[i, a] += W[i, j - first] * J[j, a]


@_compiled
def refine(points: Floats, image: Floats, lens: Floats, W: Floats, T: Floats, H: Floats) -> float:
    """Move ``T`` (4, 4) to the least chi-square by Levenberg and Marquardt; write the information ``H`` (6, 6) there.

    Returns:
        Chi-square there, infinite when there is no minimum in view.
    """
    n = len(points)
    J, r = np.empty((2 * n, 6)), np.empty(2 * n)
    g, step, A = np.empty(6), np.zeros(6), np.empty((6, 6))
    moved, new_H, new_g = np.empty((4, 4)), np.empty((6, 6)), np.empty(6)
    damping = 1e-6
    cost = linearise(points, image, T, lens, W, J, r, H, g)
    if not cost < math.inf:
        return math.inf
    for _ in range(_MAX_STEPS):
        for a in range(6):
            for b in range(6):
                A[a, b] = H[a, b]
            A[a, a] += damping * H[a, a]
            step[a] = 0.0
        solved = solve_positive(A, g, step)
        gain = 0.0
        for a in range(6):
            step[a] = -step[a]
            gain -= step[a] * g[a]
        new_cost = math.inf
        if solved and abs(step[3]) + abs(step[4]) + abs(step[5]) < 1.5:
            move(T, step, moved)
            new_cost = linearise(points, image, moved, lens, W, J, r, new_H, new_g)
        if new_cost <= cost:
            cost = new_cost
            for a in range(6):
                g[a] = new_g[a]
            copy_information(new_H, H)
            copy_pose(moved, T)
            damping *= 0.1
        elif damping > 1e8:
            break
        else:
            damping = max(damping, 1e-7) * 10.0
        if solved and gain < _CONVERGED:
            break
    return cost


@_compiled
def fit_starts(
    points: Floats,
    image: Floats,
    lens: Floats,
    W: Floats,
    starts: Floats,
    normal: Floats,
    Ts: Floats,
    costs: Floats,
    Hs: Floats,
) -> int:
    """Refine each start (S, 4, 4) and write the distinct minima, best first; return how many.

    Args:
        points: (N, 3) [m].
        image: (N, 2) [px].
        lens: Packed lens.
        W: See :func:`linearise`.
        starts: (S, 4, 4) T_camera_object.
        normal: (3,) Of the plane in which the points lie: the best minimum mirrored about the line of sight is
            one more start when there is no other. Zero when they lie in none.
        Ts: (S + 1, 4, 4) Result, poses.
        costs: (S + 1,) Result, chi-square.
        Hs: (S + 1, 6, 6) Result, information.
    """
    found = 0
    T, H = np.empty((4, 4)), np.empty((6, 6))
    for k in range(len(starts) + 1):
        if k < len(starts):
            copy_pose(starts[k], T)
        elif found == 1 and normal @ normal > 0.0:
            mirror_pose(Ts[0], points, normal, T)
        else:
            break
        cost = refine(points, image, lens, W, T, H)
        if not cost < math.inf or _known(T, Ts, found):
            continue
        at = found
        while at > 0 and costs[at - 1] > cost:
            costs[at] = costs[at - 1]
            copy_pose(Ts[at - 1], Ts[at])
            copy_information(Hs[at - 1], Hs[at])
            at -= 1
        costs[at] = cost
        copy_pose(T, Ts[at])
        copy_information(H, Hs[at])
        found += 1
    return found


@_compiled
def _known(T: Floats, Ts: Floats, found: int) -> bool:
    """Return whether the rotation of ``T`` is that of one of the first ``found`` poses."""
    for k in range(found):
        trace = 0.0
        for i in range(3):
            for j in range(3):
                trace += (T[i, j] - Ts[k, i, j]) ** 2
        if trace < 2.0 * _SAME_POSE**2:  # |R - S|^2 = 8 sin^2(angle / 2)
            return True
    return False
