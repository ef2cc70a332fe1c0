"""The whole hand-eye calibration without a person: find, calibrate roughly, plan, visit, calibrate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.values import HandEyeResult, HandEyeView
from calibration.views.collecting import Observer
from calibration.views.planning import ViewPlan, plan_views
from calibration.views.searching import find_first_views
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver
from vision_ik.rig import Mount
from vision_ik.types import Floats

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
    plan: ViewPlan
    """The first plan."""
    views: tuple[HandEyeView, ...]
    """The planned views that ``result`` was computed from."""


def calibrate_automatically(
    observe: Observer,
    solver: HybridSolver,
    *,
    mount: Mount = "eye_to_hand",
    n: int = 15,
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
        n: Planned views wanted.
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
    robot, intrinsics = observe.robot, observe.camera.intrinsics
    tell = on_progress or _silent
    start = np.asarray(observe.arm.read().q if q_start is None else q_start, dtype=np.float64)
    tell("looking for the board", 0, n)
    try:
        first = find_first_views(observe, robot, solver, start, floor=floor)
    except CalibrationError as error:
        reason = observe.explain_missing()
        if reason is None:
            raise
        raise reason from error
    rough = guess = calibrate_hand_eye(first, intrinsics=intrinsics, mount=mount, board=observe.board, seed=seed)
    views: list[HandEyeView] = []
    plan: ViewPlan | None = None
    for round_ in range(_ROUNDS):
        tell("planning views", len(views), n)
        latest = plan_views(
            robot,
            solver,
            intrinsics,
            observe.board,
            T_mount_camera=guess.T_mount_camera,
            T_holder_board=guess.T_holder_board,
            mount=mount,
            n=n - len(views),
            q_start=start if not views else observe.arm.read().q,
            joint_covariance=guess.joint_covariance if views else None,
            pixel_sigma=rough.pixel_sigma,
            floor=floor,
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
        guess = calibrate_hand_eye(views if len(views) > 5 else [*first, *views], intrinsics=intrinsics, mount=mount)
    tell("solving", len(views), n)
    if plan is None or len(views) < n:
        raise CalibrationError(
            f"The board was seen in {len(views)} of {n} views after {_ROUNDS} plans.",
            "Check that the board sits firmly, that light is even, and that the camera stands still.",
            seen=len(views),
        )
    result = calibrate_hand_eye(views, intrinsics=intrinsics, mount=mount, board=observe.board, seed=seed)
    return AutomaticCalibration(result=result, rough=rough, plan=plan, views=tuple(views))


def _silent(_doing: str, _done: int, _wanted: int) -> None:
    """Say nothing."""
