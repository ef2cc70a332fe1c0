"""Sets that are wrong as a whole: named by likelihood, with the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, MOUNTS, Stage, detection, make_stage
from scipy.spatial.transform import Rotation

from calibration import HandEyeView, calibrate_hand_eye, calibrate_hand_eye_poses, read_observations
from calibration.hand_eye.board_pose import board_poses
from calibration.lens.projection import project
from vision_ik.errors import CalibrationError, ConfigError, InvalidPoseError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Floats


@pytest.fixture(params=MOUNTS)
def stage(request: pytest.FixtureRequest) -> Stage:
    mount: Mount = request.param
    return make_stage(
        np.random.default_rng(5), mount, 12, pixel=0.3, translation=0.3e-3, rotation=float(np.deg2rad(0.05))
    )


def refusal(stage: Stage, views: Sequence[HandEyeView], mount: Mount | None = None) -> CalibrationError:
    with pytest.raises(CalibrationError) as caught:
        calibrate_hand_eye(views, intrinsics=LENS, mount=mount or stage.mount)
    return caught.value


def with_flanges(stage: Stage, change: Callable[[Transform], Transform]) -> list[HandEyeView]:
    return [replace(view, T_base_flange=change(view.flange)) for view in stage.views]


def scaled(T: Transform, factor: float) -> Transform:
    return Transform.from_parts(T.rotation, factor * T.translation)


def with_board(stage: Stage, factor: float) -> list[HandEyeView]:
    points = factor * BOARD.chess_corners
    return [replace(view, detection=detection(view.detection.points_image, points)) for view in stage.views]


def pairs(stage: Stage) -> tuple[Floats, Floats]:
    flanges = np.stack([view.flange.matrix for view in stage.views])
    return flanges, np.stack([board_poses(view.detection, LENS)[0] for view in stage.views])


def test_poses_in_the_inverse_direction_are_named(stage: Stage) -> None:
    error = refusal(stage, with_flanges(stage, Transform.inv))
    assert error.facts["fault"] == "poses inverse"
    assert "inverse direction" in error.cause
    assert "invert each pose" in error.remedy


def test_the_wrong_mount_is_named_with_the_right_one(stage: Stage) -> None:
    other: Mount = "eye_in_hand" if stage.mount == "eye_to_hand" else "eye_to_hand"
    error = refusal(stage, stage.views, mount=other)
    assert error.facts["fault"] == "wrong mount"
    assert stage.mount in error.remedy


@pytest.mark.parametrize(
    ("factor", "unit"), [(1e3, "millimetres"), (1e2, "centimetres"), (1 / 0.0254, "inches"), (1 / 0.3048, "feet")]
)
def test_an_arm_that_counts_in_other_units_is_named_with_the_unit(stage: Stage, factor: float, unit: str) -> None:
    error = refusal(stage, with_flanges(stage, lambda T: scaled(T, factor)))
    assert error.facts["fault"] == unit
    assert "poses of the arm" in error.cause
    assert f"{1 / factor:g}" in error.remedy


def test_a_board_in_centimetres_is_told_from_an_arm_in_other_units(stage: Stage) -> None:
    error = refusal(stage, with_board(stage, 1e2 / 4.0))  # 4.5 m: no length is absurd by itself
    assert error.facts["fault"] == "board size"
    assert error.facts["scale"] == pytest.approx(0.04, rel=0.02)


def test_squares_measured_a_third_too_large_are_named(stage: Stage) -> None:
    error = refusal(stage, with_board(stage, 4 / 3))
    assert error.facts["fault"] == "board size"
    assert "0.75" in error.cause
    assert "Measure" in error.remedy


def test_quaternions_read_in_the_wrong_order_are_named(stage: Stage) -> None:
    def misread(T: Transform) -> Transform:
        xyzw = Rotation.from_matrix(T.rotation).as_quat()
        return Transform.from_parts(Rotation.from_quat(xyzw[[3, 0, 1, 2]]).as_matrix(), T.translation)

    error = refusal(stage, with_flanges(stage, misread))
    assert error.facts["fault"] == "quaternion order"
    assert "are w x y z" in error.cause


@pytest.mark.parametrize("missing", [0, 5, 11])
def test_a_pose_without_a_picture_is_found(stage: Stage, missing: int) -> None:
    flanges, boards = pairs(stage)
    with pytest.raises(CalibrationError, match=f"12 flange poses, but 11 board poses.* pose {missing} ") as caught:
        calibrate_hand_eye_poses(flanges, np.delete(boards, missing, axis=0), mount=stage.mount)
    assert caught.value.facts["missing"] == [missing]


def test_a_picture_without_a_pose_is_found(stage: Stage) -> None:
    flanges, boards = pairs(stage)
    with pytest.raises(CalibrationError, match="10 flange poses, but 12 board poses") as caught:
        calibrate_hand_eye_poses(np.delete(flanges, [4, 5], axis=0), boards, mount=stage.mount)
    assert caught.value.facts["missing"] == [4, 5]


def eye_in_hand_views(turns: Floats, rng: np.random.Generator) -> Stage:
    """Return views of a camera on the flange that turns by rotation vectors (N, 3) [rad] about a first posture."""
    stage = make_stage(rng, "eye_in_hand", 1)
    first = stage.views[0].flange
    views: list[HandEyeView] = []
    for turn in turns:
        shift = 0.03 * rng.normal(size=3)
        T_base_flange = first @ Transform.exp(np.concatenate([shift, turn]))
        noise = Transform.exp(np.repeat([0.3e-3, np.deg2rad(0.05)], 3) * rng.normal(size=6))
        T_camera_board = stage.T_mount_camera.inv() @ (T_base_flange @ noise).inv() @ stage.T_holder_board
        uv, _ = project(T_camera_board.apply(BOARD.chess_corners), LENS)
        seen = detection(uv + 0.3 * rng.normal(size=uv.shape))
        views.append(HandEyeView(T_base_flange=T_base_flange, detection=seen))
    return Stage("eye_in_hand", stage.T_mount_camera, stage.T_holder_board, views)


def test_turning_about_one_axis_is_refused_with_what_it_would_tell(rng: np.random.Generator) -> None:
    stage = eye_in_hand_views(np.linspace(-0.4, 0.4, 8)[:, None] * np.array([0.0, 0.0, 1.0]), rng)
    error = refusal(stage, stage.views)
    assert "one axis only" in error.cause
    assert "would be known to" in error.cause
    assert float(str(error.facts["predicted_sigma"])) > 0.1


def test_views_from_one_place_are_refused_with_what_they_would_tell(stage: Stage) -> None:
    still = [replace(view, T_base_flange=stage.views[0].flange) for view in stage.views]
    error = refusal(stage, still)
    assert "from one place" in error.cause
    assert float(str(error.facts["predicted_sigma"])) > 0.1


def test_small_turns_are_warned_about_with_the_error_to_expect(rng: np.random.Generator) -> None:
    small, large = (eye_in_hand_views(np.deg2rad(angle) * rng.uniform(-1, 1, (12, 3)), rng) for angle in (6.0, 25.0))
    result = calibrate_hand_eye(small.views, intrinsics=LENS, mount="eye_in_hand")
    poor = [warning for warning in result.warnings if "little about a second axis" in warning]
    assert len(poor) == 1
    assert f"known to {result.sigma_translation * 1e3:.1f} mm" in poor[0]
    assert not calibrate_hand_eye(large.views, intrinsics=LENS, mount="eye_in_hand").warnings


@pytest.mark.parametrize(
    "spoil",
    [np.diag([1.0, 1.0, -1.0]), 1.01 * np.eye(3), np.array([[1.0, 0.02, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])],
    ids=["left-handed", "scaled", "skewed"],
)
def test_a_matrix_that_is_no_rotation_never_becomes_a_view(spoil: Floats, stage: Stage) -> None:
    matrix = stage.views[0].flange.matrix.copy()
    matrix[:3, :3] = matrix[:3, :3] @ spoil
    with pytest.raises(InvalidPoseError, match="not a rigid transform"):
        HandEyeView(T_base_flange=matrix, detection=stage.views[0].detection)
    flanges, boards = pairs(stage)
    flanges[0] = matrix
    with pytest.raises(InvalidPoseError, match="not a rigid transform"):
        calibrate_hand_eye_poses(flanges, boards, mount=stage.mount)


class TestFiles:
    @staticmethod
    def write(folder: Path, *, board: bool = True, poses: Sequence[object] = (np.eye(4).tolist(),)) -> Path:
        entries = [
            {"T_base_flange": pose, "corners": [[1, 1], [5, 1], [1, 5], [5, 5]], "image": f"{i}.png"}
            for i, pose in enumerate(poses)
        ]
        document: dict[str, object] = {"image_size": [640, 480], "views": entries}
        if board:
            for entry in entries:
                del entry["image"]
            document["board"] = [[0, 0, 0], [0.03, 0, 0], [0, 0.03, 0], [0.03, 0.03, 0]]
        (folder / "poses.json").write_text(json.dumps(document))
        return folder / "poses.json"

    def test_a_view_without_a_pose_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="View 1 has no pose of the arm"):
            read_observations(self.write(tmp_path, poses=[np.eye(4).tolist(), None]))

    def test_a_mirrored_pose_is_named_with_its_view(self, tmp_path: Path) -> None:
        mirrored = np.diag([1.0, 1.0, -1.0, 1.0]).tolist()
        with pytest.raises(InvalidPoseError, match=r"view 1.*left-handed"):
            read_observations(self.write(tmp_path, poses=[np.eye(4).tolist(), mirrored]))

    def test_pictures_of_a_board_that_nobody_described(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="nobody said which board"):
            read_observations(self.write(tmp_path, board=False))
