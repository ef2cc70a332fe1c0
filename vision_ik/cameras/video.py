"""A video file as a camera, with the true time of each frame."""

from __future__ import annotations

from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from vision_ik.cameras.base import StoredCamera
from vision_ik.cameras.packets import BrokenDataError, WholeFrames
from vision_ik.cameras.pictures import fit_intrinsics, to_bgr
from vision_ik.cameras.tones import Tones
from vision_ik.clock import Clock
from vision_ik.errors import FrameReadError
from vision_ik.types import CameraIntrinsics, Image

_FALLBACK_RATE = 25.0
"""[1/s] For files that state neither times nor a rate."""
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class VideoCamera(StoredCamera):
    """Gives every frame of a video file, upright, at the times in the file (which may be uneven).

    Args:
        path: Any file FFmpeg reads.
        intrinsics: Lens; None guesses.
        fov: Horizontal field of view [rad] to guess with.
        clock: Clock to play on, see :class:`StoredCamera`.

    Raises:
        FrameReadError: The file is no video, or its first frame cannot be decoded.
    """

    def __init__(
        self,
        path: Path,
        *,
        intrinsics: CameraIntrinsics | None = None,
        fov: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._path = path
        self._given, self._fov = intrinsics, fov
        try:
            self._container = av.open(str(path))
        except (av.error.FFmpegError, OSError) as error:
            raise self._unreadable(error) from error
        try:
            if not self._container.streams.video:
                raise FrameReadError(f"{path} holds no video.", "Give a file with a video stream.", path=path)
            stream = self._container.streams.video[0]
            stream.thread_type = "SLICE"  # frame threads lose what they hold when a later packet is broken
            self._promised = _promised_duration(self._container)
            self._rate = float(stream.average_rate or _FALLBACK_RATE)
            self._frames = WholeFrames(self._container, stream)
            self._told = -1
            self._tones = Tones(str(path))
            self._decoded = 0
            self._origin: float | None = None
            self._last = 0.0
            self._failure: FrameReadError | None = None
            self._next = self._decode()
            if self._next is None:
                raise self._failure or self._unreadable(None)
            fitted = self._fit(self._next[1])
        except BaseException:
            self._container.close()
            raise
        super().__init__(str(path), fitted, clock)

    def close(self) -> None:
        """Release the file."""
        if not self._closed:
            self._container.close()
        super().close()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is done to the pictures, one sentence each."""
        return self._tones.remarks

    def _peek_time(self) -> float | None:
        if self._next is not None:
            return self._next[0]
        # A failure is raised when its frame is read, not hidden as an early end.
        return self._last if self._failure is not None else None

    def _take(self) -> tuple[Image, CameraIntrinsics, None]:
        if self._next is None:
            failure, self._failure = self._failure, None
            self._next = self._decode()  # a reader who goes on gets what comes after the damage
            raise failure or self._unreadable(None)
        image = self._next[1]
        self._next = self._decode()  # one ahead, so that the end is known when the last frame is given
        same = image.shape[:2] == (self._intrinsics.height, self._intrinsics.width)
        return image, self._intrinsics if same else self._fit(image), None

    def _fit(self, image: Image) -> CameraIntrinsics:
        return fit_intrinsics(self._given, self._fov, image.shape[1], image.shape[0], str(self._path))

    def _decode(self) -> tuple[float, Image] | None:
        """Return time and picture of the next frame; None at the end, or with the failure kept for its reader."""
        while True:
            try:
                frame = self._frames.take()
            except BrokenDataError as error:
                if self._told == self._decoded:
                    continue  # one error for one hole, however many frames are in it
                self._told = self._decoded
                self._failure = self._cut_off(f"frame {self._decoded}: {error}")
                return None
            except (av.error.FFmpegError, OSError) as error:
                self._failure = self._unreadable(error)
                return None
            if frame is None:
                self._failure = self._missing_end()
                return None
            moment = self._time(frame), self._upright(frame)
            self._decoded += 1
            return moment

    def _missing_end(self) -> FrameReadError | None:
        """Return an error when the video ends before its time."""
        # Some encoders count a frame or two too many into the duration.
        if self._promised is None or self._last + 3.0 / self._rate >= 0.95 * self._promised:
            return None
        promised, self._promised = self._promised, None
        return self._cut_off(f"it ends at {self._last:.2f} s of {promised:.2f} s")

    def _upright(self, frame: VideoFrame) -> Image:
        """Return the picture as BGR, turned as the file says it was held."""
        if frame.format.name.startswith("gray16"):  # FFmpeg would cut it to the upper 8 bits
            image = to_bgr(frame.to_ndarray(format="gray16le"), str(self._path), self._tones)
        else:
            image = np.asarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8)
        turn = _TURNS.get(int(getattr(frame, "rotation", 0)) % 360)
        return image if turn is None else np.asarray(cv2.rotate(image, turn), dtype=np.uint8)

    def _time(self, frame: VideoFrame) -> float:
        """Return the time of a frame [s] since the first; damaged stamps go on at the nominal rate."""
        expected = self._last + 1.0 / self._rate if self._decoded else 0.0
        stamp = expected
        if frame.pts is not None:
            if self._origin is None:
                self._origin = float(frame.time) - expected
            stamp = float(frame.time) - self._origin
            if self._decoded and stamp <= self._last:
                stamp = expected
        self._last = stamp
        return stamp

    def _cut_off(self, detail: str) -> FrameReadError:
        return FrameReadError(
            f"{self._path} is cut off or damaged: {detail}.",
            "Copy it again from where it came, or go on without the rest.",
            path=self._path,
            frames=self._decoded,
        )

    def _unreadable(self, error: Exception | None) -> FrameReadError:
        detail = "no frame could be decoded" if error is None else str(getattr(error, "strerror", None) or error)
        return FrameReadError(
            f"{self._path} cannot be read as a video: {detail}.",
            "Check the file with another player, or convert it to H.264 in MP4.",
            path=self._path,
        )


def _promised_duration(container: InputContainer) -> float | None:
    """Return how long a video should be [s], None where the file does not say for sure.

    FFmpeg marks the broken last frame of most cut-off files; of Matroska and WebM it drops
    it without a word, but their header says the duration. With sound, that is the sound's.
    """
    if "matroska" not in container.format.name or len(container.streams) > 1 or container.duration is None:
        return None
    return container.duration / av.time_base
