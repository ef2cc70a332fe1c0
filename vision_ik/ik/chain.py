"""What the compiled solver knows of an arm, as plain arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_ik.errors import RobotError
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Floats

HALF_TURN = float(np.pi)
MOST_JOINTS = 63
"""The active set of a step is a word of 64 bits."""
SMALLEST_HALF = 1e-12
"""[rad], [m] Least half range, so that one may divide by that of a joint which is held in place."""


class Chain(NamedTuple):
    """A serial arm with its tool: ``T_base_tool = fixed[0] Z(q0) fixed[1] ... Z(q_last) fixed[n]``."""

    fixed: Floats
    """(n+1, 4, 4), the tool included in the last."""
    prismatic: NDArray[np.bool_]
    """(n,)"""
    lower: Floats
    """(n,) [rad] or [m], -inf where a joint turns without end."""
    upper: Floats
    """(n,)"""
    centre: Floats
    """(n,) middle of the range seeds are drawn from."""
    half: Floats
    """(n,) half of that range, never zero; at most half a turn, since more repeats the same postures."""
    ends: Floats
    """(2, 4, 4) inverses of ``fixed[0]`` and ``fixed[n]``."""
    reach: float
    """[m] From the first joint to the last, stretched out: at least the true reach."""


def make_chain(robot: RobotModel, T_flange_tool: Transform | None = None) -> Chain:
    """Return the arrays of ``robot`` carrying a tool, read-only.

    Raises:
        RobotError: The arm has too many joints.
    """
    if robot.n > MOST_JOINTS:
        raise RobotError(
            f"{robot.name} has {robot.n} joints, and the solver takes at most {MOST_JOINTS}.",
            "Choose a shorter chain with base= and tip= (--base and --tip on the command line).",
            joints=robot.n,
        )
    fixed = np.array(robot.fixed)
    if T_flange_tool is not None:
        fixed[-1] = fixed[-1] @ T_flange_tool.matrix
    lower, upper = np.array(robot.lower), np.array(robot.upper)
    span = robot.sample_upper - robot.sample_lower
    half = np.where(robot.prismatic, 0.5 * span, np.minimum(0.5 * span, HALF_TURN))
    centre = _centre(robot, half)
    slides = np.maximum(np.abs(robot.sample_lower), np.abs(robot.sample_upper))[robot.prismatic].sum()
    chain = Chain(
        fixed=fixed,
        prismatic=np.array(robot.prismatic),
        lower=lower,
        upper=upper,
        centre=centre,
        half=np.maximum(half, SMALLEST_HALF),
        ends=np.stack([np.linalg.inv(fixed[0]), np.linalg.inv(fixed[-1])]),
        reach=max(float(np.linalg.norm(fixed[1:-1, :3, 3], axis=1).sum() + slides), 1e-3),
    )
    for array in chain[:-1]:
        array.setflags(write=False)
    return chain


def _centre(robot: RobotModel, half: Floats) -> Floats:
    """Return the middle of the seed range: of the limits, but near zero where they span more than a turn."""
    lower, upper = robot.sample_lower, robot.sample_upper
    return np.clip(np.where(upper - lower > 2.0 * half, 0.0, 0.5 * (lower + upper)), lower + half, upper - half)
