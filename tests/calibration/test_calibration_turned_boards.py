"""Chessboards that a turn maps to themselves: each picture counts the corners from any that look alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_arms import UR5E, off_its_drawing, postures, see
from calibration_stage import LENS, MOUNTS, Stage, detection, make_stage

from calibration import HandEyeView, calibrate_arm, calibrate_hand_eye, held_out_check
from calibration.hand_eye.turned_boards import counted_as_expected, same_looks
from calibration.lens.projection import project
from calibration.wizard.results import hand_eye_facts
from calibration.wizard.work import counted_as_expected as counted_for
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, Chessboard

OBLONG = Chessboard(columns=9, rows=7, square_m=0.025)
SQUARE = Chessboard(columns=7, rows=7, square_m=0.025)


def turned(found: BoardDetection, board: Chessboard, k: int) -> BoardDetection:
    """Return corners as a detector lists them that starts at the k-th of the corners that look alike."""
    grid = found.points_image.reshape(board.rows - 1, board.columns - 1, 2)
    return detection(np.rot90(grid, k).reshape(-1, 2), board.chess_corners)


def stage_of(board: Chessboard, rng: np.random.Generator, mount: Mount, n: int) -> Stage:
    """Return views of a board with cobot noise, all counted from the true corner."""
    stage = make_stage(rng, mount, n, translation=0.3e-3, rotation=float(np.deg2rad(0.05)))
    T_mount_board = stage.T_mount_camera.inv(), stage.T_holder_board
    views: list[HandEyeView] = []
    for view in stage.views:
        arm = view.flange if mount == "eye_to_hand" else view.flange.inv()
        T_camera_board = T_mount_board[0] @ arm @ T_mount_board[1]
        uv, _ = project(T_camera_board.apply(board.chess_corners), LENS)
        uv = uv + 0.3 * rng.normal(size=uv.shape)
        views.append(HandEyeView(T_base_flange=view.flange, detection=detection(uv, board.chess_corners)))
    return replace(stage, views=views)


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize(("board", "step"), [(OBLONG, 2), (SQUARE, 1)], ids=["half", "quarter"])
def test_corners_counted_from_anywhere_give_the_camera_of_corners_counted_alike(
    board: Chessboard, step: int, mount: Mount
) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        stage = stage_of(board, rng, mount, 14)
        alike = calibrate_hand_eye(stage.views, intrinsics=LENS, mount=mount, systematics=())
        starts = step * rng.integers(4 // step, size=14)
        views = [
            replace(view, detection=turned(view.detection, board, int(k)))
            for view, k in zip(stage.views, starts, strict=True)
        ]
        result = calibrate_hand_eye(views, intrinsics=LENS, mount=mount, board=board, systematics=())
        assert result.used_views == alike.used_views
        metres, angle = result.T_mount_camera.distance_to(alike.T_mount_camera)
        assert metres < 1e-6
        assert angle < 1e-6
        assert "corner order was told from the arm's motion" in result.warnings[0]


@pytest.mark.parametrize("mount", MOUNTS)
def test_views_that_are_wrong_besides_do_not_spoil_the_count(mount: Mount) -> None:
    rng = np.random.default_rng(7)
    stage = stage_of(OBLONG, rng, mount, 20)
    flanges = [view.flange for view in stage.views]
    flanges[:5] = flanges[1:5] + flanges[:1]
    views = [
        HandEyeView(T_base_flange=flange, detection=turned(view.detection, OBLONG, 2 * int(rng.integers(2))))
        for view, flange in zip(stage.views, flanges, strict=True)
    ]
    result = calibrate_hand_eye(views, intrinsics=LENS, mount=mount, board=OBLONG, systematics=())
    assert all(report.used for report in result.views[5:])
    assert result.T_mount_camera.distance_to(stage.T_mount_camera)[0] < 5.0 * result.sigma_translation


def test_three_views_are_enough_to_tell(rng: np.random.Generator) -> None:
    stage = stage_of(OBLONG, rng, "eye_to_hand", 3)
    alike = calibrate_hand_eye(stage.views, intrinsics=LENS)
    views = [*stage.views[:2], replace(stage.views[2], detection=turned(stage.views[2].detection, OBLONG, 2))]
    result = calibrate_hand_eye(views, intrinsics=LENS, board=OBLONG)
    assert result.T_mount_camera.distance_to(alike.T_mount_camera)[0] < 1e-6


@pytest.mark.parametrize(
    ("board", "turns"),
    [
        (OBLONG, 2),
        (SQUARE, 4),
        (Chessboard(columns=8, rows=8, square_m=0.025), 2),
        (Chessboard(columns=8, rows=7, square_m=0.025), 1),
    ],
)
def test_turns_that_leave_the_print_as_it_is(board: Chessboard, turns: int) -> None:
    found = same_looks(board)
    assert len(found) == turns
    for turn in found:
        moved = board.chess_corners @ turn[:3, :3].T + turn[:3, 3]
        apart = np.linalg.norm(moved[:, None] - board.chess_corners[None], axis=2).min(axis=1)
        assert apart.max() < 1e-12


def test_a_fresh_view_is_counted_as_the_calibration_expects_it() -> None:
    T_camera_board = Transform.from_xyz_rpy([-0.1, -0.05, 0.5], [0.2, -0.3, 1.2])
    uv, _ = project(T_camera_board.apply(OBLONG.chess_corners), LENS)
    straight = detection(uv, OBLONG.chess_corners)
    near = T_camera_board @ Transform.exp([0.01, -0.02, 0.01, 0.05, -0.05, 0.1])
    for found in (straight, turned(straight, OBLONG, 2)):
        counted = counted_as_expected(found, OBLONG, near, LENS)
        expected, _ = project(T_camera_board.apply(counted.points_board), LENS)
        np.testing.assert_allclose(expected, counted.points_image, atol=1e-6)


def test_views_to_check_a_result_with_are_counted_as_the_result_is(rng: np.random.Generator) -> None:
    stage = stage_of(OBLONG, rng, "eye_in_hand", 12)
    views = [replace(view, detection=turned(view.detection, OBLONG, 2 * (i % 2))) for i, view in enumerate(stage.views)]
    result = calibrate_hand_eye(views[:9], intrinsics=LENS, mount="eye_in_hand", board=OBLONG, systematics=())
    facts = hand_eye_facts(result, LENS)
    fresh = counted_for(views[9:], OBLONG, facts)
    _, checked = held_out_check(result, fresh, intrinsics=LENS)
    assert max(view.rotation_error for view in checked) < 0.03
    _, as_found = held_out_check(result, views[9:], intrinsics=LENS)
    assert max(view.rotation_error for view in as_found) > 3.0


def test_an_arm_is_calibrated_with_corners_counted_from_anywhere(rng: np.random.Generator) -> None:
    board = Chessboard(columns=7, rows=5, square_m=0.03)
    views = see(off_its_drawing(UR5E, rng), "eye_to_hand", postures("eye_to_hand", 16, rng), rng)
    alike = calibrate_arm(views, robot=UR5E, intrinsics=LENS)
    mixed = [replace(view, detection=turned(view.detection, board, 2 * int(rng.integers(2)))) for view in views]
    found = calibrate_arm(mixed, robot=UR5E, intrinsics=LENS, board=board)
    assert found.adopted == alike.adopted
    camera = found.hand_eye.T_mount_camera
    assert camera.distance_to(alike.hand_eye.T_mount_camera)[0] < 1e-6
