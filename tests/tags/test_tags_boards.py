"""Boards are found whole, covered, in both layouts, and where the truth has them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from tags_scene import BARREL, STRAIGHT, board_view, facing, frame_of, pixels, tag_view

from vision_ik.tags import TagDetector, detect_board, estimate_board_pose, render_board
from vision_ik.types import Board, BoardDetection, CameraIntrinsics, CharucoBoard, Floats, TagGridBoard

CHARUCO = CharucoBoard(columns=5, rows=4, square_m=0.03, marker_m=0.022)
BOARDS = {
    "charuco": CHARUCO,
    "legacy charuco": replace(CHARUCO, legacy=True),
    "charuco of apriltags": replace(CHARUCO, family="36h11", first_id=20),
    "tag grid": TagGridBoard(columns=4, rows=3, tag_m=0.03, gap_m=0.01),
    "aruco grid": TagGridBoard(columns=3, rows=2, tag_m=0.04, gap_m=0.006, family="5x5_100", first_id=7),
}
POSE = facing(-0.08, 0.06, 0.28, roll_deg=8, tilt_deg=25)
ALL = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS.keys())


def errors(found: BoardDetection, lens: CameraIntrinsics) -> Floats:
    return np.linalg.norm(found.points_image - pixels(found.points_board, POSE, lens), axis=1)


@ALL
def test_all_points_of_a_board_are_found_where_they_are(board: Board) -> None:
    found = detect_board(frame_of(board_view(board, POSE, STRAIGHT), noise=1.0), board)
    assert found is not None
    assert found.timestamp == 4.25
    assert found.tag_ids == tuple(sorted(board.markers))
    expected = 4 * len(board.markers) + (len(board.chess_corners) if isinstance(board, CharucoBoard) else 0)
    assert len(found.points_board) == expected
    assert errors(found, STRAIGHT).max() < 0.4
    assert errors(found, STRAIGHT).mean() < 0.1
    estimate = estimate_board_pose(found, STRAIGHT)
    assert estimate is not None
    distance, angle = estimate.T_camera_tag.distance_to(POSE)
    assert distance < 3e-4
    assert angle < 2e-3


def test_a_strong_lens_does_not_bend_the_board() -> None:
    found = detect_board(frame_of(board_view(CHARUCO, POSE, BARREL), BARREL), CHARUCO)
    assert found is not None
    assert len(found.tag_ids) == len(CHARUCO.markers)
    assert errors(found, BARREL).max() < 0.4


@ALL
def test_a_mostly_covered_board_still_has_a_pose(board: Board) -> None:
    brightness = board_view(board, POSE, STRAIGHT)
    first = board.markers[min(board.markers)]
    right, bottom = pixels(first, POSE, STRAIGHT).max(axis=0).astype(int) + 6
    brightness[bottom:] = 120
    brightness[:, right:] = 120
    found = detect_board(frame_of(brightness), board)
    assert found is not None
    assert found.tag_ids == (min(board.markers),)
    assert errors(found, STRAIGHT).max() < 0.5  # covered chess corners are left out, not guessed
    estimate = estimate_board_pose(found, STRAIGHT)
    assert estimate is not None
    poses = [estimate.T_camera_tag, *([] if estimate.alternative is None else [estimate.alternative])]
    assert min(T.distance_to(POSE)[0] for T in poses) < 0.01


@pytest.mark.parametrize("printed_legacy", [False, True])
def test_either_charuco_layout_is_recognised_and_means_the_same(printed_legacy: bool) -> None:
    printed = replace(CHARUCO, legacy=printed_legacy)
    told_wrong = replace(CHARUCO, legacy=not printed_legacy)
    found = detect_board(frame_of(board_view(printed, POSE, STRAIGHT)), told_wrong)
    assert found is not None
    assert len(found.tag_ids) == len(CHARUCO.markers)
    assert errors(found, STRAIGHT).max() < 0.4


def test_a_loose_tag_with_an_id_of_the_board_is_left_out() -> None:
    board = BOARDS["tag grid"]
    small = facing(-0.08, 0.06, 0.45, roll_deg=8, tilt_deg=25)
    brightness = board_view(board, small, STRAIGHT)
    loose = tag_view("36h11", 3, 0.03, facing(0.09, -0.07, 0.3, roll_deg=130), STRAIGHT)
    brightness = np.where(loose != 150, loose, brightness)
    assert [d.tag_id for d in TagDetector("36h11").detect(frame_of(brightness))].count(3) == 2
    found = detect_board(frame_of(brightness), board)
    assert found is not None
    assert found.tag_ids == tuple(range(12))
    wrong = np.linalg.norm(found.points_image - pixels(found.points_board, small, STRAIGHT), axis=1)
    assert wrong.max() < 0.4


def test_no_board_is_none() -> None:
    assert detect_board(frame_of(np.full((240, 320), 150.0)), CHARUCO) is None
    other = replace(CHARUCO, first_id=30)
    assert detect_board(frame_of(board_view(CHARUCO, POSE, STRAIGHT)), other) is None


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("family", "constant"), [("4x4_50", "DICT_4X4_50"), ("36h11", "DICT_APRILTAG_36h11")])
def test_our_charuco_boards_are_those_of_opencv(family: str, constant: str, legacy: bool) -> None:
    board = CharucoBoard(columns=6, rows=4, square_m=0.03, marker_m=0.024, family=family, legacy=legacy)
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, constant))
    theirs = cv2.aruco.CharucoBoard((6, 4), 0.03, 0.024, dictionary)
    theirs.setLegacyPattern(legacy)
    drawn = np.asarray(theirs.generateImage((6 * 120, 4 * 120)), dtype=np.float64)
    ours = render_board(board, 4000.0).astype(np.float64)
    assert drawn.shape == ours.shape
    assert np.abs(drawn - ours).mean() < 0.5
    flipped = np.array([1.0, -1.0]), np.array([0.0, 4 * 0.03])
    for tag_id, corners in zip(np.ravel(theirs.getIds()), theirs.getObjPoints(), strict=True):
        np.testing.assert_allclose(
            np.asarray(corners)[:, :2] * flipped[0] + flipped[1], board.markers[int(tag_id)][:, :2], atol=1e-6
        )
    np.testing.assert_allclose(
        np.asarray(theirs.getChessboardCorners())[:, :2] * flipped[0] + flipped[1],
        board.chess_corners[:, :2],
        atol=1e-6,
    )


def test_a_board_printed_by_opencv_with_apriltags_is_found() -> None:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    drawn = cv2.aruco.CharucoBoard((5, 4), 0.03, 0.022, dictionary).generateImage((300, 240), marginSize=0)
    scene = np.pad(np.asarray(drawn, dtype=np.float64), 20, constant_values=255)
    lens = CameraIntrinsics.from_field_of_view(scene.shape[1], scene.shape[0])
    found = detect_board(frame_of(scene, lens), replace(CHARUCO, family="36h11"))
    assert found is not None
    assert len(found.tag_ids) == 10
    upright = np.column_stack([found.points_board[:, 0], 0.12 - found.points_board[:, 1]]) * 2000 + 19.5
    np.testing.assert_allclose(found.points_image, upright, atol=0.6)
