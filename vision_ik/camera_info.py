"""Intrinsics on disk: ``camera.yaml`` in the form of ROS ``camera_info``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vision_ik.config import at_key, numbers, table_at, text
from vision_ik.errors import ConfigError, VisionIkError
from vision_ik.files import write_atomic
from vision_ik.types import CameraIntrinsics, Floats, LensModel

_MODELS: dict[str, LensModel] = {"plumb_bob": "pinhole", "rational_polynomial": "pinhole", "equidistant": "fisheye"}
_REMEDY = "Mend the value; docs/conventions.md shows a camera.yaml."


def load_intrinsics(path: str | Path) -> CameraIntrinsics:
    """Read a ROS camera_info YAML file.

    Raises:
        ConfigError: The file is missing, no YAML, or lacks a field; the sentence names it.
    """
    file = Path(path)
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Could not read {file}: {error.strerror}.", "Give the path of a camera_info YAML file.", path=file
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"{file} is not YAML: {detail}.", "Mend the line it names.", path=file) from error
    try:
        return _parse(table_at({"file": data}, "file", _REMEDY))
    except VisionIkError as error:
        raise ConfigError(f"{file}: {error.cause}", error.remedy, path=file) from error


def _parse(data: Mapping[str, Any]) -> CameraIntrinsics:
    with at_key("distortion_model", _REMEDY):
        model = text(data.get("distortion_model", "plumb_bob"), "one of " + ", ".join(_MODELS))
        if model not in _MODELS:
            raise ValueError(f"it must be one of {', '.join(_MODELS)}, not {model!r}")
    K = _numbers(data, "camera_matrix")
    with at_key("camera_matrix", _REMEDY):
        if len(K) != 9:
            raise ValueError(f"data must hold the nine numbers of a 3x3 matrix, not {len(K)}")
    distortion = _numbers(data, "distortion_coefficients")
    width, height = _pixels(data, "image_width"), _pixels(data, "image_height")
    approximate = data.get("approximate", False)
    with at_key("approximate", _REMEDY):
        if not isinstance(approximate, bool):
            raise TypeError(f"it must be true or false, not {approximate!r}")
    # What is left to refuse (focal lengths, count of coefficients) names itself.
    with at_key("camera_matrix or distortion_coefficients", _REMEDY):
        return CameraIntrinsics(
            K=K.reshape(3, 3),
            distortion=distortion,
            width=width,
            height=height,
            model=_MODELS[model],
            approximate=approximate,
            covariance=_covariance(data, 4 + len(distortion)),
        )


def _covariance(data: Mapping[str, Any], count: int) -> Floats | None:
    if "covariance" not in data:
        return None
    values = _numbers(data, "covariance")
    with at_key("covariance", _REMEDY):
        if len(values) != count * count:
            raise ValueError(f"data must hold the {count * count} numbers of a {count}x{count} matrix")
        matrix = values.reshape(count, count)
        if np.abs(matrix - matrix.T).max() > 1e-9 * np.abs(matrix).max() or (np.diag(matrix) < 0.0).any():
            raise ValueError("it must be symmetric with a diagonal that is not negative")
        return matrix


def _numbers(data: Mapping[str, Any], key: str) -> Floats:
    table = table_at(data, key, _REMEDY)
    with at_key(key, _REMEDY):
        if "data" not in table:
            raise ValueError("it is missing, or has no data")
        return np.array(numbers(table["data"]))


def _pixels(data: Mapping[str, Any], key: str) -> int:
    with at_key(key, _REMEDY):
        value = data.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise ValueError(f"it must be a positive whole number of pixels, not {value!r}")
        return value


def save_intrinsics(intrinsics: CameraIntrinsics, path: str | Path, *, name: str = "camera") -> Path:
    """Write a ROS camera_info YAML file; an old file survives any failure."""
    if intrinsics.model == "fisheye":
        model = "equidistant"
    else:
        model = "plumb_bob" if len(intrinsics.distortion) <= 5 else "rational_polynomial"
    distortion = intrinsics.distortion if len(intrinsics.distortion) else np.zeros(5)
    fx, _, cx, _, fy, cy, *_ = intrinsics.K.ravel().tolist()
    document: dict[str, object] = {
        "image_width": intrinsics.width,
        "image_height": intrinsics.height,
        "camera_name": name,
        "camera_matrix": {"rows": 3, "cols": 3, "data": intrinsics.K.ravel().tolist()},
        "distortion_model": model,
        "distortion_coefficients": {"rows": 1, "cols": len(distortion), "data": distortion.tolist()},
        "rectification_matrix": {"rows": 3, "cols": 3, "data": np.eye(3).ravel().tolist()},
        "projection_matrix": {"rows": 3, "cols": 4, "data": [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]},
        "approximate": intrinsics.approximate,
    }
    if intrinsics.covariance is not None and len(intrinsics.distortion):
        # Not in camera_info; its readers pass over keys they do not know.
        rows = len(intrinsics.covariance)
        document["covariance"] = {"rows": rows, "cols": rows, "data": intrinsics.covariance.ravel().tolist()}
    return write_atomic(path, yaml.safe_dump(document, sort_keys=False, default_flow_style=None))
