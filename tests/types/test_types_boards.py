"""Board layouts say where the ink is: checked against OpenCV's own boards, whose y axis points down."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from vision_ik.transforms import Floats
from vision_ik.types import BoardDetection, CharucoBoard, TagGridBoard, tag_corners

_DICTIONARY = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_250)


def _flipped(points_opencv: Any, height_m: float) -> Floats:
    """Turn OpenCV's board frame (origin top left, y down) into ours (origin lower left, y up)."""
    points = np.array(points_opencv, dtype=np.float64).reshape(-1, 3)
    points[:, 1] = height_m - points[:, 1]
    return points


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("columns", "rows"), [(5, 4), (5, 7), (8, 5), (6, 6), (2, 2), (3, 2)])
def test_charuco_corners_and_markers_lie_where_opencv_prints_them(columns: int, rows: int, legacy: bool) -> None:
    ours = CharucoBoard(columns=columns, rows=rows, square_m=0.04, marker_m=0.03, family="4x4_250", legacy=legacy)
    theirs = cv2.aruco.CharucoBoard((columns, rows), 0.04, 0.03, _DICTIONARY)
    theirs.setLegacyPattern(legacy)
    height = ours.size_m[1]
    np.testing.assert_allclose(ours.chess_corners, _flipped(theirs.getChessboardCorners(), height), atol=1e-7)
    ids = np.asarray(theirs.getIds()).ravel().tolist()
    assert list(ours.markers) == ids
    for marker_id, corners in zip(ids, theirs.getObjPoints(), strict=True):
        np.testing.assert_allclose(ours.markers[marker_id], _flipped(corners, height), atol=1e-7)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("columns", "rows"), [(5, 4), (5, 7)])
def test_a_board_printed_by_opencv_is_seen_where_the_layout_says(columns: int, rows: int, legacy: bool) -> None:
    ours = CharucoBoard(columns=columns, rows=rows, square_m=0.04, marker_m=0.03, family="4x4_250", legacy=legacy)
    theirs = cv2.aruco.CharucoBoard((columns, rows), 0.04, 0.03, _DICTIONARY)
    theirs.setLegacyPattern(legacy)
    per_square = 60
    picture = theirs.generateImage((columns * per_square, rows * per_square))
    found, ids, _ = cv2.aruco.ArucoDetector(_DICTIONARY).detectMarkers(picture)
    assert sorted(np.ravel(ids).tolist()) == sorted(ours.markers)
    for marker_id, corners in zip(map(int, np.ravel(ids)), found, strict=True):
        # Pixel centres count from 0, so the sheet's upper left corner is at (-0.5, -0.5).
        expected = ours.markers[marker_id][:, :2] / 0.04 * per_square
        expected[:, 1] = rows * per_square - expected[:, 1]
        np.testing.assert_allclose(np.reshape(corners, (4, 2)), expected - 0.5, atol=1.5)


def test_the_board_frame_starts_at_the_lower_left_corner_with_y_up() -> None:
    board = CharucoBoard(columns=5, rows=4, square_m=0.04, marker_m=0.03)
    everything = np.vstack([board.chess_corners, *board.markers.values()])
    assert everything.min() >= 0.0
    assert (everything[:, :2] <= board.size_m).all()
    assert (everything[:, 2] == 0.0).all()
    first, second = board.chess_corners[0], board.chess_corners[4]
    np.testing.assert_allclose(first, [0.04, 0.12, 0.0], atol=1e-12)  # one square in from the top left
    np.testing.assert_allclose(second, [0.04, 0.08, 0.0], atol=1e-12)  # the next row lies below


def test_tag_corners_run_clockwise_from_the_top_left_with_z_towards_the_viewer() -> None:
    top_left, top_right, bottom_right, bottom_left = tag_corners(0.1)
    assert top_left.tolist() == [-0.05, 0.05, 0.0]
    assert bottom_right.tolist() == [0.05, -0.05, 0.0]
    x, y = top_right - top_left, top_left - bottom_left
    np.testing.assert_allclose(np.cross(x, y) / 0.01, [0.0, 0.0, 1.0], atol=1e-12)


def test_a_tag_grid_counts_by_rows_from_the_top_left() -> None:
    board = TagGridBoard(columns=3, rows=2, tag_m=0.05, gap_m=0.01, first_id=10)
    assert board.size_m == pytest.approx((0.17, 0.11))
    assert list(board.markers) == [10, 11, 12, 13, 14, 15]
    np.testing.assert_allclose(board.markers[10].mean(axis=0), [0.025, 0.085, 0.0])
    np.testing.assert_allclose(board.markers[12].mean(axis=0), [0.145, 0.085, 0.0])
    np.testing.assert_allclose(board.markers[13].mean(axis=0), [0.025, 0.025, 0.0])
    for corners in board.markers.values():
        np.testing.assert_allclose(corners - corners.mean(axis=0), tag_corners(0.05), atol=1e-15)


def test_a_tag_grid_lies_where_opencv_puts_the_same_grid() -> None:
    ours = TagGridBoard(columns=4, rows=3, tag_m=0.05, gap_m=0.01)
    theirs = cv2.aruco.GridBoard((4, 3), 0.05, 0.01, _DICTIONARY)
    for marker_id, corners in zip(np.ravel(theirs.getIds()).tolist(), theirs.getObjPoints(), strict=True):
        np.testing.assert_allclose(ours.markers[marker_id], _flipped(corners, ours.size_m[1]), atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (CharucoBoard, {"columns": 1}, "2x2 squares"),
        (CharucoBoard, {"marker_m": 0.04}, "smaller than square"),
        (CharucoBoard, {"marker_m": -0.01}, "positive"),
        (CharucoBoard, {"marker_m": float("nan")}, "positive"),
        (TagGridBoard, {"rows": 0}, "at least one tag"),
        (TagGridBoard, {"tag_m": 0.0}, "positive"),
        (TagGridBoard, {"tag_m": float("nan")}, "positive"),
        (TagGridBoard, {"gap_m": -0.01}, "not negative"),
    ],
)
def test_a_board_that_cannot_be_printed_is_refused(kind: Any, changes: dict[str, Any], said: str) -> None:
    fields: dict[str, Any] = {"columns": 5, "rows": 4}
    fields |= {"square_m": 0.04, "marker_m": 0.03} if kind is CharucoBoard else {"tag_m": 0.05, "gap_m": 0.01}
    with pytest.raises(ValueError, match=said):
        kind(**fields | changes)


def test_a_board_detection_pairs_each_point_on_the_board_with_one_in_the_picture() -> None:
    detection = BoardDetection(points_board=np.zeros((5, 3)), points_image=np.zeros((5, 2)), timestamp=0.0)
    with pytest.raises(ValueError, match="read-only"):
        detection.points_image[0, 0] = 1.0
    with pytest.raises(ValueError, match=r"points_image must have shape \(5, 2\)"):
        BoardDetection(points_board=np.zeros((5, 3)), points_image=np.zeros((4, 2)), timestamp=0.0)
    with pytest.raises(ValueError, match="points_board must be finite"):
        BoardDetection(points_board=np.full((1, 3), np.nan), points_image=np.zeros((1, 2)), timestamp=0.0)
