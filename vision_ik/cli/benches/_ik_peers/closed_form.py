"""Peers that solve the equations of an arm's geometry, where it has one they know."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from vision_ik.cli.benches._ik_peers.peer import Peer, Solve, load, turned_inside, zero_frames
from vision_ik.errors import RobotError
from vision_ik.robots import RobotModel
from vision_ik.types import Floats


def _ssik(robot: RobotModel) -> Solve:
    """Build the solver that `ssik build` makes of our URDF: its shipped ones differ in the last digits or limits."""
    cli = load("ssik.cli", "ssik")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"{robot.name}_ik.py"
        words = ["build", str(robot.urdf_path), "--base", robot.base, "--ee", robot.tip]
        words += ["--no-validate", "--out", str(out)]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                code: object = cli.main(words)
            except SystemExit as leaving:
                code = leaving.code
        if code or not out.exists():
            lines = [line.strip() for line in said.getvalue().splitlines() if line.strip()]
            raise RobotError(f"ssik build: {lines[-1] if lines else code}", "Measure another arm.", robot=robot.name)
        module = _module(out)
    solve: Any = module.solve

    def call(T_base_tip: Floats, start: Floats) -> Floats | None:
        found = solve(T_base_tip, max_solutions=1, q_seed=start)
        return found[0].q if found else None

    return call


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise RobotError(f"{path.name} is no Python module.", "Measure another arm.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def eaik_arm(robot: RobotModel) -> Any:
    """Return EAIK's robot.

    Raises:
        MissingDependencyError: EAIK is not installed.
        RobotError: It refuses the arm.
    """
    homogeneous = load("eaik.IK_Homogeneous", "EAIK")
    if robot.prismatic.any():
        raise RobotError("EAIK takes turning joints only.", "Measure another arm.", robot=robot.name)
    try:
        arm: Any = homogeneous.HomogeneousRobot(zero_frames(robot))
    except RuntimeError as error:
        raise RobotError(f"EAIK: {str(error).strip()}", "Measure another arm.", robot=robot.name) from error
    if not arm.hasKnownDecomposition():
        raise RobotError("EAIK knows no decomposition of this arm.", "Measure another arm.", robot=robot.name)
    return arm


def first_inside(robot: RobotModel, found: Any) -> Floats | None:
    """Return the first exact branch (n,) inside the limits of those that EAIK lists; None if there is none."""
    lower, upper = robot.lower, robot.upper
    for q, approximate in zip(found.Q, found.is_LS, strict=True):
        if approximate:
            continue
        inside = turned_inside(robot, np.asarray(q))
        if ((inside >= lower) & (inside <= upper)).all():
            return inside
    return None


def _eaik(robot: RobotModel) -> Solve:
    arm = eaik_arm(robot)

    def call(T_base_tip: Floats, start: Floats) -> Floats | None:
        del start  # it lists every branch; the first inside the limits will do
        return first_inside(robot, arm.IK(T_base_tip))

    return call


PEERS = (
    Peer(
        key="ssik",
        name="ssik",
        setting="module built by `ssik build` from the URDF; the solution nearest to the start",
        make=_ssik,
    ),
    Peer(key="eaik", name="EAIK", setting="the first exact branch inside the limits", make=_eaik),
)
