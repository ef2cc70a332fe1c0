from __future__ import annotations

import base64
import getpass
import re
import socket
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from vision_ik.view import Picture, Plot, Table, Tile, environment, plots, write_report

TIMES = np.linspace(0.0, 5.0, 60)


class Page(HTMLParser):
    """Collect addresses, ids, text and the balance of tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") and value is not None:
                self.addresses.append(value)
            if name == "id" and value is not None:
                self.ids.append(value)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


@pytest.fixture
def page(tmp_path: Path) -> str:
    gradient = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    path = write_report(
        tmp_path / "out" / "report.html",
        title="Demo <of> today",
        summary="What was done.",
        warnings=["Approximate: the lens is assumed."],
        tiles=[Tile(label="Hand-eye error", value=0.81234, unit="mm", met=True)],
        tables=[
            Table(
                title="Result",
                columns=["what", "value", "verdict"],
                rows=[["position", 0.0456, True], ["frames", 12345.0, False], ["<script>x</script>", np.nan, None]],
            )
        ],
        pictures=[Picture(title="Camera", image=gradient)],
        plots=[
            Plot(title="Error", figure=plots.tracking_error(TIMES, TIMES * 1e-3)),
            Plot(title="Again", figure=plots.tracking_error(TIMES, TIMES * 1e-3)),
        ],
        files={"video": "demo.mp4"},
        command="vision-ik demo --seed 1",
    )
    return path.read_text(encoding="utf-8")


def test_the_report_needs_nothing_from_outside(page: str) -> None:
    outside = [a for a in Page(page).addresses if not a.startswith(("data:", "#"))]
    assert outside == ["demo.mp4"]
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)


def test_the_report_shows_its_tables_with_rounded_numbers_and_verdicts(page: str) -> None:
    words = Page(page).words
    for expected in ("Result", "position", "0.0456", "12,345", "met", "missed", "–", "0.812", "mm", "Camera", "Error"):
        assert expected in words
    assert "vision-ik demo --seed 1" in words
    assert "Approximate: the lens is assumed." in words


def test_heads_stand_over_their_numbers_and_a_folded_table_opens_by_its_title(tmp_path: Path) -> None:
    table = Table(
        title="All",
        columns=("view", "mm", "±", "why"),
        rows=[("7", "1.20", "± 0.3", "good"), ("8", "–", "", "2")],
        folded=True,
    )
    text = write_report(tmp_path / "a.html", title="t", tables=[table]).read_text(encoding="utf-8")
    assert '<th>view</th><th class="number">mm</th><th class="number">±</th><th>why</th>' in text
    assert "<details><summary>All</summary>" in text


def test_text_is_escaped(page: str) -> None:
    assert "<script" not in page
    assert "<script>x</script>" in Page(page).words
    assert "<title>Demo &lt;of&gt; today</title>" in page


def test_ids_are_unique_although_a_plot_comes_twice(page: str) -> None:
    ids = Page(page).ids
    assert ids
    assert len(ids) == len(set(ids))


def test_references_inside_the_plots_resolve(page: str) -> None:
    parsed = Page(page)
    references = {a[1:] for a in parsed.addresses if a.startswith("#")} | set(re.findall(r"url\(#([^)]*)\)", page))
    assert references
    assert references <= set(parsed.ids)


def test_plots_follow_the_colours_of_the_page(page: str) -> None:
    assert page.count("var(--plot-ink") > 10
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_pictures_are_inside_and_true_to_the_original(page: str) -> None:
    (encoded,) = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    np.testing.assert_allclose(image[20, [0, 63], 0], [0, 255], atol=4)


def test_a_report_without_anything_is_still_a_page(tmp_path: Path) -> None:
    text = write_report(tmp_path / "r.html", title="Empty", environment={}).read_text(encoding="utf-8")
    assert "Empty" in Page(text).words
    assert "<table>" not in text


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 columns"):
        Table(title="t", columns=["a", "b"], rows=[["x"]])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1000, "1,000"),
        (0.5, "0.5"),
        (21.04, "21"),
        (-3.14159, "-3.14"),
        (1.5e-7, "1.5e-07"),
        (0.0, "0"),
        (2.5e9, "2,500,000,000"),
    ],
)
def test_numbers_are_rounded_to_what_a_person_reads(tmp_path: Path, value: float, text: str) -> None:
    table = Table(title="t", columns=["a"], rows=[[value]])
    page = write_report(tmp_path / "r.html", title="t", tables=[table], environment={}).read_text(encoding="utf-8")
    assert f'<td class="number">{text}</td>' in page


def test_the_environment_names_versions_but_no_person_and_no_place() -> None:
    facts = environment()
    assert facts["vision-ik"] != "not installed"
    assert facts["numpy"] == np.__version__
    everything = " ".join(facts.values())
    assert str(Path.home()) not in everything
    assert str(Path.cwd()) not in everything
    assert socket.gethostname() not in everything
    assert getpass.getuser() not in everything.split()


Q = np.sin(TIMES)[:, None] * np.ones(7)
NAMES = [f"joint{i}" for i in range(7)]
UPPER = np.array([2.0] * 6 + [np.inf])
XYZ = np.stack([np.sin(TIMES), np.cos(TIMES), 0 * TIMES], axis=1)
N = np.arange(3, 10)
FIGURES: dict[str, Callable[[], Figure]] = {
    "tracking": lambda: plots.tracking_error(TIMES, 0.001 + 0 * TIMES, 0.01 + 0 * TIMES, lost=TIMES > 4.0),
    "nothing seen": lambda: plots.tracking_error(TIMES, np.full(60, np.nan)),
    "joints": lambda: plots.joint_positions(TIMES, Q, NAMES, -UPPER, UPPER, q_sent=Q),
    "one joint": lambda: plots.joint_positions(TIMES, Q[:, :1], NAMES[:1], [-1.0], [1.0]),
    "ik": lambda: plots.ik_times(np.geomspace(1e-5, 1e-3, 100)),
    "ik, all the same": lambda: plots.ik_times(np.full(5, 2e-5)),
    "no ik": lambda: plots.ik_times([]),
    "paths": lambda: plots.paths(XYZ, XYZ + 0.01),
    "no path": lambda: plots.paths(np.empty((0, 3)), np.empty((0, 3))),
    "hand-eye": lambda: plots.hand_eye_error(N, 0.01 / N, 0.01 / N, 0.01 / N, 0.01 / N),
    "hand-eye, truth unknown": lambda: plots.hand_eye_error(N, None, None, 0.01 / N, 0.01 / N),
}


@pytest.mark.parametrize("name", list(FIGURES))
def test_every_plot_draws_as_png_and_svg(name: str) -> None:
    figure = FIGURES[name]()
    image = cv2.imdecode(np.frombuffer(plots.to_png(figure, dpi=50), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.std() > 1.0
    assert plots.to_svg(figure).startswith("<svg")


def test_plots_are_in_the_units_people_read() -> None:
    error = plots.tracking_error(TIMES, np.full(60, 0.002), np.full(60, np.pi / 180))
    lines = [np.asarray(ax.get_lines()[0].get_ydata(), dtype=float) for ax in error.axes]
    np.testing.assert_allclose(lines[0], 2.0)
    np.testing.assert_allclose(lines[1], 1.0)
    (axes,) = plots.ik_times([1e-5, 2e-5, 4e-5]).axes
    assert axes.get_xlim()[0] < 10 < 40 < axes.get_xlim()[1]


def test_joint_panels_span_the_limits() -> None:
    figure = plots.joint_positions(TIMES, 0 * TIMES[:, None], ["a"], [-1.0], [2.0])
    low, high = figure.axes[0].get_ylim()
    assert low < np.rad2deg(-1.0) < np.rad2deg(2.0) < high


def test_the_same_figure_gives_the_same_svg_and_settings_are_left_alone() -> None:
    before = dict(mpl.rcParams)
    assert plots.to_svg(FIGURES["paths"]()) == plots.to_svg(FIGURES["paths"]())
    assert dict(mpl.rcParams) == before
