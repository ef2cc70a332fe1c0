"""Maps of an arm's workspace."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vision_ik.types import Floats

_INK = "#1e293b"
_NOTHING = "#eef2f7"
"""Cells without a value."""


def workspace_map(
    radius: ArrayLike, height: ArrayLike, first_shot: ArrayLike, time: ArrayLike, *, title: str
) -> Figure:
    """Plot first-shot success and time of IK over radius and height of the tool.

    Args:
        radius: (R + 1,) edges of the cells, from the z axis of the base [m].
        height: (Z + 1,) edges of the cells, above the base [m].
        first_shot: (R, Z) share in [0, 1]; NaN where nothing is known.
        time: (R, Z) [s] a target.
        title: Above both panels.
    """
    r, z = np.asarray(radius, dtype=np.float64), np.asarray(height, dtype=np.float64)
    failed, micros = 100.0 * (1.0 - np.asarray(first_shot)), 1e6 * np.asarray(time)
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    figure.suptitle(title, color=_INK, fontsize=9.5, fontweight="bold", x=0.01, ha="left")
    highest = float(np.nanmax(failed, initial=0.0)) if np.isfinite(failed).any() else 0.0
    _panel(figure, left, (r, z, failed), "not solved at the first shot [%]", "magma_r", max(highest, 2.0))
    typical = float(np.nanmedian(micros)) if np.isfinite(micros).any() else 1.0
    _panel(figure, right, (r, z, micros), "network and refinement [µs]", "viridis", 3.0 * typical)
    left.set_ylabel("height [m]", color=_INK, fontsize=8.5)
    return figure


def _panel(
    figure: Figure, ax: Axes, cells: tuple[Floats, Floats, Floats], label: str, colours: str, highest: float
) -> None:
    radius, height, values = cells
    ax.set_facecolor(_NOTHING)
    mesh = ax.pcolormesh(radius, height, np.ma.masked_invalid(values).T, cmap=colours, vmin=0.0, vmax=highest)
    ax.set_aspect("equal")
    ax.set_title(label, loc="left", color=_INK, fontsize=8.5)
    ax.set_xlabel("distance from the base axis [m]", color=_INK, fontsize=8.5)
    ax.tick_params(labelcolor=_INK, labelsize=8)
    figure.colorbar(mesh, ax=ax, shrink=0.8).ax.tick_params(labelcolor=_INK, labelsize=8)
