"""What `vision-ik calibrate hand-eye` tells of systematic errors, and what the rig keeps of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, make_stage

from calibration import Systematic, calibrate_hand_eye
from calibration.wizard.results import hand_eye_facts, told_of_hand_eye
from vision_ik.cli.main import EXIT_OK, main
from vision_ik.rig import Rig, load_rig, save_rig

CALIBRATED = replace(LENS, covariance=np.diag(np.square([4.0, 4.0, 3.0, 3.0, 0.01, 0.02, 5e-4, 5e-4, 0.02])))


def _file(folder: Path, focal_share: float) -> Path:
    """Write views of a camera whose focal length is not quite what the rig says."""
    K = LENS.K.copy()
    K[[0, 1], [0, 1]] *= 1.0 + focal_share
    rng = np.random.default_rng(0)
    lens = replace(LENS, K=K)
    stage = make_stage(rng, "eye_to_hand", 20, pixel=0.3, translation=3e-4, rotation=9e-4, lens=lens)
    views = [
        {"T_base_flange": view.flange.matrix.tolist(), "corners": view.detection.points_image.tolist()}
        for view in stage.views
    ]
    told = {"config": "eye_to_hand", "image_size": [640, 480], "board": BOARD.chess_corners.tolist(), "views": views}
    file = folder / "views.json"
    file.write_text(json.dumps(told))
    return file


def test_a_refined_lens_is_told_and_kept_with_the_rig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["calibrate", "hand-eye", "--from", str(_file(tmp_path, 0.03)), "--rig", str(tmp_path / "rig")]
    save_rig(Rig(robot="panda", intrinsics=CALIBRATED), tmp_path / "rig")
    assert main(words) == EXIT_OK
    shown = capsys.readouterr()
    assert "✓ Read the views: 20 views" in shown.err
    assert "the refined lens to camera.yaml" in shown.err
    assert "lens" in [line.split()[0] for line in shown.out.splitlines() if line.strip()]
    rig = load_rig(tmp_path / "rig")
    assert rig.intrinsics is not None
    assert rig.intrinsics.K[0, 0] == pytest.approx(618.0, rel=5e-3)
    assert rig.provenance["hand_eye"]["lens_refined"] is True
    assert "lens" in rig.provenance["hand_eye"]["taken_into_account"]


def test_an_exact_lens_is_left_and_every_systematic_is_in_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", "hand-eye", "--from", str(_file(tmp_path, 0.0)), "--rig", str(tmp_path / "rig"), "--json"]
    save_rig(Rig(robot="panda", intrinsics=LENS), tmp_path / "rig")
    assert main(words) == EXIT_OK
    shown = capsys.readouterr()
    said = json.loads(shown.out)
    assert said["lens_refined"] is False
    assert {"lens", "board scale"} <= {systematic["name"] for systematic in said["systematics"]}
    assert all(systematic["sentence"] for systematic in said["systematics"])
    assert "refined lens" not in shown.err
    rig = load_rig(tmp_path / "rig")
    assert rig.intrinsics is not None
    np.testing.assert_array_equal(rig.intrinsics.K, LENS.K)
    assert "time_offset_ms" not in rig.provenance["hand_eye"]


def test_the_provenance_holds_the_time_offset_and_what_was_taken_into_account() -> None:
    stage = make_stage(np.random.default_rng(1), "eye_to_hand", 8, pixel=0.2, translation=2e-4, rotation=5e-4)
    result = calibrate_hand_eye(stage.views, intrinsics=LENS, mount="eye_to_hand", systematics=())
    late = Systematic(
        name="time offset",
        estimate=-0.05,
        sigma=1e-3,
        unit="s",
        gain=99.0,
        adopted=True,
        striking=True,
        sentence="The camera's pictures are late.",
    )
    asked = replace(late, name="board bend", adopted=False, striking=False)
    facts = hand_eye_facts(replace(result, time_offset=-0.05, systematics=(late, asked)), LENS)
    told = told_of_hand_eye(facts)
    assert told["time_offset_ms"] == pytest.approx(-50.0)
    assert told["taken_into_account"] == ["time offset"]
    assert told["lens_refined"] is None
    assert facts["systematics"] == [asdict(late), asdict(asked)]
