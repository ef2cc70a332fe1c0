"""``vision-ik calibrate camera``: views in, lens out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calibration import IntrinsicsResult, calibrate_intrinsics, read_observations
from calibration.corners import better_corners
from vision_ik.cameras import open_camera
from vision_ik.cli import console
from vision_ik.cli.calibrate import CameraOptions
from vision_ik.cli.calibrate_rig import hint_at_tag_size, require_board, rig_and_robot, write_lens
from vision_ik.cli.main import EXIT_OK
from vision_ik.errors import CalibrationError
from vision_ik.tags import detect_board
from vision_ik.types import Board, BoardDetection

_MOVED_SHARE = 0.06
"""Of the image width: a view whose board moved less than this since the last one taken adds little."""
_STILL_SHARE = 0.004
"""Of the image width: a board that moves more between two pictures is blurred."""
_FEWEST_CORNERS = 8
_DEFAULT_ROBOT = "panda"
"""The lens does not depend on the arm, so a new rig may do without being told."""


def calibrate_camera(options: CameraOptions) -> int:
    """Find the board in all pictures, fit the lens, print it, and write it."""
    rig, _ = rig_and_robot(options, default_robot=_DEFAULT_ROBOT)
    board: Board | None = None
    with console.Stages() as stages:
        if options.from_ is not None and (options.from_.suffix == ".json"):
            with stages.stage("Read the views") as stage:
                read = read_observations(options.from_)
                detections, size = [view.detection for view in read.views], read.image_size
                stage.update(f"{len(detections)} views")
        else:
            board = require_board(options, rig)
            with stages.stage("Find the board") as stage:
                detections, size = _detect(options, board, stage)
        with stages.stage("Fit the lens"):
            result = calibrate_intrinsics(
                detections, image_size=size, model=options.model, coefficients=options.coefficients
            )
            better = detections if board is None else better_corners(detections, board, result.intrinsics)
            if better != detections:
                result = calibrate_intrinsics(
                    better, image_size=size, model=options.model, coefficients=options.coefficients
                )
    file = write_lens(rig, options, result.intrinsics, board)
    _present(result, file, options)
    hint_at_tag_size(rig)
    return EXIT_OK


def _detect(options: CameraOptions, board: Board, stage: console.Stage) -> tuple[list[BoardDetection], tuple[int, int]]:
    """Return the views of the board in a folder or stream, and the size of the pictures."""
    source = str(options.from_ or options.source)
    taken: list[BoardDetection] = []
    size = (0, 0)
    looked = 0
    before: BoardDetection | None = None
    with open_camera(source) as camera:
        every = options.from_ is not None
        while not camera.ended and (every or len(taken) < options.views):
            frame = camera.read(timeout=1.0)
            if frame is None:
                continue
            looked += 1
            if size not in ((0, 0), (frame.image.shape[1], frame.image.shape[0])):
                raise CalibrationError(
                    f"Picture {frame.index} has another size than those before it.",
                    "Use pictures of one camera at one resolution.",
                )
            size = (int(frame.image.shape[1]), int(frame.image.shape[0]))
            detection = detect_board(frame, board)
            if detection is not None and len(detection.points_image) >= _FEWEST_CORNERS:
                if every or _worth_taking(detection, before, taken, size[0]):
                    taken.append(detection)
                before = detection
            stage.update(f"{len(taken)} views in {looked} pictures", completed=len(taken), total=options.views)
    return taken, size


def _worth_taking(
    detection: BoardDetection, before: BoardDetection | None, taken: list[BoardDetection], width: int
) -> bool:
    """Return whether the board stands still, and somewhere else than in the views taken."""
    if before is None or _shift(detection, before) > _STILL_SHARE * width:
        return False
    return all(_shift(detection, other) > _MOVED_SHARE * width for other in taken[-3:])


def _shift(a: BoardDetection, b: BoardDetection) -> float:
    """Return the mean distance of the corners both views show [px], infinite when they share none."""
    places = {tuple(point): pixel for point, pixel in zip(b.points_board.tolist(), b.points_image, strict=True)}
    distances = [
        float(np.linalg.norm(pixel - places[tuple(point)]))
        for point, pixel in zip(a.points_board.tolist(), a.points_image, strict=True)
        if tuple(point) in places
    ]
    return float(np.mean(distances)) if distances else float("inf")


def _present(result: IntrinsicsResult, file: Path, options: CameraOptions) -> None:
    lens = result.intrinsics
    covariance = lens.covariance
    sigma = np.full(4 + len(lens.distortion), np.nan) if covariance is None else np.sqrt(np.diag(covariance))
    values = [lens.K[0, 0], lens.K[1, 1], lens.K[0, 2], lens.K[1, 2], *lens.distortion]
    used = sum(view.used for view in result.views)
    if options.json:
        console.write_json(
            {
                "file": str(file),
                "model": lens.model,
                "image_size": [lens.width, lens.height],
                "K": lens.K.tolist(),
                "distortion": lens.distortion.tolist(),
                "sigma": sigma.tolist(),
                "rms_px": result.rms,
                "held_out_rms_px": result.held_out_rms,
                "coverage": result.coverage,
                "views_used": used,
                "views": len(result.views),
                "warnings": list(result.warnings),
            }
        )
    else:
        names = ["focal x", "focal y", "centre x", "centre y", *(f"distortion {i + 1}" for i in range(len(values) - 4))]
        digits = [1] * 4 + [4] * (len(values) - 4)
        rows = [
            [name, f"{value:.{d}f}", f"{s:.{d + 1}f}", "px" if i < 4 else ""]
            for i, (name, value, s, d) in enumerate(zip(names, values, sigma, digits, strict=True))
        ]
        rows += [
            ["rms", f"{result.rms:.3f}", "", "px"],
            ["rms, held-out views", f"{result.held_out_rms:.3f}", "", "px"],
            ["views used", f"{used} of {len(result.views)}", "", ""],
            ["picture covered", f"{result.coverage:.0%}", "", ""],
        ]
        console.results().print(console.table(["lens", "value", "± sigma", "unit"], rows, right={"value", "± sigma"}))
    for warning in result.warnings:
        console.warn(warning)
    console.say(f"Written to {file}.")
