"""The wizard: every step on disk the moment it is done, undone at will, and honest about what is old."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from calibration_photos import LENS, frame, make_photographs, photograph
from calibration_stage import BOARD, Stage

from calibration import read_observations
from calibration.wizard import Answer, Command, Do, Event, Lens, Picture, Step, Wizard
from calibration.wizard import store as wizard_store
from vision_ik.errors import CalibrationError, ConfigError, RecordingError, TagError, VisionIkError
from vision_ik.files import write_atomic
from vision_ik.layouts import board_table
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.tags import render_board
from vision_ik.transforms import Transform
from vision_ik.types import Frame, JointState

_VIEWS = 8


@cache
def _scene() -> tuple[Stage, list[Frame]]:
    return make_photographs(np.random.default_rng(7), _VIEWS)


def _picture(i: int, **changes: Any) -> Picture:
    stage, frames = _scene()
    return replace(Picture(frame=frames[i], T_base_flange=stage.views[i].flange), **changes)


def _told(wizard: Wizard, **others: Any) -> Wizard:
    """Tell the wizard everything but the views."""
    answers = {"robot": "panda", "mount": "eye_to_hand", "board": board_table(BOARD), "edge_mm": 0, "views": 6}
    for name, value in (answers | {"checks": 2} | others).items():
        wizard.handle(Answer(name, value))
    wizard.handle(Lens(intrinsics=LENS, origin="a test"))
    return wizard


def _finish(wizard: Wizard, first: int = 0) -> Wizard:
    """Give the wizard what it wants, to the end."""
    i = first
    while not wizard.view.finished:
        view = wizard.view
        assert view.wants in ("posed picture", "command"), view.todo
        if view.wants == "posed picture":
            wizard.handle(_picture(i))
            i += 1
        else:
            assert view.command is not None
            wizard.handle(Do(view.command))
    return wizard


def test_a_person_is_led_from_nothing_to_a_rig_that_says_where_it_is_from(tmp_path: Path) -> None:
    with Wizard(tmp_path / "rig", goal="all") as wizard:
        view = wizard.view
        asked: list[str] = []
        answers = {"robot": "panda", "mount": "eye_to_hand", "board": board_table(BOARD), "edge_mm": "210"}
        while view.question is not None:
            asked.append(view.question.name)
            view = wizard.handle(Answer(view.question.name, answers[view.question.name]))
        assert asked == list(answers)
        assert (view.step, view.wants) == (Step.CAMERA, "picture")
        view = wizard.handle(Lens(intrinsics=LENS, origin="a test"))
        assert (view.step, view.wants, view.done, view.wanted) == (Step.VIEWS, "posed picture", 0, 15)
        wizard.handle(Answer("views", 6))
        wizard.handle(Answer("checks", 2))
        wizard.handle(Answer("tolerance_mm", 3.0))
        view = _finish(wizard).view
    assert json.loads(json.dumps(view.as_json(), allow_nan=False))["steps"][-1]["status"] == "done"
    assert [entry.views for entry in view.accuracy] == [4, 5, 6]
    assert view.results["check"]["passed"] is True
    assert view.results["check"]["views"] == 2
    rig = load_rig(tmp_path / "rig")
    assert rig.T_mount_camera is not None
    assert rig.T_mount_camera.distance_to(_scene()[0].T_mount_camera)[0] < 2e-3
    told = rig.provenance["hand_eye"]
    assert (told["pictures"], told["views_used"], told["options"]["goal"]) == (6, 6, "all")
    assert len(told["pictures_sha256"]) == len(told["poses_sha256"]) == 64
    assert 0.0 < told["sigma_mm"] < 2.0
    assert told["held_out_mm"] > 0.0
    assert rig.provenance["check"]["tolerance_mm"] == 3.0


def test_views_are_kept_as_files_that_other_readers_take(tmp_path: Path) -> None:
    with _told(Wizard(tmp_path, goal="hand-eye")) as wizard:
        q = wizard.robot.home
        joints = JointState(names=tuple(wizard.robot.joint_names), q=q, dq=np.zeros(7), timestamp=0.0)
        wizard.handle(Picture(frame=_scene()[1][0], joints=joints, twist=np.arange(6.0)))
        wizard.handle(_picture(1))
        wizard.handle(_picture(2))
        wizard.handle(Do(Command.DISCARD, "2"))
        kept = wizard.posed_views("views")
    read = read_observations(tmp_path / "calibration" / "views", board=BOARD)
    assert (read.mount, len(read.views)) == ("eye_to_hand", 2)
    first = read.views[0]
    assert first.q is not None
    assert first.twist is not None
    np.testing.assert_allclose(first.q, q)
    np.testing.assert_allclose(first.twist, np.arange(6.0))
    assert first.flange.distance_to(Transform(wizard.robot.forward(q)))[0] < 1e-9
    for ours, theirs in zip(kept, read.views, strict=True):
        np.testing.assert_allclose(ours.detection.points_image, theirs.detection.points_image)


class _Failing:
    """Writes files until its turn has come, and fails as a full disk does from then on."""

    def __init__(self, turn: int) -> None:
        self.left = turn

    def __call__(self, path: str | Path, data: bytes | str) -> Path:
        self.left -= 1
        if self.left < 0:
            raise RecordingError(f"Could not write {path}: No space left on device.", "Free some space.")
        return write_atomic(path, data)


@pytest.mark.parametrize("turn", range(7))
def test_a_failure_at_any_write_costs_the_view_being_taken_at_most(
    turn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _told(Wizard(tmp_path, goal="hand-eye")) as wizard:
        wizard.handle(_picture(0))
    taken = 1
    with monkeypatch.context() as failing, Wizard(tmp_path, goal="hand-eye") as wizard:
        failing.setattr(wizard_store, "write_atomic", _Failing(turn))
        for i in (1, 2, 3):
            try:
                wizard.handle(_picture(i))
            except RecordingError:
                break
            taken += 1
        assert taken < 4
    with Wizard(tmp_path, goal="hand-eye") as wizard:
        found = len(wizard.state.of("views"))
        assert found - taken in (0, 1)  # the view may be kept though the lists of others could not be written
        listed = json.loads((tmp_path / "calibration" / "views" / "poses.json").read_text())["views"]
        assert len(listed) == found
        _finish(wizard, first=found)
        assert wizard.view.results["hand-eye"]["sigma_mm"] < 3.0


def test_what_was_undone_comes_back_and_a_written_rig_is_as_it_was(tmp_path: Path) -> None:
    save_rig(Rig(robot="panda", intrinsics=LENS, T_mount_camera=Transform.from_translation([1, 2, 3])), tmp_path)
    before = (tmp_path / "rig.toml").read_bytes()
    with _finish(_told(Wizard(tmp_path, goal="hand-eye"))) as wizard:
        written = (tmp_path / "rig.toml").read_bytes()
        assert written != before
        assert wizard.view.can_undo == "writing the rig"
        view = wizard.handle(Do(Command.UNDO))
        assert (tmp_path / "rig.toml").read_bytes() == before
        assert view.step is Step.SAVE
        kept = [path.read_bytes() for path in (tmp_path / "calibration" / "history").glob("*/rig.toml")]
        assert written in kept
        assert before in kept
        with pytest.raises(ConfigError, match="cannot be redone"):
            wizard.handle(Do(Command.REDO))
        wizard.handle(Do(Command.UNDO))  # the result
        view = wizard.handle(Do(Command.UNDO))  # the last view
        assert (view.step, view.done) == (Step.VIEWS, 5)
        assert view.can_redo == "picture 6"
        view = wizard.handle(Do(Command.REDO))
        assert view.step is Step.SOLVE
        assert len(wizard.state.of("views")) == 6


def _change(name: str, value: object) -> Callable[[], Event]:
    return lambda: Answer(name, value)


def _lens_changed() -> Event:
    return Lens(intrinsics=replace(LENS, K=LENS.K + np.diag([9.0, 9.0, 0.0])), origin="another test")


@pytest.mark.parametrize(
    ("event", "stale", "said"),
    [
        (_change("edge_mm", 206.0), {Step.SOLVE}, "the print was measured anew"),
        (_change("mount", "eye_in_hand"), {Step.VIEWS, Step.SOLVE}, "the camera is mounted otherwise"),
        (_change("robot", "iiwa14"), {Step.VIEWS, Step.SOLVE}, "the arm is another"),
        (_change("board", board_table(replace(BOARD, columns=8))), {Step.VIEWS, Step.SOLVE}, "the board is another"),
        (_lens_changed, {Step.SOLVE}, "the lens is another"),
        (lambda: Do(Command.DISCARD, "3"), {Step.SOLVE}, "the views are others"),
        (lambda: _picture(7, role="views"), {Step.SOLVE}, "the views are others"),
    ],
)
def test_what_changed_makes_old_what_was_done_with_it(
    event: Callable[[], Event], stale: set[Step], said: str, tmp_path: Path
) -> None:
    with _finish(_told(Wizard(tmp_path, goal="hand-eye"))) as wizard:
        view = wizard.handle(event())
        assert {step.step for step in view.steps if step.status == "stale"} - {Step.SAVE} == stale
        assert said in " ".join(step.note for step in view.steps)
        if Step.VIEWS in stale:
            assert view.command is None
            view = wizard.handle(Do(Command.KEEP, Step.VIEWS))
            assert Step.VIEWS not in {step.step for step in view.steps if step.status == "stale"}


def test_a_step_is_repeated_and_the_old_pictures_stay(tmp_path: Path) -> None:
    with _finish(_told(Wizard(tmp_path, goal="hand-eye"))) as wizard:
        view = wizard.handle(Do(Command.REPEAT, Step.VIEWS))
        assert (view.step, view.done) == (Step.VIEWS, 0)
        wizard.handle(_picture(6))
    pictures = sorted(path.name for path in (tmp_path / "calibration" / "views").glob("*.png"))
    assert pictures == [f"{i:04d}.png" for i in range(1, 8)]
    assert load_rig(tmp_path).T_mount_camera is not None


def test_a_rig_is_calibrated_by_one_process_at_a_time(tmp_path: Path) -> None:
    with Wizard(tmp_path), pytest.raises(RecordingError, match="Another run is calibrating"):
        Wizard(tmp_path)
    Wizard(tmp_path).close()


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', '{"format": 1, "states": [], "at": 0}'])
def test_a_damaged_state_is_named_and_left_alone(text: str, tmp_path: Path) -> None:
    with Wizard(tmp_path) as wizard:
        wizard.handle(Answer("mount", "eye_to_hand"))
    file = tmp_path / "calibration" / "wizard.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="no calibration that can be gone on with") as caught:
        Wizard(tmp_path)
    assert "--from reads them" in caught.value.remedy
    assert file.read_text() == text


def test_pictures_that_cannot_serve_leave_the_state_as_it_is(tmp_path: Path) -> None:
    page = render_board(replace(BOARD, family="5x5_100"), 3000.0, margin_m=0.02)
    stage, frames = _scene()
    other = photograph(stage.T_mount_camera.inv() @ stage.views[0].flange @ stage.T_holder_board, page)
    with _told(Wizard(tmp_path, goal="hand-eye")) as wizard:
        wizard.handle(_picture(0))
        before = wizard.document
        small = frame(np.asarray(cv2.resize(frames[1].image, (320, 240)), dtype=np.uint8))
        with pytest.raises(CalibrationError, match="measures 320x240 px, those before it 640x480"):
            wizard.handle(_picture(1, frame=small))
        wrong = JointState(names=("a",), q=np.zeros(1), dq=np.zeros(1), timestamp=0.0)
        with pytest.raises(ConfigError, match="reports 1 joints, and panda has 7"):
            wizard.handle(Picture(frame=frames[1], joints=wrong))
        view = wizard.handle(_picture(1, frame=frame(other)))
        assert view.verdict is not None
        assert (view.verdict.taken, view.done) == (False, 1)
        assert wizard.document == before


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("robot", "pandaa", "No arm is called 'pandaa'"),
        ("mount", "sideways", "eye_to_hand or eye_in_hand, not 'sideways'"),
        ("board", {"kind": "charuco"}, "columns"),
        ("edge_mm", 100.0, "is no edge of this board"),
        ("edge_mm", "long", "could not convert"),
        ("views", 2, "at least 3"),
        ("tolerance_mm", 0, "above 0"),
    ],
)
def test_an_impossible_answer_is_refused_in_a_sentence(name: str, value: object, said: str, tmp_path: Path) -> None:
    with _told(Wizard(tmp_path)) as wizard:
        before = wizard.state
        with pytest.raises(VisionIkError, match=said):
            wizard.handle(Answer(name, value))
        assert wizard.state == before


def test_live_pictures_are_taken_when_the_board_stands_still_somewhere_new(tmp_path: Path) -> None:
    stage, frames = _scene()
    with _told(Wizard(tmp_path, goal="hand-eye")) as wizard:
        said: list[str] = []
        for i in (0, 1, 1, 1, 2, 2):
            flange = stage.views[i].flange
            verdict = wizard.handle(Picture(frame=frames[i], T_base_flange=flange, take=False)).verdict
            assert verdict is not None
            said.append(verdict.sentence.split(":")[0])
        assert said == [
            "Hold still",
            "Hold still",
            "Taken",
            "There is a view from here already",
            "Hold still",
            "Taken",
        ]


def test_the_lens_comes_from_pictures_of_its_own_or_from_the_views(tmp_path: Path) -> None:
    with _told(Wizard(tmp_path / "a", goal="camera"), pictures=6, model="pinhole", coefficients=4) as wizard:
        wizard.handle(Do(Command.REPEAT, Step.CAMERA))
        assert wizard.view.wants == "picture"
        for i in range(6):
            wizard.handle(Picture(frame=_scene()[1][i]))
        own = _finish(wizard).view.results["camera"]
    assert own["focal_px"][0] == pytest.approx(600.0, rel=0.01)
    with _told(Wizard(tmp_path / "b", goal="all"), lens_from_views=True, model="pinhole", coefficients=4) as wizard:
        wizard.handle(Do(Command.REPEAT, Step.CAMERA))
        assert [step.step for step in wizard.view.steps][2:4] == [Step.VIEWS, Step.CAMERA]
        shared = _finish(wizard).view.results["camera"]
    assert shared["focal_px"] == own["focal_px"]
    lens = load_rig(tmp_path / "b").intrinsics
    assert lens is not None
    assert lens.K[0, 0] == pytest.approx(own["focal_px"][0], rel=1e-3)  # refined with the camera's place
    assert load_rig(tmp_path / "b").provenance["camera"]["pictures"] == 6


def test_too_few_views_are_refused_and_more_can_be_taken(tmp_path: Path) -> None:
    with _told(Wizard(tmp_path, goal="hand-eye")) as wizard:
        wizard.handle(_picture(0))
        wizard.handle(_picture(1))
        wizard.handle(Do(Command.ENOUGH))
        with pytest.raises(CalibrationError, match="Only 2 usable views"):
            wizard.handle(Do(Command.SOLVE))
        wizard.handle(_picture(2, role="views"))
        wizard.handle(_picture(3, role="views"))
        assert wizard.handle(Do(Command.SOLVE)).results["hand-eye"]["views_used"] == 4


def test_views_end_when_they_foretell_the_accuracy_asked_for(tmp_path: Path) -> None:
    with _told(Wizard(tmp_path, goal="hand-eye"), views=30, accuracy_mm=5.0) as wizard:
        for i in range(6):
            assert wizard.view.step is Step.VIEWS
            wizard.handle(_picture(i))
        assert wizard.view.step is Step.SOLVE
        assert wizard.view.accuracy[-1].sigma_mm < 5.0


def test_another_board_in_markers_of_the_same_kind_is_named(tmp_path: Path) -> None:
    page = render_board(replace(BOARD, columns=6, rows=7), 3000.0, margin_m=0.02)
    stage, _ = _scene()
    other = photograph(stage.T_mount_camera.inv() @ stage.views[0].flange @ stage.T_holder_board, page)
    with _told(Wizard(tmp_path, goal="hand-eye")) as wizard:
        with pytest.raises(TagError, match="columns"):
            wizard.handle(_picture(0, frame=frame(other)))
        assert wizard.handle(_picture(0, frame=frame(other), take=False)).verdict is not None
        assert not wizard.state.views
