"""One judge for every answer, ours and the peers': an FK that belongs to neither, and the limits.

Solved means within 1e-6 m and 1e-6 rad of the target, inside the limits. The judge allows 1e-9 beyond
each, which is what two readings of one URDF may differ by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vision_ik.cli.benches._pinocchio import PinocchioArm
from vision_ik.errors import MissingDependencyError
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

Fk: TypeAlias = Callable[[Floats], Floats]

TOLERANCE_M = 1e-6
TOLERANCE_RAD = 1e-6
SLACK = 1e-9
"""[m], [rad] Allowed beyond the tolerances and the limits."""


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Whether answers are right; see the module."""

    robot: RobotModel
    name: str
    """Whose FK it is."""
    forward: Fk

    def inside(self, q: Floats) -> NDArray[np.bool_]:
        """Return which postures (N, n) keep the limits; NaN does not."""
        kept: NDArray[np.bool_] = (q >= self.robot.lower - SLACK) & (q <= self.robot.upper + SLACK)
        return np.all(kept, axis=1)

    def errors(self, q: Floats, Ts_base_tip: Floats) -> tuple[Floats, Floats]:
        """Return the distances (N,) [m] and angles (N,) [rad] of postures (N, n) from targets (N, 4, 4)."""
        reached = np.full((len(q), 4, 4), np.nan)
        for k in np.flatnonzero(np.isfinite(q).all(axis=-1)):
            reached[k] = self.forward(q[k])
        return pose_distance(reached, Ts_base_tip)

    def solved(self, q: Floats, Ts_base_tip: Floats) -> NDArray[np.bool_]:
        """Return which postures (N, n) reach their targets (N, 4, 4) inside the limits; NaN does not."""
        metres, radians = self.errors(q, Ts_base_tip)
        return self.inside(q) & (metres <= TOLERANCE_M + SLACK) & (radians <= TOLERANCE_RAD + SLACK)


def make_judge(robot: RobotModel, *, from_urdf: bool = True) -> Judge:
    """Return the judge of an arm: with pinocchio's FK where it is installed, else with ours, and its name says so.

    Args:
        robot: The arm.
        from_urdf: Whether the chain is the one of its URDF; False for variants that stand in no file.
    """
    try:
        arm = PinocchioArm(robot, from_urdf=from_urdf)
    except MissingDependencyError:
        return Judge(robot, "our own FK (pinocchio is not installed)", robot.forward)
    return Judge(robot, "pinocchio's FK", arm.forward)


def pose_distance(Ts: Floats, Ts_target: Floats) -> tuple[Floats, Floats]:
    """Return the distances (N,) [m] and angles (N,) [rad] between poses (N, 4, 4); NaN stays NaN."""
    R = np.swapaxes(Ts[:, :3, :3], 1, 2) @ Ts_target[:, :3, :3]
    axis = np.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], axis=-1)
    angles = np.arctan2(0.5 * np.linalg.norm(axis, axis=-1), 0.5 * (np.trace(R, axis1=1, axis2=2) - 1.0))
    return np.linalg.norm(Ts[:, :3, 3] - Ts_target[:, :3, 3], axis=-1), angles
