"""Training for a budget of CPU time."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import process_time

import torch
from torch import Tensor

_WARM_UP = 100
"""Steps over which the learning rate rises."""


@contextmanager
def one_thread() -> Generator[None]:
    """Let torch compute on one thread, so that CPU time is what it says."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def until_spent(budget_s: float, optimizer: torch.optim.Optimizer, rate: float) -> Iterator[float]:
    """Yield the share of the budget spent, setting the learning rate: a short rise, then half a cosine to nothing.

    Equal CPU time, not an equal number of steps, is what makes designs comparable: a loss that costs twice as much
    gets half as many. At least one step is taken.
    """
    begin, step, progress = process_time(), 0, 0.0
    while progress < 1.0:
        step += 1
        factor = min(1.0, step / _WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * progress)) + 1e-3
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        yield progress
        progress = (process_time() - begin) / max(budget_s, 1e-9)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down ``loss``."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
