"""What is printed measures what it says."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from vision_ik.errors import RecordingError, TagError
from vision_ik.tags import render_marker, save_board_pdf, save_tags_pdf
from vision_ik.tags.printing import save_bundle_pdf
from vision_ik.transforms import Transform
from vision_ik.types import CharucoBoard, Floats, TagBundle, TagGridBoard

MM = 72.0 / 25.4
"""[pt]"""
CHARUCO = CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.0225)


def pages(path: Path) -> list[str]:
    """Return the drawing commands of each page."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", path.read_bytes(), flags=re.DOTALL)
    return [zlib.decompress(base64.a85decode(s.strip().removesuffix(b"~>"))).decode("latin-1") for s in streams]


def page_size(path: Path) -> list[float]:
    found = re.search(rb"/MediaBox \[([^\]]*)\]", path.read_bytes())
    assert found is not None
    return [float(x) / MM for x in found.group(1).split()]


def filled(commands: str, gray: int) -> Floats:
    """Return x, y, width, height [mm] of the rectangles filled in black (0) or white (1)."""
    rectangles: list[list[float]] = []
    colour = "0"
    path: list[list[float]] = []
    for line in commands.splitlines():
        if found := re.fullmatch(r"([\d.]+) g", line.strip()):
            colour = found.group(1)
        for x in re.findall(r"([-\d.]+) ([-\d.]+) ([-\d.]+) ([-\d.]+) re", line):
            path.append([float(v) / MM for v in x])
        if re.search(r"\b[fS]\*?\s*$|\bn\s*$", line):
            if re.search(r"\bf\*?\s*$", line) and float(colour) == gray:
                rectangles += path
            path = []
    return np.array(rectangles)


def ruler_length(commands: str) -> float:
    lines = re.findall(r"([-\d.]+) ([-\d.]+) m ([-\d.]+) ([-\d.]+) l S", commands)
    return max(abs(float(x1) - float(x0)) for x0, _, x1, _ in lines) / MM


def test_a_charuco_board_is_printed_at_true_size(tmp_path: Path) -> None:
    path = save_board_pdf(CHARUCO, tmp_path / "board.pdf")
    np.testing.assert_allclose(page_size(path), [0, 0, 297, 210], atol=0.1)
    (commands,) = pages(path)
    black = filled(commands, 0)
    np.testing.assert_allclose(sorted(set(black[:, 2].round(3))), [22.5, 30.0], atol=1e-3)
    assert (black[:, 2].round(3) == 30.0).sum() == 18
    assert (black[:, 2].round(3) == 22.5).sum() == 17
    extent = (black[:, :2] + black[:, 2:]).max(axis=0) - black[:, :2].min(axis=0)
    np.testing.assert_allclose(extent, [210, 150], atol=1e-2)
    np.testing.assert_allclose(filled(commands, 1)[:, 2:], 22.5 / 6, atol=1e-3)
    assert ruler_length(commands) == pytest.approx(100.0, abs=1e-3)
    assert "squares 30 mm, markers 22.5 mm, 4x4_50 ids 0-16" in commands


def test_a_grid_stands_upright_where_it_fits_better(tmp_path: Path) -> None:
    path = save_board_pdf(TagGridBoard(columns=4, rows=6, tag_m=0.03, gap_m=0.01), tmp_path / "grid.pdf")
    np.testing.assert_allclose(page_size(path), [0, 0, 210, 297], atol=0.1)
    black = filled(pages(path)[0], 0)
    assert len(black) == 24
    xs = np.unique(black[:, 0].round(2))
    np.testing.assert_allclose(np.diff(xs), 40, atol=0.02)


def test_a_printed_tag_has_the_bits_of_the_drawn_one(tmp_path: Path) -> None:
    path = save_tags_pdf("36h11", [5], 0.08, tmp_path / "tag.pdf")
    (commands,) = pages(path)
    (border,) = filled(commands, 0)
    np.testing.assert_allclose(border[2:], 80, atol=1e-3)
    cells = np.zeros((8, 8), dtype=np.uint8)
    for x, y, _, _ in filled(commands, 1):
        cells[7 - round((y - border[1]) / 10), round((x - border[0]) / 10)] = 255
    np.testing.assert_array_equal(cells, render_marker("36h11", 5, 1))
    assert "36h11 id 5, 80 mm" in commands


def test_a_flat_bundle_is_printed_turned_and_at_true_size(tmp_path: Path) -> None:
    T_first_second = Transform.from_xyz_rpy((0.08, 0.01, 0.0), (0.0, 0.0, np.deg2rad(30)))
    bundle = TagBundle.of([(4, Transform.identity(), 0.04), (9, T_first_second, 0.05)])
    path = save_bundle_pdf(bundle.within(Transform.exp([0.3, 0.1, 0.2, 0.5, 0.6, 0.7])), tmp_path / "bundle.pdf")
    (commands,) = pages(path)
    np.testing.assert_allclose(filled(commands, 0)[:, 2], [40, 50], atol=1e-3)
    moves = [
        np.array(m.split(), dtype=np.float64)
        for m in re.findall(r"^((?:[-.\d]+ ){6})cm$", commands, flags=re.MULTILINE)
    ]
    first, second = moves[-2:]
    assert np.degrees(np.arctan2(first[1], first[0])) == pytest.approx(0.0, abs=0.01)
    assert np.degrees(np.arctan2(second[1], second[0])) == pytest.approx(30.0, abs=0.01)
    # The lower left corner of the second from that of the first: from its middle, turned.
    offset = np.array([80, 10]) + np.array([[np.cos(np.pi / 6), -0.5], [0.5, np.cos(np.pi / 6)]]) @ [-25, -25] + 20
    np.testing.assert_allclose((second[4:] - first[4:]) / MM, offset, atol=0.01)
    assert "36h11 ids 4, 9, black edges 40 / 50 mm" in commands


def test_a_bundle_that_is_not_flat_is_not_printed(tmp_path: Path) -> None:
    bundle = TagBundle.of([(4, Transform.identity(), 0.04), (9, Transform.exp([0.1, 0, 0, 0, 1.0, 0]), 0.05)])
    with pytest.raises(TagError, match="not flat") as caught:
        save_bundle_pdf(bundle, tmp_path / "bundle.pdf")
    assert "one by one" in caught.value.remedy


def test_a_diamond_is_printed_with_its_ids(tmp_path: Path) -> None:
    (commands,) = pages(save_board_pdf(CharucoBoard.diamond((45, 7, 12, 30), 0.03, 0.02), tmp_path / "d.pdf"))
    assert "ids 45, 7, 12, 30" in commands
    assert len(filled(commands, 0)) == 5 + 4


def test_tags_fill_page_after_page(tmp_path: Path) -> None:
    sheets = pages(save_tags_pdf("4x4_50", range(10), 0.06, tmp_path / "tags.pdf"))
    assert [len(filled(sheet, 0)) for sheet in sheets] == [6, 4]
    assert all(ruler_length(sheet) == pytest.approx(100.0, abs=1e-3) for sheet in sheets)


def test_the_same_board_gives_the_same_bytes(tmp_path: Path) -> None:
    a, b = (save_board_pdf(CHARUCO, tmp_path / name).read_bytes() for name in ("a.pdf", "b.pdf"))
    assert a == b


def test_what_does_not_fit_is_refused_with_its_size(tmp_path: Path) -> None:
    large = CharucoBoard(columns=12, rows=8, square_m=0.03, marker_m=0.02)
    with pytest.raises(TagError, match="360 x 240 mm do not fit A4") as caught:
        save_board_pdf(large, tmp_path / "board.pdf")
    assert "larger page" in caught.value.remedy
    assert not (tmp_path / "board.pdf").exists()
    assert save_board_pdf(large, tmp_path / "board.pdf", page="A3").exists()


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="page must be one of"):
        save_board_pdf(CHARUCO, tmp_path / "b.pdf", page="B5")
    with pytest.raises(ValueError, match="at least one id"):
        save_tags_pdf("36h11", [], 0.05, tmp_path / "b.pdf")
    with pytest.raises(ValueError, match="positive size"):
        save_tags_pdf("36h11", [1], 0.0, tmp_path / "b.pdf")
    with pytest.raises(TagError, match="no marker 999"):
        save_tags_pdf("36h11", [999], 0.05, tmp_path / "b.pdf")


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"board\.pdf"):
        save_board_pdf(CHARUCO, tmp_path / "file" / "board.pdf")
