"""Touch here: the tip is sent above points of a board, and someone measures by how much it misses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from calibration import batch
from calibration.hand_eye.values import ArmNoise
from calibration.tool.values import ToolResult
from calibration.validation.values import CheckReport, Tolerance, Touch, rms, skipped
from calibration.views.candidates import inside_limits
from calibration.views.clearance import Clearance
from calibration.views.sights import board_points, outline
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver
from vision_ik.transforms import Transform, TransformLike, as_transform, compose_covariance
from vision_ik.types import Board, Floats

_HOVER = 0.06
"""[m] Above the standoff: where the tip travels from point to point."""
_TILTS_DEG = (0.0, 15.0, 30.0)
"""Of the tool from the board's normal, tried in this order ..."""
_AZIMUTHS, _TURNS = 4, 8
"""... in so many directions, with so many turns of the tool about itself."""
_LIMIT_MARGIN = 0.05
"""[rad], [m]"""
_LARGEST_JUMP = 1.0
"""[rad] Of a joint between hovering and standing above the point: more is another branch of the arm."""
_LEAST = 3
_MOST_TRIED = 40
"""Points of the board, far apart ones first."""
_CHANCE = 0.01


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TouchPoint:
    """One point to touch."""

    name: str
    p_board: Floats
    """(3,) [m]"""
    p_base: Floats
    """(3,) where the calibration says it is [m]."""
    T_base_tool: Transform
    """Commanded: the tip a standoff before the point, the tool's z axis pointing to it."""
    way: Floats
    """(K, n) postures to go through: above the last point, above this one, and down to ``T_base_tool``."""
    back: Floats
    """(n,) posture above this point, to leave by."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TouchTest:
    """Points of a board to touch, and what their errors should be."""

    points: tuple[TouchPoint, ...]
    standoff: float
    """[m] The tip stops so far before the board."""
    T_base_board: Transform
    covariance: Floats
    """(6, 6) of T_base_board, tangent at the pose, (v, w) [m, rad], with the camera's."""
    tip_covariance: Floats
    """(3, 3) of the tip in the base frame about where it was commanded, arm and tool, shared and not [m^2]."""

    def predicted(self, p_board: Floats) -> Floats:
        """Return the (3, 3) covariance of tip less point in board axes [m^2]."""
        J = np.concatenate([np.eye(3), -batch.skews(p_board)], axis=1)
        R = self.T_base_board.rotation
        return J @ self.covariance @ J.T + R.T @ self.tip_covariance @ R

    def judge(self, measured: Mapping[str, Floats], tolerance: Tolerance | None = None) -> CheckReport:
        """Judge what was measured.

        Args:
            measured: By name of the point, where the tip was less where the point is, in board axes: (2,) across
                with a ruler, or (3,), the standoff taken out [m].
            tolerance: What the task can bear.
        """
        return _judge([self._touch(name, np.asarray(offset)) for name, offset in measured.items()], self, tolerance)

    def truth(self, reached: Mapping[str, TransformLike], T_base_board: TransformLike) -> dict[str, Floats]:
        """Return what would be measured, from true poses of the tool and the board, as a simulation knows them.

        Args:
            reached: True T_base_tool by name of the point.
            T_base_board: The true one.
        """
        board = as_transform(T_base_board)
        offsets: dict[str, Floats] = {}
        for point in self.points:
            if point.name in reached:
                tip = as_transform(reached[point.name]) @ Transform.from_translation([0.0, 0.0, self.standoff])
                offsets[point.name] = board.inv().apply(tip.translation) - point.p_board
        return offsets

    def _touch(self, name: str, offset: Floats) -> Touch:
        point = next((point for point in self.points if point.name == name), None)
        if point is None:
            known = ", ".join(point.name for point in self.points)
            raise CalibrationError(f"There is no point {name} in this test.", f"Points are {known}.", point=name)
        if offset.shape not in ((2,), (3,)) or not np.isfinite(offset).all():
            raise ValueError(f"The offset at {name} must be two or three finite numbers, not {offset!r}.")
        told = np.full(3, np.nan)
        told[: len(offset)] = offset
        C = self.predicted(point.p_board)[: len(offset), : len(offset)]
        return Touch(name=name, p_base=point.p_base, offset=told, sigma=float(np.sqrt(np.trace(C))))


def plan_touch_test(
    board: Board,
    T_base_board: TransformLike,
    solver: HybridSolver,
    *,
    covariance: Floats,
    tool: ToolResult | None = None,
    arm_sigma: ArmNoise | None = None,
    q_start: Floats,
    count: int = 5,
    standoff_mm: float = 5.0,
    floor: float | None = 0.0,
) -> TouchTest:
    """Choose well-spread points of a board that the tip can reach, and the ways there.

    The arm travels above the board and comes down along the tool's axis, clear of table and itself;
    ``Mover`` takes the ways at a bounded speed. Nothing touches anything: the tip stops ``standoff_mm`` before.

    Args:
        board: Lying still where the tip can reach it.
        T_base_board: Where the calibration says it is.
        solver: Inverse kinematics, with the tool's place (``T_flange_tool``).
        covariance: (6, 6) of T_base_board, as of ``compose_covariance`` of camera and sighting.
        tool: How sure the tool is; None takes it as exact.
        arm_sigma: Noise of the arm.
        q_start: (n,) where the arm stands.
        count: Points, three to five.
        standoff_mm: Between tip and board.
        floor: Height of the table in the base frame [m]; None where there is none.

    Raises:
        CalibrationError: Fewer than three points can be reached.
    """
    if not _LEAST <= count:
        raise ValueError(f"A touch test needs at least {_LEAST} points, not {count}.")
    pose, standoff = as_transform(T_base_board), 1e-3 * standoff_mm
    clearance = Clearance(robot=solver.robot, floor=floor)
    where = _spread(np.unique(np.round(np.concatenate([board_points(board), outline(board)]), 9), axis=0))
    where = where[np.linalg.norm(pose.apply(where), axis=1) < _reach_of(solver)][:_MOST_TRIED]
    points: list[TouchPoint] = []
    q = np.asarray(q_start, dtype=np.float64)
    for p_board in where:
        found = _reach(pose, p_board, solver, clearance, q, standoff)
        if found is None:
            continue
        T_base_tool, hover, low = found
        points.append(
            TouchPoint(
                name=f"P{len(points) + 1}",
                p_board=p_board,
                p_base=pose.apply(p_board),
                T_base_tool=T_base_tool,
                way=np.stack([hover, low]) if not points else np.stack([q, hover, low]),
                back=hover,
            )
        )
        q = hover
        if len(points) == count:
            break
    if len(points) < _LEAST:
        raise CalibrationError(
            f"The tip can reach only {len(points)} points of the board without touching anything else.",
            "Lay the board flat, half an arm's length before the base.",
            reached=len(points),
        )
    return TouchTest(
        points=tuple(points),
        standoff=standoff,
        T_base_board=pose,
        covariance=np.asarray(covariance, dtype=np.float64),
        tip_covariance=_tip_covariance(solver.T_flange_tool, points[0].T_base_tool, tool, arm_sigma),
    )


def seen_board(
    T_base_camera: Transform, camera_covariance: Floats | None, T_camera_board: Transform, covariance: Floats
) -> tuple[Transform, Floats]:
    """Return T_base_board from a sighting, and its (6, 6) covariance with that of the camera's place.

    Args:
        T_base_camera: The camera's place; for a camera on the flange, of that moment.
        camera_covariance: (6, 6) of it; None takes it as exact.
        T_camera_board: The sighting ...
        covariance: ... and its covariance (6, 6), as in ``PoseEstimate``.
    """
    camera = np.zeros((6, 6)) if camera_covariance is None else camera_covariance
    return T_base_camera @ T_camera_board, compose_covariance(T_camera_board, camera, covariance)


def _reach(
    T_base_board: Transform,
    p_board: Floats,
    solver: HybridSolver,
    clearance: Clearance,
    q: Floats,
    standoff: float,
) -> tuple[Transform, Floats, Floats] | None:
    """Return the pose of the tool before a point, with postures above and at it; None where there is no way."""
    p = T_base_board.apply(p_board)
    away = T_base_board.rotation[:, 2]
    # Boards count z into the paper or out of it: the side that looks up, or else to the arm, is the printed one.
    away = away if away @ (np.array([0.0, 0.0, 1.0]) - p / max(float(np.linalg.norm(p)), 1e-9)) >= 0 else -away
    turned = _orientations(away)
    low = np.tile(np.eye(4), (len(turned), 1, 1))
    low[:, :3, :3] = turned
    low[:, :3, 3] = p - standoff * turned[:, :, 2]
    high = low.copy()
    high[:, :3, 3] -= _HOVER * turned[:, :, 2]
    above = solver.solve_batch(high, q)
    good = above.converged & inside_limits(solver.robot, above.q, _LIMIT_MARGIN)
    good[good] = clearance.clear(above.q[good])
    for i in np.flatnonzero(good):
        down = solver.solve(low[i], above.q[i])
        if not down.converged or float(np.abs(down.q - above.q[i]).max()) > _LARGEST_JUMP:
            continue
        if not inside_limits(solver.robot, down.q[None], _LIMIT_MARGIN)[0]:
            continue
        if _clear_way(clearance, q, above.q[i], down.q):
            return Transform(low[i]), above.q[i].copy(), np.array(down.q)
    return None


def _reach_of(solver: HybridSolver) -> float:
    """Return a distance [m] from the base that the tip cannot exceed."""
    robot = solver.robot
    slides = float(np.sum(np.abs(np.stack([robot.sample_lower, robot.sample_upper])).max(axis=0)[robot.prismatic]))
    links = float(np.linalg.norm(robot.fixed[:, :3, 3], axis=1).sum())
    return links + slides + float(np.linalg.norm(solver.T_flange_tool.translation))


def _clear_way(clearance: Clearance, q: Floats, above: Floats, low: Floats) -> bool:
    """Return whether the straight ways in joint space touch nothing; a start that touches something is there anyway."""
    travels = bool(clearance.paths_clear(q, above[None])[0]) or not bool(clearance.clear(q[None])[0])
    return travels and bool(clearance.paths_clear(above, low[None])[0])


def _orientations(away: Floats) -> Floats:
    """Return (N, 3, 3) of a tool that points at a board with its normal ``away`` towards the arm, upright first."""
    z = -away
    x = np.cross(np.array([0.0, 1.0, 0.0]), z)
    x = x if np.linalg.norm(x) > 0.1 else np.cross(np.array([1.0, 0.0, 0.0]), z)
    x /= np.linalg.norm(x)
    upright = np.column_stack([x, np.cross(z, x), z])
    turns = Rotation.from_euler("z", 360.0 * np.arange(_TURNS)[:, None] / _TURNS, degrees=True)
    found: list[Floats] = []
    for tilt in _TILTS_DEG:
        for azimuth in 2.0 * np.pi * np.arange(_AZIMUTHS if tilt else 1) / _AZIMUTHS:
            lean = Rotation.from_rotvec(np.deg2rad(tilt) * np.array([np.cos(azimuth), np.sin(azimuth), 0.0]))
            found.append(upright @ (lean * turns).as_matrix())
    return np.concatenate(found)


def _spread(points: Floats) -> Floats:
    """Return the points (N, 3) in an order in which the first few are always far apart."""
    middle = points.mean(axis=0)
    order = [int(np.argmax(np.linalg.norm(points - middle, axis=1)))]
    nearest = np.linalg.norm(points - points[order[0]], axis=1)
    while len(order) < len(points):
        order.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[order[-1]], axis=1))
        nearest[order] = -1.0
    return points[order]


def _tip_covariance(
    T_flange_tool: Transform, T_base_tool: Transform, tool: ToolResult | None, arm_sigma: ArmNoise | None
) -> Floats:
    """Return the (3, 3) covariance of the tip in the base frame [m^2]."""
    noise = ArmNoise(translation=0.0, rotation=0.0) if arm_sigma is None else arm_sigma
    arm = np.diag(np.repeat([noise.translation, noise.rotation], 3) ** 2)
    own = np.zeros((6, 6)) if tool is None else tool.covariance
    R = T_base_tool.rotation
    return R @ compose_covariance(T_flange_tool, arm, own)[:3, :3] @ R.T


def _judge(touches: Sequence[Touch], test: TouchTest, tolerance: Tolerance | None) -> CheckReport:
    if not touches:
        return skipped("touch test", "No point was touched.")
    error, sigma = rms([touch.error for touch in touches]), rms([touch.sigma for touch in touches])
    squares = np.array([_square(touch, test) for touch in touches])
    axes = int(np.isfinite(touches[0].offset).sum())
    # Camera and tool are off by the same at all points: judged as one touch would be.
    consistent = float(squares.mean()) < float(chi2.isf(_CHANCE, axes))
    bound = None if tolerance is None else tolerance.translation
    passed = None if bound is None else error <= bound
    mean = np.nanmean([touch.offset[:2] for touch in touches], axis=0)
    verdict = {True: " Within the tolerance.", False: " More than the tolerance.", None: ""}[passed]
    doubt = ""
    if not consistent:
        doubt = (
            f" The stated uncertainty does not explain so much; on average the tip lies ({1e3 * mean[0]:.1f}, "
            f"{1e3 * mean[1]:.1f}) mm off along the board's axes: check tool and camera."
        )
    return CheckReport(
        name="touch test",
        error=error,
        sigma=sigma,
        worst=max(touch.error for touch in touches),
        count=len(touches),
        passed=passed,
        consistent=consistent,
        sentence=f"The tip misses {len(touches)} points of the board by {1e3 * error:.2f} mm rms; "
        f"{1e3 * sigma:.2f} mm are to be expected.{verdict}{doubt}",
    )


def _square(touch: Touch, test: TouchTest) -> float:
    told: NDArray[np.bool_] = np.isfinite(touch.offset)
    p_board = test.T_base_board.inv().apply(touch.p_base)
    C = test.predicted(p_board)[np.ix_(told, told)]
    offset = touch.offset[told]
    return float(offset @ np.linalg.solve(C + 1e-12 * np.eye(len(C)), offset))
