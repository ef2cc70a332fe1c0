"""The three stages of training, each a plain loop over steps.

*Cover.* A pose has many solutions; a plain regression would propose their mean, which is none.
Winner-takes-all (Guzmán-Rivera et al., "Multiple choice learning", NeurIPS 2012) pulls only the
head nearest to the joints that made the pose, so heads settle on different branches. A small share
for the other heads, fading out, keeps them alive (Rupprecht et al., ICCV 2017).

*Settle.* The solver's own kernel refines what a head proposes. Where it converges, the head
is pulled to the posture reached: heads move from the mean of their cell onto the solutions. Whether it
converged teaches the judge.

*Judge.* With the heads frozen, every head is labelled by the kernel for many poses, and the judge maximises
the log of the expected success under its softmax, quick success a little more than slow. Poses where its
choice still fails are searched for and mixed in.

Poses are of uniform joints, a share of rare postures, and while settling neighbours of earlier failures (a
bootstrap: where it fails it trains more). For the judge, whose capacity is small, neighbours of failures are too
much of a bad thing: with them it ranks worse everywhere. Poses are made and labelled a chunk ahead, by the
network of the chunk before, while torch trains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from vision_ik.ik.chain import Chain
from vision_ik.ik.network import SeedNetwork
from vision_ik.ik.seeds import FEATURES, Floats32, Net
from vision_ik.learning import pulls
from vision_ik.learning.background import Ahead
from vision_ik.learning.labelling import Steps, Trials, first_shot, label_heads, try_heads
from vision_ik.learning.recipe import Recipe
from vision_ik.learning.sampling import RARE, Poses, perturb, poses_of, rare, sample
from vision_ik.types import Floats

STAGES = ("cover", "settle", "judge")

_OTHERS = 0.05
"""Share of the cover loss spread over all heads at first; fades to zero at half time."""
_EXPLORE = 0.25
"""Share of settle poses whose head is drawn from the judge's odds instead of being its best ..."""
_EXPLORED = 0.05
"""... down to which it falls from 1 in this share of the stage, while the judge knows nothing yet."""
_CALIBRATION = 0.1
"""Weight of each head's own odds beside the expected success."""
_FLOOR = 1e-3
"""Keeps the log finite where no head succeeds."""
_WARM_UP = 100
"""Steps over which the learning rate rises."""
_CHUNK = 64
"""Steps for which poses are made at once."""
_HEAD_START = 5
"""Chunks' worth of labels the judge begins with."""
_BANK = 100_000
"""Failures remembered, the latest."""


@dataclass(slots=True, eq=False, kw_only=True)
class Chunk:
    """Poses for some steps, and what was found out about them."""

    poses: Poses
    trials: Trials | None = None
    labels: Steps | None = None
    """(N, heads)"""
    failures: Floats
    """(M, n) joints of poses on which the best-ranked head failed."""


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
    pool_labels: Steps = field(init=False)
    """(N, heads) steps from each of their heads, 0 where it fails."""
    bank: Floats = field(init=False)
    """(M, n) joints of failures."""

    def __post_init__(self) -> None:
        self.pool_labels = np.zeros((0, self.recipe.heads), np.int8)
        self.bank = np.zeros((0, len(self.chain.lower)))
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
        total = {"cover": self.recipe.cover_steps, "settle": self.recipe.settle_steps, "judge": self.recipe.judge_steps}
        first, last = (total[stage] * k // self.recipe.rounds for k in (part, part + 1))
        begins = range(first, last, _CHUNK)
        loss = 0.0
        with Ahead[Chunk](self.threads) as ahead:
            self._start(ahead, stage, first, last, total[stage])
            for begin in begins:
                chunk, end = ahead.take(), min(begin + _CHUNK, last)
                if end < last:
                    self._start(ahead, stage, end, last, total[stage])
                self._remember(chunk)
                for k in range(begin, end):
                    for group in self.optimizer.param_groups:
                        group["lr"] = self.recipe.learning_rate * _schedule(k, total[stage])
                    self.optimizer.zero_grad(set_to_none=True)
                    rows = slice((k - begin) * self.recipe.batch, (k - begin + 1) * self.recipe.batch)
                    loss += self._judge(k) if stage == "judge" else self._heads(chunk, rows, k / total[stage])
                    self.optimizer.step()
        return loss / max(last - first, 1)

    # -- poses, made ahead ------------------------------------------------------

    def _start(self, ahead: Ahead[Chunk], stage: str, begin: int, last: int, total: int) -> None:
        """Start making the chunk of the steps from ``begin``, with the network and the failures known now."""
        steps = min(_CHUNK, last - begin)
        rng = np.random.default_rng((self.seed, STAGES.index(stage), begin))
        net, bank = self.network.to_net(), self.bank
        if stage == "judge":
            share = (steps if begin else _HEAD_START * steps) / total
            ahead.start(lambda: self._ranked(net, bank, share, rng))
        else:
            explore = max(_EXPLORE, 1.0 - begin / (_EXPLORED * total))
            count = steps * self.recipe.batch
            ahead.start(lambda: self._tried(net if stage == "settle" else None, bank, count, explore, rng))

    def _tried(self, net: Net | None, bank: Floats, count: int, explore: float, rng: np.random.Generator) -> Chunk:
        q = self._mixture(bank, count, rng)
        poses, none = poses_of(self.chain, self.network.symmetric, q), q[:0]
        if net is None:
            return Chunk(poses=poses, failures=none)
        luck = np.where(rng.random(count) < explore, rng.random(count), 1.0)
        trials = try_heads(self.chain, net, q, luck, threads=max(1, self.threads - 1))
        return Chunk(poses=poses, trials=trials, failures=q[trials.best & (trials.steps == 0)])

    def _ranked(self, net: Net, bank: Floats, share: float, rng: np.random.Generator) -> Chunk:
        threads = max(1, self.threads - 1)
        fresh = self._mixture(bank[:0], math.ceil(share * self.recipe.judge_poses), rng)
        searched = self._mixture(bank[:0], math.ceil(share * self.recipe.mined_poses), rng)
        failures = searched[first_shot(self.chain, net, searched, threads=threads) == 0]
        q = np.concatenate([fresh, failures])
        labels = label_heads(self.chain, net, q, threads=threads)
        return Chunk(poses=poses_of(self.chain, net.symmetric, q), labels=labels, failures=failures)

    def _mixture(self, bank: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Return joints (count, n): uniform, a share rare, a share near failures once there are enough; shuffled."""
        kinds = len(RARE)
        rares = [rare(self.chain, kind, int(self.recipe.rare * count / kinds), rng) for kind in RARE]
        near = int(self.recipe.near_failures * count) if len(bank) >= self.recipe.batch else 0
        around = perturb(self.chain, bank[rng.integers(max(len(bank), 1), size=near)], rng)
        plain = sample(self.chain, False, count - near - sum(map(len, rares)), rng).q
        return rng.permutation(np.concatenate([plain, around, *rares]))

    def _remember(self, chunk: Chunk) -> None:
        self.bank = np.concatenate([self.bank, chunk.failures])[-_BANK:]
        if chunk.labels is not None:
            self.pool_x = np.concatenate([self.pool_x, chunk.poses.x])
            self.pool_labels = np.concatenate([self.pool_labels, chunk.labels])

    # -- steps ------------------------------------------------------------------

    def _heads(self, chunk: Chunk, rows: slice, progress: float) -> float:
        """Compute the gradients of a step that moves the heads, and in the settle stage the judge; return the loss."""
        x = torch.from_numpy(chunk.poses.x[rows])
        h = self.network.trunk(x)
        outputs = self.network.heads(h)
        values = outputs.detach().numpy()
        gradient = np.empty_like(values)
        half, turn = pulls.scales(self.chain, self.network.symmetric)
        trials = chunk.trials
        others = 0.0 if trials is not None else _OTHERS * max(0.0, 1.0 - 2.0 * progress)
        loss = pulls.pull_nearest(values, chunk.poses.y[rows], half, turn, others, gradient)
        if trials is None:
            outputs.backward(torch.from_numpy(gradient))
            return loss
        chosen, steps = trials.head[rows], trials.steps[rows]
        loss += pulls.pull_chosen(values, chosen, steps, trials.reached[rows], half, turn, gradient)
        logits = self.network.ranking(x, h).gather(1, torch.from_numpy(chosen)[:, None])[:, 0]
        odds = functional.binary_cross_entropy_with_logits(logits, torch.from_numpy((steps > 0).astype(np.float32)))
        torch.autograd.backward([outputs, odds], [torch.from_numpy(gradient), torch.ones(())])
        return loss + float(odds.detach())

    def _judge(self, step: int) -> float:
        """Compute the gradients of a step that teaches the judge on every head's label; return the loss."""
        rng = np.random.default_rng((self.seed, len(STAGES), step))
        rows = rng.integers(len(self.pool_x), size=self.recipe.batch)
        x, steps = torch.from_numpy(self.pool_x[rows]), self.pool_labels[rows]
        labels = torch.from_numpy((steps > 0).astype(np.float32))
        worth = labels * torch.from_numpy((1.0 - self.recipe.step_price) ** steps.astype(np.float32))
        with torch.no_grad():
            h = self.network.trunk(x)
        logits = self.network.ranking(x, h)
        expected = (torch.softmax(logits, dim=1) * worth).sum(dim=1)
        odds = functional.binary_cross_entropy_with_logits(logits, labels)
        loss = _CALIBRATION * odds - torch.log(expected + _FLOOR).mean()
        loss.backward()
        return float(loss.detach())


def _schedule(step: int, total: int) -> float:
    """Return the factor on the learning rate: a short rise, then half a cosine to a thousandth."""
    return min(1.0, (step + 1) / _WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / total)) + 1e-3
