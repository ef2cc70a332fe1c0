# type: ignore  # Warp compiles the functions below; types are values in them, which a type checker cannot follow.
# No `from __future__ import annotations`: Warp reads the types of its functions from their annotations.
"""The seed network as Warp functions, one thread a target: `vision_ik.ik.seeds`.

A layer keeps all its outputs in registers and walks over its inputs. All threads want the same weight at the same
time, so one load of four weights serves a whole warp: sixteen loads for 64 x 32 multiply-adds of a layer 64 wide.
A tiled matrix product would do better still, but the network is less than a third of a solve.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import warp as wp

from vision_ik.ik.cuda_refine import Ends, Pose32, f32, types_of, warp_module
from vision_ik.ik.seeds import FEATURES, Floats32, Net

Inputs = wp.types.vector(FEATURES, f32)
Weights = wp.array(dtype=wp.vec4)


class Shape(NamedTuple):
    """What the generated code of a network depends on; widths are multiples of four."""

    joints: int
    width: int
    layers: int
    judges: int
    heads: int
    outputs: int
    """Joints a head proposes."""
    symmetric: bool

    @property
    def key(self) -> str:
        """A name for the Warp module."""
        return "_".join(str(int(part)) for part in self)


def lay_out(net: Net, joints: int) -> tuple[Shape, Floats32]:
    """Return the network's shape and its weights (K, 4): padded to whole fours, each head's matrix in one piece."""
    width, heads = net.first.shape[1], net.rank.shape[1]
    outputs = net.heads.shape[1] // heads
    shape = Shape(
        joints=joints,
        width=_fours(width),
        layers=net.hidden.shape[0],
        judges=_fours(net.judge.shape[1]),
        heads=heads,
        outputs=outputs,
        symmetric=net.symmetric,
    )
    hidden = [_padded(layer, shape.width, shape.width) for layer in net.hidden]
    seen = net.judge[FEATURES:]
    judge = np.concatenate([net.judge[:FEATURES], np.zeros((0, net.judge.shape[1]), np.float32)])
    judge = np.concatenate([_columns(judge, shape.judges), _padded(seen, shape.width, shape.judges)])
    rank = _padded(net.rank, shape.judges, _fours(heads))
    by_head = net.heads.reshape(width + 1, heads, outputs).transpose(1, 0, 2)
    proposals = [_padded(head, shape.width, _fours(outputs)) for head in by_head]
    parts = [_columns(net.first, shape.width), *hidden, judge, rank, *proposals]
    return shape, np.concatenate([part.ravel() for part in parts]).reshape(-1, 4)


def _fours(count: int) -> int:
    return -(-count // 4) * 4


def _columns(matrix: Floats32, columns: int) -> Floats32:
    """Return ``matrix`` with zero columns added."""
    return np.pad(matrix, ((0, 0), (0, columns - matrix.shape[1])))


def _padded(matrix: Floats32, rows: int, columns: int) -> Floats32:
    """Return ``matrix`` with zero columns, and zero rows between the weights and the last row, the bias."""
    weights = np.pad(matrix[:-1], ((0, rows - (len(matrix) - 1)), (0, 0)))
    return _columns(np.concatenate([weights, matrix[-1:]]), columns)


@wp.func(module=warp_module("seeds"))
def features(ends: Ends, reach: f32, symmetric: bool, target: Pose32):
    """Return the target between the ends of the chain (3, 4), and the network's input (FEATURES,)."""
    T = Pose32()
    M = Pose32()
    for r in range(3):
        for c in range(4):
            T[r, c] = (
                ends[0, 4 * r] * target[0, c] + ends[0, 4 * r + 1] * target[1, c] + ends[0, 4 * r + 2] * target[2, c]
            )
        T[r, 3] += ends[0, 4 * r + 3]
    for r in range(3):
        for c in range(4):
            M[r, c] = T[r, 0] * ends[1, c] + T[r, 1] * ends[1, 4 + c] + T[r, 2] * ends[1, 8 + c]
        M[r, 3] += T[r, 3]
    cos = f32(1.0)
    sin = f32(0.0)
    radius = wp.sqrt(M[0, 3] * M[0, 3] + M[1, 3] * M[1, 3])
    if symmetric and radius > f32(1e-9):
        cos = M[0, 3] / radius
        sin = M[1, 3] / radius
    x = Inputs()
    x[0] = (cos * M[0, 3] + sin * M[1, 3]) / reach
    x[1] = (cos * M[1, 3] - sin * M[0, 3]) / reach
    x[2] = M[2, 3] / reach
    for k in range(2):
        x[3 + 3 * k] = cos * M[0, 2 - 2 * k] + sin * M[1, 2 - 2 * k]
        x[4 + 3 * k] = cos * M[1, 2 - 2 * k] - sin * M[0, 2 - 2 * k]
        x[5 + 3 * k] = M[2, 2 - 2 * k]
    x[9] = cos
    x[10] = sin
    return M, x


@cache
def _accumulate(rows: int, columns: int) -> Any:
    """Return ``(W, at, bias, x, y) -> y + W^T x``, W (rows, columns) from ``at`` on; y is the bias at first."""
    In, Out, fours = wp.types.vector(rows, f32), wp.types.vector(columns, f32), columns // 4

    @wp.func(module=warp_module("seeds"), name=f"accumulate_{rows}_{columns}")
    def accumulate(W: Weights, at: int, count: int, x: In, start: Out):
        y = Out(start)
        for k in range(count):  # `count`, not `rows`: a constant would unroll this loop
            a = x[k]
            for j in range(fours):
                w = W[at + k * fours + j]
                y[4 * j] += a * w[0]
                y[4 * j + 1] += a * w[1]
                y[4 * j + 2] += a * w[2]
                y[4 * j + 3] += a * w[3]
        return y

    return accumulate


@cache
def _bias(columns: int) -> Any:
    """Return ``(W, at) -> y``, the row (columns,) from ``at`` on."""
    Out, fours = wp.types.vector(columns, f32), columns // 4

    @wp.func(module=warp_module("seeds"), name=f"bias_{columns}")
    def bias(W: Weights, at: int):
        y = Out()
        for j in range(fours):
            w = W[at + j]
            for c in range(4):
                y[4 * j + c] = w[c]
        return y

    return bias


@cache
def _activate(columns: int) -> Any:
    """Return ``h -> h (1 + h / sqrt(h^2 + 1)) / 2``."""
    Vector = wp.types.vector(columns, f32)

    @wp.func(module=warp_module("seeds"), name=f"activate_{columns}")
    def activate(h: Vector, count: int):
        y = Vector()
        for j in range(count):
            a = h[j]
            y[j] = f32(0.5) * a * (f32(1.0) + a / wp.sqrt(a * a + f32(1.0)))
        return y

    return activate


@cache
def trunk_of(shape: Shape) -> Any:
    """Return ``(W, x) -> (h, logits)``: the last hidden layer and the heads' log-odds."""
    width, layers, judges, heads = shape.width, shape.layers, shape.judges, _fours(shape.heads)
    hidden_at = (FEATURES + 1) * width // 4
    stride = (width + 1) * width // 4
    judge_at = hidden_at + layers * stride
    seen_at = judge_at + FEATURES * judges // 4
    rank_at = seen_at + (width + 1) * judges // 4
    first, hidden, looked = _accumulate(FEATURES, width), _accumulate(width, width), _accumulate(FEATURES, judges)
    seen, rank = _accumulate(width, judges), _accumulate(judges, heads)
    bias_w, bias_j, bias_h = _bias(width), _bias(judges), _bias(heads)
    activate_w, activate_j = _activate(width), _activate(judges)
    first_bias, hidden_bias = FEATURES * width // 4, width * width // 4
    judge_bias, rank_bias = seen_at + width * judges // 4, rank_at + judges * heads // 4

    @wp.func(module=warp_module("seeds"), name=f"trunk_{shape.key}")
    def trunk(W: Weights, inputs: int, units: int, x: Inputs):
        h = activate_w(first(W, 0, inputs, x, bias_w(W, first_bias)), units)
        for layer in range(layers):
            at = hidden_at + layer * stride
            h = activate_w(hidden(W, at, units, h, bias_w(W, at + hidden_bias)), units)
        judged = looked(W, judge_at, inputs, x, bias_j(W, judge_bias))
        judged = activate_j(seen(W, seen_at, units, h, judged), judges)
        return h, rank(W, rank_at, judges, judged, bias_h(W, rank_bias))

    return trunk


@cache
def head_of(shape: Shape) -> Any:
    """Return ``(W, h, head, arm) -> q`` (n,): the joints that a head proposes itself, angles not yet in limits."""
    n, width, heads, outputs = shape.joints, shape.width, shape.heads, shape.outputs
    first, columns = int(shape.symmetric), _fours(shape.outputs)
    hidden_at = (FEATURES + 1) * width // 4 + shape.layers * (width + 1) * width // 4
    heads_at = hidden_at + (FEATURES + width + 1) * shape.judges // 4 + (shape.judges + 1) * _fours(heads) // 4
    stride, bias_at = (width + 1) * columns // 4, width * columns // 4
    types, Hidden = types_of(n), wp.types.vector(width, f32)
    Arm, Joints = types.arm, types.joints32
    accumulate, bias = _accumulate(width, columns), _bias(columns)

    @wp.func(module=warp_module(f"seeds{n}"), name=f"head_{shape.key}")
    def head_joints(W: Weights, units: int, h: Hidden, head: int, arm: Arm):
        at = heads_at + head * stride
        outs = accumulate(W, at, units, h, bias(W, at + bias_at))
        q = Joints()
        for i in range(outputs):
            q[first + i] = arm.centre[first + i] + arm.half[first + i] * outs[i]
        return q

    return head_joints
