"""What the wizard computes from what was taken, and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.values import HandEyeResult
from calibration.lens.intrinsics import IntrinsicsResult
from calibration.tool.values import ToolResult
from calibration.validation.values import ValidationReport
from calibration.wizard import saving, work
from calibration.wizard.checking import check_result
from calibration.wizard.lenses import is_of_pictures, with_calibrated
from calibration.wizard.results import hand_eye_facts, lens_facts, parse_lens, told_of_hand_eye
from calibration.wizard.standing import Standing
from calibration.wizard.state import Document, Record
from calibration.wizard.steps import Goal, Step
from calibration.wizard.store import Store
from calibration.wizard.tooling import fit_tool, oriented, tool_facts
from vision_ik.errors import CalibrationError, ConfigError
from vision_ik.layouts import parse_board
from vision_ik.rig import Rig, load_rig

_OPTIONS = ("model", "coefficients", "views", "accuracy_mm", "accuracy_deg", "edge_mm", "speed", "lens_from_views")
_OF_LENS = ("model", "focal_sigma_px", "rms_px", "held_out_px", "used")


class Computing(Standing):
    """A standing that results are added to, each on disk when it is there.

    Args:
        store: Where everything is kept.
        rig_file: Path of rig.toml.
        document: What is there.
        goal: What shall be known in the end.
        template: What is known of the rig apart from results.
        seed: Of everything random.
    """

    def __init__(
        self, store: Store, rig_file: Path, document: Document, goal: Goal, template: Rig | None, seed: int
    ) -> None:
        super().__init__(store.folder, document, goal, template)
        self.rig_file = rig_file
        self.seed = seed
        self._store = store
        self.lens_result: IntrinsicsResult | None = None
        """Of the lens, if it was computed by this object."""
        self.hand_eye_result: HandEyeResult | None = None
        """Of the hand-eye calibration, likewise."""

    def fit_lens(self) -> None:
        """Compute the lens.

        Raises:
            CalibrationError: The pictures determine none.
        """
        names = self.lens_names()
        if not names:
            raise CalibrationError("There is no picture to compute the lens from.", "Take pictures of the board first.")
        model, count = self.setting("model"), int(self.setting("coefficients"))
        result = work.fit_lens(self.evidence, names, self.document.taken, model=model, coefficients=count)
        self.lens_result = result
        facts = lens_facts(result)
        facts["provenance"] = self._provenance(names, **{key: facts[key] for key in _OF_LENS})
        self.record(Step.CAMERA, facts, "the lens")

    def solve(self) -> None:
        """Compute where the camera is.

        Raises:
            CalibrationError: The views do not determine it.
            CameraError: The lens is that of other pictures.
        """
        names, lens, size = self.state.of("views"), self.lens, self.picture_size()
        if lens is None or size is None:
            raise CalibrationError(
                f"There {'is no lens' if lens is None else 'are no views'} to compute from.",
                "Do the steps before first.",
            )
        lens = work.lens_for(lens, size, "the camera of the views")
        views = self.evidence.views(names, self.document.taken)
        board = self.evidence.board
        result = calibrate_hand_eye(
            views,
            intrinsics=lens,
            mount=self.mount,
            board=board,
            lens_from_views=self._lens_is_of(names),
            seed=self.seed,
        )
        self.hand_eye_result = result
        facts = hand_eye_facts(result, lens)
        facts["provenance"] = self._provenance(
            names, robot_hash=self.robot.hash, mount=self.mount, **told_of_hand_eye(facts)
        )
        self.record(Step.SOLVE, facts, "the result")

    def check(self) -> None:
        """Compare the result with views of its own.

        Raises:
            CalibrationError: There is no result yet.
        """
        result, lens, size = self.outcome(Step.SOLVE), self.lens, self.picture_size()
        if result is None or lens is None or size is None:
            raise CalibrationError("There is no result to check yet.", "Compute where the camera is first.")
        bounds = {name: self.setting(name) for name in ("tolerance_mm", "tolerance_deg")}
        lens = work.lens_for(parse_lens(result["lens"]), size, "the camera of the views")
        self.record(Step.CHECK, check_result(result, self.posed_views("checks"), lens, **bounds), "the check")

    def check_further(self, report: ValidationReport) -> None:
        """Keep checks that were made with arm and camera beside the one on views.

        Raises:
            CalibrationError: There is no check yet.
        """
        before = self.outcome(Step.CHECK)
        if before is None:
            raise CalibrationError("There is no check to add to.", "Check the result on views of its own first.")
        on_views = before.get("passed_on_views", before["passed"])
        verdicts = [verdict for verdict in (on_views, report.passed) if verdict is not None]
        further = {check["name"].replace(" ", "_"): check for check in report.as_facts()["checks"]}
        told = {"passed": all(verdicts) if verdicts else None, "passed_on_views": on_views, "further": further}
        self.record(Step.CHECK, {**before, **told}, "the further checks")

    def save(self) -> None:
        """Write what came out into the rig, after keeping the rig that was there.

        Raises:
            RecordingError: It could not be written; the rig before is untouched.
        """
        lens, result, check = self.outcome(Step.CAMERA), self.outcome(Step.SOLVE), self.outcome(Step.CHECK)
        told = self.state.answers.get("robot") or {}
        rig = self.template or Rig(robot=str(told.get("robot", "")))
        if told:
            rig = replace(rig, robot=told["robot"], base=told.get("base"), tip=told.get("tip"))
        result = result if Step.SOLVE in self.steps else None
        provenance: dict[str, Mapping[str, Any]] = {}
        tool = self.outcome(Step.TOOL) if self.goal == "tool" else None
        if tool is not None:
            lens, provenance["tool"] = None, tool["provenance"]
        if lens is not None:
            camera = with_calibrated(lens, self._lens_to_save(lens, result) or lens["lens"])
            provenance |= {"camera": camera} if camera else {}
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
            tool=tool,
            board=self.evidence.board if tool is None else None,
            provenance=provenance,
            origin=Path(str(self.setting("source") or "")).name or str(self.setting("camera") or ""),
        )
        self.template = load_rig(file)
        self.record(Step.SAVE, {"file": str(file), "kept": kept, "when": saving.now()}, "writing the rig")

    def _lens_is_of(self, names: tuple[str, ...]) -> bool:
        """Return whether the lens was calibrated from the pictures of these views."""
        lens = self.outcome(Step.CAMERA) or {}
        computed = "given" not in lens and set(names) <= set(self.lens_names())
        return computed or is_of_pictures(lens, [self.document.taken[name] for name in names])

    def _lens_to_save(
        self, lens: Mapping[str, Any] | None, result: Mapping[str, Any] | None
    ) -> Mapping[str, Any] | None:
        """Return the lens as plain values: the one that belongs to the result, for the two were found together."""
        if result is not None:
            return result["lens"]
        return None if lens is None else lens["lens"]

    def print(self, path: Path) -> None:
        """Write the board as a PDF.

        Raises:
            ConfigError: Nobody said which.
            TagError: It does not fit the page.
            RecordingError: The file could not be written.
        """
        from vision_ik.tags import save_board_pdf

        board = self.state.answers.get("board")
        if board is None:
            raise ConfigError("Nobody said which board to print.", "Describe it first.")
        save_board_pdf(parse_board("board", board), path)
        self.commit(self.document.then(self.state.answering("printed", str(path))))

    def tool(self, names: tuple[str, ...]) -> ToolResult:
        """Return the tool; its orientation is what the rig says."""
        R = np.eye(3) if self.template is None else self.template.T_flange_tool.rotation
        return fit_tool(names, self.document.taken, R)

    def fit_tool(self) -> None:
        """Compute where the tool is.

        Raises:
            CalibrationError: The touches do not tell.
        """
        names = self.state.of("touches")
        facts = tool_facts(oriented(self.tool(names), self.setting("behind") or ()))
        picked = {key: facts[key] for key in ("sigma_mm", "held_out_mm", "arm_noise_mm", "arm_noise_deg", "used")}
        facts["provenance"] = self._provenance(names, robot_hash=self.robot.hash, **picked)
        self.record(Step.TOOL, facts, "the tool")

    def commit(self, document: Document) -> None:
        """Keep everything on disk, and go on from it.

        Raises:
            RecordingError: It could not be written; everything is as before.
        """
        self._store.commit(document)
        self.document = document

    def record(self, step: Step, facts: Mapping[str, Any], did: str, *, inputs: dict[str, str] | None = None) -> None:
        """Keep a result; ``inputs`` are what it depends on, by default those of the step."""
        document, number = self.document.with_outcome(facts)
        record = Record(inputs=self.inputs(step) if inputs is None else inputs, outcome=number)
        self.commit(document.then(self.state.recording(self.key(step), record, did)))

    def _provenance(self, names: tuple[str, ...], **facts: Any) -> dict[str, Any]:
        taken = [self.document.taken[name] for name in names]
        options = {key: self.state.answers.get(key) for key in _OPTIONS} | {"goal": self.goal, "seed": self.seed}
        source = str(self.setting("source") or self.setting("camera") or "")
        return saving.provenance_of(taken, source=source, options=options, **facts)
