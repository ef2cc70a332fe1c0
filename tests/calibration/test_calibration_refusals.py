"""What cannot be right is refused before a number comes out of it, and the likely reasons are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, MOUNTS, Stage, make_stage
from scipy.spatial.transform import Rotation

from calibration import HandEyeView, calibrate_hand_eye, calibrate_hand_eye_poses, read_observations
from calibration.hand_eye.board_pose import board_poses
from calibration.hand_eye.causes import Cause
from calibration.wizard.showing import without_repeats
from calibration.wizard.tooling import read_touches
from vision_ik.errors import CalibrationError, ConfigError, InvalidPoseError
from vision_ik.rig import Mount
from vision_ik.robots import load_robot
from vision_ik.transforms import Transform
from vision_ik.types import Floats


@pytest.fixture(params=MOUNTS)
def stage(request: pytest.FixtureRequest) -> Stage:
    mount: Mount = request.param
    return make_stage(
        np.random.default_rng(5), mount, 12, pixel=0.3, translation=0.3e-3, rotation=float(np.deg2rad(0.05))
    )


def changed(stage: Stage, change: Callable[[Transform], Transform]) -> list[HandEyeView]:
    return [replace(view, T_base_flange=change(view.flange)) for view in stage.views]


@pytest.mark.parametrize(("written", "read"), [("zyx", "xyz"), ("xyz", "XYZ")])
def test_angles_read_in_the_wrong_order_give_no_camera(written: str, read: str, stage: Stage) -> None:
    def misread(T: Transform) -> Transform:
        angles = Rotation.from_matrix(T.rotation).as_euler(written)
        angles = angles[::-1] if (written, read) == ("zyx", "xyz") else angles
        return Transform.from_parts(Rotation.from_euler(read, angles).as_matrix(), T.translation)

    with pytest.raises(CalibrationError) as caught:
        calibrate_hand_eye(changed(stage, misread), intrinsics=LENS, mount=stage.mount)
    for word in ("Euler", "mount", "inverse", "paired"):
        assert word in caught.value.remedy


def pairs(stage: Stage) -> tuple[Floats, Floats]:
    flanges = np.stack([view.flange.matrix for view in stage.views])
    return flanges, np.stack([board_poses(view.detection, LENS)[0] for view in stage.views])


def scaled(Ts: Floats, factor: float) -> Floats:
    return np.concatenate([Ts[:, :3, :3], factor * Ts[:, :3, 3:]], axis=2)


def squared(Ts: Floats) -> Floats:
    return np.concatenate([Ts, np.tile([[[0.0, 0.0, 0.0, 1.0]]], (len(Ts), 1, 1))], axis=1)


@pytest.mark.parametrize(
    ("arm", "camera", "named", "factor"),
    [
        (1.0, 1e-3, "poses of the camera are 1000 times too small", "1000"),
        (1e-3, 1.0, "poses of the arm are 1000 times too small", "1000"),
        (1.0, 1e-2, "poses of the camera are 100 times too small", "100"),
        (1e2, 1.0, "poses of the arm look like centimetres", "0.01"),
    ],
)
def test_of_two_lengths_that_differ_the_one_that_is_unusual_is_named(
    arm: float, camera: float, named: str, factor: str
) -> None:
    flanges, boards = pairs(make_stage(np.random.default_rng(5), "eye_to_hand", 10, pixel=0.3))
    with pytest.raises(CalibrationError, match=named) as caught:
        calibrate_hand_eye_poses(squared(scaled(flanges, arm)), squared(scaled(boards, camera)))
    assert caught.value.remedy.endswith(f"by {factor}.")


def test_poses_of_the_camera_that_are_the_inverse_are_named_beside_the_wrong_mount() -> None:
    flanges, boards = pairs(make_stage(np.random.default_rng(5), "eye_to_hand", 10, pixel=0.3))
    with pytest.raises(CalibrationError, match="the camera's poses are given in the inverse direction") as caught:
        calibrate_hand_eye_poses(flanges, np.linalg.inv(boards))
    assert "mount" in caught.value.cause


def document(**view: Any) -> dict[str, Any]:
    stage = make_stage(np.random.default_rng(0), "eye_to_hand", 1)
    entry = {
        "T_base_flange": stage.views[0].flange.matrix.tolist(),
        "corners": stage.views[0].detection.points_image.tolist(),
        "ids": list(range(24)),
    }
    return {"image_size": [640, 480], "board": BOARD.chess_corners.tolist(), "views": [{**entry, **view}]}


@pytest.mark.parametrize("wrong", [999, 24, -1])
def test_an_id_that_is_no_point_of_the_board_is_told_with_their_number(wrong: int, tmp_path: Path) -> None:
    file = tmp_path / "views.json"
    file.write_text(json.dumps(document(ids=[wrong, *range(23)])))
    with pytest.raises(ConfigError, match=f"view 0: it has the id {wrong}, but the board has 24 points"):
        read_observations(file)


def test_a_pose_that_holds_nan_is_told_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "views.json"
    file.write_text(json.dumps(document(T_base_flange=np.full((4, 4), np.nan).tolist())))
    with pytest.raises(InvalidPoseError, match="The pose of view 0 cannot be used: it holds NaN or infinity\\."):
        read_observations(file)


def with_points(stage: Stage, factor: float) -> list[HandEyeView]:
    return [
        replace(view, detection=replace(view.detection, points_board=factor * view.detection.points_board))
        for view in stage.views
    ]


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1e-3, "metres given for millimetres"), (1e2, "look like centimetres\\."), (1e3, "look like millimetres")],
)
def test_a_board_in_other_units_is_refused_and_the_arm_not_blamed(factor: float, words: str, stage: Stage) -> None:
    with pytest.raises(CalibrationError, match=words) as caught:
        calibrate_hand_eye(with_points(stage, factor), intrinsics=LENS, mount=stage.mount)
    assert "arm" not in str(caught.value)


def test_poses_of_a_camera_in_millimetres_are_refused() -> None:
    flanges, boards = pairs(make_stage(np.random.default_rng(5), "eye_to_hand", 10, pixel=0.3))
    with pytest.raises(CalibrationError, match="from the camera in the median view: these poses look like millimetres"):
        calibrate_hand_eye_poses(flanges, squared(scaled(boards, 1e3)))


def without_corners(view: HandEyeView, keep: list[int]) -> HandEyeView:
    seen = view.detection
    kept = replace(seen, points_board=seen.points_board[keep], points_image=seen.points_image[keep])
    return replace(view, detection=kept)


@pytest.mark.parametrize(
    ("keep", "words"), [([0, 5, 11], "shows 3 corners"), ([0, 1, 2, 3, 4], "5 corners that lie on one line")]
)
def test_a_view_with_corners_that_tell_no_pose_is_left_out_by_name(keep: list[int], words: str, stage: Stage) -> None:
    views = [replace(view, name=f"p{i}") for i, view in enumerate(stage.views)]
    views[4] = without_corners(views[4], keep)
    result = calibrate_hand_eye(views, intrinsics=LENS, mount=stage.mount)
    assert result.used_views == 11
    assert result.views[4].cause is Cause.NO_POSE
    assert any(warning.startswith("View p4 was left out") and words in warning for warning in result.warnings)
    without = calibrate_hand_eye(views[:4] + views[5:], intrinsics=LENS, mount=stage.mount)
    assert result.T_mount_camera.distance_to(without.T_mount_camera)[0] < 1e-4


def test_views_that_all_lack_corners_are_refused(stage: Stage) -> None:
    views = [without_corners(view, [0, 5, 11]) for view in stage.views]
    with pytest.raises(CalibrationError, match="View 0 shows 3 corners of the board; 4 are needed"):
        calibrate_hand_eye(views, intrinsics=LENS, mount=stage.mount)


@pytest.mark.parametrize("metres", [1e9, 420.0])
def test_a_single_pose_out_of_reach_is_left_out_by_name(metres: float, stage: Stage) -> None:
    views = list(stage.views)
    views[3] = replace(
        views[3], T_base_flange=Transform.from_parts(views[3].flange.rotation, np.array([metres, 0.1, 0.2]))
    )
    result = calibrate_hand_eye(views, intrinsics=LENS, mount=stage.mount)
    assert result.used_views == 11
    assert [warning for warning in result.warnings if "View 3" in warning and "millimetres among metres" in warning]
    flanges = np.stack([view.flange.matrix for view in views])
    of_pairs = calibrate_hand_eye_poses(flanges, pairs(stage)[1], mount=stage.mount)
    assert of_pairs.views[3].cause is Cause.MISPLACED
    assert of_pairs.used_views == 11


@pytest.mark.parametrize(
    "joints", [[16.4, -27.6, -55.1, -58.0, 37.6, 49.5, 12.8], [0.0, 0.0, 0.0, -90.0, 0.0, 90.0, 0.0]]
)
def test_joints_in_degrees_are_named(joints: list[float], tmp_path: Path) -> None:
    file = tmp_path / "touches.json"
    file.write_text(json.dumps({"touches": [{"q": np.deg2rad(joints).tolist()}, {"q": joints}]}))
    with pytest.raises(ConfigError, match=r"touch 2: q has .* these look like degrees\."):
        read_touches(file, load_robot("panda"))


def test_a_view_left_out_by_lens_and_camera_is_blamed_once() -> None:
    lens, other = "View 6 was left out: it repeats view 5.", "View 7 was left out: it is blurred."
    camera = "View 6 was left out: it contradicts the other views by 191.8 mm and 0.09 deg: an old picture."
    assert without_repeats([lens, other, "Add views.", camera, "Add views."]) == (other, "Add views.", camera)
