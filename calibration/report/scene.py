"""Cameras, boards and the path of the flange as a scene to turn."""

from __future__ import annotations

import numpy as np

from calibration.report.geometry import Geometry, Placed
from calibration.report.workplace import rms
from vision_ik.transforms import Transform
from vision_ik.types import Floats
from vision_ik.view.scene_drawing import Scene, Stroke, ellipsoid

_SHOWN = 7
"""Boards with an ellipsoid."""
_SHARE = 0.07
"""Of the scene's size, of the largest ellipsoid drawn."""


def calibration_scene(geometry: Geometry) -> Scene:
    """Return the scene of a calibration."""
    to_hand = geometry.mount == "eye_to_hand"
    size = float(np.ptp(np.array([view.p_base_middle for view in geometry.views] + _cameras(geometry)), axis=0).max())
    size = max(size, 0.2)
    strokes = [*_floor(geometry, size), *_triad(Transform.identity(), 0.12 * size, "base")]
    boards = geometry.views if to_hand else geometry.views[:1]
    strokes += [_board(view, plain=not to_hand) for view in boards]
    if to_hand:
        strokes += _frustum(geometry.views[0].T_base_camera, 0.13 * size, "camera", "the camera")
    else:
        for view in geometry.views:
            strokes += _frustum(view.T_base_camera, 0.07 * size, view.fate, view.told)
    path = np.array([view.T_base_flange.translation for view in geometry.views])
    strokes.append(Stroke(points=path, look="path", told="the flange, in the order of the views"))
    strokes += [
        Stroke(points=view.T_base_flange.translation[None], look=view.fate, told=f"Flange. {view.told}")
        for view in geometry.views
    ]
    clouds, scale = _clouds(geometry, size)
    return Scene(
        title="Cameras, boards and the path of the flange",
        strokes=[*strokes, *clouds],
        caption=(
            "Drag to turn, double-click to turn back; rest on a piece to read what it is. Blue: used, amber: mended "
            "and used, red: left out. Violet: where the camera puts the board's middle, one standard deviation, "
            f"enlarged {scale:.0f} times. Everything is drawn in the base frame, with the arm taken at its word."
        ),
    )


def _cameras(geometry: Geometry) -> list[Floats]:
    return [view.T_base_camera.translation for view in geometry.views] + [np.zeros(3)]


def _floor(geometry: Geometry, size: float) -> list[Stroke]:
    """Return a grid of 100 mm, or coarser, below everything that is about the base."""
    points = np.array([view.p_base_middle for view in geometry.views] + _cameras(geometry))
    step = 0.1 if size < 1.5 else 0.25 if size < 4.0 else 1.0
    low = np.floor(points.min(axis=0) / step - 0.5) * step
    high = np.ceil(points.max(axis=0) / step + 0.5) * step
    lines: list[Stroke] = []
    for axis in (0, 1):
        for at in np.arange(low[axis], high[axis] + step / 2, step):
            ends = np.array([[low[0], low[1], 0.0], [high[0], high[1], 0.0]])
            ends[:, axis] = at
            lines.append(Stroke(points=ends, look="floor"))
    return lines


def _triad(T: Transform, length: float, label: str) -> list[Stroke]:
    origin = T.translation
    tips = T.apply(length * np.eye(3))
    return [
        Stroke(points=np.array([origin, tips[i]]), look=look, told=f"{look} axis of {label}", label="" if i else label)
        for i, look in enumerate(("x", "y", "z"))
    ]


def _board(view: Placed, *, plain: bool) -> Stroke:
    corners = view.T_base_board.apply(view.outline_board)
    if plain:
        return Stroke(points=corners, look="camera", closed=True, told="the board", label="board")
    return Stroke(points=corners, look=view.fate, closed=True, told=view.told)


def _frustum(T_base_camera: Transform, length: float, look: str, told: str) -> list[Stroke]:
    """Return the pyramid of sight, with a notch on its upper side."""
    across, along = 0.5 * length, 0.36 * length
    rim = np.array(
        [[-across, -along, length], [across, -along, length], [across, along, length], [-across, along, length]]
    )
    eye, corners = T_base_camera.translation, T_base_camera.apply(rim)
    up = T_base_camera.apply(
        [[-0.4 * across, -along, length], [0.0, -1.5 * along, length], [0.4 * across, -along, length]]
    )
    kind = "camera" if look == "camera" else "mended" if look == "mended" else "bad" if look == "bad" else "good"
    sides = [Stroke(points=np.array([eye, corner]), look=kind) for corner in corners]
    label = "camera" if look == "camera" else ""
    rims = Stroke(points=corners, look=kind, closed=True, told=told)
    return [
        *sides,
        rims,
        Stroke(points=up, look=kind, closed=True),
        Stroke(points=np.array([eye, eye]), look=kind, label=label),
    ]


def _clouds(geometry: Geometry, size: float) -> tuple[list[Stroke], float]:
    """Return ellipsoids at boards far from each other, and by how much they are enlarged."""
    used = geometry.sound
    if not used:
        return [], 1.0
    largest = float(np.sqrt(max(np.linalg.eigvalsh(view.covariance).max() for view in used)))
    scale = _round(_SHARE * size / max(largest, 1e-9))
    strokes: list[Stroke] = []
    for i in _spread(geometry) if geometry.mount == "eye_to_hand" else [_worst(used)]:
        view = used[i]
        one = 1e3 * float(rms(view.covariance[None])[0])
        told = f"View {view.name}: ± {one:.2f} mm (root mean square), {view.distance:.2f} m from the camera"
        strokes += ellipsoid(view.p_base_middle, view.covariance, scale, told=told)
    return strokes, scale


def _worst(used: tuple[Placed, ...]) -> int:
    return int(np.argmax([np.trace(view.covariance) for view in used]))


def _spread(geometry: Geometry) -> list[int]:
    """Return used views whose boards are far from each other."""
    points = np.array([view.p_base_middle for view in geometry.sound])
    chosen = [_worst(geometry.sound)]
    while len(chosen) < min(_SHOWN, len(points)):
        gaps = np.linalg.norm(points[:, None] - points[chosen], axis=2).min(axis=1)
        chosen.append(int(np.argmax(gaps)))
    return chosen


def _round(scale: float) -> float:
    """Return a number that is easily said."""
    power = 10.0 ** np.floor(np.log10(max(scale, 1.0)))
    return float(power * max(step for step in (1.0, 2.0, 5.0) if step * power <= max(scale, 1.0)))
