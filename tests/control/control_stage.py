"""A stage for servo tests: a tag that moves as told, seen by a detector without pixels, and a fake arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

from vision_ik.arms import JointLimits
from vision_ik.control import Mode, ServoSettings, ServoStep, servo
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel, load_robot
from vision_ik.testing import FakeArm, FakeCamera, VirtualClock
from vision_ik.transforms import Transform, TransformLike, as_transform, log_rotation
from vision_ik.types import (
    CameraIntrinsics,
    Floats,
    Frame,
    IkBatch,
    IkSolution,
    IkStatus,
    Image,
    TagDetection,
    tag_corners,
)

TAG_SIZE = 0.08
T_TAG_TARGET = Transform.from_xyz_rpy((0.0, 0.0, 0.1), (np.pi, 0.0, 0.0))
T_BASE_CAMERA = Transform.from_xyz_rpy((1.1, 0.0, 0.7), (-2.3, 0.0, np.pi / 2))
T_BASE_TAG = Transform.from_xyz_rpy((0.45, 0.05, 0.15), (0.2, -0.1, 0.3))
FAST = ServoSettings(soft_start_s=0.5)


@cache
def panda() -> RobotModel:
    return load_robot("panda")


class SmallSolver:
    """Damped least squares from the start posture: enough near it, and nothing to compile."""

    def __init__(self, robot: RobotModel) -> None:
        self.robot = robot

    def solve(self, T_base_tool: TransformLike, q_start: ArrayLike | None = None) -> IkSolution:
        goal = as_transform(T_base_tool).matrix
        q = np.array(self.robot.home if q_start is None else q_start, dtype=np.float64)
        error, steps = np.zeros(6), 0
        while steps < 60:
            steps += 1
            T = self.robot.forward(q)
            error = np.concatenate([goal[:3, 3] - T[:3, 3], T[:3, :3] @ log_rotation(T[:3, :3].T @ goal[:3, :3])])
            if np.abs(error).max() < 1e-9:
                break
            J = self.robot.jacobian(q)
            step = J.T @ np.linalg.solve(J @ J.T + 1e-6 * np.eye(6), error)
            q = self.robot.clip(q + step * min(1.0, 0.3 / np.abs(step).max()))
        m, rad = float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
        status = IkStatus.CONVERGED if max(m, rad) < 1e-6 else IkStatus.UNREACHABLE
        return IkSolution(
            q=q, status=status, position_error=m, rotation_error=rad, seed="start", iterations=steps, duration=0.0
        )

    def solve_batch(self, Ts_base_tool: ArrayLike, q_start: ArrayLike | None = None) -> IkBatch:
        raise NotImplementedError

    def solve_all(self, T_base_tool: TransformLike, q_start: ArrayLike | None = None) -> Sequence[IkSolution]:
        raise NotImplementedError


class PixelFreeDetector:
    """Tells where the corners of the tag are, from the truth and a seeded noise."""

    def __init__(self, stage: Stage, sigma_px: float) -> None:
        self._stage = stage
        self._rng = np.random.default_rng(0)
        self._sigma = sigma_px

    def detect(self, frame: Frame) -> list[TagDetection]:
        if self._stage.hidden(frame.timestamp):
            return []
        T_base_camera = self._stage.T_base_camera(frame.timestamp)
        T_camera_tag = T_base_camera.inv() @ self._stage.T_base_tag(frame.timestamp)
        rotation, _ = cv2.Rodrigues(np.array(T_camera_tag.rotation))
        uv, _ = cv2.projectPoints(
            tag_corners(TAG_SIZE), rotation, np.array(T_camera_tag.translation), frame.intrinsics.K, np.zeros(5)
        )
        corners = uv.reshape(4, 2) + self._rng.normal(0.0, self._sigma, (4, 2))
        return [TagDetection(tag_id=7, family="36h11", corners=corners, timestamp=frame.timestamp)]


class Stage:
    """One servo run on a virtual clock: a camera 50 ms late at 30 Hz, a Panda, a tag 60 cm away."""

    def __init__(
        self,
        T_base_tag: Callable[[float], Transform] = lambda _t: T_BASE_TAG,
        *,
        hidden: Callable[[float], bool] = lambda _t: False,
        drop: Callable[[int], bool] = lambda _k: False,
        fail_at: float = float("inf"),
        sigma_px: float = 0.0,
        lag: float = 0.0,
        eye_in_hand: bool = False,
        q: Floats | None = None,
    ) -> None:
        self.robot = panda()
        self.clock = VirtualClock(10.0)
        self.T_base_tag = T_base_tag
        self.hidden = hidden
        self.drop = drop
        self.eye_in_hand = eye_in_hand
        self.T_mount_camera = (
            Transform.from_xyz_rpy((0.05, 0.0, 0.0), (0.1, 0.0, 0.0)) if eye_in_hand else T_BASE_CAMERA
        )
        home = self.robot.home if q is None else q
        self.arm = FakeArm(JointLimits.of(self.robot), clock=self.clock, q=home, lag=lag)
        lens = CameraIntrinsics.from_field_of_view(640, 480)
        self.camera = FakeCamera(self._expose, clock=self.clock, intrinsics=lens, latency=0.05, fail_at=fail_at)
        self.detector = PixelFreeDetector(self, sigma_px)
        self.rig = Rig(
            robot="panda",
            mount="eye_in_hand" if eye_in_hand else "eye_to_hand",
            T_mount_camera=self.T_mount_camera,
            T_tag_target=T_TAG_TARGET,
            default_tag_size=TAG_SIZE,
        )
        self._postures: dict[float, Floats] = {}

    def T_base_camera(self, timestamp: float) -> Transform:
        """Return the camera's true pose when a frame was taken."""
        if not self.eye_in_hand:
            return self.T_mount_camera
        times = np.array([t for t, _, _ in self.arm.written] or [0.0])
        postures = np.array([q for _, q, _ in self.arm.written] or [self.robot.home])
        q = np.array([np.interp(timestamp, times, column) for column in postures.T])
        return Transform(self.robot.forward(q)) @ self.T_mount_camera

    def run(
        self,
        duration: float,
        settings: ServoSettings | None = None,
        *,
        solver: SmallSolver | None = None,
        before: Callable[[float], None] = lambda _t: None,
    ) -> list[ServoStep]:
        """Run the loop for some seconds, or until it ends by itself."""
        steps: list[ServoStep] = []
        begin = self.clock.now()
        loop = servo(
            self.camera,
            self.arm,
            rig=self.rig,
            solver=solver or SmallSolver(self.robot),
            detector=self.detector,
            clock=self.clock,
            settings=settings,
        )
        for step in loop:
            steps.append(step)
            before(self.clock.now() - begin)
            if self.clock.now() - begin > duration:
                break
        return steps

    def tool_error(self, step: ServoStep) -> tuple[float, float]:
        """Return how far the tool is from its true goal at a step's time [m], [rad]."""
        if step.command is None:
            raise ValueError("This step sent nothing.")
        T_base_tool = Transform(self.robot.forward(step.command.q))
        return (self.T_base_tag(step.timestamp) @ T_TAG_TARGET).distance_to(T_base_tool)

    def assert_limits_kept(self, steps: Sequence[ServoStep], scale: float = 0.5) -> None:
        """Check velocity, acceleration and jerk of what was sent by finite differences, from standstill on."""
        sent = [step.command for step in steps if step.command is not None]
        t = np.array([command.timestamp for command in sent])
        q = np.array([sent[0].q] * 3 + [command.q for command in sent])
        assert np.abs(np.diff(t) - 0.01).max() < 1e-6, "the commands are not evenly spaced"
        for order, limit in enumerate((self.robot.velocity, self.robot.acceleration, self.robot.jerk), start=1):
            derivative = np.abs(np.diff(q, order, axis=0)) / 0.01**order
            assert (derivative <= scale * limit * (1.0 + 1e-6)).all(), f"derivative {order} exceeds its limit"
        assert (q >= self.robot.lower).all()
        assert (q <= self.robot.upper).all()

    def _expose(self, timestamp: float, index: int) -> Image | None:
        return None if self.drop(index) else np.zeros((480, 640, 3), dtype=np.uint8)


def figure_eight(t: float) -> Transform:
    """8 x 4 cm in the plane of the tag, one round in 4 s."""
    w = 2.0 * np.pi * 0.25
    return T_BASE_TAG @ Transform.from_translation((0.04 * np.sin(w * t), 0.02 * np.sin(2 * w * t), 0.0))


def modes(steps: list[ServoStep]) -> list[Mode]:
    """Return the modes in the order in which they came."""
    found: list[Mode] = []
    for step in steps:
        if not found or found[-1] is not step.verdict.mode:
            found.append(step.verdict.mode)
    return found


def fastest(stage: Stage, steps: list[ServoStep]) -> float:
    """Return the largest share of a velocity limit that was commanded."""
    speeds = [np.abs(step.command.dq) / stage.robot.velocity for step in steps if step.command is not None]
    return float(np.max(speeds))
