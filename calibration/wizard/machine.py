"""The wizard: takes events, keeps everything on disk, shows where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from calibration.wizard import saving, showing, taking, work
from calibration.wizard.computing import Computing
from calibration.wizard.events import (
    Answer,
    Answers,
    Checked,
    Command,
    Do,
    Event,
    Import,
    Lens,
    Picture,
    Touch,
    Verdict,
    WizardView,
)
from calibration.wizard.evidence import short
from calibration.wizard.results import lens_values
from calibration.wizard.standing import SAVE_OF_TOOL, views_inputs
from calibration.wizard.state import Document, Record, State
from calibration.wizard.steps import Goal, Step
from calibration.wizard.store import Store
from calibration.wizard.tooling import read_touches, touch_facts
from vision_ik.errors import CalibrationError, ConfigError
from vision_ik.rig import Rig, load_rig

_FEWEST_TO_ADVISE = 6
"""Pictures from which the lens says what it would like to be shown next."""
_FEWEST_TO_FORETELL = 4
"""Views from which an accuracy is foretold."""


class Wizard(Computing):
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
        rig_file = path if path.suffix == ".toml" else path / "rig.toml"
        template = template or (load_rig(rig_file) if rig_file.exists() else None)
        store = Store(rig_file.parent)
        try:
            found = store.load()
            if found is not None:
                store.list_views(found)  # a crash may have come between the state and the lists
            document = found or Document(states=(_first_state(template),))
            super().__init__(store, rig_file, document, goal, template, seed)
        except BaseException:
            store.close()
            raise
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
            case Touch():
                self._touch(event)
            case Import() if event.role == "touches":
                facts = read_touches(event.path, self.robot)
                state = self.state.viewing("touches", tuple(facts), f"the touches of {event.path.name}")
                state = state.answering("source", str(event.path.resolve()))
                record = Record(inputs=self.inputs(Step.TOUCHES))
                state = state.recording(Step.TOUCHES, record, state.did)
                self.commit(replace(self.document, taken={**self.document.taken, **facts}).then(state))
            case Import():
                self._import(event)
            case Lens():
                facts = {"lens": lens_values(event.intrinsics), "given": event.origin, **event.facts}
                record = {"given": "", "camera": str(self.state.answers.get("camera", ""))}
                self.record(Step.CAMERA, facts, "the lens", inputs=record)
            case Checked():
                self.check_further(event.report)
            case Do():
                self._do(event.command, event.subject)
        return self.view

    def _do(self, command: Command, subject: str) -> None:
        match command:
            case Command.FIT_LENS:
                self.fit_lens()
            case Command.SOLVE:
                self.solve()
            case Command.CHECK:
                self.check()
            case Command.FIT_TOOL:
                self.fit_tool()
            case Command.SAVE:
                self.save()
            case Command.PRINT:
                self.print(Path(subject or "board.pdf"))
            case Command.UNDO | Command.REDO:
                self._go_back(1 if command is Command.REDO else -1)
            case _:
                self.commit(self.document.then(taking.changed(self, command, subject)))

    def _answer(self, values: Mapping[str, Any]) -> None:
        """Keep answers; those that say nothing new are passed over."""
        state = self.state
        for name, told in values.items():
            value = work.checked_answer(name, told, state.answers)
            if name not in state.answers or state.answers[name] != value:
                state = state.answering(name, value)
        if state is not self.state:
            self.commit(self.document.then(state))

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
        self.commit(self.document.with_taken(name, facts).then(state))
        self._verdict = replace(taken.verdict, name=short(name))
        if taken.role == "views":
            self._foretell()
        elif taken.role == "camera":
            self._advise()

    def _touch(self, event: Touch) -> None:
        """Keep a touch, and find out what the next one should be."""
        pose = taking.flange_pose(self, event)
        if pose is None:
            raise ConfigError("Nobody said where the flange was.", "Give the joints, or the pose of the flange.")
        stale = self.staleness(Step.TOUCHES)
        if stale:
            raise CalibrationError(
                f"Touches were made before, but {stale} now.", "Repeat touches, or answer as before."
            )
        names = self.state.of("touches")
        name = f"touches/{1 + sum(other.startswith('touches/') for other in self.document.taken):04d}"
        facts = touch_facts(pose, None if event.joints is None else event.joints.q) | {"when": saving.now()}
        state = self.state.viewing("touches", (*names, name), f"touch {short(name)}")
        state = state.recording(Step.TOUCHES, Record(inputs=self.inputs(Step.TOUCHES)), state.did)
        self.commit(self.document.with_taken(name, facts).then(state))
        self._verdict = Verdict(name=short(name), taken=True, sentence="Taken.")
        self._hint = ""
        try:
            result = self.tool(self.state.of("touches"))
        except CalibrationError:
            return
        self._hint = "" if result.next_touch is None else result.next_touch.sentence
        said = f"Taken: the tip is known to ± {1e3 * result.sigma_translation:.2f} mm."
        self._verdict = Verdict(name=short(name), taken=True, sentence=said)

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
        self.commit(replace(self.document, taken={**self.document.taken, **facts}).then(state))

    # -- results ---------------------------------------------------------------------

    # -- the past --------------------------------------------------------------------

    def _go_back(self, step: int) -> None:
        """Undo or redo one event; a rig that was written is brought back as it was."""
        at = self.document.at + step
        if not 0 <= at < len(self.document.states):
            raise ConfigError(f"There is nothing to {'undo' if step < 0 else 'redo'}.", "Go on with the next step.")
        now, then = self.state.records, self.document.states[at].records
        saves = [key for key in (Step.SAVE, SAVE_OF_TOOL) if now.get(key) != then.get(key)]
        if step > 0 and saves:
            raise ConfigError("Writing the rig cannot be redone.", "Save it again.")
        before = next((now[key] for key in saves if key in now), None)
        if before is not None:
            saving.bring_back(self.rig_file, str(self.document.outcomes[before.outcome]["kept"]))
            self.template = load_rig(self.rig_file) if self.rig_file.exists() else self.template
        self._verdict, self._hint = None, ""
        self.commit(replace(self.document, at=at))

    # -- keeping ---------------------------------------------------------------------

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


def _first_state(rig: Rig | None) -> State:
    """Return what the rig says already."""
    if rig is None or not rig.robot:
        return State()
    robot = work.checked_answer("robot", {"robot": rig.robot, "base": rig.base, "tip": rig.tip}, {})
    return State(answers={"robot": robot} | ({} if rig.T_mount_camera is None else {"mount": rig.mount}))
