from __future__ import annotations

import numpy as np
import pytest

from vision_ik.view.layout import side_by_side
from vision_ik.view.text import fitted, put_label, put_text, text_size


def test_text_is_as_wide_as_measured() -> None:
    image = np.zeros((60, 400, 3), np.uint8)
    put_text(image, "tracking tag 7", (10, 10), 20)
    columns = np.flatnonzero(image.any(axis=(0, 2)))
    assert columns[0] >= 10
    assert columns[-1] - columns[0] == pytest.approx(text_size("tracking tag 7", 20)[0], abs=4)


def test_units_have_glyphs_of_their_own() -> None:
    drawn: set[bytes] = set()
    for sign in "µ°·–²\uffff":  # the last one has no glyph: it draws the box of the unknown
        image = np.zeros((40, 40, 3), np.uint8)
        put_text(image, sign, (5, 5), 20)
        drawn.add(image.tobytes())
    assert len(drawn) == 6


@pytest.mark.parametrize("corner", [(-30, 5), (390, 5), (5, -12), (5, 55), (900, 900), (-900, -900)])
def test_text_over_the_edge_is_cut_off(corner: tuple[int, int]) -> None:
    image = np.zeros((60, 400, 3), np.uint8)
    put_text(image, "tracking", corner, 20)
    assert image.shape == (60, 400, 3)


def test_a_label_is_moved_inside_the_picture() -> None:
    image = np.full((60, 200, 3), 200, np.uint8)
    width, height = put_label(image, "id 7", (190, 55), 14)
    changed = np.argwhere((image != 200).any(axis=2))
    assert changed[:, 1].min() == 200 - width
    assert changed[:, 0].min() == 60 - height


def test_text_that_does_not_fit_ends_in_an_ellipsis() -> None:
    text = "target not seen for 0.6 s"
    short = fitted(text, 14, 100)
    assert short.endswith("…")
    assert text.startswith(short[:-1].rstrip())
    assert text_size(short, 14)[0] <= 100
    assert fitted(text, 14, 1000) == text
    assert fitted(text, 14, 3) == ""


def test_pictures_side_by_side_share_the_height_and_keep_their_shape() -> None:
    wide = np.full((240, 320, 3), 10, np.uint8)
    tall = np.full((480, 360, 3), 250, np.uint8)
    row = side_by_side([wide, tall])
    assert row.shape == (480, 640 + 4 + 360, 3)
    assert (row[:, :640] == 10).all()
    assert (row[:, 644:] == 250).all()


def test_the_row_takes_the_height_asked_for() -> None:
    row = side_by_side([np.zeros((480, 640, 3), np.uint8)] * 2, height=240)
    assert row.shape == (240, 320 + 4 + 320, 3)


def test_captions_are_written_on_copies() -> None:
    images = [np.full((480, 640, 3), 90, np.uint8) for _ in range(2)]
    row = side_by_side(images, ["camera", ""])
    assert all((image == 90).all() for image in images)
    assert (row[:60, :200] != 90).any()
    assert (row[:, 644:] == 90).all()


@pytest.mark.parametrize(("count", "captions"), [(0, []), (2, ["one"])])
def test_pictures_and_captions_must_match(count: int, captions: list[str]) -> None:
    with pytest.raises(ValueError, match="one"):
        side_by_side([np.zeros((10, 10, 3), np.uint8)] * count, captions)
