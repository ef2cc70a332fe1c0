"""What all sources share: making frames of raw pictures and choosing the lens that fits."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.cameras.tones import Tones
from vision_ik.errors import CameraError, FrameReadError
from vision_ik.types import CameraIntrinsics, Image

DEFAULT_FOV = float(np.deg2rad(60.0))
"""[rad] Horizontal field of view assumed for an unknown camera; webcams have 55 to 80 degrees."""
_ASPECT_TOLERANCE = 0.01
"""Sizes whose aspect ratios differ by less are the same picture resized."""
_JPEG_BLOCK = 8
"""[px] JPEGs are coded in blocks of so many rows, or twice as many."""
_BLACK, _WHITE = 20, 235
"""Grey levels beyond which real pictures are flat too; bars beside a film are black."""

# OpenCV moved these functions between 4.10 and 4.14.
_LOG: Any = getattr(cv2.utils, "logging", cv2)
_SILENT = 0


def fit_intrinsics(
    intrinsics: CameraIntrinsics | None, fov: float | None, width: int, height: int, source: str
) -> CameraIntrinsics:
    """Return the lens for pictures of this size: the given one, scaled if need be, or a guess marked approximate.

    Raises:
        CameraError: The given lens belongs to pictures of another aspect ratio (turned, half or double ones are named).
    """
    if fov is not None and not 0.0 < fov < np.pi:
        raise ValueError(f"A horizontal field of view is between 0 and pi rad, unlike {fov}.")
    if intrinsics is None:
        return CameraIntrinsics.from_field_of_view(width, height, DEFAULT_FOV if fov is None else fov)
    if (intrinsics.width, intrinsics.height) == (width, height):
        return intrinsics
    if not _same_shape(intrinsics, width, height):
        relation, remedy = _unlike(intrinsics, width, height)
        raise CameraError(
            f"The intrinsics are for {intrinsics.width}x{intrinsics.height}, but {source} gives {width}x{height}, "
            f"which is {relation}.",
            remedy,
            source=source,
        )
    return intrinsics.scaled(width, height)


def _same_shape(intrinsics: CameraIntrinsics, width: float, height: float) -> bool:
    return abs(intrinsics.width * height / (intrinsics.height * width) - 1.0) <= _ASPECT_TOLERANCE


def _unlike(intrinsics: CameraIntrinsics, width: int, height: int) -> tuple[str, str]:
    """Return what pictures of another shape look like beside those of the lens, and what to do about it."""
    if _same_shape(intrinsics, height, width):
        return "a quarter turn of it", "Turn the camera or its pictures back, or calibrate with turned pictures."
    if _same_shape(intrinsics, width, 2 * height):
        if width > intrinsics.width:
            return "two pictures side by side", "Cut the pictures of a stereo camera apart first."
        return "half a picture", "Set the camera to whole pictures (progressive, not interlaced)."
    return (
        "no resized version of it",
        "Calibrate at the size you use, or set the camera to the calibrated one.",
    )


def to_bgr(picture: NDArray[np.generic], source: str, tones: Tones | None = None) -> Image:
    """Return a picture as (H, W, 3) uint8 BGR; grey is repeated, alpha dropped, 16 bits are scaled to 8.

    Args:
        picture: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of 8 or 16 bits.
        source: For messages.
        tones: How the source's 16-bit pictures are scaled; None goes by this picture alone.

    Raises:
        FrameReadError: The picture is empty, or no such picture (floats, two channels, ...).
    """
    if picture.ndim not in (2, 3) or picture.size == 0:
        raise FrameReadError(
            f"{source} gave a picture of shape {picture.shape}.",
            "Check the source with another program.",
            source=source,
        )
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if picture.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)) or channels not in (1, 3, 4):
        raise FrameReadError(
            f"{source} holds {channels} channels of {picture.dtype}, which is no 8- or 16-bit grey or colour picture.",
            "Convert it to PNG or JPEG first.",
            source=source,
        )
    scaled = (tones or Tones(source)).to_eight_bits(picture)
    eight = np.ascontiguousarray(scaled.astype(np.uint8, copy=False))
    if channels == 1:
        return np.repeat(eight.reshape(*eight.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(eight[:, :, :3])


def decode_image(path: Path, tones: Tones | None = None) -> Image:
    """Return the picture in a file as (H, W, 3) uint8 BGR.

    Args:
        path: The file.
        tones: How 16-bit pictures are scaled; None goes by this picture alone.

    Raises:
        FrameReadError: The file cannot be read, is cut off, or is no picture.
    """
    return to_bgr(decode_values(path), str(path), tones)


def decode_values(path: Path, flags: int = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) -> NDArray[np.generic]:
    """Return the picture in a file with the bits it has.

    OpenCV fills the missing part of a cut-off JPEG with grey and calls it a success, so the
    end marker is checked first.

    Raises:
        FrameReadError: The file cannot be read, is cut off, or is no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrameReadError(
            f"Could not read {path}: {error.strerror}.", "Check the file and its permissions.", path=path
        ) from error
    if not data:
        raise FrameReadError(f"{path} is empty.", "Copy it again from where it came.", path=path)
    if _is_cut_off(data):
        raise FrameReadError(f"{path} is cut off: its end is missing.", "Copy it again from where it came.", path=path)
    with quiet_opencv():
        try:
            picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
        except cv2.error as error:
            raise FrameReadError(
                f"{path} cannot be decoded: {error.err}.", "Open it with another program and save it as PNG.", path=path
            ) from error
    if picture is None:
        raise FrameReadError(f"{path} is no picture that can be decoded.", "Save it as PNG or JPEG.", path=path)
    return picture


def is_half_drawn(image: Image) -> bool:
    """Return whether a decoded JPEG ends in a flat area, as decoders fill what a cut-off one lacks.

    For pictures whose data are gone already, such as those of webcams: sensors are never exactly flat,
    save where they are black or white.
    """
    end, rest = image[-_JPEG_BLOCK:], image[:-_JPEG_BLOCK]
    colour = end[0, 0]
    dull = bool((colour > _BLACK).all() and (colour < _WHITE).all())
    return dull and bool((end == colour).all()) and not bool((rest == colour).all())


def _is_cut_off(data: bytes) -> bool:
    """Return whether a JPEG lacks its end marker after the last scan, or a PNG its last chunk."""
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return False


class _Quiet:
    """How many are asking for silence, and the level to go back to after the last."""

    lock = threading.Lock()
    depth = 0
    level = 0


@contextmanager
def quiet_opencv() -> Generator[None]:
    """Keep OpenCV's own messages off stderr for a while, from any thread; ours name the cause."""
    # Read by the FFmpeg back end when it opens its first source; -8 is AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _Quiet.lock:
        if _Quiet.depth == 0:
            _Quiet.level = int(_LOG.getLogLevel())
            _LOG.setLogLevel(_SILENT)
        _Quiet.depth += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.depth -= 1
            if _Quiet.depth == 0:
                _LOG.setLogLevel(_Quiet.level)
