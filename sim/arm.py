"""The simulated arm behind the same guard as a real one."""

from __future__ import annotations

from numpy.typing import ArrayLike

from sim.arm_noise import FlangeNoise
from sim.world import World
from vision_ik.arms import GuardedArm, GuardSettings, JointLimits
from vision_ik.robots import RobotModel
from vision_ik.transforms import TransformLike
from vision_ik.types import Floats

_STEPS_PER_TICK = 4
"""Physics steps between two refreshes of the set-point (250 Hz at 1 kHz); in between it runs on with its velocity."""


class BulletArm(GuardedArm):
    """An arm in a `World`; it moves while the world's clock does.

    Args:
        world: Where it stands.
        robot: Its model; None takes the arm that the world already has.
        T_world_base: Where its base stands; None for the world's origin.
        q: (n,) posture to start in; None for the robot's home.
        flange_noise: How far the true flange is off what `read` lets one believe.
        settings: Of the guard.
    """

    def __init__(
        self,
        world: World,
        robot: RobotModel | None = None,
        T_world_base: TransformLike | None = None,
        *,
        q: ArrayLike | None = None,
        flange_noise: FlangeNoise | None = None,
        settings: GuardSettings | None = None,
    ) -> None:
        body = world.arm if robot is None else world.add_robot(robot, T_world_base, q=q, flange_noise=flange_noise)
        super().__init__(JointLimits.of(body.robot), clock=world, settings=settings)
        self.world = world
        self.robot = body.robot
        self._body = body
        self._countdown = 0
        body.before_step.append(self._on_step)

    def _on_step(self) -> None:
        self._countdown -= 1
        if self._countdown < 0:
            self._countdown = _STEPS_PER_TICK - 1
            self.tick()

    def _read_raw(self) -> tuple[Floats, Floats, float]:
        now = self.world.now()
        return self._body.q_at(now), self._body.dq, now

    def _write_raw(self, q: Floats, dq: Floats) -> None:
        self._body.set_target(q, dq, self.world.now())

    def _stop_raw(self) -> None:
        self._body.hold()

    def _close_raw(self) -> None:
        if self._on_step in self._body.before_step:
            self._body.before_step.remove(self._on_step)
