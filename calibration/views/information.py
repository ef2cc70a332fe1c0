"""What views will tell about camera and board, and which of them tell most together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from calibration import batch
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.values import ArmNoise, HandEyeResult
from calibration.views.candidates import Candidates, Workcell
from calibration.views.sights import board_points
from vision_ik.types import BoardDetection, Floats

Criterion: TypeAlias = Literal["A", "D"]
"""A: least sum of the variances of the camera's pose. D: least volume of its uncertainty."""

_EXCHANGES = 2
_HARDLY = np.diag(np.tile([1.0, 1.0, 1.0, 0.1, 0.1, 0.1], 2))
"""(12, 12) information that is there before any view: a metre and a few radians."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How far off the camera's pose is, root mean square over all directions together."""

    translation: float
    """[m]"""
    rotation: float
    """[rad]"""

    @classmethod
    def of(cls, covariance: Floats) -> Accuracy:
        """Return what a covariance (6, 6) or (12, 12), camera first, amounts to."""
        return cls(
            translation=float(np.sqrt(np.trace(covariance[:3, :3]))),
            rotation=float(np.sqrt(np.trace(covariance[3:6, 3:6]))),
        )

    def meets(self, wanted: Accuracy) -> bool:
        """Tell whether this is as good as ``wanted`` in both."""
        return self.translation <= wanted.translation and self.rotation <= wanted.rotation

    def __str__(self) -> str:
        """Say it in mm and degrees."""
        return f"{self.translation * 1e3:.3g} mm and {np.rad2deg(self.rotation):.2g} deg"


WANTED = Accuracy(translation=1.5e-3, rotation=float(np.deg2rad(0.2)))
"""What errors of position and orientation are weighed by when nothing else is asked for."""


_TYPICAL_ARM = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What the views will be off by."""

    pixel: float = 0.3
    """[px] Of a corner per axis, as far as a view's board pose depends on it."""
    arm: ArmNoise = _TYPICAL_ARM

    @classmethod
    def of(cls, result: HandEyeResult) -> Noise:
        """Return the noise that a calibration found or was told."""
        return cls(pixel=result.sight_sigma, arm=result.arm_sigma)


def information(workcell: Workcell, Ts_base_flange: Floats, noise: Noise) -> Floats:
    """Return the (N, 12, 12) information each view gives about mount and holder, with the arm's noise in it.

    Args:
        workcell: Where camera and board are, as far as it is guessed.
        Ts_base_flange: (N, 4, 4)
        noise: Of corners and arm.
    """
    if len(Ts_base_flange) == 0:
        return np.zeros((0, 12, 12))
    X, Y, mount = workcell.T_mount_camera.matrix, workcell.T_holder_board.matrix, workcell.mount
    state = ChainState(X, Y, np.tile(np.eye(4), (len(Ts_base_flange), 1, 1)))
    points = board_points(workcell.board)
    nothing = BoardDetection(points_board=points, points_image=np.zeros((len(points), 2)), timestamp=0.0)
    corners = Corners([nothing] * len(Ts_base_flange), workcell.intrinsics)
    seen = corners.linearise(camera_board(state, Ts_base_flange, mount))
    D, A = derivatives(state, Ts_base_flange, mount)
    arm = np.array([noise.arm.translation] * 3 + [noise.arm.rotation] * 3) ** 2
    V = noise.pixel**2 * seen.covariance + A * arm @ np.swapaxes(A, 1, 2)
    return np.swapaxes(D, 1, 2) @ np.linalg.solve(V, D)


def knowledge(joint_covariance: Floats | None) -> Floats:
    """Return the (12, 12) information there is already, never singular."""
    return _HARDLY if joint_covariance is None else _HARDLY + batch.inverse(joint_covariance)


def choose(
    views: Floats,
    known: Floats,
    n: int,
    *,
    wanted: Accuracy = WANTED,
    criterion: Criterion = "A",
    exchanges: int = _EXCHANGES,
) -> list[int]:
    """Return the indices of ``n`` views whose information, with what is ``known``, leaves the least error of X.

    Greedy, then exchanges (Fedorov, 1972): each is taken out in turn, and the best one put in.

    Args:
        views: (M, 12, 12) information of each candidate.
        known: (12, 12) information there is already, not singular.
        n: How many to choose, at most M.
        wanted: What errors of position and orientation are weighed by.
        criterion: What is least.
        exchanges: How often each is taken out again; the order of a greedy choice is kept by 0.
    """
    chosen: list[int] = []

    def best(total: Floats) -> int:
        costs = cost(total + views, wanted, criterion)
        costs[chosen] = np.inf
        return int(np.argmin(costs))

    total = known
    for _ in range(n):
        chosen.append(best(total))
        total = total + views[chosen[-1]]
    for _ in range(exchanges):
        for _ in range(n):
            oldest = chosen.pop(0)
            total = total - views[oldest]
            chosen.append(best(total))
            total = total + views[chosen[-1]]
    return chosen


def cost(informations: Floats, wanted: Accuracy = WANTED, criterion: Criterion = "A") -> Floats:
    """Return what is to be made least (N,), for informations (N, 12, 12)."""
    camera = batch.inverse(informations)[:, :6, :6]
    if criterion == "D":
        return np.asarray(np.linalg.slogdet(camera)[1], dtype=np.float64)
    weight = np.repeat([wanted.translation**-2, wanted.rotation**-2], 3)
    return np.einsum("mii,i->m", camera, weight)


def likely_information(workcell: Workcell, candidates: Candidates, noise: Noise) -> Floats:
    """Return the (N, 12, 12) information to expect of each candidate: a view that may be lost counts for less."""
    return information(workcell, candidates.Ts_base_flange, noise) * candidates.chance[:, None, None]
