"""Chain and network in few arrays, because each array handed to compiled code costs 0.2 us of a call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.ik.chain import Chain
from vision_ik.ik.seeds import FEATURES, Floats32, Net
from vision_ik.types import Floats


class Packed(NamedTuple):
    """A `Chain` and a `Net`, laid end to end."""

    chain: Floats
    """reach, lower, upper, centre, half, fixed, ends."""
    prismatic: NDArray[np.bool_]
    net: Floats32
    """first, hidden, judge, rank, heads."""
    width: int
    layers: int
    judges: int
    heads: int
    outputs: int
    symmetric: bool


def pack(chain: Chain, net: Net) -> Packed:
    """Return read-only copies of both, end to end."""
    heads = net.rank.shape[1]
    packed = Packed(
        chain=np.concatenate(
            [
                [chain.reach],
                chain.lower,
                chain.upper,
                chain.centre,
                chain.half,
                chain.fixed.ravel(),
                chain.ends.ravel(),
            ]
        ),
        prismatic=chain.prismatic,
        net=np.concatenate([part.ravel() for part in (net.first, net.hidden, net.judge, net.rank, net.heads)]),
        width=net.first.shape[1],
        layers=net.hidden.shape[0],
        judges=net.judge.shape[1],
        heads=heads,
        outputs=net.heads.shape[1] // max(heads, 1),
        symmetric=net.symmetric,
    )
    packed.chain.setflags(write=False)
    packed.net.setflags(write=False)
    return packed


@njit(cache=True, nogil=True, error_model="numpy")
def unpack(packed: Packed) -> tuple[Chain, Net]:
    """Return both as views."""
    n, a, width = packed.prismatic.shape[0], packed.chain, packed.width
    fixed = 1 + 4 * n
    ends = fixed + 16 * (n + 1)
    chain = Chain(
        a[fixed:ends].reshape(n + 1, 4, 4),
        packed.prismatic,
        a[1 : 1 + n],
        a[1 + n : 1 + 2 * n],
        a[1 + 2 * n : 1 + 3 * n],
        a[1 + 3 * n : fixed],
        a[ends:].reshape(2, 4, 4),
        a[0],
    )
    b = packed.net
    hidden = (FEATURES + 1) * width
    judge = hidden + packed.layers * (width + 1) * width
    rank = judge + (FEATURES + width + 1) * packed.judges
    heads = rank + (packed.judges + 1) * packed.heads
    net = Net(
        b[:hidden].reshape(FEATURES + 1, width),
        b[hidden:judge].reshape(packed.layers, width + 1, width),
        b[judge:rank].reshape(FEATURES + width + 1, packed.judges),
        b[rank:heads].reshape(packed.judges + 1, packed.heads),
        b[heads:].reshape(width + 1, packed.heads * packed.outputs),
        packed.symmetric,
    )
    return chain, net
