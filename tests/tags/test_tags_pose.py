"""Poses of tags and boards: exact without noise, and as uncertain as they say with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tags_scene import BARREL, FISHEYE, STRAIGHT, facing, pixels

from vision_ik.errors import InvalidPoseError
from vision_ik.tags import estimate_board_pose, estimate_pose
from vision_ik.tags.projection import project, project_rays, undistort
from vision_ik.transforms import Transform
from vision_ik.types import (
    BoardDetection,
    CameraIntrinsics,
    CharucoBoard,
    Floats,
    PoseEstimate,
    TagDetection,
    TagGridBoard,
    tag_corners,
)

SIZE = 0.08
LENSES = pytest.mark.parametrize("lens", [STRAIGHT, BARREL, FISHEYE], ids=["straight", "barrel", "fisheye"])
BOARD = TagGridBoard(columns=4, rows=3, tag_m=0.03, gap_m=0.01)


def seen_tag(T_camera_tag: Transform, lens: CameraIntrinsics, noise: Floats | float = 0.0) -> TagDetection:
    corners = pixels(tag_corners(SIZE), T_camera_tag, lens) + noise
    return TagDetection(tag_id=3, family="36h11", corners=corners, timestamp=1.5)


def seen_board(T_camera_board: Transform, lens: CameraIntrinsics, noise: Floats | float = 0.0) -> BoardDetection:
    points = np.concatenate(list(BOARD.markers.values()))
    return BoardDetection(points_board=points, points_image=pixels(points, T_camera_board, lens) + noise, timestamp=1.5)


def normalised_error_squared(estimate: PoseEstimate, truth: Transform) -> float:
    error = (estimate.T_camera_tag.inv() @ truth).log()
    return float(error @ np.linalg.solve(estimate.covariance, error))


@LENSES
@pytest.mark.parametrize("roll_deg", [0.0, 95.0, 200.0])
def test_perfect_corners_give_the_exact_pose(lens: CameraIntrinsics, roll_deg: float) -> None:
    truth = facing(0.03, -0.02, 0.3, roll_deg=roll_deg, tilt_deg=40)
    estimate = estimate_pose(seen_tag(truth, lens), SIZE, lens)
    distance, angle = estimate.T_camera_tag.distance_to(truth)
    assert distance < 1e-8
    assert angle < 1e-7
    assert estimate.reprojection_error < 1e-6
    assert (estimate.tag_id, estimate.timestamp) == (3, 1.5)
    assert estimate.ambiguity < 1e-3


def test_the_tag_frame_is_x_right_y_up_z_toward_the_viewer() -> None:
    corners = np.array([[110.0, 80], [210, 80], [210, 180], [110, 180]])  # upright and square on
    detection = TagDetection(tag_id=0, family="36h11", corners=corners, timestamp=0.0)
    T_camera_tag = estimate_pose(detection, 0.1, STRAIGHT).T_camera_tag
    np.testing.assert_allclose(T_camera_tag.rotation @ [1, 0, 0], [1, 0, 0], atol=0.1)
    np.testing.assert_allclose(T_camera_tag.rotation @ [0, 1, 0], [0, -1, 0], atol=0.1)
    np.testing.assert_allclose(T_camera_tag.rotation @ [0, 0, 1], [0, 0, -1], atol=0.1)
    assert T_camera_tag.translation[2] == pytest.approx(0.4, abs=0.01)


@LENSES
def test_the_projection_jacobian_is_that_of_a_right_perturbation(lens: CameraIntrinsics) -> None:
    T = facing(0.04, 0.02, 0.25, roll_deg=25, tilt_deg=30)
    points = np.random.default_rng(0).uniform(-0.05, 0.05, (7, 3))
    _, J = project(points, T, lens)
    step = 1e-6
    for i in range(6):
        d = np.eye(6)[i] * step
        numeric = (project(points, T @ Transform.exp(d), lens)[0] - project(points, T @ Transform.exp(-d), lens)[0]) / (
            2 * step
        )
        np.testing.assert_allclose(J[:, :, i], numeric, rtol=1e-5, atol=1e-4)


@LENSES
def test_undistorting_and_projecting_undo_each_other(lens: CameraIntrinsics) -> None:
    grid = np.stack(np.meshgrid(np.linspace(0, 319, 17), np.linspace(0, 239, 13)), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(project_rays(undistort(grid, lens), lens), grid, atol=1e-8)


def test_what_no_ray_reaches_is_not_finite_and_raises_no_warning() -> None:
    folded = CameraIntrinsics(
        K=np.array([[200.0, 0, 160], [0, 200, 120], [0, 0, 1]]),
        distortion=np.array([-0.5, 0, 0, 0]),
        width=320,
        height=240,
    )
    far = undistort(np.array([[1e5, 1e5], [160.0, 120.0]]), folded)
    np.testing.assert_allclose(far[1], 0, atol=1e-12)
    assert not np.allclose(project_rays(far[:1], folded), 1e5)


@pytest.mark.parametrize("lens", [STRAIGHT, FISHEYE], ids=["straight", "fisheye"])
def test_the_covariance_of_a_tag_is_what_noisy_corners_show(lens: CameraIntrinsics) -> None:
    """300 trials: the mean of chi-square(6) / 6 has a deviation of 0.033, so 4 of them."""
    rng, sigma = np.random.default_rng(5), 0.3
    errors: list[float] = []
    for _ in range(300):
        truth = facing(
            rng.uniform(-0.03, 0.03),
            rng.uniform(-0.03, 0.03),
            0.2,
            roll_deg=rng.uniform(0, 360),
            tilt_deg=rng.uniform(30, 55),
        )
        seen = seen_tag(truth, lens, sigma * rng.normal(size=(4, 2)))
        errors.append(normalised_error_squared(estimate_pose(seen, SIZE, lens, pixel_sigma=sigma), truth))
    assert 0.86 < np.mean(errors) / 6 < 1.16


def test_the_covariance_of_a_board_is_what_noisy_corners_show() -> None:
    rng, sigma = np.random.default_rng(6), 0.3
    errors: list[float] = []
    for _ in range(200):
        truth = facing(-0.08, 0.05, 0.35, roll_deg=rng.uniform(-20, 20), tilt_deg=rng.uniform(10, 45))
        seen = seen_board(truth, BARREL, sigma * rng.normal(size=(48, 2)))
        estimate = estimate_board_pose(seen, BARREL, pixel_sigma=sigma)
        assert estimate is not None
        assert estimate.tag_id == -1
        errors.append(normalised_error_squared(estimate, truth))
    assert 0.84 < np.mean(errors) / 6 < 1.17


def test_both_planar_solutions_are_minima_and_one_of_them_is_true() -> None:
    rng = np.random.default_rng(7)
    flips = 0
    for _ in range(60):
        truth = facing(
            rng.uniform(-0.3, 0.3),
            rng.uniform(-0.3, 0.3),
            2.5,
            roll_deg=rng.uniform(0, 360),
            tilt_deg=rng.uniform(20, 50),
        )
        estimate = estimate_pose(seen_tag(truth, STRAIGHT, 0.15 * rng.normal(size=(4, 2))), SIZE, STRAIGHT)
        assert estimate.alternative is not None
        assert estimate.reprojection_error <= estimate.alternative_error
        assert 0 <= estimate.ambiguity <= 1
        angles = [T.distance_to(truth)[1] for T in (estimate.T_camera_tag, estimate.alternative)]
        assert min(angles) < np.deg2rad(30)
        flips += angles[1] < angles[0]
    assert flips  # so keeping only the better one would be wrong now and then


def test_corners_that_fit_badly_widen_the_covariance() -> None:
    truth = facing(0, 0, 0.3, tilt_deg=40)
    good = estimate_pose(seen_tag(truth, STRAIGHT), SIZE, STRAIGHT)
    # Opposite corners moved apart: no square looks like this.
    skewed = np.array([[6.0, 6], [6, -6], [6, 6], [6, -6]])
    bad = estimate_pose(seen_tag(truth, STRAIGHT, skewed), SIZE, STRAIGHT)
    assert bad.reprojection_error > 3
    assert np.trace(bad.covariance[:3, :3]) > 5 * np.trace(good.covariance[:3, :3])


@pytest.mark.parametrize("size_m", [0.0, -0.1, float("nan"), float("inf")])
def test_a_tag_without_a_size_has_no_pose(size_m: float) -> None:
    with pytest.raises(ValueError, match="must be positive and finite"):
        estimate_pose(seen_tag(facing(0, 0, 0.3), STRAIGHT), size_m, STRAIGHT)


@pytest.mark.parametrize(
    "corners",
    [
        [[100, 100], [200, 100], [300, 100], [150, 100]],  # on a line
        [[100, 100], [100, 100], [100, 100], [100, 100]],  # on one spot
    ],
)
def test_corners_that_are_no_square_are_refused(corners: list[list[float]]) -> None:
    detection = TagDetection(tag_id=9, family="36h11", corners=np.array(corners, dtype=np.float64), timestamp=0.0)
    with pytest.raises(InvalidPoseError, match="tag 9 are no picture of a square") as caught:
        estimate_pose(detection, SIZE, STRAIGHT)
    assert caught.value.remedy


def test_a_tag_is_never_behind_the_camera() -> None:
    rng = np.random.default_rng(8)
    for _ in range(40):
        corners = rng.uniform(0, 240, (4, 2))
        detection = TagDetection(tag_id=0, family="36h11", corners=corners, timestamp=0.0)
        try:
            estimate = estimate_pose(detection, SIZE, STRAIGHT)
        except InvalidPoseError:
            continue
        poses = [estimate.T_camera_tag] + ([] if estimate.alternative is None else [estimate.alternative])
        for T in poses:
            assert (T.apply(tag_corners(SIZE))[:, 2] > 0).all()
        assert np.isfinite(estimate.covariance).all()


def test_misread_points_of_a_board_do_not_move_its_pose() -> None:
    rng, truth = np.random.default_rng(9), facing(-0.08, 0.05, 0.35, tilt_deg=25)
    noise = 0.2 * rng.normal(size=(48, 2))
    clean = estimate_board_pose(seen_board(truth, STRAIGHT, noise), STRAIGHT)
    noise[[4, 17, 30, 31]] += 25.0
    dirty = estimate_board_pose(seen_board(truth, STRAIGHT, noise), STRAIGHT)
    assert clean is not None
    assert dirty is not None
    distance, angle = dirty.T_camera_tag.distance_to(clean.T_camera_tag)
    assert distance < 5e-4
    assert angle < 2e-3
    assert dirty.reprojection_error < 0.5


def test_a_board_with_too_few_points_has_no_pose() -> None:
    truth = facing(-0.08, 0.05, 0.35, tilt_deg=25)
    whole = seen_board(truth, STRAIGHT)
    for keep in ([0, 1, 2], [0, 1, 4, 5, 8, 9, 12, 13]):  # three points; a line of them
        part = BoardDetection(
            points_board=whole.points_board[keep], points_image=whole.points_image[keep], timestamp=0.0
        )
        assert estimate_board_pose(part, STRAIGHT) is None


def test_chess_corners_alone_are_enough_for_a_pose() -> None:
    board = CharucoBoard(columns=5, rows=4, square_m=0.03, marker_m=0.02)
    truth = facing(-0.07, 0.06, 0.4, tilt_deg=30)
    points = board.chess_corners
    seen = BoardDetection(points_board=points, points_image=pixels(points, truth, STRAIGHT), timestamp=0.0)
    estimate = estimate_board_pose(seen, STRAIGHT)
    assert estimate is not None
    assert estimate.T_camera_tag.distance_to(truth)[0] < 1e-8


def test_corners_far_outside_the_picture_are_refused() -> None:
    seen = seen_tag(facing(0.0, 0.0, 0.3, tilt_deg=40), STRAIGHT)
    far = replace(seen, corners=seen.corners * 1e6)
    with pytest.raises(InvalidPoseError, match="tag 3 lie more than 10 picture sizes outside") as caught:
        estimate_pose(far, SIZE, STRAIGHT)
    assert caught.value.facts["tag_id"] == 3
    beside = seen_tag(facing(0.5, 0.0, 0.3, tilt_deg=40), STRAIGHT)  # a corner carried on beyond the border is none
    assert beside.corners[:, 0].min() > 2 * STRAIGHT.width
    assert estimate_pose(beside, SIZE, STRAIGHT).reprojection_error < 1e-6


def test_a_guessed_lens_makes_the_distance_as_uncertain_as_it_is() -> None:
    true, guess = (CameraIntrinsics.from_field_of_view(640, 480, np.deg2rad(fov)) for fov in (80.0, 60.0))
    truth = facing(0.05, 0.0, 0.6, tilt_deg=35)
    estimate = estimate_pose(seen_tag(truth, true), SIZE, guess)
    assert estimate.lens_covariance is not None
    z = estimate.T_camera_tag.rotation[2]
    sigma = float(np.sqrt(z @ estimate.lens_covariance[:3, :3] @ z))
    error = estimate.T_camera_tag.translation[2] - 0.6
    assert error > 0.2
    assert 0.5 * error < sigma < 2.0 * error
    assert np.sqrt(z @ estimate.covariance[:3, :3] @ z) < 0.1 * error, "the corners alone do not tell"
