"""A board that was printed or described wrongly is found all the same where that is safe, and the fault is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tags_scene import BARREL, STRAIGHT, board_view, facing, frame_of, pixels

from vision_ik.errors import TagError
from vision_ik.tags import render_marker
from vision_ik.tags.boards.detection import BoardFinder, detect_board
from vision_ik.tags.boards.faults import explain_missing_board
from vision_ik.tags.boards.matching import Straightener, match
from vision_ik.types import Board, BoardDetection, CameraIntrinsics, CharucoBoard, Frame, TagDetection, TagGridBoard

CHARUCO = CharucoBoard(columns=5, rows=4, square_m=0.03, marker_m=0.022)
GRID = TagGridBoard(columns=4, rows=3, tag_m=0.03, gap_m=0.01)
POSE = facing(-0.08, 0.06, 0.28, roll_deg=8, tilt_deg=25)


def see(board: Board, lens: CameraIntrinsics = STRAIGHT) -> Frame:
    return frame_of(board_view(board, POSE, lens), lens, noise=1.0)


def mirrored(frame: Frame) -> Frame:
    return replace(frame, image=np.ascontiguousarray(frame.image[:, ::-1]))


def worst(found: BoardDetection, lens: CameraIntrinsics = STRAIGHT) -> float:
    truth = pixels(found.points_board, POSE, lens)
    return float(np.linalg.norm(found.points_image - truth, axis=1).max())


@pytest.mark.parametrize("lens", [STRAIGHT, BARREL], ids=["straight", "barrel"])
@pytest.mark.parametrize(
    ("printed", "told", "words"),
    [
        (replace(CHARUCO, legacy=True), CHARUCO, ["Set legacy = true"]),
        (CHARUCO, replace(CHARUCO, legacy=True), ["Set legacy = false"]),
        (CHARUCO, replace(CHARUCO, columns=4, rows=5), ["swapped", "columns = 5 and rows = 4"]),
        (replace(CHARUCO, legacy=True), replace(CHARUCO, columns=4, rows=5), ["swapped", "legacy = true"]),
        (GRID, replace(GRID, columns=3, rows=4), ["swapped"]),
    ],
)
def test_a_layout_told_wrongly_is_recognised_and_named(
    printed: Board, told: Board, words: list[str], lens: CameraIntrinsics
) -> None:
    found = detect_board(see(printed, lens), told)
    assert found is not None
    assert found.layout == printed
    assert found.confirmed
    assert set(found.tag_ids) == set(printed.markers)
    assert all(word in " ".join(found.remarks) for word in words)
    assert worst(found, lens) < 0.5


@pytest.mark.parametrize("board", [CHARUCO, replace(CHARUCO, legacy=True), GRID])
def test_a_board_as_told_draws_no_remark(board: Board) -> None:
    found = detect_board(see(board), board)
    assert found is not None
    assert found.layout == board
    assert found.remarks == ()
    assert found.confirmed


@pytest.mark.parametrize("marker_m", [0.012, 0.018, 0.024])
def test_markers_of_another_size_are_measured_in_squares(marker_m: float) -> None:
    printed = replace(CHARUCO, marker_m=marker_m)
    found = detect_board(see(printed), CHARUCO)
    assert found is not None
    assert isinstance(found.layout, CharucoBoard)
    assert found.layout.marker_m == pytest.approx(marker_m, rel=0.01)
    assert found.layout.square_m == CHARUCO.square_m
    (remark,) = found.remarks
    assert f"{100 * marker_m / 0.03:.1f}" in remark
    assert "Measure one square and one marker" in remark
    assert worst(found) < 0.6


def test_a_few_per_cent_of_bleeding_ink_draw_no_remark() -> None:
    found = detect_board(see(replace(CHARUCO, marker_m=0.0225)), CHARUCO)
    assert found is not None
    assert found.remarks == ()


def test_the_gaps_of_a_grid_are_measured_in_tags() -> None:
    found = detect_board(see(GRID), replace(GRID, gap_m=0.006))
    assert found is not None
    assert isinstance(found.layout, TagGridBoard)
    assert found.layout.gap_m == pytest.approx(GRID.gap_m, rel=0.02)
    assert "gap_m is wrong" in found.remarks[0]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (replace(CHARUCO, square_m=3e-5, marker_m=2.2e-5), "squares measure 0.03 mm as described: were metres"),
        (replace(CHARUCO, square_m=30.0, marker_m=22.0), "squares measure 30 m as described: were millimetres"),
        (replace(GRID, tag_m=30.0, gap_m=10.0), "tags measure 30 m"),
    ],
)
def test_metres_given_for_millimetres_are_named_once(told: Board, words: str) -> None:
    frame = see(CHARUCO if isinstance(told, CharucoBoard) else GRID)
    finder = BoardFinder(told)
    for _ in range(2):
        found = finder.detect(frame)
        assert found is not None
        assert words in " ".join(found.remarks)
    assert len(finder.remarks) == 1


@pytest.mark.parametrize("board", [CHARUCO, GRID])
def test_a_mirrored_picture_is_refused_with_the_remedy(board: Board) -> None:
    with pytest.raises(TagError, match="mirrored") as caught:
        detect_board(mirrored(see(board)), board)
    assert "print the board anew" in caught.value.remedy


def test_markers_in_another_arrangement_are_refused_not_taken_for_half_a_board() -> None:
    with pytest.raises(TagError, match="in 6 columns, not one of 4x4_50 markers 0-9 in 5 columns"):
        detect_board(see(replace(CHARUCO, columns=6)), CHARUCO)


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        (replace(CHARUCO, first_id=20), "markers 20-29 of 4x4_50 in 5 columns"),
        (replace(CHARUCO, family="5x5_100"), "markers 0-9 of 5x5_50 or a larger 5x5 dictionary in 5 columns"),
        (replace(CHARUCO, family="4x4_250", first_id=100), "markers 100-109 of 4x4_250 or a larger 4x4 dictionary"),
        (replace(CHARUCO, family="36h11", first_id=3), "markers 3-12 of 36h11 in 5 columns"),
        (
            replace(CHARUCO, family="6x6_250", marker_m=0.015),
            "a board with markers 0-9 of 6x6_50 or a larger 6x6 dictionary in 5 columns",
        ),
    ],
)
def test_another_board_is_not_taken_for_the_one_told_but_named(printed: Board, words: str) -> None:
    frame = see(printed)
    assert detect_board(frame, CHARUCO) is None
    error = explain_missing_board(frame, CHARUCO)
    assert error is not None
    assert words in error.cause


def test_markers_that_form_no_board_are_named() -> None:
    image = np.full((240, 320), 255, np.uint8)
    for k, tag_id in enumerate([3, 77, 140, 12, 201, 9]):  # apart, at no even distances
        x, y = 20 + 95 * (k % 3) + 5 * k, 20 + 110 * (k // 3) + 7 * (k % 3)
        image[y : y + 64, x : x + 64] = render_marker("6x6_250", tag_id, 8)
    error = explain_missing_board(frame_of(image.astype(float)), CHARUCO)
    assert error is not None
    assert "6 markers of 6x6_250 or a larger 6x6 dictionary (3, 9, 12, 77, 140, 201)" in error.cause
    assert error.facts["tag_ids"] == [3, 9, 12, 77, 140, 201]


def test_nothing_is_explained_where_no_board_is() -> None:
    assert explain_missing_board(frame_of(np.full((240, 320), 150.0)), CHARUCO) is None


def test_markers_that_two_layouts_arrange_alike_do_not_speak_for_the_one_not_told() -> None:
    legacy = replace(CHARUCO, legacy=True)
    seen = [
        TagDetection(tag_id=i, family="4x4_50", corners=pixels(corners, POSE, STRAIGHT), timestamp=0.0)
        for i, corners in CHARUCO.markers.items()
        if i in (3, 4, 5, 6, 8, 9)  # in both layouts the same, but for a shift by one square
    ]
    for layout in (CHARUCO, legacy):
        markers, shown, confirmed = match(seen, layout, Straightener(STRAIGHT))
        assert (len(markers), shown, confirmed) == (6, layout, False)
    # Marker 1 is where neither has it, so the layout as told does not explain all, and the other no more.
    stray = replace(seen[0], tag_id=1, corners=seen[0].corners + 60.0)
    assert match([*seen, stray], CHARUCO, Straightener(STRAIGHT))[:2] == (seen, CHARUCO)


def test_a_board_that_goes_on_below_its_last_row_says_so() -> None:
    board = replace(CHARUCO, square_m=0.02, marker_m=0.015)
    found = detect_board(see(replace(board, rows=6)), board)
    assert found is not None
    assert "below row 4: it has markers up to 14" in found.remarks[0]


def only_first_marker(board: CharucoBoard) -> Frame:
    brightness = board_view(board, POSE, STRAIGHT)
    right, bottom = pixels(board.markers[0], POSE, STRAIGHT).max(axis=0).astype(int) + 6
    brightness[bottom:] = 120
    brightness[:, right:] = 120
    return frame_of(brightness)


def test_one_marker_alone_does_not_confirm_a_layout_and_earlier_frames_do() -> None:
    legacy = replace(CHARUCO, legacy=True)
    alone = detect_board(only_first_marker(legacy), CHARUCO)
    assert alone is not None
    assert not alone.confirmed
    finder = BoardFinder(CHARUCO)
    assert finder.detect(see(legacy)) is not None
    assert finder.layout == legacy
    assert "legacy = true" in finder.remarks[0]
    found = finder.detect(only_first_marker(legacy))
    assert found is not None
    assert worst(found) < 0.6


def test_one_measured_edge_corrects_a_board() -> None:
    printed = CHARUCO.scaled(0.0291, 0.03)
    assert printed.square_m == pytest.approx(0.0291)
    assert printed.marker_m == pytest.approx(0.022 * 0.97)
    assert GRID.scaled(0.06, 0.03) == TagGridBoard(columns=4, rows=3, tag_m=0.06, gap_m=0.02)
    with pytest.raises(ValueError, match="positive"):
        CHARUCO.scaled(0.0, 0.03)
