"""A simulated world that keeps pace with the wall clock, for cameras that see the real one."""

from __future__ import annotations

import time

from sim.world import World


class PacedClock:
    """The time of a `World`, tied to real time: waiting takes as long as it says.

    A live camera's thread may read the time while the loop steps the physics.

    Args:
        world: Steps forward in `sleep_until`, never ahead of real time.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._offset = world.now() - time.monotonic()

    def now(self) -> float:
        """Return real time on the world's scale [s]."""
        return time.monotonic() + self._offset

    def sleep_until(self, timestamp: float) -> None:
        """Wait until ``timestamp`` [s] in real time, then step the world up to now."""
        remaining = timestamp - self.now()
        if remaining > 0:
            time.sleep(remaining)
        self._world.sleep_until(max(timestamp, self.now()))
