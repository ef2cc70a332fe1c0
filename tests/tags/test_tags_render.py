"""Drawn markers are those that the libraries print, and no other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tags_scene import library_image

from vision_ik.errors import TagError
from vision_ik.tags import TagDetector, list_families, render_board, render_marker
from vision_ik.tags.families import find_family
from vision_ik.tags.render import render_bundle
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, CharucoBoard, Frame, TagBundle, TagGridBoard

DRAWABLE = [name for name in list_families() if find_family(name).dictionary is not None]


@pytest.mark.parametrize("family", DRAWABLE)
def test_a_marker_has_a_black_border_and_bits_inside(family: str) -> None:
    image = render_marker(family, 1, 3)
    cells = image[1::3, 1::3]
    assert image.shape == (3 * len(cells), 3 * len(cells))
    assert image.dtype == np.uint8
    assert cells.sum() == cells[1:-1, 1:-1].sum() > 0
    assert set(np.unique(image)) == {0, 255}


@pytest.mark.parametrize("tag_id", [0, 17, 586])
def test_apriltags_stand_upside_down_in_opencv(tag_id: int) -> None:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    theirs = cv2.aruco.generateImageMarker(dictionary, tag_id, 80)
    np.testing.assert_array_equal(np.rot90(theirs, 2), render_marker("36h11", tag_id, 10))


def test_aruco_markers_are_those_of_opencv() -> None:
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_1000)
    theirs = cv2.aruco.generateImageMarker(dictionary, 245, 70)
    np.testing.assert_array_equal(theirs, render_marker("5x5_1000", 245, 10))


@pytest.mark.parametrize(("family", "library"), [("36h11", "tag36h11"), ("25h9", "tag25h9"), ("16h5", "tag16h5")])
def test_apriltags_are_drawn_as_their_library_draws_them(family: str, library: str) -> None:
    for tag_id in (0, 7, 29):
        np.testing.assert_array_equal(library_image(library, tag_id)[1:-1, 1:-1], render_marker(family, tag_id, 1))


@pytest.mark.parametrize(("family", "tag_id"), [("36h11", 587), ("36h11", -1), ("4x4_50", 50), ("mip_25h7_sample", 3)])
def test_an_id_that_does_not_exist_is_named(family: str, tag_id: int) -> None:
    with pytest.raises(TagError, match=f"{family} has no marker {tag_id}") as caught:
        render_marker(family, tag_id)
    assert "from 0 to" in caught.value.remedy


def test_markers_with_bits_outside_the_border_are_not_drawn() -> None:
    with pytest.raises(TagError, match="cannot be drawn here"):
        render_marker("standard41h12", 0)


def test_a_board_is_drawn_at_its_scale() -> None:
    board = TagGridBoard(columns=2, rows=1, tag_m=0.08, gap_m=0.02)
    image = render_board(board, 1000.0, margin_m=0.01)
    assert image.shape == (100, 200)
    dark = image < 128
    assert (np.flatnonzero(dark.any(axis=0))[[0, -1]] == (10, 189)).all()
    assert (np.flatnonzero(dark.any(axis=1))[[0, -1]] == (10, 89)).all()
    np.testing.assert_array_equal(image[10:90, 10:90], render_marker("36h11", 0, 10))
    np.testing.assert_array_equal(image[10:90, 110:190], render_marker("36h11", 1, 10))


def test_edges_between_pixels_are_kept_as_grey() -> None:
    board = CharucoBoard(columns=3, rows=3, square_m=0.01, marker_m=0.006)
    image = render_board(board, 1050.0)  # a square is 10.5 px
    assert image.shape == (32, 32)
    assert image[3, 9] == 0
    assert image[3, 10] == pytest.approx(127.5, abs=1)
    assert image[3, 11] == 255


def test_the_mean_brightness_does_not_depend_on_the_resolution() -> None:
    board = CharucoBoard(columns=4, rows=3, square_m=0.03, marker_m=0.022)
    fine, coarse = render_board(board, 4000.0), render_board(board, 777.7)
    covered = 0.12 * 0.09 * 777.7**2
    ink = (255 - coarse.astype(np.float64)).sum() / covered
    assert ink == pytest.approx((255 - fine.astype(np.float64)).mean(), rel=3e-3)


@pytest.mark.parametrize("cell_px", [0, -2])
def test_a_cell_has_at_least_one_pixel(cell_px: int) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        render_marker("36h11", 0, cell_px)


def test_the_sheet_of_a_bundle_shows_each_tag_where_it_is_and_turned() -> None:
    T_first_second = Transform.from_xyz_rpy((0.09, 0.01, 0.0), (0.0, 0.0, np.deg2rad(30)))
    bundle = TagBundle.of([(4, Transform.identity(), 0.04), (9, T_first_second, 0.05)])
    sheet = render_bundle(bundle, 4000.0, margin_m=0.02)
    lens = CameraIntrinsics.from_field_of_view(sheet.shape[1], sheet.shape[0])
    image = np.repeat(sheet[:, :, None], 3, axis=2)
    found = TagDetector("36h11").detect(Frame(image=image, timestamp=0.0, index=0, intrinsics=lens))
    assert [d.tag_id for d in found] == [4, 9]
    points = np.stack([bundle.markers[i][:, :2] for i in (4, 9)])
    origin, top = points.reshape(-1, 2).min(axis=0), points[..., 1].max()
    expected = np.stack([points[..., 0] - origin[0], top - points[..., 1]], axis=-1) + 0.02
    np.testing.assert_allclose(np.stack([d.corners for d in found]), expected * 4000.0 - 0.5, atol=0.1)
