"""Chess corners: found between pixels, with a standard deviation that is true, and only where there are any."""

from __future__ import annotations

import numpy as np
import pytest
from tags_scene import STRAIGHT, facing

from sim.lens import project
from sim.stress import Conditions, shoot
from sim.targets import board_texture
from vision_ik.tags.corners.saddles import refine_saddles
from vision_ik.types import CharucoBoard, Floats, Image

BOARD = CharucoBoard(columns=5, rows=4, square_m=0.03, marker_m=0.015)
POSE = facing(-0.07, 0.06, 0.35, roll_deg=15.0, tilt_deg=30.0)
WINDOW = 5.0


def picture(*, noise: float = 1.0, blur_px: float = 0.7, seed: int = 0) -> tuple[Image, Floats]:
    """Return a grey picture of the board and its true chess corners (12, 2)."""
    conditions = Conditions(noise=noise, blur_px=blur_px)
    shot = shoot(board_texture(BOARD, 0.01), BOARD.markers, POSE, STRAIGHT, conditions, seed=seed)
    return np.ascontiguousarray(shot.frame.image[:, :, 0]), project(POSE.apply(BOARD.chess_corners), STRAIGHT)


def rough(truth: Floats, seed: int = 1) -> Floats:
    return truth + 0.5 * np.random.default_rng(seed).normal(size=truth.shape)


def test_chess_corners_are_found_to_hundredths_of_a_pixel() -> None:
    gray, truth = picture()
    found = refine_saddles(gray, rough(truth), WINDOW)
    assert found.found.all()
    assert np.linalg.norm(found.points - truth, axis=1).max() < 0.06


@pytest.mark.parametrize(("noise", "blur_px"), [(3.0, 0.7), (10.0, 0.7), (3.0, 1.3)])
def test_the_standard_deviation_is_that_of_the_true_errors(noise: float, blur_px: float) -> None:
    ratios: list[float] = []
    for seed in range(15):
        gray, truth = picture(noise=noise, blur_px=blur_px, seed=seed)
        found = refine_saddles(gray, rough(truth, seed), WINDOW)
        errors = ((found.points - truth) ** 2).mean(axis=1)[found.found]
        ratios.extend((errors / found.sigma[found.found] ** 2).tolist())
    assert 0.6 < np.mean(ratios) < 1.4


def test_nothing_is_found_on_paper_edges_markers_or_outside() -> None:
    gray, truth = picture()
    marker = project(POSE.apply(BOARD.markers[0]), STRAIGHT)
    elsewhere = np.concatenate([marker, [[2.0, 2.0], [np.nan, 5.0], [-50.0, 1e6]]])
    found = refine_saddles(gray, elsewhere, WINDOW)
    assert not found.found.any()
    assert np.isnan(found.sigma).all()
    assert np.array_equal(found.points, elsewhere, equal_nan=True)
    assert np.array_equal(refine_saddles(gray, truth, 1.0).found, np.zeros(len(truth), dtype=bool))


def test_faint_texture_of_what_covers_a_corner_is_not_taken_for_it() -> None:
    gray, truth = picture(noise=0.0)
    x, y = np.rint(truth[5]).astype(int)
    rows, columns = np.mgrid[y - 12 : y + 13, x - 12 : x + 13]
    gray[y - 12 : y + 13, x - 12 : x + 13] = 150 + 12 * np.sign((rows - y - 1.3) * (columns - x + 0.8))
    found = refine_saddles(gray, truth, WINDOW)
    assert not found.found[5]
    assert found.found.sum() >= len(truth) - 3


def test_each_corner_has_its_own_window() -> None:
    gray, truth = picture()
    windows = np.full(len(truth), WINDOW)
    windows[0] = 0.0
    found = refine_saddles(gray, rough(truth), windows)
    assert not found.found[0]
    assert found.found[1:].all()
