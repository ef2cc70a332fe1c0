"""Hand-eye calibration: truth first, then honesty, then what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import BOARD, FISHEYE, LENS, MOUNTS, Stage, detection, make_stage

from calibration import (
    ArmNoise,
    HandEyeResult,
    HandEyeView,
    calibrate_hand_eye,
    calibrate_hand_eye_poses,
    closed_form_hand_eye,
)
from calibration.hand_eye.board_pose import board_poses
from calibration.hand_eye.chain import arm_poses
from calibration.hand_eye.closed_form import kronecker, relative_motions
from calibration.lens.projection import project
from vision_ik.errors import CalibrationError, InvalidPoseError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform

ARM = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))


def noisy_stage(rng: np.random.Generator, mount: Mount, n: int) -> Stage:
    return make_stage(rng, mount, n, pixel=0.3, translation=ARM.translation, rotation=ARM.rotation)


def normalised_error(result: HandEyeResult, stage: Stage) -> float:
    twist = (result.T_mount_camera.inv() @ stage.T_mount_camera).log()
    return float(twist @ np.linalg.solve(result.covariance, twist)) / 6.0


def turned_about_z(n: int) -> list[Transform]:
    return [Transform.exp([0.01 * i, 0.02, 0.03 * i, 0.0, 0.0, 0.2 * i]) for i in range(n)]


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("lens", [LENS, FISHEYE], ids=["pinhole", "fisheye"])
def test_exact_views_give_the_exact_camera_and_board(mount: Mount, lens: object, rng: np.random.Generator) -> None:
    lens = LENS if lens is LENS else FISHEYE
    stage = make_stage(rng, mount, 8, lens=lens)
    result = calibrate_hand_eye(stage.views, intrinsics=lens, mount=mount)
    assert result.T_mount_camera.distance_to(stage.T_mount_camera) == pytest.approx((0.0, 0.0), abs=1e-8)
    assert result.T_holder_board.distance_to(stage.T_holder_board) == pytest.approx((0.0, 0.0), abs=1e-8)
    assert result.used_views == 8
    assert result.pixel_rms < 1e-6
    assert not result.warnings


@pytest.mark.parametrize("mount", MOUNTS)
def test_both_closed_forms_are_exact_on_exact_poses(mount: Mount, rng: np.random.Generator) -> None:
    stage = make_stage(rng, mount, 5)
    arms = arm_poses(np.stack([v.flange.matrix for v in stage.views]), mount)
    boards = np.stack([board_poses(v.detection, LENS)[0] for v in stage.views])
    for X, Y in (kronecker(arms, boards), relative_motions(arms, boards)):
        np.testing.assert_allclose(X, stage.T_mount_camera.matrix, atol=1e-7)
        np.testing.assert_allclose(Y, stage.T_holder_board.matrix, atol=1e-7)


@pytest.mark.parametrize("mount", MOUNTS)
def test_noise_stays_within_the_stated_sigma_and_its_levels_are_found(mount: Mount) -> None:
    honesty, within, pixel, arm, ours, closed = [], [], [], [], [], []
    for seed in range(25):
        stage = noisy_stage(np.random.default_rng(seed), mount, 15)
        result = calibrate_hand_eye(stage.views, intrinsics=LENS, mount=mount)
        metres, _ = result.T_mount_camera.distance_to(stage.T_mount_camera)
        honesty.append(normalised_error(result, stage))
        within.append(metres / result.sigma_translation)
        pixel.append(result.pixel_sigma)
        arm.append((result.arm_sigma.translation, result.arm_sigma.rotation))
        ours.append(metres)
        start = closed_form_hand_eye(stage.views, intrinsics=LENS, mount=mount)
        closed.append(start.distance_to(stage.T_mount_camera)[0])
    # 150 degrees of freedom: one standard deviation of the mean is 0.115.
    assert 0.65 < np.mean(honesty) < 1.4
    assert np.max(within) < 4.0
    assert np.mean(pixel) == pytest.approx(0.3, rel=0.05)
    np.testing.assert_allclose(np.median(arm, axis=0), [ARM.translation, ARM.rotation], rtol=0.35)
    assert np.mean(np.square(ours)) < 0.6 * np.mean(np.square(closed))


def test_covariance_with_told_noise_levels_holds() -> None:
    honesty = []
    for seed in range(25):
        stage = noisy_stage(np.random.default_rng(100 + seed), "eye_to_hand", 8)
        result = calibrate_hand_eye(stage.views, intrinsics=LENS, pixel_sigma=0.3, arm_sigma=ARM)
        assert not result.noise_estimated
        honesty.append(normalised_error(result, stage))
    assert 0.65 < np.mean(honesty) < 1.4


def test_held_out_error_is_that_of_a_fit_without_the_view(rng: np.random.Generator) -> None:
    stage = noisy_stage(rng, "eye_to_hand", 8)
    told = {"intrinsics": LENS, "pixel_sigma": 0.3, "arm_sigma": ARM}
    full = calibrate_hand_eye(stage.views, **told)  # pyright: ignore[reportArgumentType]
    for i in (0, 5):
        rest = [view for k, view in enumerate(stage.views) if k != i]
        without = calibrate_hand_eye(rest, **told)  # pyright: ignore[reportArgumentType]
        seen = Transform(board_poses(stage.views[i].detection, LENS)[0])
        expected = without.T_mount_camera.inv() @ stage.views[i].flange @ without.T_holder_board
        centre = BOARD.chess_corners.mean(axis=0)
        error = float(np.linalg.norm(seen.apply(centre) - expected.apply(centre)))
        assert full.views[i].position_error == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("mount", MOUNTS)
def test_bad_views_are_named_and_left_out(mount: Mount, rng: np.random.Generator) -> None:
    stage = noisy_stage(rng, mount, 14)
    views = list(stage.views)
    views[3] = HandEyeView(T_base_flange=views[9].flange, detection=views[3].detection, name="swapped")
    off = Transform.exp([0.03, 0.0, 0.01, 0.0, 0.05, 0.0])
    views[7] = HandEyeView(T_base_flange=views[7].flange @ off, detection=views[7].detection, name="bumped")
    blurred = views[11].detection.points_image + 6.0 * rng.normal(size=(len(BOARD.chess_corners), 2))
    views[11] = HandEyeView(T_base_flange=views[11].flange, detection=detection(blurred), name="blurred")
    result = calibrate_hand_eye(views, intrinsics=LENS, mount=mount)
    assert [view.name for view in result.views if not view.used] == ["swapped", "bumped", "blurred"]
    assert any("swapped" in warning for warning in result.warnings)
    metres, _ = result.T_mount_camera.distance_to(stage.T_mount_camera)
    assert metres < 4.0 * result.sigma_translation


def test_mirrored_board_poses_are_resolved_by_the_other_views(rng: np.random.Generator) -> None:
    """A small flat target far away fits two tilts; the wrong one must not cost the view."""
    stage = noisy_stage(rng, "eye_to_hand", 12)
    few = BOARD.chess_corners[[0, 1, 6, 7]]
    flipped = 0
    views: list[HandEyeView] = []
    for view in stage.views:
        T = Transform(board_poses(view.detection, LENS)[0])
        uv = project(T.apply(few), LENS)[0] + 0.3 * rng.normal(size=(4, 2))
        small = detection(uv, few)
        angle = Transform(board_poses(small, LENS)[0]).distance_to(T)[1]
        flipped += angle > np.deg2rad(25.0)
        views.append(HandEyeView(T_base_flange=view.flange, detection=small))
    assert flipped >= 1, "the set-up must contain at least one flip to mean anything"
    result = calibrate_hand_eye(views, intrinsics=LENS)
    assert result.used_views == 12


def test_pose_pairs_give_the_same_camera(rng: np.random.Generator) -> None:
    stage = noisy_stage(rng, "eye_in_hand", 12)
    boards = np.stack([board_poses(v.detection, LENS)[0] for v in stage.views])
    flanges = np.stack([v.flange.matrix for v in stage.views])
    pairs = calibrate_hand_eye_poses(flanges, boards, mount="eye_in_hand")
    metres, angle = pairs.T_mount_camera.distance_to(stage.T_mount_camera)
    assert metres < 4.0 * pairs.sigma_translation < 0.03
    assert angle < 4.0 * pairs.sigma_rotation


def test_few_views_state_a_large_uncertainty(rng: np.random.Generator) -> None:
    stage = noisy_stage(rng, "eye_to_hand", 15)
    three = calibrate_hand_eye(stage.views[:3], intrinsics=LENS)
    fifteen = calibrate_hand_eye(stage.views, intrinsics=LENS)
    assert three.sigma_translation > 3.0 * fifteen.sigma_translation
    assert np.isnan(three.held_out_translation)
    assert fifteen.held_out_translation < 5e-3


def test_noise_levels_told_too_small_are_contradicted(rng: np.random.Generator) -> None:
    stage = make_stage(rng, "eye_to_hand", 12, pixel=0.3, translation=3e-3, rotation=0.01)
    result = calibrate_hand_eye(stage.views, intrinsics=LENS, pixel_sigma=0.3, arm_sigma=ARM)
    assert result.used_views >= 10
    assert any("times as much as the given noise levels" in warning for warning in result.warnings)


def test_a_repeated_view_counts_once(rng: np.random.Generator) -> None:
    stage = noisy_stage(rng, "eye_to_hand", 8)
    result = calibrate_hand_eye([*stage.views, stage.views[2]], intrinsics=LENS)
    assert result.used_views == 8
    assert "repeats" in result.views[8].reason


def test_the_same_views_give_the_same_numbers(rng: np.random.Generator) -> None:
    stage = noisy_stage(rng, "eye_to_hand", 8)
    first, second = (calibrate_hand_eye(stage.views, intrinsics=LENS) for _ in range(2))
    assert first.T_mount_camera == second.T_mount_camera


class TestRefusals:
    def test_two_views_are_too_few(self, rng: np.random.Generator) -> None:
        with pytest.raises(CalibrationError, match="Only 2 usable views"):
            calibrate_hand_eye(make_stage(rng, "eye_to_hand", 2).views, intrinsics=LENS)

    def test_no_view_is_too_few(self) -> None:
        with pytest.raises(CalibrationError, match="Only 0 usable views"):
            calibrate_hand_eye([], intrinsics=LENS)

    @pytest.mark.parametrize("mount", MOUNTS)
    def test_turning_about_one_axis_only(self, mount: Mount, rng: np.random.Generator) -> None:
        seen = make_stage(rng, mount, 6).views
        views = [
            HandEyeView(T_base_flange=T, detection=view.detection)
            for T, view in zip(turned_about_z(6), seen, strict=True)
        ]
        with pytest.raises(CalibrationError, match="one axis only") as caught:
            calibrate_hand_eye(views, intrinsics=LENS, mount=mount)
        assert caught.value.facts["second_axis_deg"] == pytest.approx(0.0, abs=1e-6)

    def test_an_arm_that_hardly_turns(self, rng: np.random.Generator) -> None:
        views = [
            HandEyeView(T_base_flange=Transform.from_translation([0.1 * i, 0, 0]), detection=view.detection)
            for i, view in enumerate(make_stage(rng, "eye_to_hand", 5).views)
        ]
        with pytest.raises(CalibrationError, match="hardly turns"):
            calibrate_hand_eye(views, intrinsics=LENS)

    def test_millimetres_for_metres(self, rng: np.random.Generator) -> None:
        views = [
            replace(v, T_base_flange=Transform.from_parts(v.flange.rotation, 1000.0 * v.flange.translation))
            for v in make_stage(rng, "eye_to_hand", 6).views
        ]
        with pytest.raises(CalibrationError, match="millimetres"):
            calibrate_hand_eye(views, intrinsics=LENS)

    def test_a_board_in_millimetres(self, rng: np.random.Generator) -> None:
        views = make_stage(rng, "eye_to_hand", 6).views
        large = detection(views[0].detection.points_image, 1000.0 * BOARD.chess_corners)
        with pytest.raises(CalibrationError, match="millimetres"):
            calibrate_hand_eye([replace(views[0], detection=large), *views[1:]], intrinsics=LENS)

    def test_a_nan_pose_never_becomes_a_view(self, rng: np.random.Generator) -> None:
        seen = make_stage(rng, "eye_to_hand", 1).views[0].detection
        with pytest.raises(InvalidPoseError):
            HandEyeView(T_base_flange=np.full((4, 4), np.nan), detection=seen)

    def test_unequal_pose_pairs(self) -> None:
        poses = np.stack([np.eye(4)] * 5)
        with pytest.raises(CalibrationError, match="5 flange poses, but 4 board poses"):
            calibrate_hand_eye_poses(poses, poses[:4])

    def test_the_wrong_mount_is_noticed(self) -> None:
        stage = noisy_stage(np.random.default_rng(3), "eye_to_hand", 15)
        with pytest.raises(CalibrationError, match="mount"):
            calibrate_hand_eye(stage.views, intrinsics=LENS, mount="eye_in_hand")

    def test_nonsense_arguments(self) -> None:
        with pytest.raises(ValueError, match="mount"):
            calibrate_hand_eye([], intrinsics=LENS, mount="eye")  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="pixel_sigma"):
            calibrate_hand_eye([], intrinsics=LENS, pixel_sigma=0.0)
