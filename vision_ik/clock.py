"""One clock for a run: every datum is stamped on it, so delays can be subtracted."""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """Seconds that never go back."""

    def now(self) -> float:
        """Return the time [s]; the zero is arbitrary but fixed for the run."""
        ...

    def sleep_until(self, timestamp: float) -> None:
        """Wait until ``timestamp`` [s]; return at once when it is past."""
        ...


class MonotonicClock:
    """The machine's monotonic clock; cameras and arms of one run share it."""

    def now(self) -> float:
        """Return the monotonic time [s]."""
        return time.monotonic()

    def sleep_until(self, timestamp: float) -> None:
        """Sleep until ``timestamp`` [s]."""
        remaining = timestamp - time.monotonic()
        if remaining > 0:
            time.sleep(remaining)


class VirtualClock:
    """A clock that moves only when told: simulations and tests run at any speed, exactly."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = float(start)

    def now(self) -> float:
        """Return the virtual time [s]."""
        return self._now

    def sleep_until(self, timestamp: float) -> None:
        """Jump to ``timestamp`` [s]; the past leaves the clock alone."""
        self._now = max(self._now, float(timestamp))

    def advance(self, duration: float) -> float:
        """Move on by ``duration`` [s], not negative, and return the new time."""
        if not duration >= 0:
            raise ValueError(f"Time cannot move by {duration} s; pass a duration of at least 0.")
        self._now += duration
        return self._now
