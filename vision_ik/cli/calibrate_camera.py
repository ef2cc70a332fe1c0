"""``vision-ik calibrate camera``: views in, lens out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration import IntrinsicsResult, calibrate_intrinsics, read_observations
from calibration.hand_eye.corners import better_corners
from calibration.wizard import Answers, Command, Do, Lens, Wizard
from calibration.wizard.results import lens_facts
from calibration.wizard.saving import provenance_of
from calibration.wizard.store import digest
from vision_ik.cameras import check_intrinsics_path, save_any_intrinsics
from vision_ik.cameras.opening import is_live_source
from vision_ik.cli import console
from vision_ik.cli.calibrate import CameraOptions
from vision_ik.cli.calibrate_film import COEFFICIENTS, film_lens
from vision_ik.cli.calibrate_lens_report import write_lens_report
from vision_ik.cli.calibrate_pictures import Views, gather
from vision_ik.cli.calibrate_rig import existing_rig, hint_at_tag_size, require_board, rig_and_robot
from vision_ik.cli.main import EXIT_OK
from vision_ik.errors import ConfigError
from vision_ik.layouts import board_table
from vision_ik.rig import Rig
from vision_ik.types import BoardDetection

_DEFAULT_ROBOT = "panda"
"""The lens does not depend on the arm, so a new rig may do without being told."""
_PAGE_SUFFIXES = (".html", ".htm")


def calibrate_camera(options: CameraOptions) -> int:
    """Find the board in all pictures, fit the lens, print it, and write it.

    Raises:
        VisionIkError: What is asked for cannot be written or does not fit together, which is said before any
            picture is read; or the pictures do not determine a lens.
    """
    options = _checked(options)
    rig = _rig(options)
    if rig is not None and is_live_source(options.source):
        result, views, file = film_lens(options, rig)
        files = [*_write(result, views, None, options), file]
        _present(result, files, views, options)
        _tell_rest(rig)
        return EXIT_OK
    with console.Stages() as stages:
        views: Views | None = None
        if options.from_ is not None and options.from_.suffix == ".json":
            with stages.stage("Read the views") as stage:
                read = read_observations(options.from_)
                stage.update(f"{len(read.views)} views")
            with stages.stage("Fit the lens"):
                result = calibrate_intrinsics(
                    [view.detection for view in read.views],
                    image_size=read.image_size,
                    model=options.model,
                    coefficients=options.coefficients or COEFFICIENTS,
                    names=[view.name or str(i) for i, view in enumerate(read.views)],
                )
        else:
            board = require_board(options, rig)
            with stages.stage("Find the board") as stage:
                source, wishes = str(options.from_ or options.source), options.device.settings()
                views = gather(source, board, options.views, stage, wishes)
            with stages.stage("Fit the lens"):
                result = _fit(views, options)
    files = _write(result, views, rig, options)
    _present(result, files, views, options)
    if rig is not None:
        _tell_rest(rig)
    return EXIT_OK


def _tell_rest(rig: Rig) -> None:
    """Say what a new lens leaves to be done."""
    hint_at_tag_size(rig)
    if rig.T_mount_camera is not None:
        console.say("The camera's place was computed with the lens before: run `vision-ik calibrate hand-eye` anew.")


def _checked(options: CameraOptions) -> CameraOptions:
    """Return the options with the name of the page as it is written.

    Raises:
        ConfigError: A file cannot have the name given, or the lens model has no such coefficients.
    """
    if options.out is not None:
        check_intrinsics_path(options.out)
    if options.coefficients is not None and options.model != "pinhole":
        raise ConfigError(
            f"--coefficients {options.coefficients} belongs to --model pinhole, not to --model {options.model}.",
            "Leave it out: a fisheye has 4, and auto tries 4, 5 and 8.",
        )
    report = options.report
    if report is not None and report.is_dir():
        raise ConfigError(f"{report} is a folder, and a report is a file.", f"Name it, such as {report / 'lens.html'}.")
    if report is not None and report.suffix.lower() not in _PAGE_SUFFIXES:
        report = report.with_name(f"{report.name}.html")
    return replace(options, report=report)


def _rig(options: CameraOptions) -> Rig | None:
    """Return the rig to update, or a new one; None where the lens alone is asked for."""
    if options.out is not None and not options.robot and existing_rig(options.rig) is None:
        return None
    return rig_and_robot(options, default_robot=_DEFAULT_ROBOT)[0]


def _fit(views: Views, options: CameraOptions) -> IntrinsicsResult:
    result = _calibrated(views, views.detections, options)
    better = better_corners(views.detections, views.board, result.intrinsics)
    return result if better == views.detections else _calibrated(views, better, options)


def _calibrated(views: Views, detections: list[BoardDetection], options: CameraOptions) -> IntrinsicsResult:
    return calibrate_intrinsics(
        detections,
        image_size=views.size,
        model=options.model,
        coefficients=options.coefficients or COEFFICIENTS,
        names=views.names,
        edges_px=views.edges_px,
    )


def _write(result: IntrinsicsResult, views: Views | None, rig: Rig | None, options: CameraOptions) -> list[Path]:
    files: list[Path] = []
    if options.out is not None:
        files.append(save_any_intrinsics(result.intrinsics, options.out))
    if rig is not None:
        files.append(_keep(result, views, rig, options))
    if options.report is not None:
        files.append(write_lens_report(options.report, result, {} if views is None else views.left_out))
    return files


def _keep(result: IntrinsicsResult, views: Views | None, rig: Rig, options: CameraOptions) -> Path:
    """Put the lens and its board into the rig, with where it is from; return the file that was written."""
    source = str(options.from_ or options.source)
    facts = lens_facts(result)
    told = {"model": options.model, "coefficients": options.coefficients, "edge_mm": options.measured_edge_mm}
    picked = {key: facts[key] for key in ("model", "focal_sigma_px", "rms_px", "held_out_px", "used")}
    taken = _pictures(options.from_, [] if views is None else views.names)
    facts["provenance"] = provenance_of(taken, source=source, options=told, **picked)
    with Wizard(options.rig, goal="camera", template=rig) as wizard:
        known: dict[str, Any] = {"robot": {"robot": rig.robot, "base": rig.base, "tip": rig.tip}, "camera": source}
        if views is not None:
            known |= {"board": board_table(views.board), "edge_mm": 0.0}
        wizard.handle(Answers(known))
        wizard.handle(Lens(intrinsics=result.intrinsics, origin=source, facts=facts))
        return Path(wizard.handle(Do(Command.SAVE)).results["save"]["file"])


def _pictures(source: Path | None, names: Sequence[str]) -> list[dict[str, str]]:
    """Return the digest of each picture of a folder, by its bytes; of films nothing but their count."""
    if source is None or not source.is_dir():
        return [{} for _ in names]
    return [{"sha256": digest((source / name).read_bytes())} for name in names]


def _present(result: IntrinsicsResult, files: list[Path], views: Views | None, options: CameraOptions) -> None:
    left_out = {} if views is None else views.left_out
    if options.json:
        console.write_json(_facts(result, files, left_out))
    else:
        console.results().print(_summary(result))
        if len(result.candidates) > 1:
            console.results().print(_candidates(result))
    for remark in () if views is None else views.remarks:
        console.warn(remark)
    for name, reason in left_out.items():
        console.warn(f"{name} was left out: {reason}.")
    for warning in result.warnings:
        console.warn(warning)
    if result.next_views:
        best = result.next_views[0]
        console.say(
            f"To make the lens surer, show the board {best}: "
            f"focal length to ±{best.focal_sigma:.2f} px (now {result.focal_sigma:.2f})."
        )
    if views is not None and options.measured_edge_mm is None:
        width = 1000.0 * views.board.size_m[0]
        console.say(
            f"The lens does not depend on the print's scale, but poses do: measure the board's width, {width:g} mm as "
            "described, and give it as --measured-edge-mm."
        )
    for file in files:
        console.say(f"Written to {file}.")


def _sigma(result: IntrinsicsResult) -> list[float]:
    covariance = result.intrinsics.covariance
    count = 4 + len(result.intrinsics.distortion)
    return [float("nan")] * count if covariance is None else np.sqrt(np.diag(covariance)).tolist()


def _summary(result: IntrinsicsResult) -> object:
    lens, used = result.intrinsics, sum(view.used for view in result.views)
    values = [lens.K[0, 0], lens.K[1, 1], lens.K[0, 2], lens.K[1, 2], *lens.distortion]
    names = ["focal x", "focal y", "centre x", "centre y", *(f"distortion {i + 1}" for i in range(len(values) - 4))]
    digits = [2] * 4 + [5] * (len(values) - 4)
    rows = [
        [name, f"{value:.{d}f}", f"{s:.{d}f}", "px" if i < 4 else ""]
        for i, (name, value, s, d) in enumerate(zip(names, values, _sigma(result), digits, strict=True))
    ]
    rows += [
        ["model", lens.model, "", f"{len(lens.distortion)} coefficients"],
        ["rms", f"{result.rms:.3f}", "", "px"],
        ["rms, held-out views", f"{result.held_out_rms:.3f}", "", "px"],
        ["uncertainty over the picture", f"{result.picture_sigma:.3f}", "", "px"],
        ["views used", f"{used} of {len(result.views)}", "", ""],
        ["picture covered", f"{result.coverage:.0%}", "", ""],
    ]
    if result.board_bend.any():
        rows.append(["bend of the board", f"{1e3 * np.abs(result.board_bend).max():.2f}", "", "mm"])
    return console.table(["lens", "value", "± sigma", "unit"], rows, right={"value", "± sigma"})


def _candidates(result: IntrinsicsResult) -> object:
    rows = [
        [c.name, *(_number(*shown) for shown in ((c.focal, 1), (c.rms, 4), (c.held_out_rms, 4))), c.reason or "taken"]
        for c in result.candidates
    ]
    columns = ["model", "focal x px", "rms px", "held-out px", ""]
    return console.table(columns, rows, right=set(columns[1:4]))


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def _facts(result: IntrinsicsResult, files: list[Path], left_out: dict[str, str]) -> dict[str, object]:
    lens = result.intrinsics
    return {
        "file": str(files[-1] if files else ""),
        "files": [str(file) for file in files],
        "model": lens.model,
        "image_size": [lens.width, lens.height],
        "K": lens.K.tolist(),
        "distortion": lens.distortion.tolist(),
        "sigma": _sigma(result),
        "rms_px": result.rms,
        "held_out_rms_px": result.held_out_rms,
        "picture_sigma_px": result.picture_sigma,
        "board_bend_mm": (1e3 * result.board_bend).tolist(),
        "coverage": result.coverage,
        "coverage_map": result.coverage_map.tolist(),
        "tilts_deg": result.tilts_deg.tolist(),
        "models": [
            {
                "model": c.model,
                "coefficients": c.coefficients,
                "rms_px": c.rms,
                "held_out_rms_px": c.held_out_rms,
                "chosen": c.chosen,
                "reason": c.reason,
            }
            for c in result.candidates
        ],
        "views_used": sum(view.used for view in result.views),
        "views": len(result.views),
        "left_out": left_out | {view.name: view.reason for view in result.views if not view.used},
        "next_views": [
            {
                "region": v.region,
                "tilt": v.tilt,
                "tilt_deg": v.tilt_deg,
                "share": v.share,
                "outline": v.outline.tolist(),
                "focal_sigma_px": v.focal_sigma,
            }
            for v in result.next_views
        ],
        "warnings": list(result.warnings),
    }
