"""Covariances of poses: of few pixels and near the front, of corners of any noise, of boards whose noise is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tags_scene import BARREL, FISHEYE, STRAIGHT, facing, pixels

from vision_ik.errors import InvalidPoseError
from vision_ik.tags import estimate_board_pose, estimate_pose
from vision_ik.transforms import Transform, exp_rotation
from vision_ik.types import (
    BoardDetection,
    CameraIntrinsics,
    Floats,
    PoseEstimate,
    TagDetection,
    TagGridBoard,
    tag_corners,
)

SIZE = 0.08
GRID = np.concatenate(list(TagGridBoard(columns=4, rows=3, tag_m=0.03, gap_m=0.01).markers.values())) - [0.08, 0.06, 0]
_FACES = (np.eye(3), exp_rotation([0.0, np.pi / 2, 0.0]), exp_rotation([-np.pi / 2, 0.0, 0.0]))
CUBE = np.concatenate([(tag_corners(0.04) + np.array([0.0, 0.0, 0.025])) @ R.T for R in _FACES])
"""Three faces of a cube, one tag each."""


def tag_seen(
    truth: Transform, lens: CameraIntrinsics, noise: Floats, *, covariance: Floats | None = None
) -> TagDetection:
    corners = pixels(tag_corners(SIZE), truth, lens) + noise
    return TagDetection(tag_id=3, family="36h11", corners=corners, timestamp=1.5, covariance=covariance)


def board_seen(points: Floats, truth: Transform, lens: CameraIntrinsics, noise: Floats | float = 0.0) -> BoardDetection:
    return BoardDetection(points_board=points, points_image=pixels(points, truth, lens) + noise, timestamp=1.5)


def views(rng: np.random.Generator, count: int, distance: float, tilts: tuple[float, float]) -> Iterator[Transform]:
    for _ in range(count):
        x, y = rng.uniform(-0.08, 0.08, 2) * distance
        roll, axis = rng.uniform(0, 360, 2)
        yield facing(x, y, distance, roll_deg=roll, tilt_deg=rng.uniform(*tilts), tilt_axis_deg=axis)


def normalised_error_squared(T: Transform, covariance: Floats, truth: Transform) -> float:
    error = (T.inv() @ truth).log()
    return float(error @ np.linalg.solve(covariance, error))


def nearer_branch(estimate: PoseEstimate, truth: Transform) -> tuple[float, bool]:
    """Return the normalised squared error of the planar solution nearer to the truth, and whether it was the second."""
    found = [(estimate.T_camera_tag, estimate.covariance)]
    if estimate.alternative is not None:
        assert estimate.alternative_covariance is not None
        found.append((estimate.alternative, estimate.alternative_covariance))
    angles = [T.distance_to(truth)[1] for T, _ in found]
    k = int(np.argmin(angles))
    return normalised_error_squared(*found[k], truth), k == 1


@pytest.mark.parametrize(
    ("edge_px", "tilts"),
    [(20, (0, 10)), (20, (10, 30)), (20, (30, 60)), (40, (0, 10)), (40, (10, 60)), (100, (0, 60))],
)
def test_a_far_tag_is_as_uncertain_as_it_says_however_it_is_tilted(edge_px: int, tilts: tuple[float, float]) -> None:
    """Tilts near zero change nothing in the picture to first order; the Jacobian's covariance is off by 2 to 5."""
    rng, sigma = np.random.default_rng(edge_px), 0.1
    distance = STRAIGHT.K[0, 0] * SIZE / edge_px
    errors: list[float] = []
    for truth in views(rng, 400, distance, tilts):
        seen = tag_seen(truth, STRAIGHT, sigma * rng.normal(size=(4, 2)), covariance=sigma**2 * np.eye(8))
        errors.append(nearer_branch(estimate_pose(seen, SIZE, STRAIGHT), truth)[0])
    assert 0.8 < np.mean(errors) / 6 < 1.25


def test_the_ambiguity_tells_how_often_the_mirrored_solution_is_true() -> None:
    rng, sigma = np.random.default_rng(3), 0.15
    chances: list[float] = []
    flips: list[bool] = []
    for truth in views(rng, 1000, STRAIGHT.K[0, 0] * SIZE / 22, (10, 45)):
        seen = tag_seen(truth, STRAIGHT, sigma * rng.normal(size=(4, 2)), covariance=sigma**2 * np.eye(8))
        estimate = estimate_pose(seen, SIZE, STRAIGHT)
        chances.append(estimate.ambiguity / (1.0 + estimate.ambiguity))
        flips.append(nearer_branch(estimate, truth)[1])
    assert np.sum(flips) > 30
    assert 0.75 < np.sum(chances) / np.sum(flips) < 1.33
    likely = np.array(chances) > 0.25
    assert np.mean(np.array(flips)[likely]) > 4 * np.mean(np.array(flips)[~likely])


@pytest.mark.parametrize("lens", [STRAIGHT, BARREL, FISHEYE], ids=["straight", "barrel", "fisheye"])
def test_corners_count_by_their_own_covariance(lens: CameraIntrinsics) -> None:
    """Correlated corners of very different noise: weighted alike they would give errors far beyond what they say."""
    rng = np.random.default_rng(4)
    weighted: list[float] = []
    chi_square: list[float] = []
    plain: list[float] = []
    for truth in views(rng, 300, 0.25, (20, 50)):
        mixing = rng.normal(size=(8, 8)) * np.repeat([0.01, 0.01, 0.03, 0.15], 2)[:, None]
        covariance = mixing @ mixing.T + 1e-4 * np.eye(8)
        noise = (np.linalg.cholesky(covariance) @ rng.normal(size=8)).reshape(4, 2)
        estimate = estimate_pose(tag_seen(truth, lens, noise, covariance=covariance), SIZE, lens)
        weighted.append(normalised_error_squared(estimate.T_camera_tag, estimate.covariance, truth))
        chi_square.append(estimate.chi_square)
        assert estimate.freedom == 2
        alike = estimate_pose(tag_seen(truth, lens, noise), SIZE, lens)
        plain.append(alike.T_camera_tag.distance_to(truth)[0] - estimate.T_camera_tag.distance_to(truth)[0])
    assert 0.84 < np.mean(weighted) / 6 < 1.16
    assert 1.6 < np.mean(chi_square) < 2.4
    assert np.mean(plain) > 0


def test_a_misfit_beyond_the_noise_is_told_and_widens_the_covariance() -> None:
    truth = facing(0, 0, 0.3, tilt_deg=40)
    skewed = np.array([[1.0, 1], [1, -1], [1, 1], [1, -1]])
    good = estimate_pose(tag_seen(truth, STRAIGHT, np.zeros((4, 2)), covariance=0.01 * np.eye(8)), SIZE, STRAIGHT)
    bad = estimate_pose(tag_seen(truth, STRAIGHT, skewed, covariance=0.01 * np.eye(8)), SIZE, STRAIGHT)
    assert good.chi_square < 1e-6
    assert bad.chi_square > 100
    assert np.trace(bad.covariance[:3, :3]) > 3 * np.trace(good.covariance[:3, :3])


def test_corners_with_an_impossible_covariance_are_refused() -> None:
    seen = tag_seen(facing(0, 0, 0.3, tilt_deg=40), STRAIGHT, np.zeros((4, 2)), covariance=2.0 - np.eye(8))
    with pytest.raises(InvalidPoseError, match="covariance of the corners of tag 3 is not positive definite"):
        estimate_pose(seen, SIZE, STRAIGHT)


def test_a_mirrored_tag_is_refused() -> None:
    seen = tag_seen(facing(0, 0, 0.3, tilt_deg=40), STRAIGHT, np.zeros((4, 2)))
    mirrored = replace(seen, corners=seen.corners * [-1.0, 1.0] + [319.0, 0.0])
    with pytest.raises(InvalidPoseError, match="tag 3 run the wrong way round, as in a mirror"):
        estimate_pose(mirrored, SIZE, STRAIGHT)


@pytest.mark.parametrize("sigma", [0.03, 0.15, 1.0])
def test_the_noise_of_a_board_is_estimated_whatever_was_assumed(sigma: float) -> None:
    rng = np.random.default_rng(6)
    errors: list[float] = []
    for truth in views(rng, 200, 0.35, (10, 45)):
        estimate = estimate_board_pose(board_seen(GRID, truth, BARREL, sigma * rng.normal(size=(48, 2))), BARREL)
        assert estimate is not None
        assert estimate.freedom <= 90
        errors.append(normalised_error_squared(estimate.T_camera_tag, estimate.covariance, truth))
    # 0.3 px are assumed, and count for a few of the 90 degrees of freedom.
    assert (0.2 if sigma < 0.1 else 0.8) < np.mean(errors) / 6 < 1.2


def test_corners_of_a_marker_that_err_together_count_as_such() -> None:
    """Whole markers off by more than their corners among each other, one corner covered in each view."""
    rng = np.random.default_rng(11)
    errors: list[float] = []
    alone: list[float] = []
    covariance = 0.01 * np.eye(8) + 0.09 * np.kron(np.ones((4, 4)), np.eye(2))
    factor = np.linalg.cholesky(covariance)
    for truth in views(rng, 200, 0.35, (10, 45)):
        noise = (rng.normal(size=(12, 8)) @ factor.T).reshape(48, 2)
        noise[rng.integers(48)] += 40.0
        seen = board_seen(GRID, truth, BARREL, noise)
        marginal = replace(seen, sigma=np.full(48, np.sqrt(0.1)))
        together = estimate_board_pose(replace(marginal, marker_covariances=np.stack([covariance] * 12)), BARREL)
        apart = estimate_board_pose(marginal, BARREL)
        assert together is not None
        assert apart is not None
        assert together.freedom in (88, 86)
        errors.append(normalised_error_squared(together.T_camera_tag, together.covariance, truth))
        alone.append(normalised_error_squared(apart.T_camera_tag, apart.covariance, truth))
    assert 0.8 < np.mean(errors) / 6 < 1.25
    assert not 0.8 < np.mean(alone) / 6 < 1.25


@pytest.mark.parametrize("points", [CUBE, CUBE[:8], CUBE[:6]], ids=["three faces", "two", "one and a half"])
@pytest.mark.parametrize("lens", [STRAIGHT, FISHEYE], ids=["straight", "fisheye"])
def test_points_in_space_have_one_exact_and_honest_pose(points: Floats, lens: CameraIntrinsics) -> None:
    rng, sigma = np.random.default_rng(7), 0.3
    errors: list[float] = []
    for truth in views(rng, 150, 0.3, (15, 50)):
        exact = estimate_board_pose(board_seen(points, truth, lens), lens)
        assert exact is not None
        assert exact.T_camera_tag.distance_to(truth)[0] < 1e-7
        noisy = board_seen(points, truth, lens, sigma * rng.normal(size=(len(points), 2)))
        estimate = estimate_board_pose(noisy, lens)
        assert estimate is not None
        errors.append(normalised_error_squared(estimate.T_camera_tag, estimate.covariance, truth))
    assert 0.75 < np.median(errors) / 5.35 < 1.25


@pytest.mark.parametrize("points", [GRID, CUBE], ids=["plane", "space"])
def test_a_quarter_of_wrong_points_does_not_move_the_pose(points: Floats) -> None:
    rng, sigma = np.random.default_rng(8), 0.2
    wrong = len(points) // 4
    far = 0
    for truth in views(rng, 60, 0.3, (15, 45)):
        noise = sigma * rng.normal(size=(len(points), 2))
        noise[rng.choice(len(points), wrong, replace=False)] += rng.choice([-30.0, 30.0], (wrong, 2))
        estimate = estimate_board_pose(board_seen(points, truth, STRAIGHT, noise), STRAIGHT)
        assert estimate is not None
        far += estimate.T_camera_tag.distance_to(truth)[0] > 5e-3
    assert far <= 1


def test_a_board_of_which_many_points_are_far_off_is_found_from_fours_of_them() -> None:
    rng, truth = np.random.default_rng(9), facing(0.02, 0.0, 0.35, tilt_deg=30)
    noise = 0.1 * rng.normal(size=(48, 2))
    noise[28:] += rng.uniform(0, 120, (20, 2))
    estimate = estimate_board_pose(board_seen(GRID, truth, STRAIGHT, noise), STRAIGHT)
    assert estimate is not None
    assert estimate.T_camera_tag.distance_to(truth)[0] < 2e-3


def test_a_tag_beside_a_fisheye_has_a_pose_too() -> None:
    """At 95 degrees from the axis no pinhole projection of it exists."""
    turned = Transform.from_parts(exp_rotation([0.0, np.deg2rad(95.0), 0.0]), (0, 0, 0))
    truth = turned @ facing(0.0, 0.0, 0.3, tilt_deg=35)
    estimate = estimate_pose(tag_seen(truth, FISHEYE, np.zeros((4, 2))), SIZE, FISHEYE)
    assert estimate.T_camera_tag.distance_to(truth)[0] < 1e-8


@pytest.mark.parametrize("lens", [BARREL, FISHEYE], ids=["barrel", "fisheye"])
def test_an_uncertain_lens_adds_what_it_does_to_the_pose(lens: CameraIntrinsics) -> None:
    n = 4 + len(lens.distortion)
    deviation = np.array([2.0, 2.0, 1.5, 1.5, *np.full(n - 4, 2e-3)])
    uncertain = replace(lens, covariance=np.diag(deviation**2))
    truth = facing(0.03, 0.02, 0.25, tilt_deg=35)
    seen = tag_seen(truth, lens, np.zeros((4, 2)))
    estimate = estimate_pose(seen, SIZE, uncertain)
    assert estimate.lens_covariance is not None
    assert estimate_pose(seen, SIZE, lens).lens_covariance is None
    rng = np.random.default_rng(10)
    errors: list[Floats] = []
    for _ in range(400):
        off = deviation * rng.normal(size=n)
        K = lens.K + np.array([[off[0], 0, off[2]], [0, off[1], off[3]], [0, 0, 0]])
        moved = estimate_pose(seen, SIZE, replace(lens, K=K, distortion=lens.distortion + off[4:])).T_camera_tag
        errors.append((truth.inv() @ moved).log())
    scatter = np.sqrt(np.mean(np.square(errors), axis=0))
    np.testing.assert_allclose(np.sqrt(np.diag(estimate.lens_covariance)), scatter, rtol=0.2)
