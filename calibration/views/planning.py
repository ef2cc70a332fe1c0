"""Which postures to show the board in: the ones that make the camera's pose surest.

Candidates are drawn where the camera sees the board well, turned into postures by inverse
kinematics, and chosen greedily with exchanges (Fedorov, 1972) so that the trace of the predicted
covariance is least (A-optimal): ten planned views tell as much as twenty to thirty random ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import batch
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.values import ArmNoise
from calibration.views.candidates import Workcell, board_points
from calibration.views.clearance import Clearance
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel
from vision_ik.transforms import TransformLike, as_transform
from vision_ik.types import Board, BoardDetection, CameraIntrinsics, Floats

_WANTED_TRANSLATION = 1.5e-3
"""[m] Errors of the camera's position and orientation are weighed ..."""
_WANTED_ROTATION = np.deg2rad(0.2)
"""[rad] ... by what is wanted of each."""
_EXCHANGES = 2
_TYPICAL_ARM = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))


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
    pixel_sigma: float = 0.3,
    arm_sigma: ArmNoise = _TYPICAL_ARM,
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
        q_start: Where the arm stands; home by default. Postures near it are preferred.
        joint_covariance: (12, 12) of both guesses when views were taken already; their knowledge counts.
        pixel_sigma: Expected noise of a corner [px].
        arm_sigma: Expected noise of the arm.
        floor: Height of the table in the base frame [m]; None where there is none.
        samples: Board poses drawn.
        seed: Of the drawing.

    Raises:
        CalibrationError: Fewer than ``n`` postures show the board.
    """
    X, Y = as_transform(T_mount_camera), as_transform(T_holder_board)
    start = np.asarray(robot.home if q_start is None else q_start, dtype=np.float64)
    workcell = Workcell(
        solver=solver, intrinsics=intrinsics, board=board, mount=mount, T_mount_camera=X, T_holder_board=Y, floor=floor
    )
    postures = workcell.postures(start, samples, np.random.default_rng(seed))
    if len(postures) < n:
        raise CalibrationError(
            f"Only {len(postures)} of {samples} board poses in view of the camera can be reached; {n} are wanted.",
            "Move the camera or the board so that the arm can show the board in more of the picture, or ask for fewer.",
            reachable=len(postures),
        )
    state = ChainState(X.matrix, Y.matrix, np.tile(np.eye(4), (len(postures), 1, 1)))
    flanges = robot.forward(postures)
    views = _information(state, flanges, mount, board, intrinsics, pixel_sigma, arm_sigma)
    known = np.diag(np.tile([1.0, 1.0, 1.0, 0.1, 0.1, 0.1], 2))  # a metre and a few radians: next to nothing
    if joint_covariance is not None:
        known = known + batch.inverse(joint_covariance)
    chosen = choose(views, known, n)
    covariance = batch.inverse(known + views[chosen].sum(axis=0))
    order = _shortest_tour(postures[chosen], start, robot.velocity)
    chosen = [chosen[i] for i in order]
    return ViewPlan(
        postures=postures[chosen],
        ways=_ways(postures[chosen], start, workcell.clearance),
        Ts_camera_board=camera_board(state, flanges, mount)[chosen],
        sigma_translation=float(np.sqrt(np.trace(covariance[:3, :3]))),
        sigma_rotation=float(np.sqrt(np.trace(covariance[3:6, 3:6]))),
        candidates=len(postures),
    )


def choose(views: Floats, known: Floats, n: int) -> list[int]:
    """Return the indices of ``n`` views whose information, with what is ``known``, leaves the least error of X.

    Args:
        views: (M, 12, 12) information of each candidate.
        known: (12, 12) information there is already, not singular.
        n: How many to choose, at most M.
    """
    weight = np.repeat([_WANTED_TRANSLATION**-2, _WANTED_ROTATION**-2], 3)
    chosen: list[int] = []

    def best(information: Floats) -> int:
        covariances = batch.inverse(information + views)
        cost = np.einsum("mii,i->m", covariances[:, :6, :6], weight)
        cost[chosen] = np.inf
        return int(np.argmin(cost))

    total = known
    for _ in range(n):
        chosen.append(best(total))
        total = total + views[chosen[-1]]
    for _ in range(_EXCHANGES):
        for _ in range(n):
            oldest = chosen.pop(0)
            total = total - views[oldest]
            chosen.append(best(total))
            total = total + views[chosen[-1]]
    return chosen


def _information(
    state: ChainState,
    flanges: Floats,
    mount: Mount,
    board: Board,
    intrinsics: CameraIntrinsics,
    pixel_sigma: float,
    arm_sigma: ArmNoise,
) -> Floats:
    """Return the (M, 12, 12) information each view gives about both unknowns, arm noise taken into account."""
    points = board_points(board)
    nothing = BoardDetection(points_board=points, points_image=np.zeros((len(points), 2)), timestamp=0.0)
    seen = Corners([nothing] * len(flanges), intrinsics).linearise(camera_board(state, flanges, mount))
    D, A = derivatives(state, flanges, mount)
    arm = np.array([arm_sigma.translation] * 3 + [arm_sigma.rotation] * 3) ** 2
    V = pixel_sigma**2 * seen.covariance + A * arm @ np.swapaxes(A, 1, 2)
    return np.swapaxes(D, 1, 2) @ np.linalg.solve(V, D)


def _ways(postures: Floats, start: Floats, clearance: Clearance) -> tuple[Floats, ...]:
    """Return the way to each posture: straight where nothing is touched, else by the start."""
    ways: list[Floats] = []
    before = start
    for posture in postures:
        straight = clearance.paths_clear(before, posture[None])[0]
        ways.append(posture[None] if straight else np.stack([start, posture]))
        before = posture
    return tuple(ways)


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
