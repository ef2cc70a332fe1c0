"""A scene of lines in space on a page: drawn as SVG from a good side, and turned with the mouse where scripts run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Literal, TypeAlias

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from vision_ik.types import Floats
from vision_ik.types._arrays import put, read_only

Look: TypeAlias = Literal["good", "bad", "mended", "camera", "path", "cloud", "floor", "x", "y", "z"]
"""What a stroke is, which decides its colour; the classes of the same name are in report.html.j2."""

_WIDTH, _HEIGHT = 936, 520
_MARGIN = 26.0
_ELEVATION = 24.0
"""[deg] From which the scene is first seen."""
_AROUND: tuple[Look, ...] = ("floor", "x", "y", "z")
"""What the first view need not hold: the floor and axes reach out of it."""
_TRIED = 36
"""Sides that the first view is chosen from."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stroke:
    """A line through points, perhaps closed and filled, or one dot."""

    points: Floats
    """(N, 3) [m], z up."""
    look: Look
    closed: bool = False
    """Whether the last point joins the first, and the inside is shaded."""
    told: str = ""
    """Shown when the mouse rests on it."""
    label: str = ""
    """Written at its first point."""

    def __post_init__(self) -> None:
        put(self, "points", read_only(self.points, (None, 3), "points"))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scene:
    """Strokes to look at from all sides."""

    title: str
    strokes: Sequence[Stroke]
    caption: str = ""


def drawn_scene(scene: Scene, number: int) -> Markup:
    """Return the scene as SVG, with the script that turns it.

    Args:
        scene: What to draw.
        number: Of the scene on its page, for its name.
    """
    meant = [stroke.points for stroke in scene.strokes if stroke.look not in _AROUND]
    framed = np.concatenate(meant or [stroke.points for stroke in scene.strokes])
    centre = 0.5 * (framed.min(axis=0) + framed.max(axis=0))
    azimuth = _best_side(framed - centre, [stroke.points for stroke in scene.strokes if stroke.closed])
    flat = _flat(framed - centre, azimuth, _ELEVATION)
    fits = min(
        (_WIDTH - 2 * _MARGIN) / max(np.ptp(flat[:, 0]), 1e-6), (_HEIGHT - 2 * _MARGIN) / max(np.ptp(flat[:, 1]), 1e-6)
    )
    centre = centre + _unflat(flat, azimuth)
    scale = float(fits)
    depths = [float(_flat(stroke.points - centre, azimuth, _ELEVATION)[:, 2].mean()) for stroke in scene.strokes]
    order = sorted(range(len(depths)), key=lambda i: (scene.strokes[i].look != "floor", depths[i]))
    body = "".join(_element(scene.strokes[i], i, centre, azimuth, scale) for i in order)
    data = {
        "centre": centre.round(6).tolist(),
        "scale": scale,
        "azimuth": azimuth,
        "elevation": _ELEVATION,
        "size": [_WIDTH, _HEIGHT],
        "points": [stroke.points.round(5).tolist() for stroke in scene.strokes],
    }
    script = resources.files("vision_ik.view").joinpath("scene.js").read_text(encoding="utf-8")
    return Markup(  # our own drawing: texts in it are escaped
        f'<svg class="scene" id="scene{number}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(scene.title)}">{body}</svg>'
        f'<script type="application/json" id="scene{number}-data">{json.dumps(data)}</script>'
        f"<script>({script.strip()})(document.getElementById('scene{number}'), "
        f"JSON.parse(document.getElementById('scene{number}-data').textContent));</script>"
    )


def ellipsoid(centre: ArrayLike, covariance: ArrayLike, scale: float, *, told: str = "") -> list[Stroke]:
    """Return the three main ellipses of one standard deviation.

    Args:
        centre: (3,) [m].
        covariance: (3, 3) [m^2].
        scale: By which it is enlarged.
        told: Shown when the mouse rests on it.
    """
    values, axes = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    half: Floats = axes * (scale * np.sqrt(np.maximum(values, 0.0)))
    turn = np.linspace(0.0, 2.0 * np.pi, 25)[:-1]
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    middle = np.asarray(centre, dtype=np.float64)
    return [
        Stroke(points=middle + circle @ half[:, pair].T, look="cloud", closed=True, told=told)
        for pair in ([0, 1], [0, 2], [1, 2])
    ]


def _element(stroke: Stroke, index: int, centre: Floats, azimuth: float, scale: float) -> str:
    flat = _flat(stroke.points - centre, azimuth, _ELEVATION)
    xy = np.column_stack([_WIDTH / 2 + scale * flat[:, 0], _HEIGHT / 2 - scale * flat[:, 1]]).round(1)
    tip = f"<title>{escape(stroke.told)}</title>" if stroke.told else ""
    label = f'<text x="{xy[0, 0] + 6}" y="{xy[0, 1] - 6}">{escape(stroke.label)}</text>' if stroke.label else ""
    if len(xy) == 1:
        shape = f'<circle cx="{xy[0, 0]}" cy="{xy[0, 1]}" r="3.2">{tip}</circle>'
    else:
        kind = "polygon" if stroke.closed else "polyline"
        points = " ".join(f"{x},{y}" for x, y in xy.tolist())
        shape = f'<{kind} points="{points}">{tip}</{kind}>'
    return f'<g class="{stroke.look}" data-i="{index}">{shape}{label}</g>'


def _axes(azimuth: float, elevation: float) -> Floats:
    """Return right, up and towards the viewer as rows (3, 3)."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    return np.array(
        [
            [-np.sin(a), np.cos(a), 0.0],
            [-np.sin(e) * np.cos(a), -np.sin(e) * np.sin(a), np.cos(e)],
            [np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)],
        ]
    )


def _flat(points: Floats, azimuth: float, elevation: float) -> Floats:
    """Return right, up and nearness (N, 3) [m] of points."""
    return points @ _axes(azimuth, elevation).T


def _unflat(flat: Floats, azimuth: float) -> Floats:
    """Return the move (3,) that brings the middle of what is seen into the middle of the picture."""
    middle = 0.5 * (flat.min(axis=0) + flat.max(axis=0))
    return np.array([middle[0], middle[1], 0.0]) @ _axes(azimuth, _ELEVATION)


def _best_side(points: Floats, faces: Sequence[Floats]) -> float:
    """Return the azimuth [deg] from which the scene is wide, and few faces are seen from their edge."""
    sides = np.linspace(0.0, 360.0, _TRIED, endpoint=False) + 5.0
    areas = np.array([np.ptp(_flat(points, side, _ELEVATION)[:, :2], axis=0).prod() for side in sides])
    normals = np.array([np.linalg.svd(face - face.mean(axis=0))[2][2] for face in faces]).reshape(-1, 3)
    seen = np.array([np.abs(normals @ _axes(side, _ELEVATION)[2]).sum() for side in sides])
    return float(sides[int(np.argmax(areas * (0.4 * len(faces) + seen)))])
