"""The seed network for one target, its outputs side by side in vector registers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vision_ik.ik.seeds import FEATURES, Floats32, Net

WIDE = 32
"""Outputs computed together."""
DEEP = 8
"""Inputs taken in at once, so that outputs are loaded and stored seldom."""
INPUTS = -(-FEATURES // DEEP) * DEEP
"""Length of the input with its padding."""

_fast = njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc", "arcp"})


class SoloNet(NamedTuple):
    """A `Net` for one target: matrices (output blocks, input blocks, DEEP * WIDE), biases (output blocks, WIDE)."""

    first: Floats32
    first_bias: Floats32
    hidden: Floats32
    """(layers, output blocks, input blocks, DEEP * WIDE)"""
    hidden_bias: Floats32
    judge: Floats32
    judge_bias: Floats32
    rank: Floats32
    rank_bias: Floats32
    heads: Floats32
    heads_bias: Floats32


def make_solo_net(net: Net) -> SoloNet:
    """Return the weights of ``net`` in blocks; those of inputs and outputs that pad a block are zero."""
    width = net.first.shape[1]
    padded = -(-width // WIDE) * WIDE
    judge = np.zeros((INPUTS + padded + 1, net.judge.shape[1]), np.float32)
    judge[:FEATURES], judge[INPUTS : INPUTS + width], judge[-1] = (
        net.judge[:FEATURES],
        net.judge[FEATURES:-1],
        net.judge[-1],
    )
    hidden = [_blocks(layer, padded) for layer in net.hidden]
    empty = np.zeros((0, padded // WIDE, padded // DEEP, DEEP * WIDE), np.float32)
    return SoloNet(
        *_blocks(net.first, INPUTS),
        np.stack([w for w, _ in hidden]) if hidden else empty,
        np.stack([b for _, b in hidden]) if hidden else np.zeros((0, padded // WIDE, WIDE), np.float32),
        *_blocks(judge, INPUTS + padded),
        *_blocks(net.rank, -(-net.judge.shape[1] // WIDE) * WIDE),
        *_blocks(net.heads, padded),
    )


def _blocks(W: Floats32, inputs: int) -> tuple[Floats32, Floats32]:
    """Return weights and bias of a matrix (rows + 1, outputs) in blocks, its rows padded to ``inputs``."""
    outputs = -(-W.shape[1] // WIDE)
    full, bias = np.zeros((inputs, outputs * WIDE), np.float32), np.zeros(outputs * WIDE, np.float32)
    full[: len(W) - 1, : W.shape[1]] = W[:-1]
    bias[: W.shape[1]] = W[-1]
    blocks = full.reshape(inputs // DEEP, DEEP, outputs, WIDE).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(blocks).reshape(outputs, inputs // DEEP, DEEP * WIDE), bias.reshape(outputs, WIDE)


@_compiled
def affine(W: Floats32, bias: Floats32, x: Floats32, y: Floats32) -> None:
    """Write ``y = W x + bias`` (output blocks, WIDE) for ``x`` (input blocks, DEEP)."""
    for j in range(W.shape[0]):
        row, first = y[j], bias[j]
        for l in range(WIDE):
            row[l] = first[l]
        for k in range(W.shape[1]):
            w, v = W[j, k], x[k]
            a, b, c, d, e, f, g, h = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
            for l in range(WIDE):
                total = a * w[l] + b * w[WIDE + l] + c * w[2 * WIDE + l] + d * w[3 * WIDE + l]
                total += e * w[4 * WIDE + l] + f * w[5 * WIDE + l] + g * w[6 * WIDE + l] + h * w[7 * WIDE + l]
                row[l] += total


@_fast
def activate(h: Floats32) -> None:
    """Apply the network's activation in place, see `seeds.activate`."""
    half, one = np.float32(0.5), np.float32(1.0)
    for j in range(h.shape[0]):
        row = h[j]
        for l in range(WIDE):
            a = row[l]
            row[l] = half * a * (one + a * (one / np.sqrt(a * a + one)))


@_compiled
def evaluate(
    net: SoloNet, known: Floats32, work: Floats32, judged: Floats32, logits: Floats32, heads: Floats32
) -> None:
    """Run the network.

    Args:
        net: Its weights.
        known: (INPUTS + width,) begins with the input, zeros behind it; the last hidden layer is written to its end.
        work: (width,) scratch.
        judged: (judges,) scratch.
        logits: (heads,) receives the log-odds.
        heads: (heads * outputs,) receives what they propose. All lengths in whole blocks.
    """
    h = known[INPUTS:]
    layers = net.hidden.shape[0]
    # Two buffers take turns, such that the last layer ends up in ``known``.
    a, b = (h, work) if layers % 2 == 0 else (work, h)
    affine(net.first, net.first_bias, known[:INPUTS].reshape(-1, DEEP), a.reshape(-1, WIDE))
    activate(a.reshape(-1, WIDE))
    for layer in range(layers):
        affine(net.hidden[layer], net.hidden_bias[layer], a.reshape(-1, DEEP), b.reshape(-1, WIDE))
        activate(b.reshape(-1, WIDE))
        a, b = b, a
    affine(net.heads, net.heads_bias, h.reshape(-1, DEEP), heads.reshape(-1, WIDE))
    affine(net.judge, net.judge_bias, known.reshape(-1, DEEP), judged.reshape(-1, WIDE))
    activate(judged.reshape(-1, WIDE))
    affine(net.rank, net.rank_bias, judged.reshape(-1, DEEP), logits.reshape(-1, WIDE))
