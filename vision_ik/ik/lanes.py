"""Refinement of sixteen seeds at once: the arithmetic of `vision_ik.ik.kernels` laid out over lanes.

Every quantity has one row of `LANES` numbers, one for each seed, and every innermost loop runs over a
row, so that the compiler turns it into vector instructions. For it to see that this is safe, arrays are
flat and rows are addressed as ``constant * LANES + lane`` (or through slices); two-dimensional indexing
defeats it and costs a factor of five. Lanes never mix: a lane's result does not depend on its neighbours.

Sine, cosine and arc tangent are polynomials, because library calls do not vectorise. Sine and cosine are
exact to two units in the last place for the angles of joints; the arc tangent (2e-8) only sets the length
of a step far from the target, near it a series takes over.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from vision_ik.ik.kernels import LENGTH
from vision_ik.robots.kernels import Bools
from vision_ik.types import Floats

LANES = 16
"""Two 512-bit registers of doubles; with fewer the compiler unrolls the loops instead of vectorising them."""

# Rows of `Lanes.state`, in units of LANES.
_N = LANES
XX, XY, XZ, YX, YY, YZ, ZX, ZY, ZZ, PX, PY, PZ = (k * _N for k in range(12))  # frame reached so far
TXX, TXY, TXZ, TYX, TYY, TYZ, TZX, TZY, TZZ, TPX, TPY, TPZ = (k * _N for k in range(12, 24))  # target
E = 24 * _N  # weighted error, 6 rows
EN = 30 * _N  # the same at the trial posture
B = 36 * _N  # right-hand side, 6 rows
Y = 42 * _N  # its solution, 6 rows
H = 48 * _N  # normal matrix, lower half by rows, 21 rows
COST, METRES, RADIANS = 69 * _N, 70 * _N, 71 * _N
COST_N, METRES_N, RADIANS_N = 72 * _N, 73 * _N, 74 * _N
FACTOR, STALLED, DAMP = 75 * _N, 76 * _N, 77 * _N
WORST, EXCESS, LONGEST, FRESH = 78 * _N, 79 * _N, 80 * _N, 81 * _N
STEPS, NEW = 82 * _N, 83 * _N
C = 84 * _N  # column of the joint pinned last, 6 rows
FIRST = 90 * _N  # 1 until a step's limits have been looked at once
ROWS = 91

# Rows of each joint in `Lanes.joints`.
Q, QN, FREE, SEED = 0 * _N, 1 * _N, 2 * _N, 3 * _N
PER_JOINT = 4

_FAST = {"contract", "nsz", "reassoc", "arcp"}
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
_inlined = njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST, inline="always")


class Lanes(NamedTuple):
    """Work space of sixteen refinements."""

    state: Floats
    """(ROWS * LANES,)"""
    joints: Floats
    """(n * PER_JOINT * LANES,): posture, trial posture, 1 where the joint is free, seed."""
    J: Floats
    """(n * 6 * LANES,): Jacobian by joints, position rows weighted."""
    J_trial: Floats
    """The same at the trial posture."""


@_compiled
def make_lanes(n: int) -> Lanes:
    """Return cleared work space for an arm of ``n`` joints."""
    return Lanes(
        np.zeros(ROWS * LANES), np.zeros(n * PER_JOINT * LANES), np.zeros(n * 6 * LANES), np.zeros(n * 6 * LANES)
    )


@_inlined
def sincos(x: float) -> tuple[float, float]:
    """Return sine and cosine of ``x`` by the fdlibm polynomials after taking out quarter turns."""
    k = np.rint(x * (2.0 / math.pi))
    y = x - k * 1.5707963267948966
    y = y - k * 6.123233995736766e-17
    z = y * y
    s = 1.58969099521155010221e-10 * z - 2.50507602534068634195e-08
    s = s * z + 2.75573137070700676789e-06
    s = s * z - 1.98412698298579493134e-04
    s = s * z + 8.33333333332248946124e-03
    s = y + y * z * (s * z - 1.66666666666666324348e-01)
    c = 2.08757232129817482790e-09 - 1.13596475577881948265e-11 * z
    c = c * z - 2.75573143513906633035e-07
    c = c * z + 2.48015872894767294178e-05
    c = c * z - 1.38888888888741095749e-03
    c = 1.0 - 0.5 * z + z * z * (c * z + 4.16666666666666019037e-02)
    quarter = k - 4.0 * np.floor(0.25 * k)  # 0, 1, 2 or 3
    odd = quarter - 2.0 * np.floor(0.5 * quarter)
    sine = c if odd > 0.5 else s
    cosine = s if odd > 0.5 else c
    sine = -sine if quarter > 1.5 else sine
    cosine = -cosine if abs(quarter - 1.5) < 1.0 else cosine
    return sine, cosine


@_inlined
def arctan2(y: float, x: float) -> float:
    """Return the angle of (x, y) to 2e-8: halved once, then seven terms of the series."""
    a, b = abs(x), abs(y)
    small, large = min(a, b), max(max(a, b), 1e-300)
    t = small / large
    t = t / (1.0 + math.sqrt(1.0 + t * t))
    z = t * t
    p = 1.0 / 13.0 - z * (1.0 / 15.0)
    p = 1.0 / 11.0 - z * p
    p = 1.0 / 9.0 - z * p
    p = 1.0 / 7.0 - z * p
    p = 1.0 / 5.0 - z * p
    p = 1.0 / 3.0 - z * p
    angle = 2.0 * (t - t * z * p)
    angle = 0.5 * math.pi - angle if b > a else angle
    angle = math.pi - angle if x < 0.0 else angle
    return -angle if y < 0.0 else angle


@_compiled
def fk_jacobian(fixed: Floats, prismatic: Bools, row: int, s: Floats, joints: Floats, J: Floats) -> None:
    """Write the tip's frame into ``s`` and the Jacobian into ``J`` for the postures in ``row`` (Q or QN) of ``joints``.

    The position rows of the Jacobian are divided by `LENGTH`.
    """
    n = prismatic.shape[0]
    weight = 1.0 / LENGTH
    F = fixed[0]
    for l in range(LANES):
        s[XX + l], s[XY + l], s[XZ + l] = F[0, 0], F[1, 0], F[2, 0]
        s[YX + l], s[YY + l], s[YZ + l] = F[0, 1], F[1, 1], F[2, 1]
        s[ZX + l], s[ZY + l], s[ZZ + l] = F[0, 2], F[1, 2], F[2, 2]
        s[PX + l], s[PY + l], s[PZ + l] = F[0, 3], F[1, 3], F[2, 3]
    for i in range(n):
        F = fixed[i + 1]
        f00, f01, f02, f03 = F[0, 0], F[0, 1], F[0, 2], F[0, 3]
        f10, f11, f12, f13 = F[1, 0], F[1, 1], F[1, 2], F[1, 3]
        f20, f21, f22, f23 = F[2, 0], F[2, 1], F[2, 2], F[2, 3]
        q = joints[PER_JOINT * LANES * i + row : PER_JOINT * LANES * i + row + LANES]
        Ji = J[6 * LANES * i : 6 * LANES * (i + 1)]
        # A sliding joint turns by nothing and shifts by q, a turning one the other way round.
        turns = 0.0 if prismatic[i] else 1.0
        slides = 1.0 - turns
        for l in range(LANES):
            sine, cosine = sincos(turns * q[l])
            shift = slides * q[l]
            xx, xy, xz = s[XX + l], s[XY + l], s[XZ + l]
            yx, yy, yz = s[YX + l], s[YY + l], s[YZ + l]
            zx, zy, zz = s[ZX + l], s[ZY + l], s[ZZ + l]
            px, py, pz = s[PX + l] + shift * zx, s[PY + l] + shift * zy, s[PZ + l] + shift * zz
            # The joint's origin and axis, parked in its column until the tip is known.
            Ji[l], Ji[_N + l], Ji[2 * _N + l] = px, py, pz
            Ji[3 * _N + l], Ji[4 * _N + l], Ji[5 * _N + l] = zx, zy, zz
            ux, uy, uz = cosine * xx + sine * yx, cosine * xy + sine * yy, cosine * xz + sine * yz
            vx, vy, vz = cosine * yx - sine * xx, cosine * yy - sine * xy, cosine * yz - sine * xz
            s[PX + l] = px + f03 * ux + f13 * vx + f23 * zx
            s[PY + l] = py + f03 * uy + f13 * vy + f23 * zy
            s[PZ + l] = pz + f03 * uz + f13 * vz + f23 * zz
            s[XX + l] = f00 * ux + f10 * vx + f20 * zx
            s[XY + l] = f00 * uy + f10 * vy + f20 * zy
            s[XZ + l] = f00 * uz + f10 * vz + f20 * zz
            s[YX + l] = f01 * ux + f11 * vx + f21 * zx
            s[YY + l] = f01 * uy + f11 * vy + f21 * zy
            s[YZ + l] = f01 * uz + f11 * vz + f21 * zz
            s[ZX + l] = f02 * ux + f12 * vx + f22 * zx
            s[ZY + l] = f02 * uy + f12 * vy + f22 * zy
            s[ZZ + l] = f02 * uz + f12 * vz + f22 * zz
    for i in range(n):
        Ji = J[6 * LANES * i : 6 * LANES * (i + 1)]
        turns = 0.0 if prismatic[i] else 1.0
        slides = weight * (1.0 - turns)
        turning = weight * turns
        for l in range(LANES):
            rx, ry, rz = s[PX + l] - Ji[l], s[PY + l] - Ji[_N + l], s[PZ + l] - Ji[2 * _N + l]
            zx, zy, zz = Ji[3 * _N + l], Ji[4 * _N + l], Ji[5 * _N + l]
            Ji[l] = turning * (zy * rz - zz * ry) + slides * zx
            Ji[_N + l] = turning * (zz * rx - zx * rz) + slides * zy
            Ji[2 * _N + l] = turning * (zx * ry - zy * rx) + slides * zz
            Ji[3 * _N + l], Ji[4 * _N + l], Ji[5 * _N + l] = turns * zx, turns * zy, turns * zz


@_compiled
def pose_error(s: Floats) -> None:
    """Write the weighted error of the frame reached, its cost and its norms, to the rows of the trial posture."""
    weight = 1.0 / LENGTH
    for l in range(LANES):
        wx = 0.5 * (
            s[XY + l] * s[TXZ + l]
            - s[XZ + l] * s[TXY + l]
            + s[YY + l] * s[TYZ + l]
            - s[YZ + l] * s[TYY + l]
            + s[ZY + l] * s[TZZ + l]
            - s[ZZ + l] * s[TZY + l]
        )
        wy = 0.5 * (
            s[XZ + l] * s[TXX + l]
            - s[XX + l] * s[TXZ + l]
            + s[YZ + l] * s[TYX + l]
            - s[YX + l] * s[TYZ + l]
            + s[ZZ + l] * s[TZX + l]
            - s[ZX + l] * s[TZZ + l]
        )
        wz = 0.5 * (
            s[XX + l] * s[TXY + l]
            - s[XY + l] * s[TXX + l]
            + s[YX + l] * s[TYY + l]
            - s[YY + l] * s[TYX + l]
            + s[ZX + l] * s[TZY + l]
            - s[ZY + l] * s[TZX + l]
        )
        trace = (
            s[XX + l] * s[TXX + l]
            + s[XY + l] * s[TXY + l]
            + s[XZ + l] * s[TXZ + l]
            + s[YX + l] * s[TYX + l]
            + s[YY + l] * s[TYY + l]
            + s[YZ + l] * s[TYZ + l]
            + s[ZX + l] * s[TZX + l]
            + s[ZY + l] * s[TZY + l]
            + s[ZZ + l] * s[TZZ + l]
        )
        cosine, sine2 = 0.5 * (trace - 1.0), wx * wx + wy * wy + wz * wz
        sine = math.sqrt(sine2)
        series = 1.0 + sine2 * (1.0 / 6.0 + sine2 * (3.0 / 40.0 + sine2 * (15.0 / 336.0)))
        angle = arctan2(sine, cosine)
        scale = angle / max(sine, 1e-30)
        near = cosine > 0.99
        scale = series if near else scale
        angle = sine * series if near else angle
        ex, ey, ez = s[TPX + l] - s[PX + l], s[TPY + l] - s[PY + l], s[TPZ + l] - s[PZ + l]
        squared = ex * ex + ey * ey + ez * ez
        s[EN + l], s[EN + _N + l], s[EN + 2 * _N + l] = weight * ex, weight * ey, weight * ez
        s[EN + 3 * _N + l], s[EN + 4 * _N + l], s[EN + 5 * _N + l] = scale * wx, scale * wy, scale * wz
        s[METRES_N + l], s[RADIANS_N + l] = math.sqrt(squared), angle
        s[COST_N + l] = weight * weight * squared + angle * angle
