"""A camera without a sensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from vision_ik.clock import Clock
from vision_ik.errors import CameraError, FrameReadError
from vision_ik.types import CameraIntrinsics, Frame, Image


def blank_frame(timestamp: float, index: int = 0, intrinsics: CameraIntrinsics | None = None) -> Frame:
    """Return a grey frame; enough where a detector stand-in knows what is to be seen."""
    lens = intrinsics or CameraIntrinsics.from_field_of_view(64, 48)
    image = np.full((lens.height, lens.width, 3), 128, dtype=np.uint8)
    return Frame(image=image, timestamp=timestamp, index=index, intrinsics=lens)


class FakeCamera:
    """Frames from a list or a function, delivered on a clock as a sensor would.

    A list plays like a file: each read is the next frame, and the source ends. A function
    ``(timestamp, index) -> image or None`` plays like a live sensor: frame k is taken at
    ``start + k / rate`` and can be read ``latency`` later; unread ones are lost; None drops it.

    Args:
        frames: The list, or the function.
        clock: The clock of the run.
        intrinsics: The lens; by default that of the first frame, or 64x48 px at 60 deg.
        rate: Of a live source [Hz].
        latency: From light to `read` [s] of a live source.
        fail_at: From this time [s] on, reading raises `FrameReadError`, as if unplugged.
    """

    def __init__(
        self,
        frames: Sequence[Frame] | Callable[[float, int], Image | None],
        *,
        clock: Clock,
        intrinsics: CameraIntrinsics | None = None,
        rate: float = 30.0,
        latency: float = 0.0,
        fail_at: float = float("inf"),
    ) -> None:
        self.clock = clock
        self.fail_at = fail_at
        self._list = None if callable(frames) else list(frames)
        self._render = frames if callable(frames) else None
        self._lens = intrinsics or (
            self._list[0].intrinsics if self._list else CameraIntrinsics.from_field_of_view(64, 48)
        )
        self._rate, self._latency = rate, latency
        self._start = clock.now()
        self._next = 0
        self._closed = False

    @property
    def intrinsics(self) -> CameraIntrinsics:
        """The lens."""
        return self._lens

    @property
    def live(self) -> bool:
        """Whether a function feeds it."""
        return self._render is not None

    @property
    def ended(self) -> bool:
        """Whether the list is used up."""
        return self._list is not None and self._next >= len(self._list)

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the next frame (list) or the newest unseen one (function).

        Raises:
            FrameReadError: From ``fail_at`` on.
            CameraError: After `close`.
        """
        if self._closed:
            raise CameraError("The camera is closed.", "Open it again.")
        self._require_plugged()
        if self._render is None:
            return self._read_list()
        deadline = self.clock.now() + timeout
        while (due := self._due(self._next)) <= deadline:
            self.clock.sleep_until(min(due, self.fail_at))
            self._require_plugged()
            frame = self._read_newest()
            if frame is not None:
                return frame
        self.clock.sleep_until(deadline)
        self._require_plugged()
        return None

    def close(self) -> None:
        """Release nothing; further reads are refused."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_list(self) -> Frame | None:
        if self._list is None or self.ended:
            return None
        self._next += 1
        return self._list[self._next - 1]

    def _read_newest(self) -> Frame | None:
        """Return the newest frame due by now, or None when the function dropped it."""
        # A frame due exactly now must not be lost to rounding.
        index = int((self.clock.now() - self._start - self._latency) * self._rate + 1e-6)
        self._next = index + 1
        timestamp = self._start + index / self._rate
        image = None if self._render is None else self._render(timestamp, index)
        return None if image is None else Frame(image=image, timestamp=timestamp, index=index, intrinsics=self._lens)

    def _due(self, index: int) -> float:
        return self._start + self._latency + index / self._rate

    def _require_plugged(self) -> None:
        if self.clock.now() >= self.fail_at:
            raise FrameReadError("The fake camera was unplugged.", "Plug it in again.", at=self.fail_at)
