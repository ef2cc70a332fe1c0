"""Corners of markers: moved onto the edges, with a covariance that is true."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tags_scene import BARREL, FISHEYE, STRAIGHT, facing

from sim.lens import project
from sim.stress import Conditions, shoot
from sim.targets import tag_texture
from vision_ik.tags.corners.refinement import refine_corners, refine_markers, refine_visible
from vision_ik.tags.families import marker_cells
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, Image, tag_corners

SIZE = 0.1
POSE = facing(0.01, -0.01, 0.4, roll_deg=20.0, tilt_deg=35.0)


def picture(
    pose: Transform = POSE,
    lens: CameraIntrinsics = STRAIGHT,
    *,
    family: str = "36h11",
    noise: float = 1.0,
    blur_px: float = 0.6,
    motion_px: float = 0.0,
    seed: int = 0,
) -> tuple[Image, Floats]:
    """Return a grey picture of marker 3 and its true corners (4, 2)."""
    texture = tag_texture(family, 3, SIZE, SIZE / 8.0)
    conditions = Conditions(noise=noise, blur_px=blur_px, motion_px=motion_px)
    shot = shoot(texture, {3: tag_corners(SIZE)}, pose, lens, conditions, seed=seed)
    return np.ascontiguousarray(shot.frame.image[:, :, 0]), project(pose.apply(tag_corners(SIZE)), lens)


def rough(truth: Floats, seed: int = 1, sigma: float = 0.6) -> Floats:
    """Return corners (1, 4, 2) as a detector gives them."""
    return (truth + sigma * np.random.default_rng(seed).normal(size=truth.shape))[None]


def farthest(found: Floats, truth: Floats) -> float:
    return float(np.linalg.norm(found - truth, axis=-1).max())


@pytest.mark.parametrize("lens", [STRAIGHT, BARREL, FISHEYE])
def test_corners_are_found_to_hundredths_of_a_pixel_through_any_lens(lens: CameraIntrinsics) -> None:
    pose = facing(0.03, -0.02, 0.3 if lens is STRAIGHT else 0.18, roll_deg=20.0, tilt_deg=25.0)
    gray, truth = picture(pose, lens)
    found = refine_markers(gray, rough(truth), [marker_cells("36h11", 3)], lens)
    assert found.refined.all()
    assert farthest(found.corners[0], truth) < 0.04


@pytest.mark.parametrize("family", ["4x4_50", "6x6_250"])
def test_unknown_bits_are_read_from_the_picture_and_serve_as_well(family: str) -> None:
    gray, truth = picture(family=family)
    cells = marker_cells(family, 3)
    known = refine_markers(gray, rough(truth), [cells])
    unknown = refine_markers(gray, rough(truth), len(cells))
    assert unknown.refined.all()
    assert farthest(unknown.corners[0], known.corners[0]) < 1e-6
    assert np.allclose(refine_corners(gray, rough(truth), len(cells)), unknown.corners)


def test_markers_printed_white_on_black_are_refined_too() -> None:
    gray, truth = picture()
    found = refine_markers(255 - gray, rough(truth), [marker_cells("36h11", 3)])
    assert found.refined.all()
    assert farthest(found.corners[0], truth) < 0.04


def test_edges_inside_the_marker_make_the_corners_surer() -> None:
    gray, truth = picture(noise=8.0)
    cells = marker_cells("36h11", 3)
    whole = refine_markers(gray, rough(truth), [cells])
    rim = np.ones(cells.shape, dtype=np.bool_)
    rim[1:-1, 1:-1] = False
    border = refine_visible(gray, whole.corners[0], cells, rim, 0.6)
    assert border is not None
    assert farthest(border[0], truth) < 0.15
    assert np.trace(whole.covariance[0]) < 0.8 * np.trace(border[1])


@pytest.mark.parametrize(
    ("noise", "blur_px", "motion_px"), [(2.0, 0.6, 0.0), (10.0, 0.6, 0.0), (2.0, 1.5, 0.0), (2.0, 0.6, 8.0)]
)
def test_the_covariance_is_that_of_the_true_errors(noise: float, blur_px: float, motion_px: float) -> None:
    chi_squares: list[float] = []
    cells = [marker_cells("36h11", 3)]
    for seed in range(40):
        pose = facing(0.01 * np.sin(seed), 0.01 * np.cos(seed), 0.5 + 0.01 * seed, roll_deg=9.0 * seed, tilt_deg=40.0)
        gray, truth = picture(pose, noise=noise, blur_px=blur_px, motion_px=motion_px, seed=seed)
        found = refine_markers(gray, rough(truth, seed), cells)
        e = (found.corners[0] - truth).ravel()
        chi_squares.append(float(e @ np.linalg.solve(found.covariance[0], e)) / 8.0)
    assert 0.5 < np.mean(chi_squares) < 1.5


def test_corners_stay_right_under_a_path_during_the_exposure() -> None:
    for seed in range(6):
        gray, truth = picture(family="4x4_50", noise=2.0, motion_px=8.0, seed=seed)
        found = refine_markers(gray, rough(truth), [marker_cells("4x4_50", 3)])
        assert found.refined.all()
        assert farthest(found.corners[0], truth) < 0.04


def test_a_covered_corner_stays_right_and_is_less_sure() -> None:
    gray, truth = picture()
    whole = refine_markers(gray, rough(truth), [marker_cells("36h11", 3)])
    covered = gray.copy()
    x, y = truth[1]
    cv2.circle(covered, (round(x), round(y)), 16, 140.0, -1)
    found = refine_markers(covered, rough(truth), [marker_cells("36h11", 3)])
    assert found.refined.all()
    sigma = np.sqrt(np.diag(found.covariance[0])).reshape(4, 2)
    assert farthest(found.corners[0], truth) < 0.15
    assert sigma[1].max() > 1.2 * np.sqrt(np.diag(whole.covariance[0])).reshape(4, 2)[1].max()


def test_where_there_is_no_marker_the_corners_stay_and_no_covariance_is_claimed() -> None:
    gray, truth = picture()
    empty = np.full_like(gray, 128)
    start = rough(truth)
    found = refine_markers(empty, start, [marker_cells("36h11", 3)])
    assert not found.refined.any()
    assert np.array_equal(found.corners, start)
    assert np.isnan(found.covariance).all()


def test_a_bad_quad_does_not_spoil_its_neighbour() -> None:
    gray, truth = picture()
    quads = np.concatenate([np.full((1, 4, 2), np.nan), rough(truth), rough(truth) + 500.0])
    found = refine_markers(gray, quads, [marker_cells("36h11", 3)] * 3)
    assert found.refined.tolist() == [False, True, False]
    assert farthest(found.corners[1], truth) < 0.04


def test_no_markers_are_no_work() -> None:
    gray, _ = picture()
    assert refine_markers(gray, np.zeros((0, 4, 2)), 8, BARREL).corners.shape == (0, 4, 2)


def test_markers_without_a_pattern_each_are_refused() -> None:
    gray, truth = picture()
    with pytest.raises(ValueError, match="as many patterns"):
        refine_markers(gray, rough(truth), [])
