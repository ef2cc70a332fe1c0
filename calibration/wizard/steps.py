"""The steps of a calibration, their order, and which results make which others old."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, TypeAlias

Goal: TypeAlias = Literal["camera", "hand-eye", "all", "tool"]


class Step(StrEnum):
    """One step; the value is what files and pages call it."""

    SETUP = "set-up"
    BOARD = "board"
    CAMERA = "camera"
    VIEWS = "views"
    SOLVE = "hand-eye"
    CHECK = "check"
    TOUCHES = "touches"
    TOOL = "tool"
    SAVE = "save"


TITLES: Mapping[Step, str] = {
    Step.SETUP: "Say what there is",
    Step.BOARD: "Print the board, measure an edge",
    Step.CAMERA: "Compute the lens",
    Step.VIEWS: "Take views with the arm",
    Step.SOLVE: "Compute where the camera is",
    Step.CHECK: "Check it on views of its own",
    Step.TOUCHES: "Touch one point with the tool",
    Step.TOOL: "Compute where the tool is",
    Step.SAVE: "Write the rig",
}

_GOALS: Mapping[Goal, tuple[Step, ...]] = {
    "camera": (Step.SETUP, Step.BOARD, Step.CAMERA, Step.SAVE),
    "hand-eye": (Step.SETUP, Step.BOARD, Step.CAMERA, Step.VIEWS, Step.SOLVE, Step.SAVE),
    "all": (Step.SETUP, Step.BOARD, Step.CAMERA, Step.VIEWS, Step.SOLVE, Step.CHECK, Step.SAVE),
    "tool": (Step.SETUP, Step.TOUCHES, Step.TOOL, Step.SAVE),
}

CHANGED: Mapping[str, str] = {
    "board": "the board is another",
    "print": "the print was measured anew",
    "camera": "the camera is another",
    "lens": "the lens is another",
    "mount": "the camera is mounted otherwise",
    "robot": "the arm is another",
    "pictures": "the pictures are others",
    "views": "the views are others",
    "hand-eye": "the result is another",
    "tolerance": "the tolerance is another",
    "touches": "the touches are others",
    "direction": "the points behind the tip are others",
    "tool": "the tool is another",
}
"""What is said of an input that changed after a step was done."""


def steps_of(goal: Goal, *, lens_from_views: bool) -> tuple[Step, ...]:
    """Return the steps that lead to a goal, in order.

    Args:
        goal: What shall be known in the end.
        lens_from_views: Whether the lens is computed from the arm's own views, and thus after them.
    """
    steps = _GOALS[goal]
    if not lens_from_views or Step.VIEWS not in steps:
        return steps
    early = [step for step in steps if step is not Step.CAMERA]
    early.insert(early.index(Step.VIEWS) + 1, Step.CAMERA)
    return tuple(early)


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words which inputs of a step are others than when it was done; empty when none."""
    names = [name for name in now if before.get(name, "") != now[name]]
    return " and ".join(CHANGED.get(name, f"the {name} is another") for name in names)
