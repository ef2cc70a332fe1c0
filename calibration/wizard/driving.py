"""Taking the views with an arm that moves by itself: find the board, plan, visit, until there are enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from calibration.hand_eye.values import HandEyeResult
from calibration.views.candidates import Workcell
from calibration.views.collecting import Observer, Sighting
from calibration.views.information import WANTED, Accuracy
from calibration.views.next_view import Enough, Goal, next_view
from calibration.views.planning import plan_views
from calibration.views.searching import find_first_views
from calibration.wizard.events import Command, Do, Picture, Role
from calibration.wizard.machine import Wizard
from calibration.wizard.steps import Step
from calibration.wizard.work import foretell, guess_lens
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
_MOST_MISSED = 10
"""Views planned one by one that may lose the board before something is wrong."""
_OF_THE_CHECK = 100
"""Added to the seed, so that the views of the check are not those of the calibration."""

Report = Callable[[str, int, int], None]
"""What is going on, views done, views wanted."""


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
    Where the wizard was told an accuracy, each view is the one that tells most, until it is reached;
    otherwise a number of views is planned together.

    Args:
        wizard: That knows robot, mount and board; with a lens, or told that it comes from the views.
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
    _Drive(wizard, observe, solver, floor, on_progress or _silent).run()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Guess:
    """What is known well enough to plan with."""

    lens: CameraIntrinsics
    sure: bool
    """Whether the lens was computed, not only supposed."""
    result: HandEyeResult
    alone: bool
    """Whether the result is from planned views alone, so that its covariance counts."""


class _Drive:
    """One arm at work for one wizard."""

    def __init__(
        self, wizard: Wizard, observe: Observer, solver: HybridSolver, floor: float | None, tell: Report
    ) -> None:
        self._wizard = wizard
        self._observe = observe
        self._solver = solver
        self._floor = floor
        self._tell = tell
        self._home = observe.arm.read().q
        self._wanted = int(wizard.setting("views"))

    def run(self) -> None:
        """Take views until the wizard has enough of them."""
        if self._guess() is None:
            self._tell("looking for the board", 0, self._wanted)
            self._search()
        for round_ in range(_ROUNDS):
            if self._done():
                break
            guess = self._known_guess()
            missing = self._wanted - self._count()
            if not guess.sure:
                missing = min(missing, _BEFORE_LENS)
            if guess.sure and self._wizard.setting("accuracy_mm") is not None:
                self._visit_one_by_one()
                break
            self._visit_planned(guess, missing, "views", seed=self._wizard.seed + round_)
        if not self._done():
            raise CalibrationError(
                f"The board was seen in {self._count()} of {self._wanted} views after {_ROUNDS} plans.",
                "Check that the board sits firmly, that light is even, and that the camera stands still.",
                seen=self._count(),
            )
        missing = int(self._wizard.setting("checks")) - self._count("checks")
        if Step.CHECK in self._wizard.steps and missing > 0:
            self._visit_planned(self._known_guess(), missing, "checks", seed=self._wizard.seed + _OF_THE_CHECK)

    def _done(self) -> bool:
        return self._wizard.is_done(Step.VIEWS)

    def _count(self, role: Role = "views") -> int:
        return len(self._wizard.state.of(role))

    def _guess(self) -> _Guess | None:
        """Return what the views so far tell, None where they do not."""
        wizard, camera = self._wizard, self._observe.camera.intrinsics
        names = (*wizard.state.of("rough"), *wizard.state.of("views"))
        if len(names) < _FEWEST_ROUGH:
            return None
        lens, sure = wizard.lens, True
        if lens is None:
            lens, sure = guess_lens(wizard.evidence, names, wizard.document.taken, (camera.width, camera.height))
        views = wizard.posed_views("views")
        alone = len(views) >= _ALONE
        used = views if alone else wizard.posed_views("rough", "views")
        try:
            result = foretell(used, lens, wizard.mount, wizard.evidence.board, wizard.seed)
        except CalibrationError:
            return None
        return _Guess(lens=lens, sure=sure, result=result, alone=alone)

    def _known_guess(self) -> _Guess:
        guess = self._guess()
        if guess is None:
            raise CalibrationError(
                "The first views do not tell where the camera is, not even roughly.",
                "Start from a posture in which the camera sees the whole board, large, with room around it.",
            )
        return guess

    def _search(self) -> None:
        """Find the board, and turn it a little; each view is kept."""

        def look(way: Floats) -> Sighting:
            sighting = self._observe(way)
            self._keep(sighting, "rough")
            return sighting

        try:
            find_first_views(look, self._observe.robot, self._solver, self._home, floor=self._floor)
        except CalibrationError as error:
            reason = self._observe.explain_missing()
            if reason is None:
                raise
            raise reason from error

    def _visit_planned(self, guess: _Guess, count: int, role: Role, *, seed: int) -> None:
        """Plan views together and take them."""
        doing = "views for the check" if role == "checks" else "views"
        wanted = int(self._wizard.setting(role))
        self._tell(f"planning {doing}", self._count(role), wanted)
        planned = plan_views(
            self._observe.robot,
            self._solver,
            guess.lens,
            self._observe.board,
            T_mount_camera=guess.result.T_mount_camera,
            T_holder_board=guess.result.T_holder_board,
            mount=self._wizard.mount,
            n=count,
            q_start=self._observe.arm.read().q,
            joint_covariance=guess.result.joint_covariance if guess.alone and role == "views" else None,
            guess_covariance=guess.result.joint_covariance,
            floor=self._floor,
            seed=seed,
        )
        for way in planned.ways:
            self._tell(f"visiting {doing}{self._foretold(role)}", self._count(role), wanted)
            self._keep(self._observe(np.asarray(way)), role)
            if role == "views" and self._done():
                return

    def _visit_one_by_one(self) -> None:
        """Take the view that tells most, until the accuracy asked for is reached, or no more are allowed."""
        wizard, wanted_mm, wanted_deg = self._wizard, *map(self._wizard.setting, ("accuracy_mm", "accuracy_deg"))
        share = 1e-3 * wanted_mm / WANTED.translation
        angle = share * WANTED.rotation if wanted_deg is None else float(np.deg2rad(wanted_deg))
        goal = Goal(accuracy=Accuracy(translation=1e-3 * wanted_mm, rotation=angle), most=self._wanted)
        visited: list[Floats] = []
        missed = 0
        while not self._done():
            guess = self._known_guess()
            step = next_view(
                self._workcell(guess),
                guess.result,
                goal,
                q=self._observe.arm.read().q,
                home=self._home,
                taken=self._count(),
                visited=np.array(visited).reshape(-1, 4, 4),
                seed=wizard.seed + missed,
            )
            if isinstance(step, Enough):
                wizard.handle(Do(Command.ENOUGH, Step.VIEWS))
                return
            self._tell(step.sentence.removesuffix("."), self._count(), self._count() + step.left)
            visited.append(step.T_base_flange)
            sighting = self._observe(step.way)
            self._keep(sighting, "views")
            missed += sighting.detection is None
            if missed > _MOST_MISSED:
                raise CalibrationError(
                    f"The board was lost in {missed} of {missed + self._count()} planned views.",
                    "Check that the board sits firmly, that light is even, and that the camera stands still.",
                    missed=missed,
                )

    def _workcell(self, guess: _Guess) -> Workcell:
        return Workcell(
            solver=self._solver,
            intrinsics=guess.lens,
            board=self._observe.board,
            mount=self._wizard.mount,
            T_mount_camera=guess.result.T_mount_camera,
            T_holder_board=guess.result.T_holder_board,
            floor=self._floor,
        )

    def _keep(self, sighting: Sighting, role: Role) -> None:
        if sighting.detection is None:
            return
        q, names = sighting.q, tuple(self._wizard.robot.joint_names)
        joints = JointState(names=names, q=q, dq=np.zeros_like(q), timestamp=sighting.frame.timestamp)
        self._wizard.handle(Picture(frame=sighting.frame, joints=joints, detection=sighting.detection, role=role))

    def _foretold(self, role: Role) -> str:
        predicted = self._wizard.predicted()
        return f", ± {predicted[-1][1]:.2f} mm foretold" if predicted and role == "views" else ""


def _silent(_doing: str, _done: int, _wanted: int) -> None:
    """Say nothing."""
