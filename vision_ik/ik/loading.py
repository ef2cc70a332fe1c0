"""From a robot's name to a solver."""

from __future__ import annotations

import math
import os
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from vision_ik.ik.collision import CollisionModel
from vision_ik.ik.seeds import NO_NET, Net
from vision_ik.ik.solver import HybridSolver, make_solver
from vision_ik.ik.variants import WORTH, LearnedSeeds, first_shot, is_exact, random_shot
from vision_ik.ik.weights_file import find_shipped, load_weights, read_card, trained_for
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import TransformLike, as_transform


def load_solver(
    robot: RobotModel | str | Path,
    weights: str | Path | None = None,
    T_flange_tool: TransformLike | None = None,
    *,
    base: str | None = None,
    tip: str | None = None,
    learned: bool = True,
    tolerance_m: float = 1e-6,
    tolerance_rad: float = 1e-6,
    restarts: int = 100,
    seed: int = 0,
    threads: int = 1,
    self_collision: bool | CollisionModel = False,
) -> HybridSolver:
    """Return the solver of an arm, with learned seeds where there are any.

    Without ``weights`` the shipped ones of this arm are used. They serve a calibrated arm too, and one with other
    limits, base or tip: `HybridSolver.seeds` tells what that costs, measured. Where there are none, seeds are random,
    which costs time but solves just as exactly.

    Args:
        robot: A model, a catalogue name, or the path of a URDF.
        weights: Path of trained weights (``.safetensors``, its card beside it).
        T_flange_tool: Pose of the tool on the flange; identity if None.
        base: Link to start from; by default the catalogue's, or the root of the URDF.
        tip: Link to end at; by default the catalogue's, or the only leaf of the URDF.
        learned: False leaves the network out.
        tolerance_m: Position error up to which a solve counts as converged [m].
        tolerance_rad: Rotation error up to which it does [rad].
        restarts: Random postures tried when no other seed converges.
        seed: Of the random postures; at least 0 and below 2**53.
        threads: Threads a batch may use.
        self_collision: Whether solutions in which the arm touches itself are rejected, by the capsules of its URDF;
            or a model with a margin or pairs of your own.

    Raises:
        RobotError: The robot is unknown or its URDF cannot be used.
        WeightsError: The weights are corrupt or belong to another arm.
        InvalidPoseError: The tool transform is not rigid.
        TypeError: An argument is of a kind that cannot be meant.
        ValueError: Arguments contradict each other, or a setting makes no sense.
    """
    _check_kinds(robot, weights, learned, self_collision)
    for name, value in (("tolerance_m", tolerance_m), ("tolerance_rad", tolerance_rad)):
        _check_tolerance(name, value)
    for name, value, least in (("restarts", restarts, 0), ("seed", seed, 0), ("threads", threads, 1)):
        _check_count(name, value, least)
    if weights is not None and not learned:
        raise ValueError("Weights were given, but learned=False would leave them out; pass one or the other.")
    if isinstance(robot, RobotModel) and (base, tip) != (None, None):
        raise ValueError(f"A model runs from {robot.base} to {robot.tip}; base and tip choose a chain of a URDF.")
    model = robot if isinstance(robot, RobotModel) else load_robot(robot, base, tip)
    path = (Path(weights) if weights is not None else find_shipped(model)) if learned else None
    net, seeds = (NO_NET, None) if path is None else load_seeds(path, model, insist=weights is not None)
    return make_solver(
        model,
        net=net,
        seeds=seeds,
        T_flange_tool=None if T_flange_tool is None else as_transform(T_flange_tool),
        tolerance_m=tolerance_m,
        tolerance_rad=tolerance_rad,
        restarts=restarts,
        seed=seed,
        threads=threads,
        self_collision=self_collision,
    )


def load_seeds(path: str | Path, robot: RobotModel, *, insist: bool = False) -> tuple[Net, LearnedSeeds]:
    """Return the network in ``path`` and what it is worth on ``robot``; an empty one where it is not worth its time.

    On the arm it was trained for the card tells, and ``insist`` takes it nevertheless; where the card has no figures
    they are NaN and the network is taken. On a variant of that arm first shots are counted with and without it: some
    20 ms.

    Raises:
        WeightsError: The weights are missing, corrupt or belong to another arm.
    """
    weights = Path(path).with_suffix(".safetensors")
    net, card, nominal = load_weights(weights, robot), read_card(weights), trained_for(weights, robot)
    on_card = float(card["metrics"].get("first_shot", "nan"))
    exact = is_exact(nominal, robot)
    measured = on_card if exact else first_shot(robot, net)
    at_random = float(card["metrics"].get("random_start", "nan")) if exact else random_shot(robot, net)
    used = (exact and insist) or not measured < at_random + WORTH
    return net if used else NO_NET, LearnedSeeds(
        path=weights,
        trained_for=card["robot"],
        trained_for_hash=card["robot_hash"],
        exact=exact,
        first_shot_nominal=on_card,
        first_shot_measured=measured,
        used=used,
    )


def _check_kinds(robot: object, weights: object, learned: object, self_collision: object) -> None:
    if not isinstance(robot, RobotModel | str | os.PathLike):
        raise TypeError(
            f"robot must be a RobotModel, a name of the catalogue or the path of a URDF, not {_told(robot)}."
        )
    if not isinstance(weights, str | os.PathLike | None):
        raise TypeError(f"weights must be the path of a .safetensors file or None, not {_told(weights)}.")
    if not isinstance(learned, bool | np.bool_):
        raise TypeError(f"learned must be True or False, not {_told(learned)}.")
    if not isinstance(self_collision, bool | CollisionModel):
        raise TypeError(f"self_collision must be True, False or a CollisionModel, not {_told(self_collision)}.")


def _check_tolerance(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 1e-12 <= float(value) < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 1e-12, not {_told(value)}.")


def _check_count(name: str, value: object, least: int) -> None:
    # Restarts and seed travel to compiled code as doubles, which hold whole numbers up to 2**53.
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) < 2**53:
        floor = f"be at least {least}" if least else "not be negative"
        raise ValueError(f"{name} must be a whole number below 2**53 and must {floor}; it is {_told(value)}.")


def _told(value: object) -> str:
    """Return a short text of any value."""
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
