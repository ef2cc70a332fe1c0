"""Forward kinematics: what a pose and a Jacobian cost, and whether pinocchio agrees."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from vision_ik.cli.benches import Figure, Level
from vision_ik.robots import RobotModel, kernels, list_robots, load_robot
from vision_ik.types import Floats

TITLE = "Forward kinematics: cost of a pose and of a Jacobian, agreement with pinocchio"

_BUDGET_US = 0.5
_AGREEMENT = 1e-9
_ROUNDS = 5


def run(*, level: Level = Level.NORMAL) -> list[Figure]:
    """Time the kernels on the Panda inside compiled code; compare every arm of the catalogue with pinocchio."""
    quick = level is Level.QUICK
    robot = load_robot("panda")
    q = robot.random(np.random.default_rng(1), 20_000 if quick else 200_000)
    pose = _cost_us(_poses, robot, q)
    jacobian = _cost_us(_jacobians, robot, q)
    figures = [
        Figure(
            name="pose of a 7-joint arm",
            value=pose,
            unit="us CPU",
            target=f"at most {_BUDGET_US}",
            met=pose <= _BUDGET_US,
            note=f"Panda, one after the other, best of {_ROUNDS} rounds",
        ),
        Figure(name="pose and Jacobian of a 7-joint arm", value=jacobian, unit="us CPU", note="same"),
    ]
    if importlib.util.find_spec("pinocchio") is None:
        missing = Figure(name="largest disagreement with pinocchio", value=float("nan"), note="needs the extra `bench`")
        return [*figures, missing]
    pin = importlib.import_module("pinocchio")
    return figures + _compare(pin, robot, q[:5000], jacobian, postures=20 if quick else 500)


def _compare(pin: Any, robot: RobotModel, q: Floats, jacobian_us: float, *, postures: int) -> list[Figure]:
    """Return agreement over the catalogue, and the cost of pinocchio's own loop as a ratio to ours."""
    errors = {name: _disagreement(pin, load_robot(name), postures) for name in list_robots()}
    worst = max(errors, key=lambda name: errors[name])
    model = pin.buildModelFromUrdf(str(robot.urdf_path))
    data, frame = model.createData(), model.getFrameId(robot.tip)
    start = time.process_time()
    for one in q:
        pin.computeFrameJacobian(model, data, one, frame, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED)
    ratio = (time.process_time() - start) / len(q) * 1e6 / jacobian_us
    return [
        Figure(
            name="largest disagreement with pinocchio",
            value=errors[worst],
            unit="m, 1",
            target=f"at most {_AGREEMENT:g}",
            met=errors[worst] <= _AGREEMENT,
            note=f"pose entries, {len(errors)} arms, {postures} postures each; worst: {worst}",
        ),
        Figure(name="pinocchio's Jacobian from Python, over ours", value=ratio, unit="x", note="same arm, same run"),
    ]


def _disagreement(pin: Any, robot: RobotModel, postures: int) -> float:
    """Return the largest difference of any entry of the tip's pose."""
    model = pin.buildModelFromUrdf(str(robot.urdf_path))
    data, frame = model.createData(), model.getFrameId(robot.tip)
    endless = np.isinf(robot.upper) & ~robot.prismatic
    worst = 0.0
    for q in robot.random(np.random.default_rng(2), postures):
        # pinocchio keeps cosine and sine of a joint without limits.
        parts = [[np.cos(x), np.sin(x)] if turns else [x] for x, turns in zip(q, endless, strict=True)]
        pin.framesForwardKinematics(model, data, np.concatenate(parts))
        worst = max(worst, float(np.abs(data.oMf[frame].homogeneous - robot.forward(q)).max()))
    return worst


def _cost_us(loop: Callable[..., None], robot: RobotModel, q: Floats) -> float:
    """Return the CPU time of one posture [us], best of several rounds."""
    loop(robot.fixed, robot.prismatic, q[:10])
    rounds: list[float] = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        loop(robot.fixed, robot.prismatic, q)
        rounds.append(time.process_time() - start)
    return min(rounds) / len(q) * 1e6


@njit(cache=True)
def _poses(fixed: Floats, prismatic: kernels.Bools, q: Floats) -> None:
    T = np.empty((4, 4))
    for k in range(q.shape[0]):
        kernels.fk(fixed, prismatic, q[k], T)


@njit(cache=True)
def _jacobians(fixed: Floats, prismatic: kernels.Bools, q: Floats) -> None:
    T = np.empty((4, 4))
    J = np.empty((6, q.shape[1]))
    for k in range(q.shape[0]):
        kernels.fk_jacobian(fixed, prismatic, q[k], T, J)
