"""One door to all sources of frames."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import cast

from vision_ik.cameras.devices import NetworkStream, Webcam
from vision_ik.cameras.images import IMAGE_SUFFIXES, NOMINAL_RATE, ImageCamera
from vision_ik.cameras.live import LiveCamera
from vision_ik.cameras.override import OtherLens
from vision_ik.cameras.video import VideoCamera
from vision_ik.clock import Clock
from vision_ik.errors import CameraNotFoundError
from vision_ik.types import Camera, CameraIntrinsics

ENTRY_POINT_GROUP = "vision_ik.cameras"
_URL = re.compile(r"^(https?|rtsps?|rtmp|udp|tcp)://")


def open_camera(
    source: str | int | Path,
    *,
    intrinsics: CameraIntrinsics | None = None,
    fov: float | None = None,
    clock: Clock | None = None,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
) -> Camera:
    """Open a source of frames.

    Args:
        source: Webcam index (``0`` or ``"0"``), video file, picture, folder of pictures, address of a
            stream (``http://``, ``rtsp://``), or ``scheme:rest`` of a registered camera (``sim:tabletop``).
        intrinsics: Lens; scaled to the pictures if the aspect ratio is the same. None guesses from ``fov``
            and marks everything approximate.
        fov: Horizontal field of view [rad] to guess with, 60 degrees when None.
        clock: Clock of the run. Live sources stamp on it (None: the machine's monotonic clock). Stored ones
            play at their own pace on it; None gives their frames as fast as they are read, from time 0.
        size: Wished (width, height) [px] of a webcam; None takes that of ``intrinsics``.
        rate: Wished frames per second of a webcam, or of a folder of pictures.

    Returns:
        An open camera; use it in a ``with`` block. A live one lists in ``mismatches`` what was not granted.

    Raises:
        CameraNotFoundError: Nothing stands behind the source.
        FrameReadError: It is there, but gives no readable frame.
        CameraError: The intrinsics do not fit its pictures.
    """
    if isinstance(source, bool) or not isinstance(source, (str, int, Path)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"A camera source is an index, a path or an address, not {source!r}.")
    text = str(source).strip()
    if re.fullmatch(r"\d+", text):
        wished = size or (None if intrinsics is None else (intrinsics.width, intrinsics.height))
        webcam = Webcam(int(text), size=wished, rate=rate)
        return LiveCamera(webcam, source=f"camera {text}", intrinsics=intrinsics, fov=fov, clock=clock)
    if _URL.match(text):
        return LiveCamera(NetworkStream(text), source=text, intrinsics=intrinsics, fov=fov, clock=clock)
    path = Path(text).expanduser()
    if (text and path.is_dir()) or (path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()):
        return ImageCamera(path, intrinsics=intrinsics, fov=fov, clock=clock, rate=rate or NOMINAL_RATE)
    if path.is_file():
        return VideoCamera(path, intrinsics=intrinsics, fov=fov, clock=clock)
    return _open_registered(text, intrinsics)


def _open_registered(source: str, intrinsics: CameraIntrinsics | None) -> Camera:
    registered = _registered()
    scheme, colon, rest = source.partition(":")
    if not colon or scheme not in registered:
        schemes = ", ".join(f"{name}:..." for name in sorted(registered)) or "none"
        raise CameraNotFoundError(
            f"There is no file, folder or camera {source!r}.",
            f"Give a webcam index, an existing path, a stream's address, or a registered scheme ({schemes}).",
            source=source,
        )
    make = cast("Callable[[str], Camera]", registered[scheme].load())
    camera = make(rest)
    return camera if intrinsics is None else OtherLens(camera, intrinsics)


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
