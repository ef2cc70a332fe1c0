"""A calibration with a person: questions, live pictures, and an arm that is moved by hand or by keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from calibration.views.moving import Mover
from calibration.wizard import Answer, Command, Do, Picture, Question, Touch, Wizard, WizardView
from vision_ik.arms import open_arm
from vision_ik.cameras import open_camera
from vision_ik.cli import console
from vision_ik.cli.calibrate import ArmOptions, BoardOptions, ToolOptions
from vision_ik.cli.calibrate_film import film
from vision_ik.cli.calibrate_report import present_steps
from vision_ik.cli.calibrate_rig import described_board
from vision_ik.clock import MonotonicClock
from vision_ik.errors import ConfigError, FrameReadError, VisionIkError
from vision_ik.layouts import board_table
from vision_ik.transforms import Transform
from vision_ik.types import Arm, Camera, Frame, JointState

if TYPE_CHECKING:
    from calibration.wizard import Accuracy

_HELP = """  Enter      take a view            u          undo the last thing      s          where it stands
  d NAME     leave a view out       enough     go on with what is there q          stop; all is kept
  repeat STEP, keep STEP: a step anew, or as it is"""
_KEYS = "  j N DEG    move joint N by DEG degrees (--arm with --yes)"
_FRAME_TIMEOUT = 5.0
_LARGEST_STEP_DEG = 30.0
"""Of a joint, by one key command."""
_BOARD_FORM = "kind columns rows and millimetres: charuco 7 5 30 22 (square, marker), chessboard 9 6 25, tags 4 3 50 10"


def by_hand(wizard: Wizard, options: ArmOptions | ToolOptions) -> None:
    """Lead a person through the steps that are left; returns when they are done, or the person stops.

    Raises:
        VisionIkError: Something cannot be done; what was taken is kept.
    """
    with ExitStack() as stack:
        session = _Session(wizard, options, stack)
        while not (wizard.view.finished or session.stopped):
            session.advance(wizard.view)
    if session.stopped:
        console.say("Stopped. Everything is kept: the same command goes on from here.")


class _Session:
    """Feeds one wizard with what a person and the devices say."""

    def __init__(self, wizard: Wizard, options: ArmOptions | ToolOptions, stack: ExitStack) -> None:
        self._wizard = wizard
        self._options = options
        self._stack = stack
        self._clock = MonotonicClock()
        self._camera: Camera | None = None
        self._arm: Arm | None = None
        self._told = ""
        self.stopped = False
        """Whether the person wants to go on another time."""

    def advance(self, view: WizardView) -> None:
        """Do the next thing there is to do."""
        title = next(step.title for step in view.steps if step.step is view.step)
        if title != self._told:
            console.say(f"\n{title}", style="bold")
            self._told = title
        match view.wants:
            case "answer" if view.question is not None:
                self._ask(view.question)
            case "picture":
                self._film(view)
            case "posed picture":
                self._listen(view, take=self._take)
            case "touch":
                self._listen(view, take=self._touch)
            case _ if view.command is not None:
                with console.Stages() as stages, stages.stage(view.todo.removesuffix(".")):
                    self._wizard.handle(Do(view.command))
            case _:
                self._listen(view, take=None)

    # -- questions -------------------------------------------------------------------

    def _ask(self, question: Question) -> None:
        text = question.text if question.name != "board" else f"Which board is shown? {_BOARD_FORM}."
        default = "" if question.default is None else str(question.default)
        if question.name == "edge_mm":
            text += " p writes it as board.pdf first."
        said = console.ask(text, default=default)
        try:
            if question.name == "edge_mm" and said == "p":
                path = self._wizard.folder / "board.pdf"
                self._wizard.handle(Do(Command.PRINT, str(path)))
                console.say(f"Written to {path}: print it at 100 %, without fitting it to the page.")
            elif question.name == "board":
                self._wizard.handle(Answer("board", _board_told(said)))
            else:
                self._wizard.handle(Answer(question.name, said))
        except VisionIkError as error:
            console.error(error.cause, error.remedy)

    # -- pictures --------------------------------------------------------------------

    def _open_camera(self) -> Camera:
        if isinstance(self._options, ToolOptions):
            raise ConfigError("A tool is touched with, not looked at.", "Give no camera.")
        if self._camera is None:
            wishes = self._options.device.settings()
            self._camera = self._stack.enter_context(
                open_camera(self._options.source, intrinsics=self._wizard.lens, clock=self._clock, settings=wishes)
            )
        return self._camera

    def _film(self, view: WizardView) -> None:
        """Take pictures for the lens by themselves, as the board stands still somewhere new."""
        with console.Stages() as stages, stages.stage("Take pictures for the lens", total=view.wanted) as stage:
            film(self._wizard, self._open_camera(), stage)

    def _listen(self, view: WizardView, take: Callable[[], None] | None) -> None:
        """Say what to do next, and do what the person types."""
        console.say(view.todo, style="cyan")
        said = console.ask(f"[{view.done} of {view.wanted}] Enter takes it, ? helps" if take is not None else "? helps")
        verb, _, subject = said.partition(" ")
        try:
            match verb:
                case "" if take is not None:
                    take()
                case "q":
                    self.stopped = True
                case "s":
                    present_steps(self._wizard.view, as_json=False)
                case "u":
                    console.say(f"Taken back: {self._wizard.view.can_undo or 'nothing'}.")
                    self._wizard.handle(Do(Command.UNDO))
                case "d":
                    self._wizard.handle(Do(Command.DISCARD, subject))
                case "enough":
                    self._wizard.handle(Do(Command.ENOUGH))
                case "repeat" | "keep":
                    self._wizard.handle(Do(Command(verb), subject))
                case "j":
                    self._jog(subject)
                case _:
                    console.say(_HELP + (f"\n{_KEYS}" if self._options.arm else ""))
        except VisionIkError as error:
            console.error(error.cause, error.remedy)

    def _take(self) -> None:
        frame = self._fresh_frame()
        joints = self._joints(frame.timestamp)
        view = self._wizard.handle(Picture(frame=frame, joints=joints))
        if view.verdict is not None:
            console.say(f"{view.verdict.sentence}{_foretold(view.accuracy)}")

    def _touch(self) -> None:
        view = self._wizard.handle(Touch(joints=self._joints(self._clock.now())))
        if view.verdict is not None:
            console.say(view.verdict.sentence)

    def _fresh_frame(self) -> Frame:
        camera = self._open_camera()
        now = self._clock.now()
        while self._clock.now() < now + _FRAME_TIMEOUT and not camera.ended:
            frame = camera.read(timeout=1.0)
            if frame is not None and (frame.timestamp >= now or not camera.live):
                return frame
        raise FrameReadError("No picture came from the camera.", "Check it with `vision-ik doctor`, and try again.")

    # -- the arm ---------------------------------------------------------------------

    def _open_arm(self) -> Arm:
        if self._arm is None:
            self._arm = self._stack.enter_context(open_arm(self._options.arm, clock=self._clock))
        return self._arm

    def _joints(self, timestamp: float) -> JointState:
        """Return where the joints are: the arm says, or the person reads it from the pendant."""
        if self._options.arm:
            return self._open_arm().read()
        robot = self._wizard.robot
        said = console.ask(f"The {robot.n} joints as the pendant shows them [deg], or [mm] where they slide:")
        try:
            numbers = np.array([float(word) for word in said.replace(",", " ").split()])
            if len(numbers) != robot.n:
                raise ValueError(f"{len(numbers)} numbers, and {robot.name} has {robot.n} joints")
        except ValueError as error:
            raise ConfigError(f"These are no joints: {error}.", "Type the numbers with spaces between them.") from error
        q = np.where(robot.prismatic, numbers / 1000.0, np.deg2rad(numbers))
        return JointState(names=tuple(robot.joint_names), q=q, dq=np.zeros(robot.n), timestamp=timestamp)

    def _jog(self, said: str) -> None:
        """Move one joint a little.

        Raises:
            ConfigError: The arm may not be moved, or not so.
            ArmError: It refuses.
        """
        robot = self._wizard.robot
        if not (self._options.arm and self._options.yes):
            raise ConfigError("The arm may not be moved by keys.", "Name it with --arm, and agree with --yes.")
        try:
            number, degrees = said.split()
            joint, turn = int(number) - 1, float(degrees)
            if not 0 <= joint < robot.n or not abs(turn) <= _LARGEST_STEP_DEG:
                raise ValueError(f"joints are 1 to {robot.n}, steps at most {_LARGEST_STEP_DEG:g}")
        except ValueError as error:
            raise ConfigError(
                f"{said!r} is no step of a joint: {error}.", "j 4 -10 turns joint 4 by -10 deg."
            ) from error
        arm = self._open_arm()
        q = arm.read().q.copy()
        q[joint] += turn / 1000.0 if robot.prismatic[joint] else np.deg2rad(turn)
        if not robot.lower[joint] <= q[joint] <= robot.upper[joint]:
            raise ConfigError(f"Joint {joint + 1} would leave its limits.", "Take a smaller step, or the other way.")
        Mover(arm=arm, robot=robot, clock=self._clock, speed=self._options.speed).go(q)
        place = Transform(robot.forward(arm.read().q)).translation
        console.say("The flange is at " + ", ".join(f"{1000.0 * x:.0f}" for x in place) + " mm.")


def _foretold(accuracy: tuple[Accuracy, ...]) -> str:
    if not accuracy:
        return ""
    last = accuracy[-1]
    before = f" (was {accuracy[-2].sigma_mm:.2f})" if len(accuracy) > 1 else ""
    return f" With {last.views} views the camera's place is sure to ± {last.sigma_mm:.2f} mm{before}."


def _board_told(said: str) -> dict[str, object]:
    """Return the table of a board that was told in a line."""
    kind, *numbers = said.replace("x", " ").split() if said else [""]
    try:
        columns, rows = int(numbers[0]), int(numbers[1])
        sizes = [float(word) for word in numbers[2:]]
        match kind:
            case "charuco":
                told = BoardOptions(columns=columns, rows=rows, square_mm=sizes[0], marker_mm=sizes[1])
            case "chessboard":
                told = BoardOptions(board="chessboard", columns=columns, rows=rows, square_mm=sizes[0])
            case "tags":
                told = BoardOptions(board="tags", columns=columns, rows=rows, marker_mm=sizes[0], gap_mm=sizes[1])
            case _:
                raise ValueError(f"there is no kind {kind!r}")
    except (ValueError, IndexError) as error:
        raise ConfigError(f"This describes no board: {said!r}.", f"Give {_BOARD_FORM}.") from error
    board = described_board(told)
    return {} if board is None else board_table(board)
