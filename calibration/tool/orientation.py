"""The orientation of a tool from two or more points on its axis, each found by touching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calibration.tool.values import ToolResult
from vision_ik.errors import CalibrationError
from vision_ik.transforms import Transform
from vision_ik.types import Floats

_SUREST = 5.0
"""Standard deviations that the points must be apart for a direction."""
_STRAIGHT = 3.0
"""Standard deviations by which further points may miss the axis."""


def orient_tool(tip: ToolResult, behind: Sequence[ToolResult]) -> ToolResult:
    """Return the tool with its z axis out of the tip, along points on the tool that were touched, too.

    The x axis is the flange's, as nearly as can be: a tip says nothing about a turn about itself.

    Args:
        tip: The tool's tip.
        behind: Other points on the tool's axis, on the flange's side of the tip, found in the same way
            (``calibrate_tool_tip`` with that point of the tool on the fixed one).

    Raises:
        CalibrationError: The points are too near to each other to tell a direction, or lie on no line.
    """
    if not behind:
        raise ValueError("At least one point behind the tip is needed.")
    x = tip.tip
    offsets = np.stack([x - point.tip for point in behind])
    weights = np.array([1.0 / np.trace(point.tip_covariance + tip.tip_covariance) for point in behind])
    axis = np.linalg.svd(offsets * np.sqrt(weights)[:, None])[2][0]
    along = offsets @ axis
    axis, along = (axis, along) if along @ weights >= 0 else (-axis, -along)
    farthest = int(np.argmax(along))
    sigma = float(np.sqrt(1.0 / weights[farthest]))
    if along[farthest] < _SUREST * sigma:
        raise CalibrationError(
            f"The points are {1e3 * along[farthest]:.1f} mm apart, and that is known to {1e3 * sigma:.1f} mm only.",
            "Touch with a point of the tool farther from its tip, or more often.",
        )
    missed = np.linalg.norm(offsets - np.outer(along, axis), axis=1) * np.sqrt(weights)
    if missed.max() > _STRAIGHT:
        raise CalibrationError(
            f"The points lie on no line: one misses the axis through the others by {missed.max():.0f} "
            "standard deviations.",
            "Choose points on the axis of the tool, and touch each in the same way.",
        )
    R = _axes_along(axis)
    T_flange_tool = Transform.from_parts(R, x)
    return replace(
        tip,
        T_flange_tool=T_flange_tool,
        covariance=_covariance(R, tip, behind, along, weights),
        orientation=f"z through {1 + len(behind)} points of the tool, x as the flange's",
    )


def _axes_along(z: Floats) -> Floats:
    """Return the (3, 3) axes with this z and the x nearest to the flange's (its y where the tool lies along x)."""
    nearest = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = nearest - (nearest @ z) * z
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def _covariance(R: Floats, tip: ToolResult, behind: Sequence[ToolResult], along: Floats, weights: Floats) -> Floats:
    """Return the (6, 6) covariance of the oriented tool; the turn about z is by choice, and has none.

    With the axis a weighted mean of z_k = (tip - point_k) / along_k, its error is
    sum_k g_k (e_tip - e_k), g_k = w_k along_k / sum w along^2, across it. A right turn w moves z by w x z.
    """
    gains = weights * along / (weights @ along**2)
    tip_covariance = R.T @ tip.tip_covariance @ R
    others = [R.T @ point.tip_covariance @ R for point in behind]
    of_axis = gains.sum() ** 2 * tip_covariance + sum(g * g * C for g, C in zip(gains, others, strict=True))
    cross = gains.sum() * tip_covariance
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # w = z x dz
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = tip_covariance
    covariance[3:, 3:] = turn @ of_axis @ turn.T
    covariance[:3, 3:] = cross @ turn.T
    covariance[3:, :3] = turn @ cross.T
    return covariance
