"""Compiled peers that iterate from a start and restart by themselves."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

from vision_ik.cli.benches._ik_peers.peer import Peer, Solve, load, zero_frames
from vision_ik.robots import RobotModel
from vision_ik.types import Floats


def _toolbox(robot: RobotModel) -> Solve:
    """Build the Robotics Toolbox's C solver on an elementary transform sequence of this very chain."""
    package = "roboticstoolbox-python"
    rtb = load("roboticstoolbox", package)
    ets: Any = rtb.ETS()
    for k in range(robot.n):
        limits = [float(robot.sample_lower[k]), float(robot.sample_upper[k])]
        joint = rtb.ET.tz(jindex=k, qlim=limits) if robot.prismatic[k] else rtb.ET.Rz(jindex=k, qlim=limits)
        ets = ets * rtb.ET.SE3(np.array(robot.fixed[k])) * joint
    ets = ets * rtb.ET.SE3(np.array(robot.fixed[-1]))

    def call(T_base_tip: Floats, start: Floats) -> Floats | None:
        found = ets.ik_LM(T_base_tip, q0=start, tol=5e-13, slimit=200, k=0.1)
        return found.q if found.success else None

    return call


def _cartan(robot: RobotModel) -> Solve:
    cartan = load("cartan", "cartan-bindings")
    frames = zero_frames(robot)
    axes: list[Any] = []
    for slides, T in zip(robot.prismatic, frames[:-1], strict=True):
        axis, point = T[:3, 2].copy(), T[:3, 3].copy()
        axes.append(cartan.ScrewAxis.prismatic(axis) if slides else cartan.ScrewAxis.revolute(axis, point))
    limits = [
        cartan.JointLimits(float(low), float(high))
        for low, high in zip(robot.sample_lower, robot.sample_upper, strict=True)
    ]
    chain = cartan.KinematicChain(cartan.SE3.from_matrix(frames[-1]), axes, limits)
    config = cartan.IkConfig(
        position_tol=9e-7, orientation_tol=9e-7, max_total_iterations=5000, max_total_work_units=5000
    )

    def call(T_base_tip: Floats, start: Floats) -> Floats | None:
        target = cartan.SE3.from_matrix(T_base_tip)
        found = cartan.solve_ik_speed(chain, target, start, config)
        if not found.converged:
            found = cartan.solve_ik(chain, target, start, config)
        return found.q if found.converged else None

    return call


def _optik(robot: RobotModel) -> Solve:
    optik = load("optik", "optik-py")
    with tempfile.TemporaryDirectory() as folder:
        urdf = bounded_urdf(robot, Path(folder))
        arm: Any = optik.Robot.from_urdf_file(str(urdf), robot.base, robot.tip)
    arm.set_parallelism(1)
    config = optik.SolverConfig(
        solution_mode="speed", max_time=0.0, max_restarts=100, tol_f=1e-12, tol_df=-1.0, tol_dx=-1.0
    )

    def call(T_base_tip: Floats, start: Floats) -> Floats | None:
        found = arm.ik(config, T_base_tip, start)
        return None if found is None else np.array(found[0])

    return call


def _trac_ik(robot: RobotModel) -> Solve:
    """Build TRAC-IK; its binding takes limits and targets in single precision, so the limits are rounded inwards."""
    trac_ik = load("trac_ik", "pytracik")
    arm: Any = trac_ik.TracIK(robot.base, robot.tip, str(robot.urdf_path), timeout=0.1, epsilon=1e-7)
    lower = np.nextafter(robot.sample_lower.astype(np.float32), np.float32(np.inf))
    upper = np.nextafter(robot.sample_upper.astype(np.float32), np.float32(-np.inf))
    arm.joint_limits = lower.astype(np.float64).tolist(), upper.astype(np.float64).tolist()

    def call(T_base_tip: Floats, start: Floats) -> Floats | None:
        found = arm.ik(T_base_tip[:3, 3], T_base_tip[:3, :3], start)
        return None if found is None else np.asarray(found)

    return call


def bounded_urdf(robot: RobotModel, folder: Path) -> Path:
    """Write the robot's URDF with half a turn either way for continuous joints, which some peers refuse."""
    tree = ElementTree.parse(robot.urdf_path)
    for joint in tree.getroot().findall("joint"):
        if joint.get("type") != "continuous":
            continue
        joint.set("type", "revolute")
        limit = joint.find("limit")
        if limit is None:
            limit = ElementTree.SubElement(joint, "limit", {"effort": "1", "velocity": "1"})
        limit.set("lower", repr(-np.pi))
        limit.set("upper", repr(float(np.pi)))
    path = folder / "bounded.urdf"
    tree.write(path)
    return path


PEERS = (
    Peer(
        key="toolbox",
        name="Robotics Toolbox ik_LM",
        setting="its C solver, method chan with k 0.1, tol 5e-13 (half the squared error), up to 200 searches",
        make=_toolbox,
    ),
    Peer(
        key="cartan",
        name="cartan",
        setting="solve_ik_speed, solve_ik where that fails, tolerances 9e-7, 5,000 steps in all",
        make=_cartan,
    ),
    Peer(
        key="optik",
        name="OptIK",
        setting="speed mode, tol_f 1e-12 (squared error), up to 100 restarts; continuous joints within half a turn",
        make=_optik,
    ),
    Peer(
        key="trac_ik",
        name="TRAC-IK",
        setting="speed mode, epsilon 1e-7 (it takes targets in single precision), 0.1 s; both its threads count",
        make=_trac_ik,
    ),
)
