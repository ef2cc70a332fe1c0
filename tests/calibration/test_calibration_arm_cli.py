"""`vision-ik calibrate arm`: views with joints become the arm of the rig, or leave it as drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from calibration_arms import UR5E, off_its_drawing, postures, see
from calibration_stage import BOARD, LENS

from calibration import HandEyeView
from vision_ik.camera_info import save_intrinsics
from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.robots import load_robot


def _write(folder: Path, views: list[HandEyeView], *, joints: bool = True) -> Path:
    entries: list[dict[str, object]] = []
    for view in views:
        assert view.q is not None
        entry: dict[str, object] = {
            "T_base_flange": view.flange.matrix.tolist(),
            "corners": view.detection.points_image.tolist(),
        }
        entries.append(entry | ({"q": view.q.tolist()} if joints else {}))
    file = folder / "views.json"
    told = {"config": "eye_to_hand", "image_size": [640, 480], "board": BOARD.chess_corners.tolist()}
    file.write_text(json.dumps(told | {"views": entries}))
    return file


def test_the_views_of_a_rig_become_its_arm_and_the_rig_before_is_kept(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    true = off_its_drawing(UR5E, rng)
    q = postures("eye_to_hand", 34, rng)
    file, folder = _write(tmp_path, see(true, "eye_to_hand", q, rng)), tmp_path / "rig"
    save_rig(Rig(robot="ur5e", default_tag_size=0.05, intrinsics=LENS), folder)
    assert main(["calibrate", "hand-eye", "--rig", str(folder), "--from", str(file)]) == EXIT_OK
    before = (folder / "rig.toml").read_bytes()
    capsys.readouterr()
    assert main(["calibrate", "arm", "--rig", str(folder), "--json"]) == EXIT_OK
    said = json.loads(capsys.readouterr().out)
    rig = load_rig(folder)
    robot = load_robot(rig.robot, rig.base, rig.tip)
    assert (said["adopted"], Path(said["urdf"])) == (True, folder / "ur5e_calibrated.urdf")
    assert robot.hash == rig.robot_hash == said["robot_hash"]
    assert said["held_out_after_mm"] < 0.6 * said["held_out_before_mm"]
    told = rig.provenance["arm"]
    assert (told["nominal"], told["nominal_hash"], told["views"]) == ("ur5e", UR5E.hash, 34)
    assert told["held_out_after_mm"] == pytest.approx(said["held_out_after_mm"], rel=1e-4)
    assert rig.default_tag_size == 0.05
    assert rig.T_mount_camera is not None
    np.testing.assert_allclose(rig.T_mount_camera.translation, said["hand_eye"]["translation"])
    assert (folder / said["kept"] / "rig.toml").read_bytes() == before
    # Once more, by people: the arm of before goes into the history, too.
    assert main(["calibrate", "arm", "--rig", str(folder), "--from", str(file), "--robot", "ur5e"]) == EXIT_OK
    shown = capsys.readouterr()
    assert "held-out views, calibrated arm" in shown.out
    assert "zero" in shown.out
    assert list((folder / "calibration" / "history").glob("*/ur5e_calibrated.urdf"))


def test_an_arm_as_drawn_changes_nothing(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = _write(tmp_path, see(UR5E, "eye_to_hand", postures("eye_to_hand", 30, rng), rng)), tmp_path / "rig"
    save_rig(Rig(robot="ur5e", intrinsics=LENS), folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["calibrate", "arm", "--rig", str(folder), "--from", str(file), "--json"]) == EXIT_OK
    shown = capsys.readouterr()
    said = json.loads(shown.out)
    assert (said["adopted"], said["file"], said["robot_hash"]) == (False, None, UR5E.hash)
    assert "nothing was changed" in shown.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_an_arm_cannot_be_calibrated_from_is_said(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _write(tmp_path, see(UR5E, "eye_to_hand", postures("eye_to_hand", 6, rng), rng), joints=False)
    lens = save_intrinsics(LENS, tmp_path / "lens.yaml")
    words = ["calibrate", "arm", "--rig", str(tmp_path / "rig"), "--robot", "ur5e"]

    def complaint(*more: str) -> str:
        assert main([*words, *more]) == EXIT_ERROR
        return " ".join(capsys.readouterr().err.split())

    assert "No views are kept in" in complaint()
    assert "The lens is unknown." in complaint("--from", str(file))
    assert "have no joint values" in complaint("--from", str(file), "--intrinsics", str(lens))
    assert not (tmp_path / "rig").exists()
