"""Which corners are used: not the misread ones, and the better of two kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from calibration_stage import BOARD, LENS, detection

from calibration.hand_eye.corners import better_corners, without_misread
from calibration.lens.projection import project
from calibration.views.sights import board_points, visible_poses
from vision_ik.types import BoardDetection, TagGridBoard

CHESS = len(BOARD.chess_corners)


def views(rng: np.random.Generator, marker_noise: float, chess_noise: float) -> list[BoardDetection]:
    """Return five views of all corners, with noise [px] by kind."""
    points = board_points(BOARD)
    noise = np.repeat([marker_noise, chess_noise], [len(points) - CHESS, CHESS])
    seen: list[BoardDetection] = []
    for T in visible_poses(BOARD, LENS, 200, rng)[:5]:
        uv, _ = project(points @ T[:3, :3].T + T[:3, 3], LENS)
        seen.append(detection(uv + noise[:, None] * rng.normal(size=uv.shape), points))
    return seen


def test_misread_corners_are_dropped_and_only_they(rng: np.random.Generator) -> None:
    seen = views(rng, 0.1, 0.1)[0]
    pixels = np.array(seen.points_image)
    pixels[[3, 40]] += (4.0, -3.0)
    kept = without_misread(detection(pixels, seen.points_board), LENS)
    np.testing.assert_array_equal(kept.points_board, np.delete(seen.points_board, [3, 40], axis=0))
    assert without_misread(seen, LENS) is seen
    sigma = np.linspace(0.1, 0.2, len(pixels))
    sure = BoardDetection(points_board=seen.points_board, points_image=pixels, timestamp=0.0, sigma=sigma)
    sure = replace(sure, marker_covariances=np.zeros((len(pixels) // 4, 8, 8)))
    np.testing.assert_array_equal(without_misread(sure, LENS).sigma, np.delete(sigma, [3, 40]))
    listed = replace(sure, tag_ids=(7, 8, 9), marker_covariances=np.arange(3)[:, None, None] * np.ones((3, 8, 8)))
    mended = without_misread(listed, LENS)
    assert mended.tag_ids == (8, 9)
    assert mended.marker_covariances is not None
    np.testing.assert_array_equal(mended.marker_covariances[:, 0, 0], [1.0, 2.0])
    np.testing.assert_array_equal(mended.points_image[:8], pixels[4:12])
    np.testing.assert_array_equal(
        mended.sigma,
        np.concatenate([sigma[4:12], np.delete(sigma, [3, 40])[[0, 1, 2]], np.delete(sigma, [3, 40])[11:]]),
    )


def test_the_views_decide_between_chess_and_marker_corners(rng: np.random.Generator) -> None:
    blurred_markers = better_corners(views(rng, 0.6, 0.2), BOARD, LENS)
    assert all(len(view.points_board) == CHESS for view in blurred_markers)
    sharp_markers = better_corners(views(rng, 0.1, 0.2), BOARD, LENS)
    assert all(len(view.points_board) == len(board_points(BOARD)) for view in sharp_markers)


def test_a_view_with_few_chess_corners_keeps_its_markers(rng: np.random.Generator) -> None:
    seen = views(rng, 0.6, 0.2)
    markers = slice(0, len(board_points(BOARD)) - CHESS + 5)
    seen[2] = detection(seen[2].points_image[markers], seen[2].points_board[markers])
    kept = better_corners(seen, BOARD, LENS)
    assert len(kept[2].points_board) == len(seen[2].points_board)
    assert len(kept[1].points_board) == CHESS


def test_tag_grids_keep_all_corners(rng: np.random.Generator) -> None:
    grid = TagGridBoard(columns=2, rows=2, tag_m=0.05, gap_m=0.01)
    seen = views(rng, 0.6, 0.2)
    assert better_corners(seen, grid, LENS) == seen
