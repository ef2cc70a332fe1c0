"""What a calibration came to, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from calibration.report.tables import in_human_units
from calibration.wizard import WizardView
from vision_ik.cli import console
from vision_ik.transforms import Transform

_KEPT_BACK = ("T_mount_camera", "rotation_vector_deg")
"""Plain values that programs need not read: the same are there in other words."""


def present(view: WizardView, *, as_json: bool, truth: Transform | None = None) -> None:
    """Print the results on stdout; warnings, and where they were written, go to stderr.

    Args:
        view: Of a wizard that is done.
        as_json: For programs.
        truth: T_mount_camera of a simulation.
    """
    results = view.results
    lens, result, check = (results.get(step, {}) for step in ("camera", "hand-eye", "check"))
    error = _true_error(result, truth)
    file = results.get("save", {}).get("file", "")
    if as_json:
        facts = {key: value for key, value in result.items() if key not in _KEPT_BACK} | error
        if view.goal == "all":
            console.write_json({"file": file, "camera": dict(lens), "hand_eye": facts, "check": dict(check)})
        else:
            console.write_json({"file": file, **facts})
    else:
        console.results().print(_summary(view.goal, lens, result, check, error))
        console.results().print(_views(result))
    for name, reason in view.rejected.items():
        if name not in {entry["name"] for entry in result["views"]}:
            console.warn(f"{name} was left out: {reason}.")
    for warning in view.warnings:
        console.warn(warning)
    _remarks(result)
    for further in check.get("further", {}).values():
        console.say(further.get("sentence") or f"{further['name']}: not checked. {further['skipped']}")
    console.say(_written(file, result))


def present_facts(facts: Mapping[str, Any], file: Path, *, as_json: bool) -> None:
    """Print a result that no wizard came to, as ``present`` does.

    Args:
        facts: From ``hand_eye_facts``.
        file: The rig that it was written to.
        as_json: For programs.
    """
    if as_json:
        shown = {key: value for key, value in facts.items() if key not in _KEPT_BACK}
        console.write_json({"file": str(file), **shown})
    else:
        console.results().print(_summary("hand-eye", {}, facts, {}, {}))
        console.results().print(_views(facts))
    for warning in facts["warnings"]:
        console.warn(warning)
    _remarks(facts)
    console.say(_written(str(file), facts))


def present_steps(view: WizardView, *, as_json: bool) -> None:
    """Print where a calibration stands."""
    if as_json:
        console.write_json(view.as_json())
        return
    marks = {"done": ("✓", "green"), "now": ("›", "cyan"), "stale": ("!", "yellow"), "open": (" ", "")}
    rows: list[Sequence[str | Text]] = [
        [Text(marks[step.status][0], style=marks[step.status][1]), str(step.step), step.title, step.note]
        for step in view.steps
    ]
    console.results().print(console.table(["", "step", "", ""], rows))
    console.say(view.todo)
    if view.can_undo:
        console.say(f"--undo takes back {view.can_undo}.", style="dim")


def _true_error(result: Mapping[str, Any], truth: Transform | None) -> dict[str, float]:
    if truth is None or not result:
        return {}
    metres, angle = Transform(np.array(result["T_mount_camera"])).distance_to(truth)
    return {"true_error_mm": metres * 1e3, "true_error_deg": float(np.rad2deg(angle))}


def _summary(
    goal: str,
    lens: Mapping[str, Any],
    result: Mapping[str, Any],
    check: Mapping[str, Any],
    error: Mapping[str, float],
) -> object:
    frame = "base" if result["mount"] == "eye_to_hand" else "flange"
    rows: list[Sequence[str | Text]] = []
    if "focal_px" in result:
        sigma = result["focal_sigma_px"]
        what = "focal length, refined" if result["lens_refined"] else "focal length"
        rows.append([what, f"{result['focal_px'][0]:.2f}", "" if sigma is None else f"{sigma:.2f}", "px"])
    if goal == "all" and "held_out_px" in lens:
        rows.append(["lens, held-out views", f"{lens['held_out_px']:.3f}", "", "px"])
    rows += [
        [
            f"camera in {frame}, position",
            ", ".join(f"{1e3 * x:.2f}" for x in result["translation"]),
            f"{result['sigma_mm']:.2f}",
            "mm",
        ],
        [
            f"camera in {frame}, rotation vector",
            ", ".join(f"{x:.3f}" for x in result["rotation_vector_deg"]),
            f"{result['sigma_deg']:.3f}",
            "deg",
        ],
        ["held-out views, position", f"{result['held_out_mm']:.2f}", "", "mm"],
        ["held-out views, rotation", f"{result['held_out_deg']:.3f}", "", "deg"],
        ["corner noise", f"{result['corner_noise_px']:.3f}", "", "px"],
        ["arm noise", f"{result['arm_noise_mm']:.2f} / {result['arm_noise_deg']:.3f}", "", "mm / deg"],
        ["views used", f"{result['views_used']} of {len(result['views'])}", "", ""],
    ]
    rows += [systematic_row(systematic) for systematic in result["systematics"] if _counts(systematic)]
    if check:
        verdict = {True: "passed", False: "failed", None: ""}[check["passed"]]
        off = f"{check['error_mm']:.2f} / {check['error_deg']:.3f}"
        rows.append([f"check on {check['views']} {check['source']}", off, verdict, "mm / deg"])
    for name, further in check.get("further", {}).items():
        if "error_mm" in further and name != "held-out_views":
            said = {True: "passed", False: "failed", None: ""}[further.get("passed")]
            off = f"{further['error_mm']:.2f} ± {further['sigma_mm']:.2f}"
            rows.append([f"{name.replace('_', ' ')}, {further['count']} points", off, said, "mm"])
    if error:
        off = f"{error['true_error_mm']:.2f} / {error['true_error_deg']:.3f}"
        rows.append(["true error (simulation)", off, "", "mm / deg"])
    return console.table(["hand-eye", "value", "± sigma", "unit"], rows, right={"value", "± sigma"})


def systematic_row(systematic: Mapping[str, Any]) -> list[str | Text]:
    """Return a systematic error as a row of a table: what, how much, how sure, unit."""
    estimate, sigma, unit = in_human_units(systematic)
    what = systematic["name"] + ("" if systematic["adopted"] else ", not taken into account")
    return [what, Text(estimate, style="yellow" if systematic["striking"] else ""), sigma.strip("–"), unit]


def _counts(systematic: Mapping[str, Any]) -> bool:
    return bool(systematic["adopted"] or systematic["striking"])


def _remarks(result: Mapping[str, Any]) -> None:
    """Say what was taken into account and calls for nothing: what does is among the warnings."""
    for systematic in result["systematics"]:
        if systematic["adopted"] and systematic["sentence"] not in result["warnings"]:
            console.say(systematic["sentence"])


def _written(file: str, result: Mapping[str, Any]) -> str:
    with_lens = ", the refined lens to camera.yaml beside it" if result.get("lens_refined") else ""
    return f"Written to {file}{with_lens}."


def _views(result: Mapping[str, Any]) -> object:
    rows: list[Sequence[str | Text]] = [
        [
            view["name"],
            f"{view['chi_square']:.1f}",
            f"{view['held_out_mm']:.2f}",
            f"{view['held_out_deg']:.3f}",
            f"{view['corners_px']:.2f}",
            Text(_remark(view), style="" if view["used"] else "yellow"),
        ]
        for view in result["views"]
    ]
    columns = ["view", "chi² (6)", "held-out mm", "held-out deg", "corners px", "what was wrong with it"]
    return console.table(columns, rows, right=set(columns[1:5]))


def _remark(view: Mapping[str, Any]) -> str:
    """Return why a view was left out, or what was mended so that it was not."""
    reason = view["reason"] if not view["used"] else ""
    said = "; ".join(part for part in (reason, view["repair"]) if part)
    return said if view["used"] or not said else f"left out: it {said}"
