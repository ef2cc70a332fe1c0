"""The targets every IK bench is about: poses of uniform random joints, with one uniform random start each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from vision_ik.robots import RobotModel
from vision_ik.types import Floats

_SEED, _START_SEED = 7, 11


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Targets:
    """Reachable poses of an arm; the first ones are the same however many are drawn."""

    q: Floats
    """(N, n) the joints that made them [rad, m]."""
    Ts: Floats
    """(N, 4, 4) T_base_tip."""
    starts: Floats
    """(N, n) [rad, m]"""

    @classmethod
    def draw(cls, robot: RobotModel, count: int) -> Self:
        """Return ``count`` targets of ``robot``."""
        q = robot.random(np.random.default_rng(_SEED), count)
        return cls(q=q, Ts=robot.forward(q), starts=robot.random(np.random.default_rng(_START_SEED), count))

    def __len__(self) -> int:
        return len(self.q)

    def first(self, count: int) -> Targets:
        """Return the first ``count``."""
        return Targets(q=self.q[:count], Ts=self.Ts[:count], starts=self.starts[:count])
