"""How long to train and with what: the knobs of `vision_ik.learning.train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeAlias

DEFAULT_BUDGET_S = 120.0
"""[s] Wall time on two quiet cores for which the counts below are; other budgets scale them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Sizes and counts of one training; the result follows from these, the seed and the arm alone."""

    width: int = 64
    layers: int = 1
    heads: int = 32
    judges: int = 64
    batch: int = 512
    cover_steps: int = 6000
    """Winner-takes-all steps: the heads spread over the solutions."""
    settle_steps: int = 18_000
    """Steps in which the heads move to where refinement takes them, and the judge learns from success."""
    judge_steps: int = 28_000
    """Steps of the judge alone, on labels of every head."""
    judge_poses: int = 400_000
    """Poses of which every head is labelled."""
    mined_poses: int = 7_000_000
    """Poses searched for failures of the best-ranked head."""
    rare: float = 0.1
    """Share of poses of rare postures, all kinds together."""
    near_failures: float = 0.15
    """Share of the settle stage's poses near earlier failures."""
    step_price: float = 0.1
    """Share of a success's worth to the judge that each step of refinement costs."""
    rounds: int = 10
    """Parts of a stage; progress is reported and kept after each."""
    learning_rate: float = 6e-3

    @classmethod
    def for_budget(cls, budget_s: float) -> Recipe:
        """Return the recipe for about this many seconds of wall time on two quiet cores.

        Counts, not the clock, end the training, so that it does not depend on how busy the machine is.

        Raises:
            ValueError: The budget is not positive.
        """
        if not budget_s > 0.0:
            raise ValueError(f"The budget must be a positive number of seconds, not {budget_s}.")
        full, share = cls(), budget_s / DEFAULT_BUDGET_S

        def scaled(count: int) -> int:
            return max(full.rounds, round(count * share))

        return cls(
            cover_steps=scaled(full.cover_steps),
            settle_steps=scaled(full.settle_steps),
            judge_steps=scaled(full.judge_steps),
            judge_poses=max(full.batch, scaled(full.judge_poses)),
            mined_poses=scaled(full.mined_poses),
        )

    def as_dict(self) -> dict[str, int | float]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training stands."""

    stage: str
    """"cover", "settle" or "judge"."""
    fraction: float
    """Of the whole training, in [0, 1]."""
    first_shot: float
    """Share of validation poses whose best-ranked seed converges."""
    iterations: float
    """Mean steps of those that do."""
    loss: float
    elapsed_s: float
    """[s] Wall time since this call began."""


OnProgress: TypeAlias = Callable[[Progress], None]
