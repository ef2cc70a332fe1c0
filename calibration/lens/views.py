"""Which views a lens is fitted to, and what they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from calibration.hand_eye import checks
from calibration.hand_eye.corners import keep_points
from calibration.lens.fit import LensFit
from calibration.lens.terms import View, settle, start_pose, terms
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, Floats

GRID = (8, 6)
"""Columns and rows of cells the picture is divided into for its coverage."""
_SAME_PX = 1.0
"""Views whose common corners moved less on average are the same picture twice."""
_COMMON_SHARE = 0.8
"""Of the corners of either view, that must be common for the two to be compared."""
_SOFT_RATIO = 1.8
"""Edges so many times as wide as in the median view ..."""
_SOFT_PX = 2.0
"""[px] ... and at least so wide (standard deviation) are blurred."""
_FAR_RATIO = 3.0
"""Views whose residual is this many times the median (and above the floor below) are left out."""
_FAR_FLOOR = 0.5
"""[px]"""
_MISREAD_ROUNDS = 6
_MISREAD_SHARE = 0.2
"""Of a view's corners, that may be misread and dropped without dropping the view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LensView:
    """How one view fits the lens."""

    name: str
    used: bool
    reason: str
    """Why it was left out; empty when used."""
    rms: float
    """[px] Root mean square distance between corners and their projection; NaN when left out before the fit."""
    tilt_deg: float = float("nan")
    """[deg] Between the board's normal and the line of sight to its middle; NaN when left out before the fit."""
    dropped: int = 0
    """Misread corners that were left out of the view."""
    edge_px: float = float("nan")
    """[px] Width (standard deviation) of the print's edges in the picture; NaN where nobody measured it."""


def check(detection: BoardDetection, name: str, image_size: tuple[int, int]) -> None:
    """Refuse corners that are no view of a flat board in a picture of this size.

    Raises:
        CalibrationError: Too few corners, not flat, or outside the picture.
    """
    checks.check_detection(detection, name)
    if float(np.ptp(detection.points_board[:, 2])) > 1e-9:
        raise CalibrationError(
            f"The board of view {name} is not flat.", "Calibrate the lens with a flat board (z = 0)."
        )
    low, high = detection.points_image.min(axis=0), detection.points_image.max(axis=0)
    if (low < -1.0).any() or (high > np.array(image_size)).any():
        size = f"{image_size[0]}x{image_size[1]}"
        raise CalibrationError(
            f"View {name} has corners at {high.round().tolist()} px, outside a picture of {size}.",
            "Give the size of the pictures the corners were found in.",
            view=name,
        )


def shift(a: BoardDetection, b: BoardDetection) -> float:
    """Return the mean distance of the corners both views show [px], infinite where they share few."""
    places = {tuple(point): i for i, point in enumerate(np.round(b.points_board, 9).tolist())}
    pairs = [(i, places.get(tuple(point))) for i, point in enumerate(np.round(a.points_board, 9).tolist())]
    common = [(i, j) for i, j in pairs if j is not None]
    if len(common) < _COMMON_SHARE * max(len(a.points_board), len(b.points_board)):
        return float("inf")
    rows, others = np.array(common).T
    return float(np.linalg.norm(a.points_image[rows] - b.points_image[others], axis=1).mean())


def repeated(detections: Sequence[BoardDetection], names: Sequence[str]) -> dict[int, str]:
    """Return the views that show the board where an earlier one does, and why they are left out."""
    reasons: dict[int, str] = {}
    for i, later in enumerate(detections):
        for j in range(i):
            if j not in reasons and shift(later, detections[j]) < _SAME_PX:
                reasons[i] = f"it repeats view {names[j]}"
                break
    return reasons


def blurred(edges_px: Sequence[float]) -> dict[int, str]:
    """Return the views whose pictures are blurred beside the others, by the width of their edges (N,) [px]."""
    widths = np.asarray(edges_px, dtype=np.float64)
    known = widths[np.isfinite(widths)]
    if len(known) == 0:
        return {}
    limit = max(_SOFT_PX, _SOFT_RATIO * float(np.median(known)))
    return {
        i: f"it is blurred: its edges are {width:.1f} px wide, others {np.median(known):.1f} px"
        for i, width in enumerate(widths)
        if width > limit
    }


def far_off(fit: LensFit, used: Sequence[int]) -> dict[int, str]:
    """Return which of the views ``used`` miss the lens by far more than the others."""
    typical = float(np.median(fit.view_rms))
    limit = max(_FAR_FLOOR, _FAR_RATIO * typical)
    return {
        i: f"its corners miss the lens by {rms:.2f} px (others {typical:.2f} px)"
        for i, rms in zip(used, fit.view_rms, strict=True)
        if rms > limit
    }


def without_misread(view: View, detection: BoardDetection, fit: LensFit) -> BoardDetection | None:
    """Return a view without the few corners that a lens fitted to other views contradicts; None if they are many."""
    limit = max(_FAR_FLOOR, _FAR_RATIO * float(np.median(fit.view_rms)))
    lens, kept = fit.intrinsics, np.ones(view.count, dtype=bool)
    pose = start_pose(view, lens)
    if pose is None:
        return None
    distance = np.full(view.count, np.inf)
    for _ in range(_MISREAD_ROUNDS):
        part = View(view.points[kept], view.shapes[kept], view.pixels[kept], view.weights[kept])
        pose, _ = settle(part, pose, lens, fit.bend, rounds=15)
        residuals = terms(view, pose, lens, fit.bend).residuals.reshape(-1, 2) / view.weights[:, None]
        distance = np.linalg.norm(residuals, axis=1)
        # A gross error pulls the pose: the worst corners go first.
        now = distance < max(limit, 0.5 * float(distance[kept].max()))
        if (now == kept).all():
            break
        kept = now
        if kept.sum() < max(checks.MIN_CORNERS, (1.0 - _MISREAD_SHARE) * view.count):
            return None
    if (distance[kept] > limit).any():
        return None
    return keep_points(detection, kept)


def coverage_map(detections: Sequence[BoardDetection], image_size: tuple[int, int]) -> Floats:
    """Return the number of corners in each cell (rows, columns) of the picture."""
    points = np.concatenate([d.points_image for d in detections]) + 0.5
    edges = [np.linspace(0.0, image_size[axis], GRID[axis] + 1) for axis in (1, 0)]
    counts, _, _ = np.histogram2d(
        np.clip(points[:, 1], 0, image_size[1]), np.clip(points[:, 0], 0, image_size[0]), edges
    )
    return counts


def tilts(views: Sequence[View], fit: LensFit) -> Floats:
    """Return the angle (N,) [rad] between each board's normal and the line of sight to its middle."""
    found: list[float] = []
    for view, pose in zip(views, fit.poses, strict=True):
        R = cv2.Rodrigues(pose[:3])[0]
        middle = R @ view.points.mean(axis=0) + pose[3:]
        cosine = abs(float(R[:, 2] @ middle)) / max(float(np.linalg.norm(middle)), 1e-12)
        found.append(float(np.arccos(min(cosine, 1.0))))
    return np.array(found)


def residuals(views: Sequence[View], fit: LensFit) -> Floats:
    """Return each corner (u, v) and what it lies beside its projection (du, dv), all views together, (M, 4) [px]."""
    rows = [
        np.column_stack(
            [
                view.pixels,
                terms(view, pose, fit.intrinsics, fit.bend).residuals.reshape(-1, 2) / view.weights[:, None],
            ]
        )
        for view, pose in zip(views, fit.poses, strict=True)
    ]
    return np.concatenate(rows)
