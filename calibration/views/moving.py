"""Moving an arm from posture to posture slowly and smoothly, and waiting until it stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from vision_ik.clock import Clock
from vision_ik.errors import ArmError
from vision_ik.robots import RobotModel
from vision_ik.types import Arm, Floats, JointCommand

_PERIOD = 0.01
"""[s] Between two commands."""
_STILL_STEP = 5e-4
"""[rad], [m] Largest change of a joint within the window below that counts as standing still."""
_STILL_WINDOW = 0.2
"""[s]"""
_STILL_TIMEOUT = 5.0
"""[s] After the end of a motion; then something pulls at the arm."""
_ARRIVED = 0.1
"""[rad], [m] An arm that stands still farther from its goal was stopped on the way."""
_PEAK_SPEED, _PEAK_ACCELERATION, _PEAK_JERK = 1.875, 10.0 / np.sqrt(3.0), 60.0
"""Of the quintic 10 s^3 - 15 s^4 + 6 s^5, per unit of distance over time, time^2 and time^3."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mover:
    """Sends an arm along straight lines in joint space."""

    arm: Arm
    robot: RobotModel
    clock: Clock
    speed: float = 0.35
    """Share of the joints' speed, acceleration and jerk limits that is used."""
    on_tick: Callable[[], None] | None = None
    """Called after every command: for pictures and progress."""

    def __post_init__(self) -> None:
        if not 0.0 < self.speed <= 1.0:
            raise ValueError(f"speed must be above 0 and at most 1, not {self.speed}.")

    def go(self, way: Floats) -> None:
        """Move through the corners (K, n) of a way and come to rest at the last one.

        Raises:
            ArmError: The arm refuses, or does not come to rest there.
        """
        position = self.arm.read().q
        for corner in np.atleast_2d(way):
            for q, dq in self._quintic(position, corner):
                self._send(q, dq)
            position = corner
        self._settle(position)

    def _quintic(self, start: Floats, goal: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yield set-points (q, dq) of a motion that keeps to the share of all limits."""
        distance = np.abs(goal - start)
        duration = max(
            float((_PEAK_SPEED * distance / (self.speed * self.robot.velocity)).max()),
            float(np.sqrt(_PEAK_ACCELERATION * distance / (self.speed * self.robot.acceleration)).max()),
            float(np.cbrt(_PEAK_JERK * distance / (self.speed * self.robot.jerk)).max()),
        )
        steps = int(np.ceil(duration / _PERIOD))
        for step in range(1, steps + 1):
            s = step / steps
            progress = s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
            rate = 30.0 * s * s * (1.0 - s) ** 2 / (steps * _PERIOD)
            yield start + progress * (goal - start), rate * (goal - start)

    def _settle(self, goal: Floats) -> None:
        """Hold ``goal`` until the measured joints stand still.

        Raises:
            ArmError: They do not, or stand somewhere else.
        """
        deadline = self.clock.now() + _STILL_TIMEOUT
        window = round(_STILL_WINDOW / _PERIOD)
        recent: list[Floats] = []
        while self.clock.now() < deadline:
            self._send(goal, np.zeros_like(goal))
            recent = [*recent[-window:], self.arm.read().q]
            if len(recent) > window and float(np.ptp(np.stack(recent), axis=0).max()) < _STILL_STEP:
                off = np.abs(recent[-1] - goal)
                if off.max() < _ARRIVED:
                    return
                joint = self.arm.joint_names[int(np.argmax(off))]
                raise ArmError(
                    f"Joint {joint} came to rest {off.max():.2f} rad from where it was sent.",
                    "Check for an obstacle, a stop, or limits narrower than the robot model's.",
                    joint=joint,
                )
        raise ArmError(
            f"The arm does not come to rest within {_STILL_TIMEOUT:.0f} s.",
            "Check that nothing else commands it, and its gains.",
        )

    def _send(self, q: Floats, dq: Floats) -> None:
        tick = self.clock.now() + _PERIOD
        self.arm.send(JointCommand(names=self.arm.joint_names, q=q, dq=dq, timestamp=self.clock.now()))
        self.clock.sleep_until(tick)
        if self.on_tick is not None:
            self.on_tick()
