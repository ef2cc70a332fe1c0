"""Intrinsics of Kalibr's camchain files (its wiki, "yaml formats")."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from vision_ik.cameras.intrinsics_boofcv import mei_as_fisheye
from vision_ik.config import number, numbers
from vision_ik.errors import ConfigError
from vision_ik.files import write_atomic
from vision_ik.types import CameraIntrinsics, LensModel

_LENSES: dict[tuple[str, str], LensModel] = {
    ("pinhole", "radtan"): "pinhole",
    ("pinhole", "equidistant"): "fisheye",
    ("pinhole", "equi"): "fisheye",
    ("pinhole", "none"): "pinhole",
}
_REMEDY = 'Mend the value; Kalibr\'s wiki shows the format under "yaml formats".'


def from_kalibr(file: Path, text: str, camera: str | None = None) -> CameraIntrinsics:
    """Return the lens of one camera of a camchain file.

    Args:
        file: Where the text comes from.
        text: The file.
        camera: Its name in the file (``cam1``) or its topic; may be None where there is only one.

    Raises:
        ConfigError: It is malformed, of an unsupported model, or has several cameras and none was named.
    """
    try:
        data = cast("dict[str, dict[str, Any]]", yaml.safe_load(text))
        cameras = {name: entry for name, entry in data.items() if name.startswith("cam")}
        named = [n for n, e in cameras.items() if camera in (n, e.get("rostopic"), str(n).removeprefix("cam"))]
        if camera is None and len(cameras) == 1:
            named = list(cameras)
        if len(named) != 1:
            topics = ", ".join(f"{name} ({entry.get('rostopic', 'no topic')})" for name, entry in cameras.items())
            which = f"no camera {camera!r}" if camera is not None else f"{len(cameras)} cameras"
            raise ConfigError(f"{file} has {which}: {topics}.", "Name one of them.", path=file)
        return _camera(file, cameras[named[0]])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"no field {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise ConfigError(f"{file} is no valid camchain: {detail.rstrip('.')}.", _REMEDY, path=file) from error


def _camera(file: Path, entry: dict[str, Any]) -> CameraIntrinsics:
    width, height = (int(number(n)) for n in entry["resolution"])
    given = numbers(entry["intrinsics"])
    bends = str(entry.get("distortion_model", "none"))
    kind = str(entry["camera_model"]), bends
    coefficients = [] if bends == "none" else numbers(entry["distortion_coeffs"])
    if kind == ("omni", "radtan"):
        if len(given) != 5 or len(coefficients) != 4:
            raise ValueError("an omni camera needs 5 intrinsics and 4 distortion_coeffs")
        xi, fx, fy, cx, cy = given
        K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        k1, k2, t1, t2 = coefficients
        return mei_as_fisheye(file, K, xi, np.array([k1, k2, 0.0, t1, t2]), (width, height))
    if kind not in _LENSES:
        raise ConfigError(
            f"{file} describes the lens model {'-'.join(kind)}, which is not supported.",
            "Calibrate with pinhole-radtan or pinhole-equi, or with `vision-ik calibrate camera`.",
            path=file,
        )
    if len(given) != 4:
        raise ValueError(f"intrinsics must be fx, fy, cx, cy, not {len(given)} numbers")
    fx, fy, cx, cy = given
    return CameraIntrinsics(
        K=np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
        distortion=np.array(coefficients),
        width=width,
        height=height,
        model=_LENSES[kind],
    )


def save_kalibr(intrinsics: CameraIntrinsics, path: str | Path, *, name: str = "camera") -> Path:
    """Write a camchain of one camera.

    Raises:
        ConfigError: Kalibr has no such lens (a pinhole with more than k1, k2, p1, p2, or with skew).
        RecordingError: It could not be written.
    """
    distortion, K = intrinsics.distortion, intrinsics.K
    if (intrinsics.model == "pinhole" and np.any(distortion[4:])) or K[0, 1] != 0.0:
        what = "skew" if K[0, 1] != 0.0 else f"{len(distortion)} distortion coefficients"
        raise ConfigError(
            f"Kalibr knows no pinhole lens with {what}.",
            "Calibrate with --model pinhole --coefficients 4, or write another format.",
            path=path,
        )
    entry = {
        "camera_model": "pinhole",
        "distortion_model": "equidistant" if intrinsics.model == "fisheye" else "radtan",
        "distortion_coeffs": [*distortion[:4].tolist(), 0.0, 0.0, 0.0, 0.0][:4],
        "intrinsics": [float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])],
        "resolution": [intrinsics.width, intrinsics.height],
        "rostopic": f"/{name}/image_raw",
    }
    return write_atomic(path, yaml.safe_dump({"cam0": entry}, sort_keys=False, default_flow_style=None))
