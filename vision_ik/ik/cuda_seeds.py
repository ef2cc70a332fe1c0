# type: ignore  # Warp compiles the functions below; types are values in them, which a type checker cannot follow.
# No `from __future__ import annotations`: Warp reads the types of its functions from their annotations.
"""Learned seeds as Warp functions, one thread a target: which heads go first, and the postures they stand for."""

from functools import cache
from typing import Any

import numpy as np
import warp as wp

from vision_ik.ik.cuda_network import Shape, Weights, features, head_of, trunk_of
from vision_ik.ik.cuda_refine import Pose, Pose32, f32, f64, i32, types_of, unwind_of, warp_module
from vision_ik.ik.search import PLAUSIBLE_HEADS, PLAUSIBLE_ODDS

_TWO_PI = f32(2.0 * np.pi)
_FAR = f32(1e30)
Near, NearHeads = wp.types.vector(PLAUSIBLE_HEADS, f32), wp.types.vector(PLAUSIBLE_HEADS, i32)


@wp.func(module=warp_module("seeds"))
def into_limits(angle: f32, lower: f32, upper: f32, slides: bool):
    """Return ``angle`` inside the limits: turned by whole turns where that does it, else at the nearer limit."""
    inside = wp.min(wp.max(angle, lower), upper)
    if not slides and inside != angle:
        turns = wp.ceil(wp.max(lower - angle, angle - upper) / _TWO_PI) * wp.sign(inside - angle)
        turned = angle + _TWO_PI * turns
        if turned >= lower and turned <= upper:
            inside = turned
        else:  # between two turns: `turned` lies beyond the one limit, a turn before it beyond the other
            back = turned - _TWO_PI * wp.sign(turns)
            if wp.max(turned - upper, lower - turned) < wp.max(back - upper, lower - back):
                inside = wp.min(wp.max(turned, lower), upper)
    return inside


@cache
def outer_joints_of(n: int) -> Any:
    """Return ``(arm, M, q) -> (first, last)``: the outer joints for which the middle ones come closest to ``M``."""
    types = types_of(n)
    Arm, Joints = types.arm, types.joints32

    @wp.func(module=warp_module(f"seeds{n}"), name=f"outer_joints{n}")
    def outer_joints(arm: Arm, M: Pose32, q: Joints):
        F = arm.fixed32
        x = wp.vec3(F[1, 0], F[1, 4], F[1, 8])
        y = wp.vec3(F[1, 1], F[1, 5], F[1, 9])
        z = wp.vec3(F[1, 2], F[1, 6], F[1, 10])
        p = wp.vec3(F[1, 3], F[1, 7], F[1, 11])
        for i in range(1, n - 1):
            if ((arm.prismatic >> i) & 1) == 1:
                p = p + q[i] * z
            else:
                c = wp.cos(q[i])
                s = wp.sin(q[i])
                turned = c * x + s * y
                y = c * y - s * x
                x = turned
            p = p + F[i + 1, 3] * x + F[i + 1, 7] * y + F[i + 1, 11] * z
            a = F[i + 1, 0] * x + F[i + 1, 4] * y + F[i + 1, 8] * z
            b = F[i + 1, 1] * x + F[i + 1, 5] * y + F[i + 1, 9] * z
            z = F[i + 1, 2] * x + F[i + 1, 6] * y + F[i + 1, 10] * z
            x = a
            y = b
        turn = wp.atan2(p[0] * M[1, 3] - p[1] * M[0, 3], p[0] * M[0, 3] + p[1] * M[1, 3])
        c = wp.cos(turn)
        s = wp.sin(turn)
        # Columns x and y of the target, turned back by the first joint.
        t = wp.vec3(c * M[0, 0] + s * M[1, 0], c * M[1, 0] - s * M[0, 0], M[2, 0])
        u = wp.vec3(c * M[0, 1] + s * M[1, 1], c * M[1, 1] - s * M[0, 1], M[2, 1])
        return turn, wp.atan2(wp.dot(y, t) - wp.dot(x, u), wp.dot(x, t) + wp.dot(y, u))

    return outer_joints


@cache
def complete_of(shape: Shape) -> Any:
    """Return ``(arm, M, q) -> q`` (n,), all joints and inside the limits, from what a head proposes."""
    n, symmetric, outputs = shape.joints, shape.symmetric, shape.outputs
    first, last = int(shape.symmetric), shape.joints - 1
    types = types_of(n)
    Arm, Joints32, Joints = types.arm, types.joints32, types.joints
    outer_joints = outer_joints_of(n)

    @wp.func(module=warp_module(f"seeds{n}"), name=f"complete_{shape.key}")
    def complete(arm: Arm, M: Pose32, proposed: Joints32):
        q = Joints32()
        for i in range(outputs):
            j = first + i
            slides = ((arm.prismatic >> j) & 1) == 1
            q[j] = into_limits(proposed[j], arm.lower32[j], arm.upper32[j], slides)
        if wp.static(symmetric):
            turn, roll = outer_joints(arm, M, q)
            q[0] = into_limits(turn, arm.lower32[0], arm.upper32[0], False)
            q[last] = into_limits(roll, arm.lower32[last], arm.upper32[last], False)
        exact = Joints()
        for i in range(n):
            exact[i] = wp.min(wp.max(f64(q[i]), arm.lower[i]), arm.upper[i])
        return exact

    return complete


@cache
def propose_kernel(shape: Shape) -> Any:
    """Return the kernel that writes ``seeds`` (rows, slots): the first ``used`` heads in the order of `search`.

    With a start plausible heads come first, the nearest to the start first; then the others by their odds; then, where
    there is a slot left, the start itself. With one slot, rows whose start goes first are left as they are.
    """
    n, heads, symmetric, outputs = shape.joints, shape.heads, shape.symmetric, shape.outputs
    first = int(symmetric)
    types = types_of(n)
    Arm, Joints = types.arm, types.joints
    trunk, head_joints, complete, unwind = trunk_of(shape), head_of(shape), complete_of(shape), unwind_of(n)

    @wp.func(module=warp_module(f"seeds{n}"), name=f"inner_distance_{shape.key}")
    def inner_distance(arm: Arm, proposed: types.joints32, reference: Joints):
        distance = f32(0.0)
        for i in range(outputs):
            d = proposed[first + i] - f32(reference[first + i])
            if ((arm.prismatic >> (first + i)) & 1) == 0:
                d -= _TWO_PI * wp.round(d / _TWO_PI)
            distance += d * d
        return distance

    @wp.kernel(
        module=warp_module(f"propose_{shape.key}"),
        name=f"propose_{shape.key}",
        enable_backward=False,
        grid_stride=False,
    )
    def propose(
        arm: Arm,
        W: Weights,
        inputs: int,
        units: int,
        has_start: int,
        used: int,
        items: wp.array(dtype=i32),
        targets: wp.array(dtype=Pose),
        references: wp.array(dtype=Joints),
        skip: wp.array(dtype=i32),
        seeds: wp.array2d(dtype=Joints),
    ):
        row = wp.tid()
        item = items[row]
        if skip[item] != 0 and seeds.shape[1] == 1:
            return
        reference = references[item]
        M, x = features(arm.ends, arm.reach, wp.static(symmetric), Pose32(targets[item]))
        h, logits = trunk(W, inputs, units, x)
        least = f32(PLAUSIBLE_ODDS)
        highest = f32(-_FAR)
        for head in range(heads):
            highest = wp.max(highest, logits[head])
        least = wp.min(least, highest)

        near = NearHeads()
        distances = Near()
        for k in range(PLAUSIBLE_HEADS):
            near[k] = -1
            distances[k] = _FAR
        count = i32(0)
        for head in range(heads):
            if has_start != 0 and logits[head] >= least:
                distance = inner_distance(arm, head_joints(W, units, h, head, arm), reference)
                candidate = i32(head)
                for k in range(PLAUSIBLE_HEADS):  # insertion: the farther one moves on
                    if distance < distances[k]:
                        farther = distances[k]
                        other = near[k]
                        distances[k] = distance
                        near[k] = candidate
                        distance = farther
                        candidate = other
                count = wp.min(count + 1, PLAUSIBLE_HEADS)
        for k in range(count):
            logits[near[k]] = -_FAR
            posture = complete(arm, M, head_joints(W, units, h, near[k], arm))
            posture, full = unwind(arm, posture, reference)
            distances[k] = f32(full)

        if used < seeds.shape[1]:
            seeds[row, used] = reference
        for slot in range(used):
            if slot < count:
                nearest = i32(0)
                for k in range(1, count):
                    if distances[k] < distances[nearest]:
                        nearest = k
                distances[nearest] = _FAR
                posture = complete(arm, M, head_joints(W, units, h, near[nearest], arm))
                posture, _full = unwind(arm, posture, reference)
                seeds[row, slot] = posture
            else:
                best = i32(0)
                for head in range(1, heads):
                    if logits[head] > logits[best]:
                        best = head
                logits[best] = -_FAR
                seeds[row, slot] = complete(arm, M, head_joints(W, units, h, best, arm))

    return propose
