"""`vision-ik calibrate all` and `hand-eye`: from files, by hand, undone, interrupted; every mistake is a sentence."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from calibration_photos import BOARD_WORDS, LENS, frame, photograph, write_photographs
from calibration_stage import BOARD

from calibration.lens.projection import project
from calibration.wizard import Wizard
from vision_ik.camera_info import save_intrinsics
from vision_ik.cli import calibrate_by_hand, calibrate_film
from vision_ik.cli.main import EXIT_ERROR, EXIT_FOUND, EXIT_INTERRUPTED, EXIT_OK, main
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.robots import load_robot
from vision_ik.testing import FakeCamera, VirtualClock
from vision_ik.transforms import Transform
from vision_ik.types import Floats, Frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of photographs and poses."""
    path = tmp_path_factory.mktemp("photographs") / "views"
    write_photographs(path, np.random.default_rng(4), 9)
    return path


def _words(folder: Path, rig: Path, *more: str) -> list[str]:
    words = ["calibrate", "all", "--from", str(folder), "--rig", str(rig), "--robot", "panda"]
    return [*words, *BOARD_WORDS, "--model", "pinhole", *more]


def test_a_folder_becomes_a_rig_that_was_checked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_words(folder, tmp_path, "--tolerance-mm", "5", "--json")) == EXIT_OK
    printed = json.loads(capsys.readouterr().out)
    assert printed["file"] == str(tmp_path / "rig.toml")
    assert printed["camera"]["focal_px"][0] == pytest.approx(600.0, rel=0.01)
    assert printed["hand_eye"]["views_used"] == 9
    assert printed["check"]["passed"] is True
    rig = load_rig(tmp_path)
    assert rig.provenance["hand_eye"]["source"] == str(folder.resolve())
    assert rig.provenance["camera"]["pictures_sha256"] == rig.provenance["hand_eye"]["pictures_sha256"]
    assert rig.provenance["calibrated_from"] == "views"
    again = tmp_path / "again"
    assert main(_words(folder, again, "--json")) == EXIT_OK
    twice = [each.T_mount_camera for each in (rig, load_rig(again))]
    assert twice[0] is not None
    assert twice[1] is not None
    np.testing.assert_array_equal(twice[0].matrix, twice[1].matrix)


def test_calibrating_again_from_the_same_views_tells_no_more(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_words(folder, tmp_path)) == EXIT_OK
    first = load_rig(tmp_path)
    words = ["calibrate", "hand-eye", "--from", str(folder), "--rig", str(tmp_path), *BOARD_WORDS]
    for _ in range(2):
        assert main(words) == EXIT_OK
        again = load_rig(tmp_path)
        assert first.intrinsics is not None
        assert again.intrinsics is not None
        for a, b in ((again.camera_covariance, first.camera_covariance), *_covariances(again, first)):
            assert a is not None
            assert b is not None
            assert np.diag(a) == pytest.approx(np.diag(b), rel=1e-3)
    capsys.readouterr()


def _covariances(*rigs: Rig) -> list[tuple[Floats | None, ...]]:
    return [tuple(None if rig.intrinsics is None else rig.intrinsics.covariance for rig in rigs)]


def test_a_check_that_fails_is_told_by_the_exit_code(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_words(folder, tmp_path, "--tolerance-mm", "0.0001")) == EXIT_FOUND
    assert "failed" in capsys.readouterr().out


def test_what_was_written_is_taken_back_and_where_it_stands_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_rig(Rig(robot="panda", intrinsics=LENS, T_mount_camera=Transform.identity()), tmp_path)
    before = (tmp_path / "rig.toml").read_bytes()
    words = ["calibrate", "hand-eye", "--from", str(folder), "--rig", str(tmp_path), *BOARD_WORDS]
    assert main(words) == EXIT_OK
    assert (tmp_path / "rig.toml").read_bytes() != before
    assert main(["calibrate", "hand-eye", "--rig", str(tmp_path), "--undo"]) == EXIT_OK
    assert (tmp_path / "rig.toml").read_bytes() == before
    capsys.readouterr()
    assert main(["calibrate", "hand-eye", "--rig", str(tmp_path), "--status", "--json"]) == EXIT_OK
    steps = {step["step"]: step["status"] for step in json.loads(capsys.readouterr().out)["steps"]}
    assert steps == {"set-up": "done", "board": "done", "camera": "done", "views": "done", "hand-eye": "done"} | {
        "save": "now"
    }


def test_a_folder_of_another_camera_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lens = LENS.scaled(1280, 960).part(0, 120, 1280, 720)
    save_rig(Rig(robot="panda", intrinsics=lens), tmp_path)
    words = ["calibrate", "hand-eye", "--from", str(folder), "--rig", str(tmp_path), *BOARD_WORDS]
    assert main(words) == EXIT_ERROR
    said = " ".join(capsys.readouterr().err.split())
    assert "The intrinsics are for 1280x720, but the camera of the views gives 640x480" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not json"),
        ('{"views": [{"image": "gone.png", "T_base_flange": []}]}', "gone.png"),
        ('{"views": [{"image": "gone.png"}]}', "gone.png"),
    ],
)
def test_views_that_cannot_be_read_leave_nothing_behind(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "poses.json").write_text(content)
    assert main(_words(tmp_path, tmp_path / "rig")) == EXIT_ERROR
    assert said in " ".join(capsys.readouterr().err.split()).lower()
    assert not (tmp_path / "rig").exists()


def test_a_file_is_no_rig(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rig").write_text("mine")
    assert main(_words(folder, tmp_path / "rig")) == EXIT_ERROR
    assert "is a file, and a rig is a folder" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_simulated_arm_does_everything_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pybullet")
    words = ["calibrate", "all", "sim:calibration_board", "--auto", "--rig", str(tmp_path), "--json"]
    assert main([*words, "--tolerance-mm", "3"]) == EXIT_OK
    said = json.loads(capsys.readouterr().out)
    assert said["check"]["passed"] is True
    assert said["hand_eye"]["true_error_mm"] < 4.0 * said["hand_eye"]["sigma_mm"]
    assert said["camera"]["focal_px"][0] == pytest.approx(601.5, rel=3e-3)
    assert load_rig(tmp_path).provenance["hand_eye"]["pictures"] == 15


def test_a_rig_in_use_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Wizard(tmp_path):
        assert main(_words(folder, tmp_path)) == EXIT_ERROR
    assert "Another run is calibrating" in capsys.readouterr().err


# -- by hand -----------------------------------------------------------------------------


class _Desk:
    """A camera that looks at a board on an arm, and a person who moves the arm, looks at the pendant, and types."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lines: list[str], order: list[int]) -> None:
        self.postures, self.frames, self.T_base_camera = _arm_before_a_camera()
        self.lines = iter(lines)
        clock = VirtualClock()

        def open_fake(*_: object, **__: object) -> FakeCamera:
            return FakeCamera([self.frames[i] for i in order], clock=clock)

        monkeypatch.setattr(calibrate_by_hand, "open_camera", open_fake)
        monkeypatch.setattr(sys, "stdin", self)

    def readline(self) -> str:
        """Return what the person types; Ctrl-C where a line says so, and nothing at the end."""
        line = next(self.lines, None)
        if line == "Ctrl-C":
            raise KeyboardInterrupt
        return "" if line is None else f"{line}\n"


@cache
def _arm_before_a_camera() -> tuple[list[str], list[Frame], Transform]:
    """Return the joints as a pendant shows them, the photographs taken with them, and where the camera is."""
    robot, rng = load_robot("panda"), np.random.default_rng(2)
    T_flange_board = Transform.from_translation([-0.105, -0.075, 0.05])
    middle = Transform(robot.forward(robot.home)) @ T_flange_board @ Transform.from_translation([0.105, 0.075, 0.55])
    T_base_camera = middle @ Transform.exp([0, 0, 0, np.pi, 0, 0])
    postures: list[str] = []
    frames: list[Frame] = []
    rim = np.array([[0.0, 0.0, 0.0], [0.21, 0.0, 0.0], [0.21, 0.15, 0.0], [0.0, 0.15, 0.0]])
    while len(frames) < 9:
        q = robot.home + rng.normal(size=robot.n) * np.array([0.1, 0.1, 0.1, 0.1, 0.3, 0.3, 0.5])
        T_camera_board = T_base_camera.inv() @ Transform(robot.forward(q)) @ T_flange_board
        uv, ahead = project(T_camera_board.apply(rim), LENS)[0], T_camera_board.apply(rim)[:, 2] > 0.2
        if ahead.all() and (uv > 15).all() and (uv < (LENS.width - 15, LENS.height - 15)).all():
            postures.append(" ".join(f"{x:.4f}" for x in np.rad2deg(q)))
            frames.append(frame(photograph(T_camera_board), len(frames)))
    return postures, frames, T_base_camera


def _by_hand(tmp_path: Path, *more: str) -> list[str]:
    lens = save_intrinsics(LENS, tmp_path / "lens.yaml")
    words = ["calibrate", "hand-eye", "0", "--rig", str(tmp_path / "desk"), "--intrinsics", str(lens), "--views", "6"]
    return [*words, *more]


def test_a_person_types_the_joints_and_corrects_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    q = _arm_before_a_camera()[0]
    lines = ["pandaa", "panda", "eye_to_hand", "blackboard 7 5", "charuco 7 5 30 22", "300", "210"]
    lines += ["", "1 2 3", "?", "s"]  # joints that are none
    lines += ["", q[0], "", q[1], "", q[1], "u", "", q[2], "", q[3], "d 2", "", q[4], "", q[5], "", q[6]]
    desk = _Desk(monkeypatch, lines, [0, 0, 1, 1, 2, 3, 4, 5, 6])
    assert main(_by_hand(tmp_path)) == EXIT_OK
    said = " ".join(capsys.readouterr().err.split())
    for part in (
        "No arm is called 'pandaa'",
        "describes no board: 'blackboard 7 5'",
        "is no edge of this board",
        "3 numbers, and panda has 7 joints",
        "Taken back: picture 3",
        "views the camera's place is sure to",
        "With 5",
    ):
        assert part in said, part
    rig = load_rig(tmp_path / "desk")
    assert rig.T_mount_camera is not None
    assert rig.T_mount_camera.distance_to(desk.T_base_camera)[0] < 1e-3
    assert rig.provenance["hand_eye"]["views"] == 6
    assert rig.boards["board"] == BOARD


def test_an_interrupted_person_goes_on_with_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    q = _arm_before_a_camera()[0]
    words = _by_hand(tmp_path, "--robot", "panda", "--mount", "eye_to_hand", *BOARD_WORDS, "--measured-edge-mm", "210")
    _Desk(monkeypatch, ["", q[0], "", q[1], "", "Ctrl-C"], [0, 1, 2])
    assert main(words) == EXIT_INTERRUPTED
    assert "the same command goes on from there" in capsys.readouterr().err
    _Desk(monkeypatch, ["", q[2], "q"], [2])
    assert main(words) == EXIT_FOUND
    said = capsys.readouterr().err
    assert "Going on: 2 pictures were taken before" in said
    assert "Stopped." in said
    _Desk(monkeypatch, ["", q[3], "", q[4], "", q[5]], [3, 4, 5])
    assert main(words) == EXIT_OK
    assert load_rig(tmp_path / "desk").provenance["hand_eye"]["views"] == 6


def test_views_of_another_setup_are_not_mixed_with_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    q = _arm_before_a_camera()[0]
    words = _by_hand(tmp_path, "--robot", "panda", "--mount", "eye_to_hand", *BOARD_WORDS, "--measured-edge-mm", "210")
    _Desk(monkeypatch, ["", q[0], "q"], [0])
    assert main(words) == EXIT_FOUND
    words[words.index("eye_to_hand")] = "eye_in_hand"
    _Desk(monkeypatch, ["", q[0], "", q[1]], [0, 1])
    assert main(words) == EXIT_ERROR
    said = " ".join(capsys.readouterr().err.split())
    assert "Views were taken before, but the camera is mounted otherwise now" in said
    assert "--restart" in said


def test_without_anybody_to_answer_it_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _Desk(monkeypatch, [], [0])
    assert main(_by_hand(tmp_path)) == EXIT_ERROR
    assert "Nobody answers" in capsys.readouterr().err


def _show_board(monkeypatch: pytest.MonkeyPatch, order: list[int]) -> None:
    """Let a webcam see the board in one place after another, three pictures in each."""
    frames = _arm_before_a_camera()[1]
    shown = [frames[i] for i in order for _ in range(3)]
    clock = VirtualClock()

    def open_fake(*_: object, **__: object) -> FakeCamera:
        return FakeCamera(shown, clock=clock)

    monkeypatch.setattr(calibrate_film, "open_camera", open_fake)


def test_pictures_of_a_webcam_are_kept_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", "camera", "0", "--rig", str(tmp_path), *BOARD_WORDS, "--model", "pinhole", "--views", "7"]
    _show_board(monkeypatch, [0, 1, 2])
    assert main(words) == EXIT_ERROR
    assert "at least 4" in capsys.readouterr().err
    _show_board(monkeypatch, [3, 4, 5, 6, 7, 8])
    assert main([*words, "--json"]) == EXIT_OK
    written = capsys.readouterr()
    assert "Going on with 3 pictures" in written.err
    assert json.loads(written.out)["views"] == 7
    rig = load_rig(tmp_path)
    assert rig.intrinsics is not None
    assert rig.intrinsics.K[0, 0] == pytest.approx(600.0, rel=0.02)
    assert rig.provenance["camera"]["pictures"] == 7
    assert len(list((tmp_path / "calibration" / "camera").glob("*.png"))) == 7
    _show_board(monkeypatch, [8, 7, 6, 5, 4, 3, 2])
    assert main(words) == EXIT_OK
    assert "Going on" not in capsys.readouterr().err
