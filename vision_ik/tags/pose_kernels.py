"""Compiled core of the pose fits: starts from a plane's homography, and weighted least squares on SE(3).

Starts: Collins and Bartoli, "Infinitesimal plane-based pose estimation", IJCV 2014: the derivative of the
homography at the middle of the plane leaves two rotations, mirrored about the line of sight. The homography
is taken in a virtual camera that looks at that middle, so that any lens and any angle will do.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vision_ik.tags.projection import bearings_all, project_all
from vision_ik.types import Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")

FISHEYE = 3.0
"""Kind of a packed lens that also sees what lies beside and behind it."""
_MAX_STEPS = 40
_CONVERGED = 1e-12
"""Decrease of chi-square that ends the refinement: a millionth of a sigma."""
_SAME_POSE = 1e-3
"""[rad] Two refined solutions closer than this are one."""


@_compiled
def solve_positive(A: Floats, b: Floats, x: Floats) -> bool:
    """Solve ``A x = b`` by Cholesky, ``A`` (n, n) overwritten; False when it is not positive definite."""
    n = len(b)
    for j in range(n):
        d = A[j, j]
        for k in range(j):
            d -= A[j, k] * A[j, k]
        if not d > 1e-14 * A[j, j]:
            return False
        d = math.sqrt(d)
        A[j, j] = d
        for i in range(j + 1, n):
            s = A[i, j]
            for k in range(j):
                s -= A[i, k] * A[j, k]
            A[i, j] = s / d
    for i in range(n):
        s = b[i]
        for k in range(i):
            s -= A[i, k] * x[k]
        x[i] = s / A[i, i]
    for m in range(n):
        i = n - 1 - m
        s = x[i]
        for k in range(i + 1, n):
            s -= A[k, i] * x[k]
        x[i] = s / A[i, i]
    return True


@_compiled
def move(T: Floats, step: Floats, moved: Floats) -> None:
    """Write ``moved = T exp(step)`` (4, 4) for a twist (6,), the rotation kept orthonormal."""
    wx, wy, wz = step[3], step[4], step[5]
    t2 = wx * wx + wy * wy + wz * wz
    angle = math.sqrt(t2)
    if angle < 1e-4:
        a, b, c = 1.0 - t2 / 6.0, 0.5 - t2 / 24.0, 1.0 / 6.0 - t2 / 120.0
    else:
        a, b, c = math.sin(angle) / angle, (1.0 - math.cos(angle)) / t2, (angle - math.sin(angle)) / (t2 * angle)
    E = np.empty((3, 4))
    E[0, 0], E[0, 1], E[0, 2] = 1.0 - b * (wy * wy + wz * wz), b * wx * wy - a * wz, b * wx * wz + a * wy
    E[1, 0], E[1, 1], E[1, 2] = b * wx * wy + a * wz, 1.0 - b * (wx * wx + wz * wz), b * wy * wz - a * wx
    E[2, 0], E[2, 1], E[2, 2] = b * wx * wz - a * wy, b * wy * wz + a * wx, 1.0 - b * (wx * wx + wy * wy)
    x, y, z = step[0], step[1], step[2]
    p, q, s = wy * z - wz * y, wz * x - wx * z, wx * y - wy * x
    E[0, 3] = x + b * p + c * (wy * s - wz * q)
    E[1, 3] = y + b * q + c * (wz * p - wx * s)
    E[2, 3] = z + b * s + c * (wx * q - wy * p)
    for i in range(3):
        for j in range(4):
            moved[i, j] = T[i, 0] * E[0, j] + T[i, 1] * E[1, j] + T[i, 2] * E[2, j]
        moved[i, 3] += T[i, 3]
    moved[3, 0] = moved[3, 1] = moved[3, 2] = 0.0
    moved[3, 3] = 1.0
    _orthonormalise(moved)


@_compiled
def copy_pose(T: Floats, to: Floats) -> None:
    """Copy a pose (4, 4). ``to[:] = T`` does the same, but takes longer to compile."""
    for i in range(4):
        for j in range(4):
            to[i, j] = T[i, j]


@_compiled
def _copy_information(H: Floats, to: Floats) -> None:
    for i in range(6):
        for j in range(6):
            to[i, j] = H[i, j]


@_compiled
def _orthonormalise(T: Floats) -> None:
    """Take out what rounding has done to a rotation: Gram and Schmidt on its columns."""
    for j in range(2):
        for k in range(j):
            dot = T[0, j] * T[0, k] + T[1, j] * T[1, k] + T[2, j] * T[2, k]
            for i in range(3):
                T[i, j] -= dot * T[i, k]
        norm = math.sqrt(T[0, j] ** 2 + T[1, j] ** 2 + T[2, j] ** 2)
        for i in range(3):
            T[i, j] /= norm
    T[0, 2] = T[1, 0] * T[2, 1] - T[2, 0] * T[1, 1]
    T[1, 2] = T[2, 0] * T[0, 1] - T[0, 0] * T[2, 1]
    T[2, 2] = T[0, 0] * T[1, 1] - T[1, 0] * T[0, 1]


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
        W: Weight of the residuals (x0, y0, x1, ...): (2N, 1) reciprocal standard deviations [1/px], or (2N, 2N)
            lower triangular, the inverse of the Cholesky factor of their covariance.
        J: (2N, 6) and ``r`` (2N,), room for the whitened Jacobian and residuals.
        r: See ``J``.
        H: Result.
        g: Result.

    Returns:
        Chi-square, infinite when a point lies where the lens does not see.
    """
    n = len(points)
    for i in range(n):
        z = T[2, 0] * points[i, 0] + T[2, 1] * points[i, 1] + T[2, 2] * points[i, 2] + T[2, 3]
        if lens[5] != FISHEYE and not z > 0.0:
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
def _whiten(W: Floats, r: Floats, J: Floats) -> None:
    """Multiply ``r`` (m,) and ``J`` (m, 6) by ``W`` from the left, in place."""
    m = len(r)
    if W.shape[1] == 1:
        for i in range(m):
            r[i] *= W[i, 0]
            for a in range(6):
                J[i, a] *= W[i, 0]
        return
    for k in range(m):
        i = m - 1 - k  # from below: row i needs the rows above as they were
        r[i] *= W[i, i]
        for a in range(6):
            J[i, a] *= W[i, i]
        for j in range(i):
            r[i] += W[i, j] * r[j]
            for a in range(6):
                J[i, a] += W[i, j] * J[j, a]


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
            _copy_information(new_H, H)
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
def plane_starts(plane: Floats, image: Floats, lens: Floats, Ts: Floats) -> int:
    """Write the poses ``Ts`` (2, 4, 4), T_camera_plane, that the homography of a plane leaves; return how many.

    Args:
        plane: (N, 2) [m] points, N >= 4, their mean at the origin.
        image: (N, 2) [px].
        lens: Packed lens.
        Ts: Result.
    """
    n = len(plane)
    rays = np.empty((n, 3))
    bearings_all(image, lens, rays)
    V = look_at(rays)
    seen = np.empty((n, 2))
    for i in range(n):
        x, y, z = rays[i, 0], rays[i, 1], rays[i, 2]
        depth = V[2, 0] * x + V[2, 1] * y + V[2, 2] * z
        if not depth > 0.02:  # NaN, or a picture as wide as the sky
            return 0
        seen[i, 0] = (V[0, 0] * x + V[0, 1] * y + V[0, 2] * z) / depth
        seen[i, 1] = (V[1, 0] * x + V[1, 1] * y + V[1, 2] * z) / depth
    H = np.empty((3, 3))
    if not _homography(plane, seen, H):
        return 0
    if not _rotations(H, Ts):
        return 0
    for k in range(2):
        if not _place(plane, seen, Ts[k]):
            return 0
        for j in range(4):
            x, y, z = Ts[k, 0, j], Ts[k, 1, j], Ts[k, 2, j]
            for i in range(3):
                Ts[k, i, j] = V[0, i] * x + V[1, i] * y + V[2, i] * z
            Ts[k, 3, j] = 1.0 if j == 3 else 0.0
    return 2


@_compiled
def look_at(rays: Floats) -> Floats:
    """Return the rotation (3, 3) that turns the mean of the rays to the z axis, by the shortest way."""
    x = y = z = 0.0
    for i in range(len(rays)):
        x, y, z = x + rays[i, 0], y + rays[i, 1], z + rays[i, 2]
    norm = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / norm, y / norm, z / norm
    k = 1.0 / (1.0 + max(z, -0.999999))
    return np.array([[1.0 - k * x * x, -k * x * y, -x], [-k * x * y, 1.0 - k * y * y, -y], [x, y, z]])


@_compiled
def _homography(plane: Floats, seen: Floats, H: Floats) -> bool:
    """Write ``H`` (3, 3), H[2, 2] = 1, that maps the plane to what is seen with the least algebraic error."""
    n = len(plane)
    size = reach = 0.0
    for i in range(n):
        size += plane[i, 0] ** 2 + plane[i, 1] ** 2
        reach += seen[i, 0] ** 2 + seen[i, 1] ** 2
    size, reach = math.sqrt(size / n), math.sqrt(reach / n)
    if not (size > 0.0 and reach > 0.0):
        return False
    A, b, h, row = np.zeros((8, 8)), np.zeros(8), np.zeros(8), np.zeros(8)
    for i in range(n):
        x, y = plane[i, 0] / size, plane[i, 1] / size
        for k in range(2):
            s = seen[i, k] / reach
            for a in range(6):
                row[a] = 0.0
            row[3 * k], row[3 * k + 1], row[3 * k + 2] = x, y, 1.0
            row[6], row[7] = -s * x, -s * y
            for a in range(8):
                b[a] += row[a] * s
                for c in range(a + 1):
                    A[a, c] += row[a] * row[c]
    if not solve_positive(A, b, h):
        return False
    for k in range(2):
        H[k, 0], H[k, 1], H[k, 2] = reach * h[3 * k] / size, reach * h[3 * k + 1] / size, reach * h[3 * k + 2]
    H[2, 0], H[2, 1], H[2, 2] = h[6] / size, h[7] / size, 1.0
    return True


@_compiled
def _rotations(H: Floats, Ts: Floats) -> bool:
    """Write the two rotations (Collins and Bartoli, section 3.2) that the homography leaves at the plane's origin."""
    p, q = H[0, 2], H[1, 2]
    s = math.sqrt(p * p + q * q + 1.0)
    k = 1.0 / (s * (s + 1.0))
    # Rotation of the z axis to (p, q, 1) / s.
    V = np.array(
        [[1.0 - k * p * p, -k * p * q, p / s], [-k * p * q, 1.0 - k * q * q, q / s], [-p / s, -q / s, 1.0 / s]]
    )
    B00, B01 = V[0, 0] - p * V[2, 0], V[0, 1] - p * V[2, 1]
    B10, B11 = V[1, 0] - q * V[2, 0], V[1, 1] - q * V[2, 1]
    J00, J01 = H[0, 0] - H[2, 0] * p, H[0, 1] - H[2, 1] * p
    J10, J11 = H[1, 0] - H[2, 0] * q, H[1, 1] - H[2, 1] * q
    d = B00 * B11 - B01 * B10
    A00, A01 = (B11 * J00 - B01 * J10) / d, (B11 * J01 - B01 * J11) / d
    A10, A11 = (B00 * J10 - B10 * J00) / d, (B00 * J11 - B10 * J01) / d
    a, b, c = A00 * A00 + A01 * A01, A00 * A10 + A01 * A11, A10 * A10 + A11 * A11
    scale = math.sqrt(0.5 * (a + c + math.sqrt((a - c) ** 2 + 4.0 * b * b)))
    if not abs(A00 * A11 - A01 * A10) > 1e-9 * scale * scale:
        return False  # all on one line
    A00, A01, A10, A11 = A00 / scale, A01 / scale, A10 / scale, A11 / scale
    x = math.sqrt(max(1.0 - A00 * A00 - A10 * A10, 0.0))
    y = math.sqrt(max(1.0 - A01 * A01 - A11 * A11, 0.0))
    if A00 * A01 + A10 * A11 > 0.0:
        y = -y
    for m in range(2):
        sign = 1.0 - 2.0 * m
        for i in range(3):
            Ts[m, i, 0] = V[i, 0] * A00 + V[i, 1] * A10 + V[i, 2] * sign * x
            Ts[m, i, 1] = V[i, 0] * A01 + V[i, 1] * A11 + V[i, 2] * sign * y
        _orthonormalise(Ts[m])
    return True


@_compiled
def _place(plane: Floats, seen: Floats, T: Floats) -> bool:
    """Write the translation that puts the plane, turned as ``T`` is, where it is seen: linear least squares."""
    A, b, t = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
    row = np.zeros(3)
    for i in range(len(plane)):
        x, y = plane[i, 0], plane[i, 1]
        depth = T[2, 0] * x + T[2, 1] * y
        for k in range(2):
            row[0], row[1], row[2] = 1.0 - k, float(k), -seen[i, k]
            wanted = seen[i, k] * depth - (T[k, 0] * x + T[k, 1] * y)
            for a in range(3):
                b[a] += row[a] * wanted
                for c in range(a + 1):
                    A[a, c] += row[a] * row[c]
    if not solve_positive(A, b, t):
        return False
    T[0, 3], T[1, 3], T[2, 3] = t[0], t[1], t[2]
    return True


@_compiled
def fit(
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
            _copy_information(Hs[at - 1], Hs[at])
            at -= 1
        costs[at] = cost
        copy_pose(T, Ts[at])
        _copy_information(H, Hs[at])
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


@_compiled
def mirror_pose(T: Floats, points: Floats, normal: Floats, mirrored: Floats) -> None:
    """Write the pose that looks the same in weak perspective: (I - 2 d d') R (I - 2 n n'), d the line of sight."""
    middle, d, n = np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(len(points)):
        for k in range(3):
            middle[k] += points[i, k] / len(points)
    for i in range(3):
        d[i] = T[i, 0] * middle[0] + T[i, 1] * middle[1] + T[i, 2] * middle[2] + T[i, 3]
        n[i] = T[i, 0] * normal[0] + T[i, 1] * normal[1] + T[i, 2] * normal[2]
    far2 = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
    across = n[0] * d[0] + n[1] * d[1] + n[2] * d[2]
    for j in range(3):
        along = (d[0] * T[0, j] + d[1] * T[1, j] + d[2] * T[2, j]) / far2
        for i in range(3):
            mirrored[i, j] = T[i, j] - 2.0 * along * d[i] - 2.0 * normal[j] * (n[i] - 2.0 * across / far2 * d[i])
    for i in range(3):
        mirrored[i, 3] = d[i] - (mirrored[i, 0] * middle[0] + mirrored[i, 1] * middle[1] + mirrored[i, 2] * middle[2])
    mirrored[3, 0] = mirrored[3, 1] = mirrored[3, 2] = 0.0
    mirrored[3, 3] = 1.0
