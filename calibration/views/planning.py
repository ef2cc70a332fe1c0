"""Which postures to show the board in: the ones that make the camera's pose surest.

Candidates are drawn where the camera sees the board well, turned into postures by inverse
kinematics, and chosen greedily with exchanges (Fedorov, 1972) so that the trace of the predicted
covariance is least (A-optimal); then each is moved about where it is, as long as that tells more:
ten planned views tell as much as twenty to thirty random ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import batch
from calibration.hand_eye.values import ArmNoise
from calibration.views.candidates import Candidates, Workcell
from calibration.views.clearance import Clearance
from calibration.views.information import (
    WANTED,
    Accuracy,
    Criterion,
    Noise,
    choose,
    information,
    knowledge,
    likely_information,
)
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel
from vision_ik.transforms import TransformLike, as_transform
from vision_ik.types import Board, CameraIntrinsics, Floats

_TYPICAL = Noise()
_SPREADS = (0.2, 0.1, 0.1, 0.05, 0.05)
"""How far about the chosen views better ones are looked for, one round each: [rad], and as share of the distance."""
_DRAWN_ABOUT = 40
"""Board poses drawn about each chosen view in a round."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ViewPlan:
    """Postures to visit, in order, and what they promise."""

    postures: Floats
    """(n, joints) [rad], [m], ordered for short ways."""
    ways: tuple[Floats, ...]
    """Per posture, the (K, joints) corners of the way to it from the one before (the start for the
    first), straight in joint space between them; the last one is the posture."""
    Ts_camera_board: Floats
    """(n, 4, 4) where the board will be seen, if the guess is right."""
    sigma_translation: float
    """Predicted root mean square error of the camera's position after these views [m]."""
    sigma_rotation: float
    """Same, of its orientation [rad]."""
    candidates: int
    """Reachable postures with the board in view that there were to choose from."""


def plan_views(
    robot: RobotModel,
    solver: HybridSolver,
    intrinsics: CameraIntrinsics,
    board: Board,
    *,
    T_mount_camera: TransformLike,
    T_holder_board: TransformLike,
    mount: Mount = "eye_to_hand",
    n: int = 15,
    q_start: Floats | None = None,
    joint_covariance: Floats | None = None,
    guess_covariance: Floats | None = None,
    pixel_sigma: float = _TYPICAL.pixel,
    arm_sigma: ArmNoise = _TYPICAL.arm,
    wanted: Accuracy = WANTED,
    criterion: Criterion = "A",
    floor: float | None = 0.0,
    samples: int = 4000,
    seed: int = 0,
) -> ViewPlan:
    """Choose ``n`` postures that show the board so that the calibration becomes surest.

    Args:
        robot: The arm.
        solver: Its inverse kinematics.
        intrinsics: The lens.
        board: The board's layout.
        T_mount_camera: Guess of T_base_camera (eye to hand) or T_flange_camera (eye in hand).
        T_holder_board: Guess of T_flange_board (eye to hand) or T_base_board (eye in hand).
        mount: Who carries the camera.
        n: Number of views.
        q_start: Where the arm stands; home by default.
        joint_covariance: (12, 12) of both guesses when views were taken already; their knowledge counts.
        guess_covariance: (12, 12) of both guesses, when they may be far off: the board is kept away from the
            picture's border accordingly. ``joint_covariance`` by default.
        pixel_sigma: Expected noise of a corner [px].
        arm_sigma: Expected noise of the arm.
        wanted: What errors of position and orientation are weighed by.
        criterion: "A" for the least sum of variances, "D" for the least volume of the uncertainty.
        floor: Height of the table in the base frame [m]; None where there is none.
        samples: Board poses drawn.
        seed: Of the drawing.

    Raises:
        CalibrationError: Fewer than ``n`` postures show the board.
    """
    start = np.asarray(robot.home if q_start is None else q_start, dtype=np.float64)
    workcell = Workcell(
        solver=solver,
        intrinsics=intrinsics,
        board=board,
        mount=mount,
        T_mount_camera=as_transform(T_mount_camera),
        T_holder_board=as_transform(T_holder_board),
        guess_covariance=joint_covariance if guess_covariance is None else guess_covariance,
        floor=floor,
    )
    rng = np.random.default_rng(seed)
    candidates = workcell.candidates(start, samples, rng)
    if len(candidates) < n:
        raise CalibrationError(
            f"Only {len(candidates)} of {samples} board poses in view of the camera can be reached; {n} are wanted.",
            "Move the camera or the board so that the arm can show the board in more of the picture, or ask for fewer.",
            reachable=len(candidates),
        )
    noise = Noise(pixel=pixel_sigma, arm=arm_sigma)
    known = knowledge(joint_covariance)
    chosen = design(
        workcell, candidates, known, n, start=start, noise=noise, wanted=wanted, criterion=criterion, rng=rng
    )
    order = _shortest_tour(chosen.postures, start, robot.velocity)
    chosen = chosen.select(np.array(order))
    views = information(workcell, chosen.Ts_base_flange, noise)
    promised = Accuracy.of(batch.inverse(known + views.sum(axis=0)))
    return ViewPlan(
        postures=chosen.postures,
        ways=_ways(chosen.postures, start, workcell.clearance),
        Ts_camera_board=chosen.Ts_camera_board,
        sigma_translation=promised.translation,
        sigma_rotation=promised.rotation,
        candidates=len(candidates),
    )


def design(
    workcell: Workcell,
    candidates: Candidates,
    known: Floats,
    n: int,
    *,
    start: Floats,
    noise: Noise,
    wanted: Accuracy = WANTED,
    criterion: Criterion = "A",
    rng: np.random.Generator,
) -> Candidates:
    """Return the ``n`` views that together tell most: the best candidates, then the best close to those.

    Args:
        workcell: Who can see what from where.
        candidates: At least ``n``.
        known: (12, 12) information there is already, not singular.
        n: How many views.
        start: (joints,) where the arm stands [rad], [m].
        noise: Of corners and arm.
        wanted: What errors of position and orientation are weighed by.
        criterion: What is least.
        rng: Source of chance.
    """
    chosen = candidates.select(
        np.array(choose(likely_information(workcell, candidates, noise), known, n, wanted=wanted, criterion=criterion))
    )
    for spread in _SPREADS:
        pool = chosen.joined(workcell.around(chosen, start, _DRAWN_ABOUT, rng, spread))
        views = likely_information(workcell, pool, noise)
        chosen = pool.select(np.array(choose(views, known, n, wanted=wanted, criterion=criterion)))
    return chosen


def _ways(postures: Floats, start: Floats, clearance: Clearance) -> tuple[Floats, ...]:
    """Return the way to each posture: straight where nothing is touched, else by the start."""
    ways: list[Floats] = []
    before = start
    for posture in postures:
        ways.append(way_between(before, posture, start, clearance))
        before = posture
    return tuple(ways)


def way_between(q_from: Floats, q_to: Floats, home: Floats, clearance: Clearance) -> Floats:
    """Return the (K, joints) corners of the way to ``q_to``: straight where nothing is touched, else by ``home``."""
    straight = clearance.paths_clear(q_from, q_to[None])[0]
    return q_to[None] if straight else np.stack([home, q_to])


def _shortest_tour(postures: Floats, start: Floats, velocity: Floats) -> list[int]:
    """Return the order that visits all postures from ``start`` in short time: nearest neighbour, then 2-opt."""
    stops = np.vstack([start, postures]) / velocity
    time = np.abs(stops[:, None] - stops[None]).max(axis=2)
    tour = [0]
    left = set(range(1, len(stops)))
    while left:
        tour.append(min(left, key=lambda i: time[tour[-1], i]))
        left.remove(tour[-1])
    improved = True
    while improved:
        improved = False
        for i in range(1, len(tour) - 1):
            for j in range(i + 1, len(tour)):
                turned = [*tour[:i], *reversed(tour[i : j + 1]), *tour[j + 1 :]]
                if _length(turned, time) < _length(tour, time) - 1e-9:
                    tour, improved = turned, True
    return [i - 1 for i in tour[1:]]


def _length(tour: list[int], time: Floats) -> float:
    return float(time[tour[:-1], tour[1:]].sum())
