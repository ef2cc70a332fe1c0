"""Intrinsics in OpenCV's FileStorage: yml, xml or json, as its calibration samples write them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vision_ik.cameras.pictures import quiet_opencv
from vision_ik.errors import ConfigError
from vision_ik.files import write_atomic
from vision_ik.types import CameraIntrinsics, Floats

_MATRIX_KEYS = ("camera_matrix", "Camera_Matrix", "cameraMatrix", "K")
_DISTORTION_KEYS = ("distortion_coefficients", "Distortion_Coefficients", "distCoeffs", "D")
_WIDTH_KEYS = ("image_width", "image_Width", "width")
_HEIGHT_KEYS = ("image_height", "image_Height", "height")


def from_opencv(file: Path, text: str, size: tuple[int, int] | None) -> CameraIntrinsics:
    """Return the lens in an OpenCV file.

    Raises:
        ConfigError: It is malformed, lacks a matrix, or does not say the size and nobody else does.
    """
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


def save_opencv(intrinsics: CameraIntrinsics, path: str | Path) -> Path:
    """Write an OpenCV file, of the kind its suffix (yml, yaml, xml, json) says.

    Raises:
        RecordingError: It could not be written.
    """
    suffix = Path(path).suffix.lower()
    storage = cv2.FileStorage(
        f"memory{suffix if suffix in ('.xml', '.json') else '.yml'}",
        cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY,
    )
    storage.write("image_width", intrinsics.width)
    storage.write("image_height", intrinsics.height)
    storage.write("camera_matrix", np.array(intrinsics.K))
    distortion = intrinsics.distortion if len(intrinsics.distortion) else np.zeros(5)
    storage.write("distortion_coefficients", np.array(distortion).reshape(-1, 1))
    # OpenCV has no key for it; readers that do not know the word take the four numbers for a pinhole's.
    storage.write("distortion_model", "fisheye" if intrinsics.model == "fisheye" else "pinhole")
    return write_atomic(path, storage.releaseAndGetString())


def _first(storage: cv2.FileStorage, keys: tuple[str, ...]) -> cv2.FileNode | None:
    nodes = [storage.getNode(key) for key in keys]
    return next((node for node in nodes if not node.empty()), None)


def _matrix(storage: cv2.FileStorage, keys: tuple[str, ...]) -> Floats | None:
    node = _first(storage, keys)
    matrix = node.mat() if node is not None and node.isMap() else None
    return None if matrix is None else np.asarray(matrix, dtype=np.float64)
