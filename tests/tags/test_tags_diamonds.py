"""Diamonds are found by their four ids, several in a picture, as OpenCV draws and finds them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tags_scene import BARREL, STRAIGHT, board_view, facing, frame_of, pixels

from vision_ik.tags import estimate_board_pose
from vision_ik.tags.boards.detection import detect_board
from vision_ik.tags.boards.diamonds import find_diamonds
from vision_ik.types import CameraIntrinsics, CharucoBoard, Floats

IDS = (45, 7, 12, 30)
DIAMOND = CharucoBoard.diamond(IDS, 0.03, 0.02)
OTHER = CharucoBoard.diamond((7, 8, 12, 1), 0.03, 0.02)
HERE, THERE = facing(-0.1, -0.01, 0.38, roll_deg=20, tilt_deg=25), facing(0.03, 0.05, 0.45, roll_deg=-8, tilt_deg=10)


def both() -> Floats:
    near, far = board_view(DIAMOND, HERE, STRAIGHT), board_view(OTHER, THERE, STRAIGHT)
    return np.where(far != 150, far, near)


@pytest.mark.parametrize("lens", [STRAIGHT, BARREL], ids=["straight", "barrel"])
def test_a_diamond_is_found_where_it_is_whatever_its_ids(lens: CameraIntrinsics) -> None:
    T = facing(-0.05, 0.04, 0.22, roll_deg=20, tilt_deg=25)
    (found,) = find_diamonds(frame_of(board_view(DIAMOND, T, lens), lens, noise=1.0), square_m=0.03, marker_m=0.02)
    assert found.layout == DIAMOND
    assert found.tag_ids == IDS
    assert len(found.points_board) == 4 * 4 + 4
    assert np.linalg.norm(found.points_image - pixels(found.points_board, T, lens), axis=1).max() < 0.4


def test_several_diamonds_in_a_picture_are_told_apart_though_they_share_ids() -> None:
    found = find_diamonds(frame_of(both(), noise=1.0), square_m=0.03, marker_m=0.02)
    assert [d.layout for d in found] == [OTHER, DIAMOND]
    for detection, truth in zip(found, (THERE, HERE), strict=True):
        pose = estimate_board_pose(detection, STRAIGHT)
        assert pose is not None
        assert pose.T_camera_tag.distance_to(truth)[0] < 1e-3


def test_a_known_diamond_is_found_beside_another_that_shares_ids_and_with_markers_covered() -> None:
    brightness = both()
    covered = pixels(DIAMOND.markers[45], HERE, STRAIGHT)
    cv2.fillConvexPoly(brightness, np.rint(covered).astype(np.int32), 120.0)
    found = detect_board(frame_of(brightness), DIAMOND)
    assert found is not None
    assert found.tag_ids == (7, 12, 30)
    assert np.linalg.norm(found.points_image - pixels(found.points_board, HERE, STRAIGHT), axis=1).max() < 0.5


def test_no_diamond_is_found_where_only_three_of_its_markers_are_read() -> None:
    brightness = board_view(DIAMOND, HERE, STRAIGHT)
    cv2.fillConvexPoly(brightness, np.rint(pixels(DIAMOND.markers[7], HERE, STRAIGHT)).astype(np.int32), 120.0)
    assert find_diamonds(frame_of(brightness), square_m=0.03, marker_m=0.02) == []


def test_the_ids_are_in_the_order_in_which_opencv_gives_them() -> None:
    frame = frame_of(board_view(DIAMOND, HERE, STRAIGHT))
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    detector = cv2.aruco.CharucoDetector(cv2.aruco.CharucoBoard((3, 3), 0.03, 0.02, dictionary))
    _, ids, _, _ = detector.detectDiamonds(frame.image)
    assert tuple(np.ravel(ids).tolist()) == IDS
