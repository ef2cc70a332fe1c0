"""Sources that run by themselves: a thread keeps the newest frame, older ones are dropped."""

from __future__ import annotations

import threading
from typing import Protocol

from vision_ik.cameras.base import BaseCamera
from vision_ik.cameras.pictures import fit_intrinsics
from vision_ik.clock import Clock, MonotonicClock
from vision_ik.errors import CameraError, FrameReadError
from vision_ik.types import CameraIntrinsics, Frame, Image

_FIRST_FRAME_TIMEOUT = 10.0
"""[s] Webcams need a second or two to start, streams wait for a key frame."""
_JOIN_TIMEOUT = 2.0
"""[s] A driver that blocks longer keeps its (daemon) thread, which releases the device when it wakes."""


class Grabber(Protocol):
    """A device that gives pictures one after the other; used from one thread only."""

    mismatches: tuple[str, ...]
    """Settings that were asked for and not granted, one sentence each."""

    def grab(self) -> tuple[Image, float]:
        """Wait for the next picture; return it and its age [s].

        Raises:
            FrameReadError: The device is gone.
        """
        ...

    def release(self) -> None:
        """Give the device back."""
        ...


class LiveCamera(BaseCamera):
    """Gives the newest frame of a running source, stamped when it arrived less its known age.

    Args:
        grabber: Opened device; the camera releases it.
        source: Name for messages.
        intrinsics: Lens; None guesses.
        fov: Horizontal field of view [rad] to guess with.
        clock: Clock of the stamps; None takes the machine's monotonic clock.

    Raises:
        FrameReadError: No first frame came.
        CameraError: The lens does not fit the pictures.
    """

    def __init__(
        self,
        grabber: Grabber,
        *,
        source: str,
        intrinsics: CameraIntrinsics | None = None,
        fov: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.source = source
        self.mismatches = grabber.mismatches
        self._grabber = grabber
        self._clock = clock or MonotonicClock()
        self._news = threading.Condition()
        self._newest: tuple[Image, float, int] | None = None
        self._failure: FrameReadError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._capture, name=f"capture {source}", daemon=True)
        self._thread.start()
        try:
            height, width = self._first_size(source)
            fitted = fit_intrinsics(intrinsics, fov, width, height, source)
        except BaseException:
            self._shut_down()
            raise
        super().__init__(source, fitted)

    @property
    def live(self) -> bool:
        """True: unread frames are replaced by newer ones."""
        return True

    @property
    def ended(self) -> bool:
        """False until closed: a running source has no last frame."""
        return self._closed

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the newest frame not yet returned; wait for one at most ``timeout`` [s].

        Raises:
            FrameReadError: The device is gone or closed.
        """
        self._check_open()
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._failure is not None, max(timeout, 0.0))
            newest, self._newest = self._newest, None
            if newest is None:
                if self._failure is not None:
                    raise self._failure
                return None
        image, timestamp, index = newest
        if image.shape[:2] != (self._intrinsics.height, self._intrinsics.width):
            raise CameraError(
                f"{self.source} changed its picture size to {image.shape[1]}x{image.shape[0]}.",
                "Keep the size fixed while it runs.",
                source=self.source,
            )
        return Frame(image=image, timestamp=timestamp, index=index, intrinsics=self._intrinsics)

    def close(self) -> None:
        """Stop the thread and release the device."""
        if not self._closed:
            self._shut_down()
        super().close()

    def _first_size(self, source: str) -> tuple[int, int]:
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._failure is not None, _FIRST_FRAME_TIMEOUT)
            if self._newest is None:
                raise self._failure or FrameReadError(
                    f"{source} opened but gave no frame within {_FIRST_FRAME_TIMEOUT:.0f} s.",
                    "Check that no other program uses it, then plug it in again.",
                    source=source,
                )
            height, width = self._newest[0].shape[:2]
        return height, width

    def _shut_down(self) -> None:
        self._stop.set()
        self._thread.join(_JOIN_TIMEOUT)

    def _broken(self, error: Exception) -> FrameReadError:
        failure = FrameReadError(
            f"{self.source} failed while reading: {type(error).__name__}: {error}.",
            "Open it again; if it happens again, please report it.",
            source=self.source,
        )
        failure.__cause__ = error
        return failure

    def _capture(self) -> None:
        """Run in the thread: only here is the device touched, for drivers crash when released while reading."""
        index = 0
        try:
            while not self._stop.is_set():
                image, age = self._grabber.grab()
                timestamp = self._clock.now() - age
                with self._news:
                    self._newest = image, timestamp, index
                    self._news.notify_all()
                index += 1
        except Exception as error:  # whatever it is, the reader must hear of it, not wait for ever
            with self._news:
                self._failure = error if isinstance(error, FrameReadError) else self._broken(error)
                self._news.notify_all()
        finally:
            self._grabber.release()
