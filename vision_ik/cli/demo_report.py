"""The end of the demo: a table, metrics.json, report.html."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibration import HandEyeResult
from sim import Scene
from vision_ik.cli import console
from vision_ik.cli.demo import Options
from vision_ik.cli.demo_sim import DemoOutcome
from vision_ik.cli.demo_truth import rms
from vision_ik.cli.run_report import command_line, trace_plots
from vision_ik.files import write_atomic
from vision_ik.transforms import Transform
from vision_ik.types import Floats
from vision_ik.view import Picture, Plot, Table, Tile, plots, write_report

Row = tuple[str, str, str]


def present(outcome: DemoOutcome, scene: Scene, options: Options) -> int:
    """Write metrics and report, print the table; return the exit code."""
    metrics = demo_metrics(outcome, scene)
    write_atomic(options.out / "metrics.json", console.to_json(metrics))
    rows = _rows(metrics)
    _report(outcome, scene, options, metrics, rows)
    console.people().print(console.table(("what", "measured", "remark"), rows, right=("measured",)))
    console.say(f"wrote {options.out}/: demo.mp4, report.html, metrics.json, commands.csv, detections.jsonl, rig/")
    if options.json:
        console.write_json(metrics)
    return 0


def demo_metrics(outcome: DemoOutcome, scene: Scene) -> dict[str, Any]:
    """Return every figure of the demo, with its unit in its name."""
    result = outcome.calibration.result
    metres, radians = outcome.T_true.distance_to(result.T_mount_camera)
    moving_m, moving_rad = outcome.moving.after_contact()
    at_rest = [log.at_rest() for log in outcome.resting]
    ticks = sum(outcome.tally.modes.values())
    return {
        "robot": scene.robot.name,
        "hand_eye": {
            "views": result.used_views,
            "error_mm": 1000 * metres,
            "error_deg": float(np.rad2deg(radians)),
            "sigma_mm": 1000 * result.sigma_translation,
            "sigma_deg": float(np.rad2deg(result.sigma_rotation)),
            "normalised_error_squared_per_axis": normalised_error(result, outcome.T_true),
            "held_out_mm": 1000 * result.held_out_translation,
            "held_out_deg": float(np.rad2deg(result.held_out_rotation)),
            "pixel_sigma_px": result.pixel_sigma,
            "arm_sigma_mm": 1000 * result.arm_sigma.translation,
            "arm_sigma_deg": float(np.rad2deg(result.arm_sigma.rotation)),
            "wall_s": outcome.calibration_s,
        },
        "tracking": {
            "contact_s": outcome.moving.contact_s,
            "true_rms_mm": 1000 * rms(moving_m),
            "true_max_mm": 1000 * float(moving_m.max()) if len(moving_m) else None,
            "true_rms_deg": float(np.rad2deg(rms(moving_rad))),
        },
        "at_rest": {
            "tags": len(at_rest),
            "true_median_mm": 1000 * float(np.median([m for m, _ in at_rest])),
            "true_median_deg": float(np.rad2deg(np.median([r for _, r in at_rest]))),
            "each_mm": [1000 * m for m, _ in at_rest],
        },
        "loop": {
            "run_s": outcome.run_s,
            "wall_s": outcome.tracking_s,
            "real_time_factor": outcome.run_s / outcome.tracking_s,
            "frames_per_wall_second": outcome.tally.frames / outcome.tracking_s,
            "control_steps_per_wall_second": ticks / outcome.tracking_s,
        },
        **outcome.tally.summary(),
    }


def normalised_error(result: HandEyeResult, T_true: Transform) -> float:
    """Return the squared error over the stated covariance, divided by 6: 1 on average when the covariance holds."""
    xi: Floats = (result.T_mount_camera.inv() @ T_true).log()
    return float(xi @ np.linalg.solve(result.covariance, xi)) / 6.0


def _rows(metrics: dict[str, Any]) -> list[Row]:
    eye, track, rest, loop, ik = (metrics[key] for key in ("hand_eye", "tracking", "at_rest", "loop", "ik"))
    return [
        (
            "camera found, error against truth",
            f"{eye['error_mm']:.2f} mm, {eye['error_deg']:.3f} deg",
            f"said of itself: ± {eye['sigma_mm']:.2f} mm, {eye['sigma_deg']:.3f} deg, from {eye['views']} views",
        ),
        _tracking_row(track),
        (
            "tags at rest, true error of the tool (median)",
            f"{rest['true_median_mm']:.2f} mm, {rest['true_median_deg']:.2f} deg",
            f"{rest['tags']} tags; calibration, arm noise and vision together",
        ),
        (
            "inverse kinematics",
            f"{100 * ik['success']:.1f} % solved",
            f"median {ik['median_us']:.0f} µs, 99 % below {ik['p99_us']:.0f} µs, {ik['solves']} solves",
        ),
        (
            "loop",
            f"{loop['frames_per_wall_second']:.0f} frames/s",
            f"{loop['real_time_factor']:.1f} x real time, pictures and video included",
        ),
    ]


def _tracking_row(track: dict[str, Any]) -> Row:
    what = "moving tag, true error of the tool (rms)"
    if track["true_max_mm"] is None:
        return what, "not measured", "the tool had not been with the tag for a second: let it run longer"
    measured = f"{track['true_rms_mm']:.2f} mm, {track['true_rms_deg']:.2f} deg"
    return what, measured, f"arrived after {track['contact_s']:.1f} s, at most {track['true_max_mm']:.1f} mm since"


def _report(outcome: DemoOutcome, scene: Scene, options: Options, metrics: dict[str, Any], rows: list[Row]) -> None:
    eye, track, rest, ik = (metrics[key] for key in ("hand_eye", "tracking", "at_rest", "ik"))
    times = np.array(outcome.moving.times) - outcome.moving.times[0]
    arrived = times >= (0.0 if np.isnan(outcome.moving.contact_s) else outcome.moving.contact_s)
    true_error = Plot(
        title="True error of the tool while the tag moves",
        figure=plots.tracking_error(
            times[arrived], np.array(outcome.moving.position)[arrived], np.array(outcome.moving.rotation)[arrived]
        ),
        caption=(
            "From the arrival on: where the tool truly was against where the tag truly was. "
            "The program never sees these."
        ),
    )
    write_report(
        options.out / "report.html",
        title=f"Demo: a {scene.robot.name} follows a tag",
        summary=(
            "The program was not told where the camera stands. It found out by carrying a board through planned "
            "views, then followed a moving tag and went to tags at rest."
        ),
        tiles=[
            Tile(label="camera error", value=eye["error_mm"], unit="mm", note=f"predicted ± {eye['sigma_mm']:.2f} mm"),
            Tile(label="tag at rest", value=rest["true_median_mm"], unit="mm", note="true error, median"),
            Tile(label="moving tag", value=track["true_rms_mm"], unit="mm", note="true error, rms"),
            Tile(label="IK, median", value=ik["median_us"], unit="µs", note=f"{100 * ik['success']:.1f} % solved"),
        ],
        tables=[
            Table(title="Measured", columns=("what", "measured", "remark"), rows=rows),
            Table(
                title="Calibration views",
                columns=("view", "used", "pixels rms [px]", "held-out [mm]", "held-out [deg]"),
                rows=[
                    (
                        view.name or str(i),
                        "yes" if view.used else view.reason,
                        view.pixel_rms,
                        1000 * view.position_error,
                        float(np.rad2deg(view.rotation_error)),
                    )
                    for i, view in enumerate(outcome.calibration.result.views)
                ],
                caption="Held-out: each view predicted by a calibration without it; its own noise is included.",
            ),
            Table(title="Control steps", columns=("mode", "steps"), rows=sorted(metrics["control_steps"].items())),
        ],
        pictures=[Picture(title="The last moment", image=outcome.last_picture)],
        plots=[true_error, *trace_plots(outcome.trace, scene.robot, outcome.tally.ik_durations)],
        files={"Video": "demo.mp4", "Rig": "rig/rig.toml", "Commands": "commands.csv"},
        command=command_line(),
    )
