"""Board layouts say where the ink is: checked against OpenCV's own boards, whose y axis points down."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from vision_ik.transforms import Floats, Transform
from vision_ik.types import BoardDetection, CharucoBoard, TagBundle, TagGridBoard, tag_corners

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


def test_a_diamond_is_a_board_of_3_by_3_squares_with_ids_as_opencv_draws_it() -> None:
    ids = (45, 7, 12, 30)
    diamond = CharucoBoard.diamond(ids, 0.04, 0.03, "4x4_250")
    theirs = cv2.aruco.CharucoBoard((3, 3), 0.04, 0.03, _DICTIONARY, np.array(ids))
    assert list(diamond.markers) == list(ids)
    for marker_id, corners in zip(ids, theirs.getObjPoints(), strict=True):
        np.testing.assert_allclose(diamond.markers[marker_id], _flipped(corners, 0.12), atol=1e-7)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ([], "at least one tag"),
        ([(1, Transform.identity(), 0.04), (1, Transform.identity(), 0.04)], "Tag 1 is listed twice"),
        ([(-1, Transform.identity(), 0.04)], "-1"),
        ([(1, Transform.identity(), 0.0)], "size of tag 1"),
        ([(1, Transform.identity(), float("nan"))], "size of tag 1"),
        ([(1, Transform.identity(), float("inf"))], "size of tag 1"),
        ([(1, np.full((4, 4), np.nan), 0.04)], "NaN|finite"),
    ],
)
def test_a_bundle_that_cannot_be_is_not_made(tags: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TagBundle.of(tags)


def test_every_tag_of_a_bundle_needs_a_pose_and_a_size() -> None:
    with pytest.raises(ValueError, match=r"Tag 2 .* both a pose and a size"):
        TagBundle(Ts_bundle_tag={1: Transform.identity()}, sizes={1: 0.04, 2: 0.04})


def test_a_bundle_knows_whether_it_is_flat() -> None:
    there = Transform.from_xyz_rpy((0.1, 0.02, 0.0), (0.0, 0.0, 1.0))
    assert TagBundle.of([(0, Transform.identity(), 0.04), (1, there, 0.05)]).flat
    assert TagBundle.of([(0, Transform.identity(), 0.04), (1, there, 0.05)]).within(Transform.exp(np.ones(6))).flat
    for bent in ([0.1, 0, 0, 0, 0.2, 0], [0.1, 0, 0.01, 0, 0, 0], [0.1, 0, 0, np.pi, 0, 0]):
        assert not TagBundle.of([(0, Transform.identity(), 0.04), (1, Transform.exp(bent), 0.04)]).flat


def test_a_bundle_scales_as_a_whole_and_moves_as_a_whole() -> None:
    there = Transform.exp([0.1, 0.02, 0.03, 0.2, 0.1, 1.0])
    bundle = TagBundle.of([(0, Transform.identity(), 0.04), (1, there, 0.05)])
    larger = bundle.scaled(0.0412, 0.04)
    for tag_id, corners in bundle.markers.items():
        np.testing.assert_allclose(larger.markers[tag_id], 1.03 * corners, atol=1e-12)
    T_new_bundle = Transform.exp([0.3, 0.2, 0.1, 0.0, 1.0, 0.0])
    for tag_id, corners in bundle.within(T_new_bundle).markers.items():
        np.testing.assert_allclose(corners, T_new_bundle.apply(bundle.markers[tag_id]), atol=1e-12)
    with pytest.raises(ValueError, match="positive and finite"):
        bundle.scaled(0.04, 0.0)
