"""Plain chessboards: corners where they are, the board the right way up, and wrong counts named."""

from __future__ import annotations

from contextlib import suppress

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tags_scene import BARREL, FISHEYE, STRAIGHT, facing, view

from vision_ik.errors import TagError
from vision_ik.tags import detect_board, render_board
from vision_ik.tags.boards.chess_squares import shows_squares
from vision_ik.tags.boards.chessboards import explain_missing_chessboard
from vision_ik.tags.pictures import to_gray
from vision_ik.tags.projection import project
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Chessboard, Floats, Frame

BOARD = Chessboard(columns=6, rows=5, square_m=0.03)
MARGIN = 0.02


def picture(board: Chessboard, T_camera_board: Transform, lens: CameraIntrinsics, *, mirrored: bool = False) -> Frame:
    """Return a picture of a printed chessboard with a white rim."""
    width, height = board.size_m
    left, top, right, bottom = -MARGIN, height + MARGIN, width + MARGIN, -MARGIN
    outline = np.array([[left, top, 0], [right, top, 0], [right, bottom, 0], [left, bottom, 0]])
    grey = view(render_board(board, 4000.0, margin_m=MARGIN), outline, T_camera_board, lens)
    image = np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    if mirrored:
        image = np.ascontiguousarray(image[:, ::-1])
    return Frame(image=image, timestamp=1.5, index=0, intrinsics=lens)


def before(board: Chessboard, distance: float, **turn: float) -> Transform:
    """Return T_camera_board of a board whose middle is on the optical axis."""
    middle = Transform.from_translation((-0.5 * board.size_m[0], -0.5 * board.size_m[1], 0.0))
    return facing(0.0, 0.0, distance, **turn) @ middle


def truth(board: Chessboard, T_camera_board: Transform, lens: CameraIntrinsics) -> Floats:
    return project(board.chess_corners, T_camera_board, lens)[0]


def found(frame: Frame, board: Chessboard) -> BoardDetection:
    detection = detect_board(frame, board)
    assert detection is not None
    assert detection.timestamp == frame.timestamp
    return detection


@pytest.mark.parametrize("lens", [STRAIGHT, BARREL, FISHEYE], ids=["straight", "barrel", "fisheye"])
@pytest.mark.parametrize("roll", [0.0, 90.0, 180.0, 250.0])
def test_corners_of_a_board_are_where_they_are_whichever_way_it_is_turned(lens: CameraIntrinsics, roll: float) -> None:
    T = before(BOARD, 0.45 if lens is STRAIGHT else 0.3, roll_deg=roll, tilt_deg=20.0)
    detection = found(picture(BOARD, T, lens), BOARD)
    np.testing.assert_array_equal(detection.points_board, BOARD.chess_corners)
    error = np.linalg.norm(detection.points_image - truth(BOARD, T, lens), axis=1)
    assert error.max() < 0.35  # the renderer's own edges are true to 0.1 px
    assert np.sqrt(np.mean(error**2)) < 0.16


@pytest.mark.parametrize("size", [(7, 5), (6, 6), (5, 5)])
def test_a_print_that_half_a_turn_maps_to_itself_is_given_the_turn_that_points_right(size: tuple[int, int]) -> None:
    board = Chessboard(columns=size[0], rows=size[1], square_m=0.025)
    assert board.symmetric
    T = before(board, 0.5, roll_deg=150.0)
    points = found(picture(board, T, STRAIGHT), board).points_image.reshape(size[1] - 1, size[0] - 1, 2)
    assert points[0, -1, 0] > points[0, 0, 0]
    # Seen from the front: the rows run down as the columns run right.
    (ax, ay), (bx, by) = points[0, -1] - points[0, 0], points[-1, 0] - points[0, 0]
    assert ax * by - ay * bx > 0.0
    expected = truth(board, T, STRAIGHT).reshape(size[1] - 1, size[0] - 1, 2)
    turned = (expected[::-1, ::-1], np.rot90(expected, 1), np.rot90(expected, -1))
    fitting = turned if size == (5, 5) else turned[:1]
    assert min(np.abs(points - other).max() for other in fitting) < 0.2


def test_a_board_that_is_not_symmetric_says_so() -> None:
    assert not BOARD.symmetric
    assert not Chessboard(columns=10, rows=7, square_m=0.025).symmetric


def test_a_picture_without_a_board_has_none() -> None:
    frame = Frame(image=np.full((240, 320, 3), 130, dtype=np.uint8), timestamp=0.0, index=0, intrinsics=STRAIGHT)
    assert detect_board(frame, BOARD) is None
    assert explain_missing_chessboard(frame, BOARD) is None


def lattice(T_camera_board: Transform, *, shear: int, columns: int = 5, start: int = 0) -> Floats:
    """Return (4, columns, 2) [px] of chess corners of BOARD and beyond, each row shifted by ``shear`` squares more."""
    column, row = np.meshgrid(np.arange(float(columns)), np.arange(4.0))
    across = (column + start + shear * row + 1) * BOARD.square_m
    places = np.stack([across, BOARD.size_m[1] - (row + 1) * BOARD.square_m, np.zeros(row.shape)], axis=-1)
    pixels, _ = project(places.reshape(-1, 3).astype(np.float64), T_camera_board, STRAIGHT)
    return pixels.reshape(4, columns, 2)


def pretend_to_find(monkeypatch: pytest.MonkeyPatch, points: Floats) -> None:
    def search(*_args: object, **_options: object) -> tuple[bool, NDArray[np.float32]]:
        return True, points.reshape(-1, 1, 2).astype(np.float32)

    monkeypatch.setattr(cv2, "findChessboardCornersSB", search)
    monkeypatch.setattr(cv2, "findChessboardCorners", search)


@pytest.mark.parametrize("shear", [0, 1, -1])
def test_a_lattice_whose_rows_are_shifted_is_never_taken_for_the_board(
    shear: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    T = before(BOARD, 0.45, roll_deg=10.0, tilt_deg=20.0)
    frame = picture(BOARD, T, STRAIGHT)
    pretend_to_find(monkeypatch, lattice(T, shear=shear, start=-shear))
    assert (detect_board(frame, BOARD) is None) == (shear != 0)


def test_squares_tell_a_shifted_lattice_though_all_its_corners_are_true() -> None:
    T = before(BOARD, 0.45, roll_deg=10.0, tilt_deg=20.0)
    gray = to_gray(picture(BOARD, T, STRAIGHT).image)
    assert shows_squares(gray, lattice(T, shear=0, columns=3))
    assert not shows_squares(gray, lattice(T, shear=1, columns=2))
    assert not shows_squares(gray, lattice(T, shear=-1, columns=2, start=3))


def test_a_board_is_found_though_the_edge_of_a_shadow_runs_through_its_white_squares() -> None:
    frame = picture(BOARD, before(BOARD, 0.45, roll_deg=10.0, tilt_deg=20.0), STRAIGHT)
    height, width = frame.image.shape[:2]
    lit = np.where(np.arange(width)[None, :] + 0.7 * np.arange(height)[:, None] < 0.8 * width, 1.0, 0.5)
    soft = cv2.GaussianBlur(lit, (0, 0), 2.0)
    shaded = np.rint(frame.image * soft[:, :, None]).astype(np.uint8)
    found = detect_board(Frame(image=shaded, timestamp=1.5, index=0, intrinsics=STRAIGHT), BOARD)
    plain = detect_board(frame, BOARD)
    assert found is not None
    assert plain is not None
    np.testing.assert_allclose(found.points_image, plain.points_image, atol=1.0)


def test_a_lattice_beside_the_board_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    T = before(BOARD, 0.45)
    pretend_to_find(monkeypatch, lattice(T, shear=0, start=1))  # its last corners lie on the rim of the print
    assert detect_board(picture(BOARD, T, STRAIGHT), BOARD) is None


def test_a_board_with_a_covered_corner_is_not_seen_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    T = before(BOARD, 0.45, tilt_deg=20.0)
    frame = picture(BOARD, T, STRAIGHT)
    points = lattice(T, shear=0)
    x, y = np.rint(points[1, 2]).astype(int)
    covered = frame.image.copy()
    covered[y - 9 : y + 10, x - 9 : x + 10] = 128
    pretend_to_find(monkeypatch, points)
    frame = Frame(image=covered, timestamp=frame.timestamp, index=0, intrinsics=STRAIGHT)
    assert detect_board(frame, BOARD) is None


@pytest.mark.parametrize("told", [(5, 4), (6, 4)])
def test_a_part_of_a_larger_board_is_not_taken_for_the_board(told: tuple[int, int]) -> None:
    frame = picture(BOARD, before(BOARD, 0.45, roll_deg=10.0, tilt_deg=15.0), STRAIGHT)
    board = Chessboard(columns=told[0], rows=told[1], square_m=0.03)
    with suppress(TagError):
        assert detect_board(frame, board) is None
    explained = explain_missing_chessboard(frame, board)
    assert explained is not None
    assert "6x5 squares" in explained.cause


def test_squares_counted_too_many_are_named() -> None:
    frame = picture(BOARD, before(BOARD, 0.45), STRAIGHT)
    board = Chessboard(columns=7, rows=7, square_m=0.03)
    assert detect_board(frame, board) is None
    error = explain_missing_chessboard(frame, board)
    assert error is not None
    assert "6x5 squares, not one of 7x7" in str(error)
    assert "Set columns = 6 and rows = 5" in error.remedy
