"""Calibrations from files of other software, and the page about a calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.files.contents import PosePairs
from calibration.files.observations import described_board as board_in_files
from calibration.hand_eye.solving import calibrate_hand_eye_poses
from calibration.report.page import write_facts_report
from calibration.wizard import Step, Wizard
from calibration.wizard.results import hand_eye_facts, told_of_hand_eye
from calibration.wizard.saving import now, provenance_of, write_results
from calibration.wizard.work import measured
from vision_ik.cli import console
from vision_ik.cli.calibrate import AllOptions, ArmOptions, HandEyeOptions
from vision_ik.cli.calibrate_report import present_facts
from vision_ik.cli.calibrate_rig import described_board, known_board
from vision_ik.cli.main import EXIT_OK
from vision_ik.cli.run_report import command_line
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel
from vision_ik.types import Board, CameraIntrinsics, Image

_PAGE = "report.html"


def board_of_files(options: ArmOptions, rig: Rig, path: Path) -> Board | None:
    """Return the board that the options describe, else the files of views, else the rig; None where nobody does.

    Raises:
        ConfigError: It is described in part, or the files are malformed.
    """
    board = described_board(options)
    if board is not None:
        return board
    told = board_in_files(path)
    return known_board(options, rig) if told is None else measured(told, options.measured_edge_mm)


def calibrate_pairs(
    options: HandEyeOptions | AllOptions, rig: Rig, robot: RobotModel, pairs: PosePairs, path: Path
) -> int:
    """Calibrate from pairs of poses, print the result, and write it into the rig.

    Raises:
        CalibrationError: They do not determine where the camera is.
        RecordingError: The rig could not be written.
    """
    mount = options.mount or pairs.mount or rig.mount
    result = calibrate_hand_eye_poses(pairs.Ts_base_flange, pairs.Ts_camera_board, mount=mount)
    facts = hand_eye_facts(result, rig.intrinsics or CameraIntrinsics.from_field_of_view(640, 480))
    for told in ("lens", "focal_px", "focal_sigma_px"):
        del facts[told]  # poses say nothing of it
    facts["lens_refined"] = False
    taken = [{"T_base_flange": T.tolist()} for T in pairs.Ts_base_flange]
    origin = provenance_of(
        taken,
        source=str(path.resolve()),
        options={"goal": "hand-eye", "seed": 0},
        robot_hash=robot.hash,
        mount=mount,
        **told_of_hand_eye(facts),
    )
    file = options.rig if options.rig.suffix == ".toml" else options.rig / "rig.toml"
    with Wizard(options.rig, goal="hand-eye", template=rig) as wizard:
        written, kept = write_results(
            replace(rig, robot_hash=robot.hash), file, hand_eye=facts, provenance={"hand_eye": origin}, origin=path.name
        )  # fmt: skip
        saved = {"file": str(written), "kept": kept, "when": now()}
        wizard.record(Step.SAVE, saved, f"writing the result of {path.name}", inputs={"hand-eye": str(path.resolve())})
    present_facts(facts, written, as_json=options.json)
    page = _place(options)
    if page is not None:
        write_facts_report(
            page, facts, [], Ts_base_flange=pairs.Ts_base_flange, provenance=origin, command=command_line()
        )  # fmt: skip
        console.say(f"The page about it is {page}.")
    return EXIT_OK


def write_page(wizard: Wizard, options: HandEyeOptions | AllOptions, remarks: Sequence[str] = ()) -> None:
    """Write the page about the calibration that a wizard has done, where one is wanted.

    Args:
        wizard: It.
        options: What was asked for.
        remarks: What was warned of while views were taken.

    Raises:
        RecordingError: It could not be written.
    """
    page, facts = _place(options), wizard.outcome(Step.SOLVE)
    if page is None or facts is None:
        return
    views = {view.name: view for view in wizard.posed_views("views")}
    provenance: dict[str, Any] = dict(facts.get("provenance", {}))
    write_facts_report(
        page,
        facts,
        [views[report["name"]] for report in facts["views"]],
        check=wizard.outcome(Step.CHECK) if Step.CHECK in wizard.steps else None,
        provenance=provenance,
        left_out=wizard.view.rejected,
        warnings=[*wizard.view.warnings, *remarks],
        overlay=_overlay(wizard),
        command=command_line(),
    )
    console.say(f"The page about it is {page}.")


def _overlay(wizard: Wizard) -> Image | None:
    """Return the picture that the result was laid over; None where arm and camera did not check this very result."""
    check = wizard.outcome(Step.CHECK) if Step.CHECK in wizard.steps else None
    file = wizard.folder / "overlay.png"
    if check is None or "further" not in check or not file.is_file():
        return None
    picture = cv2.imread(str(file))
    return None if picture is None else picture.astype(np.uint8, copy=False)


def _place(options: HandEyeOptions | AllOptions) -> Path | None:
    """Return the file of the page; None where none is wanted."""
    if options.report is not None or not isinstance(options, AllOptions):
        return options.report
    folder = options.rig.parent if options.rig.suffix == ".toml" else options.rig
    return folder / "calibration" / _PAGE
