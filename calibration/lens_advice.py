"""What to show the camera next: the view that would make the lens surest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from calibration import batch
from calibration.lens_fit import LensFit, reduced
from calibration.lens_terms import View, directions, terms
from vision_ik.types import CameraIntrinsics, Floats

_GRID = (8, 6)
"""Points of the picture at which the lens should be sure."""
_TILT = np.deg2rad(35.0)
_TILTS: tuple[tuple[str, tuple[float, float]], ...] = (
    ("", (0.0, 0.0)),
    ("its left edge nearer", (0.0, -_TILT)),
    ("its right edge nearer", (0.0, _TILT)),
    ("its upper edge nearer", (_TILT, 0.0)),
    ("its lower edge nearer", (-_TILT, 0.0)),
)
"""In words, and as turns about the picture's x and y axes [rad]."""
_SHARES = (0.4, 0.7)
"""Of the picture's shorter side that the board's longer one takes: far and near."""
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "middle", "right")
_RIM_PX = 3.0
_PUSHES = 3
"""Of a board that must be in the picture as a whole, into it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextView:
    """A view worth adding, and what it would do."""

    region: str
    """Part of the picture, such as "upper left corner"."""
    tilt: str
    """Which edge is nearer, or empty for a board that faces the camera."""
    tilt_deg: float
    """[deg]"""
    share: float
    """Of the picture's shorter side that the board's longer side should take."""
    outline: Floats
    """(4, 2) [px] The rim of the board's points in the picture."""
    focal_sigma: float
    """[px] Of the focal length, once this view is added to the views so far and the ones advised before it."""
    picture_sigma: float
    """[px] Uncertainty of the lens, averaged over the picture, once it is added."""

    def __str__(self) -> str:
        tilt = f"tilted by {self.tilt_deg:.0f} degrees with {self.tilt}" if self.tilt else "facing the camera"
        near = "near" if self.share >= 0.5 else "far"
        return f"at the {self.region} of the picture, {near} ({self.share:.0%} of its shorter side), {tilt}"


def picture_sigma(fit: LensFit, covariance: Floats) -> float:
    """Return how uncertain the lens is [px], root mean square over the picture.

    What turning the camera would explain is no uncertainty of the lens, and is taken out.
    """
    J = _effect(fit)
    return float(np.sqrt(np.einsum("ij,jk,ik->", J, covariance, J) / (0.5 * len(J))))


def advise(views: Sequence[View], fit: LensFit, covariance: Floats, inflation: float, *, count: int) -> list[NextView]:
    """Return the views that help most, each one given the ones before it.

    Args:
        views: That the lens was fitted to; together they show all points of the board.
        fit: The lens.
        covariance: (q, q) of its shared unknowns.
        inflation: By how much the spread of views exceeds independent corner noise.
        count: Views to advise.
    """
    J = _effect(fit)
    seen = np.unique(np.round(np.concatenate([view.points for view in views]), 9), axis=0)
    whole = all(view.count == len(seen) for view in views)
    board = _board(views, seen)
    noise = max(fit.variance, 1e-12) * max(inflation, 1.0) ** 2
    candidates = _candidates(board, fit, whole=whole)
    precision = batch.inverse(covariance)
    advice: list[NextView] = []
    for _ in range(min(count, len(candidates))):
        after = [batch.inverse(precision + information / noise) for _, information in candidates]
        costs = [float(np.einsum("ij,jk,ik->", J, C, J)) for C in after]
        best = int(np.argmin(costs))
        (region, tilt, share, outline), information = candidates[best]
        C = after[best]
        advice.append(
            NextView(
                region=region,
                tilt=tilt,
                tilt_deg=float(np.rad2deg(_TILT)) if tilt else 0.0,
                share=share,
                outline=outline,
                focal_sigma=float(np.sqrt(max(C[0, 0], C[1, 1]))),
                picture_sigma=float(np.sqrt(costs[best] / (0.5 * len(J)))),
            )
        )
        precision = precision + information / noise
    return advice


def region_name(row: int, column: int) -> str:
    """Return the name of a ninth of the picture, such as "upper left corner"."""
    words = [word for word in (_ROWS[row], _COLUMNS[column]) if word != "middle"]
    return " ".join([*words, ("middle", "edge", "corner")[len(words)]])


def _effect(fit: LensFit) -> Floats:
    """Return the derivative (2M, q) of pixels all over the picture by the lens, the camera's turn taken out."""
    lens = fit.intrinsics
    pixels = np.stack(
        np.meshgrid(*(np.linspace(0.0, n - 1.0, k) for n, k in zip((lens.width, lens.height), _GRID, strict=True))),
        axis=-1,
    ).reshape(-1, 2)
    rays = directions(pixels, lens)
    good = np.isfinite(rays).all(axis=1) & ((rays[:, 2] > 0.05) | (lens.model == "fisheye"))
    rays = np.where(good[:, None], rays, [0.0, 0.0, 1.0])
    view = View(rays, np.zeros((len(rays), 3)), pixels, np.ones(len(rays)))
    found = terms(view, np.zeros(6), lens, fit.bend)
    # Where the lens does not come back to the pixel, it is beyond its reach there.
    good &= np.linalg.norm(found.residuals.reshape(-1, 2), axis=1) < 1.0
    rows = np.repeat(good, 2)
    turn, J = found.by_pose[rows, :3], found.by_shared[rows]
    return J - turn @ np.linalg.lstsq(turn, J, rcond=None)[0]


def _board(views: Sequence[View], seen: Floats) -> View:
    """Return a view of all points of the board, without pixels."""
    shapes = {
        tuple(point): shape
        for view in views
        for point, shape in zip(np.round(view.points, 9).tolist(), view.shapes, strict=True)
    }
    return View(seen, np.stack([shapes[tuple(p)] for p in seen.tolist()]), np.zeros((len(seen), 2)), np.ones(len(seen)))


def _candidates(board: View, fit: LensFit, *, whole: bool) -> list[tuple[tuple[str, str, float, Floats], Floats]]:
    """Return places to show the board at, each with its information (q, q) on the shared unknowns."""
    lens = fit.intrinsics
    size = np.array([lens.width, lens.height], dtype=np.float64)
    low, high = board.points.min(axis=0), board.points.max(axis=0)
    rim = np.array([[x, y, 0.0] for y in (high[1], low[1]) for x in (low[0], high[0])])
    found: list[tuple[tuple[str, str, float, Floats], Floats]] = []
    for row, column, (words, turn), share in product(range(3), range(3), _TILTS, _SHARES):
        aim = (np.array([column, row]) + 0.5) / 3.0 * size - 0.5
        pose = _pose(aim, turn, share, low, high, lens)
        for _ in range(_PUSHES if whole else 0):
            outline = _project(rim, pose, lens)
            aim = aim + np.maximum(_RIM_PX - outline.min(axis=0), 0.0)
            aim = aim - np.maximum(outline.max(axis=0) - (size - 1.0 - _RIM_PX), 0.0)
            pose = _pose(aim, turn, share, low, high, lens)
        seen = terms(board, pose, lens, fit.bend)
        pixels = -seen.residuals.reshape(-1, 2)
        inside = ((pixels > _RIM_PX) & (pixels < size - 1.0 - _RIM_PX)).all(axis=1)
        if inside.mean() < (1.0 if whole else 0.6) or not np.isfinite(pixels).all():
            continue
        kept = np.repeat(inside, 2)
        part = type(seen)(seen.residuals[kept], seen.by_shared[kept], seen.by_pose[kept])
        outline = _project(rim[[0, 1, 3, 2]], pose, lens)
        found.append(((region_name(row, column), words, share, outline), reduced(part)[0]))
    return found


def _pose(
    pixel: Floats, turn: tuple[float, float], share: float, low: Floats, high: Floats, lens: CameraIntrinsics
) -> Floats:
    """Return the pose (6,) that shows the board's middle at a pixel, facing the camera but for a turn."""
    ray = directions(pixel.reshape(1, 2), lens)[0]
    axis = np.cross([0.0, 0.0, 1.0], ray)
    sine = float(np.linalg.norm(axis))
    aim = cv2.Rodrigues(axis / max(sine, 1e-12) * np.arctan2(sine, ray[2]))[0]
    R = aim @ cv2.Rodrigues(np.array([turn[0], turn[1], 0.0]))[0] @ np.diag([1.0, -1.0, -1.0])
    distance = float(lens.K[0, 0]) * float((high - low).max()) / (share * min(lens.width, lens.height))
    middle = 0.5 * (low + high)
    return np.concatenate([cv2.Rodrigues(R)[0].ravel(), ray * distance - R @ middle])


def _project(points: Floats, pose: Floats, lens: CameraIntrinsics) -> Floats:
    n = len(points)
    view = View(points, np.zeros((n, 3)), np.zeros((n, 2)), np.ones(n))
    return -terms(view, pose, lens, np.empty(0)).residuals.reshape(-1, 2)
