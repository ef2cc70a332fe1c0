"""PyBullet's inverse kinematics as a peer to measure against, with the restarts it needs."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from sim.bullet import load_pybullet
from vision_ik.robots import RobotModel
from vision_ik.types import Floats


class BulletIk:
    """`pybullet.calculateInverseKinematics` on the URDF of one arm; a context manager.

    PyBullet gives its best after ``iterations`` without saying whether that is good, and knows no
    limits unless told to stay near a rest posture, which costs it exactness. So angles are turned into the limits by
    whole turns, and ``accept`` judges.

    Args:
        robot: The arm; its base must be the root of its URDF.
        iterations: Steps PyBullet may take from one start; 500 gives the least time per solved pose.

    Raises:
        MissingDependencyError: PyBullet is not installed.
    """

    def __init__(self, robot: RobotModel, *, iterations: int = 500) -> None:
        pybullet = self._pybullet = load_pybullet()
        self._client = pybullet.connect(pybullet.DIRECT)
        self._robot, self._iterations = robot, iterations
        self._body = pybullet.loadURDF(str(robot.urdf_path), useFixedBase=True, physicsClientId=self._client)
        joints: dict[str, int] = {}
        links: dict[str, int] = {}
        movable: list[int] = []
        for k in range(pybullet.getNumJoints(self._body, physicsClientId=self._client)):
            info = pybullet.getJointInfo(self._body, k, physicsClientId=self._client)
            joints[info[1].decode()], links[info[12].decode()] = k, k
            if info[2] != pybullet.JOINT_FIXED:
                movable.append(k)
        self._tip = links[robot.tip]
        self._joints = [joints[name] for name in robot.joint_names]
        self._columns = [movable.index(k) for k in self._joints]

    def solve(
        self, position: Floats, quaternion_xyzw: Floats, starts: Floats, accept: Callable[[Floats], bool]
    ) -> Floats | None:
        """Return the first accepted answer over the ``starts`` (attempts, n), or None."""
        pybullet = self._pybullet
        lower = self._robot.lower
        for start in starts:
            for joint, value in zip(self._joints, start, strict=True):
                pybullet.resetJointState(self._body, joint, float(value), physicsClientId=self._client)
            answer = pybullet.calculateInverseKinematics(
                self._body,
                self._tip,
                position.tolist(),
                quaternion_xyzw.tolist(),
                maxNumIterations=self._iterations,
                residualThreshold=1e-10,
                physicsClientId=self._client,
            )
            q = np.array([answer[column] for column in self._columns])
            outside = ~self._robot.prismatic & ((q < lower) | (q > self._robot.upper))
            q[outside] = lower[outside] + np.mod(q[outside] - lower[outside], 2.0 * np.pi)
            if accept(q):
                return q
        return None

    def close(self) -> None:
        """Disconnect from PyBullet."""
        self._pybullet.disconnect(physicsClientId=self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
