"""What a hand-eye calibration says, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from calibration import HandEyeResult
from vision_ik.cli import console
from vision_ik.transforms import Transform


def present(result: HandEyeResult, file: Path, *, as_json: bool, truth: Transform | None = None) -> None:
    """Print the result on stdout; warnings and where it was written go to stderr."""
    if as_json:
        console.write_json(_facts(result, file, truth))
    else:
        console.results().print(_summary(result, truth))
        console.results().print(_views(result))
    for warning in result.warnings:
        console.warn(warning)
    console.say(f"Written to {file}.")


def _summary(result: HandEyeResult, truth: Transform | None) -> object:
    frame = "base" if result.mount == "eye_to_hand" else "flange"
    place = result.T_mount_camera.translation * 1e3
    turn = np.rad2deg(result.T_mount_camera.log()[3:])
    rows: list[Sequence[str | Text]] = [
        [f"camera in {frame}, position", ", ".join(f"{x:.2f}" for x in place), _mm(result.sigma_translation), "mm"],
        [
            f"camera in {frame}, rotation vector",
            ", ".join(f"{x:.3f}" for x in turn),
            _deg(result.sigma_rotation),
            "deg",
        ],
        ["held-out views, position", _mm(result.held_out_translation), "", "mm"],
        ["held-out views, rotation", _deg(result.held_out_rotation), "", "deg"],
        ["corner noise", f"{result.pixel_sigma:.3f}", "", "px"],
        ["arm noise", f"{_mm(result.arm_sigma.translation)} / {_deg(result.arm_sigma.rotation)}", "", "mm / deg"],
        ["views used", f"{result.used_views} of {len(result.views)}", "", ""],
    ]
    if truth is not None:
        metres, angle = result.T_mount_camera.distance_to(truth)
        rows.append(["true error (simulation)", f"{_mm(metres)} / {_deg(angle)}", "", "mm / deg"])
    return console.table(["hand-eye", "value", "± sigma", "unit"], rows, right={"value", "± sigma"})


def _views(result: HandEyeResult) -> object:
    rows: list[Sequence[str | Text]] = [
        [
            view.name,
            f"{view.chi_square:.1f}",
            _mm(view.position_error),
            _deg(view.rotation_error),
            f"{view.pixel_rms:.2f}",
            "" if view.used else Text(view.reason, style="yellow"),
        ]
        for view in result.views
    ]
    columns = ["view", "chi² (6)", "held-out mm", "held-out deg", "corners px", "left out because it"]
    return console.table(columns, rows, right=set(columns[1:5]))


def _facts(result: HandEyeResult, file: Path, truth: Transform | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "file": str(file),
        "mount": result.mount,
        "translation": result.T_mount_camera.translation.tolist(),
        "rotation_xyzw": result.T_mount_camera.rotation_xyzw.tolist(),
        "covariance": result.covariance.tolist(),
        "sigma_mm": result.sigma_translation * 1e3,
        "sigma_deg": float(np.rad2deg(result.sigma_rotation)),
        "held_out_mm": result.held_out_translation * 1e3,
        "held_out_deg": float(np.rad2deg(result.held_out_rotation)),
        "corner_noise_px": result.pixel_sigma,
        "arm_noise_mm": result.arm_sigma.translation * 1e3,
        "arm_noise_deg": float(np.rad2deg(result.arm_sigma.rotation)),
        "views_used": result.used_views,
        "views": [
            {"name": view.name, "used": view.used, "reason": view.reason, "chi_square": view.chi_square}
            for view in result.views
        ],
        "warnings": list(result.warnings),
    }
    if truth is not None:
        metres, angle = result.T_mount_camera.distance_to(truth)
        facts |= {"true_error_mm": metres * 1e3, "true_error_deg": float(np.rad2deg(angle))}
    return facts


def _mm(metres: float) -> str:
    return f"{metres * 1e3:.2f}"


def _deg(radians: float) -> str:
    return f"{np.rad2deg(radians):.3f}"
