"""Intrinsics of BoofCV: its pinhole, and its omnidirectional lens where a fisheye of ours equals it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from vision_ik.config import number
from vision_ik.errors import ConfigError
from vision_ik.types import CameraIntrinsics, Floats

_MODELS = ("pinhole", "pinhole_radial_tangential", "omnidirectional_universal")
_LARGEST_MISFIT_PX = 0.5
"""Between the omnidirectional lens and the fisheye that stands for it, anywhere in the picture."""
_SAMPLES = 400
_LEAST_DEPTH = 1e-3
"""In front of the projection's centre, in radii of the unit sphere; a ray with less leaves any picture."""
_HALF_PIXEL = 0.5
"""BoofCV puts the centre of the top-left pixel at (0.5, 0.5)."""


def from_boofcv(file: Path, text: str) -> CameraIntrinsics:
    """Return the lens in a BoofCV camera file.

    Raises:
        ConfigError: It is malformed, or of a model that no lens here equals.
    """
    try:
        data = cast("dict[str, Any]", yaml.safe_load(text))
        model = data["model"]
        if model not in _MODELS:
            raise ConfigError(
                f"{file} describes the lens model {model!r}, which is not supported.",
                "Calibrate with the model pinhole_radial_tangential, or with `vision-ik calibrate camera`.",
                path=file,
            )
        lens, bent = data["pinhole"], data.get("radial_tangential") or {}
        values = {key: number(lens[key]) for key in ("fx", "fy", "cx", "cy")}
        radial = [number(k) for k in bent.get("radial") or ()]
        if len(radial) > 3:
            raise ValueError(f"radial has {len(radial)} coefficients, at most 3 can be read")
        radial = [*radial, 0.0, 0.0, 0.0][:3]
        tangential = [number(bent.get("t1", 0.0)), number(bent.get("t2", 0.0))]
        K = np.array(
            [
                [values["fx"], number(lens.get("skew", 0.0)), values["cx"] - _HALF_PIXEL],
                [0.0, values["fy"], values["cy"] - _HALF_PIXEL],
                [0.0, 0.0, 1.0],
            ]
        )
        size = int(lens["width"]), int(lens["height"])
        if model == "omnidirectional_universal":
            return mei_as_fisheye(file, K, number(data["mirror_offset"]), np.array([*radial, *tangential]), size)
        return CameraIntrinsics(
            K=K,
            distortion=np.array([radial[0], radial[1], *tangential, radial[2]]),
            width=size[0],
            height=size[1],
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"no field {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise ConfigError(
            f"{file} is no valid BoofCV camera file: {detail}.",
            "It needs model, pinhole and radial_tangential.",
            path=file,
        ) from error


def mei_as_fisheye(
    file: Path, K: Floats, mirror_offset: float, distortion: Floats, size: tuple[int, int]
) -> CameraIntrinsics:
    """Return the equidistant fisheye closest to a unified omnidirectional lens (Mei & Rives, ICRA 2007).

    A ray at angle t off the axis meets the plane at sin t / (cos t + mirror_offset), which radial
    distortion then bends: an odd function of t, as the fisheye's polynomial, which is fitted to it by
    linear least squares out to the farthest corner of the picture.

    Args:
        file: Where the lens comes from.
        K: (3, 3) [px], centre of the top-left pixel at (0, 0).
        mirror_offset: Of the projection's centre, in radii of the unit sphere.
        distortion: k1, k2, k3 (radial), t1, t2 (tangential).
        size: Width and height [px].

    Raises:
        ConfigError: They differ by more than half a pixel.
        ValueError: The offset is none of a lens.
    """
    corners = np.array([[x, y] for x in (0.0, size[0] - 1.0) for y in (0.0, size[1] - 1.0)])
    reach = float(np.linalg.norm((corners - K[:2, 2]) / np.diag(K)[:2], axis=1).max())
    angle = np.linspace(0.0, np.pi, 20_000)[1:]
    # Rays that run beside the plane or away from it never meet it.
    angle = angle[np.cos(angle) + mirror_offset > _LEAST_DEPTH]
    if len(angle) < _SAMPLES:
        raise ValueError(f"a mirror offset of {mirror_offset:g} lets no light through")
    plane = np.sin(angle) / (np.cos(angle) + mirror_offset)
    bent = plane * (1.0 + distortion[0] * plane**2 + distortion[1] * plane**4 + distortion[2] * plane**6)
    # As far as the corner of the picture, or as the lens reaches before it folds back.
    folds = np.flatnonzero(~(np.diff(bent) > 0.0) | ~(np.diff(plane) > 0.0))
    fold = int(folds[0]) if len(folds) else len(bent) - 1
    end = min(fold, int(np.searchsorted(bent[: fold + 1], reach)))
    steps = np.linspace(0, end, _SAMPLES).astype(int)
    powers = angle[steps, None] ** np.array([1, 3, 5, 7, 9])
    coefficients, *_ = np.linalg.lstsq(powers, bent[steps], rcond=None)
    misfit = float(np.abs(powers @ coefficients - bent[steps]).max()) * float(K[0, 0])
    aside = float(np.abs(distortion[3:]).max()) * 3.0 * float(bent[end]) ** 2 * float(K[0, 0])
    if not misfit + aside < _LARGEST_MISFIT_PX or abs(float(K[0, 1])) > 1e-9 or coefficients[0] <= 0.0:
        raise ConfigError(
            f"{file} describes an omnidirectional lens that no fisheye equals: {misfit + aside:.1f} px off.",
            "Calibrate the camera with `vision-ik calibrate camera --model fisheye`.",
            path=file,
            misfit_px=misfit + aside,
        )
    K = K.copy()
    K[0, 0], K[1, 1] = K[0, 0] * coefficients[0], K[1, 1] * coefficients[0]
    return CameraIntrinsics(
        K=K, distortion=coefficients[1:] / coefficients[0], width=size[0], height=size[1], model="fisheye"
    )
