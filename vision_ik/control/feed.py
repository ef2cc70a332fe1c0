"""What reaches the loop, at its time: frames of any source, joint states between two readings."""

from __future__ import annotations

from collections import deque

import numpy as np

from vision_ik.types import Camera, Floats, Frame, JointState


class FrameFeed:
    """Frames from a camera, none before the clock has reached its time.

    A file without a clock hands out frames as fast as they are read: the feed looks one frame
    ahead and keeps it until it is due.
    """

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._ahead: Frame | None = None

    @property
    def ended(self) -> bool:
        """Whether the source has ended and its last frame was given out."""
        return self._ahead is None and self._camera.ended

    def poll(self, now: float) -> list[Frame]:
        """Return the frames that are due at ``now`` [s], oldest first; of a live source at most the newest.

        Raises:
            FrameReadError: The source is gone or a frame cannot be decoded.
        """
        due: list[Frame] = []
        while True:
            if self._ahead is None and not self._camera.ended:
                self._ahead = self._camera.read(timeout=0.0)
            # Clocks wake a hair early by rounding.
            if self._ahead is None or self._ahead.timestamp > now + 1e-9:
                return due
            due.append(self._ahead)
            self._ahead = None
            if self._camera.live:
                return due


class JointHistory:
    """Joint states of the last seconds, to know the posture at the time a frame was taken."""

    def __init__(self, duration: float = 2.0) -> None:
        self._duration = duration
        self._states: deque[JointState] = deque()

    def __len__(self) -> int:
        return len(self._states)

    def add(self, state: JointState) -> None:
        """Keep a state; one that is not newer than the last is ignored."""
        if self._states and state.timestamp <= self._states[-1].timestamp:
            return
        self._states.append(state)
        while self._states[0].timestamp < state.timestamp - self._duration:
            self._states.popleft()

    def at(self, timestamp: float) -> Floats:
        """Return the posture (n,) [rad] at ``timestamp`` [s].

        Between two states it is interpolated by the cubic that also fits their velocities; outside
        the history it is the nearest state.

        Raises:
            ValueError: Nothing was added yet.
        """
        if not self._states:
            raise ValueError("The history is empty; add a state first.")
        later = None
        for state in reversed(self._states):
            if state.timestamp <= timestamp:
                return state.q if later is None else _between(state, later, timestamp)
            later = state
        return self._states[0].q


def _between(a: JointState, b: JointState, timestamp: float) -> Floats:
    """Return the cubic Hermite interpolation."""
    h = b.timestamp - a.timestamp
    s = (timestamp - a.timestamp) / h
    s2, s3 = s * s, s * s * s
    return np.asarray(
        (2 * s3 - 3 * s2 + 1) * a.q + (s3 - 2 * s2 + s) * h * a.dq + (3 * s2 - 2 * s3) * b.q + (s3 - s2) * h * b.dq
    )
