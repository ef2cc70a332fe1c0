"""One door to all sources of frames."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import cast

from vision_ik.cameras.devices import NetworkStream, Webcam, lasting_path, stable_path
from vision_ik.cameras.images import IMAGE_SUFFIXES, ImageCamera
from vision_ik.cameras.live import Grabber, LiveCamera, NumberedGrabber
from vision_ik.cameras.override import OtherLens
from vision_ik.cameras.settings import CameraSettings
from vision_ik.cameras.video import VideoCamera
from vision_ik.clock import Clock
from vision_ik.errors import CameraNotFoundError
from vision_ik.types import Camera, CameraIntrinsics

ENTRY_POINT_GROUP = "vision_ik.cameras"
_DEPTH_CAMERAS = {"realsense": "vision_ik.cameras.realsense", "depthai": "vision_ik.cameras.depthai"}
_INDEX = re.compile(r"^\d+$")
_DEVICE_FILE = re.compile(r"^/dev/(video\d+|v4l/)")
_URL = re.compile(r"^(https?|rtsps?|rtmp|udp|tcp)://")


def open_camera(
    source: str | int | Path,
    *,
    intrinsics: CameraIntrinsics | None = None,
    fov: float | None = None,
    clock: Clock | None = None,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    settings: CameraSettings | None = None,
) -> Camera:
    """Open a source of frames.

    Args:
        source: Webcam index (``0`` or ``"0"``) or device file (``/dev/video0``, ``/dev/v4l/by-id/...``), video
            file, picture, folder of pictures, address of a stream (``http://``, ``rtsp://``), ``realsense:`` or
            ``depthai:`` with or without a serial number, or ``scheme:rest`` of a registered camera
            (``sim:tabletop``).
        intrinsics: Lens; scaled to the pictures if the aspect ratio is the same. None takes what the device
            knows of itself, or guesses from ``fov`` and marks everything approximate.
        fov: Horizontal field of view [rad] to guess with, 60 degrees when None.
        clock: Clock of the run. Live sources stamp on it (None: the machine's monotonic clock). Stored ones
            play at their own pace on it; None gives their frames as fast as they are read, from time 0.
        size: Wished (width, height) [px] of a live camera; None takes that of ``settings`` or ``intrinsics``.
        rate: Wished frames per second of a live camera, or of a folder of pictures; None takes ``settings``.
        settings: Further wishes for a live camera: exposure, focus, how long to look for it when it goes away.

    Returns:
        An open camera; use it in a ``with`` block. A live one lists in ``mismatches`` what was not granted, and
        says in ``trouble`` why no frames come while it is away.

    Raises:
        CameraNotFoundError: Nothing stands behind the source.
        FrameReadError: It is there, but gives no readable frame.
        CameraError: The intrinsics do not fit its pictures.
        MissingDependencyError: The package for this kind of camera is not installed.
    """
    if isinstance(source, bool) or not isinstance(source, (str, int, Path)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"A camera source is an index, a path or an address, not {source!r}.")
    text = str(source).strip()
    wishes = _wishes(settings or CameraSettings(), intrinsics, size, rate)
    name, opener = _live_opener(text, wishes)
    if opener is not None:
        return LiveCamera(
            opener(),
            source=name,
            intrinsics=intrinsics,
            fov=fov,
            clock=clock,
            reopen=opener,
            patience=wishes.patience,
        )
    path = Path(text).expanduser()
    if (text and path.is_dir()) or (path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()):
        return ImageCamera(path, intrinsics=intrinsics, fov=fov, clock=clock, rate=rate)
    if path.is_file():
        return VideoCamera(path, intrinsics=intrinsics, fov=fov, clock=clock)
    return _open_registered(text, intrinsics)


def is_live_source(source: str) -> bool:
    """Return whether a source runs by itself (webcam, stream, depth camera), without opening it."""
    text = source.strip()
    return bool(_INDEX.match(text) or _DEVICE_FILE.match(text) or _URL.match(text) or _depth_scheme(text))


def _depth_scheme(text: str) -> str:
    """Return the scheme of a depth camera that a source begins with, or nothing; an existing file is no scheme."""
    scheme, colon, _ = text.partition(":")
    return scheme if colon and scheme in _DEPTH_CAMERAS and not Path(text).exists() else ""


def _wishes(
    settings: CameraSettings, intrinsics: CameraIntrinsics | None, size: tuple[int, int] | None, rate: float | None
) -> CameraSettings:
    """Return the settings with the arguments that go before them, and the size of the lens behind them."""
    lens = None if intrinsics is None else (intrinsics.width, intrinsics.height)
    return replace(settings, size=size or settings.size or lens, rate=rate or settings.rate)


def _live_opener(text: str, wishes: CameraSettings) -> tuple[str, Callable[[], Grabber] | None]:
    """Return name and opener of a live device, each call of which opens it anew; None for any other source."""
    if _INDEX.match(text):
        # By its link, the same camera is found again even if it comes back under another index.
        place = stable_path(int(text))
        return f"camera {text}", lambda: Webcam(int(text), wishes, place=place)
    if _DEVICE_FILE.match(text):
        link = lasting_path(Path(text))
        return text, lambda: Webcam.at(link, wishes)
    if _URL.match(text):
        return text, lambda: NetworkStream(text)
    if scheme := _depth_scheme(text):
        return text, _DepthOpener(_DEPTH_CAMERAS[scheme], text.partition(":")[2], wishes)
    return text, None


class _DepthOpener:
    """Opens a depth camera, and later the same one again: another has another lens and stands elsewhere."""

    def __init__(self, module: str, serial: str, wishes: CameraSettings) -> None:
        make = importlib.import_module(module).open_device
        self._make = cast("Callable[[str, CameraSettings], NumberedGrabber]", make)
        self._serial, self._wishes = serial, wishes

    def __call__(self) -> Grabber:
        grabber = self._make(self._serial, self._wishes)
        self._serial = grabber.serial
        return grabber


def _open_registered(source: str, intrinsics: CameraIntrinsics | None) -> Camera:
    registered = _registered()
    scheme, colon, rest = source.partition(":")
    if not colon or scheme not in registered:
        schemes = ", ".join(f"{name}:..." for name in sorted(registered)) or "none"
        raise CameraNotFoundError(
            f"There is no file, folder or camera {source!r}.",
            "Give a webcam index, an existing path, a stream's address, realsense:, depthai:, "
            f"or a registered scheme ({schemes}).",
            source=source,
        )
    make = cast("Callable[[str], Camera]", registered[scheme].load())
    camera = make(rest)
    return camera if intrinsics is None else OtherLens(camera, intrinsics)


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
