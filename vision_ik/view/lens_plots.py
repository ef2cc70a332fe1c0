"""Plots of a lens calibration: where corners were, how the boards were tilted, what is left over.

Matplotlib figures without any global state, in the house's style; see :mod:`vision_ik.view.plots`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import ArrayLike

from vision_ik.types import Floats

_INK, _GRID = "#1e293b", "#d8dee7"
_BLUE, _ORANGE, _RED = "#3b82f6", "#f59e0b", "#ef4444"
_WIDTH = 7.2
"""[in] Of every figure."""
_LARGEST_ARROW = 0.06
"""Of the picture's width, for the residual of twice the typical size."""


def coverage(
    counts: ArrayLike,
    corners: ArrayLike,
    size: tuple[int, int],
    outlines: Sequence[ArrayLike] = (),
) -> Figure:
    """Plot how many corners each cell of the picture has, the corners, and where to show the board next.

    Args:
        counts: (rows, columns) corners per cell.
        corners: (M, 2) [px].
        size: Width and height of the picture [px].
        outlines: (K, 2) [px] each, rims of boards to show next, the most useful first.
    """
    cells, points = np.asarray(counts, dtype=np.float64), np.asarray(corners, dtype=np.float64)
    figure = Figure(figsize=(_WIDTH, _WIDTH * size[1] / size[0] * 0.9 + 0.4), layout="constrained")
    ax = figure.subplots()
    extent = (-0.5, size[0] - 0.5, size[1] - 0.5, -0.5)
    shades = ax.imshow(np.sqrt(cells), cmap="Blues", vmin=0.0, extent=extent, interpolation="nearest", aspect="equal")
    shades.set_alpha(0.75)
    rows, columns = cells.shape
    for i in range(rows):
        for j in range(columns):
            x, y = (j + 0.5) * size[0] / columns, (i + 0.15) * size[1] / rows
            text = f"{cells[i, j]:.0f}"
            ax.text(x, y, text, ha="center", va="center", fontsize=7, color=_RED if not cells[i, j] else _INK)
    ax.plot(points[:, 0], points[:, 1], ".", color=_INK, markersize=1.8, alpha=0.45)
    rims = [np.asarray(outline, dtype=np.float64) for outline in outlines]
    for k, (rim, place) in enumerate(zip(rims, label_places(rims, size), strict=True)):
        ax.add_patch(Polygon(rim, fill=False, edgecolor=_ORANGE, linewidth=1.8 - 0.4 * k, linestyle=(0, (4, 2))))
        ax.text(
            *place, f"next {k + 1}", ha="center", va="center", fontsize=9, color="#b45309",
            bbox={"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1.5},
        )  # fmt: skip
    ax.set_xlim(extent[:2])
    ax.set_ylim(extent[2:])
    _plain(ax)
    return figure


def label_places(rims: Sequence[Floats], size: tuple[int, int]) -> list[tuple[float, float]]:
    """Return where the labels of outlines (K, 2) [px] stand: in the middle, or off it if one is there."""
    apart = np.array([0.14, 0.05]) * size
    placed: list[tuple[float, float]] = []
    for rim in rims:
        middle = rim.mean(axis=0)
        towards = [middle + share * (rim - middle) for share in (0.3, 0.6, 0.9)]
        places = np.concatenate([middle[None], *towards])
        free = [
            place for place in places.tolist()
            if all((np.abs(np.subtract(place, other)) > apart).any() for other in placed)
        ]  # fmt: skip
        x, y = free[0] if free else middle.tolist()
        placed.append((x, y))
    return placed


def tilts(degrees: ArrayLike) -> Figure:
    """Plot the histogram of the tilts (N,) of the boards [deg]."""
    values = np.asarray(degrees, dtype=np.float64)
    figure = Figure(figsize=(_WIDTH, 2.0), layout="constrained")
    ax = figure.subplots()
    ax.axvspan(20.0, 45.0, color=_ORANGE, alpha=0.12, linewidth=0)
    ax.text(32.5, 0.98, "tells the focal length", ha="center", va="top", fontsize=8, color="#b45309",
            transform=ax.get_xaxis_transform())  # fmt: skip
    ax.hist(values, bins=np.arange(0.0, 75.1, 5.0).tolist(), color=_BLUE, alpha=0.85)
    ax.set_xlabel("tilt of the board against the line of sight [deg]", color=_INK, fontsize=8.5)
    ax.set_ylabel("views", color=_INK, fontsize=8.5)
    ax.set_xlim(0.0, 75.0)
    ax.margins(y=0.25)
    _plain(ax)
    ax.grid(axis="y", color=_GRID, linewidth=0.6)
    return figure


def residuals(corners_and_errors: ArrayLike, size: tuple[int, int]) -> Figure:
    """Plot what lies between the corners and their projection: over the picture, and as a cloud.

    Args:
        corners_and_errors: (M, 4) u, v, du, dv [px].
        size: Width and height of the picture [px].
    """
    data = np.asarray(corners_and_errors, dtype=np.float64)
    figure = Figure(figsize=(_WIDTH, 3.1), layout="constrained")
    over, cloud = figure.subplots(1, 2, width_ratios=(1.55, 1.0))
    typical = max(float(np.median(np.linalg.norm(data[:, 2:], axis=1))), 1e-9)
    scale = _LARGEST_ARROW * size[0] / (2.0 * typical)
    # Arrows would hide each other: one in a few, spread over the views.
    some: Floats = data[:: max(1, len(data) // 600)]
    over.quiver(
        *some.T, angles="xy", scale_units="xy", scale=1.0 / scale, color=_BLUE, width=0.0022, headwidth=3, alpha=0.8
    )
    over.set_xlim(-0.5, size[0] - 0.5)
    over.set_ylim(size[1] - 0.5, -0.5)
    over.set_aspect("equal")
    over.set_title(f"enlarged {scale:.0f} times", loc="left", color=_INK, fontsize=8.5, fontweight="bold")
    reach = 1.1 * float(np.quantile(np.abs(data[:, 2:]), 0.995))
    cloud.plot(data[:, 2], data[:, 3], ".", color=_BLUE, markersize=2.0, alpha=0.4)
    cloud.set_xlim(-reach, reach)
    cloud.set_ylim(reach, -reach)
    cloud.set_aspect("equal")
    cloud.set_title("dx, dy [px]", loc="left", color=_INK, fontsize=8.5, fontweight="bold")
    for ax in (over, cloud):
        _plain(ax)
    cloud.grid(color=_GRID, linewidth=0.6)
    return figure


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(_GRID)
    ax.tick_params(which="both", labelcolor=_INK, labelsize=8, color=_GRID, length=3, pad=3)
    ax.set_axisbelow(True)
