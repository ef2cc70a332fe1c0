"""Taking the views with an arm that moves by itself: find the board, plan, visit, until there are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.values import HandEyeResult, HandEyeView
from calibration.views.collecting import Observer, Sighting
from calibration.views.planning import plan_views
from calibration.views.searching import find_first_views
from calibration.wizard.events import Picture, Role
from calibration.wizard.machine import Wizard
from calibration.wizard.steps import Step
from calibration.wizard.work import guess_lens
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver
from vision_ik.types import CameraIntrinsics, Floats, JointState

_ROUNDS = 4
"""Plans made at most: a rough guess may send the board out of the picture."""
_FEWEST_ROUGH = 4
_ALONE = 6
"""Views from which the planned ones alone serve for the next plan."""
_BEFORE_LENS = 6
"""Views that are visited before the plan is made anew, while the lens is guessed."""

Report = Callable[[str, int, int], None]
"""What is going on, views done, views wanted."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Guess:
    """What is known well enough to plan with."""

    lens: CameraIntrinsics
    sure: bool
    """Whether the lens was computed, not only supposed."""
    result: HandEyeResult
    alone: bool
    """Whether the result is from planned views alone, so that its covariance counts."""


def drive(
    wizard: Wizard,
    observe: Observer,
    solver: HybridSolver,
    *,
    floor: float | None = 0.0,
    on_progress: Report | None = None,
) -> None:
    """Let the arm take all the views that the wizard wants for the calibration, and for its check.

    Views taken by an earlier run count; the search for the board is left out where they tell where it is.

    Args:
        wizard: At the step of the views, or before it.
        observe: Arm, camera and board.
        solver: Inverse kinematics of the arm.
        floor: Height of the table in the base frame [m]; None where there is none.
        on_progress: Called with what is going on, views done, and views wanted.

    Raises:
        CalibrationError: The board is not found, or cannot be shown in enough postures.
        TagError: The pictures show another board, or the board mirrored.
        ArmError: The arm refuses.
        FrameReadError: The camera stopped.
        RecordingError: A view could not be kept.
    """
    tell = on_progress or _silent
    wanted = int(wizard.setting("views"))
    start = observe.arm.read().q
    size = observe.camera.intrinsics.width, observe.camera.intrinsics.height
    guess = _guess(wizard, size)
    if guess is None:
        tell("looking for the board", 0, wanted)
        _search(wizard, observe, solver, start, floor)
        guess = _guess(wizard, size)
    for round_ in range(_ROUNDS):
        if guess is None:
            raise CalibrationError(
                "The first views do not tell where the camera is, not even roughly.",
                "Start from a posture in which the camera sees the whole board, large, with room around it.",
            )
        missing = wanted - len(wizard.state.of("views"))
        if wizard.is_done(Step.VIEWS) and missing <= 0:
            break
        now = missing if guess.sure else min(missing, _BEFORE_LENS)
        tell("planning views", wanted - missing, wanted)
        _visit(wizard, observe, solver, guess, now, "views", floor, seed=wizard.seed + round_, tell=tell)
        if wizard.is_done(Step.VIEWS):
            break
        guess = _guess(wizard, size)
    if not wizard.is_done(Step.VIEWS):
        seen = len(wizard.state.of("views"))
        raise CalibrationError(
            f"The board was seen in {seen} of {wanted} views after {_ROUNDS} plans.",
            "Check that the board sits firmly, that light is even, and that the camera stands still.",
            seen=seen,
        )
    guess = _guess(wizard, size)
    checks = int(wizard.setting("checks")) - len(wizard.state.of("checks")) if Step.CHECK in wizard.steps else 0
    if checks > 0 and guess is not None:
        tell("planning views for the check", wanted, wanted)
        _visit(wizard, observe, solver, guess, checks, "checks", floor, seed=wizard.seed + 100, tell=tell)


def _guess(wizard: Wizard, size: tuple[int, int]) -> Guess | None:
    """Return what the views so far tell, None where they do not."""
    names = (*wizard.state.of("rough"), *wizard.state.of("views"))
    if len(names) < _FEWEST_ROUGH:
        return None
    lens, sure = wizard.lens, True
    if lens is None:
        lens, sure = guess_lens(wizard.evidence, names, wizard.document.taken, size)
    views: list[HandEyeView] = wizard.posed_views("views")
    alone = len(views) >= _ALONE
    try:
        result = calibrate_hand_eye(
            views if alone else wizard.posed_views("rough", "views"),
            intrinsics=lens,
            mount=wizard.mount,
            board=wizard.evidence.board,
            seed=wizard.seed,
        )
    except CalibrationError:
        return None
    return Guess(lens=lens, sure=sure, result=result, alone=alone)


def _search(wizard: Wizard, observe: Observer, solver: HybridSolver, start: Floats, floor: float | None) -> None:
    """Find the board, and turn it a little; each view is kept."""

    def look(way: Floats) -> Sighting:
        sighting = observe(way)
        _keep(wizard, sighting, "rough")
        return sighting

    try:
        find_first_views(look, observe.robot, solver, start, floor=floor)
    except CalibrationError as error:
        reason = observe.explain_missing()
        if reason is None:
            raise
        raise reason from error


def _visit(
    wizard: Wizard,
    observe: Observer,
    solver: HybridSolver,
    guess: Guess,
    count: int,
    role: Role,
    floor: float | None,
    *,
    seed: int,
    tell: Report,
) -> None:
    """Plan views and take them."""
    planned = plan_views(
        observe.robot,
        solver,
        guess.lens,
        observe.board,
        T_mount_camera=guess.result.T_mount_camera,
        T_holder_board=guess.result.T_holder_board,
        mount=wizard.mount,
        n=count,
        q_start=observe.arm.read().q,
        joint_covariance=guess.result.joint_covariance if guess.alone and role == "views" else None,
        floor=floor,
        seed=seed,
    )
    wanted = int(wizard.setting("views" if role == "views" else "checks"))
    for way in planned.ways:
        foretold = wizard.predicted()
        sure = f", ± {foretold[-1][1]:.2f} mm foretold" if foretold and role == "views" else ""
        doing = "visiting planned views" if role == "views" else "visiting views for the check"
        tell(f"{doing}{sure}", len(wizard.state.of(role)), wanted)
        _keep(wizard, observe(np.asarray(way)), role)
        if role == "views" and wizard.is_done(Step.VIEWS):
            return


def _keep(wizard: Wizard, sighting: Sighting, role: Role) -> None:
    if sighting.detection is None:
        return
    q = sighting.q
    joints = JointState(
        names=tuple(wizard.robot.joint_names), q=q, dq=np.zeros_like(q), timestamp=sighting.frame.timestamp
    )
    wizard.handle(Picture(frame=sighting.frame, joints=joints, detection=sighting.detection, role=role))


def _silent(_doing: str, _done: int, _wanted: int) -> None:
    """Say nothing."""
