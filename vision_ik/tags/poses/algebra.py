"""Compiled linear algebra on small arrays, and steps on SE(3)."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.types import Floats

Bools: TypeAlias = NDArray[np.bool_]

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def factorise(A: Floats) -> bool:
    """Overwrite the lower half of ``A`` (n, n) with its Cholesky factor; False when it is not positive definite."""
    n = len(A)
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
    return True


@_compiled
def substitute(L: Floats, b: Floats, x: Floats) -> None:
    """Solve ``L L' x = b`` for a Cholesky factor ``L`` (n, n)."""
    n = len(b)
    for i in range(n):
        s = b[i]
        for k in range(i):
            s -= L[i, k] * x[k]
        x[i] = s / L[i, i]
    for m in range(n):
        i = n - 1 - m
        s = x[i]
        for k in range(i + 1, n):
            s -= L[k, i] * x[k]
        x[i] = s / L[i, i]


@_compiled
def solve_positive(A: Floats, b: Floats, x: Floats) -> bool:
    """Solve ``A x = b``, ``A`` (n, n) overwritten by its factor; False when it is not positive definite."""
    if not factorise(A):
        return False
    substitute(A, b, x)
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
    orthonormalise(moved)


@_compiled
def orthonormalise(T: Floats) -> None:
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
def copy_pose(T: Floats, to: Floats) -> None:
    """Copy a pose (4, 4). ``to[:] = T`` does the same, but takes longer to compile."""
    for i in range(4):
        for j in range(4):
            to[i, j] = T[i, j]


@_compiled
def copy_information(H: Floats, to: Floats) -> None:
    """Copy a matrix (6, 6)."""
    for i in range(6):
        for j in range(6):
            to[i, j] = H[i, j]


@_compiled
def invert_positive(A: Floats, inverse: Floats) -> bool:
    """Write the ``inverse`` of ``A`` (n, n), overwritten by its factor; False when it is not positive definite."""
    n = len(A)
    if not factorise(A):
        return False
    b, x = np.zeros(n), np.zeros(n)
    for column in range(n):
        b[column] = 1.0
        substitute(A, b, x)
        b[column] = 0.0
        for i in range(n):
            inverse[i, column] = x[i]
    return True


@_compiled
def whitening(C: Floats, W: Floats) -> bool:
    """Write the inverse ``W`` (n, n) of the Cholesky factor of a covariance; False when it is none."""
    n = len(C)
    L = C.copy()
    if not factorise(L):
        return False
    for column in range(n):
        for i in range(n):
            s = 1.0 if i == column else 0.0
            for k in range(column, i):
                s -= L[i, k] * W[k, column]
            W[i, column] = s / L[i, i] if i >= column else 0.0
    return True


@_compiled
def whitening_of_markers(covariances: Floats, weights: Floats, kept: Bools, W: Floats) -> None:
    """Write the weight ``W`` (2N, 8) of points of which the first 4 M are the corners of M markers.

    Args:
        covariances: (M, 8, 8) [px^2] of the corners.
        weights: (N,) [1/px] Reciprocal standard deviation of each coordinate, for the other points.
        kept: (N,) Points that count; where some corners of a marker do not, the others keep their own covariance.
        W: Result.
    """
    rows = np.empty(8, dtype=np.int64)
    for i in range(len(W)):
        for j in range(8):
            W[i, j] = 0.0
        if i >= 8 * len(covariances) and kept[i // 2]:
            W[i, i % 8] = weights[i // 2]
    for b in range(len(covariances)):
        n = 0
        for i in range(8):
            if kept[4 * b + i // 2]:
                rows[n] = i
                n += 1
        C, V = np.empty((n, n)), np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                C[i, j] = covariances[b, rows[i], rows[j]]
        known = whitening(C, V)
        for i in range(n):
            row = 8 * b + rows[i]
            for j in range(i + 1):
                W[row, rows[j]] = V[i, j] if known else 0.0
            if not known:
                W[row, rows[i]] = weights[row // 2]
