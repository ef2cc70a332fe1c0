"""The solvers measured beside ours, each with the same starts and told to stop at the same tolerance."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from scipy.spatial.transform import Rotation

from vision_ik.errors import MissingDependencyError
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

Fk: TypeAlias = Callable[[Floats], Floats]

_TOLERANCE = 1e-6
"""[m], [rad]"""


class PeerIk(Protocol):
    """A solver with restarts; a context manager."""

    def solve(self, T_base_tip: Floats, starts: Floats) -> Floats | None:
        """Return joints (n,) for a pose (4, 4), tried from ``starts`` (attempts, n) in turn, or None."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def independent_fk(robot: RobotModel) -> tuple[Fk, str]:
    """Return an FK of the tip in the base frame and its name: pinocchio's where it is installed, else ours."""
    try:
        arm = _PinocchioArm(robot)
    except MissingDependencyError:
        return robot.forward, "our own FK (pinocchio is not installed)"
    return arm.forward, "pinocchio's FK"


def peers(robot: RobotModel) -> Iterator[tuple[str, Callable[[], PeerIk]]]:
    """Yield name and constructor of each peer; constructing one raises MissingDependencyError if it is absent."""
    yield "PyBullet with restarts", lambda: _Bullet(robot)
    yield "pinocchio LM with restarts", lambda: _PinocchioLm(robot)


class _PinocchioArm:
    """Pinocchio's model of the robot's URDF, its joints in our order."""

    def __init__(self, robot: RobotModel) -> None:
        try:
            self.pin: Any = importlib.import_module("pinocchio")
        except ImportError as error:
            raise MissingDependencyError(
                "pinocchio is not installed.", "Install it with `pip install pin`.", package="pin"
            ) from error
        self.model: Any = self.pin.buildModelFromUrdf(str(robot.urdf_path))
        self.data: Any = self.model.createData()
        joints = [self.model.joints[self.model.getJointId(name)] for name in robot.joint_names]
        self.rows = np.array([joint.idx_q for joint in joints])
        self.columns = np.array([joint.idx_v for joint in joints])
        self.tip = self.model.getFrameId(robot.tip)
        self.base = self.model.getFrameId(robot.base)
        self.neutral: Floats = self.pin.neutral(self.model)
        if self.model.nq != self.model.nv:
            raise MissingDependencyError(
                f"{robot.name} has continuous joints, which pinocchio counts twice.",
                "Measure an arm whose joints have limits.",
                robot=robot.name,
            )

    def configuration(self, q: Floats) -> Floats:
        full = self.neutral.copy()
        full[self.rows] = q
        return full

    def forward(self, q: Floats) -> Floats:
        self.pin.framesForwardKinematics(self.model, self.data, self.configuration(q))
        T_base_tip = self.data.oMf[self.base].inverse() * self.data.oMf[self.tip]
        return np.array(T_base_tip.homogeneous)


class _PinocchioLm:
    """Damped least squares in Python over pinocchio's Jacobian: error-proportional damping, limits by clamping."""

    iterations = 20
    """Steps from one start; 20 gives the least time per solved pose, and solves as many as 100."""

    def __init__(self, robot: RobotModel) -> None:
        self._arm = _PinocchioArm(robot)
        self._lower, self._upper = robot.lower, robot.upper

    def solve(self, T_base_tip: Floats, starts: Floats) -> Floats | None:
        arm, pin = self._arm, self._arm.pin
        pin.framesForwardKinematics(arm.model, arm.data, arm.neutral)
        T_root_tip = arm.data.oMf[arm.base] * pin.SE3(T_base_tip)
        for start in starts:
            q = arm.configuration(start)
            for _ in range(self.iterations):
                pin.framesForwardKinematics(arm.model, arm.data, q)
                T_tip_target = arm.data.oMf[arm.tip].actInv(T_root_tip)
                e = pin.log6(T_tip_target).vector
                if np.linalg.norm(e[:3]) < _TOLERANCE and np.linalg.norm(e[3:]) < _TOLERANCE:
                    return q[arm.rows]
                J = pin.computeFrameJacobian(arm.model, arm.data, q, arm.tip, pin.LOCAL)[:, arm.columns]
                J = pin.Jlog6(T_tip_target.inverse()) @ J
                H = J.T @ J
                H[np.diag_indices_from(H)] += 1e-2 * (e @ e) + 1e-12
                q[arm.rows] = np.clip(q[arm.rows] + np.linalg.solve(H, J.T @ e), self._lower, self._upper)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _Bullet:
    """PyBullet, its answers judged by our FK (a thousandth of what it takes itself)."""

    def __init__(self, robot: RobotModel) -> None:
        from sim.ik_peer import BulletIk

        self._robot, self._ik = robot, BulletIk(robot)

    def solve(self, T_base_tip: Floats, starts: Floats) -> Floats | None:
        from vision_ik.cli.benches.ik import reached

        quaternion = Rotation.from_matrix(T_base_tip[:3, :3]).as_quat()
        return self._ik.solve(
            T_base_tip[:3, 3], quaternion, starts, lambda q: reached(self._robot, self._robot.forward, q, T_base_tip)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ik.close()
