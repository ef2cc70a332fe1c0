"""Plots of a run and of a calibration, as matplotlib figures without any global state.

Millimetres, degrees and microseconds, because people read them. ``to_svg`` gives
drawings whose ink follows the page's colours (light or dark), ``to_png`` fixed pictures.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from vision_ik.types import Floats

_INK = "#1e293b"
_GRID = "#d8dee7"
_CSS = {_INK: "var(--plot-ink, #1e293b)", _GRID: "var(--plot-grid, #d8dee7)"}
"""What an SVG says instead of a fixed colour, so that a dark page can turn it light."""
_BLUE, _ORANGE, _GREEN, _RED = "#3b82f6", "#f59e0b", "#10b981", "#ef4444"
_WIDTH = 7.2
"""[in] Of every figure."""


def tracking_error(
    times: ArrayLike,
    position_error: ArrayLike,
    rotation_error: ArrayLike | None = None,
    *,
    lost: ArrayLike | None = None,
) -> Figure:
    """Plot how far the tool was from its goal.

    Args:
        times: (N,) [s].
        position_error: (N,) [m]; NaN where unknown.
        rotation_error: (N,) [rad], in a second panel.
        lost: (N,) booleans, shaded: the target was not seen.
    """
    t = _array(times)
    panels = [("position [mm]", 1e3 * _array(position_error), _BLUE)]
    if rotation_error is not None:
        panels.append(("rotation [deg]", np.rad2deg(_array(rotation_error)), _ORANGE))
    figure, axes = _figure(1.9 * len(panels) + 0.5, rows=len(panels))
    for ax, (label, values, colour) in zip(axes, panels, strict=True):
        ax.plot(t, values, color=colour, linewidth=1.2)
        if np.isfinite(values).any():
            median = float(np.nanmedian(values))
            ax.axhline(median, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
            _note(ax, f"median {median:.2g}  ·  95 % below {float(np.nanpercentile(values, 95)):.2g}")
        if lost is not None:
            _shade(ax, t, np.asarray(lost, dtype=bool))
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0.0)
    axes[-1].set_xlabel("time [s]")
    return figure


def joint_positions(
    times: ArrayLike,
    q: ArrayLike,
    names: Sequence[str],
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    q_sent: ArrayLike | None = None,
) -> Figure:
    """Plot each joint over time in a panel that spans its limits.

    Args:
        times: (N,) [s].
        q: (N, n) measured [rad].
        names: n joint names.
        lower: (n,) [rad]; infinite for continuous joints, whose panel then spans the data.
        upper: (n,) [rad].
        q_sent: (N, n) commanded [rad], drawn dashed.
    """
    t, measured, low, high = _array(times), np.rad2deg(_array(q)), np.rad2deg(_array(lower)), np.rad2deg(_array(upper))
    columns = 2 if len(names) > 3 else 1
    rows = -(-len(names) // columns)
    figure, axes = _figure(1.25 * rows + 0.5, rows=rows, columns=columns)
    for i, name in enumerate(names):
        ax = axes[i]
        if q_sent is not None:
            ax.plot(t, np.rad2deg(_array(q_sent))[:, i], color=_ORANGE, linewidth=1.0, linestyle=(0, (3, 2)))
        ax.plot(t, measured[:, i], color=_BLUE, linewidth=1.2)
        if np.isfinite([low[i], high[i]]).all():
            margin = 0.06 * (high[i] - low[i])
            ax.set_ylim(low[i] - margin, high[i] + margin)
            for limit, end in ((low[i], low[i] - margin), (high[i], high[i] + margin)):
                ax.axhspan(min(limit, end), max(limit, end), color=_RED, alpha=0.18, linewidth=0)
        _title(ax, f"{name} [deg]")
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    figure.supxlabel("time [s]", color=_INK, fontsize=8.5)
    return figure


def ik_times(durations: ArrayLike) -> Figure:
    """Plot the histogram of the wall time of IK solves (N,) [s], on a logarithmic axis."""
    microseconds = 1e6 * _array(durations)
    microseconds = microseconds[np.isfinite(microseconds) & (microseconds > 0)]
    figure, (ax,) = _figure(2.4)
    ax.set_xlabel("time of one solve [µs]")
    ax.set_ylabel("solves")
    if len(microseconds) == 0:
        _note(ax, "no solves")
        return figure
    low, high = float(microseconds.min()), float(microseconds.max())
    ax.hist(microseconds, bins=np.geomspace(0.95 * low, 1.05 * high, 41).tolist(), color=_BLUE, alpha=0.85)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    ax.xaxis.set_minor_formatter(lambda value, _position: f"{value:g}" if high < 20 * low else "")
    for percent, colour in ((50, _INK), (99, _RED)):
        ax.axvline(float(np.percentile(microseconds, percent)), color=colour, linewidth=0.9, linestyle=(0, (4, 3)))
    median, tail = np.percentile(microseconds, (50, 99))
    _note(ax, f"median {median:.3g} µs  ·  99 % below {tail:.3g} µs  ·  {len(microseconds)} solves")
    return figure


def paths(targets: ArrayLike, tools: ArrayLike) -> Figure:
    """Plot where the goal was and where the tool went, from above and from the side.

    Args:
        targets: (N, 3) [m] in the base frame.
        tools: (M, 3) [m] in the base frame.
    """
    goal, tool = 1e3 * _array(targets), 1e3 * _array(tools)
    figure, axes = _figure(3.3, columns=2, sharex=False)
    for ax, (i, j), title in zip(axes, ((0, 1), (1, 2)), ("from above", "from the front"), strict=True):
        ax.plot(goal[:, i], goal[:, j], color=_ORANGE, linewidth=4.0, alpha=0.45, label="goal")
        ax.plot(tool[:, i], tool[:, j], color=_BLUE, linewidth=1.1, label="tool")
        if len(tool):
            ax.plot(tool[0, i], tool[0, j], "o", color=_BLUE, markersize=4)
        ax.set_aspect("equal", adjustable="datalim")
        _title(ax, title)
        ax.set_xlabel(f"{'xyz'[i]} [mm]")
        ax.set_ylabel(f"{'xyz'[j]} [mm]")
    _legend(axes[0])
    return figure


def hand_eye_error(
    views: ArrayLike,
    position_error: ArrayLike | None,
    rotation_error: ArrayLike | None,
    position_sigma: ArrayLike,
    rotation_sigma: ArrayLike,
) -> Figure:
    """Plot the error of a hand-eye calibration over the number of views, beside what it predicted of itself.

    Args:
        views: (N,) number of views used.
        position_error: (N,) against the truth [m]; None where the truth is not known.
        rotation_error: (N,) against the truth [rad]; None where the truth is not known.
        position_sigma: (N,) predicted standard deviation of the norm [m].
        rotation_sigma: (N,) predicted standard deviation of the norm [rad].
    """
    n = _array(views)
    figure, axes = _figure(2.6, columns=2)
    millimetres = (None if position_error is None else 1e3 * _array(position_error), 1e3 * _array(position_sigma))
    degrees = (
        None if rotation_error is None else np.rad2deg(_array(rotation_error)),
        np.rad2deg(_array(rotation_sigma)),
    )
    for ax, (error, sigma), label, colour in zip(
        axes, (millimetres, degrees), ("position [mm]", "rotation [deg]"), (_BLUE, _ORANGE), strict=True
    ):
        ax.fill_between(n, 0.0, 2.0 * sigma, color=colour, alpha=0.12, linewidth=0, label="predicted, 2 sigma")
        ax.plot(n, sigma, color=colour, linewidth=1.0, linestyle=(0, (4, 3)), label="predicted, 1 sigma")
        if error is not None:
            ax.plot(n, error, color=colour, linewidth=1.6, marker="o", markersize=3.5, label="true error")
        _title(ax, label)
        ax.set_xlabel("views")
        ax.set_ylim(bottom=0.0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(ax)
    return figure


def to_png(figure: Figure, *, dpi: float = 150.0) -> bytes:
    """Return the figure as a PNG on white."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def to_svg(figure: Figure) -> str:
    """Return the figure as an ``<svg>`` element: transparent, ink and grid in CSS variables, no machine's date."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "vision-ik"}):  # the same figure gives the same file
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for fixed, variable in _CSS.items():
        text = text.replace(fixed, variable)
    return text


def _figure(height: float, *, rows: int = 1, columns: int = 1, sharex: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure of this height [in] and its panels, by rows, in the house's style."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=sharex, squeeze=False)
    axes: list[Axes] = list(panels.ravel())
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(_GRID)
        ax.tick_params(which="both", labelcolor=_INK, labelsize=8, color=_GRID, length=3, pad=3)
        ax.grid(color=_GRID, linewidth=0.6)
        ax.set_axisbelow(True)
        ax.margins(x=0.01)
        for text in (ax.xaxis.label, ax.yaxis.label):
            text.set(color=_INK, fontsize=8.5)
    return figure, axes


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, loc="left", color=_INK, fontsize=8.5, fontweight="bold")


def _note(ax: Axes, text: str) -> None:
    ax.annotate(
        text, (1.0, 1.0), (-2, 2), "axes fraction", "offset points", ha="right", va="bottom", color=_INK, fontsize=8
    )


def _legend(ax: Axes) -> None:
    ax.legend(frameon=False, fontsize=8, labelcolor=_INK, loc="best")


def _shade(ax: Axes, times: Floats, flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        ax.axvspan(float(times[start]), float(times[min(end, len(times) - 1)]), color=_RED, alpha=0.12, linewidth=0)


def _array(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
