"""The three stages of training, each a plain loop over steps.

*Cover.* A pose has many solutions; a plain regression would propose their mean, which is none.
Winner-takes-all (Guzmán-Rivera et al., "Multiple choice learning", NeurIPS 2012) pulls only the
head nearest to the joints that made the pose, so heads settle on different branches. A small share
for the other heads, fading out, keeps them alive (Rupprecht et al., ICCV 2017).

*Settle.* The solver's own kernel refines what a head proposes. Where it converges, the head
is pulled to the posture reached: heads move from the mean of their cell onto the solutions. Whether it
converged teaches the judge.

*Judge.* With the heads frozen, every head is labelled by the kernel for many poses, and the judge maximises
the log of the expected success under its softmax. Poses where its choice still fails are searched for and
mixed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vision_ik.ik.chain import Chain
from vision_ik.ik.network import SeedNetwork
from vision_ik.ik.seeds import FEATURES, Floats32
from vision_ik.learning import sampling
from vision_ik.learning.recipe import Recipe

_OTHERS = 0.05
"""Share of the cover loss spread over all heads at first; fades to zero at half time."""
_WINNER = 0.03
"""Weight of telling the judge, while covering, which head won."""
_EXPLORE = 0.25
"""Share of settle steps' samples whose head is drawn from the judge's odds instead of being its best."""
_CALIBRATION = 0.1
"""Weight of each head's own odds beside the expected success."""
_FLOOR = 1e-3
"""Keeps the log finite where no head succeeds."""
_WARM_UP = 100
"""Steps over which the learning rate rises."""


@dataclass(slots=True, eq=False, kw_only=True)
class Stage:
    """What the three stages share, and what has been learned so far."""

    chain: Chain
    network: SeedNetwork
    recipe: Recipe
    seed: int
    threads: int
    optimizer: torch.optim.Optimizer = field(init=False)
    pool_x: Floats32 = field(default_factory=lambda: np.zeros((0, FEATURES), np.float32))
    """(N, FEATURES) poses the judge learns from."""
    pool_labels: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    """(N, heads) which of their heads converge."""

    def __post_init__(self) -> None:
        self.begin("cover")

    def begin(self, stage: str) -> None:
        """Start the optimiser of a stage afresh; the judge learns with everything else frozen."""
        network = self.network
        parameters = network.parameters()
        if stage == "judge":
            parameters = [*network.judge.parameters(), *network.rank.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=self.recipe.learning_rate, betas=(0.9, 0.99), fused=True)

    def run(self, stage: str, part: int) -> float:
        """Run one part (0 to ``recipe.rounds`` - 1) of a stage; return its mean loss.

        Everything random in it follows from the seed, the stage and the part.
        """
        rng = np.random.default_rng((self.seed, STAGES.index(stage), part))
        total = {"cover": self.recipe.cover_steps, "settle": self.recipe.settle_steps, "judge": self.recipe.judge_steps}
        first, last = (total[stage] * k // self.recipe.rounds for k in (part, part + 1))
        step = {"cover": self._cover, "settle": self._settle, "judge": self._judge}[stage]
        if stage == "judge":
            self._gather(rng)
        loss = 0.0
        for k in range(first, last):
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate * _schedule(k, total[stage])
            value = step(rng, k / total[stage])
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()
            self.optimizer.step()
            loss += float(value.detach())
        return loss / max(last - first, 1)

    def _cover(self, rng: np.random.Generator, progress: float) -> Tensor:
        poses = sampling.sample(self.chain, self.network.symmetric, self.recipe.batch, rng)
        outputs, logits = self.network(torch.from_numpy(poses.x))
        squared = self._squared(outputs, torch.from_numpy(poses.y)[:, None])
        nearest, winner = squared.min(dim=1)
        others = _OTHERS * max(0.0, 1.0 - 2.0 * progress)
        loss = (1.0 - others) * nearest.mean() + others * squared.mean()
        return loss + _WINNER * functional.cross_entropy(logits, winner)

    def _settle(self, rng: np.random.Generator, progress: float) -> Tensor:
        del progress
        poses = sampling.sample(self.chain, self.network.symmetric, self.recipe.batch, rng)
        outputs, logits = self.network(torch.from_numpy(poses.x))
        rows = torch.arange(len(poses.x))
        chosen = torch.from_numpy(_choose(logits.detach().numpy(), rng))
        tried = outputs[rows, chosen]
        done, reached = sampling.refine_outputs(
            self.chain, self.network.symmetric, poses.q, tried.detach().numpy().copy(), threads=self.threads
        )
        success = torch.from_numpy(done.astype(np.float32))
        nearest = self._squared(outputs, torch.from_numpy(poses.y)[:, None]).min(dim=1)[0]
        moved = self._squared(tried, torch.from_numpy(reached)) * success
        odds = functional.binary_cross_entropy_with_logits(logits[rows, chosen], success)
        return nearest.mean() + moved.mean() + odds

    def _judge(self, rng: np.random.Generator, progress: float) -> Tensor:
        del progress
        rows = rng.integers(len(self.pool_x), size=self.recipe.batch)
        x = torch.from_numpy(self.pool_x[rows])
        labels = torch.from_numpy(self.pool_labels[rows].astype(np.float32))
        with torch.no_grad():
            h = self.network.trunk(x)
        logits = self.network.ranking(x, h)
        expected = (torch.softmax(logits, dim=1) * labels).sum(dim=1)
        odds = functional.binary_cross_entropy_with_logits(logits, labels)
        return -torch.log(expected + _FLOOR).mean() + _CALIBRATION * odds

    def _gather(self, rng: np.random.Generator) -> None:
        """Add to the judge's pool: fresh poses, and poses on which its present choice fails."""
        net, rounds = self.network.to_net(), self.recipe.rounds
        fresh = sampling.sample(self.chain, net.symmetric, -(-self.recipe.judge_poses // rounds), rng)
        searched = sampling.sample(self.chain, net.symmetric, -(-self.recipe.mined_poses // rounds), rng)
        failed = ~sampling.first_shot(self.chain, net, searched.q, threads=self.threads)[0]
        labels = sampling.label_heads(
            self.chain, net, np.concatenate([fresh.q, searched.q[failed]]), threads=self.threads
        )
        self.pool_x = np.concatenate([self.pool_x, fresh.x, searched.x[failed]])
        self.pool_labels = np.concatenate([self.pool_labels.reshape(-1, labels.shape[1]), labels])

    def _squared(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the squared joint distance (...,) [rad^2, m^2], angles the short way round."""
        inner = slice(1, -1) if self.network.symmetric else slice(None)
        half = torch.from_numpy(self.chain.half[inner].astype(np.float32))
        turn = torch.from_numpy(np.where(self.chain.prismatic[inner], np.inf, 2.0 * np.pi).astype(np.float32))
        d = (a - b) * half
        whole = torch.where(torch.isinf(turn), torch.zeros(()), torch.round(d / turn) * 2.0 * math.pi)
        return ((d - whole) ** 2).sum(dim=-1)


STAGES = ("cover", "settle", "judge")


def _schedule(step: int, total: int) -> float:
    """Return the factor on the learning rate: a short rise, then half a cosine to a thousandth."""
    return min(1.0, (step + 1) / _WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / total)) + 1e-3


def _choose(logits: Floats32, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a head for each row: mostly the best, else drawn from the softmax of half the logits (Gumbel-max)."""
    drawn = np.argmax(0.5 * logits + rng.gumbel(size=logits.shape), axis=1)
    return np.where(rng.random(len(logits)) < _EXPLORE, drawn, np.argmax(logits, axis=1))
