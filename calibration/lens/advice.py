"""What to show the camera next: the view that would make the lens surest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from calibration import batch
from calibration.lens.fit import LensFit, reduced
from calibration.lens.terms import View, directions, terms
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
_ROUNDS = 12
"""Of moving a board into the picture and to the size it should have there."""
_SIDE_POINTS = 8
"""Of an outline, along each side: a wide lens bends it."""
_GRAZING = 0.35
"""Least cosine between the board's normal and the line of sight, at all of its points."""
_MISS_PX = 0.5
"""By which a ray may miss itself through the lens and back: beyond, the lens is not known there."""
_BEYOND = 1.1
"""Farthest off the axis a fisheye's board is asked for, by the farthest corner seen: the picture may end there."""


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
    """(32, 2) [px] The rim of the board's points in the picture, 8 points a side from the upper left corner on."""
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


def advise(
    views: Sequence[View], fit: LensFit, covariance: Floats, inflation: float, *, doubt: Floats, count: int
) -> list[NextView]:
    """Return the views that help most, each one given the ones before it.

    Args:
        views: That the lens was fitted to; together they show all points of the board.
        fit: The lens.
        covariance: (q, q) of its shared unknowns.
        inflation: By how much the spread of views exceeds independent corner noise.
        doubt: (q, q) What more views of the same board leave uncertain beside it.
        count: Views to advise.
    """
    J = _effect(fit)
    seen = np.unique(np.round(np.concatenate([view.points for view in views]), 9), axis=0)
    board = _board(views, seen)
    noise = max(fit.variance, 1e-12) * max(inflation, 1.0) ** 2
    candidates = _candidates(board, fit, _reach(views, fit.intrinsics))
    precision = batch.inverse(covariance)
    advice: list[NextView] = []
    for _ in range(min(count, len(candidates))):
        after = [batch.inverse(precision + information / noise) for _, information in candidates]
        costs = [float(np.einsum("ij,jk,ik->", J, C, J)) for C in after]
        best = int(np.argmin(costs))
        (region, tilt, share, outline), information = candidates[best]
        C = after[best] + doubt
        advice.append(
            NextView(
                region=region,
                tilt=tilt,
                tilt_deg=float(np.rad2deg(_TILT)) if tilt else 0.0,
                share=share,
                outline=outline,
                focal_sigma=float(np.sqrt(max(C[0, 0], C[1, 1]))),
                picture_sigma=picture_sigma(fit, C),
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


def _reach(views: Sequence[View], lens: CameraIntrinsics) -> float:
    """Return the largest angle [rad] off the axis at which a board can be asked for."""
    if lens.model == "pinhole":
        return 0.5 * np.pi
    rays = directions(np.concatenate([view.pixels for view in views]), lens)
    return _BEYOND * float(np.arccos(np.clip(rays[:, 2].min(), -1.0, 1.0)))


def _candidates(board: View, fit: LensFit, reach: float) -> list[tuple[tuple[str, str, float, Floats], Floats]]:
    """Return places to show the board at, each with its information (q, q) on the shared unknowns.

    The whole board is in the picture there, faces the camera, and lies where the lens is known.
    """
    lens = fit.intrinsics
    rim = _rim(board.points.min(axis=0), board.points.max(axis=0))
    found: list[tuple[tuple[str, str, float, Floats], Floats]] = []
    for row, column, (words, turn), share in product(range(3), range(3), _TILTS, _SHARES):
        pose = _placed(rim, (row, column), turn, share, lens, reach)
        if pose is None:
            continue
        seen = terms(board, pose, lens, fit.bend)
        if np.isfinite(seen.by_shared).all():
            outline = _project(rim, pose, lens)
            found.append(((_region(outline, lens), words, share, outline), reduced(seen)[0]))
    return found


def _region(outline: Floats, lens: CameraIntrinsics) -> str:
    """Return the name of the ninth of the picture in which the middle of an outline is."""
    column, row = np.clip(3.0 * (outline.mean(axis=0) + 0.5) / (lens.width, lens.height), 0.0, 2.5).astype(int).tolist()
    return region_name(row, column)


def _rim(low: Floats, high: Floats) -> Floats:
    """Return the rim (32, 3) [m] of the board's points, from the upper left corner on."""
    corners = np.array([[low[0], high[1]], [high[0], high[1]], [high[0], low[1]], [low[0], low[1]]])
    along = np.arange(_SIDE_POINTS)[:, None] / _SIDE_POINTS
    sides = [a + along * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    return np.column_stack([np.concatenate(sides), np.zeros(4 * _SIDE_POINTS)])


def _placed(
    rim: Floats, ninth: tuple[int, int], turn: tuple[float, float], share: float, lens: CameraIntrinsics, reach: float
) -> Floats | None:
    """Return the pose (6,) of a board in a ninth (row, column) of the picture, as large as asked; None if none.

    A board whose rim would leave the picture is moved into it.
    """
    size = np.array([lens.width, lens.height], dtype=np.float64)
    aim = (np.array(ninth[::-1]) + 0.5) / 3.0 * size - 0.5
    wanted = share * float(size.min())
    distance = float(lens.K[0, 0] * np.ptp(rim, axis=0).max()) / wanted  # right but for a wide lens
    wide = lens.model == "fisheye"
    pose = _pose(aim, turn, distance, rim, lens)
    for _ in range(_ROUNDS):
        if _sees(rim, pose, lens, reach):
            outline = _project(rim, pose, lens)
            distance *= float(np.clip(np.ptp(outline, axis=0).max() / wanted, 0.7, 1.4)) if wide else 1.0
            aim = aim + np.maximum(_RIM_PX + 1.0 - outline.min(axis=0), 0.0)
            aim = aim - np.maximum(outline.max(axis=0) - (size - 2.0 - _RIM_PX), 0.0)
        else:
            aim = 0.5 * size + 0.9 * (aim - 0.5 * size)  # nearer to the middle, and farther away
            distance *= 1.1
        pose = _pose(aim, turn, distance, rim, lens)
    if not _sees(rim, pose, lens, reach):
        return None
    outline = _project(rim, pose, lens)
    inside = ((outline > _RIM_PX) & (outline < size - 1.0 - _RIM_PX)).all()
    large = not wide or abs(np.ptp(outline, axis=0).max() / wanted - 1.0) < 0.1
    return pose if inside and large else None


def _sees(rim: Floats, pose: Floats, lens: CameraIntrinsics, reach: float) -> bool:
    """Return whether the camera sees the front of a board, through a part of the lens that is known."""
    R = np.asarray(cv2.Rodrigues(pose[:3])[0], dtype=np.float64)
    at = rim @ R.T + pose[3:]
    rays = at / np.linalg.norm(at, axis=1, keepdims=True)
    if (rays @ R[:, 2]).max() > -_GRAZING or np.arccos(np.clip(rays[:, 2].min(), -1.0, 1.0)) >= reach:
        return False
    pixels = _project(rim, pose, lens)
    if not np.isfinite(pixels).all():
        return False
    miss = np.linalg.norm(directions(pixels, lens) - rays, axis=1) * float(lens.K[0, 0])
    return bool((miss < _MISS_PX).all())


def _pose(aim: Floats, turn: tuple[float, float], distance: float, rim: Floats, lens: CameraIntrinsics) -> Floats:
    """Return the pose (6,) that shows the board's middle at a pixel, facing the camera but for a turn."""
    ray = directions(aim.reshape(1, 2), lens)[0]
    axis = np.cross([0.0, 0.0, 1.0], ray)
    sine = float(np.linalg.norm(axis))
    straight = cv2.Rodrigues(axis / max(sine, 1e-12) * np.arctan2(sine, ray[2]))[0]
    R = straight @ cv2.Rodrigues(np.array([turn[0], turn[1], 0.0]))[0] @ np.diag([1.0, -1.0, -1.0])
    middle = 0.5 * (rim.min(axis=0) + rim.max(axis=0))
    return np.concatenate([cv2.Rodrigues(R)[0].ravel(), ray * distance - R @ middle])


def _project(points: Floats, pose: Floats, lens: CameraIntrinsics) -> Floats:
    n = len(points)
    view = View(points, np.zeros((n, 3)), np.zeros((n, 2)), np.ones(n))
    return -terms(view, pose, lens, np.empty(0)).residuals.reshape(-1, 2)
