"""A picture held before the arm: a still lasts long enough for the arm to get there."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from vision_ik.clock import Clock
from vision_ik.types import CameraIntrinsics, Frame


class HeldFrame:
    """A camera that shows one frame for a while; it satisfies `vision_ik.types.Camera`.

    Args:
        frame: The picture.
        duration: [s]
        rate: Frames per second.
        clock: Of the run; the first frame is due at once.
    """

    live = False

    def __init__(self, frame: Frame, *, duration: float, rate: float, clock: Clock) -> None:
        self._frame = frame
        self._start = clock.now()
        self._count = max(1, round(duration * rate))
        self._rate = rate
        self._next = 0

    @property
    def intrinsics(self) -> CameraIntrinsics:
        """Lens of the picture."""
        return self._frame.intrinsics

    @property
    def ended(self) -> bool:
        """Whether the last repetition was read."""
        return self._next >= self._count

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the picture with its next time stamp; None at the end."""
        del timeout
        if self.ended:
            return None
        index = self._next
        self._next += 1
        return Frame(
            image=self._frame.image,
            timestamp=self._start + index / self._rate,
            index=self._frame.index,
            intrinsics=self._frame.intrinsics,
            depth=self._frame.depth,
        )

    def close(self) -> None:
        """End the source."""
        self._next = self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
