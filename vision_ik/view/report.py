"""A report: one HTML file that holds everything, to read, print and send."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import cv2
import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from vision_ik.errors import RecordingError
from vision_ik.files import write_atomic
from vision_ik.types import Image
from vision_ik.view import machine
from vision_ik.view.plots import to_svg
from vision_ik.view.scene_drawing import Scene, drawn_scene

Cell: TypeAlias = str | float | bool | None
"""A number is rounded to three digits, True and False become "met" and "missed", None a dash."""

_JPEG_QUALITY = 90
_NUMBER = re.compile(r"[-+±]?\s?\d[\d,]*(\.\d+)?(e[-+]?\d+)?")
"""A number as it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One headline figure."""

    label: str
    value: Cell
    unit: str = ""
    note: str = ""
    met: bool | None = None
    """Whether it meets what was asked; None where nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings; columns of numbers are flush right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    folded: bool = False
    """Whether it opens only when its title is clicked."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"Table {self.title!r} has {len(self.columns)} columns, but a row has {len(row)}.")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Plot:
    """A matplotlib figure, see ``vision_ik.view.plots``."""

    title: str
    figure: Figure
    caption: str = ""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Picture:
    """A (H, W, 3) uint8 BGR picture."""

    title: str
    image: Image
    caption: str = ""


def write_report(
    path: str | Path,
    *,
    title: str,
    summary: str = "",
    warnings: Sequence[str] = (),
    tiles: Sequence[Tile] = (),
    sections: Sequence[Table | Plot | Picture | Scene] = (),
    tables: Sequence[Table] = (),
    pictures: Sequence[Picture] = (),
    plots: Sequence[Plot] = (),
    files: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    command: str = "",
) -> Path:
    """Write a self-contained HTML page: no network, no other files; light or dark as the reader likes.

    Args:
        path: Ends in ``.html``.
        title: Heading.
        summary: A sentence or two below it.
        warnings: What the reader must know before believing a number (assumed sizes, approximations).
        tiles: The few figures that matter.
        sections: What follows them, in this very order; then come the tables, pictures and plots below.
        tables: In order.
        pictures: In order, two in a row where there is room.
        plots: In order.
        files: Label to name of files beside the page (the video), linked at the end.
        environment: Facts about machine and versions; ``environment()`` by default.
        command: What to type to make this report again.

    Returns:
        The path written.

    Raises:
        RecordingError: The file could not be written.
    """
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
        resources.files("vision_ik.view").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    page = template.render(
        title=title,
        summary=summary,
        warnings=warnings,
        tiles=tiles,
        sections=sections,
        tables=tables,
        pictures=pictures,
        plots=plots,
        files=files or {},
        environment=machine.environment() if environment is None else environment,
        command=command,
        cell=_cell,
        numeric=_is_numeric,
        encoded=_encoded,
        drawn=_drawn,
        scene_drawn=drawn_scene,
    )
    return write_atomic(path, page)


def _cell(value: Cell) -> str | Markup:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return Markup('<span class="pill good">met</span>' if value else '<span class="pill bad">missed</span>')
    if isinstance(value, str):
        return value
    return _number(float(value)) if math.isfinite(value) else "–"


def _number(value: float) -> str:
    """Return three significant digits, whole numbers as they are, thousands separated."""
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{value:,.0f}"


def _is_numeric(table: Table, column: int) -> bool:
    """Return whether a column holds numbers, and no words; what is numbered in the first one are names."""
    values = [row[column] for row in table.rows if row[column] not in (None, "", "–")]
    if any(isinstance(value, bool) or (isinstance(value, str) and column == 0) for value in values):
        return False
    return bool(values) and all(_NUMBER.fullmatch(value) for value in values if isinstance(value, str))


def _encoded(picture: Picture) -> str:
    done, data = cv2.imencode(".jpg", picture.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise RecordingError(f"Picture {picture.title!r} could not be encoded.", "Check that it is uint8 BGR.")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _drawn(plot: Plot, number: int) -> Markup:
    """Return the plot as SVG whose ids differ from those of the other plots on the page."""
    svg = re.sub(r'<g id="[^"]*"', "<g", to_svg(plot.figure))
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)  # HTML knows both
    svg = svg.replace(' id="', f' id="p{number}-').replace('"#', f'"#p{number}-').replace("url(#", f"url(#p{number}-")
    return Markup(svg)  # our own drawing: matplotlib escapes the text in it
