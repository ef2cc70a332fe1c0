"""PyBullet behind a thin door: one client, one body for an arm."""

from __future__ import annotations

import importlib
import os
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from sim.arm_noise import FlangeNoise
from vision_ik.errors import MissingDependencyError
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Floats

POSITION_GAIN = 0.25
"""Share of the position error a joint takes back in one physics step (time constant 4 ms at 1 kHz)."""
MOTOR_FORCE = 1000.0
"""[Nm], [N] Never reached by a guarded arm; only keeps the solver's numbers finite."""
HISTORY_S = 3.0
"""[s] How far back joint positions are known; the latency of a camera must stay below it."""
_COAST_S = 0.05
"""[s] How long a set-point runs on with its velocity when no new one comes."""


def load_pybullet() -> Any:
    """Import PyBullet.

    Raises:
        MissingDependencyError: It is not installed (there are no wheels for Python 3.12 and newer).
    """
    try:
        with _quiet_stderr():
            return importlib.import_module("pybullet")
    except ImportError as error:
        raise MissingDependencyError(
            f"The simulation needs pybullet, which Python {sys.version.split()[0]} here does not have.",
            "Use Python 3.11 and install it with `pip install pybullet`.",
        ) from error


@contextmanager
def _quiet_stderr() -> Generator[None]:
    """Keep PyBullet's greeting (written by C code at import) off the terminal."""
    if "pybullet" in sys.modules:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


class ArmBody:
    """One arm in PyBullet: joints driven in position mode with velocity feed-forward.

    Built from the chain of the robot model, link by link, so the body and our kinematics cannot
    differ and meshes that a URDF points to need not exist. Masses come from the capsules.
    The world has no gravity: cobots compensate their own weight, and nothing else is free to fall.

    Args:
        client: PyBullet's client id.
        robot: The arm.
        T_world_base: Where its base stands.
        q: (n,) posture to start in; None for the robot's home.
        flange_noise: How far the true flange is off what the encoders say; None for a perfect arm.
        step_s: [s] of the physics.
        now: [s] on the world's clock.
    """

    def __init__(
        self,
        client: int,
        robot: RobotModel,
        T_world_base: Transform,
        *,
        q: Floats | None,
        flange_noise: FlangeNoise | None,
        step_s: float,
        now: float,
    ) -> None:
        self.robot = robot
        self.T_world_base = T_world_base
        self.flange_noise = flange_noise
        self.before_step: list[Callable[[], None]] = []
        """Called before every physics step: whoever drives the arm brings its set-point up to date."""
        self._bullet = load_pybullet()
        self._client = client
        self._step_s = step_s
        self._joints = list(range(robot.n))
        start = robot.home if q is None else robot.clip(q)
        self._body = _build(self._bullet, client, robot, T_world_base)
        for i in self._joints:
            self._bullet.resetJointState(self._body, i, float(start[i]), 0.0, physicsClientId=client)
        self._target, self._target_dq, self._target_time = np.array(start), np.zeros(robot.n), now
        self._q, self._dq, self._time = np.array(start), np.zeros(robot.n), now
        self._history: deque[tuple[float, Floats]] = deque(maxlen=round(HISTORY_S / step_s) + 2)
        self._history.append((now, self._q))

    @property
    def q(self) -> Floats:
        """(n,) joint positions after the last physics step [rad], [m]."""
        return self._q

    @property
    def dq(self) -> Floats:
        """(n,) joint velocities after the last physics step."""
        return self._dq

    def set_target(self, q: Floats, dq: Floats, t: float) -> None:
        """Follow ``q + dq (t' - t)`` from now on; a set-point that is not renewed soon stands still."""
        self._target, self._target_dq, self._target_time = np.array(q), np.array(dq), t

    def hold(self) -> None:
        """Stand still at the set-point that holds now."""
        age = min(max(self._time - self._target_time, 0.0), _COAST_S)
        self.set_target(self._target + self._target_dq * age, np.zeros(self.robot.n), self._time)

    def drive(self, t: float) -> None:
        """Give the motors their set-point for the step that begins at ``t`` [s]."""
        for callback in self.before_step:
            callback()
        age = t - self._target_time
        coasting = age < _COAST_S
        q = self._target + self._target_dq * min(age, _COAST_S)
        dq = self._target_dq if coasting else np.zeros(self.robot.n)
        n = self.robot.n
        self._bullet.setJointMotorControlArray(
            self._body,
            self._joints,
            self._bullet.POSITION_CONTROL,
            targetPositions=q.tolist(),
            targetVelocities=dq.tolist(),
            positionGains=[POSITION_GAIN] * n,
            velocityGains=[1.0] * n,
            forces=[MOTOR_FORCE] * n,
            physicsClientId=self._client,
        )

    def measure(self, t: float) -> None:
        """Read the joints after the step that ends at ``t`` [s]."""
        states = self._bullet.getJointStates(self._body, self._joints, physicsClientId=self._client)
        self._q = np.array([state[0] for state in states])
        self._dq = np.array([state[1] for state in states])
        self._time = t
        self._history.append((t, self._q))

    def q_at(self, t: float) -> Floats:
        """Return the joint positions (n,) at time ``t`` [s], interpolated; the newest ones run on with their speed.

        Raises:
            ValueError: ``t`` lies further back than the history reaches.
        """
        if t >= self._time:
            return self._q + self._dq * min(t - self._time, self._step_s)
        k = len(self._history) - 1 - int((self._time - t) / self._step_s)
        k = min(max(k, 1), len(self._history) - 1)
        while k > 1 and self._history[k - 1][0] > t:
            k -= 1
        (t0, q0), (t1, q1) = self._history[k - 1], self._history[k]
        if t < t0 - 1e-9:
            if len(self._history) == self._history.maxlen:
                raise ValueError(f"The joints at {t:.3f} s are forgotten; the history reaches back {HISTORY_S} s.")
            return q0
        return q0 + (q1 - q0) * ((t - t0) / (t1 - t0))

    def T_base_flange(self, q: Floats) -> Transform:
        """Return where the flange truly is when the encoders say ``q`` (n,)."""
        T_base_flange = Transform(self.robot.forward(q))
        if self.flange_noise is None:
            return T_base_flange
        return T_base_flange @ Transform.exp(self.flange_noise.twist(q))


def _build(bullet: Any, client: int, robot: RobotModel, T_world_base: Transform) -> int:
    n = robot.n
    types = [bullet.JOINT_PRISMATIC if slides else bullet.JOINT_REVOLUTE for slides in robot.prismatic]
    none = [-1] * n
    body = bullet.createMultiBody(
        baseMass=0.0,
        basePosition=T_world_base.translation.tolist(),
        baseOrientation=T_world_base.rotation_xyzw.tolist(),
        linkMasses=[1.0] * n,
        linkCollisionShapeIndices=none,
        linkVisualShapeIndices=none,
        linkPositions=robot.fixed[:n, :3, 3].tolist(),
        linkOrientations=Rotation.from_matrix(robot.fixed[:n, :3, :3]).as_quat().tolist(),
        linkInertialFramePositions=[[0.0, 0.0, 0.0]] * n,
        linkInertialFrameOrientations=[[0.0, 0.0, 0.0, 1.0]] * n,
        linkParentIndices=list(range(n)),
        linkJointTypes=types,
        linkJointAxis=[[0.0, 0.0, 1.0]] * n,
        physicsClientId=client,
    )
    for i, (mass, inertia) in enumerate(_masses(robot)):
        bullet.changeDynamics(
            body,
            i,
            mass=mass,
            localInertiaDiagonal=[inertia] * 3,
            linearDamping=0.0,
            angularDamping=0.0,
            jointDamping=0.0,
            physicsClientId=client,
        )
    return body


def _masses(robot: RobotModel) -> list[tuple[float, float]]:
    """Return mass [kg] and inertia [kg m^2] behind each joint: capsules at the density of a gearbox arm."""
    density = 1500.0
    masses = np.full(robot.n, 0.2)
    inertias = np.full(robot.n, 1e-3)
    frame_of = dict(zip(robot.links, robot.link_frames.tolist(), strict=True))
    for capsule in robot.capsules:
        frame = frame_of[capsule.link]
        if frame == 0:
            continue
        length = float(np.linalg.norm(capsule.p1 - capsule.p0))
        mass = density * np.pi * capsule.radius**2 * (length + 4.0 / 3.0 * capsule.radius)
        masses[frame - 1] += mass
        inertias[frame - 1] += mass * (0.5 * capsule.radius**2 + length**2 / 12.0)
    return list(zip(masses.tolist(), inertias.tolist(), strict=True))
