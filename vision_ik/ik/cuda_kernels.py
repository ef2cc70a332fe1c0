# type: ignore  # Warp compiles the functions below; types are values in them, which a type checker cannot follow.
# No `from __future__ import annotations`: Warp reads the types of its functions from their annotations.
"""The stages of a batched solve as Warp kernels: begin, (propose,) attempt, choose, gather what is left."""

from functools import cache
from typing import Any, NamedTuple

import warp as wp

from vision_ik.ik.cuda import OPEN
from vision_ik.ik.cuda_refine import (
    COARSE,
    Pose,
    Pose32,
    f32,
    f64,
    flag,
    i32,
    measure_of,
    refine_of,
    types_of,
    unwind_of,
    warp_module,
)
from vision_ik.ik.kernels import LENGTH
from vision_ik.ik.search import CONVERGED, HOLD_COST, HOLD_MARGIN, INVALID, NEAR_COST, NEAR_JOINT, RIGID_TOLERANCE

mat33d, mat44d = wp.types.matrix((3, 3), f64), wp.types.matrix((4, 4), f64)
vec2d = wp.types.vector(2, f64)
_WEIGHT2 = 1.0 / LENGTH**2


class Kernels(NamedTuple):
    """The kernels of one number of joints."""

    begin: Any
    attempt: Any
    choose: Any
    gather: Any
    pick: Any
    put: Any
    matrix: Any = mat44d
    """Type of a target that comes in."""
    pose: Any = Pose
    """Type of a checked one."""
    pair: Any = vec2d


@wp.func(module=warp_module("rigid"))
def rigid(matrix: mat44d):
    """Return whether ``matrix`` is a rigid transform, and the nearest one (3, 4)."""
    T = Pose()
    valid = flag(True)
    for r in range(3):
        for c in range(4):
            T[r, c] = matrix[r, c]
            if not wp.isfinite(matrix[r, c]):
                valid = False
    bottom = wp.abs(matrix[3, 0]) + wp.abs(matrix[3, 1]) + wp.abs(matrix[3, 2]) + wp.abs(matrix[3, 3] - f64(1.0))
    if not bottom <= f64(RIGID_TOLERANCE):
        valid = False
    R = mat33d()
    for r in range(3):
        for c in range(3):
            R[r, c] = T[r, c]
    S = wp.transpose(R) * R
    for r in range(3):
        for c in range(3):
            if not wp.abs(S[r, c] - f64(int(r == c))) <= f64(RIGID_TOLERANCE):
                valid = False
    if not wp.determinant(R) > f64(0.0):
        valid = False
    N = f64(1.5) * R - f64(0.5) * (R * S)  # one Newton step to the polar factor
    for r in range(3):
        for c in range(3):
            T[r, c] = N[r, c]
    return valid, T


@wp.kernel(module=warp_module("gather"), enable_backward=False, grid_stride=False)
def gather(status: wp.array(dtype=wp.int64), count: wp.array(dtype=i32), items: wp.array(dtype=i32)):
    """Write the indices of open targets to ``items``, in any order, and their number to ``count``."""
    item = wp.tid()
    if status[item] == wp.int64(OPEN):
        items[wp.atomic_add(count, 0, 1)] = item


@wp.kernel(module=warp_module("gather"), enable_backward=False, grid_stride=False)
def put(items: wp.array(dtype=i32), values: wp.array(dtype=wp.int64), status: wp.array(dtype=wp.int64)):
    """Write ``values`` (rows,) to the items they belong to."""
    row = wp.tid()
    status[items[row]] = values[row]


@cache
def kernels_of(n: int) -> Kernels:
    """Return the kernels for arms with ``n`` joints."""
    module = warp_module(f"ik{n}")
    return Kernels(_begin(n, module), _attempt(n, module), _choose(n, module), gather, _pick(n, module), put)


def _begin(n: int, module: Any) -> Any:
    types = types_of(n)
    Arm, Joints, Joints32 = types.arm, types.joints, types.joints32
    measure = measure_of(n, f32)

    @wp.kernel(module=module, name=f"begin{n}", enable_backward=False, grid_stride=False)
    def begin(
        arm: Arm,
        has_start: int,
        learned: int,
        Ts: wp.array(dtype=mat44d),
        starts: wp.array(dtype=Joints),
        targets: wp.array(dtype=Pose),
        references: wp.array(dtype=Joints),
        start_first: wp.array(dtype=i32),
        seeds: wp.array2d(dtype=Joints),
        scores: wp.array(dtype=f32),
        q: wp.array(dtype=Joints),
        status: wp.array(dtype=wp.int64),
        errors: wp.array(dtype=vec2d),
        steps: wp.array(dtype=wp.int64),
    ):
        """Check the target and decide whether the start goes before the network's seeds."""
        item = wp.tid()
        start = starts[wp.min(item, starts.shape[0] - 1)]
        valid, T = rigid(Ts[item])
        reference = Joints()
        near = Joints32()
        for i in range(n):
            if not wp.isfinite(start[i]):
                valid = False
            reference[i] = wp.min(wp.max(start[i], arm.lower[i]), arm.upper[i])
            near[i] = f32(reference[i])
        targets[item] = T
        references[item] = reference
        seeds[item, 0] = reference
        scores[item] = f32(wp.inf)
        steps[item] = wp.int64(0)
        if valid:
            status[item] = wp.int64(OPEN)
            q[item] = reference
            errors[item] = vec2d(f64(wp.inf), f64(wp.inf))
        else:
            status[item] = wp.int64(INVALID)
            for i in range(n):
                reference[i] = f64(wp.nan)
            q[item] = reference
            errors[item] = vec2d(f64(wp.nan), f64(wp.nan))
        first = i32(1)
        if learned != 0:
            first = i32(0)
            if has_start != 0 and valid:
                _J, e, _m, _rad = measure(arm.fixed32, arm.prismatic, Pose32(T), near)
                if wp.dot(e, e) < f32(NEAR_COST):
                    first = i32(1)
        start_first[item] = first

    return begin


def _attempt(n: int, module: Any) -> Any:
    types = types_of(n)
    Arm, Joints, Joints32 = types.arm, types.joints, types.joints32
    coarse, fine, unwind = refine_of(n, f32), refine_of(n, f64), unwind_of(n)

    @wp.kernel(module=module, name=f"attempt{n}", enable_backward=False, grid_stride=False)
    def attempt(
        arm: Arm,
        quick_limit: int,
        limit: int,
        tolerance_m: f32,
        tolerance_rad: f32,
        items: wp.array(dtype=i32),
        targets: wp.array(dtype=Pose),
        references: wp.array(dtype=Joints),
        seeds: wp.array2d(dtype=Joints),
        postures: wp.array2d(dtype=Joints),
        results: wp.array2d(dtype=wp.vec4),
    ):
        """Refine each seed by up to ``limit`` steps, ``quick_limit`` in float32; results: errors, steps, distance."""
        row, slot = wp.tid()
        item = items[row]
        target = targets[item]
        q = seeds[wp.min(row, seeds.shape[0] - 1), slot]
        rounded = Joints32()
        for i in range(n):
            rounded[i] = f32(q[i])
        quick, steps, m, rad = coarse(
            arm.fixed32,
            arm.prismatic,
            arm.lower32,
            arm.upper32,
            Pose32(target),
            rounded,
            quick_limit,
            f32(COARSE),
            f32(COARSE),
        )
        if steps > 0:  # else the seed was near already, and keeps its digits
            for i in range(n):
                q[i] = wp.min(wp.max(f64(quick[i]), arm.lower[i]), arm.upper[i])
        q, more, m, rad = fine(
            arm.fixed,
            arm.prismatic,
            arm.lower,
            arm.upper,
            target,
            q,
            limit - steps,
            tolerance_m,
            tolerance_rad,
        )
        q, distance = unwind(arm, q, references[item])
        postures[row, slot] = q
        results[row, slot] = wp.vec4(m, rad, f32(steps + more), f32(distance))

    return attempt


def _choose(n: int, module: Any) -> Any:
    Joints = types_of(n).joints

    @wp.kernel(module=module, name=f"choose{n}", enable_backward=False, grid_stride=False)
    def choose(
        hold: int,
        near_only: int,
        start_slot: int,
        tolerance_m: f32,
        tolerance_rad: f32,
        items: wp.array(dtype=i32),
        references: wp.array(dtype=Joints),
        start_first: wp.array(dtype=i32),
        postures: wp.array2d(dtype=Joints),
        results: wp.array2d(dtype=wp.vec4),
        scores: wp.array(dtype=f32),
        q: wp.array(dtype=Joints),
        status: wp.array(dtype=wp.int64),
        errors: wp.array(dtype=vec2d),
        steps: wp.array(dtype=wp.int64),
    ):
        """Take of each row the converged posture nearest to the reference, else the closest pose.

        With ``near_only`` a start that converged far from itself waits for what the network knows.
        """
        row = wp.tid()
        item = items[row]
        if status[item] != wp.int64(OPEN):
            return
        reference = references[item]
        best = i32(-1)
        score = scores[item]
        total = i32(0)
        nearest = f32(wp.inf)
        done = errors[item][0] <= f64(tolerance_m) and errors[item][1] <= f64(tolerance_rad)
        if done:  # a start that waited
            leap = q[item] - reference
            nearest = f32(wp.dot(leap, leap))
        for slot in range(results.shape[1]):
            result = results[row, slot]
            total += i32(result[2])
            if result[0] <= tolerance_m and result[1] <= tolerance_rad:
                if result[3] < nearest or not done:
                    best = slot
                    nearest = result[3]
                    score = f32(0.0)
                done = flag(True)
            elif not done:
                cost = f32(_WEIGHT2) * result[0] * result[0] + result[1] * result[1]
                if hold != 0 and (slot == start_slot or (start_slot < 0 and start_first[item] != 0)):
                    cost = f32(HOLD_COST) * cost - f32(HOLD_MARGIN)
                if cost < score:
                    best = slot
                    score = cost
        steps[item] = steps[item] + wp.int64(total)
        if best >= 0:
            q[item] = postures[row, best]
            errors[item] = vec2d(f64(results[row, best][0]), f64(results[row, best][1]))
            scores[item] = score
        if done and near_only != 0 and start_first[item] != 0:
            for i in range(n):
                if wp.abs(q[item][i] - reference[i]) > f64(NEAR_JOINT):
                    done = flag(False)
        if done:
            status[item] = wp.int64(CONVERGED)

    return choose


def _pick(n: int, module: Any) -> Any:
    Joints = types_of(n).joints

    @wp.kernel(module=module, name=f"pick{n}", enable_backward=False, grid_stride=False)
    def pick(
        items: wp.array(dtype=i32),
        targets: wp.array(dtype=Pose),
        q: wp.array(dtype=Joints),
        picked_targets: wp.array(dtype=Pose),
        picked_q: wp.array(dtype=Joints),
    ):
        """Copy targets and postures of ``items``."""
        row = wp.tid()
        picked_targets[row] = targets[items[row]]
        picked_q[row] = q[items[row]]

    return pick
