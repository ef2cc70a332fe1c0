"""Intrinsics on disk: ``camera.yaml`` in the form of ROS ``camera_info``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from vision_ik.errors import ConfigError
from vision_ik.files import write_atomic
from vision_ik.types import CameraIntrinsics, LensModel

_MODELS: dict[str, LensModel] = {"plumb_bob": "pinhole", "rational_polynomial": "pinhole", "equidistant": "fisheye"}


def load_intrinsics(path: str | Path) -> CameraIntrinsics:
    """Read a ROS camera_info YAML file.

    Raises:
        ConfigError: The file is missing, no YAML, or lacks a field; the sentence names it.
    """
    file = Path(path)
    try:
        data = cast("dict[str, Any]", yaml.safe_load(file.read_text(encoding="utf-8")))
        model = _MODELS[data.get("distortion_model", "plumb_bob")]
        return CameraIntrinsics(
            K=np.array(data["camera_matrix"]["data"], dtype=float).reshape(3, 3),
            distortion=np.array(data["distortion_coefficients"]["data"], dtype=float),
            width=int(data["image_width"]),
            height=int(data["image_height"]),
            model=model,
            approximate=bool(data.get("approximate", False)),
        )
    except OSError as error:
        raise ConfigError(
            f"Could not read {file}: {error.strerror}.", "Give the path of a camera_info YAML file.", path=file
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"no field {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise ConfigError(
            f"{file} is no valid camera_info file: {detail}.",
            "It needs image_width, image_height, distortion_model, and data under camera_matrix and distortion_coefficients.",
            path=file,
        ) from error


def save_intrinsics(intrinsics: CameraIntrinsics, path: str | Path, *, name: str = "camera") -> Path:
    """Write a ROS camera_info YAML file; an old file survives any failure."""
    if intrinsics.model == "fisheye":
        model = "equidistant"
    else:
        model = "plumb_bob" if len(intrinsics.distortion) <= 5 else "rational_polynomial"
    distortion = intrinsics.distortion if len(intrinsics.distortion) else np.zeros(5)
    fx, _, cx, _, fy, cy, *_ = intrinsics.K.ravel().tolist()
    document = {
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
    return write_atomic(path, yaml.safe_dump(document, sort_keys=False, default_flow_style=None))
