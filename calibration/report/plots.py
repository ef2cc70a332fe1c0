"""Plots of a hand-eye calibration, in the house's style: views one by one, and uncertainty at the work place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from calibration.report.geometry import Geometry, Placed
from calibration.report.workplace import rms
from vision_ik.types import Floats

_INK, _GRID = "#1e293b", "#d8dee7"
_LOOKS = {"good": "#3b82f6", "mended": "#f59e0b", "bad": "#ef4444"}
_VIOLET = "#9b5de5"
_WIDTH = 7.2
"""[in]"""
_CHI2_95 = 12.59
"""95 % of chi-square with 6 degrees of freedom."""
_CELLS = (8, 6)
"""Columns and rows that coverage is counted in."""
_SHARE = 0.1
"""Of the plot's width, of the largest ellipse drawn."""


def views(names: Sequence[str], fates: Sequence[str], chi_square: Sequence[float], mm: Sequence[float]) -> Figure:
    """Plot how each view fits: its held-out error [mm], and chi-square."""
    figure = Figure(figsize=(_WIDTH, 3.9), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    at = np.arange(len(names))
    colours = [_LOOKS[fate] for fate in fates]
    for ax, values, label in ((upper, mm, "held-out error [mm]"), (lower, chi_square, "chi-square (6)")):
        heights = np.array(values, dtype=np.float64)
        known = np.where(np.isfinite(heights), heights, 0.0)
        ax.bar(at, known, color=colours, width=0.72, alpha=0.9)
        if known.max() > 12.0 * max(float(np.median(known[known > 0])) if (known > 0).any() else 1.0, 1e-9):
            ax.set_yscale("log")
            ax.set_ylim(bottom=0.5 * max(float(known[known > 0].min()), 1e-3))
        ax.set_ylabel(label, color=_INK, fontsize=8.5)
        _plain(ax)
        ax.grid(axis="y", color=_GRID, linewidth=0.6)
    lower.axhline(_CHI2_95, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
    lower.annotate(
        "95 % of good views lie below", (1.0, _CHI2_95), xycoords=("axes fraction", "data"), xytext=(-2, 3),
        textcoords="offset points", ha="right", fontsize=7.5, color=_INK,
    )  # fmt: skip
    short = [name.rpartition("/")[2].rpartition(".")[0] or name for name in names]
    turned = 90 if max(len(name) for name in short) * len(short) > 90 else 0
    lower.set_xticks(at, short, rotation=turned)
    lower.set_xlim(-0.6, len(names) - 0.4)
    lower.set_xlabel("view", color=_INK, fontsize=8.5)
    return figure


def work_place(geometry: Geometry) -> tuple[Figure, float]:
    """Plot the uncertainty of the board's middle from above, from the side, and over the distance; return the scale."""
    used = geometry.sound
    middles = np.array([view.p_base_middle for view in used])
    cameras = np.array([view.T_base_camera.translation for view in used])
    largest = float(np.sqrt(max(np.linalg.eigvalsh(view.covariance).max() for view in used)))
    extent = float(np.ptp(np.vstack([middles, cameras]), axis=0).max())
    scale = _round(_SHARE * max(extent, 0.1) / max(largest, 1e-9))
    figure = Figure(figsize=(_WIDTH, 2.9), layout="constrained")
    above, side, over = figure.subplots(1, 3, width_ratios=(1.0, 1.0, 0.9))
    for ax, axes, title in ((above, (0, 1), "from above: x, y [mm]"), (side, (0, 2), "from the side: x, z [mm]")):
        _ellipses(ax, used, axes, scale)
        ax.plot(*(1e3 * cameras[:, axes]).T, "^", color=_INK, markersize=4, label="camera")
        ax.plot(*(1e3 * middles[:, axes]).T, ".", color=_INK, markersize=3, label="board")
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_title(title, loc="left", color=_INK, fontsize=8.5, fontweight="bold")
        ax.margins(0.12)
        _plain(ax)
        ax.grid(color=_GRID, linewidth=0.6)
    above.legend(fontsize=7.5, frameon=False, loc="best", labelcolor=_INK, handletextpad=0.2)
    distances = np.array([view.distance for view in used])
    over.plot(
        1e3 * distances, 1e3 * rms(np.array([view.covariance for view in used])), "o", color=_VIOLET, markersize=4
    )
    over.set_ylim(bottom=0.0)
    over.margins(y=0.2)
    over.set_title("± mm, at distance [mm]", loc="left", color=_INK, fontsize=8.5, fontweight="bold")
    _plain(over)
    over.grid(color=_GRID, linewidth=0.6)
    return figure, scale


def counts(corners: Floats, size: tuple[int, int]) -> Floats:
    """Return how many corners (M, 2) [px] each cell of the picture has, (rows, columns)."""
    columns, rows = _CELLS
    edges = np.linspace(-0.5, size[1] - 0.5, rows + 1), np.linspace(-0.5, size[0] - 0.5, columns + 1)
    return np.histogram2d(corners[:, 1], corners[:, 0], bins=edges)[0]


def _ellipses(ax: Axes, used: Sequence[Placed], axes: tuple[int, int], scale: float) -> None:
    for view in used:
        values, vectors = np.linalg.eigh(view.covariance[np.ix_(axes, axes)])
        wide, high = 2e3 * scale * np.sqrt(np.maximum(values, 0.0))
        x, y = 1e3 * view.p_base_middle[list(axes)]
        angle = float(np.rad2deg(np.arctan2(vectors[1, 0], vectors[0, 0])))
        ax.add_patch(Ellipse((x, y), wide, high, angle=angle, facecolor=_VIOLET, edgecolor=_VIOLET, alpha=0.25))


def _round(scale: float) -> float:
    power = 10.0 ** np.floor(np.log10(max(scale, 1.0)))
    return float(power * max(step for step in (1.0, 2.0, 5.0) if step * power <= max(scale, 1.0)))


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_GRID)
    ax.tick_params(which="both", labelcolor=_INK, labelsize=8, color=_GRID, length=3, pad=3)
    ax.set_axisbelow(True)
