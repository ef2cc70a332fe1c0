"""Pinocchio's reading of an arm: the kinematics that judges every answer, and that one of the peers runs on."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from vision_ik.errors import MissingDependencyError
from vision_ik.robots import RobotModel
from vision_ik.types import Floats


class PinocchioArm:
    """An arm in pinocchio, its joints in our order and continuous ones as plain angles.

    Args:
        robot: The arm.
        from_urdf: Whether pinocchio reads the URDF itself. False builds the same chain from ``robot.fixed``,
            for variants that stand in no file.

    Raises:
        MissingDependencyError: Pinocchio is not installed.
    """

    def __init__(self, robot: RobotModel, *, from_urdf: bool = True) -> None:
        try:
            self.pin: Any = importlib.import_module("pinocchio")
        except ImportError as error:
            raise MissingDependencyError(
                "pinocchio is not installed.", "Install it with `pip install pin`.", package="pin"
            ) from error
        self.model: Any = self.pin.buildModelFromUrdf(str(robot.urdf_path)) if from_urdf else self._chain(robot)
        self.data: Any = self.model.createData()
        joints = [self.model.joints[self.model.getJointId(name)] for name in robot.joint_names]
        self.columns = np.array([joint.idx_v for joint in joints])
        """(n,) where each joint stands in velocities and Jacobians."""
        self._rows = np.array([joint.idx_q for joint in joints])
        # A continuous joint is a pair (cos, sin) to pinocchio.
        self._pairs = np.array([joint.nq == 2 for joint in joints])
        self.tip: int = self.model.getFrameId(robot.tip)
        self.base: int = self.model.getFrameId(robot.base)
        self._neutral: Floats = self.pin.neutral(self.model)

    def configuration(self, q: Floats) -> Floats:
        """Return pinocchio's configuration for joints ``q`` (n,), those not on the chain at rest."""
        full = self._neutral.copy()
        pairs, rows = self._pairs, self._rows
        if not pairs.any():
            full[rows] = q
            return full
        full[rows[~pairs]] = q[~pairs]
        full[rows[pairs]], full[rows[pairs] + 1] = np.cos(q[pairs]), np.sin(q[pairs])
        return full

    def place(self, configuration: Floats) -> Any:
        """Return pinocchio's T_base_tip of a configuration."""
        self.pin.forwardKinematics(self.model, self.data, configuration)
        T_root_base = self.pin.updateFramePlacement(self.model, self.data, self.base)
        return T_root_base.actInv(self.pin.updateFramePlacement(self.model, self.data, self.tip))

    def forward(self, q: Floats) -> Floats:
        """Return T_base_tip (4, 4) of joints ``q`` (n,)."""
        return np.array(self.place(self.configuration(q)).homogeneous)

    def _chain(self, robot: RobotModel) -> Any:
        pin = self.pin
        model = pin.Model()
        model.addFrame(pin.Frame(robot.base, 0, 0, pin.SE3.Identity(), pin.FrameType.BODY))
        last = 0
        for k, name in enumerate(robot.joint_names):
            joint = pin.JointModelPZ() if robot.prismatic[k] else pin.JointModelRZ()
            last = model.addJoint(last, joint, pin.SE3(robot.fixed[k]), name)
        model.addFrame(pin.Frame(robot.tip, last, 0, pin.SE3(robot.fixed[-1]), pin.FrameType.BODY))
        return model
