"""What arm and camera showed beside the views is kept with the check, and written into the rig."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_photos import LENS, make_photographs
from calibration_stage import BOARD

from calibration import CheckReport, ValidationReport
from calibration.validation.values import skipped
from calibration.wizard import Answers, Checked, Command, Do, Lens, Picture, Step, Wizard
from vision_ik.errors import CalibrationError
from vision_ik.layouts import board_table
from vision_ik.rig import load_rig

_TOUCHED = CheckReport(
    name="touch test",
    error=4e-3,
    sigma=1e-3,
    worst=5e-3,
    count=5,
    passed=False,
    consistent=False,
    sentence="The tip misses.",
)


def test_further_checks_are_kept_with_the_check_and_fail_it(tmp_path: Path) -> None:
    stage, frames = make_photographs(np.random.default_rng(7), 8)
    report = ValidationReport(checks=(_TOUCHED, skipped("depth", "The camera gives no depth.")))
    with Wizard(tmp_path / "rig", goal="all") as wizard:
        told = {"robot": "panda", "mount": "eye_to_hand", "board": board_table(BOARD), "edge_mm": 0}
        wizard.handle(Answers(told | {"views": 6, "checks": 2, "tolerance_mm": 3.0}))
        wizard.handle(Lens(intrinsics=LENS, origin="a test"))
        with pytest.raises(CalibrationError, match="no check to add to"):
            wizard.handle(Checked(report=report))
        for view, frame in zip(stage.views, frames, strict=True):
            role = "views" if len(wizard.state.of("views")) < 6 else "checks"
            wizard.handle(Picture(frame=frame, T_base_flange=view.flange, role=role))
        wizard.handle(Do(Command.SOLVE))
        assert wizard.handle(Do(Command.CHECK)).results["check"]["passed"] is True
        failed = wizard.handle(Checked(report=report)).results["check"]
        assert failed["passed"] is False
        assert failed["further"]["touch_test"]["error_mm"] == pytest.approx(4.0)
        assert failed["further"]["depth"]["skipped"] == "The camera gives no depth."
        again = ValidationReport(checks=(replace(_TOUCHED, passed=True),))
        assert wizard.handle(Checked(report=again)).results["check"]["passed"] is True
        assert wizard.step is Step.SAVE
        wizard.handle(Do(Command.SAVE))
    assert load_rig(tmp_path / "rig").provenance["check"]["further"]["touch_test"]["count"] == 5
