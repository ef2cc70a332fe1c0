"""The parts every camera here has: a context manager with a lens."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vision_ik.clock import Clock
from vision_ik.errors import FrameReadError
from vision_ik.types import CameraIntrinsics, Frame, Image

Depth: TypeAlias = NDArray[np.float32]
"""(H, W) distance along the optical axis [m]; NaN where unknown."""


class BaseCamera:
    """Holds name and lens, and closes itself at the end of a ``with`` block."""

    def __init__(self, source: str, intrinsics: CameraIntrinsics) -> None:
        self.source = source
        self._intrinsics = intrinsics
        self._closed = False

    @property
    def intrinsics(self) -> CameraIntrinsics:
        """The lens."""
        return self._intrinsics

    def close(self) -> None:
        """Release the source; more than once does no harm."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise FrameReadError(f"{self.source} is closed.", "Open it again before reading.", source=self.source)


class StoredCamera(BaseCamera):
    """A finite source that gives every frame once, in order, with the times it was recorded at.

    Without a clock, frames come as fast as they are read and their timestamps start at 0.
    With one, the source plays at its own pace: the first frame is due at the first read, a
    frame is given no earlier than its time, and timestamps are on that clock. A slow reader
    gets frames late, but all of them.
    """

    def __init__(self, source: str, intrinsics: CameraIntrinsics, clock: Clock | None) -> None:
        super().__init__(source, intrinsics)
        self._clock = clock
        self._start: float | None = None
        self._index = 0

    @property
    def live(self) -> bool:
        """False: no frame is dropped."""
        return False

    @property
    def ended(self) -> bool:
        """True once the last frame was given, or the source was closed."""
        return self._closed or self._peek_time() is None

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the next frame; None when it is not due within ``timeout`` [s], or after the last one.

        Raises:
            FrameReadError: The source is closed, or its next picture cannot be decoded.
        """
        self._check_open()
        offset = self._peek_time()
        if offset is None or not self._wait(offset, timeout):
            return None
        image, intrinsics, depth = self._take()
        index, self._index = self._index, self._index + 1
        timestamp = (self._start or 0.0) + offset
        return Frame(image=image, timestamp=timestamp, index=index, intrinsics=intrinsics, depth=depth)

    def _wait(self, offset: float, timeout: float) -> bool:
        if self._clock is None:
            return True
        now = self._clock.now()
        if self._start is None:
            self._start = now - offset
        due = self._start + offset
        if now < due:
            self._clock.sleep_until(min(due, now + max(timeout, 0.0)))
        # A clock may wake a hair early by rounding of its floats.
        return self._clock.now() >= due - 1e-9

    def _peek_time(self) -> float | None:
        """Return when the next picture was taken [s] since the first, None after the last."""
        raise NotImplementedError

    def _take(self) -> tuple[Image, CameraIntrinsics, Depth | None]:
        """Return the next picture, its lens and its depth, and move on."""
        raise NotImplementedError
