"""Views spoilt in a known way: the cause is named, and mended where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, MOUNTS, Stage, detection, make_stage

from calibration import HandEyeResult, HandEyeView, calibrate_hand_eye, calibrate_hand_eye_poses
from calibration.hand_eye.board_pose import board_poses
from calibration.hand_eye.causes import Cause, symmetries
from calibration.hand_eye.causes_moved import Moved
from calibration.lens.projection import project
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform

N = 15
DISPLACED = Transform.exp([0.02, 0.01, 0.0, 0.0, 0.02, 0.1])


@pytest.fixture(params=MOUNTS)
def stage(request: pytest.FixtureRequest) -> Stage:
    mount: Mount = request.param
    return cobot_stage(mount)


def cobot_stage(mount: Mount, seed: int = 5, n: int = N) -> Stage:
    return make_stage(
        np.random.default_rng(seed), mount, n, pixel=0.3, translation=0.3e-3, rotation=float(np.deg2rad(0.05))
    )


def solve(stage: Stage, views: Sequence[HandEyeView]) -> HandEyeResult:
    return calibrate_hand_eye(views, intrinsics=LENS, mount=stage.mount)


def with_poses(views: Sequence[HandEyeView], partners: Sequence[int]) -> list[HandEyeView]:
    """Return the pictures in order, each with the pose of its partner."""
    return [replace(view, T_base_flange=views[j].flange) for view, j in zip(views, partners, strict=True)]


def with_picture(view: HandEyeView, move: Callable[[Transform], Transform], seed: int = 0) -> HandEyeView:
    """Return the view with a picture of the board elsewhere."""
    seen = move(Transform(board_poses(view.detection, LENS)[0]))
    uv, _ = project(seen.apply(BOARD.chess_corners), LENS)
    return replace(view, detection=detection(uv + 0.3 * np.random.default_rng(seed).normal(size=uv.shape)))


def causes(result: HandEyeResult) -> dict[int, Cause]:
    return {i: view.cause for i, view in enumerate(result.views) if view.cause is not None}


def assert_right(result: HandEyeResult, T_mount_camera: Transform) -> None:
    twist = (result.T_mount_camera.inv() @ T_mount_camera).log()
    # chi-square with 6 degrees of freedom: 0.01 % are beyond.
    assert twist @ np.linalg.solve(result.covariance, twist) < 28.0
    assert result.sigma_translation < 2e-3


def test_clean_views_are_blamed_for_nothing(stage: Stage) -> None:
    result = solve(stage, stage.views)
    assert causes(result) == {}
    assert not result.warnings


def test_two_poses_exchanged_are_exchanged_back(stage: Stage) -> None:
    partners = list(range(N))
    partners[3], partners[9] = 9, 3
    result = solve(stage, with_poses(stage.views, partners))
    assert causes(result) == {3: Cause.PAIRING_SWAPPED, 9: Cause.PAIRING_SWAPPED}
    assert result.used_views == N
    assert "paired with the pose of view 9" in result.views[3].repair
    assert_right(result, stage.T_mount_camera)


def test_a_third_of_the_poses_shuffled_gives_what_the_clean_views_give(stage: Stage) -> None:
    partners = list(range(N))
    for a, b in ((0, 4), (4, 8), (8, 12), (12, 13), (13, 0)):
        partners[a] = b
    result = solve(stage, with_poses(stage.views, partners))
    assert result.used_views == N
    clean = solve(stage, stage.views)
    metres, _ = result.T_mount_camera.distance_to(clean.T_mount_camera)
    assert metres < 1e-6


def test_pictures_that_run_behind_from_some_view_on_are_paired_anew(stage: Stage) -> None:
    partners = [i if i < 9 else i - 1 for i in range(N)]
    result = solve(stage, with_poses(stage.views, partners))
    assert causes(result) == dict.fromkeys(range(9, N), Cause.PAIRING_SHIFTED)
    # The pose of the last picture is not in the list.
    assert [i for i, view in enumerate(result.views) if not view.used] == [14]
    assert_right(result, stage.T_mount_camera)


@pytest.mark.parametrize("start", [0, 4])
def test_pictures_out_of_step_from_early_on_are_named_and_paired_anew(stage: Stage, start: int) -> None:
    partners = [i if i < start else i + 1 for i in range(N - 1)]
    pictures = stage.views[: N - 1]
    shifted = [replace(view, T_base_flange=stage.views[j].flange) for view, j in zip(pictures, partners, strict=True)]
    result = solve(stage, shifted)
    assert result.used_views == N - 2
    assert "out of step" in result.warnings[0]
    assert set(causes(result).values()) == {Cause.PAIRING_SHIFTED}
    assert_right(result, stage.T_mount_camera)


def test_an_old_picture_is_named_and_not_counted_twice(stage: Stage) -> None:
    views = list(stage.views)
    views[6] = with_picture(replace(views[5], T_base_flange=views[6].flange), lambda T: T)
    result = solve(stage, views)
    assert causes(result) == {6: Cause.STALE_PICTURE}
    assert "posture of view 5" in result.views[6].reason
    assert not result.views[6].used


def test_corners_counted_from_elsewhere_are_counted_anew(stage: Stage) -> None:
    ways = symmetries(BOARD.chess_corners)
    assert len(ways) == 3  # half a turn, and mirrored along either side
    views = list(stage.views)
    for i, (G, _) in zip((2, 7, 8), ways, strict=True):
        points = views[i].detection.points_board @ G[:3, :3].T + G[:3, 3]
        views[i] = replace(views[i], detection=detection(views[i].detection.points_image, points))
    result = solve(stage, views)
    assert causes(result) == dict.fromkeys((2, 7, 8), Cause.CORNER_ORDER)
    clean = solve(stage, stage.views)
    assert result.T_mount_camera.distance_to(clean.T_mount_camera)[0] < 1e-6


def test_a_square_board_can_be_counted_from_eight_sides() -> None:
    square = np.array([[x, y, 0.0] for x in range(3) for y in range(3)], dtype=float)
    assert len(symmetries(square)) == 7
    assert symmetries(square[:-1])  # a missing corner lies on one diagonal alone
    assert len(symmetries(square[:-1])) == 1


@pytest.mark.parametrize(("start", "displaced"), [(10, range(10, N)), (6, range(6))])
def test_a_board_that_moved_is_fitted_where_it_sat_before_and_after(stage: Stage, start: int, displaced: range) -> None:
    """Most views tell where it sat usually; the others are the displaced ones."""
    views = [
        view if i < start else with_picture(view, lambda T: T @ DISPLACED, i) for i, view in enumerate(stage.views)
    ]
    result = solve(stage, views)
    assert causes(result) == dict.fromkeys(displaced, Cause.BOARD_MOVED)
    assert result.used_views == N
    found = next(term for term in result.terms if term.name == "displaced board")
    assert found.sigma.shape == (6,)
    assert_right(result, stage.T_mount_camera)


def test_a_camera_that_moved_is_taken_where_it_is_now(stage: Stage) -> None:
    views = [view if i < 10 else with_picture(view, lambda T: DISPLACED @ T, i) for i, view in enumerate(stage.views)]
    result = solve(stage, views)
    assert set(causes(result).values()) == {Cause.CAMERA_MOVED}
    assert any("where it sat last" in warning for warning in result.warnings)
    assert_right(result, stage.T_mount_camera @ DISPLACED.inv())


def test_a_board_bumped_once_is_left_out_without_a_guess(stage: Stage) -> None:
    views = list(stage.views)
    views[6] = with_picture(views[6], lambda T: T @ DISPLACED)
    result = solve(stage, views)
    assert causes(result) == {6: Cause.UNEXPLAINED}
    assert "contradicts the other views by 2" in result.views[6].reason
    assert_right(result, stage.T_mount_camera)


def test_an_arm_that_had_not_arrived_is_named(stage: Stage) -> None:
    views = list(stage.views)
    way = 0.1 * (views[5].flange.inv() @ views[4].flange).log()
    views[5] = replace(views[5], T_base_flange=views[5].flange @ Transform.exp(way))
    result = solve(stage, views)
    assert causes(result) == {5: Cause.ARM_MOVING}
    assert not result.views[5].used


def test_a_picture_late_on_a_known_speed_is_named_with_its_delay(stage: Stage) -> None:
    views = list(stage.views)
    twist = np.array([0.1, 0.05, 0.0, 0.0, 0.2, 0.1])
    late = Transform.exp(0.08 * twist)
    views[5] = replace(views[5], T_base_flange=views[5].flange @ late, twist=twist)
    result = solve(stage, views)
    assert causes(result) == {5: Cause.ARM_MOVING}
    assert "75 ms earlier than the pose" in result.views[5].reason


def test_a_blurred_view_is_told_from_one_at_the_wrong_place(stage: Stage, rng: np.random.Generator) -> None:
    views = list(stage.views)
    seen = views[5].detection.points_image
    views[5] = replace(views[5], detection=detection(seen + 4.0 * rng.normal(size=seen.shape)))
    result = solve(stage, views)
    assert causes(result) == {5: Cause.CORNERS_UNSHARP}


def test_a_repeated_view_says_so(stage: Stage) -> None:
    result = solve(stage, [*stage.views, stage.views[2]])
    assert causes(result) == {N: Cause.DUPLICATE}


def test_pose_pairs_are_mended_too(stage: Stage) -> None:
    flanges = np.stack([view.flange.matrix for view in stage.views])
    boards = np.stack([board_poses(view.detection, LENS)[0] for view in stage.views])
    partners = np.arange(N)
    partners[[1, 11]] = 11, 1
    result = calibrate_hand_eye_poses(flanges[partners], boards, mount=stage.mount)
    assert causes(result) == {1: Cause.PAIRING_SWAPPED, 11: Cause.PAIRING_SWAPPED}
    assert result.used_views >= N - 1
    assert result.T_mount_camera.distance_to(stage.T_mount_camera)[0] < 4.0 * result.sigma_translation < 0.01


def test_the_less_likely_tilt_is_taken_with_a_word(rng: np.random.Generator) -> None:
    stage = cobot_stage("eye_to_hand")
    few = BOARD.chess_corners[[0, 1, 6, 7]]
    views: list[HandEyeView] = []
    flipped: list[int] = []
    for i, view in enumerate(stage.views):
        T = Transform(board_poses(view.detection, LENS)[0])
        uv = project(T.apply(few), LENS)[0] + 0.3 * rng.normal(size=(4, 2))
        views.append(replace(view, detection=detection(uv, few)))
        if Transform(board_poses(views[-1].detection, LENS)[0]).distance_to(T)[1] > np.deg2rad(25.0):
            flipped.append(i)
    assert flipped, "the set-up must contain a flip to mean anything"
    result = solve(stage, views)
    assert set(flipped) <= {i for i, cause in causes(result).items() if cause is Cause.PLANAR_FLIP}
    assert all(view.used for view in result.views)


def test_the_displacements_derivatives_are_those_of_its_flanges(stage: Stage, rng: np.random.Generator) -> None:
    flanges = np.stack([view.flange.matrix for view in stage.views])
    members = np.arange(N) % 2 == 0
    step, theta = 1e-6, 0.3 * rng.normal(size=6)
    for what in (Cause.BOARD_MOVED, Cause.CAMERA_MOVED):
        term = Moved(flanges, stage.mount, members, what, DISPLACED.matrix)
        by_theta = term.derivatives(theta)
        for k in range(6):
            there, back = (term.flanges(theta + sign * step * np.eye(6)[k]) for sign in (1.0, -1.0))
            for i in (0, 1):
                numeric = (Transform(back[i]).inv() @ Transform(there[i])).log() / (2.0 * step)
                np.testing.assert_allclose(by_theta[i, :, k], numeric, atol=1e-7)


def test_poses_in_no_order_at_all_are_not_talked_into_agreement(stage: Stage) -> None:
    order = np.random.default_rng(3).permutation(N).tolist()
    with pytest.raises(CalibrationError, match=r"agree|the arm is off"):
        solve(stage, with_poses(stage.views, order))
