"""From a robot's name to a solver."""

from __future__ import annotations

from pathlib import Path

from vision_ik.ik.seeds import NO_NET
from vision_ik.ik.solver import HybridSolver, make_solver
from vision_ik.ik.weights_file import find_shipped, load_weights
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import TransformLike, as_transform


def load_solver(
    robot: RobotModel | str | Path,
    weights: str | Path | None = None,
    T_flange_tool: TransformLike | None = None,
    *,
    learned: bool = True,
    tolerance_m: float = 1e-6,
    tolerance_rad: float = 1e-6,
    restarts: int = 40,
    seed: int = 0,
    threads: int = 1,
) -> HybridSolver:
    """Return the solver of an arm, with learned seeds where there are any.

    Without ``weights`` the shipped ones are used if they were trained for exactly this chain and these limits;
    otherwise seeds are random, which costs time but solves just as exactly.

    Args:
        robot: A model, a catalogue name, or the path of a URDF.
        weights: Path of trained weights (``.safetensors``, its card beside it).
        T_flange_tool: Pose of the tool on the flange; identity if None.
        learned: False leaves the network out.
        tolerance_m: Position error up to which a solve counts as converged [m].
        tolerance_rad: Rotation error up to which it does [rad].
        restarts: Random postures tried when no other seed converges.
        seed: Of the random postures.
        threads: Threads a batch may use.

    Raises:
        RobotError: The robot is unknown or its URDF cannot be used.
        WeightsError: The weights are corrupt or belong to another chain.
        InvalidPoseError: The tool transform is not rigid.
    """
    model = robot if isinstance(robot, RobotModel) else load_robot(robot)
    path = (Path(weights) if weights is not None else find_shipped(model)) if learned else None
    return make_solver(
        model,
        net=NO_NET if path is None else load_weights(path, model),
        T_flange_tool=None if T_flange_tool is None else as_transform(T_flange_tool),
        tolerance_m=tolerance_m,
        tolerance_rad=tolerance_rad,
        restarts=restarts,
        seed=seed,
        threads=threads,
    )
