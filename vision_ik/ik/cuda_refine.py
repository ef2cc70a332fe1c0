# type: ignore  # Warp compiles the functions below; types are values in them, which a type checker cannot follow.
# No `from __future__ import annotations`: Warp reads the types of its functions from their annotations.
"""Refinement as Warp functions, one thread a posture: the formulae of `vision_ik.ik.kernels`.

Warp compiles the Python below for CUDA, and for the CPU, where it is tested. The number of joints is a constant
of the generated code, so that loops over joints unroll and vectors stay in registers: each number of joints is a
Warp module of its own, compiled once and kept in Warp's kernel cache. The arm itself travels as a kernel argument:
on the GPU its numbers come from constant memory, and arms of one size share their code.

Steps run in float32 until the error is small, then in float64. The Jacobian stays float32 throughout: a step need
not be exact, only the error it starts from. Its normal matrix does not, since near singular postures rounding would
swallow the directions that are nearly lost.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import warp as wp

from vision_ik.ik.kernels import DAMPING, GROWTH, LENGTH, MAX_STEP, MIN_DAMPING, PATIENCE, STALL

f32, f64, i32, flag = wp.float32, wp.float64, wp.int32, wp.bool
Ends = wp.types.matrix((2, 12), f32)
vec6 = wp.types.vector(6, f32)
Pose, Pose32 = wp.types.matrix((3, 4), f64), wp.types.matrix((3, 4), f32)

COARSE = 1e-4
"""[m], [rad] Error at which float64 takes over."""
MIN_DAMPING32 = 1e-6
"""Takes the place of `vision_ik.ik.kernels.MIN_DAMPING` in float32, which would not notice that."""
_WEIGHT = 1.0 / LENGTH
_PI = math.pi
_TURN = f64(2.0 * math.pi)


def warp_module(name: str) -> Any:
    """Return the Warp module ``vision_ik_NAME``, without gradients."""
    module = wp.get_module(f"vision_ik_{name}")
    module.options["enable_backward"] = False
    return module


class Types(NamedTuple):
    """Warp types of an arm with a given number of joints."""

    arm: Any
    """Struct: all that is constant of an arm."""
    joints: Any
    """(n,) float64"""
    joints32: Any
    fixed: Any
    """(n+1, 12) float64, rows of the chain's constant (3, 4) transforms."""
    fixed32: Any
    ends: Any
    """(2, 12) float32, inverses of the first and the last constant transform."""
    jacobian: Any
    """(6, n) float32, position rows weighted."""


@cache
def types_of(n: int) -> Types:
    """Return the types of arms with ``n`` joints; always the same objects, since kernels compare them by identity."""
    Joints, Joints32 = wp.types.vector(n, f64), wp.types.vector(n, f32)
    Fixed, Fixed32 = wp.types.matrix((n + 1, 12), f64), wp.types.matrix((n + 1, 12), f32)

    @wp.struct
    class Arm:
        fixed: Fixed
        fixed32: Fixed32
        ends: Ends
        lower: Joints
        upper: Joints
        lower32: Joints32
        upper32: Joints32
        centre: Joints32  # of the range that seeds are drawn from
        half: Joints32
        reach: f32
        prismatic: int  # bit i: joint i slides

    return Types(Arm, Joints, Joints32, Fixed, Fixed32, Ends, wp.types.matrix((6, n), f32))


@cache
def measure_of(n: int, real: Any) -> Any:
    """Return the function ``(fixed, prismatic, target, q) -> (J, e, error_m, error_rad)``, poses in ``real``.

    ``J`` (6, n) is the geometric Jacobian in base axes and ``e`` (6,) the twist to the target, both with the position
    rows weighted, both float32 whatever ``real`` is: near the target ``e`` is small, and its own rounding smaller.
    """
    types = types_of(n)
    Fixed, Joints = (types.fixed, types.joints) if real is f64 else (types.fixed32, types.joints32)
    Target, Jacobian, vec3 = (Pose if real is f64 else Pose32), types.jacobian, wp.types.vector(3, real)
    module = warp_module(f"measure{n}")
    rotation_error = _rotation_error(real)

    @wp.func(module=module, name=f"measure{n}_{real.__name__}")
    def measure(fixed: Fixed, prismatic: int, target: Target, q: Joints):
        # Columns x, y, z of the rotation and the origin p of the frame reached so far.
        x = vec3(fixed[0, 0], fixed[0, 4], fixed[0, 8])
        y = vec3(fixed[0, 1], fixed[0, 5], fixed[0, 9])
        z = vec3(fixed[0, 2], fixed[0, 6], fixed[0, 10])
        p = vec3(fixed[0, 3], fixed[0, 7], fixed[0, 11])
        J = Jacobian()
        for i in range(n):
            for r in range(3):  # park the joint's origin and axis; the tip is not known yet
                J[r, i] = f32(p[r])
                J[3 + r, i] = f32(z[r])
            if ((prismatic >> i) & 1) == 1:
                p = p + q[i] * z
            else:
                c = wp.cos(q[i])
                s = wp.sin(q[i])
                turned = c * x + s * y
                y = c * y - s * x
                x = turned
            p = p + fixed[i + 1, 3] * x + fixed[i + 1, 7] * y + fixed[i + 1, 11] * z
            a = fixed[i + 1, 0] * x + fixed[i + 1, 4] * y + fixed[i + 1, 8] * z
            b = fixed[i + 1, 1] * x + fixed[i + 1, 5] * y + fixed[i + 1, 9] * z
            z = fixed[i + 1, 2] * x + fixed[i + 1, 6] * y + fixed[i + 1, 10] * z
            x = a
            y = b
        tip = wp.vec3(f32(p[0]), f32(p[1]), f32(p[2]))
        for i in range(n):
            w = wp.vec3(J[3, i], J[4, i], J[5, i])
            v = w
            if ((prismatic >> i) & 1) == 1:
                w = wp.vec3()
            else:
                v = wp.cross(w, tip - wp.vec3(J[0, i], J[1, i], J[2, i]))
            for r in range(3):
                J[r, i] = f32(_WEIGHT) * v[r]
                J[3 + r, i] = w[r]
        d = vec3(target[0, 3], target[1, 3], target[2, 3]) - p
        w_error = rotation_error(target, x, y, z)
        e = vec6()
        for r in range(3):
            e[r] = f32(_WEIGHT) * f32(d[r])
            e[3 + r] = f32(w_error[r])
        return J, e, f32(wp.length(d)), f32(wp.length(w_error))

    return measure


@cache
def _rotation_error(real: Any) -> Any:
    """Return the function ``(target, x, y, z) -> w``, the rotation vector from the axes x, y, z to the target's."""
    Target, vec3 = (Pose if real is f64 else Pose32), wp.types.vector(3, real)

    @wp.func(module=warp_module("measure"), name=f"rotation_error_{real.__name__}")
    def rotation_error(target: Target, x: vec3, y: vec3, z: vec3):
        a = vec3(target[0, 0], target[1, 0], target[2, 0])
        b = vec3(target[0, 1], target[1, 1], target[2, 1])
        c = vec3(target[0, 2], target[1, 2], target[2, 2])
        w = real(0.5) * (wp.cross(x, a) + wp.cross(y, b) + wp.cross(z, c))  # the axis times the sine of the angle
        cos = real(0.5) * (wp.dot(x, a) + wp.dot(y, b) + wp.dot(z, c) - real(1.0))
        sin2 = wp.dot(w, w)
        if cos > real(0.99):
            series = real(3.0) / real(40.0) + sin2 * (real(15.0) / real(336.0))
            w = w * (real(1.0) + sin2 * (real(1.0) / real(6.0) + sin2 * series))
        elif sin2 > real(1e-12):
            sin = wp.sqrt(sin2)
            w = w * (wp.atan2(sin, cos) / sin)
        else:  # half a turn: the sine vanishes, the axis is the largest column of E + I, E = R_target R_T^T
            longest = real(-1.0)
            for k in range(3):
                axis = x[k] * a + y[k] * b + z[k] * c
                axis[k] += real(1.0)
                length = wp.length(axis)
                if length > longest:
                    longest = length
                    w = axis * (real(_PI) / length)
        return w

    return rotation_error


@cache
def _solve6(real: Any) -> Any:
    """Return the function ``(H, b) -> y`` with ``H y = b``."""
    Matrix, Vector, tiny = wp.types.matrix((6, 6), real), wp.types.vector(6, real), 1e-12 if real is f32 else 1e-30

    @wp.func(module=warp_module("step"), name=f"solve6_{real.__name__}")
    def solve6(H: Matrix, b: Vector):
        """Solve by LDL^T for a symmetric positive definite ``H``, of which only the lower half is read."""
        y = Vector()
        for j in range(6):
            d = H[j, j]
            for k in range(j):
                d -= H[j, k] * H[j, k] * H[k, k]
            d = wp.max(d, real(tiny))
            H[j, j] = d
            for i in range(j + 1, 6):
                s = H[i, j]
                for k in range(j):
                    s -= H[i, k] * H[j, k] * H[k, k]
                H[i, j] = s / d
        for i in range(6):
            s = b[i]
            for k in range(i):
                s -= H[i, k] * y[k]
            y[i] = s
        for m in range(6):
            i = 5 - m
            s = y[i] / H[i, i]
            for k in range(i + 1, 6):
                s -= H[k, i] * y[k]
            y[i] = s
        return y

    return solve6


@cache
def step_of(n: int, real: Any) -> Any:
    """Return the function ``(J, e, q, lower, upper, damping) -> q``, the damped step with limits by an active set."""
    types = types_of(n)
    Joints, Jacobian = types.joints if real is f64 else types.joints32, types.jacobian
    Matrix, Vector, solve6 = wp.types.matrix((6, 6), real), wp.types.vector(6, real), _solve6(real)

    @wp.func(module=warp_module(f"step{n}"), name=f"step{n}_{real.__name__}")
    def step(J: Jacobian, e: vec6, q: Joints, lower: Joints, upper: Joints, damping: real):
        b = Vector()
        for r in range(6):
            b[r] = real(e[r])
        free = Joints()
        for i in range(n):
            free[i] = real(1.0)
        dq = Joints()
        passes = i32(0)
        while passes <= n:
            H = Matrix()
            for r in range(6):
                for c in range(r + 1):
                    s = real(0.0)
                    for i in range(n):
                        s += free[i] * real(J[r, i]) * real(J[c, i])
                    H[r, c] = s
                H[r, r] += damping
            y = solve6(H, b)
            worst = i32(-1)
            excess = real(0.0)
            for i in range(n):
                if free[i] > real(0.0):
                    d = real(0.0)
                    for r in range(6):
                        d += real(J[r, i]) * y[r]
                    dq[i] = d
                    over = wp.max(q[i] + d - upper[i], lower[i] - q[i] - d)
                    if over > excess:
                        worst = i
                        excess = over
            passes += 1
            if worst < 0:
                passes = n + 1
            for i in range(n):
                if i == worst:  # pin it at its limit and take its share out of e
                    dq[i] = wp.clamp(dq[i], lower[i] - q[i], upper[i] - q[i])
                    free[i] = real(0.0)
                    for r in range(6):
                        b[r] -= real(J[r, i]) * dq[i]
        longest = real(0.0)
        for i in range(n):
            longest = wp.max(longest, wp.abs(dq[i]))
        shrink = real(MAX_STEP) / wp.max(longest, real(MAX_STEP))
        moved = Joints()
        for i in range(n):
            moved[i] = wp.min(wp.max(q[i] + shrink * dq[i], lower[i]), upper[i])
        return moved

    return step


@cache
def refine_of(n: int, real: Any) -> Any:
    """Return ``(fixed, prismatic, lower, upper, target, q, limit, tolerance_m, tolerance_rad) -> (q, steps, m, rad)``.

    After a refused step the posture is measured again instead of keeping two Jacobians: refusals are rare, registers
    are few.
    """
    types = types_of(n)
    Fixed, Joints = (types.fixed, types.joints) if real is f64 else (types.fixed32, types.joints32)
    Target = Pose if real is f64 else Pose32
    measure, step = measure_of(n, real), step_of(n, real)
    least = MIN_DAMPING if real is f64 else MIN_DAMPING32

    @wp.func(module=warp_module(f"refine{n}"), name=f"refine{n}_{real.__name__}")
    def refine(
        fixed: Fixed,
        prismatic: int,
        lower: Joints,
        upper: Joints,
        target: Target,
        seed: Joints,
        limit: int,
        tolerance_m: f32,
        tolerance_rad: f32,
    ):
        q = Joints(seed)
        trial = Joints(seed)
        best_m = f32(1e9)
        best_rad = f32(1e9)
        cost = f32(1e18)
        factor = f32(1.0)
        stalled = i32(0)
        steps = i32(0)
        back = flag(False)
        running = flag(True)
        while running:
            J, e, m, rad = measure(fixed, prismatic, target, trial)
            new = wp.dot(e, e)
            if back or new < cost:
                if not back:
                    stalled = wp.where(new > f32(STALL) * cost, stalled + 1, 0)
                    factor = wp.max(f32(1.0), factor / f32(GROWTH))
                back = False
                cost = new
                best_m = m
                best_rad = rad
                for i in range(n):
                    q[i] = trial[i]
                running = (m > tolerance_m or rad > tolerance_rad) and steps < limit and stalled <= PATIENCE
                if running:
                    steps += 1
                    damping = real(factor * f32(DAMPING) * cost) + real(least)
                    trial = step(J, e, q, lower, upper, damping)
            else:
                stalled += 1
                factor *= f32(GROWTH)
                back = True
                for i in range(n):
                    trial[i] = q[i]
                running = stalled <= PATIENCE and steps < limit
        return q, steps, best_m, best_rad

    return refine


@cache
def unwind_of(n: int) -> Any:
    """Return the function ``(arm, q, reference) -> (q, squared distance)``: joints turned toward ``reference``."""
    types = types_of(n)
    Arm, Joints = types.arm, types.joints

    @wp.func(module=warp_module(f"unwind{n}"), name=f"unwind{n}")
    def unwind(arm: Arm, q: Joints, reference: Joints):
        distance = f64(0.0)
        for i in range(n):
            if ((arm.prismatic >> i) & 1) == 0:
                turns = wp.round((reference[i] - q[i]) / _TURN)
                # Limits cut the way short: fewer turns in the same direction.
                while wp.abs(turns) > f64(0.5):  # ends for NaN too
                    turned = q[i] + _TURN * turns
                    if turned >= arm.lower[i] and turned <= arm.upper[i]:
                        q[i] = turned
                        turns = f64(0.0)
                    else:
                        turns -= wp.sign(turns)
            d = q[i] - reference[i]
            distance += d * d
        return q, distance

    return unwind
