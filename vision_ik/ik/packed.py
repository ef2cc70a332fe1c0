"""All a solver knows, in three arrays, because each one handed to compiled code costs 0.1 us of a call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.search import Settings
from vision_ik.ik.seeds import Floats32, Net
from vision_ik.ik.solo_net import DEEP, INPUTS, WIDE, SoloNet, make_solo_net
from vision_ik.types import Floats

_BLOCK = DEEP * WIDE


class Packed(NamedTuple):
    """A `Chain`, a `Net` for single targets and `Settings`, laid end to end.

    Compiled code takes its fields one by one (``*packed``): a tuple would cost it 0.4 us more to take apart.
    """

    chain: Floats
    """reach, both tolerances; iterations, heads to try, restarts, seed; blocks of the hidden layers, layers, blocks of
    the judge, of the ranking and of the heads; heads, outputs, symmetric; lower, upper, centre, half, fixed, ends."""
    prismatic: NDArray[np.bool_]
    net: Floats32
    """The fields of `SoloNet` in their order."""


class Heads(NamedTuple):
    """What the network proposes."""

    n_heads: int
    outputs: int
    symmetric: bool


def pack(chain: Chain, net: Net, settings: Settings) -> Packed:
    """Return read-only copies of all three, end to end."""
    solo = make_solo_net(net)
    heads = net.rank.shape[1]
    blocks = [len(solo.first), len(solo.hidden), len(solo.judge), len(solo.rank), len(solo.heads)]
    head = [chain.reach, *settings, *blocks, heads, net.heads.shape[1] // max(heads, 1), net.symmetric]
    arrays = [chain.lower, chain.upper, chain.centre, chain.half, chain.fixed.ravel(), chain.ends.ravel()]
    packed = Packed(
        chain=np.concatenate([np.array(head, dtype=np.float64), *arrays]),
        prismatic=chain.prismatic,
        net=np.concatenate([part.ravel() for part in solo]),
    )
    packed.chain.setflags(write=False)
    packed.net.setflags(write=False)
    return packed


_HEAD = 1 + len(Settings._fields) + 5 + 3
"""Numbers in front of the arrays of `Packed.chain`."""


@njit(cache=True, nogil=True, error_model="numpy")
def unpack(a: Floats, prismatic: NDArray[np.bool_], b: Floats32) -> tuple[Chain, SoloNet, Heads, Settings]:
    """Return all three as views of the fields of a `Packed`."""
    n = prismatic.shape[0]
    fixed = _HEAD + 4 * n
    ends = fixed + 16 * (n + 1)
    chain = Chain(
        a[fixed:ends].reshape(n + 1, 4, 4),
        prismatic,
        a[_HEAD : _HEAD + n],
        a[_HEAD + n : _HEAD + 2 * n],
        a[_HEAD + 2 * n : _HEAD + 3 * n],
        a[_HEAD + 3 * n : fixed],
        a[ends:].reshape(2, 4, 4),
        a[0],
    )
    settings = Settings(a[1], a[2], int(a[3]), int(a[4]), int(a[5]), int(a[6]))
    width, layers, judges, ranks, outputs = int(a[7]), int(a[8]), int(a[9]), int(a[10]), int(a[11])
    kinds = Heads(int(a[12]), int(a[13]), a[14] > 0.0)
    deep, inputs = width * WIDE // DEEP, INPUTS // DEEP
    at = 0
    first = b[at : at + width * inputs * _BLOCK].reshape(width, inputs, _BLOCK)
    at += width * inputs * _BLOCK
    first_bias = b[at : at + width * WIDE].reshape(width, WIDE)
    at += width * WIDE
    hidden = b[at : at + layers * width * deep * _BLOCK].reshape(layers, width, deep, _BLOCK)
    at += layers * width * deep * _BLOCK
    hidden_bias = b[at : at + layers * width * WIDE].reshape(layers, width, WIDE)
    at += layers * width * WIDE
    judge = b[at : at + judges * (inputs + deep) * _BLOCK].reshape(judges, inputs + deep, _BLOCK)
    at += judges * (inputs + deep) * _BLOCK
    judge_bias = b[at : at + judges * WIDE].reshape(judges, WIDE)
    at += judges * WIDE
    judged = judges * WIDE // DEEP
    rank = b[at : at + ranks * judged * _BLOCK].reshape(ranks, judged, _BLOCK)
    at += ranks * judged * _BLOCK
    rank_bias = b[at : at + ranks * WIDE].reshape(ranks, WIDE)
    at += ranks * WIDE
    heads = b[at : at + outputs * deep * _BLOCK].reshape(outputs, deep, _BLOCK)
    at += outputs * deep * _BLOCK
    heads_bias = b[at:].reshape(outputs, WIDE)
    net = SoloNet(first, first_bias, hidden, hidden_bias, judge, judge_bias, rank, rank_bias, heads, heads_bias)
    return chain, net, kinds, settings
