"""Why a view contradicts the others: causes by name, found by likelihood.

Every cause is a guess at the pose that the flange, or the board, really had in that view; given the
calibration of the views that agree, each guess has a likelihood (``causes_scoring``). A cause is
named where it is far likelier than that anything at all went wrong, and mended where it says how
(``repairs``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from calibration import batch
from calibration.hand_eye.causes_scoring import Calibrated
from vision_ik.types import Floats


class Cause(StrEnum):
    """What was wrong with a view."""

    PAIRING_SHIFTED = "pairing shifted"
    """Pictures and poses are out of step: the picture belongs with a pose a few places on, like its neighbours'."""
    PAIRING_SWAPPED = "pairing swapped"
    """The picture belongs with the pose of another view."""
    STALE_PICTURE = "stale picture"
    """The picture shows the posture of another view, whose own picture fits too."""
    CORNER_ORDER = "corner order"
    """The corners were counted from another corner of the board."""
    PLANAR_FLIP = "planar flip"
    """Of the two tilts that the corners of a flat board allow, the wrong one was taken."""
    BOARD_MOVED = "board moved"
    """The board sat elsewhere in its holder, in this view and others."""
    CAMERA_MOVED = "camera moved"
    """The camera sat elsewhere on its mount, in this view and others."""
    ARM_MOVING = "arm moving"
    """The picture shows a posture between this one and its neighbour: the arm had not arrived, or had left."""
    CORNERS_UNSHARP = "corners unsharp"
    """The corners scatter far more than in other views: blur, or misread corners."""
    DUPLICATE = "duplicate"
    """It repeats another view exactly."""
    NO_POSE = "no pose"
    """No pose of the board explains the corners, or they are too few to tell one."""
    MISPLACED = "misplaced"
    """The reported flange is where no arm reaches."""
    UNEXPLAINED = "unexplained"
    """It contradicts the others in a way that none of these explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What is to be told of one view."""

    cause: Cause
    reason: str = ""
    """Goes on from "View 3 was left out: it ...", or from "it contradicts the other views by ...: "."""
    repair: str = ""
    """What was done about it."""
    contradicts: bool = False
    """Whether the others speak against it, and by how much is to be told."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Repair:
    """What to change about a view, so that it agrees."""

    words: str
    """What is done, as it is told ("paired with the pose of view 9")."""
    partner: int | None = None
    """The view whose pose belongs to this view's picture."""
    turn: Floats | None = None
    """(4, 4) G: the corner listed at p is the one at G p of the board."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Explanation:
    """The likeliest cause of one view's contradiction."""

    cause: Cause
    sentence: str
    """Goes on from "it contradicts the other views by ...": "its picture belongs with the pose of view 9"."""
    odds: float
    """Logarithm of how much likelier this is than that anything at all went wrong."""
    repair: Repair | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Case:
    """All that is known of the views when some of them contradict the rest."""

    measure: Calibrated
    seen: Floats
    """(N, K, 4, 4) poses T_camera_board that the corners allow, best first; NaN where there is none."""
    spread: Floats
    """(N, K, 6, 6) their covariances for 1 px (left twist)."""
    scatter: Floats
    """(N,) [px] of the corners about the first of them; NaN for ready-made poses."""
    flanges: Floats
    """(N, 4, 4) Ts_base_flange as reported."""
    twists: list[Floats | None]
    """Speed of the flange (6,) in each view, where known."""
    turns: list[tuple[Floats, str]]
    """(4, 4) ways to count the corners of the board from elsewhere, and their words."""
    accused: list[int]
    """Views that contradict the rest."""
    names: list[str]

    @property
    def count(self) -> int:
        """Number of views N."""
        return len(self.flanges)

    def poses(self, view: int) -> tuple[Floats, Floats]:
        """Return the finite (K, 4, 4) seen poses of a view and their (K, 6, 6) covariances."""
        known = np.isfinite(self.seen[view]).all(axis=(1, 2))
        return self.seen[view][known], self.spread[view][known]

    def nearest(self, view: int) -> tuple[Floats, Floats, float]:
        """Return a view of which anything may be wrong: the likelier of its seen poses.

        Returns:
            (4, 4) the pose, (6, 6) its covariance, and the log density of it.
        """
        seen, spread = self.poses(view)
        densities = self.measure.unexplained(seen, spread, np.tile(self.flanges[view], (len(seen), 1, 1)))
        best = int(np.argmax(densities))
        return seen[best], spread[best], float(densities[best])


def symmetries(points_board: Floats) -> list[tuple[Floats, str]]:
    """Return the ways to count a flat board's corners from elsewhere: turns that map its points (M, 3) on themselves.

    Those that turn it over are the corners listed in mirrored order.
    """
    points = np.unique(np.round(points_board, 9), axis=0)
    if len(points) < 4 or np.ptp(points[:, 2]) > 1e-9:
        return []
    low, high = points.min(axis=0), points.max(axis=0)
    centre = 0.5 * (low + high)
    diagonal = float(np.linalg.norm(high - low))
    found: list[tuple[Floats, str]] = []
    for axis, angle, words in _TURNS:
        R = batch.exp(np.concatenate([np.zeros(3), np.deg2rad(angle) * np.array(axis) / np.linalg.norm(axis)])[None])
        R = R[0, :3, :3]
        turned = (points - centre) @ R.T + centre
        apart = np.linalg.norm(turned[:, None] - points[None], axis=2).min(axis=1)
        if apart.max() < 1e-4 * diagonal:
            G = np.eye(4)
            G[:3, :3], G[:3, 3] = R, centre - R @ centre
            found.append((G, words))
    return found


_TURNS: tuple[tuple[tuple[float, float, float], float, str], ...] = (
    ((0.0, 0.0, 1.0), 180.0, "from the opposite corner (the board half a turn round)"),
    ((0.0, 0.0, 1.0), 90.0, "from the next corner (the board a quarter turn round)"),
    ((0.0, 0.0, 1.0), -90.0, "from the previous corner (the board a quarter turn round)"),
    ((1.0, 0.0, 0.0), 180.0, "in mirrored order (rows from the other end)"),
    ((0.0, 1.0, 0.0), 180.0, "in mirrored order (columns from the other end)"),
    ((1.0, 1.0, 0.0), 180.0, "in mirrored order (rows and columns exchanged)"),
    ((1.0, -1.0, 0.0), 180.0, "in mirrored order (rows and columns exchanged)"),
)
