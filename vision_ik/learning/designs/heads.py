"""The designs that are one small perceptron with many heads, trained on whatever losses they name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from time import process_time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vision_ik.ik.chain import Chain
from vision_ik.ik.network import activate
from vision_ik.ik.seeds import FEATURES, Floats32
from vision_ik.learning import sampling
from vision_ik.learning.designs.design import Design, Proposals, Task, symmetric
from vision_ik.learning.designs.kinematics import TorchChain, poses_of
from vision_ik.learning.designs.measure import forward_time_us, refine_all
from vision_ik.learning.designs.schedule import descend, until_spent

ELBOW = 2
"""Index of the joint that stands for the redundancy of seven; closed forms lock the same one."""
_SHARES = {"cover": 0.1, "settle": 0.4, "judge": 0.5}
"""Of the budget; stages that a design does without leave theirs to the others."""
_OTHERS, _WINNER, _EXPLORE, _CALIBRATION, _FLOOR = 0.05, 0.03, 0.25, 0.1, 1e-3
"""As in `vision_ik.learning.stages`."""
_ROUNDS = 5
"""Of searching poses for the judge, which take about half of its stage."""
_SATURATION = 1e-2
"""Squared weighted error at which the unrolled loss no longer cares how far a head is."""


class HeadsNetwork(nn.Module):
    """`vision_ik.ik.network.SeedNetwork` with the parts of a `Design` exchanged."""

    def __init__(self, design: Design, chain: Chain, *, inner: bool, seed: int) -> None:
        super().__init__()
        self.design = design
        n = len(chain.lower)
        joints = slice(1, n - 1) if inner else slice(0, n)
        self.outputs = n - 2 if inner else n
        self.spans = torch.from_numpy(chain.half[joints].astype(np.float32))
        self.seen = FEATURES + {"": 0, "start": self.outputs, "elbow": 1}[design.condition]
        width, numbers = design.width, design.heads * self.outputs * (2 if design.unit_vectors else 1)
        self.first = nn.Linear(self.seen, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(design.layers))
        sees = self.seen if design.judge_sees_pose else 0
        self.judge = nn.Linear(sees + width, design.judges) if design.judges else nn.Identity()
        self.rank = nn.Linear(design.judges or width, design.heads)
        self.heads = nn.Linear(width, numbers)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    bound = module.in_features**-0.5
                    module.weight.uniform_(-bound, bound, generator=generator)
                    module.bias.uniform_(-bound, bound, generator=generator)
            self.heads.bias.uniform_(-1.0, 1.0, generator=generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (B, heads, outputs) in units of half the range and ranking logits (B, heads)."""
        h = self.trunk(x)
        raw = self.heads(h)
        if self.design.unit_vectors:
            pairs = raw.view(len(x), self.design.heads, self.outputs, 2)
            angle = torch.atan2(pairs[..., 1], pairs[..., 0])
            return angle / self.spans, self.ranking(x, h)  # the circle is cut opposite to the middle of the range
        return raw.view(len(x), self.design.heads, self.outputs), self.ranking(x, h)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (B, width)."""
        h = activate(self.first(x))
        for layer in self.hidden:
            h = activate(layer(h))
        return h

    def ranking(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the ranking logits (B, heads)."""
        if not self.design.judges:
            return self.rank(h)
        known = torch.cat([x, h], dim=1) if self.design.judge_sees_pose else h
        return self.rank(activate(self.judge(known)))


class HeadsFit:
    """Trains a `HeadsNetwork` until the budget is spent, then proposes."""

    def __init__(self, design: Design, task: Task) -> None:
        if design.condition == "elbow" and len(task.chain.lower) != 7:
            raise ValueError("Only an arm of seven joints has an elbow to condition on.")
        self.design, self.task, self.chain = design, task, task.chain
        self.inner = symmetric(design, task)
        self.network = HeadsNetwork(design, task.chain, inner=self.inner, seed=task.seed)
        self.torch_chain = TorchChain(task.chain)
        self.rng = np.random.default_rng(task.seed)
        self.pool_x = np.zeros((0, self.network.seen), np.float32)
        self.pool_labels = np.zeros((0, design.heads), np.float32)
        self.steps: dict[str, int] = {}

    def fit(self) -> HeadsFit:
        """Run the stages of the design."""
        design = self.design
        stages = ["cover", *(["settle"] if design.settle else []), *(["judge"] if design.judge else [])]
        total = sum(_SHARES[stage] for stage in stages)
        for stage in stages:
            budget_s = self.task.budget_s * _SHARES[stage] / total
            if stage == "judge":
                self._fit_judge(budget_s)
            else:
                self._fit_stage(stage, budget_s)
        return self

    def _fit_stage(self, stage: str, budget_s: float) -> None:
        step = {"cover": self._cover, "settle": self._settle}[stage]
        optimizer = self._optimizer(self.network.parameters())
        for progress in until_spent(budget_s, optimizer, self.design.learning_rate):
            descend(optimizer, step(progress))
            self.steps[stage] = self.steps.get(stage, 0) + 1

    def _fit_judge(self, budget_s: float) -> None:
        judged = self.network.judge.parameters()
        optimizer = self._optimizer([*judged, *self.network.rank.parameters()])
        gathered, spent, begin = 0, 0.0, process_time()
        for progress in until_spent(budget_s, optimizer, self.design.learning_rate):
            if progress * _ROUNDS >= gathered and spent <= 0.55 * (process_time() - begin) + 0.01:
                gather_begin = process_time()
                self._gather(0.5 * budget_s / _ROUNDS)
                gathered, spent = gathered + 1, spent + process_time() - gather_begin
            descend(optimizer, self._judge())
            self.steps["judge"] = self.steps.get("judge", 0) + 1

    def _optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.design.learning_rate, betas=(0.9, 0.99), fused=True)

    def _sample(self, count: int) -> tuple[sampling.Poses, Floats32]:
        poses = sampling.sample(self.chain, self.inner, count, self.rng)
        return poses, self._seen(poses, self.rng, training=True)

    def _seen(self, poses: sampling.Poses, rng: np.random.Generator, *, training: bool) -> Floats32:
        """Return the network's input (N, seen)."""
        if self.design.condition == "start":
            start = rng.uniform(-1.0, 1.0, poses.y.shape).astype(np.float32)
            if training:  # half the starts lie anywhere near the solution, half anywhere at all
                near = rng.random((len(start), 1)) * rng.normal(size=start.shape)
                start = np.where(rng.random((len(start), 1)) < 0.5, (poses.y + near).astype(np.float32), start)
            return np.concatenate([poses.x, start], axis=1)
        if self.design.condition == "elbow":
            column = ELBOW - (1 if self.inner else 0)
            return np.concatenate([poses.x, poses.y[:, column : column + 1]], axis=1)
        return poses.x

    def _cover(self, progress: float) -> Tensor:
        poses, x = self._sample(self.design.batch)
        outputs, logits = self.network(torch.from_numpy(x))
        squared = self._squared(outputs, torch.from_numpy(poses.y)[:, None])
        nearest, winner = squared.min(dim=1)
        others = _OTHERS * max(0.0, 1.0 - 2.0 * progress)
        loss = (1.0 - others) * nearest.mean() + others * squared.mean()
        if self.design.fk_weight and progress > 0.3:  # first near, then exact
            q, targets = self._posture(outputs, winner, poses)
            error = self.torch_chain.error(q, targets)[0]
            loss = loss + self.design.fk_weight * (error * error).sum(dim=1).mean()
        return loss + _WINNER * functional.cross_entropy(logits, winner)

    def _settle(self, progress: float) -> Tensor:
        del progress
        poses, x = self._sample(self.design.batch)
        outputs, logits = self.network(torch.from_numpy(x))
        rows = torch.arange(len(x))
        chosen = torch.from_numpy(self._choose(logits.detach().numpy()))
        tried = outputs[rows, chosen]
        done, _, reached = refine_all(self.chain, self.inner, poses.q, tried.detach().numpy()[:, None].copy())
        success = torch.from_numpy(done[:, 0].astype(np.float32))
        nearest, winner = self._squared(outputs, torch.from_numpy(poses.y)[:, None]).min(dim=1)
        moved = self._squared(tried, torch.from_numpy(reached[:, 0])) * success
        loss = nearest.mean() + moved.mean()
        if self.design.judge:
            loss = loss + functional.binary_cross_entropy_with_logits(logits[rows, chosen], success)
        else:
            loss = loss + _WINNER * functional.cross_entropy(logits, winner)
        if self.design.fk_weight or self.design.unrolled:
            q, targets = self._posture(outputs, chosen, poses)
            left = self.torch_chain.refined(q, targets, self.design.unrolled)
            squared = (left * left).sum(dim=1)
            loss = loss + max(self.design.fk_weight, 0.1) * (squared / (squared + _SATURATION)).mean()
        return loss

    def _choose(self, logits: Floats32) -> NDArray[np.int64]:
        drawn = np.argmax(0.5 * logits + self.rng.gumbel(size=logits.shape), axis=1)
        return np.where(self.rng.random(len(logits)) < _EXPLORE, drawn, np.argmax(logits, axis=1))

    def _judge(self) -> Tensor:
        rows = self.rng.integers(len(self.pool_x), size=self.design.batch)
        x, labels = torch.from_numpy(self.pool_x[rows]), torch.from_numpy(self.pool_labels[rows])
        with torch.no_grad():
            h = self.network.trunk(x)
        logits = self.network.ranking(x, h)
        expected = (torch.softmax(logits, dim=1) * labels).sum(dim=1)
        odds = functional.binary_cross_entropy_with_logits(logits, labels)
        # Proposals of different grid values are compared, so there the odds themselves must be right.
        calibration = 1.0 if self.design.samples > 1 else _CALIBRATION
        return -torch.log(expected + _FLOOR).mean() + calibration * odds

    def _gather(self, budget_s: float) -> None:
        """Label every head: of fresh poses for a quarter of the time, then of those where the best one fails."""
        begin = process_time()
        fresh = False
        while process_time() - begin < budget_s or not len(self.pool_x):
            fresh = process_time() - begin < 0.25 * budget_s or not len(self.pool_x)
            poses, x = self._sample(256 if fresh else 4096)
            outputs, logits = self._evaluate(x)
            rows = np.arange(len(x))
            if not fresh:
                best = outputs[rows, np.argmax(logits, axis=1)][:, None]
                rows = np.flatnonzero(~refine_all(self.chain, self.inner, poses.q, best)[0][:, 0])
            done, steps, _ = refine_all(self.chain, self.inner, poses.q[rows], outputs[rows])
            labels = np.where(done, self.design.grade**steps, 0.0).astype(np.float32)
            self.pool_x = np.concatenate([self.pool_x, x[rows]])
            self.pool_labels = np.concatenate([self.pool_labels, labels])

    def _evaluate(self, x: Floats32) -> tuple[Floats32, Floats32]:
        with torch.no_grad():
            outputs, logits = self.network(torch.from_numpy(x))
        return np.ascontiguousarray(outputs.numpy()), np.ascontiguousarray(logits.numpy())

    def _posture(self, outputs: Tensor, head: Tensor, poses: sampling.Poses) -> tuple[Tensor, Tensor]:
        """Return the full postures (B, n) of one head a pose, and the poses as matrices."""
        targets = poses_of(self.chain, poses.q)
        return self.torch_chain.posture(outputs[torch.arange(len(head)), head], targets, self.inner), targets

    def _squared(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the squared joint distance (...,) [rad^2, m^2], angles the short way round."""
        prismatic = self.chain.prismatic[1:-1] if self.inner else self.chain.prismatic
        d = (a - b) * self.network.spans
        turning = torch.from_numpy(~prismatic).float()
        return ((d - turning * torch.round(d / (2.0 * math.pi)) * 2.0 * math.pi) ** 2).sum(dim=-1)

    @property
    def weights(self) -> int:
        """Weights of trunk, judge and one head, times the grid of a condition."""
        parts = [self.network.first, *self.network.hidden, self.network.judge, self.network.rank]
        shared = sum(p.numel() for part in parts for p in part.parameters())
        head = sum(p.numel() for p in self.network.heads.parameters()) // self.design.heads
        return shared * self.design.samples + head

    def propose(self, poses: sampling.Poses, rng: np.random.Generator) -> Proposals:
        """Return every head's proposal, at every grid value of a condition."""
        if self.design.condition != "elbow":
            outputs, scores = self._evaluate(self._seen(poses, rng, training=False))
            return Proposals(outputs=outputs, scores=scores)
        count = self.design.samples
        found = [
            self._evaluate(np.concatenate([poses.x, np.full((len(poses.x), 1), value, np.float32)], axis=1))
            for value in (np.arange(count) + 0.5) * 2.0 / count - 1.0
        ]
        return Proposals(
            outputs=np.concatenate([outputs for outputs, _ in found], axis=1),
            scores=np.concatenate([scores for _, scores in found], axis=1),
        )

    def forward_us(self, x: Floats32) -> tuple[float, str]:
        """Return the CPU time [us] of ranking and one head, compiled, one pose at a time."""
        network, design = self.network, self.design
        seen = np.zeros((len(x), network.seen), np.float32)
        seen[:, : x.shape[1]] = x
        hidden = [_columns(layer) for layer in network.hidden if isinstance(layer, nn.Linear)]
        judge = _columns(network.judge) if isinstance(network.judge, nn.Linear) else np.zeros((1, 0), np.float32)
        heads = _columns(network.heads).reshape(design.width + 1, design.heads, -1).swapaxes(0, 1)
        layers = (
            _columns(network.first),
            np.stack(hidden) if hidden else np.zeros((0, design.width + 1, design.width), np.float32),
            judge,
            _columns(network.rank),
            np.ascontiguousarray(heads),
        )
        note = "compiled, one pose at a time"
        if design.samples > 1:
            note += f", {design.samples} grid values"
        return design.samples * forward_time_us(layers, design.judge_sees_pose, seen), note


def _columns(layer: nn.Linear) -> Floats32:
    """Return weight and bias as (inputs + 1, outputs)."""
    stacked = torch.cat([layer.weight, layer.bias[:, None]], dim=1)
    return np.ascontiguousarray(stacked.detach().numpy().T.astype(np.float32))
