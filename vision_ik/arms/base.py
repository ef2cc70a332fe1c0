"""What every driver of an arm derives from: the last guard, written once."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import numpy as np

from vision_ik.arms.guard import SetpointGuard
from vision_ik.arms.limits import GuardSettings, JointLimits
from vision_ik.clock import Clock
from vision_ik.errors import ArmError
from vision_ik.types import Floats, JointCommand, JointState


class GuardedArm(ABC):
    """An `Arm` whose driver only moves bytes; every set-point passes the guard first.

    A driver implements `_read_raw`, `_write_raw`, `_stop_raw` and `_close_raw`. It may call
    `tick` at its own rate: between commands the set-point coasts
    with the commanded velocity, and when commands cease it decelerates to a stop.

    The first command (and the first after a standstill of the stream) must be near the
    measured posture, and the speed limit rises from there. `stop` latches: `send` refuses
    until `resume`.

    This is no safety-rated device: a person near the arm needs the arm's own.

    Args:
        limits: Of the joints, in the order of the driver.
        clock: The clock of the run.
        settings: Margins, watchdog, soft start.
    """

    def __init__(self, limits: JointLimits, *, clock: Clock, settings: GuardSettings | None = None) -> None:
        self.limits = limits
        self.clock = clock
        self.settings = settings or GuardSettings()
        self._guard = SetpointGuard(limits, self.settings)
        self._lock = threading.RLock()
        self._held: Floats | None = None
        self._streaming = False
        self._stopped = False
        self._closed = False

    # -- what a driver implements ----------------------------------------------

    @abstractmethod
    def _read_raw(self) -> tuple[Floats, Floats, float]:
        """Return q (n,) [rad], dq (n,) [rad/s] and the time of measurement [s] on the clock."""

    @abstractmethod
    def _write_raw(self, q: Floats, dq: Floats) -> None:
        """Give the controller a set-point (n,) [rad] and its velocity (n,) [rad/s]."""

    @abstractmethod
    def _stop_raw(self) -> None:
        """Tell the controller to hold; called once the set-point stands still."""

    @abstractmethod
    def _close_raw(self) -> None:
        """Release the connection."""

    # -- the Arm protocol ------------------------------------------------------

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names in the order of q."""
        return self.limits.names

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called and `resume` was not."""
        return self._stopped

    def read(self) -> JointState:
        """Return the newest joint state.

        Raises:
            ArmError: The arm cannot be reached, is closed, or reports NaN.
        """
        with self._lock:
            self._require_open()
            self._watch()
            q, dq, timestamp = self._read_raw()
        if not (np.isfinite(q).all() and np.isfinite(dq).all()):
            bad = [name for name, a, b in zip(self.joint_names, q, dq, strict=True) if not np.isfinite(a + b)]
            raise ArmError(
                f"The arm reports a state that is not finite for: {', '.join(bad)}.",
                "Check its encoders and connection, then open it anew.",
                joints=bad,
            )
        return JointState(names=self.joint_names, q=q, dq=dq, timestamp=timestamp)

    def send(self, command: JointCommand) -> JointCommand:
        """Send a set-point; return what was really sent after the guard.

        Raises:
            ArmError: The arm is stopped, closed or unreachable, has other joints, or a first
                command is far from its posture.
        """
        with self._lock:
            self._require_open()
            self._require_fitting(command)
            if self._stopped:
                raise ArmError("The arm is stopped and takes no commands.", "Call resume() when it may move again.")
            self._watch()
            now = self.clock.now()
            if not self._streaming:
                self._start(command, now)
            q, dq, clipped_by = self._guard.limit(command.q, command.dq, now)
            self._write(q, dq)
        return JointCommand(names=self.joint_names, q=q, dq=dq, timestamp=now, clipped_by=clipped_by)

    def tick(self) -> None:
        """Bring the controller's set-point up to the clock; between commands it coasts, without them it brakes."""
        with self._lock:
            if self._streaming and not self._closed:
                now = self.clock.now()
                self._write(*self._guard.at(now))
                self._streaming = not self._expired(now)

    def stop(self) -> None:
        """Decelerate to standstill within the limits, hold, and refuse commands until `resume`.

        Returns when the set-point stands still. Safe at any time and more than once.
        """
        with self._lock:
            if self._closed:
                return
            was_streaming, already = self._streaming, self._stopped
            self._stopped = True
            if was_streaming and not already:
                self._guard.begin_stop(self.clock.now())
        if already:
            return
        try:
            while was_streaming and self._streaming:
                self.clock.sleep_until(self.clock.now() + self.settings.period)
                self.tick()
        finally:
            self._streaming = False
            self._stop_raw()

    def resume(self) -> None:
        """Take commands again after `stop`; the next one starts softly."""
        with self._lock:
            self._require_open()
            self._stopped = False
            self._streaming = False

    def close(self) -> None:
        """Stop the arm if it moves, and release it; more than once does no harm."""
        if self._closed:
            return
        try:
            self.stop()
        finally:
            self._closed = True
            self._close_raw()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside ----------------------------------------------------------------

    def _start(self, command: JointCommand, now: float) -> None:
        """Begin a stream of commands at the set-point that is held, or else at the measured posture."""
        q_measured, _, _ = self._read_raw()
        distance = np.abs(command.q - q_measured)
        worst = int(np.argmax(np.where(np.isnan(distance), np.inf, distance)))
        if not distance[worst] <= self.settings.start_tolerance:
            raise ArmError(
                f"The first command is {distance[worst]:.3f} rad from where joint {self.joint_names[worst]} stands; "
                f"at most {self.settings.start_tolerance:.3f} rad is allowed.",
                "Begin at the posture that read() returns; check the order and the units of the joints.",
                joint=self.joint_names[worst],
                distance=float(distance[worst]),
            )
        # A joint that sags under its load must not be told to sag further: go on from the set-point.
        held = self._held
        if held is None or np.abs(held - q_measured).max() > self.settings.start_tolerance:
            held = np.array(q_measured, dtype=np.float64)
        self._guard.start(held, now - self.settings.period)
        self._streaming = True

    def _write(self, q: Floats, dq: Floats) -> None:
        try:
            self._write_raw(q, dq)
        except ArmError:
            self._streaming, self._held = False, None
            raise
        self._held = q

    def _watch(self) -> None:
        """Brake when commands have ceased; called by whoever touches the arm."""
        if self._streaming and self.clock.now() > self._guard.last_command + self.settings.watchdog_s:
            self.tick()

    def _expired(self, now: float) -> bool:
        return now >= self._guard.standstill() and (
            self._stopped or now > self._guard.last_command + self.settings.watchdog_s
        )

    def _require_open(self) -> None:
        if self._closed:
            raise ArmError("The arm is closed.", "Open it again.")

    def _require_fitting(self, command: JointCommand) -> None:
        if command.names != self.joint_names:
            raise ArmError(
                f"The command is for joints {', '.join(command.names)}, the arm has {', '.join(self.joint_names)}.",
                "Build the command with the names of arm.joint_names, in their order.",
                names=command.names,
            )
        if not (np.isfinite(command.q).all() and np.isfinite(command.dq).all()):
            raise ArmError("The command holds NaN or infinity.", "Check the code that made it; nothing was sent.")
