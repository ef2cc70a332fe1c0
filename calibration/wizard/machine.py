"""The wizard: takes events, keeps everything on disk, shows where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.values import HandEyeResult
from calibration.lens.intrinsics import IntrinsicsResult
from calibration.wizard import saving, showing, taking, work
from calibration.wizard.checking import check_result
from calibration.wizard.events import Answer, Answers, Command, Do, Event, Import, Lens, Picture, Verdict, WizardView
from calibration.wizard.evidence import short
from calibration.wizard.results import hand_eye_facts, lens_facts, lens_values, parse_lens
from calibration.wizard.standing import Standing, views_inputs
from calibration.wizard.state import Document, Record, State
from calibration.wizard.steps import Goal, Step
from calibration.wizard.store import Store
from vision_ik.errors import CalibrationError, ConfigError
from vision_ik.layouts import parse_board
from vision_ik.rig import Rig, load_rig

_FEWEST_TO_ADVISE = 6
"""Pictures from which the lens says what it would like to be shown next."""
_FEWEST_TO_FORETELL = 4
"""Views from which an accuracy is foretold."""


class Wizard(Standing):
    """One calibration of one rig, step by step. Close it, or use it in a ``with`` block.

    Args:
        rig: Folder of rig.toml, or that file. What an earlier wizard left there is gone on with.
        goal: What shall be known in the end.
        template: What is known apart from results; by default the rig that is there.
        seed: Of everything random.

    Raises:
        RecordingError: Another process calibrates this rig, or its folder cannot be written to.
        ConfigError: What is there is malformed.
    """

    def __init__(self, rig: str | Path, *, goal: Goal = "all", template: Rig | None = None, seed: int = 0) -> None:
        path = Path(rig)
        self.rig_file = path if path.suffix == ".toml" else path / "rig.toml"
        self.seed = seed
        template = template or (load_rig(self.rig_file) if self.rig_file.exists() else None)
        self._store = Store(self.rig_file.parent)
        try:
            found = self._store.load()
            if found is not None:
                self._store.list_views(found)  # a crash may have come between the state and the lists
            super().__init__(self._store.folder, found or Document(states=(_first_state(template),)), goal, template)
        except BaseException:
            self._store.close()
            raise
        self.lens_result: IntrinsicsResult | None = None
        """Of the lens, if it was computed by this object."""
        self.hand_eye_result: HandEyeResult | None = None
        """Of the hand-eye calibration, likewise."""
        self._verdict: Verdict | None = None
        self._hint = ""
        self._live = taking.Live()
        taken = [self.document.taken[name] for names in self.state.views.values() for name in names]
        if taken:
            last = max(str(facts.get("when", "")) for facts in taken)
            self.resumed = f"{len(taken)} pictures were taken before{f', the last at {last}' if last else ''}"

    def close(self) -> None:
        """Let others calibrate this rig; everything is on disk already."""
        self._store.close()

    def withdraw(self) -> None:
        """Leave nothing behind of a calibration in which nothing was taken and nothing came out."""
        if not self.document.taken and not self.document.outcomes:
            self._store.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- events ----------------------------------------------------------------------

    @property
    def view(self) -> WizardView:
        """The state, as a front end shows it."""
        return showing.show(self, self._verdict, self._hint)

    def handle(self, event: Event) -> WizardView:
        """Take an event, keep on disk what came of it, and return the view of the new state.

        Raises:
            VisionIkError: The event cannot be, or its result could not be written; the state is as before.
        """
        match event:
            case Answer():
                self._answer({event.name: event.value})
            case Answers():
                self._answer(event.values)
            case Picture():
                self._take(event)
            case Import():
                self._import(event)
            case Lens():
                facts = {"lens": lens_values(event.intrinsics), "given": event.origin, **event.facts}
                record = {"given": "", "camera": str(self.state.answers.get("camera", ""))}
                self._record(Step.CAMERA, facts, "the lens", inputs=record)
            case Do():
                self._do(event.command, event.subject)
        return self.view

    def _do(self, command: Command, subject: str) -> None:
        match command:
            case Command.FIT_LENS:
                self._fit_lens()
            case Command.SOLVE:
                self._solve()
            case Command.CHECK:
                self._check()
            case Command.SAVE:
                self._save()
            case Command.PRINT:
                self._print(Path(subject or "board.pdf"))
            case Command.UNDO | Command.REDO:
                self._go_back(1 if command is Command.REDO else -1)
            case _:
                self._commit(self.document.then(taking.changed(self, command, subject)))

    def _answer(self, values: Mapping[str, Any]) -> None:
        """Keep answers; those that say nothing new are passed over."""
        state = self.state
        for name, told in values.items():
            value = work.checked_answer(name, told, state.answers)
            if name not in state.answers or state.answers[name] != value:
                state = state.answering(name, value)
        if state is not self.state:
            self._commit(self.document.then(state))

    def _take(self, event: Picture) -> None:
        """Keep a picture if it is worth it, and say what came of it."""
        taken = taking.judged(self, event, self._live)
        self._verdict = taken.verdict
        if taken.role is None:
            return
        number = 1 + sum(name.startswith(f"{taken.role}/") for name in self.document.taken)
        name, sha = self._store.put_picture(taken.role, number, event.frame.image)
        facts = {"image": name, "sha256": sha, "when": saving.now(), "of": self.shown, **taken.facts}
        names = (*self.state.of(taken.role), name)
        state = self.state.viewing(taken.role, names, f"picture {short(name)}")
        if taken.role == "views" and Step.VIEWS not in state.records:
            state = state.recording(Step.VIEWS, Record(inputs=self.inputs(Step.VIEWS)), state.did)
        self.evidence.remember(name, taken.detection)
        self._commit(self.document.with_taken(name, facts).then(state))
        self._verdict = replace(taken.verdict, name=short(name))
        if taken.role == "views":
            self._foretell()
        elif taken.role == "camera":
            self._advise()

    def _import(self, event: Import) -> None:
        read, facts = work.read_views(event.path, self.board)
        answers = {
            **self.state.answers,
            "mount": read.mount or self.mount,
            "source": str(event.path.resolve()),
            "remarks": list(read.remarks),
        }
        if read.board is None and self.board is None:
            answers |= {"board": None, "edge_mm": 0.0}  # the views bring their corners along
        state = self.state.viewing(event.role, tuple(facts), f"the views of {event.path.name}")
        left_out = dict.fromkeys(read.unseen, "the board was not found in it")
        state = replace(state, answers=answers, left_out=left_out)
        state = state.recording(Step.VIEWS, Record(inputs=views_inputs(answers)), state.did)
        for name, view in zip(facts, read.views, strict=True):
            self.evidence.remember(name, view.detection)
        self._commit(replace(self.document, taken={**self.document.taken, **facts}).then(state))

    # -- results ---------------------------------------------------------------------

    def _fit_lens(self) -> None:
        names = self.lens_names()
        if not names:
            raise CalibrationError("There is no picture to compute the lens from.", "Take pictures of the board first.")
        model, count = self.setting("model"), int(self.setting("coefficients"))
        result = work.fit_lens(self.evidence, names, self.document.taken, model=model, coefficients=count)
        self.lens_result = result
        facts = lens_facts(result)
        facts["provenance"] = self._provenance(names, **{key: facts[key] for key in _OF_LENS})
        self._record(Step.CAMERA, facts, "the lens")

    def _solve(self) -> None:
        names, lens, size = self.state.of("views"), self.lens, self.picture_size()
        if lens is None or size is None:
            raise CalibrationError(
                f"There {'is no lens' if lens is None else 'are no views'} to compute from.",
                "Do the steps before first.",
            )
        lens = work.lens_for(lens, size, "the camera of the views")
        views = self.evidence.views(names, self.document.taken)
        board = self.evidence.board
        result = calibrate_hand_eye(views, intrinsics=lens, mount=self.mount, board=board, seed=self.seed)
        self.hand_eye_result = result
        facts = hand_eye_facts(result, lens)
        facts["provenance"] = self._provenance(
            names, robot_hash=self.robot.hash, mount=self.mount, **{key: facts[key] for key in _OF_HAND_EYE}
        )
        self._record(Step.SOLVE, facts, "the result")

    def _check(self) -> None:
        result, lens, size = self.outcome(Step.SOLVE), self.lens, self.picture_size()
        if result is None or lens is None or size is None:
            raise CalibrationError("There is no result to check yet.", "Compute where the camera is first.")
        bounds = {name: self.setting(name) for name in ("tolerance_mm", "tolerance_deg")}
        lens = work.lens_for(parse_lens(result["lens"]), size, "the camera of the views")
        self._record(Step.CHECK, check_result(result, self.posed_views("checks"), lens, **bounds), "the check")

    def _save(self) -> None:
        lens, result, check = self.outcome(Step.CAMERA), self.outcome(Step.SOLVE), self.outcome(Step.CHECK)
        told = self.state.answers.get("robot") or {}
        rig = self.template or Rig(robot=str(told.get("robot", "")))
        if told:
            rig = replace(rig, robot=told["robot"], base=told.get("base"), tip=told.get("tip"))
        result = result if Step.SOLVE in self.steps else None
        provenance: dict[str, Mapping[str, Any]] = {}
        if lens is not None and "provenance" in lens:
            provenance["camera"] = lens["provenance"]
        if result is not None:
            rig = replace(rig, robot_hash=self.robot.hash)
            provenance["hand_eye"] = result["provenance"]
            if check is not None and not self.staleness(Step.CHECK):
                provenance["check"] = {key: value for key, value in check.items() if value is not None}
        file, kept = saving.write_results(
            rig,
            self.rig_file,
            lens=self._lens_to_save(lens, result),
            hand_eye=result,
            board=self.evidence.board,
            provenance=provenance,
            origin=Path(str(self.setting("source") or "")).name or str(self.setting("camera") or ""),
        )
        self.template = load_rig(file)
        self._record(Step.SAVE, {"file": str(file), "kept": kept, "when": saving.now()}, "writing the rig")

    def _lens_to_save(
        self, lens: Mapping[str, Any] | None, result: Mapping[str, Any] | None
    ) -> Mapping[str, Any] | None:
        """Return the lens as plain values: the one that belongs to the result, for the two were found together."""
        if result is not None:
            return result["lens"]
        return None if lens is None else lens["lens"]

    def _print(self, path: Path) -> None:
        from vision_ik.tags import save_board_pdf

        board = self.state.answers.get("board")
        if board is None:
            raise ConfigError("Nobody said which board to print.", "Describe it first.")
        save_board_pdf(parse_board("board", board), path)
        self._commit(self.document.then(self.state.answering("printed", str(path))))

    # -- the past --------------------------------------------------------------------

    def _go_back(self, step: int) -> None:
        """Undo or redo one event; a rig that was written is brought back as it was."""
        at = self.document.at + step
        if not 0 <= at < len(self.document.states):
            raise ConfigError(f"There is nothing to {'undo' if step < 0 else 'redo'}.", "Go on with the next step.")
        before, after = self.state.records.get(Step.SAVE), self.document.states[at].records.get(Step.SAVE)
        if step > 0 and after != before:
            raise ConfigError("Writing the rig cannot be redone.", "Save it again.")
        if before != after and before is not None:
            saving.bring_back(self.rig_file, str(self.document.outcomes[before.outcome]["kept"]))
            self.template = load_rig(self.rig_file) if self.rig_file.exists() else self.template
        self._verdict = None
        self._commit(replace(self.document, at=at))

    # -- keeping ---------------------------------------------------------------------

    def _commit(self, document: Document) -> None:
        self._store.commit(document)
        self.document = document

    def _record(self, step: Step, facts: Mapping[str, Any], did: str, *, inputs: dict[str, str] | None = None) -> None:
        document, number = self.document.with_outcome(facts)
        record = Record(inputs=self.inputs(step) if inputs is None else inputs, outcome=number)
        self._commit(document.then(self.state.recording(step, record, did)))

    def _advise(self) -> None:
        """Find out what the lens would like to be shown next; nothing is known while the views determine none."""
        self._hint, names = "", self.state.of("camera")
        if len(names) >= _FEWEST_TO_ADVISE:
            with suppress(CalibrationError):
                self._hint = work.lens_advice(self.evidence, names, self.document.taken, self.setting("model"))

    def _foretell(self) -> None:
        """Keep how sure the camera's place would be with the views so far; what they lack is the hint."""
        names, size = self.state.of("views"), self.picture_size()
        self._hint = ""
        if len(names) < _FEWEST_TO_FORETELL or size is None:
            return
        lens, known = self.lens, True
        if lens is None:
            lens, known = work.guess_lens(self.evidence, (*self.state.of("rough"), *names), self.document.taken, size)
        try:
            result = work.foretell(self.posed_views("views"), lens, self.mount, self.evidence.board, self.seed)
        except CalibrationError as error:
            self._hint = error.remedy
            return
        if known:
            sigmas = result.sigma_translation * 1e3, float(np.rad2deg(result.sigma_rotation))
            self.document = replace(self.document, predicted={**self.document.predicted, self.view_key(names): sigmas})

    def _provenance(self, names: tuple[str, ...], **facts: Any) -> dict[str, Any]:
        taken = [self.document.taken[name] for name in names]
        options = {key: self.state.answers.get(key) for key in _OPTIONS} | {"goal": self.goal, "seed": self.seed}
        source = str(self.setting("source") or self.setting("camera") or "")
        return saving.provenance_of(taken, source=source, options=options, **facts)


_OPTIONS = ("model", "coefficients", "views", "accuracy_mm", "accuracy_deg", "edge_mm", "speed", "lens_from_views")
_OF_LENS = ("model", "focal_sigma_px", "rms_px", "held_out_px", "used")
_OF_HAND_EYE = (
    "views_used",
    "sigma_mm",
    "sigma_deg",
    "held_out_mm",
    "held_out_deg",
    "corner_noise_px",
    "arm_noise_mm",
    "arm_noise_deg",
)


def _first_state(rig: Rig | None) -> State:
    """Return what the rig says already."""
    if rig is None or not rig.robot:
        return State()
    robot = work.checked_answer("robot", {"robot": rig.robot, "base": rig.base, "tip": rig.tip}, {})
    return State(answers={"robot": robot} | ({} if rig.T_mount_camera is None else {"mount": rig.mount}))
