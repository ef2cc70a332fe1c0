"""What to do next, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calibration.wizard.events import Command, Question
from calibration.wizard.steps import Step

_SETUP: tuple[Question, ...] = (
    Question(
        name="robot",
        text="Which arm is it? A name of the catalogue (`vision-ik robots` lists them), or the path of a URDF.",
    ),
    Question(
        name="mount",
        text="Who carries the camera? eye_to_hand: it stands still, the flange carries the board; eye_in_hand: the "
        "flange carries the camera, the board stands still.",
        choices=("eye_to_hand", "eye_in_hand"),
        default="eye_to_hand",
    ),
)
_BOARD: tuple[Question, ...] = (
    Question(
        name="board",
        text="Which board is shown? Its kind, columns, rows and sizes, as a table of rig.toml describes it.",
    ),
    Question(
        name="edge_mm",
        text="Print the board at 100 % and measure its width: how many millimetres? 0 takes it as drawn.",
        default=0.0,
        unit="mm",
    ),
)
_FOR_THE_LENS = (
    "Show the board large, filling half of the picture, facing the camera.",
    "Tilt the board by 20 to 45 degrees to the left, then to the right.",
    "Tilt the board by 20 to 45 degrees forwards, then backwards.",
    "Show the board in the four corners of the picture, up to its rim.",
)


def question_of(step: Step, goal: str, answers: Mapping[str, Any]) -> Question | None:
    """Return the next question of a step; None when all are answered."""
    asked = {Step.SETUP: _SETUP, Step.BOARD: _BOARD}.get(step, ())
    if goal in ("camera", "tool"):
        asked = tuple(question for question in asked if question.name != "mount")
    return next((question for question in asked if question.name not in answers), None)


def next_for_lens(count: int, advice: str) -> str:
    """Return what to show for the lens after ``count`` pictures.

    Args:
        count: Pictures taken.
        advice: What the lens itself asks for; empty while there is none.
    """
    return f"Show the board {advice}." if advice else _FOR_THE_LENS[min(count // 2, len(_FOR_THE_LENS) - 1)]


def next_pose(count: int, mount: str, spread_deg: float, hint: str) -> str:
    """Return how a person should move the arm next.

    Args:
        count: Views taken.
        mount: Who carries the camera.
        spread_deg: How far the flange was turned about its second axis so far, root mean square.
        hint: What the calibration itself lacks; empty when nothing.
    """
    what = (
        "the board faces the camera and fills half of the picture"
        if mount == "eye_to_hand"
        else ("the camera sees the whole board, large")
    )
    if count == 0:
        return f"Move the arm until {what}, let it rest, and take the first view."
    if hint:
        return hint
    if count < 4 or spread_deg < 12.0:
        axis = ("one side", "the other side", "yourself", "the far side")[count % 4]
        return f"Tilt the flange by about 30 degrees towards {axis}, so that the board stays in the picture."
    place = ("nearer to", "farther from", "left of", "right of", "above", "below")[count % 6]
    return (
        f"Turn the flange by about 60 degrees about its own axis, and move it to a place {place} the last one, tilted "
        "by 30 degrees."
    )


COMMANDED: Mapping[Step, tuple[Command, str]] = {
    Step.CAMERA: (Command.FIT_LENS, "Compute the lens from the pictures."),
    Step.SOLVE: (Command.SOLVE, "Compute where the camera is."),
    Step.CHECK: (Command.CHECK, "Compare the result with views that it was not computed from."),
    Step.TOOL: (Command.FIT_TOOL, "Compute where the tool is."),
    Step.SAVE: (Command.SAVE, "Write the results into the rig; what was there before is kept."),
}
"""What needs no person, and is done by a command."""
