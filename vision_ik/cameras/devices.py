"""Devices behind live cameras: webcams through OpenCV, network streams through FFmpeg."""

from __future__ import annotations

import time

import av
import av.error
import cv2

from vision_ik.cameras.pictures import quiet_opencv, to_bgr
from vision_ik.errors import CameraNotFoundError, FrameReadError
from vision_ik.types import Image

_OPEN_TIMEOUT = 5.0
"""[s] For a network stream to answer."""
_READ_TIMEOUT = 3.0
"""[s] A stream silent for longer is gone."""
_MAX_AGE = 1.0
"""[s] A driver's stamp older than this is on another clock."""


class Webcam:
    """A camera of this machine by index.

    Args:
        index: As the system counts, from 0.
        size: Wished (width, height) [px].
        rate: Wished frames per second.

    Raises:
        CameraNotFoundError: No camera has this index, or another program holds it.
    """

    def __init__(self, index: int, *, size: tuple[int, int] | None = None, rate: float | None = None) -> None:
        with quiet_opencv():
            self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraNotFoundError(
                f"There is no camera {index}, or another program uses it.",
                "Run `vision-ik doctor` for the cameras found, and close other programs.",
                index=index,
            )
        self._name = f"camera {index}"
        self.mismatches = self._configure(size, rate)

    def grab(self) -> tuple[Image, float]:
        """Return the next picture and its age."""
        with quiet_opencv():
            good, picture = self._capture.read()
        if not good:
            raise FrameReadError(
                f"{self._name.capitalize()} stopped giving frames.", "Check its cable and plug it in again."
            )
        # V4L2 stamps buffers on the monotonic clock; other systems answer 0 or a position.
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        age = time.monotonic() - stamp
        return to_bgr(picture, self._name), age if 0.0 <= age < _MAX_AGE else 0.0

    def release(self) -> None:
        """Give the device back."""
        with quiet_opencv():
            self._capture.release()

    def _configure(self, size: tuple[int, int] | None, rate: float | None) -> tuple[str, ...]:
        # One buffer where the driver allows it: the newest frame, not a queue of old ones.
        wishes = [(cv2.CAP_PROP_BUFFERSIZE, 1.0, "")]
        if size is not None:
            wishes += [
                (cv2.CAP_PROP_FRAME_WIDTH, float(size[0]), "width"),
                (cv2.CAP_PROP_FRAME_HEIGHT, float(size[1]), "height"),
            ]
        if rate is not None:
            wishes.append((cv2.CAP_PROP_FPS, float(rate), "rate"))
        with quiet_opencv():
            for key, value, _ in wishes:
                self._capture.set(key, value)
            granted = [(name, wished, self._capture.get(key)) for key, wished, name in wishes if name]
        return tuple(
            f"{self._name} gives {name} {given:g} instead of {wished:g}."
            for name, wished, given in granted
            if abs(given - wished) > 0.01 * wished
        )


class NetworkStream:
    """A stream FFmpeg can read (HTTP with MJPEG, RTSP, ...), with short buffers.

    Raises:
        CameraNotFoundError: Nothing answers at the address, or it is no video.
    """

    mismatches: tuple[str, ...] = ()

    def __init__(self, url: str) -> None:
        self._url = url
        options = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "500000", "analyzeduration": "500000"}
        if url.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        try:
            self._container = av.open(url, options=options, timeout=(_OPEN_TIMEOUT, _READ_TIMEOUT))
        except (av.error.FFmpegError, OSError) as error:
            raise CameraNotFoundError(
                f"No video stream could be opened at {url}: {_reason(error)}.",
                "Check the address in a browser or player, and that the sender runs.",
                url=url,
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise CameraNotFoundError(f"{url} carries no video.", "Give the address of a video stream.", url=url)
        self._frames = self._container.decode(self._container.streams.video[0])

    def grab(self) -> tuple[Image, float]:
        """Return the next picture and its age, which is unknown and taken as 0."""
        try:
            frame = next(self._frames)
        except (StopIteration, av.error.FFmpegError, OSError) as error:
            raise FrameReadError(
                f"The stream {self._url} stopped: {_reason(error)}.",
                "Check the sender and the network, then open it again.",
                url=self._url,
            ) from error
        return to_bgr(frame.to_ndarray(format="bgr24"), self._url), 0.0

    def release(self) -> None:
        """Hang up."""
        self._container.close()


def _reason(error: Exception) -> str:
    if isinstance(error, StopIteration):
        return "the sender closed it"
    return str(getattr(error, "strerror", None) or error)
