"""Devices behind live cameras: webcams through OpenCV, network streams through FFmpeg."""

from __future__ import annotations

import time
from pathlib import Path

import av
import av.error
import cv2
import numpy as np

from vision_ik.cameras.controls import WebcamControls
from vision_ik.cameras.live import Grabber, Shot
from vision_ik.cameras.packets import BrokenDataError, WholeFrames
from vision_ik.cameras.pictures import is_half_drawn, quiet_opencv, to_bgr
from vision_ik.cameras.settings import CameraSettings
from vision_ik.cameras.tones import Tones
from vision_ik.errors import CameraNotFoundError, FrameReadError

_OPEN_TIMEOUT = 5.0
"""[s] For a network stream to answer."""
_READ_TIMEOUT = 3.0
"""[s] A stream silent for longer is gone."""
_MAX_AGE = 1.0
"""[s] A driver's stamp older than this is on another clock."""
_LINKS = Path("/dev/v4l/by-id")
"""Where Linux names video devices by maker and serial number."""
_SETTLING_PICTURES = 30
"""Taken before something is locked: about a second, in which automatics reach their value."""
_MOST_BAD = 10
"""Damaged pictures in a row (loose cables, wrong formats) after which a device counts as broken."""
_JUMP = 1.3
"""Ratio of mean brightness before and after a lock that is told: then what was locked was another value."""


class Webcam(Grabber):
    """A camera of this machine by index.

    Args:
        index: As the system counts, from 0.
        settings: Wishes; what is not granted stands in ``mismatches``.
        place: Link that always leads to this camera; it goes before the index.

    Raises:
        CameraNotFoundError: No camera has this index, or another program holds it.
        FrameReadError: It gave no picture to lock its automatics by.
    """

    def __init__(self, index: int, settings: CameraSettings | None = None, *, place: Path | None = None) -> None:
        wishes = settings or CameraSettings()
        self.identified = place is not None
        if place is not None:
            index = _required_index(place)
        self._name = f"camera {index}"
        self._tones = Tones(self._name)
        with quiet_opencv():
            self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraNotFoundError(
                f"There is no camera {index}, or another program uses it.",
                "Run `vision-ik cameras` for those found, and close other programs.",
                index=index,
            )
        try:
            with quiet_opencv():
                controls = WebcamControls(self._capture, self._name)
                controls.apply_stream(wishes)
            self._exposure: float | None = None
            self._stamped = self._capture.getBackendName() == "V4L2"
            self._compressed = int(self._capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG")
            before = self._brightness() if wishes.locks else 0.0
            with quiet_opencv():
                controls.apply_picture(wishes)
            self._exposure = controls.exposure
            self.mismatches = tuple(controls.mismatches) + (self._jump(before) if wishes.locks else ())
        except BaseException:
            self.release()
            raise

    @classmethod
    def at(cls, place: Path, settings: CameraSettings | None = None) -> Webcam:
        """Open a webcam by its device file or a link to it.

        Raises:
            CameraNotFoundError: There is none.
        """
        webcam = cls(_required_index(place), settings)
        webcam.identified = place.parent.name == _LINKS.name
        return webcam

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is done to the pictures."""
        return self._tones.remarks

    def grab(self) -> Shot:
        """Return the next picture and how long ago the middle of its exposure was, as far as is known."""
        for _ in range(_MOST_BAD - 1):
            try:
                return self._grab()
            except _BadPictureError:
                continue
        return self._grab()

    def release(self) -> None:
        """Give the device back."""
        with quiet_opencv():
            self._capture.release()

    def _grab(self) -> Shot:
        with quiet_opencv():
            good, picture = self._capture.read()
        if not good:
            raise FrameReadError(
                f"{self._name.capitalize()} stopped giving frames.", "Check its cable and plug it in again."
            )
        age = 0.0
        if self._stamped:  # the driver stamps buffers on the monotonic clock, when their first data came
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            age = time.monotonic() - stamp
            age = age if 0.0 <= age < _MAX_AGE else 0.0
        # A sensor reads out when the exposure is over; its middle was half of it earlier.
        age += 0.5 * (self._exposure or 0.0)
        try:
            image = to_bgr(picture, self._name, self._tones)
        except FrameReadError as error:
            raise _BadPictureError(error.cause, error.remedy, **error.facts) from error
        if self._compressed and is_half_drawn(image):
            raise _BadPictureError(
                f"{self._name.capitalize()} gives half pictures: the end of their data is missing.",
                "Use a shorter cable or another port, or ask for a smaller size or the pixel format YUYV.",
            )
        return Shot(image=image, age=age)

    def _brightness(self) -> float:
        """Return the mean grey level once the automatics have settled."""
        return [float(np.mean(self.grab().image)) for _ in range(_SETTLING_PICTURES)][-1]

    def _jump(self, before: float) -> tuple[str, ...]:
        """Return a sentence when locking changed the picture: some drivers tell a value they do not use."""
        after = self._brightness()
        low, high = sorted((before + 1.0, after + 1.0))
        if high <= _JUMP * low:
            return ()
        return (
            f"{self._name} changed its mean brightness from {before:.0f} to {after:.0f} when it was locked: "
            "give its exposure time as a number.",
        )


class _BadPictureError(FrameReadError):
    """One picture could not be used; the next may be good."""


class NetworkStream(Grabber):
    """A stream FFmpeg can read (HTTP with MJPEG, RTSP, ...), with short buffers.

    Raises:
        CameraNotFoundError: Nothing answers at the address, or it is no video.
    """

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
        self._frames = WholeFrames(self._container, self._container.streams.video[0])

    def grab(self) -> Shot:
        """Return the next picture; its age is unknown and taken as 0."""
        reason = "the sender closed it"
        try:
            for _ in range(_MOST_BAD):
                try:
                    frame = self._frames.take()
                except BrokenDataError as error:
                    reason = str(error)
                    continue
                if frame is None:
                    break
                return Shot(image=to_bgr(frame.to_ndarray(format="bgr24"), self._url))
        except (av.error.FFmpegError, OSError) as error:
            raise self._stopped(_reason(error)) from error
        raise self._stopped(reason)

    def release(self) -> None:
        """Hang up."""
        self._container.close()

    def _stopped(self, reason: str) -> FrameReadError:
        return FrameReadError(
            f"The stream {self._url} stopped: {reason}.",
            "Check the sender and the network, then open it again.",
            url=self._url,
        )


def stable_path(index: int, links: Path = _LINKS) -> Path | None:
    """Return the link that names a video device by its serial number; None where the system keeps none."""
    found = sorted(links.iterdir()) if links.is_dir() else []
    return next((link for link in found if _index_of(link) == index), None)


def lasting_path(place: Path, links: Path = _LINKS) -> Path:
    """Return the link that names the device at a path by its serial number; the path itself where there is none."""
    index = _index_of(place)
    return place if index is None else stable_path(index, links) or place


def _index_of(place: Path) -> int | None:
    """Return the index of a video device by its file, links followed; None when there is none."""
    device = place.resolve()
    if not device.exists() or not device.name.startswith("video") or not device.name[5:].isdecimal():
        return None
    return int(device.name[5:])


def _required_index(place: Path) -> int:
    index = _index_of(place)
    if index is None:
        raise CameraNotFoundError(
            f"There is no camera at {place}.", "Run `vision-ik cameras` for those found.", place=place
        )
    return index


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
