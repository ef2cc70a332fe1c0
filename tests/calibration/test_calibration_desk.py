"""The way to a calibrated desk: one command for the lens, one for the camera's place, and the rig is complete."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from calibration_photos import BOARD_WORDS, LENS, write_photographs
from calibration_stage import BOARD

from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.robots import load_robot
from vision_ik.robots.catalogue import URDF_FOLDER


def test_two_commands_make_a_rig_that_has_everything(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = write_photographs(tmp_path / "views", rng)
    places = ["--from", str(tmp_path / "views"), "--rig", str(tmp_path / "desk")]
    assert main(["calibrate", "camera", *places, *BOARD_WORDS]) == EXIT_OK
    said = " ".join(capsys.readouterr().err.split())
    assert "The arm of the new rig is panda" in said
    assert "--size-mm" in said
    rig = load_rig(tmp_path / "desk")
    assert (rig.robot, dict(rig.boards), rig.T_mount_camera) == ("panda", {"board": BOARD}, None)
    # The tool looks into the tag, from before it.
    assert rig.T_tag_target.apply([0.0, 0.0, 0.05])[2] < rig.T_tag_target.translation[2]

    assert main(["calibrate", "hand-eye", *places, "--size-mm", "80"]) == EXIT_OK
    rig = load_rig(tmp_path / "desk")
    assert rig.intrinsics is not None
    assert rig.intrinsics.K[0, 0] == pytest.approx(600.0, rel=0.01)
    assert not rig.intrinsics.approximate
    assert rig.T_mount_camera is not None
    assert rig.camera_covariance is not None
    metres, angle = rig.T_mount_camera.distance_to(stage.T_mount_camera)
    assert metres < 2e-3
    assert angle < 5e-3
    assert rig.tag_size(0) == 0.08
    assert rig.robot_hash == load_robot(rig.robot, rig.base, rig.tip).hash


def test_the_arm_of_a_urdf_goes_from_the_link_named_to_the_link_named(tmp_path: Path, rng: np.random.Generator) -> None:
    write_photographs(tmp_path / "views", rng)
    shutil.copy(URDF_FOLDER / "panda.urdf", tmp_path / "arm.urdf")
    save_rig(Rig(robot="ur5e", base="base_link", boards={"board": BOARD}, intrinsics=LENS), tmp_path / "desk")
    words = ["calibrate", "hand-eye", "--from", str(tmp_path / "views"), "--rig", str(tmp_path / "desk")]
    assert main([*words, "--robot", str(tmp_path / "arm.urdf"), "--tip", "panda_link5"]) == EXIT_OK
    rig = load_rig(tmp_path / "desk")
    assert (rig.base, rig.tip) == (None, "panda_link5")  # the other arm's base went with it
    assert rig.robot_hash == load_robot(tmp_path / "arm.urdf", None, "panda_link5").hash


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ('robot = "pandaa"', [], "No arm is called 'pandaa'"),
        ('robot = "panda"\n[tags]\nfamily = "37h11"', [], "no tag family or dictionary '37h11'"),
        ('robot = "panda"', ["--size-mm", "-3"], "--size-mm must be between"),
        ('robot = "panda"', ["--tip", "elbow"], "elbow"),
    ],
)
@pytest.mark.parametrize("verb", ["camera", "hand-eye"])
def test_what_cannot_be_is_said_before_any_picture_is_looked_at(
    verb: str, content: str, words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rig.toml").write_text(content)
    places = ["--from", str(tmp_path / "nowhere"), "--rig", str(tmp_path)]
    assert main(["calibrate", verb, *places, *BOARD_WORDS, *words]) == EXIT_ERROR
    assert said in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "rig.toml").read_text() == content
