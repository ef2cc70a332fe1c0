"""Generative designs: a conditional normalising flow and flow matching, sampled and then ranked by pose error.

A flow draws from the distribution of solutions instead of listing them (Ames et al., "IKFlow", RA-L 2022, trains
a conditional normalising flow this way). Joints that made the poses are samples of just that distribution, so the loss
is the likelihood. Flow matching (Lipman et al., ICLR 2023) regresses the velocity along straight lines from noise to
data instead, and integrates it with a few Euler steps.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from itertools import pairwise
from time import thread_time
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from vision_ik.errors import MissingDependencyError
from vision_ik.ik.network import activate
from vision_ik.ik.seeds import FEATURES, Floats32
from vision_ik.learning import sampling
from vision_ik.learning.designs.design import Design, Proposals, Task, outputs_of, symmetric
from vision_ik.learning.designs.measure import raw_errors
from vision_ik.learning.designs.schedule import descend, until_spent

EULER_STEPS = 4
_Draw: TypeAlias = Callable[[Tensor, int], Tensor]
"""Inputs (B, FEATURES) and a number of samples to draws (B, samples, outputs)."""
_NOISE = 0.01
"""[half ranges] Added to the joints, so that the density of what lies on a limit stays finite."""
_CHUNK = 2048
"""Draws evaluated at once."""


class FlowFit:
    """Maximum likelihood training of a neural spline flow (Durkan et al., NeurIPS 2019), by zuko."""

    def __init__(self, design: Design, task: Task) -> None:
        try:
            zuko: Any = importlib.import_module("zuko")
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "The conditional flow needs zuko, which is not installed.",
                "Install it: pip install 'vision-ik[bench]'.",
            ) from error
        self.design, self.task = design, task
        self.inner = symmetric(design, task)
        self.outputs = outputs_of(design, task)
        torch.manual_seed(task.seed)
        self.flow = zuko.flows.NSF(
            self.outputs, FEATURES, transforms=design.layers, hidden_features=(design.width, design.width), bins=8
        )

    def fit(self) -> FlowFit:
        """Maximise the likelihood of the joints that made the poses."""
        rng, generator = np.random.default_rng(self.task.seed), torch.Generator().manual_seed(self.task.seed)
        rate = self.design.learning_rate
        optimizer = torch.optim.Adam(self.flow.parameters(), lr=rate)
        for _ in until_spent(self.task.budget_s, optimizer, rate):
            poses = sampling.sample(self.task.chain, self.inner, self.design.batch, rng)
            y = torch.from_numpy(poses.y)
            y = y + _NOISE * torch.randn(y.shape, generator=generator)
            descend(optimizer, -self.flow(torch.from_numpy(poses.x)).log_prob(y).mean())
        return self

    def drawing(self, samples: int) -> FlowFit:
        """Return the same trained design with another number of draws."""
        other = copy(self)
        other.design = replace(self.design, samples=samples)
        return other

    @property
    def weights(self) -> int:
        """Weights evaluated for the draws of one target."""
        return self.design.samples * sum(p.numel() for p in self.flow.parameters())

    def propose(self, poses: sampling.Poses, rng: np.random.Generator) -> Proposals:
        """Return draws, the one of the least pose error ranked best."""
        torch.manual_seed(int(rng.integers(2**31)))
        return _ranked(self.task, self.inner, poses, _in_chunks(poses.x, self.design.samples, self._draw))

    def forward_us(self, x: Floats32) -> tuple[float, str]:
        """Return the CPU time [us] of one pose's draws in a batch."""
        return _torch_time_us(x, self.design.samples, self._draw)

    def _draw(self, x: Tensor, samples: int) -> Tensor:
        return self.flow(x).sample((samples,)).transpose(0, 1)


class FlowMatchingFit:
    """A velocity field, trained on straight lines from noise to the joints."""

    def __init__(self, design: Design, task: Task) -> None:
        self.design, self.task = design, task
        self.inner = symmetric(design, task)
        self.outputs = outputs_of(design, task)
        torch.manual_seed(task.seed)
        self.field = _Field(FEATURES + self.outputs + 3, design.width, design.layers, self.outputs)

    def fit(self) -> FlowMatchingFit:
        """Regress the velocities."""
        rng, generator = np.random.default_rng(self.task.seed), torch.Generator().manual_seed(self.task.seed)
        rate = self.design.learning_rate
        optimizer = torch.optim.Adam(self.field.parameters(), lr=rate, betas=(0.9, 0.99), fused=True)
        for _ in until_spent(self.task.budget_s, optimizer, rate):
            poses = sampling.sample(self.task.chain, self.inner, self.design.batch, rng)
            y = torch.from_numpy(poses.y)
            start = torch.randn(y.shape, generator=generator)
            time = torch.rand((len(y), 1), generator=generator)
            velocity = self.field(torch.from_numpy(poses.x), start + time * (y - start), time)
            descend(optimizer, ((velocity - (y - start)) ** 2).mean())
        return self

    def drawing(self, samples: int) -> FlowMatchingFit:
        """Return the same trained design with another number of draws."""
        other = copy(self)
        other.design = replace(self.design, samples=samples)
        return other

    @property
    def weights(self) -> int:
        """Weights evaluated for the draws of one target, every Euler step."""
        return EULER_STEPS * self.design.samples * sum(p.numel() for p in self.field.parameters())

    def propose(self, poses: sampling.Poses, rng: np.random.Generator) -> Proposals:
        """Return draws, the one of the least pose error ranked best."""
        torch.manual_seed(int(rng.integers(2**31)))
        return _ranked(self.task, self.inner, poses, _in_chunks(poses.x, self.design.samples, self._draw))

    def forward_us(self, x: Floats32) -> tuple[float, str]:
        """Return the CPU time [us] of one pose's draws in a batch."""
        return _torch_time_us(x, self.design.samples, self._draw)

    def _draw(self, x: Tensor, samples: int) -> Tensor:
        x = x.repeat_interleave(samples, dim=0)
        y = torch.randn((len(x), self.outputs))
        for step in range(EULER_STEPS):
            y = y + self.field(x, y, torch.full((len(x), 1), step / EULER_STEPS)) / EULER_STEPS
        return y.view(-1, samples, self.outputs)


class _Field(nn.Module):
    """Velocity (B, outputs) at joints ``y`` (B, outputs) and time (B, 1), given the pose ``x`` (B, FEATURES)."""

    def __init__(self, seen: int, width: int, layers: int, outputs: int) -> None:
        super().__init__()
        sizes = [seen, *[width] * (layers + 1)]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(width, outputs)

    def forward(self, x: Tensor, y: Tensor, time: Tensor) -> Tensor:
        turn = 2.0 * math.pi * time
        h = torch.cat([x, y, time, torch.cos(turn), torch.sin(turn)], dim=1)
        for layer in self.hidden:
            h = activate(layer(h))
        return self.last(h)


def _ranked(task: Task, inner: bool, poses: sampling.Poses, outputs: Floats32) -> Proposals:
    errors = raw_errors(task.chain, inner, poses.q, outputs)[:, :, 2]
    return Proposals(outputs=outputs, scores=-errors.astype(np.float32))


def _in_chunks(x: Floats32, samples: int, draw: _Draw) -> Floats32:
    """Return draws (N, samples, outputs), evaluated in parts of bounded size."""
    rows = max(1, _CHUNK // samples)
    with torch.no_grad():
        parts = [draw(torch.from_numpy(x[k : k + rows]), samples) for k in range(0, len(x), rows)]
    return np.ascontiguousarray(torch.cat(parts).numpy(), dtype=np.float32)


def _torch_time_us(x: Floats32, samples: int, draw: _Draw) -> tuple[float, str]:
    """Return the time per pose in batches, and a note that says what a single call costs [us]."""
    _in_chunks(x, samples, draw)
    begin = thread_time()
    _in_chunks(x, samples, draw)
    batched = (thread_time() - begin) / len(x)
    alone: list[float] = []
    for k in range(10):
        begin = thread_time()
        _in_chunks(x[k : k + 1], samples, draw)
        alone.append(thread_time() - begin)
    return 1e6 * batched, f"torch in batches; {1e6 * min(alone):.0f} us one pose at a time"
