"""Forward kinematics and geometric Jacobian as numba kernels over plain arrays.

Every kernel takes the chain as ``fixed`` (n+1, 4, 4) and ``prismatic`` (n,), see `RobotModel`:
``T_base_tip = fixed[0] Rz(q0) fixed[1] Rz(q1) ... fixed[n]``. All joint axes are +z, so a revolute
joint mixes only two columns of the rotation built so far, and a prismatic one only moves the origin.

Outputs are written into arrays the caller owns. They compile once and are cached on disk.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.types import Floats

# Reordering sums and fusing products is harmless here (errors stay near 1e-16 m); what assumes
# that no number is NaN or infinite is left out, because a NaN joint must give a NaN pose.
FASTMATH = {"contract", "nsz", "reassoc"}

Bools: TypeAlias = NDArray[np.bool_]


@njit(cache=True, fastmath=FASTMATH)
def fk(fixed: Floats, prismatic: Bools, q: Floats, T: Floats) -> None:
    """Write T_base_tip (4, 4) of the joint positions ``q`` (n,) into ``T``."""
    n = q.shape[0]
    # Columns x, y, z of the rotation and the origin p of the frame reached so far, in base axes.
    start = fixed[0]
    xx, xy, xz = start[0, 0], start[1, 0], start[2, 0]
    yx, yy, yz = start[0, 1], start[1, 1], start[2, 1]
    zx, zy, zz = start[0, 2], start[1, 2], start[2, 2]
    px, py, pz = start[0, 3], start[1, 3], start[2, 3]
    for i in range(n):
        if prismatic[i]:
            d = q[i]
            px += d * zx
            py += d * zy
            pz += d * zz
        else:
            c = math.cos(q[i])
            s = math.sin(q[i])
            xx, yx = c * xx + s * yx, c * yx - s * xx
            xy, yy = c * xy + s * yy, c * yy - s * xy
            xz, yz = c * xz + s * yz, c * yz - s * xz
        step = fixed[i + 1]
        px += step[0, 3] * xx + step[1, 3] * yx + step[2, 3] * zx
        py += step[0, 3] * xy + step[1, 3] * yy + step[2, 3] * zy
        pz += step[0, 3] * xz + step[1, 3] * yz + step[2, 3] * zz
        ax = step[0, 0] * xx + step[1, 0] * yx + step[2, 0] * zx
        ay = step[0, 0] * xy + step[1, 0] * yy + step[2, 0] * zy
        az = step[0, 0] * xz + step[1, 0] * yz + step[2, 0] * zz
        bx = step[0, 1] * xx + step[1, 1] * yx + step[2, 1] * zx
        by = step[0, 1] * xy + step[1, 1] * yy + step[2, 1] * zy
        bz = step[0, 1] * xz + step[1, 1] * yz + step[2, 1] * zz
        cx = step[0, 2] * xx + step[1, 2] * yx + step[2, 2] * zx
        cy = step[0, 2] * xy + step[1, 2] * yy + step[2, 2] * zy
        cz = step[0, 2] * xz + step[1, 2] * yz + step[2, 2] * zz
        xx, xy, xz = ax, ay, az
        yx, yy, yz = bx, by, bz
        zx, zy, zz = cx, cy, cz
    T[0, 0], T[1, 0], T[2, 0], T[3, 0] = xx, xy, xz, 0.0
    T[0, 1], T[1, 1], T[2, 1], T[3, 1] = yx, yy, yz, 0.0
    T[0, 2], T[1, 2], T[2, 2], T[3, 2] = zx, zy, zz, 0.0
    T[0, 3], T[1, 3], T[2, 3], T[3, 3] = px, py, pz, 1.0


@njit(cache=True, fastmath=FASTMATH)
def fk_jacobian(fixed: Floats, prismatic: Bools, q: Floats, T: Floats, J: Floats) -> None:
    """Write T_base_tip (4, 4) into ``T`` and the geometric Jacobian (6, n) into ``J``.

    Rows of J are (v, w) [m, rad] of the tip's origin in base axes: z_i x (p_tip - p_i) and z_i for
    a revolute joint, z_i and 0 for a prismatic one (Siciliano et al., Robotics, 2009, eq. 3.30).
    """
    n = q.shape[0]
    start = fixed[0]
    xx, xy, xz = start[0, 0], start[1, 0], start[2, 0]
    yx, yy, yz = start[0, 1], start[1, 1], start[2, 1]
    zx, zy, zz = start[0, 2], start[1, 2], start[2, 2]
    px, py, pz = start[0, 3], start[1, 3], start[2, 3]
    for i in range(n):
        # Park the joint's origin and axis in its column; the tip is not known yet.
        J[0, i], J[1, i], J[2, i] = px, py, pz
        J[3, i], J[4, i], J[5, i] = zx, zy, zz
        if prismatic[i]:
            d = q[i]
            px += d * zx
            py += d * zy
            pz += d * zz
        else:
            c = math.cos(q[i])
            s = math.sin(q[i])
            xx, yx = c * xx + s * yx, c * yx - s * xx
            xy, yy = c * xy + s * yy, c * yy - s * xy
            xz, yz = c * xz + s * yz, c * yz - s * xz
        step = fixed[i + 1]
        px += step[0, 3] * xx + step[1, 3] * yx + step[2, 3] * zx
        py += step[0, 3] * xy + step[1, 3] * yy + step[2, 3] * zy
        pz += step[0, 3] * xz + step[1, 3] * yz + step[2, 3] * zz
        ax = step[0, 0] * xx + step[1, 0] * yx + step[2, 0] * zx
        ay = step[0, 0] * xy + step[1, 0] * yy + step[2, 0] * zy
        az = step[0, 0] * xz + step[1, 0] * yz + step[2, 0] * zz
        bx = step[0, 1] * xx + step[1, 1] * yx + step[2, 1] * zx
        by = step[0, 1] * xy + step[1, 1] * yy + step[2, 1] * zy
        bz = step[0, 1] * xz + step[1, 1] * yz + step[2, 1] * zz
        cx = step[0, 2] * xx + step[1, 2] * yx + step[2, 2] * zx
        cy = step[0, 2] * xy + step[1, 2] * yy + step[2, 2] * zy
        cz = step[0, 2] * xz + step[1, 2] * yz + step[2, 2] * zz
        xx, xy, xz = ax, ay, az
        yx, yy, yz = bx, by, bz
        zx, zy, zz = cx, cy, cz
    T[0, 0], T[1, 0], T[2, 0], T[3, 0] = xx, xy, xz, 0.0
    T[0, 1], T[1, 1], T[2, 1], T[3, 1] = yx, yy, yz, 0.0
    T[0, 2], T[1, 2], T[2, 2], T[3, 2] = zx, zy, zz, 0.0
    T[0, 3], T[1, 3], T[2, 3], T[3, 3] = px, py, pz, 1.0
    for i in range(n):
        wx, wy, wz = J[3, i], J[4, i], J[5, i]
        if prismatic[i]:
            J[0, i], J[1, i], J[2, i] = wx, wy, wz
            J[3, i], J[4, i], J[5, i] = 0.0, 0.0, 0.0
        else:
            rx, ry, rz = px - J[0, i], py - J[1, i], pz - J[2, i]
            J[0, i] = wy * rz - wz * ry
            J[1, i] = wz * rx - wx * rz
            J[2, i] = wx * ry - wy * rx


@njit(cache=True, fastmath=FASTMATH)
def fk_frames(fixed: Floats, prismatic: Bools, q: Floats, Ts: Floats) -> None:
    """Write the frames behind each joint, in the base, into ``Ts`` (n+1, 4, 4).

    ``Ts[0]`` is the identity (the base), ``Ts[i + 1] = Ts[i] fixed[i] Rz(q_i)``; the tip is
    ``Ts[n] fixed[n]``. Whatever is bolted to the arm is constant in one of these frames.
    """
    Ts[0] = 0.0
    for k in range(4):
        Ts[0, k, k] = 1.0
    for i in range(q.shape[0]):
        A, F, B = Ts[i], fixed[i], Ts[i + 1]
        for r in range(3):
            for k in range(4):
                B[r, k] = A[r, 0] * F[0, k] + A[r, 1] * F[1, k] + A[r, 2] * F[2, k]
            B[r, 3] += A[r, 3]
            if prismatic[i]:
                B[r, 3] += q[i] * B[r, 2]
            else:
                x, y = B[r, 0], B[r, 1]
                c, s = math.cos(q[i]), math.sin(q[i])
                B[r, 0], B[r, 1] = c * x + s * y, c * y - s * x
        B[3, 0], B[3, 1], B[3, 2], B[3, 3] = 0.0, 0.0, 0.0, 1.0


@njit(cache=True, fastmath=FASTMATH)
def fk_batch(fixed: Floats, prismatic: Bools, q: Floats, Ts: Floats) -> None:
    """Write Ts_base_tip (N, 4, 4) of joint positions ``q`` (N, n) into ``Ts``."""
    for k in range(q.shape[0]):
        fk(fixed, prismatic, q[k], Ts[k])


@njit(cache=True, fastmath=FASTMATH)
def fk_jacobian_batch(fixed: Floats, prismatic: Bools, q: Floats, Ts: Floats, Js: Floats) -> None:
    """Write Ts_base_tip (N, 4, 4) and Jacobians (N, 6, n) of joint positions ``q`` (N, n)."""
    for k in range(q.shape[0]):
        fk_jacobian(fixed, prismatic, q[k], Ts[k], Js[k])
