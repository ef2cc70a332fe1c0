"""Whether a picture is worth keeping, and what commands change about those that were kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration.lens.views import shift
from calibration.wizard.events import Command, Picture, Role, Touch, Verdict
from calibration.wizard.evidence import short
from calibration.wizard.state import Record, State
from calibration.wizard.steps import Step
from vision_ik.errors import CalibrationError, ConfigError, TagError
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection

if TYPE_CHECKING:
    from calibration.wizard.machine import Wizard

_STILL_SHARE = 0.004
"""Of the picture's width: a board that moves more between two pictures is blurred."""
_MOVED_SHARE = 0.06
"""Of the width: a live picture whose board moved less since the last ones taken adds little to a lens."""
_STILL_JOINT = 0.01
"""[rad/s], [m/s] Joints that are faster are not at rest."""
_TURNED = np.deg2rad(5.0)
_MOVED = 0.02
"""[m] A flange that turned and moved less since a view taken adds little."""
_LAST = 3
"""Pictures taken, that a live one is compared with."""


class Live:
    """What the live picture before this one showed."""

    def __init__(self) -> None:
        self.before: BoardDetection | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Taken:
    """What came of a picture."""

    verdict: Verdict
    role: Role | None = None
    """None: it is not kept."""
    detection: BoardDetection | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def judged(wizard: Wizard, event: Picture, live: Live) -> Taken:
    """Return whether a picture is kept, and for what.

    Raises:
        CalibrationError: It measures otherwise than those before.
        TagError: It shows another board than told, or the board mirrored (a live picture gets a verdict instead).
        ConfigError: The arm or the board is unknown.
    """
    T_base_flange = flange_pose(wizard, event)
    if T_base_flange is None:
        role: Role = "camera"
    else:
        role = event.role or ("checks" if wizard.step is Step.CHECK else "views")
    size = int(event.frame.image.shape[1]), int(event.frame.image.shape[0])
    before = wizard.state.of(role)
    if before and tuple(wizard.document.taken[before[0]]["size"]) != size:
        there = "x".join(map(str, wizard.document.taken[before[0]]["size"]))
        raise CalibrationError(
            f"The picture measures {size[0]}x{size[1]} px, those before it {there}.",
            "Set the camera to the size used before, or repeat the step (repeat views, repeat camera).",
        )
    stale = wizard.staleness(Step.VIEWS) if role != "camera" else ""
    if stale or (before and role == "camera" and wizard.document.taken[before[0]].get("of") != wizard.shown):
        raise CalibrationError(
            f"Pictures were taken before, but {stale or 'the board or the camera is another'} now.",
            "Repeat the step (repeat views, repeat camera), or answer as before.",
        )
    try:
        found = event.detection or wizard.evidence.look(event.frame)
    except TagError as error:
        if event.take:
            raise
        return _refused(str(error))
    last, live.before = live.before, found
    if found is None:
        return _refused("The board was not found in the picture.")
    if not event.take:
        reason = _not_now(wizard, event, found, last, T_base_flange, role)
        if reason:
            return _refused(reason)
    facts: dict[str, Any] = {
        "size": list(size),
        "timestamp": event.frame.timestamp,
        "T_base_flange": None if T_base_flange is None else T_base_flange.matrix.tolist(),
        "q": None if event.joints is None else event.joints.q.tolist(),
        "twist": None if event.twist is None else np.asarray(event.twist).tolist(),
        "corners_found": len(found.points_image),
    }
    said = f"Taken: {len(found.points_image)} corners."
    verdict = Verdict(name="", taken=True, sentence=said)
    return Taken(verdict=verdict, role=role, detection=found, facts=facts)


def changed(wizard: Wizard, command: Command, subject: str) -> State:
    """Return the state after a command that changes what counts.

    Raises:
        ConfigError: There is no such view or step.
    """
    state = wizard.state
    if command is Command.ENOUGH:
        enough = wizard.step if not subject else _step(wizard, subject)
        if enough is Step.VIEWS and not state.of("views"):
            raise ConfigError("There is no view yet.", "Take views first: 15 well-spread ones are good.")
        return state.answering(f"enough_{enough}", True)
    if command is Command.RESTART:
        kept = {key: value for key, value in state.answers.items() if key not in _OF_THE_VIEWS}
        return State(answers=kept, did="starting anew")
    if command is Command.DISCARD:
        return _discarded(state, subject)
    step = _step(wizard, subject)
    if command is Command.KEEP:
        record = state.records.get(wizard.key(step))
        if record is None:
            raise ConfigError(f"The step {step} has not been done.", "Do it first.")
        inputs = wizard.inputs(step, given="given" in record.inputs)
        return state.recording(wizard.key(step), Record(inputs=inputs, outcome=record.outcome), f"keeping {step}")
    state = state.recording(wizard.key(step), None, f"repeating {step}")
    drop = {
        Step.SETUP: ("robot", "mount"),
        Step.BOARD: ("board", "edge_mm"),
        Step.VIEWS: _OF_THE_VIEWS,
        Step.TOUCHES: ("enough_touches",),
    }.get(step, ())
    roles = {
        Step.CAMERA: ("camera",),
        Step.VIEWS: ("views", "rough"),
        Step.CHECK: ("checks",),
        Step.TOUCHES: ("touches",),
    }.get(step, ())
    return replace(
        state,
        answers={key: value for key, value in state.answers.items() if key not in drop},
        views={role: names for role, names in state.views.items() if role not in roles},
    )


_OF_THE_VIEWS = ("enough_views", "enough_check", "enough_camera", "enough_touches", "source", "remarks")


def _discarded(state: State, subject: str) -> State:
    for role in ("views", "camera", "checks", "touches"):
        names = state.of(role)
        for name in names:
            if subject in (name, short(name), name.rpartition("/")[2]):
                kept = tuple(other for other in names if other != name)
                left_out = {**state.left_out, short(name): "you left it out"}
                return replace(state.viewing(role, kept, f"leaving out {short(name)}"), left_out=left_out)
    known = ", ".join(short(name) for name in state.of("views")) or "none"
    raise ConfigError(f"There is no view {subject!r}.", f"The views are: {known}.")


def _step(wizard: Wizard, subject: str) -> Step:
    try:
        return Step(subject)
    except ValueError:
        known = ", ".join(wizard.steps)
        raise ConfigError(f"There is no step {subject!r}.", f"The steps are: {known}.") from None


def flange_pose(wizard: Wizard, event: Picture | Touch) -> Transform | None:
    """Return where the flange was, None where nobody knows.

    Raises:
        ConfigError: The arm reports other joints than the robot model has.
    """
    if event.T_base_flange is not None:
        return event.T_base_flange
    if event.joints is None:
        return None
    robot = wizard.robot
    if len(event.joints.q) != robot.n:
        raise ConfigError(
            f"The arm reports {len(event.joints.q)} joints, and {robot.name} has {robot.n}.",
            "Name the arm that is there: answer robot anew.",
        )
    return Transform(robot.forward(event.joints.q))


def _refused(reason: str) -> Taken:
    return Taken(verdict=Verdict(name="", taken=False, sentence=reason))


def _not_now(
    wizard: Wizard,
    event: Picture,
    found: BoardDetection,
    before: BoardDetection | None,
    T_base_flange: Transform | None,
    role: Role,
) -> str:
    """Return why a live picture is not taken; empty when it is."""
    width = event.frame.image.shape[1]
    if before is None or shift(found, before) > _STILL_SHARE * width:
        return "Hold still: the board moves in the picture."
    if event.joints is not None and float(np.abs(event.joints.dq).max()) > _STILL_JOINT:
        return "Hold still: the arm moves."
    if T_base_flange is None:
        others = wizard.evidence.detections(wizard.state.of(role)[-_LAST:], wizard.document.taken).values()
        near = any(shift(found, other) < _MOVED_SHARE * width for other in others)
    else:
        poses = [Transform(np.array(wizard.document.taken[name]["T_base_flange"])) for name in wizard.state.of(role)]
        gaps = [T_base_flange.distance_to(pose) for pose in poses]
        near = any(metres < _MOVED and angle < _TURNED for metres, angle in gaps)
    return "There is a view from here already: move on." if near else ""
