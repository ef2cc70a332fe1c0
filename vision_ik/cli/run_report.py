"""What a run writes and says at its end: metrics.json, report.html, a table."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import numpy as np

from vision_ik.cli import console
from vision_ik.cli.following import Trace
from vision_ik.cli.main import EXIT_ERROR, EXIT_FOUND, EXIT_OK
from vision_ik.cli.run import Options
from vision_ik.cli.runs import Outcome
from vision_ik.cli.setting import Setting
from vision_ik.cli.tally import Tally
from vision_ik.files import write_atomic
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel
from vision_ik.view import Plot, Table, Tile, plots, write_report


def present(setting: Setting, outcome: Outcome, options: Options) -> int:
    """Write metrics and report, print the table and what went wrong; return the exit code.

    2 when the run was stopped by a fault or a picture could not be read, 1 when no tag was ever seen.
    """
    metrics = _metrics(setting, outcome, options)
    write_atomic(options.out / "metrics.json", console.to_json(metrics))
    _report(setting, outcome, options, metrics)
    for sentence in setting.assumptions:
        console.warn(f"approximate: {sentence}")
    for sentence in [*_shared_ids(outcome.tally), *_without_size(setting.rig, outcome.tally)]:
        console.warn(sentence)
    rows = [_tag_row(tag) for tag in metrics["targets"]]
    columns = ("target", "frames seen", "closest tool [mm]", "[deg]", "remark")
    console.people().print(console.table(columns, rows, right=columns[1:4]))
    console.say(f"wrote {options.out}/: run.mp4, commands.csv, detections.jsonl, metrics.json, report.html")
    if options.json:
        console.write_json(metrics)
    stop = outcome.tally.stop
    faults = [(fault.cause, fault.remedy) for fault in outcome.faults]
    if stop is not None:
        faults.append((f"The arm was stopped. {stop.reason}", stop.remedy))
    for cause, remedy in faults:
        console.error(cause, remedy)
    if faults:
        return EXIT_ERROR
    if not outcome.tally.sightings:
        console.warn(
            f"no tag of family {setting.rig.tag_family} was seen in {outcome.tally.frames} frames; "
            "check --family, the light and the distance."
        )
        return EXIT_FOUND
    return EXIT_OK


def command_line() -> str:
    """Return what was typed, as a line that can be typed again."""
    return shlex.join(["vision-ik", *sys.argv[1:]])


def trace_plots(trace: Trace, robot: RobotModel, ik_durations: list[float]) -> list[Plot]:
    """Return the plots that every run has: error, path, joints, IK time; none when nothing was followed."""
    if not any(trace.names):
        return []
    times = np.array(trace.times) - trace.times[0]
    lost = np.array([not name for name in trace.names])
    joints = plots.joint_positions(times, np.array(trace.q), robot.joint_names, robot.sample_lower, robot.sample_upper)
    return [
        Plot(
            title="Tool against the tracked target",
            figure=plots.tracking_error(times, trace.position_error, trace.rotation_error, lost=lost),
            caption="As the program sees it: measured posture against the target's estimate. Shaded: no target.",
        ),
        Plot(title="Path", figure=plots.paths(np.array(trace.targets), np.array(trace.tools))),
        Plot(title="Joints", figure=joints),
        Plot(title="Inverse kinematics", figure=plots.ik_times(ik_durations)),
    ]


def _metrics(setting: Setting, outcome: Outcome, options: Options) -> dict[str, Any]:
    trace = outcome.trace
    targets: list[dict[str, Any]] = []
    names = np.array(trace.names)
    for tag, frames in sorted(outcome.tally.sightings.items()):
        name = f"tag {tag}"
        entry: dict[str, Any] = {"target": name, "frames": frames, "closest_mm": None, "closest_deg": None}
        followed = np.flatnonzero(names == name)
        if len(followed):
            best = followed[int(np.argmin(np.array(trace.position_error)[followed]))]
            entry["closest_mm"] = 1000 * trace.position_error[best]
            entry["closest_deg"] = float(np.rad2deg(trace.rotation_error[best]))
        entry["remark"] = trace.reasons.get(name, "seen, not followed")
        targets.append(entry)
    return {
        "source": options.source,
        "robot": setting.robot.name,
        "approximate": setting.assumptions,
        "run_s": outcome.run_s,
        "wall_s": outcome.wall_s,
        "targets": targets,
        **outcome.tally.summary(),
    }


def _tag_row(tag: dict[str, Any]) -> list[str]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    return [tag["target"], str(tag["frames"]), number(tag["closest_mm"]), number(tag["closest_deg"]), tag["remark"]]


def _shared_ids(tally: Tally) -> list[str]:
    """Return a sentence for each id that several tags had at a time."""
    return [
        f"Several tags with id {tag_id} were seen at once in {count} of {tally.frames} frames: which is which is known "
        "only while they are followed. Print them with ids of their own."
        for tag_id, count in sorted(tally.shared.items())
    ]


def _without_size(rig: Rig, tally: Tally) -> list[str]:
    """Return a sentence about the tags that were seen and cannot be followed, for nobody knows how large they are."""
    sized = rig.tag_sizes if rig.default_tag_size is None else tally.sightings
    unsized = [str(tag_id) for tag_id in sorted(tally.sightings) if tag_id not in sized]
    if not unsized:
        return []
    return [
        f"The rig does not know how large tag {', '.join(unsized)} is, so it cannot be followed: give --size-mm, the "
        "edge of the black border, or set tags.default_size_mm in rig.toml."
    ]


def _report(setting: Setting, outcome: Outcome, options: Options, metrics: dict[str, Any]) -> None:
    tally = outcome.tally
    ik = metrics["ik"]
    write_report(
        options.out / "report.html",
        title=f"Run over {options.source}",
        summary=f"A simulated {setting.robot.name} followed the tags of family {setting.rig.tag_family}.",
        warnings=[
            *(f"Approximate: {sentence}" for sentence in setting.assumptions),
            *_shared_ids(tally),
            *_without_size(setting.rig, tally),
        ],
        tiles=[
            Tile(label="frames with a tag", value=f"{tally.frames_with_tags} of {tally.frames}"),
            Tile(label="IK success", value=100 * ik["success"], unit="%"),
            Tile(label="IK time, median", value=ik["median_us"], unit="µs"),
            Tile(label="see, median", value=metrics["see_median_ms"], unit="ms"),
        ],
        tables=[
            Table(
                title="Targets",
                columns=("target", "frames seen", "closest tool [mm]", "closest tool [deg]", "last remark"),
                rows=[
                    (tag["target"], tag["frames"], tag["closest_mm"], tag["closest_deg"], tag["remark"])
                    for tag in metrics["targets"]
                ],
                caption="Closest: the tool against the target as seen, not against an independent truth.",
            ),
            Table(title="Control steps", columns=("mode", "steps"), rows=sorted(metrics["control_steps"].items())),
        ],
        plots=trace_plots(outcome.trace, setting.robot, tally.ik_durations),
        files={"Video": "run.mp4", "Commands": "commands.csv", "Detections": "detections.jsonl"},
        command=command_line(),
    )
