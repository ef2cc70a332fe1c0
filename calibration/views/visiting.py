"""Taking planned views one after the other until the camera's pose is as sure as asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.values import HandEyeResult, HandEyeView
from calibration.views.candidates import Workcell
from calibration.views.collecting import Sighting
from calibration.views.information import Accuracy
from calibration.views.next_view import Enough, Goal, NextView, next_view
from vision_ik.errors import CalibrationError
from vision_ik.types import Floats

_OWN_FEET = 5
"""Planned views from which on the fit stands on them alone."""
_MOST_MISSED = 10
"""Planned postures that may lose the board before something is wrong."""

Confirm = Callable[[NextView], bool]
"""Asked before every motion; False leaves the arm where it is and ends the views."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VisitedView:
    """A planned view, and what came of it."""

    proposal: NextView
    sighting: Sighting
    view: HandEyeView | None
    """None when the board was not seen there after all."""
    result: HandEyeResult
    """The fit of the views so far."""
    sigma_after: Accuracy
    """Of the camera's pose now, where ``proposal.sigma_after`` was predicted."""


def visit_views(
    observe: Callable[[Floats], Sighting],
    workcell: Workcell,
    rough: Sequence[HandEyeView],
    goal: Goal,
    *,
    q: Floats,
    home: Floats | None = None,
    confirm: Confirm | None = None,
    seed: int = 0,
) -> Iterator[VisitedView | Enough]:
    """Visit the view that tells most, fit, and ask again, until it is enough.

    Args:
        observe: An ``Observer``, or anything that goes a way and looks.
        workcell: Who can see what from where; what it guesses of camera and board is not used.
        rough: First views, at least 3; they serve for the guess alone, for views taken close to
            each other share much of the arm's error.
        goal: When to stop.
        q: (n,) where the arm stands [rad], [m].
        home: (n,) posture by which ways go that are not free straight; ``q`` by default.
        confirm: Asked before every motion.
        seed: Of planning and of the fit's robust start.

    Yields:
        What came of each view; the last value says why it is enough. Without it somebody said no.

    Raises:
        CalibrationError: The rough views determine nothing, or the board is lost time and again.
    """
    home = np.asarray(q if home is None else home, dtype=np.float64)
    lens, mount, board = workcell.intrinsics, workcell.mount, workcell.board
    planned: list[HandEyeView] = []
    tried: list[Floats] = []
    result = calibrate_hand_eye(rough, intrinsics=lens, mount=mount, board=board, seed=seed)
    missed = 0
    while True:
        step = next_view(
            workcell,
            result,
            goal,
            q=q,
            home=home,
            taken=result.used_views if len(planned) >= _OWN_FEET else len(planned),
            visited=np.array(tried).reshape(-1, 4, 4),
            seed=seed + missed,
        )
        if isinstance(step, NextView) and confirm is not None and not confirm(step):
            return
        if isinstance(step, Enough):
            yield step
            return
        sighting = observe(step.way)
        q = sighting.q
        tried.append(step.T_base_flange)
        view = sighting.view
        if view is None:
            missed += 1
        else:
            planned.append(view)
            used = planned if len(planned) >= _OWN_FEET else [*rough, *planned]
            result = calibrate_hand_eye(used, intrinsics=lens, mount=mount, board=board, seed=seed)
        yield VisitedView(
            proposal=step, sighting=sighting, view=view, result=result, sigma_after=Accuracy.of(result.joint_covariance)
        )
        if missed > _MOST_MISSED:
            raise CalibrationError(
                f"The board was lost in {missed} of {missed + len(planned)} planned views.",
                "Check that the board sits firmly, that light is even, and that the camera stands still.",
                missed=missed,
            )
