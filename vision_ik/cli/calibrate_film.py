"""Pictures for a lens from a live camera, taken as a person moves the board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calibration import IntrinsicsResult
from calibration.wizard import Answers, Command, Do, Picture, Step, Wizard
from vision_ik.cameras import open_camera
from vision_ik.cli import console
from vision_ik.cli.calibrate import CameraOptions
from vision_ik.cli.calibrate_pictures import Views
from vision_ik.cli.calibrate_rig import require_board
from vision_ik.errors import CalibrationError
from vision_ik.layouts import board_table
from vision_ik.rig import Rig
from vision_ik.types import Board, Camera

COEFFICIENTS = 5
"""Of a pinhole lens, where nobody tells."""


def film(wizard: Wizard, camera: Camera, stage: console.Stage) -> None:
    """Take pictures for the lens by themselves, each time the board stands still somewhere new.

    Raises:
        CameraError: The camera is gone.
        RecordingError: A picture could not be kept.
    """
    view = wizard.view
    while view.wants == "picture":
        if camera.ended:
            wizard.handle(Do(Command.ENOUGH))
            return
        frame = camera.read(timeout=1.0)
        if frame is not None:
            view = wizard.handle(Picture(frame=frame, take=False))
            said = view.verdict.sentence if view.verdict is not None and not view.verdict.taken else ""
            stage.update(f"{view.done} of {view.wanted}. {said} {view.todo}", completed=view.done, total=view.wanted)


def film_lens(options: CameraOptions, rig: Rig) -> tuple[IntrinsicsResult, Views, Path]:
    """Compute the lens as a person moves the board; each picture is kept beside the rig at once.

    Pictures of a run that was interrupted count, while they are of this board and camera.

    Returns:
        The lens, what is known of board and pictures, and the rig that was written.

    Raises:
        VisionIkError: The board was not seen, the pictures determine no lens, or something cannot be written.
    """
    board = require_board(options, rig)
    with Wizard(options.rig, goal="camera", template=rig) as wizard:
        wizard.handle(Answers(_answers(options, rig, board)))
        names = wizard.state.of("camera")
        others = [name for name in names if wizard.document.taken[name].get("of") != wizard.shown]
        if names and (others or wizard.is_done(Step.CAMERA)):
            wizard.handle(Do(Command.REPEAT, Step.CAMERA))
        elif names:
            console.say(f"Going on with {len(names)} pictures that were taken before.")
        with console.Stages() as stages:
            with stages.stage("Take pictures", total=options.views) as stage:
                with open_camera(options.source, settings=options.device.settings()) as camera:
                    film(wizard, camera, stage)
                if not wizard.state.of("camera"):
                    raise wizard.evidence.explain_missing() or CalibrationError(
                        "The board was seen in no picture.", "Check its kind, columns, rows and family, and the light."
                    )
            with stages.stage("Fit the lens"):
                wizard.handle(Do(Command.FIT_LENS))
        result, shown = wizard.lens_result, wizard.evidence
        if result is None:
            raise CalibrationError("The lens was not computed.", "Run the same command again.")
        file = Path(wizard.handle(Do(Command.SAVE)).results["save"]["file"])
        views = Views(
            pictures=[],
            size=(result.intrinsics.width, result.intrinsics.height),
            board=shown.board or board,
            remarks=shown.remarks,
        )
    return result, views, file


def _answers(options: CameraOptions, rig: Rig, board: Board) -> dict[str, Any]:
    """Return what the options tell the wizard of the lens."""
    return {
        "robot": {"robot": rig.robot, "base": rig.base, "tip": rig.tip},
        "board": board_table(board),
        "edge_mm": 0.0,
        "camera": options.source,
        "source": options.source,
        "pictures": options.views,
        "model": options.model,
        "coefficients": options.coefficients or COEFFICIENTS,
        "enough_camera": False,
    }
