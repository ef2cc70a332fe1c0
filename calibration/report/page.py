"""The page about a hand-eye calibration: one HTML file, to read, print and send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from calibration.hand_eye.values import HandEyeResult, HandEyeView
from calibration.report import tables
from calibration.report.geometry import Geometry, place_views
from calibration.report.workplace import rms
from calibration.wizard.results import hand_eye_facts
from vision_ik.types import CameraIntrinsics, Image

if TYPE_CHECKING:
    from vision_ik.view import Picture, Plot, Table, Tile
    from vision_ik.view.scene_drawing import Scene


def write_calibration_report(
    path: str | Path,
    result: HandEyeResult,
    views: Sequence[HandEyeView],
    *,
    intrinsics: CameraIntrinsics,
    check: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    command: str = "",
) -> Path:
    """Write a page with what a calibration came to, how sure it is, and what was wrong with which view.

    Args:
        path: Ends in ``.html``.
        result: Of `calibrate_hand_eye`.
        views: It was computed from.
        intrinsics: That were given to it.
        check: Result of a check on views of their own, as the wizard keeps it.
        provenance: What it was made from.
        command: What to type to make it again.

    Raises:
        RecordingError: It could not be written.
    """
    facts = hand_eye_facts(result, intrinsics)
    return write_facts_report(path, facts, views, check=check, provenance=provenance, command=command)


def write_facts_report(
    path: str | Path,
    facts: Mapping[str, Any],
    views: Sequence[HandEyeView],
    *,
    Ts_base_flange: ArrayLike | None = None,
    check: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    left_out: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
    overlay: Image | None = None,
    command: str = "",
) -> Path:
    """Write the page from plain values, as they are kept on disk.

    Args:
        path: Ends in ``.html``.
        facts: From ``hand_eye_facts``.
        views: In the order of the reports in ``facts``; empty for pairs of poses.
        Ts_base_flange: (N, 4, 4) of pairs of poses.
        check: See `write_calibration_report`.
        provenance: See there.
        left_out: Why pictures were left out before, by their names.
        warnings: What else there is to be warned of, beside those in ``facts``.
        overlay: (H, W, 3) picture of corners as seen and as predicted.
        command: See there.

    Raises:
        RecordingError: It could not be written.
    """
    from vision_ik.view import write_report

    flanges = None if Ts_base_flange is None else np.asarray(Ts_base_flange, dtype=np.float64)
    geometry = place_views(facts, views, flanges)
    return write_report(
        path,
        title="Where the camera is",
        summary=_summary(facts),
        warnings=list(dict.fromkeys([*warnings, *facts["warnings"]])),
        tiles=_tiles(facts, geometry, check),
        sections=[
            *_pictures(facts, geometry, _checked(check, overlay)),
            *_tables(facts, left_out or {}, provenance or {}),
        ],
        command=command,
    )


def _summary(facts: Mapping[str, Any]) -> str:
    said = {
        "eye_to_hand": "Eye to hand: the camera stands still, the flange carries the board.",
        "eye_in_hand": "Eye in hand: the flange carries the camera, the board stands still.",
    }[facts["mount"]]
    return (
        f"{said} Computed from {facts['views_used']} of {len(facts['views'])} views. Every ± is one standard "
        "deviation; of a position and an orientation, the root mean square length of the error."
    )


def _tiles(facts: Mapping[str, Any], geometry: Geometry, check: Mapping[str, Any] | None) -> list[Tile]:
    from vision_ik.view import Tile

    place = "base" if facts["mount"] == "eye_to_hand" else "flange"
    at_work = 1e3 * rms(np.array([view.covariance for view in geometry.sound]))
    tiles = [
        Tile(label=f"camera in the {place}", value=f"± {facts['sigma_mm']:.2f}", unit="mm", note="its position"),
        Tile(label="its orientation", value=f"± {facts['sigma_deg']:.3f}", unit="deg"),
        Tile(
            label="at the work place",
            value=f"± {float(np.median(at_work)):.2f}",
            unit="mm",
            note=f"the board's middle; at worst {at_work.max():.2f}",
        ),
        Tile(
            label="views predicted by the others",
            value=f"{facts['held_out_mm']:.2f}",
            unit="mm",
            note=f"{facts['held_out_deg']:.3f} deg; with the arm's own noise",
        ),
        Tile(
            label="noise of the arm",
            value=f"{facts['arm_noise_mm']:.2f}",
            unit="mm",
            note=f"{facts['arm_noise_deg']:.3f} deg, per axis",
        ),
    ]
    if geometry.image_size is not None:
        tiles.append(
            Tile(label="noise of a corner", value=f"{facts['corner_noise_px']:.3f}", unit="px", note="per axis")
        )
    if check:
        tiles.append(
            Tile(
                label=f"check on {check['views']} {check['source']}",
                value=f"{check['error_mm']:.2f}",
                unit="mm",
                note=f"{check['error_deg']:.3f} deg",
                met=check["passed"],
            )
        )
    return tiles


def _checked(check: Mapping[str, Any] | None, overlay: Image | None) -> list[Table | Picture]:
    from vision_ik.view import Picture

    sections: list[Table | Picture] = [table for table in [tables.checks(check)] if table.rows]
    if overlay is not None:
        caption = "The last picture taken, with the board's corners as seen and where the result puts them."
        sections.append(Picture(title="The result laid over a picture", image=overlay, caption=caption))
    return sections


def _pictures(
    facts: Mapping[str, Any], geometry: Geometry, checked: Sequence[Table | Picture]
) -> list[Plot | Scene | Table | Picture]:
    from calibration.report import plots
    from calibration.report.scene import calibration_scene
    from vision_ik.view import Plot, lens_plots

    reports = facts["views"]
    figure, scale = plots.work_place(geometry)
    sections: list[Plot | Scene | Table | Picture] = [
        calibration_scene(geometry),
        *checked,
        tables.verdicts(facts),
        Plot(
            title="Views one by one",
            figure=plots.views(
                [report["name"] for report in reports],
                [view.fate for view in geometry.views],
                [report["chi_square"] for report in reports],
                [report["held_out_mm"] for report in reports],
            ),
            caption="Each view against what all others predict. Blue: used, amber: mended and used, red: left out.",
        ),
        Plot(
            title="How sure points at the work place are",
            figure=figure,
            caption=f"Where the camera puts the board's middle, by the uncertainty of the camera's own pose, in "
            f"the base frame. Ellipses are one standard deviation, enlarged {scale:.0f} times.{_of_lens(facts)}",
        ),
    ]
    residuals = [view.residuals for view in geometry.sound if view.residuals is not None]
    if residuals and geometry.image_size is not None:
        corners = np.concatenate(residuals)
        sections += [
            Plot(
                title="Where corners were seen",
                figure=lens_plots.coverage(
                    plots.counts(corners[:, :2], geometry.image_size), corners[:, :2], geometry.image_size
                ),
                caption="Corners of the views that were used as they came, in each cell of the picture.",
            ),
            Plot(
                title="What is left over",
                figure=lens_plots.residuals(corners, geometry.image_size),
                caption="From projection to corner, with the board where the arm says it is. What the arm gets wrong "
                "moves a whole view one way; arrows that agree with their neighbours across views ask for another "
                "lens.",
            ),
        ]
    return sections


def _of_lens(facts: Mapping[str, Any]) -> str:
    """Return what is to be said where the lens is uncertain, too: its errors and those of the pose belong together."""
    if not facts.get("lens") or facts["lens"].get("covariance") is None:
        return ""
    return " With its own lens a camera is surer than that: what pose and lens get wrong together cancels in part."


def _tables(facts: Mapping[str, Any], left_out: Mapping[str, str], provenance: Mapping[str, Any]) -> list[Table]:
    shown = [tables.pose(facts), tables.systematics(facts), tables.all_views(facts, left_out)]
    return [table for table in (*shown, *tables.made_from(provenance)) if table.rows]
