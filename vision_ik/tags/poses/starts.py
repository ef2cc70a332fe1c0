"""Compiled starts of pose fits: what the homography of a plane leaves, and the mirrored pose.

Collins and Bartoli, "Infinitesimal plane-based pose estimation", IJCV 2014: the derivative of the homography at
the middle of the plane leaves two rotations, mirrored about the line of sight. The homography is taken in a
virtual camera that looks at that middle, so that any lens and any angle will do.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vision_ik.tags.poses.algebra import orthonormalise, solve_positive
from vision_ik.tags.projection import bearings_all
from vision_ik.types import Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")


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
        orthonormalise(Ts[m])
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
