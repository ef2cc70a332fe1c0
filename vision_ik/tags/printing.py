"""Boards and tags as PDF at true size, with a ruler to check the printer by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from reportlab.lib.pagesizes import A3, A4, LETTER
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from vision_ik.errors import TagError
from vision_ik.files import write_atomic
from vision_ik.tags.families import find_family, marker_cells
from vision_ik.tags.render import board_cells, bundle_cells
from vision_ik.types import Board, CharucoBoard, Chessboard, Image, TagBundle

PAGES: dict[str, tuple[float, float]] = {"A3": A3, "A4": A4, "letter": LETTER}
"""Upright page sizes [pt]."""
_POINTS_PER_METRE = 1000.0 * mm
_MARGIN = 7.0 * mm
_FOOTER = 14.0 * mm
"""[pt] Height kept at the bottom for the ruler and the line of text."""
_RULER_MM = 100
_LABEL = 5.0 * mm
"""[pt] Height of the line under a single tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """One page in the orientation that fits what is to be printed."""

    width: float
    height: float

    @property
    def usable(self) -> tuple[float, float]:
        """Width and height [pt] inside the margins and above the footer."""
        return self.width - 2 * _MARGIN, self.height - 2 * _MARGIN - _FOOTER


def save_board_pdf(board: Board, path: str | Path, *, page: str = "A4") -> Path:
    """Write a board as a one-page PDF at true size, landscape where that fits better.

    Below it stand a 100 mm ruler and a line that describes the board. Print at 100 %, without
    "fit to page", and measure the ruler.

    Args:
        board: Layout.
        path: File to write.
        page: "A4", "A3" or "letter".

    Raises:
        TagError: The board does not fit the page, or needs ids its family does not have.
        RecordingError: The file could not be written.
    """
    width, height = (side * _POINTS_PER_METRE for side in board.size_m)
    sheet = _fitting_sheet(width, height, page)
    canvas, buffer = _canvas(sheet, describe_board(board))
    free_width, free_height = sheet.usable
    left = _MARGIN + 0.5 * (free_width - width)
    bottom = _MARGIN + _FOOTER + 0.5 * (free_height - height)
    for corners, cells in board_cells(board):
        x, y = corners[3, :2] * _POINTS_PER_METRE
        _draw_cells(canvas, left + x, bottom + y, (corners[1, 0] - corners[0, 0]) * _POINTS_PER_METRE, cells)
    return _finish(canvas, buffer, path)


def save_bundle_pdf(bundle: TagBundle, path: str | Path, *, page: str = "A4") -> Path:
    """Write the sheet of a flat bundle as a one-page PDF at true size, as :func:`save_board_pdf` does for boards.

    Raises:
        TagError: The bundle is not flat or does not fit the page, or its tags cannot be drawn.
        RecordingError: The file could not be written.
    """
    printed = [(corners * _POINTS_PER_METRE, cells) for corners, cells in bundle_cells(bundle)]
    width, height = np.concatenate([corners for corners, _ in printed]).max(axis=0).tolist()
    sheet = _fitting_sheet(width, height, page)
    canvas, buffer = _canvas(sheet, _bundle_line(bundle))
    free_width, free_height = sheet.usable
    left = _MARGIN + 0.5 * (free_width - width)
    bottom = _MARGIN + _FOOTER + 0.5 * (free_height - height)
    for corners, cells in printed:
        across = corners[2] - corners[3]
        size = float(np.linalg.norm(across))
        x, y = corners[3]
        canvas.saveState()
        canvas.translate(left + x, bottom + y)
        canvas.rotate(float(np.degrees(np.arctan2(across[1], across[0]))))
        _draw_cells(canvas, 0.0, 0.0, size, cells)
        canvas.restoreState()
    return _finish(canvas, buffer, path)


def save_tags_pdf(
    family: str | Path, tag_ids: Iterable[int], size_m: float, path: str | Path, *, page: str = "A4"
) -> Path:
    """Write single tags as a PDF at true size, as many to a page as fit, each with its quiet zone and a label.

    Args:
        family: Family, dictionary or dictionary file.
        tag_ids: Ids to print.
        size_m: Edge of the black border [m].
        path: File to write.
        page: "A4", "A3" or "letter".

    Raises:
        ValueError: No id, or a size that is not positive.
        TagError: The family is unknown or lacks an id, or one tag does not fit the page.
        RecordingError: The file could not be written.
    """
    ids = list(tag_ids)
    if not ids or not size_m > 0:
        raise ValueError(f"Give at least one id and a positive size, not {ids} and {size_m} m.")
    drawn = [(tag_id, marker_cells(family, tag_id)) for tag_id in ids]
    size = size_m * _POINTS_PER_METRE
    quiet = size / len(drawn[0][1])
    pitch_x, pitch_y = size + 2 * quiet, size + 2 * quiet + _LABEL
    sheet = _fitting_sheet(pitch_x, pitch_y, page)
    name = find_family(family).name
    canvas, buffer = _canvas(sheet, _tags_line(name, size_m))
    columns, rows = (int(free / pitch) for free, pitch in zip(sheet.usable, (pitch_x, pitch_y), strict=True))
    for i, (tag_id, cells) in enumerate(drawn):
        if i and i % (columns * rows) == 0:
            canvas.showPage()
            _draw_footer(canvas, _tags_line(name, size_m))
        row, column = divmod(i % (columns * rows), columns)
        left = _MARGIN + column * pitch_x
        bottom = sheet.height - _MARGIN - (row + 1) * pitch_y
        _draw_frame(canvas, left, bottom, pitch_x, pitch_y)
        _draw_cells(canvas, left + quiet, bottom + _LABEL + quiet, size, cells)
        canvas.setFillGray(0.0)
        canvas.setFont("Helvetica", 7)
        canvas.drawString(left + quiet, bottom + 1.5 * mm, f"{name} id {tag_id}, {size_m * 1000:g} mm, this side down")
    return _finish(canvas, buffer, path)


def describe_board(board: Board) -> str:
    """Return the line printed under a board: all that a program must know of it."""
    if isinstance(board, Chessboard):
        return f"Chessboard {board.columns} x {board.rows} squares of {board.square_m * 1000:g} mm"
    ids = sorted(board.markers)
    if isinstance(board, CharucoBoard):
        legacy = ", legacy layout" if board.legacy else ""
        listed = ", ".join(str(i) for i in board.ids) if board.ids else f"{ids[0]}-{ids[-1]}"
        return (
            f"ChArUco {board.columns} x {board.rows}, squares {board.square_m * 1000:g} mm, "
            f"markers {board.marker_m * 1000:g} mm, {board.family} ids {listed}{legacy}"
        )
    return (
        f"Tag grid {board.columns} x {board.rows}, tags {board.tag_m * 1000:g} mm, gaps {board.gap_m * 1000:g} mm, "
        f"{board.family} ids {ids[0]}-{ids[-1]}"
    )


def _bundle_line(bundle: TagBundle) -> str:
    sizes = sorted({round(size * 1000, 3) for size in bundle.sizes.values()})
    listed = " / ".join(f"{size:g}" for size in sizes)
    return f"Tag bundle, {bundle.family} ids {', '.join(str(i) for i in bundle.sizes)}, black edges {listed} mm"


def _tags_line(name: str, size_m: float) -> str:
    return f"{name}, black edge {size_m * 1000:g} mm; keep the white rim inside the dotted frame"


def _fitting_sheet(width: float, height: float, page: str) -> _Sheet:
    if page not in PAGES:
        raise ValueError(f"The page must be one of {', '.join(PAGES)}, not {page!r}.")
    short, long = PAGES[page]
    for sheet in (_Sheet(width=short, height=long), _Sheet(width=long, height=short)):
        free_width, free_height = sheet.usable
        if width <= free_width + 1e-6 and height <= free_height + 1e-6:
            return sheet
    raise TagError(
        f"{width / mm:.0f} x {height / mm:.0f} mm do not fit {page} with its margins and ruler.",
        "Choose a larger page or smaller markers.",
        page=page,
    )


def _canvas(sheet: _Sheet, line: str) -> tuple[Canvas, BytesIO]:
    buffer = BytesIO()
    # invariant: the same board gives the same bytes.
    canvas = Canvas(buffer, pagesize=(sheet.width, sheet.height), invariant=1)
    canvas.setTitle(line)
    canvas.setCreator("vision-ik")
    _draw_footer(canvas, line)
    return canvas, buffer


def _finish(canvas: Canvas, buffer: BytesIO, path: str | Path) -> Path:
    canvas.showPage()
    canvas.save()
    return write_atomic(path, buffer.getvalue())


def _draw_cells(canvas: Canvas, left: float, bottom: float, size: float, cells: Image) -> None:
    """Fill a black square [pt] and its white cells, as one path each so that no seams show between cells."""
    canvas.setFillGray(0.0)
    canvas.rect(left, bottom, size, size, stroke=0, fill=1)
    white = np.argwhere(cells > 0)
    if not len(white):
        return
    pitch = size / len(cells)
    path = canvas.beginPath()
    for row, column in white:
        path.rect(left + column * pitch, bottom + size - (row + 1) * pitch, pitch, pitch)
    canvas.setFillGray(1.0)
    canvas.drawPath(path, stroke=0, fill=1)


def _draw_frame(canvas: Canvas, left: float, bottom: float, width: float, height: float) -> None:
    canvas.saveState()
    canvas.setStrokeGray(0.6)
    canvas.setLineWidth(0.3)
    canvas.setDash(1, 3)
    canvas.rect(left, bottom, width, height, stroke=1, fill=0)
    canvas.restoreState()


def _draw_footer(canvas: Canvas, line: str) -> None:
    """Draw the ruler with its ticks, and the description, at the bottom left."""
    y = _MARGIN + 5.0 * mm
    canvas.saveState()
    canvas.setStrokeGray(0.0)
    canvas.setFillGray(0.0)
    canvas.setLineWidth(0.4)
    canvas.line(_MARGIN, y, _MARGIN + _RULER_MM * mm, y)
    for tick in range(0, _RULER_MM + 1, 5):
        x = _MARGIN + tick * mm
        canvas.line(x, y, x, y + (4.0 if tick % 50 == 0 else 2.5 if tick % 10 == 0 else 1.5) * mm)
    canvas.setFont("Helvetica", 7)
    canvas.drawString(_MARGIN + (_RULER_MM + 2) * mm, y, f"{_RULER_MM} mm: print at 100 %, then measure")
    canvas.drawString(_MARGIN, _MARGIN + 1.0 * mm, line)
    canvas.restoreState()
