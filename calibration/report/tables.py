"""The tables of the page about a calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vision_ik.transforms import Transform

if TYPE_CHECKING:
    from vision_ik.view import Table

_VERSIONS = ("vision_ik", "opencv", "numpy", "python")
_HUMAN = {"s": (1e3, "ms"), "m": (1e3, "mm"), "rad": (math.degrees(1.0), "deg")}
"""What people read a unit in, and by how much numbers grow."""


def in_human_units(systematic: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return estimate, sigma and unit of a systematic error as people read them, rounded to two digits of the sigma.

    Args:
        systematic: One of the ``systematics`` of ``hand_eye_facts``.
    """
    factor, unit = _HUMAN.get(systematic["unit"], (1.0, systematic["unit"]))
    estimate, sigma = factor * systematic["estimate"], factor * systematic["sigma"]
    known = math.isfinite(sigma) and sigma > 0.0
    if not math.isfinite(estimate):
        return "–", "–", unit
    size = sigma if known else abs(estimate) or 1.0
    places = min(max(0, 1 - math.floor(math.log10(size))), 9)
    return f"{estimate:.{places}f}", f"{sigma:.{places}f}" if known else "–", unit


def verdicts(facts: Mapping[str, Any]) -> Table:
    """Return the views that were left out or mended, and why."""
    from vision_ik.view import Table

    rows = [
        (
            view["name"],
            "used" if view["used"] and not view["repair"] else "mended" if view["used"] else "left out",
            f"{view['chi_square']:.1f}" if view["chi_square"] < 1e4 else f"{view['chi_square']:.1e}",
            f"{view['held_out_mm']:.2f}",
            f"{view['held_out_deg']:.3f}",
            view["corners_px"],
            "; ".join(part for part in (view["cause"], view["reason"], view["repair"]) if part),
        )
        for view in facts["views"]
        if not view["used"] or view["repair"]
    ]
    if not rows:
        return Table(title="Views that were not right", columns=("",), rows=[("All views agree with each other.",)])
    return Table(
        title="Views that were not right",
        columns=("view", "", "chi-square", "mm", "deg", "corners px", "what was wrong, what was done"),
        rows=rows,
        caption="mm and deg are how far it is from where all other views put it.",
    )


def checks(check: Mapping[str, Any] | None) -> Table:
    """Return what the result was checked on, and what came of it; no rows where it was not."""
    from vision_ik.view import Table

    rows: list[tuple[str, str, str, bool | None, str]] = []
    further: dict[str, Mapping[str, Any]] = dict((check or {}).get("further", {}))
    if check:
        views = further.pop("held-out_views", {})
        expected = f"{views['sigma_mm']:.2f}" if "sigma_mm" in views else "–"
        said = views.get("sentence") or f"The board is {check['error_deg']:.3f} deg off."
        name = f"{check['views']} {check['source']}"
        rows.append((name, f"{check['error_mm']:.2f}", expected, check.get("passed_on_views", check["passed"]), said))
    for each in further.values():
        if "error_mm" in each:
            off, expected = f"{each['error_mm']:.2f}", f"{each['sigma_mm']:.2f}"
            rows.append((each["name"], off, expected, each.get("passed"), each["sentence"]))
        else:
            rows.append((each["name"], "–", "–", None, f"Not checked. {each.get('skipped', '')}".strip()))
    return Table(
        title="Checks",
        columns=("checked on", "off mm", "expected mm", "tolerance", ""),
        rows=rows,
        caption="Expected is what the stated uncertainties explain, one standard deviation.",
    )


def pose(facts: Mapping[str, Any]) -> Table:
    """Return where the camera is, axis by axis."""
    from vision_ik.view import Table

    T = Transform(np.array(facts["T_mount_camera"]))
    R, sigma = T.rotation, np.array(facts["covariance"])
    place = 1e3 * np.sqrt(np.diag(R @ sigma[:3, :3] @ R.T))
    turn = np.rad2deg(np.sqrt(np.diag(R @ sigma[3:, 3:] @ R.T)))
    carrier = "base" if facts["mount"] == "eye_to_hand" else "flange"
    rows = [
        (axis, f"{1e3 * t:.2f}", f"{s:.2f}", f"{angle:.3f}", f"{e:.3f}")
        for axis, t, s, angle, e in zip(
            "xyz", T.translation, place, facts["rotation_vector_deg"], turn, strict=True
        )
    ]  # fmt: skip
    return Table(
        title=f"The camera in the {carrier} frame",
        columns=("axis", "position mm", "± mm", "rotation vector deg", "± deg"),
        rows=rows,
        caption=f"As quaternion xyzw: {', '.join(f'{x:.6f}' for x in T.rotation_xyzw)}. The ± are along the axes "
        f"of the {carrier}; the full covariance is in rig.toml.",
    )


def systematics(facts: Mapping[str, Any]) -> Table:
    """Return the errors that are the same in all views, as far as they were looked for."""
    from vision_ik.view import Table

    return Table(
        title="Systematic errors that were looked for",
        columns=("", "estimate", "±", "unit", "in the result", "what it means"),
        rows=[
            (each["name"], *in_human_units(each), "yes" if each["adopted"] else "no", each["sentence"])
            for each in facts["systematics"]
        ],
        caption="One is taken into the result only where the views ask for it.",
    )


def all_views(facts: Mapping[str, Any], left_out: Mapping[str, str]) -> Table:
    """Return every view, those in which no board was found included."""
    from vision_ik.view import Table

    rows: list[tuple[str, str, str, str, str, str]] = [
        (
            view["name"],
            "used" if view["used"] else "left out",
            f"{view['chi_square']:.1f}" if view["chi_square"] < 1e4 else f"{view['chi_square']:.1e}",
            f"{view['held_out_mm']:.2f}",
            f"{view['held_out_deg']:.3f}",
            f"{view['corners_px']:.2f}" if math.isfinite(view["corners_px"]) else "–",
        )
        for view in facts["views"]
    ]
    known = {view["name"] for view in facts["views"]}
    rows += [(name, reason, "–", "–", "–", "–") for name, reason in left_out.items() if name not in known]
    return Table(
        title="All views",
        columns=("view", "", "chi-square (6)", "off mm", "off deg", "corners px"),
        rows=rows,
        caption="Off is how far it is from where all other views put it; chi-square is the same in units of its "
        "uncertainty, 6 on average.",
    )


def made_from(provenance: Mapping[str, Any]) -> list[Table]:
    """Return where a result is from in a few rows, and every value that was kept of it, folded."""
    from vision_ik.view import Table

    told = [row for row in _origin(provenance) if row[1]]
    every = _flat(provenance)
    tables = [Table(title="Made from", columns=("", ""), rows=told)] if told else []
    if every:
        tables.append(
            Table(title="Every value that was kept of it", columns=("name in rig.toml", ""), rows=every, folded=True)
        )
    return tables


def _origin(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    options: Mapping[str, Any] = made.get("options", {})
    lens = "computed from the same views" if options.get("lens_from_views") else ""
    if made.get("lens_refined"):
        lens = f"{lens}, then refined together with the result".removeprefix(", then ")
    noise = ""
    if "corner_noise_px" in made:
        corners = f"corners {made['corner_noise_px']:.3f} px, " if math.isfinite(made["corner_noise_px"]) else ""
        noise = f"{corners}arm {made['arm_noise_mm']:.2f} mm and {made['arm_noise_deg']:.3f} deg, per axis"
    views = f"{made['views_used']} of {made['views']} used" if "views_used" in made else str(made.get("views", ""))
    edge = options.get("edge_mm")
    versions = [f"{name.replace('_', '-')} {made[name]}" for name in _VERSIONS if name in made]
    return [
        ("when", str(made.get("when", "")).replace("T", " ").replace("Z", " UTC")),
        ("from", str(made.get("source", ""))),
        ("views", views),
        ("lens", lens),
        ("edge that was measured", f"{edge:.2f} mm" if edge else ""),
        ("noise found", noise),
        ("time offset of the arm", f"{made['time_offset_ms']:.2f} ms" if made.get("time_offset_ms") else ""),
        ("taken into account", ", ".join(made.get("taken_into_account", ()))),
        ("computed with", ", ".join(versions)),
    ]


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows
