"""Where a wizard stands: what is known, which steps are done, and on what they were done. It changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from calibration.hand_eye.values import HandEyeView
from calibration.wizard import work
from calibration.wizard.events import Role
from calibration.wizard.evidence import Evidence, layout_digest
from calibration.wizard.guidance import question_of
from calibration.wizard.results import parse_lens
from calibration.wizard.state import Document, State
from calibration.wizard.steps import Goal, Step, changes, steps_of
from calibration.wizard.store import digest
from vision_ik.errors import ConfigError
from vision_ik.layouts import board_table, parse_board
from vision_ik.rig import Mount, Rig
from vision_ik.robots import RobotModel, load_robot
from vision_ik.types import Board, CameraIntrinsics

_FEWEST_VIEWS = 6
"""Views that are taken even where fewer foretell the accuracy asked for: they could not be judged."""
SAVE_OF_TOOL = f"{Step.SAVE} tool"
_DEFAULTS: Mapping[str, Any] = {
    "views": 15,
    "pictures": 20,
    "checks": 4,
    "touches": 8,
    "model": "auto",
    "coefficients": 5,
}


class Standing:
    """What is known of one calibration.

    Args:
        folder: Of pictures and state.
        document: Everything that is kept.
        goal: What shall be known in the end.
        template: What is known of the rig apart from results.
    """

    def __init__(self, folder: Path, document: Document, goal: Goal, template: Rig | None) -> None:
        self.folder = folder
        self.document = document
        self.goal: Goal = goal
        self.template: Rig | None = template
        self.resumed = ""
        """What an earlier run left off with; empty for a new calibration."""
        self._evidence: tuple[str, Evidence] | None = None
        self._robot: tuple[Any, RobotModel] | None = None

    @property
    def state(self) -> State:
        """The present state."""
        return self.document.now

    @property
    def mount(self) -> Mount:
        """Who carries the camera."""
        return cast("Mount", self.state.answers.get("mount", "eye_to_hand"))

    @property
    def robot(self) -> RobotModel:
        """The arm.

        Raises:
            ConfigError: Nobody said which.
        """
        told = self.state.answers.get("robot")
        if told is None:
            raise ConfigError("Nobody said which arm it is.", "Name it, such as panda.")
        if self._robot is None or self._robot[0] != told:
            self._robot = (told, load_robot(told["robot"], told.get("base"), told.get("tip")))
        return self._robot[1]

    @property
    def board(self) -> Board | None:
        """The board, as described and measured; None where nobody said, or views bring their corners."""
        table = self.state.answers.get("board")
        if table is None:
            return None
        return work.measured(parse_board("board", table), self.state.answers.get("edge_mm") or None)

    @property
    def evidence(self) -> Evidence:
        """What the pictures show."""
        board = self.board
        key = digest(None if board is None else board_table(board))
        if self._evidence is None or self._evidence[0] != key:
            self._evidence = (key, Evidence(self.folder, board))
        return self._evidence[1]

    @property
    def shown(self) -> str:
        """Digest of board and camera: pictures for a lens go together while it is the same."""
        return digest([self.inputs(Step.VIEWS)[name] for name in ("board", "camera")])

    @property
    def lens(self) -> CameraIntrinsics | None:
        """The lens, None while nobody knows it."""
        facts = self.outcome(Step.CAMERA)
        return None if facts is None else parse_lens(facts["lens"])

    def setting(self, name: str) -> Any:
        """Return an answer, or what goes without saying."""
        return self.state.answers.get(name, _DEFAULTS.get(name))

    def outcome(self, step: Step) -> Mapping[str, Any] | None:
        """Return the result of a step, stale or not; None when there is none."""
        record = self.state.records.get(self.key(step))
        return None if record is None or not record.outcome else self.document.outcomes[record.outcome]

    def posed_views(self, *roles: Role) -> list[HandEyeView]:
        """Return the views of the arm taken for ``roles``, their corners counted as the result counts them."""
        names = [name for role in roles for name in self.state.of(role)]
        views, result = self.evidence.views(names, self.document.taken), self.outcome(Step.SOLVE)
        return views if result is None else work.counted_as_expected(views, self.evidence.board, result)

    def picture_size(self) -> tuple[int, int] | None:
        """Return width and height of the pictures [px], None while there are none."""
        names = [name for role in ("views", "rough", "camera") for name in self.state.of(role)]
        return work.size_of(names, self.document.taken) if names else None

    # -- steps -----------------------------------------------------------------------

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps to the goal, in order."""
        return steps_of(self.goal, lens_from_views=self.lens_from_views)

    @property
    def lens_from_views(self) -> bool:
        """Whether the lens is computed from the arm's own views."""
        return bool(self.setting("lens_from_views")) and Step.VIEWS in steps_of(self.goal, lens_from_views=False)

    @property
    def step(self) -> Step | None:
        """The first step that is to be done; None at the end."""
        return next((step for step in self.steps if not self.is_done(step) or self.staleness(step)), None)

    def is_done(self, step: Step) -> bool:
        """Return whether a step has been done, perhaps long ago."""
        if step in (Step.SETUP, Step.BOARD):
            return question_of(step, self.goal, self.state.answers) is None
        if step is Step.VIEWS:
            count = len(self.state.of("views"))
            return count > 0 and (
                bool(self.state.answers.get("enough_views")) or count >= self.setting("views") or self._sure()
            )
        if step is Step.TOUCHES:
            count = len(self.state.of("touches"))
            return count > 0 and (bool(self.state.answers.get("enough_touches")) or count >= self.setting("touches"))
        return self.key(step) in self.state.records

    def key(self, step: Step) -> str:
        """Return what a step's record is kept under: the rig is written for the tool and for the rest apart."""
        return SAVE_OF_TOOL if step is Step.SAVE and self.goal == "tool" else step

    def staleness(self, step: Step) -> str:
        """Return what changed since a step was done; empty when nothing, or when it never was."""
        record = self.state.records.get(self.key(step))
        return "" if record is None else changes(record.inputs, self.inputs(step, given="given" in record.inputs))

    def _sure(self) -> bool:
        """Return whether the views foretell the accuracy asked for."""
        names = self.state.of("views")
        predicted = self.document.predicted.get(self.view_key(names))
        wanted = [self.setting("accuracy_mm"), self.setting("accuracy_deg")]
        if predicted is None or len(names) < _FEWEST_VIEWS or wanted == [None, None]:
            return False
        return all(bound is None or sigma <= bound for sigma, bound in zip(predicted, wanted, strict=True))

    def inputs(self, step: Step, *, given: bool = False) -> dict[str, str]:
        """Return a digest of everything a step depends on, by name."""
        answers, board = self.state.answers, self.board
        layout = "" if board is None else layout_digest(board)
        camera = str(answers.get("camera", ""))
        robot = str((answers.get("robot") or {}).get("hash", ""))
        lens, result = self.outcome(Step.CAMERA), self.outcome(Step.SOLVE)
        match step:
            case Step.CAMERA if given:
                return {"given": "", "camera": camera}
            case Step.CAMERA:
                return {"board": layout, "camera": camera, "pictures": digest(self.lens_names())}
            case Step.VIEWS:
                return views_inputs(answers)
            case Step.SOLVE:
                return {
                    "lens": digest(None if lens is None else lens["lens"]),
                    "print": digest(None if board is None else board_table(board)),
                    "views": digest(self.state.of("views")),
                    "mount": self.mount,
                    "robot": robot,
                }
            case Step.CHECK:
                bounds = [self.setting("tolerance_mm"), self.setting("tolerance_deg")]
                pictures = digest(self.state.of("checks"))
                return {
                    "hand-eye": outcome_number(self.state, Step.SOLVE),
                    "pictures": pictures,
                    "tolerance": digest(bounds),
                }
            case Step.TOUCHES:
                return {"robot": robot}
            case Step.TOOL:
                behind = answers.get("behind")
                touches = digest(self.state.of("touches"))
                return {"touches": touches, "robot": robot, "direction": digest(behind) if behind else ""}
            case Step.SAVE if self.goal == "tool":
                return {"tool": outcome_number(self.state, Step.TOOL)}
            case Step.SAVE:
                numbers = {"lens": outcome_number(self.state, Step.CAMERA)}
                return numbers | ({} if result is None else {"hand-eye": outcome_number(self.state, Step.SOLVE)})
            case _:
                return {}

    def lens_names(self) -> tuple[str, ...]:
        """Return the pictures that the lens is computed from."""
        if self.lens_from_views:
            return (*self.state.of("camera"), *self.state.of("views"))
        return self.state.of("camera")

    def view_key(self, names: tuple[str, ...]) -> str:
        """Return the digest of a set of views, under which their prediction is kept."""
        return digest([self.mount, names])[:16]

    def predicted(self) -> list[tuple[int, float, float]]:
        """Return views and foretold sigma [mm], [deg], one after the other."""
        names = self.state.of("views")
        known = [(n, self.document.predicted.get(self.view_key(names[:n]))) for n in range(1, len(names) + 1)]
        return [(n, *sigmas) for n, sigmas in known if sigmas is not None]


def views_inputs(answers: Mapping[str, Any]) -> dict[str, str]:
    """Return a digest of everything that views depend on."""
    table = answers.get("board")
    return {
        "board": "" if table is None else layout_digest(parse_board("board", table)),
        "camera": str(answers.get("camera", "")),
        "mount": str(answers.get("mount", "")),
        "robot": str((answers.get("robot") or {}).get("hash", "")),
    }


def outcome_number(state: State, step: Step) -> str:
    """Return the number of a step's outcome, empty while there is none."""
    record = state.records.get(step)
    return "" if record is None else record.outcome
