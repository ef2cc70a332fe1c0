"""The whole hand-eye calibration without a person: find, calibrate roughly, plan, visit, calibrate.

Either a number of views, planned together, or as many as an accuracy takes, planned one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.values import HandEyeResult, HandEyeView
from calibration.views.candidates import Workcell
from calibration.views.collecting import Observer
from calibration.views.information import Accuracy
from calibration.views.next_view import Enough, Goal
from calibration.views.planning import ViewPlan, plan_views
from calibration.views.searching import find_first_views
from calibration.views.visiting import Confirm, VisitedView, visit_views
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver
from vision_ik.rig import Mount
from vision_ik.types import Floats

_FEWEST = 6
"""Planned views at least, however low the accuracy asked for: fewer say little about how noisy the arm is."""
_ROUNDS = 3
"""Plans made at most: a rough guess may send the board out of the picture."""

Report = Callable[[str, int, int], None]
"""What is going on, views done, views wanted."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AutomaticCalibration:
    """A calibration and how it came about."""

    result: HandEyeResult
    rough: HandEyeResult
    """From the first views alone."""
    plan: ViewPlan | None
    """The first plan; None where views were planned one by one."""
    views: tuple[HandEyeView, ...]
    """The planned views that ``result`` was computed from."""
    steps: tuple[VisitedView, ...] = ()
    """What each view promised and gave, where they were planned one by one."""
    enough: Enough | None = None
    """Whether the accuracy asked for is reached; None where none was, or where somebody said no."""


def calibrate_automatically(
    observe: Observer,
    solver: HybridSolver,
    *,
    mount: Mount = "eye_to_hand",
    n: int = 15,
    accuracy: Accuracy | None = None,
    most: int = 40,
    confirm: Confirm | None = None,
    q_start: Floats | None = None,
    floor: float | None = 0.0,
    seed: int = 0,
    on_progress: Report | None = None,
) -> AutomaticCalibration:
    """Calibrate with an arm that moves by itself; nothing about the camera's place has to be known.

    Args:
        observe: Arm, camera and board.
        solver: Inverse kinematics of the arm.
        mount: Who carries the camera.
        n: Planned views wanted, where no ``accuracy`` is asked for.
        accuracy: Root mean square error to reach with as few views as that takes.
        most: Views taken at most for it.
        confirm: With ``accuracy``, asked before every motion to a planned view; False ends the views.
        q_start: Posture to begin at; where the arm stands by default.
        floor: Height of the table in the base frame [m]; None where there is none.
        seed: Of planning and robust start.
        on_progress: Called with what is going on, views done, and views wanted.

    Raises:
        CalibrationError: The board is not found, or cannot be shown in enough postures.
        TagError: The pictures show another board, or the board mirrored.
        ArmError: The arm refuses.
        FrameReadError: The camera stopped.
    """
    tell = on_progress or _silent
    start = np.asarray(observe.arm.read().q if q_start is None else q_start, dtype=np.float64)
    tell("looking for the board", 0, n)
    try:
        first = find_first_views(observe, observe.robot, solver, start, floor=floor)
    except CalibrationError as error:
        reason = observe.explain_missing()
        if reason is None:
            raise
        raise reason from error
    lens = observe.camera.intrinsics
    rough = calibrate_hand_eye(first, intrinsics=lens, mount=mount, board=observe.board, seed=seed)
    workcell = Workcell(
        solver=solver,
        intrinsics=lens,
        board=observe.board,
        mount=mount,
        T_mount_camera=rough.T_mount_camera,
        T_holder_board=rough.T_holder_board,
        floor=floor,
    )
    if accuracy is None:
        return _planned_together(observe, workcell, first, rough, n, start, seed, tell)
    goal = Goal(accuracy=accuracy, most=most, fewest=min(_FEWEST, most))
    return _one_by_one(observe, workcell, first, rough, goal, start, confirm, seed, tell)


def _one_by_one(
    observe: Observer,
    workcell: Workcell,
    first: list[HandEyeView],
    rough: HandEyeResult,
    goal: Goal,
    start: Floats,
    confirm: Confirm | None,
    seed: int,
    tell: Report,
) -> AutomaticCalibration:
    """Visit the view that tells most, until it is enough."""
    steps: list[VisitedView] = []
    enough: Enough | None = None
    for step in visit_views(
        observe, workcell, first, goal, q=observe.arm.read().q, home=start, confirm=confirm, seed=seed
    ):
        if isinstance(step, Enough):
            enough = step
            continue
        steps.append(step)
        seen = sum(done.view is not None for done in steps)
        tell(step.proposal.sentence, seen, seen + step.proposal.left - (step.view is not None))
    views = tuple(step.view for step in steps if step.view is not None)
    result = steps[-1].result if steps else rough
    return AutomaticCalibration(result=result, rough=rough, plan=None, views=views, steps=tuple(steps), enough=enough)


def _planned_together(
    observe: Observer,
    workcell: Workcell,
    first: list[HandEyeView],
    rough: HandEyeResult,
    n: int,
    start: Floats,
    seed: int,
    tell: Report,
) -> AutomaticCalibration:
    """Plan ``n`` views, visit them, and plan again for those in which the board was lost.

    Raises:
        CalibrationError: The board is lost too often.
    """
    lens, mount, guess = workcell.intrinsics, workcell.mount, rough
    views: list[HandEyeView] = []
    plan: ViewPlan | None = None
    for round_ in range(_ROUNDS):
        tell("planning views", len(views), n)
        latest = plan_views(
            workcell.solver.robot,
            workcell.solver,
            lens,
            workcell.board,
            T_mount_camera=guess.T_mount_camera,
            T_holder_board=guess.T_holder_board,
            mount=mount,
            n=n - len(views),
            q_start=start if not views else observe.arm.read().q,
            joint_covariance=guess.joint_covariance if views else None,
            guess_covariance=guess.joint_covariance,
            pixel_sigma=rough.sight_sigma,
            floor=workcell.floor,
            seed=seed + round_,
        )
        plan = plan or latest
        for way in latest.ways:
            tell("visiting planned views", len(views), n)
            view = observe(way).view
            if view is not None:
                views.append(view)
        if len(views) >= n:
            break
        known = views if len(views) > 5 else [*first, *views]
        guess = calibrate_hand_eye(known, intrinsics=lens, mount=mount, board=observe.board, seed=seed)
    tell("solving", len(views), n)
    if plan is None or len(views) < n:
        raise CalibrationError(
            f"The board was seen in {len(views)} of {n} views after {_ROUNDS} plans.",
            "Check that the board sits firmly, that light is even, and that the camera stands still.",
            seen=len(views),
        )
    result = calibrate_hand_eye(views, intrinsics=lens, mount=mount, board=observe.board, seed=seed)
    return AutomaticCalibration(result=result, rough=rough, plan=plan, views=tuple(views))


def _silent(_doing: str, _done: int, _wanted: int) -> None:
    """Say nothing."""
