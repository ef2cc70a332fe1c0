"""What a front end hands to the wizard, and what the wizard shows it. The latter is JSON-able throughout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from calibration.validation.values import ValidationReport
from calibration.wizard.steps import Step
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, Frame, JointState

Role: TypeAlias = Literal["camera", "views", "rough", "checks", "touches"]
"""What a picture is for: the lens; the calibration; a first guess that views are planned with; the check; the tool."""
Wants: TypeAlias = Literal["answer", "picture", "posed picture", "touch", "command", "nothing"]
Status: TypeAlias = Literal["open", "now", "done", "stale"]


class Command(StrEnum):
    """What a person may tell the wizard to do."""

    PRINT = "print"
    """Write the board as a PDF to the path in ``subject``."""
    FIT_LENS = "fit lens"
    SOLVE = "solve"
    CHECK = "check"
    FIT_TOOL = "fit tool"
    SAVE = "save"
    ENOUGH = "enough"
    """Go on with the views there are, in the present step or the one named in ``subject``."""
    DISCARD = "discard"
    """Leave out the view named in ``subject``; its files stay."""
    REPEAT = "repeat"
    """Do the step named in ``subject`` anew."""
    KEEP = "keep"
    """Take what the stale step named in ``subject`` has for good all the same."""
    RESTART = "restart"
    """Forget views and results of this calibration; what was saved and every picture stays on disk."""
    UNDO = "undo"
    REDO = "redo"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question, or a value nobody asked for."""

    name: str
    value: Any
    """Plain: text, number, or a table."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Several answers at once: all of them are taken, or none."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Picture:
    """A picture, and where the arm was when it was taken."""

    frame: Frame
    joints: JointState | None = None
    T_base_flange: Transform | None = None
    """By default from ``joints``; without either it is a picture for the lens."""
    twist: Floats | None = None
    """(6,) of the flange, in the flange frame, (v, w) [m/s, rad/s]; None at rest."""
    detection: BoardDetection | None = None
    """The board in it, where it was looked for already."""
    role: Role | None = None
    """By default for the calibration where the arm's pose is known, else for the lens."""
    take: bool = True
    """False: a live picture, taken only if the board stands still in it, somewhere new."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Touch:
    """Where the arm was when its tool touched the point."""

    joints: JointState | None = None
    T_base_flange: Transform | None = None
    """By default from ``joints``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """Views on disk (docs/conventions.md): a folder with poses.json, or a file of corners; or a file of touches."""

    path: Path
    role: Role = "views"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lens:
    """A lens that is known already."""

    intrinsics: CameraIntrinsics
    origin: str
    """Where it is from."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else is known of it, for the provenance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Checks that a front end made with arm and camera, beside that on views of their own."""

    report: ValidationReport


@dataclass(frozen=True, slots=True)
class Do:
    """A command."""

    command: Command
    subject: str = ""


Event: TypeAlias = Answer | Answers | Picture | Touch | Import | Lens | Checked | Do


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the wizard wants to know."""

    name: str
    text: str
    choices: tuple[str, ...] = ()
    default: Any = None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step, as a page would list it."""

    step: Step
    title: str
    status: Status
    note: str = ""
    """What came out, or why it is stale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a picture."""

    name: str
    taken: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How sure the camera's place is after so many views, one standard deviation over all axes."""

    views: int
    sigma_mm: float
    sigma_deg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WizardView:
    """The state, as a front end shows it."""

    goal: str
    step: Step | None
    """None when everything is done."""
    todo: str
    """What to do next, one sentence."""
    wants: Wants
    question: Question | None
    command: Command | None
    """What to do next where no person is needed for it."""
    steps: tuple[StepView, ...]
    done: int
    """Pictures taken for this step ..."""
    wanted: int
    """... of so many."""
    accuracy: tuple[Accuracy, ...]
    """Predicted after each view, falling."""
    wanted_mm: float | None
    """Accuracy asked for."""
    verdict: Verdict | None
    """On the last picture."""
    rejected: Mapping[str, str]
    """Views left out, and why."""
    warnings: tuple[str, ...]
    results: Mapping[str, Any]
    """By step: lens, hand-eye, check, save, as plain numbers with the unit in the name."""
    can_undo: str
    """What undo would take back; empty when nothing."""
    can_redo: str
    resumed: str
    """What an earlier run left off with; empty for a new calibration."""

    @property
    def finished(self) -> bool:
        """Whether every step is done."""
        return self.step is None

    def as_json(self) -> dict[str, Any]:
        """Return the view as dictionaries, lists, texts and numbers; what is not finite is None."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in cast("Mapping[object, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in cast("list[Any]", value)]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, StrEnum) else value
