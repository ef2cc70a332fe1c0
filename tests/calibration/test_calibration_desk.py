"""The way to a calibrated desk: one command for the lens, one for the camera's place, and the rig is complete."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_stage import BOARD, Stage, make_stage

from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.robots import load_robot
from vision_ik.robots.catalogue import URDF_FOLDER
from vision_ik.tags import render_board
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, Image

_LENS = CameraIntrinsics(K=np.array([[600.0, 0, 322.0], [0, 600.0, 237.0], [0, 0, 1]]), width=640, height=480)
_PX_PER_M = 3000.0
_MARGIN_M = 0.02
_BOARD_WORDS = ["--columns", "7", "--rows", "5", "--square-mm", "30", "--marker-mm", "22"]


def _photograph(T_camera_board: Transform, page: Image) -> Image:
    """Return the board as a camera without distortion sees it: a homography of its flat picture."""
    height = BOARD.size_m[1]
    T: Floats = T_camera_board.matrix
    to_camera = _LENS.K @ np.column_stack([T[:3, 0], T[:3, 1], T[:3, 3]])
    offset = _MARGIN_M * _PX_PER_M - 0.5
    page_from_board = np.array([[_PX_PER_M, 0, offset], [0, -_PX_PER_M, height * _PX_PER_M + offset], [0, 0, 1]])
    # Twice as fine and then averaged, so that edges are soft as on a sensor.
    finer = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])
    H = finer @ to_camera @ np.linalg.inv(page_from_board)
    large = cv2.warpPerspective(page, H, (1280, 960), flags=cv2.INTER_LINEAR, borderValue=(120,))
    grey = cv2.resize(large, (640, 480), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _photographs(folder: Path, rng: np.random.Generator) -> Stage:
    """Write pictures of the board and the poses of the arm into a folder; return the truth."""
    stage = make_stage(rng, "eye_to_hand", 12)
    page = render_board(BOARD, _PX_PER_M, margin_m=_MARGIN_M)
    folder.mkdir()
    views: list[dict[str, object]] = []
    for i, view in enumerate(stage.views):
        T_camera_board = stage.T_mount_camera.inv() @ view.flange @ stage.T_holder_board
        name = f"{i:02}.png"
        cv2.imwrite(str(folder / name), _photograph(T_camera_board, page))
        views.append({"image": name, "T_base_flange": view.flange.matrix.tolist()})
    (folder / "poses.json").write_text(json.dumps({"config": "eye_to_hand", "views": views}))
    return stage


def test_two_commands_make_a_rig_that_has_everything(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = _photographs(tmp_path / "views", rng)
    places = ["--from", str(tmp_path / "views"), "--rig", str(tmp_path / "desk")]
    assert main(["calibrate", "camera", *places, *_BOARD_WORDS]) == EXIT_OK
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
    _photographs(tmp_path / "views", rng)
    shutil.copy(URDF_FOLDER / "panda.urdf", tmp_path / "arm.urdf")
    save_rig(Rig(robot="ur5e", base="base_link", boards={"board": BOARD}, intrinsics=_LENS), tmp_path / "desk")
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
    assert main(["calibrate", verb, *places, *_BOARD_WORDS, *words]) == EXIT_ERROR
    assert said in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "rig.toml").read_text() == content
