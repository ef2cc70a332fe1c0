"""Intrinsics on disk in every format there is: ROS, OpenCV, Kalibr and BoofCV."""

from __future__ import annotations

import re
from pathlib import Path

from vision_ik.camera_info import load_intrinsics, save_intrinsics
from vision_ik.cameras.intrinsics_boofcv import from_boofcv
from vision_ik.cameras.intrinsics_kalibr import from_kalibr, save_kalibr
from vision_ik.cameras.intrinsics_opencv import from_opencv, save_opencv
from vision_ik.errors import ConfigError
from vision_ik.types import CameraIntrinsics

_CAMCHAIN = re.compile(r"^cam\d+:", re.MULTILINE)
_SUFFIXES = (".yaml", ".yml", ".xml", ".json")


def load_any_intrinsics(
    path: str | Path, *, size: tuple[int, int] | None = None, camera: str | None = None
) -> CameraIntrinsics:
    """Read intrinsics from ROS camera_info, OpenCV FileStorage (yml, xml, json), Kalibr or BoofCV (yaml).

    Args:
        path: The file; its kind is told by its content.
        size: (width, height) [px] of the pictures, for files that do not say.
        camera: Which one, for files with several: its name or topic.

    Raises:
        ConfigError: The file is missing, malformed, of an unsupported lens model, or does not say the size.
    """
    file = Path(path)
    if file.is_dir():
        raise ConfigError(
            f"{file} is a folder, and a lens is a file.",
            f"Give the file in it, such as {file / 'camera.yaml'}.",
            path=file,
        )
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"Could not read {file}: {reason}.", "Give the path of a camera file.", path=file) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} holds no text.", "Give the path of a camera file.", path=file) from error
    if text.startswith("%YAML:1") or "<opencv_storage>" in text or "opencv-matrix" in text:
        return from_opencv(file, text, size)
    if "radial_tangential" in text or "pinhole:" in text:
        return from_boofcv(file, text)
    if _CAMCHAIN.search(text):
        return from_kalibr(file, text, camera)
    return load_intrinsics(file)


def save_any_intrinsics(intrinsics: CameraIntrinsics, path: str | Path, *, name: str = "camera") -> Path:
    """Write intrinsics in the format that the file's name asks for.

    ``camchain*.yaml`` is Kalibr's, ``*.yaml`` ROS camera_info (the only one that keeps the covariance),
    ``*.yml``, ``*.xml`` and ``*.json`` are OpenCV's.

    Args:
        intrinsics: Lens.
        path: File to write.
        name: Of the camera, where the format has a place for it.

    Raises:
        ConfigError: No format has that suffix, or the format has no such lens.
        RecordingError: It could not be written.
    """
    file = check_intrinsics_path(path)
    suffix = file.suffix.lower()
    if suffix == ".yaml" and file.stem.lower().startswith("camchain"):
        return save_kalibr(intrinsics, file, name=name)
    if suffix == ".yaml":
        return save_intrinsics(intrinsics, file, name=name)
    return save_opencv(intrinsics, file)


def check_intrinsics_path(path: str | Path) -> Path:
    """Return the path of a file that intrinsics can be written to, see :func:`save_any_intrinsics`.

    Raises:
        ConfigError: No format has that suffix, or a folder has that name.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if file.is_dir():
        raise ConfigError(
            f"{file} is a folder, and a lens is a file.", f"Name the file, such as {file / 'camera.yaml'}.", path=file
        )
    if suffix not in _SUFFIXES:
        raise ConfigError(
            f"No format of intrinsics ends in {suffix or 'nothing'!r}.",
            "Use camera.yaml (ROS), camera.yml, .xml or .json (OpenCV), or camchain.yaml (Kalibr).",
            path=file,
        )
    return file
