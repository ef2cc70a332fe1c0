"""An arm without metal."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vision_ik.arms import GuardedArm, GuardSettings, JointLimits
from vision_ik.clock import Clock, MonotonicClock
from vision_ik.errors import ArmError
from vision_ik.robots import load_robot
from vision_ik.types import Floats

Fault: TypeAlias = Literal["nan", "disconnect", "stuck"]


class FakeArm(GuardedArm):
    """Follows its set-points exactly, also between commands, or with a first-order lag.

    Args:
        limits: Of the joints.
        clock: The clock of the run.
        q: (n,) where it stands at first [rad]; the middle of the range (0 if endless) by default.
        lag: Time constant of the lag [s]; 0 follows exactly.
        settings: Of the guard.

    Set ``fault`` at any time: "nan" reports NaN, "disconnect" refuses every call, "stuck" no
    longer moves. ``written`` keeps every set-point (time, q, dq) that passed the guard.
    """

    def __init__(
        self,
        limits: JointLimits,
        *,
        clock: Clock,
        q: ArrayLike | None = None,
        lag: float = 0.0,
        settings: GuardSettings | None = None,
    ) -> None:
        super().__init__(limits, clock=clock, settings=settings)
        if q is None:
            finite = np.isfinite(limits.lower) & np.isfinite(limits.upper)
            with np.errstate(invalid="ignore"):
                q = np.where(finite, 0.5 * (limits.lower + limits.upper), 0.0)
        self.fault: Fault | None = None
        self.written: list[tuple[float, Floats, Floats]] = []
        self._actual = np.array(q, dtype=np.float64)
        self._speed = np.zeros(limits.n)
        self._goal = self._actual
        self._lag = lag
        self._updated = clock.now()

    def _read_raw(self) -> tuple[Floats, Floats, float]:
        self._require_connected()
        self._move()
        if self.fault == "nan":
            return np.full(self.limits.n, np.nan), self._speed, self._updated
        return self._actual, self._speed, self._updated

    def _write_raw(self, q: Floats, dq: Floats) -> None:
        self._require_connected()
        self._move()
        self._goal = q
        self.written.append((self._updated, q, dq))

    def _stop_raw(self) -> None:
        self._require_connected()

    def _close_raw(self) -> None:
        self._goal = self._actual

    def _move(self) -> None:
        """Let the joints approach the set-point for the time that has passed."""
        now = self.clock.now()
        dt, self._updated = now - self._updated, now
        if self.fault == "stuck":
            self._speed = np.zeros(self.limits.n)
        elif self._lag == 0.0 and self.written:
            self._actual, self._speed = self._guard.at(now)
        elif self._lag > 0.0 and dt > 0.0:
            before = self._actual
            self._actual = self._goal + (before - self._goal) * np.exp(-dt / self._lag)
            self._speed = (self._goal - self._actual) / self._lag

    def _require_connected(self) -> None:
        if self.fault == "disconnect":
            raise ArmError("The fake arm lost its connection.", "Clear its fault and open it again.")


def open_fake_arm(address: str, *, clock: Clock | None = None, lag: float = 0.0) -> FakeArm:
    """Return a fake arm of a catalogue robot at its home: what ``open_arm("fake:panda")`` opens."""
    robot = load_robot(address)
    return FakeArm(JointLimits.of(robot), clock=clock or MonotonicClock(), q=robot.home, lag=lag)
