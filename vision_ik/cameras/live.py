"""Sources that run by themselves: a thread keeps the newest frame, older ones are dropped."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from vision_ik.cameras.base import BaseCamera, Depth
from vision_ik.cameras.pictures import fit_intrinsics
from vision_ik.cameras.reconnecting import Absence
from vision_ik.clock import Clock, MonotonicClock
from vision_ik.errors import CameraError, FrameReadError
from vision_ik.types import CameraIntrinsics, Frame, Image

_FIRST_FRAME_TIMEOUT = 10.0
"""[s] Webcams need a second or two to start, streams wait for a key frame."""
_JOIN_TIMEOUT = 2.0
"""[s] A driver that blocks longer keeps its (daemon) thread, which releases the device when it wakes."""
_SILENCE = 1.0
"""[s] Without a frame for longer, something is wrong; the slowest webcams give 5 frames a second."""
_GLANCE = 0.05
"""[s] How often a clock is looked at while waiting for its time; virtual ones move when they are moved."""

Shutter = Literal["rolling", "global", "unknown"]
"""A rolling one exposes row after row: what moves is sheared, by up to the time one frame takes."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shot:
    """One picture as a device gives it."""

    image: Image
    age: float = 0.0
    """[s] Since the middle of its exposure, as far as the device can tell."""
    depth: Depth | None = None
    """Aligned to the picture."""


class Grabber(Protocol):
    """A device that gives pictures one after the other; used from one thread only."""

    mismatches: tuple[str, ...] = ()
    """Settings that were asked for and not granted, one sentence each."""
    shutter: Shutter = "unknown"
    identified: bool = True
    """False where opening the device again may lead to another one."""

    @property
    def intrinsics(self) -> CameraIntrinsics | None:
        """What the device itself says of its lens, asked for after the first picture."""
        return None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is done to its pictures, or has to be known of them, one sentence each."""
        return ()

    def grab(self) -> Shot:
        """Wait for the next picture.

        Raises:
            FrameReadError: The device is gone.
        """
        ...

    def release(self) -> None:
        """Give the device back."""
        ...


class NumberedGrabber(Grabber, Protocol):
    """A device that tells its serial number."""

    serial: str = ""


class LiveCamera(BaseCamera):
    """Gives the newest frame of a running source, stamped when its light came, as far as that is known.

    Stamps increase strictly and never lie in the future. A device that goes away is opened again:
    meanwhile `read` gives None and `trouble` says why; indices and stamps go on increasing.

    Args:
        grabber: Opened device; the camera releases it.
        source: Name for messages.
        intrinsics: Lens; None takes the device's own, or guesses.
        fov: Horizontal field of view [rad] to guess with.
        clock: Clock of the stamps; None takes the machine's monotonic clock.
        reopen: Opens the device again after it went away; None lets reading fail at once.
        patience: For how long [s] of the clock it is tried.

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
        reopen: Callable[[], Grabber] | None = None,
        patience: float = 30.0,
    ) -> None:
        self.source = source
        self._grabber: Grabber | None = grabber
        self._about = grabber
        self._returned = False
        self._reopen, self._patience = reopen, patience
        self._clock = clock or MonotonicClock()
        self._news = threading.Condition()
        self._newest: tuple[Shot, float, int] | None = None
        self._taken = 0
        self._last = -math.inf
        self._trouble = ""
        self._failure: FrameReadError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._capture, name=f"capture {source}", daemon=True)
        self._thread.start()
        try:
            height, width = self._first_size(source)
            lens = grabber.intrinsics if intrinsics is None else intrinsics
            fitted = fit_intrinsics(lens, fov, width, height, source)
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

    @property
    def mismatches(self) -> tuple[str, ...]:
        """Settings that were asked for and not granted, one sentence each."""
        return self._about.mismatches

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is done to the pictures, or has to be known of them, one sentence each."""
        said = [*self._about.remarks]
        if self.shutter == "rolling":
            said.append(f"{self.source} exposes row after row: what moves is sheared.")
        if self._returned and not self._about.identified:
            said.append(
                f"{self.source} went away and was found again by its number alone: "
                "if it is another camera now, its lens and its place are other ones, too."
            )
        return tuple(said)

    @property
    def shutter(self) -> Shutter:
        """How the sensor exposes, where the device tells."""
        return self._about.shutter

    @property
    def trouble(self) -> str:
        """Why there are no frames, as a sentence; empty while they come."""
        with self._news:
            silence = self._clock.now() - self._last
            if self._trouble or not _SILENCE < silence < math.inf:
                return self._trouble
            return f"{self.source} has given no frame for {silence:.1f} s."

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the newest frame not yet returned; wait for one at most ``timeout`` [s].

        Raises:
            FrameReadError: The device is gone for good or closed.
        """
        self._check_open()
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._failure is not None, max(timeout, 0.0))
            newest, self._newest = self._newest, None
            if newest is None:
                if self._failure is not None:
                    raise self._failure
                return None
        shot, timestamp, index = newest
        height, width = shot.image.shape[:2]
        if (height, width) != (self._intrinsics.height, self._intrinsics.width):
            raise CameraError(
                f"{self.source} changed its picture size to {width}x{height}.",
                "Keep the size fixed while it runs.",
                source=self.source,
            )
        return Frame(image=shot.image, timestamp=timestamp, index=index, intrinsics=self._intrinsics, depth=shot.depth)

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
            height, width = self._newest[0].image.shape[:2]
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
        absence: Absence | None = None
        try:
            while not self._stop.is_set():
                try:
                    grabber = self._grabber or self._opened_again()
                    self._publish(grabber.grab())
                    absence = None
                except CameraError as error:
                    self._let_go()
                    absence = absence or self._absence(error)
                    self._wait_until(absence.next_attempt(self._clock.now(), error))
        except Exception as error:  # whatever it is, the reader must hear of it, not wait for ever
            with self._news:
                self._failure = error if isinstance(error, FrameReadError) else self._broken(error)
                self._trouble = self._failure.cause
                self._news.notify_all()
        finally:
            self._let_go()

    def _publish(self, shot: Shot) -> None:
        """Make a picture the newest frame."""
        with self._news:
            now = self._clock.now()
            # Later than the one before by any means: two frames of one time cannot be told apart.
            self._last = max(min(now - shot.age, now), math.nextafter(self._last, math.inf))
            self._newest = shot, self._last, self._taken
            self._taken += 1
            self._trouble = ""
            self._news.notify_all()

    def _absence(self, error: CameraError) -> Absence:
        """Return the record of an absence that begins now.

        Raises:
            CameraError: It is not to be waited out.
        """
        if self._reopen is None or self._patience <= 0 or self._taken == 0:
            raise error
        with self._news:
            self._trouble = f"{error.cause} It is being opened again."
        return Absence(source=self.source, since=self._clock.now(), patience=self._patience, first=error)

    def _opened_again(self) -> Grabber:
        if self._reopen is None:
            raise FrameReadError(f"{self.source} is gone.", "Open it again.", source=self.source)
        self._grabber = self._about = self._reopen()
        self._returned = True
        return self._grabber

    def _let_go(self) -> None:
        grabber, self._grabber = self._grabber, None
        if grabber is not None:
            grabber.release()

    def _wait_until(self, due: float) -> None:
        """Wait for a time of the clock, or for the end; the clock itself belongs to the reader's thread."""
        while (left := due - self._clock.now()) > 0 and not self._stop.wait(min(left, _GLANCE)):
            continue
