"""The tool in the wizard: touches of one point, on disk and as a result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from calibration.tool.orientation import orient_tool
from calibration.tool.tip import calibrate_tool_tip
from calibration.tool.values import ToolResult
from calibration.wizard.evidence import short
from calibration.wizard.store import digest
from vision_ik.config import at_key
from vision_ik.errors import ConfigError
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Floats

_REMEDY = 'Give {"touches": [{"T_base_flange": [[...], ...]}, ...]}, 4x4 in metres, or {"q": [...]} with joints in rad.'
_GUIDES = (
    "Touch the point with the tip, the tool upright.",
    "Touch the same point with the tool tilted by 30 degrees to one side.",
    "Touch the same point with the tool tilted by 30 degrees to the other side.",
    "Touch the same point with the tool tilted by 30 degrees towards you.",
    "Touch the same point with the tool tilted by 30 degrees away from you.",
)


def read_touches(path: Path, robot: RobotModel) -> dict[str, dict[str, Any]]:
    """Return the facts of each touch in a JSON file, or in the touches.json of a folder, by a name of its own.

    Raises:
        ConfigError: There is no such file, or it is malformed; the sentence names the entry.
    """
    file = path / "touches.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        entries = cast("list[dict[str, Any]]", data["touches"])
    except OSError as error:
        raise ConfigError(f"Could not read {file}: {error.strerror}.", _REMEDY, path=file) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is no list of touches: {error}.", _REMEDY, path=file) from error
    if not entries:
        raise ConfigError(f"{file} holds no touch.", _REMEDY, path=file)
    facts: dict[str, dict[str, Any]] = {}
    for i, entry in enumerate(entries):
        with at_key(f"{file}: touch {i + 1}", _REMEDY):
            q = None if entry.get("q") is None else np.array(entry["q"], dtype=np.float64)
            if q is not None and q.shape != (robot.n,):
                raise ValueError(f"q has {q.size} joints, and {robot.name} has {robot.n}")
            if q is not None:
                _check_radians(q, robot)
            if q is None and "T_base_flange" not in entry:
                raise ValueError("it has neither T_base_flange nor q")
            pose = Transform(
                np.array(entry["T_base_flange"]) if "T_base_flange" in entry or q is None else robot.forward(q)
            )
            told = touch_facts(pose, q)
        facts[f"{digest([told, i])[:12]}/{i + 1}"] = told
    return facts


def _check_radians(q: Floats, robot: RobotModel) -> None:
    """Refuse joints (n,) that are more than a turn beyond their limits.

    Raises:
        ValueError: They look like degrees.
    """
    beyond = np.maximum(robot.lower - q, q - robot.upper)
    far = np.flatnonzero(~robot.prismatic & (beyond > 2.0 * np.pi))
    if len(far):
        i = int(far[0])
        limits = f"{robot.lower[i]:.2f} to {robot.upper[i]:.2f}"
        raise ValueError(f"q has {q[i]:.4g} for {robot.joint_names[i]} ({limits} rad): these look like degrees")


def touch_facts(pose: Transform, q: Floats | None) -> dict[str, Any]:
    """Return what is kept of a touch."""
    return {"T_base_flange": pose.matrix.tolist(), "q": None if q is None else q.tolist()}


def fit_tool(names: Sequence[str], taken: Mapping[str, Mapping[str, Any]], R_flange_tool: Floats) -> ToolResult:
    """Return the tool whose tip touched one point.

    Raises:
        CalibrationError: The touches do not tell where the tip is.
    """
    poses = [Transform(np.array(taken[name]["T_base_flange"])) for name in names]
    return calibrate_tool_tip(poses, R_flange_tool=R_flange_tool, names=[short(name) for name in names])


def oriented(tip: ToolResult, behind: Sequence[Sequence[Any]]) -> ToolResult:
    """Return the tool with its z axis through further points of it.

    Args:
        tip: Of the tool.
        behind: Poses (4, 4) of the flange in which each of these points touched a fixed one.

    Raises:
        CalibrationError: Touches do not tell where a point is, or the points tell no direction.
    """
    if not behind:
        return tip
    points = [calibrate_tool_tip([Transform(np.array(T)) for T in poses]) for poses in behind]
    said = [
        f"Of point {i + 1} behind the tip: {warning}" for i, point in enumerate(points) for warning in point.warnings
    ]
    return replace(orient_tool(tip, points), warnings=(*tip.warnings, *said))


def next_touch(count: int, hint: str) -> str:
    """Return how to touch next: what the calibration itself asks for, or one tilt after the other."""
    return hint or _GUIDES[count if count < len(_GUIDES) else 1 + (count - 1) % (len(_GUIDES) - 1)]


def tool_facts(result: ToolResult) -> dict[str, Any]:
    """Return what the calibration of a tool came to."""
    return {
        "T_flange_tool": result.T_flange_tool.matrix.tolist(),
        "translation": result.T_flange_tool.translation.tolist(),
        "rotation_xyzw": result.T_flange_tool.rotation_xyzw.tolist(),
        "covariance": result.covariance.tolist(),
        "orientation": result.orientation,
        "sigma_mm": result.sigma_translation * 1e3,
        "sigma_deg": float(np.rad2deg(result.sigma_rotation)),
        "held_out_mm": result.held_out * 1e3,
        "arm_noise_mm": result.arm_sigma.translation * 1e3,
        "arm_noise_deg": float(np.rad2deg(result.arm_sigma.rotation)),
        "used": result.used,
        "count": len(result.touches),
        "touches": [
            {"name": t.name, "used": t.used, "reason": t.reason, "error_mm": t.error * 1e3, "chi_square": t.chi_square}
            for t in result.touches
        ],
        "rejected": {touch.name: touch.reason for touch in result.touches if not touch.used},
        "next": "" if result.next_touch is None else result.next_touch.sentence,
        "warnings": list(result.warnings),
    }
