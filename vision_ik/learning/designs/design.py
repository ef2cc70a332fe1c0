"""What a design of learned seeds is: the knobs that the comparison turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from vision_ik.ik.chain import Chain
from vision_ik.ik.seeds import Floats32
from vision_ik.learning import sampling

Condition: TypeAlias = Literal["", "start", "elbow"]
"""What the network sees beside the pose: nothing, a start posture, or the third joint of seven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """One way of proposing postures for a pose. What is common to all is in `Task`."""

    name: str
    kind: Literal["heads", "flow", "flow matching"] = "heads"
    quotient: bool = True
    """Leave the outer joints to closed form where the arm allows it."""
    width: int = 64
    layers: int = 2
    """Hidden layers after the first; for a flow, its transforms."""
    heads: int = 32
    settle: bool = True
    """Pull heads to where the kernel takes them, as the second stage does."""
    judge: bool = True
    """Rank by a network trained on what the kernel makes of every head; else by which head won."""
    judges: int = 64
    """Units of the judge's hidden layer; 0: the judge is linear in the last hidden layer."""
    judge_sees_pose: bool = True
    """Whether the judge sees the network's input beside the last hidden layer."""
    grade: float = 0.8
    """What a head's success is worth to the judge, for each step taken: below 1, quick heads rank higher."""
    fk_weight: float = 0.0
    """Weight of the winner's squared pose error (FK consistency)."""
    unrolled: int = 0
    """Differentiable refinement steps after which the chosen head's pose error is taken."""
    unit_vectors: bool = False
    """Joints as (cos, sin) instead of in units of half their range."""
    condition: Condition = ""
    samples: int = 1
    """Draws of a flow, or grid values of the condition."""
    batch: int = 512
    learning_rate: float = 6e-3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Task:
    """What every design gets: an arm, a CPU budget, a seed."""

    chain: Chain
    symmetric: bool
    """Whether the arm has the symmetry of `vision_ik.ik.seeds`."""
    budget_s: float
    """[s] CPU time of the training, sampling and labelling included."""
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Proposals:
    """What a design makes of N poses."""

    outputs: Floats32
    """(N, K, outputs) joints in units of half their range from the middle."""
    scores: Floats32
    """(N, K), the best the highest; all equal where the design cannot rank."""


class Fitted(Protocol):
    """A trained design."""

    @property
    def weights(self) -> int:
        """Weights evaluated for one target."""
        ...

    def propose(self, poses: sampling.Poses, rng: np.random.Generator) -> Proposals:
        """Return proposals for poses; what made the poses (``q``, ``y``) is not looked at."""
        ...

    def forward_us(self, x: Floats32) -> tuple[float, str]:
        """Return the CPU time [us] of one pose's best proposal and how it was measured, on inputs (N, FEATURES)."""
        ...


def symmetric(design: Design, task: Task) -> bool:
    """Return whether the outer joints are left to closed form."""
    return design.quotient and task.symmetric


def outputs_of(design: Design, task: Task) -> int:
    """Return how many joints are proposed."""
    return len(task.chain.lower) - (2 if symmetric(design, task) else 0)
