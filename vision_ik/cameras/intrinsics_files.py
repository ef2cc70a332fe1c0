"""Intrinsics written by other programs: OpenCV's FileStorage and BoofCV, beside ROS camera_info."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import yaml

from vision_ik.camera_info import load_intrinsics
from vision_ik.cameras.pictures import quiet_opencv
from vision_ik.errors import ConfigError
from vision_ik.types import CameraIntrinsics, Floats

_MATRIX_KEYS = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "K")
_DISTORTION_KEYS = ("distortion_coefficients", "Distortion_Coefficients", "distCoeffs", "D")
_WIDTH_KEYS = ("image_width", "image_Width", "width")
_HEIGHT_KEYS = ("image_height", "image_Height", "height")


def load_any_intrinsics(path: str | Path, *, size: tuple[int, int] | None = None) -> CameraIntrinsics:
    """Read intrinsics from ROS camera_info, OpenCV FileStorage (yml, xml, json) or BoofCV (yaml).

    Args:
        path: The file; its kind is told by its content.
        size: (width, height) [px] of the pictures, for files that do not say.

    Raises:
        ConfigError: The file is missing, malformed, of an unsupported lens model, or does not say the size.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Could not read {file}: {error}.", "Give the path of a camera file.", path=file) from error
    if text.startswith("%YAML:1") or "<opencv_storage>" in text or "opencv-matrix" in text:
        return _from_opencv(file, text, size)
    if "radial_tangential" in text or "pinhole:" in text:
        return _from_boof(file, text)
    return load_intrinsics(file)


def _from_opencv(file: Path, text: str, size: tuple[int, int] | None) -> CameraIntrinsics:
    with quiet_opencv():
        try:
            storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        except (cv2.error, SystemError) as error:  # the constructor wraps OpenCV's error in a SystemError
            cause = error.__cause__ if isinstance(error, SystemError) else error
            raise ConfigError(
                f"{file} is no valid OpenCV file: {getattr(cause, 'err', None) or cause}.",
                "Write it again with cv2.FileStorage.",
                path=file,
            ) from error
    K, distortion = (_matrix(storage, keys) for keys in (_MATRIX_KEYS, _DISTORTION_KEYS))
    width, height = (_first(storage, keys) for keys in (_WIDTH_KEYS, _HEIGHT_KEYS))
    if K is None or distortion is None:
        raise ConfigError(
            f"{file} lacks the camera matrix or the distortion.",
            f"It needs the matrices {_MATRIX_KEYS[0]} and {_DISTORTION_KEYS[0]}.",
            path=file,
        )
    if width is not None and height is not None:
        size = int(width.real()), int(height.real())
    if size is None:
        raise ConfigError(
            f"{file} does not say the size of the pictures.",
            "Add image_width and image_height to it, or pass size=(width, height).",
            path=file,
        )
    model = "fisheye" if "fisheye" in text and distortion.size == 4 else "pinhole"
    try:
        return CameraIntrinsics(K=K, distortion=distortion.ravel(), width=size[0], height=size[1], model=model)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}", "Mend the value, or calibrate again.", path=file) from error


def _first(storage: cv2.FileStorage, keys: tuple[str, ...]) -> cv2.FileNode | None:
    nodes = [storage.getNode(key) for key in keys]
    return next((node for node in nodes if not node.empty()), None)


def _matrix(storage: cv2.FileStorage, keys: tuple[str, ...]) -> Floats | None:
    node = _first(storage, keys)
    matrix = node.mat() if node is not None and node.isMap() else None
    return None if matrix is None else np.asarray(matrix, dtype=np.float64)


def _from_boof(file: Path, text: str) -> CameraIntrinsics:
    """Convert BoofCV's pinhole: it puts the centre of the top-left pixel at (0.5, 0.5)."""
    try:
        data = cast("dict[str, Any]", yaml.safe_load(text))
        model = data["model"]
        if model != "pinhole_radial_tangential":
            raise ConfigError(
                f"{file} describes the lens model {model!r}, which is not supported.",
                "Calibrate with the model pinhole_radial_tangential, or with `vision-ik calibrate camera`.",
                path=file,
            )
        lens, bent = data["pinhole"], data["radial_tangential"]
        radial = [*(bent["radial"] or ()), 0.0, 0.0, 0.0][:3]
        K = [
            [lens["fx"], lens.get("skew", 0.0), lens["cx"] - 0.5],
            [0.0, lens["fy"], lens["cy"] - 0.5],
            [0.0, 0.0, 1.0],
        ]
        return CameraIntrinsics(
            K=np.array(K, dtype=np.float64),
            distortion=np.array([radial[0], radial[1], bent["t1"], bent["t2"], radial[2]], dtype=np.float64),
            width=int(lens["width"]),
            height=int(lens["height"]),
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"no field {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise ConfigError(
            f"{file} is no valid BoofCV camera file: {detail}.",
            "It needs model, pinhole and radial_tangential.",
            path=file,
        ) from error
