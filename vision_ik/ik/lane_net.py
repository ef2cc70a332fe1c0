"""The seed network over thirty-two targets at once, its weights laid out in blocks of four by four."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vision_ik.ik.seeds import FEATURES, Floats32, Net

GROUP = 32
"""Targets evaluated together: enough work for each weight that is loaded."""
INPUT_BLOCKS = -(-FEATURES // 4)
"""Blocks of four rows that hold the network's input."""

_BLOCK = 4 * GROUP
# Activations are finite, so that reciprocals and square roots may be estimated and polished.
_fast = njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc", "arcp"})


class LaneNet(NamedTuple):
    """A `Net` for many targets: matrices (output blocks, input blocks, 16), biases (outputs, padded)."""

    first: Floats32
    first_bias: Floats32
    hidden: Floats32
    """(layers, output blocks, input blocks, 16)"""
    hidden_bias: Floats32
    """(layers, outputs)"""
    judge: Floats32
    judge_bias: Floats32
    rank: Floats32
    rank_bias: Floats32
    heads: Floats32
    heads_bias: Floats32
    rows: Floats32
    """(heads * outputs, width + 1): the heads again, for when one is chosen."""
    n_heads: int
    """Heads; 0 where there is no network."""
    outputs: int
    """Joints a head proposes."""
    symmetric: bool


def make_lane_net(net: Net) -> LaneNet:
    """Return the weights of ``net`` in blocks; those of inputs and outputs that pad a block are zero."""
    width, heads = net.first.shape[1], net.rank.shape[1]
    judge = np.concatenate([_padded(net.judge[:FEATURES], 4 * INPUT_BLOCKS), net.judge[FEATURES:]])
    hidden = [_blocks(layer) for layer in net.hidden]
    blocks = -(-width // 4)
    arrays = (
        *_blocks(net.first),
        np.stack([w for w, _ in hidden]) if hidden else np.zeros((0, blocks, blocks, 16), np.float32),
        np.stack([b for _, b in hidden]) if hidden else np.zeros((0, 4 * blocks), np.float32),
        *_blocks(judge if width % 4 == 0 else _spread(judge, width)),
        *_blocks(net.rank),
        *_blocks(net.heads),
        np.ascontiguousarray(net.heads.T),
    )
    for array in arrays:
        array.setflags(write=False)
    return LaneNet(*arrays, heads, net.heads.shape[1] // max(heads, 1), net.symmetric)


def _padded(W: Floats32, rows: int) -> Floats32:
    return np.concatenate([W, np.zeros((rows - len(W), W.shape[1]), np.float32)])


def _spread(judge: Floats32, width: int) -> Floats32:
    """Return the judge's weights with the hidden layer's rows padded to whole blocks, the bias last."""
    body, bias = judge[:-1], judge[-1:]
    return np.concatenate([_padded(body, len(body) + -width % 4), bias])


def _blocks(W: Floats32) -> tuple[Floats32, Floats32]:
    """Return weights and bias of a matrix (inputs + 1, outputs) in blocks, padded with zeros."""
    inputs, outputs = -(-(len(W) - 1) // 4), -(-W.shape[1] // 4)
    full = np.zeros((4 * inputs, 4 * outputs), np.float32)
    full[: len(W) - 1, : W.shape[1]] = W[:-1]
    blocks = full.reshape(inputs, 4, outputs, 4).transpose(2, 0, 1, 3).reshape(outputs, inputs, 16)
    bias = np.zeros(4 * outputs, np.float32)
    bias[: W.shape[1]] = W[-1]
    return np.ascontiguousarray(blocks), bias


@_compiled
def affine(W: Floats32, bias: Floats32, x: Floats32, y: Floats32) -> None:
    """Write ``y = W x + bias`` for activations in blocks of four rows (blocks, 4 * GROUP)."""
    for j in range(W.shape[0]):
        row = y[j]
        b0, b1, b2, b3 = bias[4 * j], bias[4 * j + 1], bias[4 * j + 2], bias[4 * j + 3]
        for l in range(GROUP):
            row[l], row[GROUP + l], row[2 * GROUP + l], row[3 * GROUP + l] = b0, b1, b2, b3
        for k in range(W.shape[1]):
            w, col = W[j, k], x[k]
            w00, w01, w02, w03 = w[0], w[1], w[2], w[3]
            w10, w11, w12, w13 = w[4], w[5], w[6], w[7]
            w20, w21, w22, w23 = w[8], w[9], w[10], w[11]
            w30, w31, w32, w33 = w[12], w[13], w[14], w[15]
            for l in range(GROUP):
                a, b, c, d = col[l], col[GROUP + l], col[2 * GROUP + l], col[3 * GROUP + l]
                row[l] += w00 * a + w10 * b + w20 * c + w30 * d
                row[GROUP + l] += w01 * a + w11 * b + w21 * c + w31 * d
                row[2 * GROUP + l] += w02 * a + w12 * b + w22 * c + w32 * d
                row[3 * GROUP + l] += w03 * a + w13 * b + w23 * c + w33 * d


@_fast
def activate(h: Floats32) -> None:
    """Apply the network's activation in place, see `seeds.activate`."""
    half, one = np.float32(0.5), np.float32(1.0)
    for j in range(h.shape[0]):
        row = h[j]
        for l in range(_BLOCK):
            a = row[l]
            row[l] = half * a * (one + a * (one / np.sqrt(a * a + one)))


@_compiled
def evaluate(net: LaneNet, x: Floats32, work: Floats32, judged: Floats32, logits: Floats32) -> None:
    """Run the network up to the heads' log-odds.

    ``x`` begins with the input's blocks and ends with the last hidden layer, which is written there.
    """
    inputs, h = x[:INPUT_BLOCKS], x[INPUT_BLOCKS:]
    layers = net.hidden.shape[0]
    # Two buffers take turns, such that the last layer ends up in ``x``.
    a, b = (h, work) if layers % 2 == 0 else (work, h)
    affine(net.first, net.first_bias, inputs, a)
    activate(a)
    for layer in range(layers):
        affine(net.hidden[layer], net.hidden_bias[layer], a, b)
        activate(b)
        a, b = b, a
    affine(net.judge, net.judge_bias, x, judged)
    activate(judged)
    affine(net.rank, net.rank_bias, judged, logits)
