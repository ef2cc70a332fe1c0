"""A rig that is calibrated already: the same command again, the tool's own standing, what undo takes back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from calibration_photos import BOARD_WORDS, LENS, write_photographs
from calibration_stage import make_stage

from calibration import PosePairs
from calibration.files.samples import moveit_samples
from calibration.wizard import Wizard
from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.transforms import Transform


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a rig that was calibrated from photographs."""
    folder = tmp_path_factory.mktemp("again")
    write_photographs(folder / "views", np.random.default_rng(4), 9)
    words = ["calibrate", "all", "--from", str(folder / "views"), "--rig", str(folder / "rig"), "--robot", "panda"]
    assert main([*words, *BOARD_WORDS, "--model", "pinhole"]) == EXIT_OK
    return folder / "rig"


def test_a_finished_calibration_is_not_begun_again_unasked(rig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = ("rig.toml", "calibration/wizard.json")
    before = [(rig / name).read_bytes() for name in kept]
    for verb in ("all", "hand-eye"):
        words = ["calibrate", verb, "sim:calibration_board", "--auto", "--rig", str(rig)]
        assert main(words) == EXIT_OK
        said = " ".join(capsys.readouterr().err.split())
        assert "Everything is done" in said
        assert "Nothing was taken anew: --restart does that" in said
    assert [(rig / name).read_bytes() for name in kept] == before


def test_a_rig_whose_tool_nobody_touched_has_no_standing_of_the_tool(
    rig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (rig / "rig.toml").read_bytes()
    for word in ("--status", "--undo"):
        assert main(["calibrate", "tool", "--rig", str(rig), word]) == EXIT_ERROR
        assert "Nobody has calibrated the tool" in capsys.readouterr().err
    assert (rig / "rig.toml").read_bytes() == before


def test_where_it_stands_names_the_lens_that_was_written(rig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    intrinsics = load_rig(rig).intrinsics
    assert intrinsics is not None
    focal = f"{intrinsics.K[0, 0]:.2f}"
    with Wizard(rig, goal="all") as wizard:
        note = next(step.note for step in wizard.view.steps if step.step == "camera")
        assert wizard.view.results["hand-eye"]["lens_refined"]
    assert note.startswith(f"focal {focal} ")
    assert main(["calibrate", "hand-eye", "0", "--rig", str(rig)]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "focal length, refined" in printed
    assert focal in printed


def test_writing_the_tool_leaves_the_camera_done(rig: Path, tmp_path: Path) -> None:
    stage = make_stage(np.random.default_rng(2), "eye_to_hand", 8)
    tip = Transform.from_translation([0.01, 0.02, 0.15])
    touches = [view.flange for view in stage.views]
    point = np.array([0.5, 0.0, 0.1])
    moved = [Transform.from_parts(T.rotation, point - T.rotation @ tip.translation) for T in touches]
    file = tmp_path / "touches.json"
    file.write_text(json.dumps({"touches": [{"T_base_flange": T.matrix.tolist()} for T in moved]}))
    before = (rig / "rig.toml").read_bytes()
    assert main(["calibrate", "tool", "--from", str(file), "--rig", str(rig)]) == EXIT_OK
    for goal in ("all", "tool"):
        with Wizard(rig, goal=goal) as wizard:
            assert wizard.view.finished
    assert main(["calibrate", "tool", "--rig", str(rig), "--undo"]) == EXIT_OK
    assert (rig / "rig.toml").read_bytes() == before
    with Wizard(rig, goal="all") as wizard:
        assert wizard.view.finished


def test_what_pairs_of_poses_wrote_is_what_undo_takes_back(tmp_path: Path) -> None:
    stage = make_stage(np.random.default_rng(3), "eye_to_hand", 9, translation=2e-4, rotation=5e-4)
    seen = [stage.T_mount_camera.inv() @ view.flange @ stage.T_holder_board for view in stage.views]
    pairs = PosePairs(
        names=tuple(map(str, range(9))),
        Ts_base_flange=np.array([view.flange.matrix for view in stage.views]),
        Ts_camera_board=np.array([T.matrix for T in seen]),
    )
    (tmp_path / "samples.json").write_text(json.dumps(moveit_samples(pairs)))
    rig = tmp_path / "rig"
    save_rig(Rig(robot="panda", intrinsics=LENS, T_mount_camera=Transform.identity()), rig)
    before = (rig / "rig.toml").read_bytes()
    words = ["calibrate", "hand-eye", "--rig", str(rig)]
    assert main([*words, "--from", str(tmp_path / "samples.json"), "--mount", "eye_to_hand"]) == EXIT_OK
    assert (rig / "rig.toml").read_bytes() != before
    assert main([*words, "--undo"]) == EXIT_OK
    assert (rig / "rig.toml").read_bytes() == before
