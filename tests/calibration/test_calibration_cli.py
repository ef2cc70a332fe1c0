"""`vision-ik calibrate` from the command line: results on stdout, the rig on disk, errors as sentences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_stage import BOARD, LENS, make_stage

from calibration import HandEyeResult, HandEyeView, calibrate_hand_eye
from vision_ik.camera_info import load_intrinsics, save_intrinsics
from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.tags import render_board
from vision_ik.types import TagGridBoard


def write_views(folder: Path, views: list[HandEyeView]) -> Path:
    """Write views as a JSON file of corners."""
    document = {
        "config": "eye_to_hand",
        "image_size": [640, 480],
        "board": BOARD.chess_corners.tolist(),
        "views": [
            {"T_base_flange": v.flange.matrix.tolist(), "corners": v.detection.points_image.tolist()} for v in views
        ],
    }
    file = folder / "views.json"
    file.write_text(json.dumps(document))
    return file


def expected(views: list[HandEyeView]) -> HandEyeResult:
    return calibrate_hand_eye(views, intrinsics=LENS, mount="eye_to_hand")


def test_hand_eye_from_a_file_makes_a_rig(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = make_stage(rng, "eye_to_hand", 9, pixel=0.2, translation=2e-4, rotation=5e-4)
    file = write_views(tmp_path, stage.views)
    lens = save_intrinsics(LENS, tmp_path / "lens.yaml")
    rig_folder = tmp_path / "rig"
    words = ["calibrate", "hand-eye", "--from", str(file), "--rig", str(rig_folder), "--robot", "panda"]
    assert main([*words, "--intrinsics", str(lens), "--json"]) == EXIT_OK
    printed = json.loads(capsys.readouterr().out)
    rig = load_rig(rig_folder)
    result = expected(stage.views)
    assert rig.T_mount_camera is not None
    assert rig.camera_covariance is not None
    assert rig.T_mount_camera.distance_to(result.T_mount_camera)[0] < 1e-9
    np.testing.assert_allclose(rig.camera_covariance, result.covariance, rtol=1e-6)
    assert printed["sigma_mm"] == pytest.approx(result.sigma_translation * 1e3)
    assert rig.robot_hash
    assert rig.provenance["calibrated_from"] == "views.json"


def test_hand_eye_from_pictures_names_another_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = render_board(replace(BOARD, family="5x5_100"), px_per_m=2000.0)
    cv2.imwrite(str(tmp_path / "a.png"), np.pad(page, 60, constant_values=255))
    (tmp_path / "poses.json").write_text(
        json.dumps({"views": [{"image": "a.png", "T_base_flange": np.eye(4).tolist()}]})
    )
    board = ["--columns", "7", "--rows", "5", "--square-mm", "30", "--marker-mm", "22", "--board-family", BOARD.family]
    words = ["calibrate", "hand-eye", "--from", str(tmp_path), "--rig", str(tmp_path / "rig"), "--robot", "panda"]
    assert main([*words, *board]) == EXIT_ERROR
    said = " ".join(capsys.readouterr().err.split())
    assert "a board with markers 0-16 of 5x5_50 or a larger 5x5 dictionary in 7 columns" in said


def test_an_existing_rig_keeps_what_is_not_calibrated(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Rig(
        robot="ur5e",
        tag_sizes={7: 0.05},
        boards={"wall": TagGridBoard(columns=2, rows=2, tag_m=0.05, gap_m=0.01)},
        intrinsics=LENS,
        provenance={"owner": "somebody"},
    )
    save_rig(before, tmp_path / "rig")
    file = write_views(tmp_path, make_stage(rng, "eye_to_hand", 8, pixel=0.2).views)
    assert main(["calibrate", "hand-eye", "--from", str(file), "--rig", str(tmp_path / "rig")]) == EXIT_OK
    after = load_rig(tmp_path / "rig")
    assert (after.robot, after.tag_sizes, dict(after.boards)) == ("ur5e", {7: 0.05}, dict(before.boards))
    assert after.provenance["owner"] == "somebody"
    assert after.T_mount_camera is not None
    assert "held-out" in capsys.readouterr().out


def test_views_that_cannot_calibrate_leave_the_rig_alone(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    save_rig(Rig(robot="panda", intrinsics=LENS), tmp_path / "rig")
    text = (tmp_path / "rig" / "rig.toml").read_bytes()
    seen = make_stage(rng, "eye_to_hand", 5).views
    file = write_views(tmp_path, [replace(view, T_base_flange=seen[0].flange) for view in seen])
    assert main(["calibrate", "hand-eye", "--from", str(file), "--rig", str(tmp_path / "rig")]) == EXIT_ERROR
    assert "hardly turns" in capsys.readouterr().err
    assert (tmp_path / "rig" / "rig.toml").read_bytes() == text


def test_camera_from_a_file_writes_the_lens(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_views(tmp_path, make_stage(rng, "eye_to_hand", 12, pixel=0.05).views)
    assert main(["calibrate", "camera", "--from", str(file), "--rig", str(tmp_path / "rig")]) == EXIT_OK
    lens = load_intrinsics(tmp_path / "rig" / "camera.yaml")
    assert lens.K[0, 0] == pytest.approx(600.0, rel=0.02)
    assert "focal x" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hand-eye"], "not neither"),
        (["hand-eye", "0", "--from", "x"], "not both"),
        (["hand-eye", "0"], "--auto"),
        (["hand-eye", "0", "--auto"], "move by itself"),
        (["hand-eye", "sim:calibration_board"], "by hand"),
        (["all", "--from", "nowhere", "--rig", "nowhere", "--robot", "panda"], "no JSON"),
        (["all", "--rig", "nowhere", "--undo"], "Nobody has calibrated nowhere"),
        (["hand-eye", "--from", "nowhere", "--rig", "nowhere"], "--robot"),
        (["hand-eye", "--from", "nowhere", "--rig", "nowhere", "--robot", "panda"], "no JSON"),
        (["camera", "--from", "nowhere", "--rig", "nowhere"], "which board"),
        (["camera", "--from", "nowhere", "--rig", "nowhere", "--columns", "7"], "--rows"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", *words]) == EXIT_ERROR
    assert said in capsys.readouterr().err
