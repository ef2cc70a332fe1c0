"""Where in the workspace the seeds serve well: first-shot success and time by radius and height."""

from __future__ import annotations

from dataclasses import dataclass
from time import thread_time

import numpy as np

from vision_ik.ik.chain import make_chain
from vision_ik.ik.seeds import Net
from vision_ik.learning import sampling
from vision_ik.learning.labelling import first_shot
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

_SEED = 30_000
_CELLS = (16, 24)
"""Along radius and height."""
_MOST = 200
"""Targets of one cell."""
_LEAST = 50
"""Targets below which a cell says nothing."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WorkspaceMap:
    """Success and time of the first shot by where the flange is to go; NaN where hardly any posture leads.

    Orientations are those of random joints that bring the flange there.
    """

    radius: Floats
    """(R + 1,) edges of the cells: distance from the z axis of the base [m]."""
    height: Floats
    """(Z + 1,) edges of the cells: above the base [m]."""
    first_shot: Floats
    """(R, Z) share solved from the best-ranked head."""
    time: Floats
    """(R, Z) [s] CPU time of one target: network and refinement."""
    targets: int
    """Measured in all."""

    def as_dict(self) -> dict[str, float]:
        """Return what the card says of it: shares solved in the worst cells, the time in the slowest."""
        shares, times = self.first_shot[np.isfinite(self.first_shot)], self.time[np.isfinite(self.time)]
        if not len(shares):
            return {"targets": self.targets, "cells": 0}
        return {
            "targets": self.targets,
            "cells": len(shares),
            "first_shot_worst_cell": round(float(shares.min()), 5),
            "first_shot_p5_cell": round(float(np.percentile(shares, 5)), 5),
            "first_shot_median_cell": round(float(np.median(shares)), 5),
            "time_slowest_to_median_cell": round(float(times.max() / np.median(times)), 2),
        }


def map_workspace(robot: RobotModel, net: Net, *, candidates: int = 500_000, seed: int = _SEED) -> WorkspaceMap:
    """Return first-shot success and time over the workspace.

    Args:
        robot: The arm.
        net: Its seeds.
        candidates: Random postures among which each cell finds its targets.
        seed: Of the postures.
    """
    chain = make_chain(robot)
    q = sampling.sample(chain, False, candidates, np.random.default_rng(seed)).q
    p = robot.forward(q)[:, :3, 3]
    radius = np.linspace(0.0, np.hypot(p[:, 0], p[:, 1]).max() * (1 + 1e-9), _CELLS[0] + 1)
    height = np.linspace(p[:, 2].min(), p[:, 2].max() + 1e-9, _CELLS[1] + 1)
    row = np.digitize(np.hypot(p[:, 0], p[:, 1]), radius) - 1
    column = np.clip(np.digitize(p[:, 2], height) - 1, 0, _CELLS[1] - 1)
    cell = row * _CELLS[1] + column
    order = np.argsort(cell, kind="stable")
    begins = np.searchsorted(cell[order], np.arange(_CELLS[0] * _CELLS[1] + 1))
    shares, times = np.full(_CELLS[0] * _CELLS[1], np.nan), np.full(_CELLS[0] * _CELLS[1], np.nan)
    first_shot(chain, net, q[:1])  # compiled before the clock runs
    targets = 0
    for k in range(len(shares)):
        chosen = order[begins[k] : min(begins[k + 1], begins[k] + _MOST)]
        if len(chosen) < _LEAST:
            continue
        begin = thread_time()
        steps = first_shot(chain, net, q[chosen])
        times[k] = (thread_time() - begin) / len(chosen)
        shares[k] = float((steps > 0).mean())
        targets += len(chosen)
    return WorkspaceMap(
        radius=radius,
        height=height,
        first_shot=shares.reshape(_CELLS),
        time=times.reshape(_CELLS),
        targets=targets,
    )
