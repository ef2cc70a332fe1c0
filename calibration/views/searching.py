"""First views for a camera nobody has placed: find the board in the picture, then move a little about it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from calibration.hand_eye.values import HandEyeView
from calibration.views.candidates import inside_limits
from calibration.views.clearance import Clearance
from calibration.views.collecting import Sighting
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Floats

_DIRECTIONS = 40
"""Of the flange's axis, over the whole sphere: neighbours are 30 degrees apart, and a board is read to 60."""
_ROLLS = (0.0, 0.5 * np.pi)
"""[rad] About the flange's axis, for boards that do not face along it."""
_SHIFTS = ((0.0, 0.0, 0.0), (0.1, -0.2, 0.1), (0.1, 0.2, 0.1), (-0.1, 0.0, 0.2), (0.1, 0.0, -0.15))
"""[m] Of the flange from its place at the start, in base axes."""
_TURN = np.deg2rad(18.0)
_TURNS = (
    (1.0, 0.0, 0.0),
    (-1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, -1.0, 0.0),
    (0.7, 0.7, 1.5),
    (-0.7, 0.7, -1.5),
    (0.7, -0.7, -1.5),
    (-0.7, -0.7, 1.5),
)
"""Axis times share of the turn above, in the flange frame."""
_SMALLER = (1.0, 0.5, 0.25)
"""What is left of a turn that loses the board, when tried again."""
_NEAREST = 8
"""Postures to which a straight path is looked for before going by the start."""
_FARTHEST = 1.2
"""[rad] Joint motion beyond which a small turn has become another posture."""


def find_first_views(
    observe: Callable[[Floats], Sighting],
    robot: RobotModel,
    solver: HybridSolver,
    q_start: Floats,
    *,
    count: int = 6,
    floor: float | None = 0.0,
    most_looks: int = 100,
) -> list[HandEyeView]:
    """Return ``count`` views of small turns about a posture in which the board is seen.

    They serve for a rough calibration that views can be planned with; being close to each other,
    they share much of the arm's error and do not belong into the final one.

    When the board is not seen at the start, the arm shows its flange in all directions, near
    postures first, until it is. Nothing has to be known about where the camera is.

    Args:
        observe: An ``Observer``, or anything that looks from a posture.
        robot: The arm.
        solver: Its inverse kinematics.
        q_start: (n,) where the arm stands [rad], [m].
        count: Views wanted.
        floor: Height of the table in the base frame [m]; None where there is none.
        most_looks: Postures tried before giving up.

    Raises:
        CalibrationError: The board is not found, or lost by every turn.
    """
    clearance = Clearance(robot=robot, floor=floor)
    first = _look_around(observe, robot, solver, np.asarray(q_start, dtype=np.float64), clearance, most_looks)
    views = [view for view in (first.view,) if view is not None]
    for axis in _TURNS:
        for share in _SMALLER:
            if len(views) >= count:
                return views
            q = _turned(first, np.asarray(axis) * _TURN * share, robot, solver, clearance)
            view = None if q is None else observe(q).view
            if view is not None:
                views.append(view)
                break
    if len(views) < min(count, 4):
        raise CalibrationError(
            f"The board was seen in {len(views)} of the small turns about the first sighting; 4 are needed.",
            "Start from a posture in which the camera sees the whole board with room around it.",
            seen=len(views),
        )
    return views


def _look_around(
    observe: Callable[[Floats], Sighting],
    robot: RobotModel,
    solver: HybridSolver,
    q_start: Floats,
    clearance: Clearance,
    most_looks: int,
) -> Sighting:
    """Return the first sighting of the board, from the start or from a search over the flange's poses."""
    sighting = observe(q_start)
    looks = 1
    if sighting.detection is not None:
        return sighting
    q = sighting.q
    left = _search_postures(robot, solver, q_start, clearance)
    while len(left) and looks < most_looks:
        order = np.argsort(np.abs((left - q) / robot.velocity).max(axis=1), kind="stable")
        straight = next((i for i in order[:_NEAREST] if clearance.paths_clear(q, left[i : i + 1])[0]), None)
        chosen = order[0] if straight is None else straight
        sighting = observe(np.stack([q_start, left[chosen]]) if straight is None else left[chosen])
        looks += 1
        if sighting.detection is not None:
            return sighting
        q, left = left[chosen], np.delete(left, chosen, axis=0)
    raise CalibrationError(
        f"The board was not seen from any of {looks} postures.",
        "Check that the camera looks at the arm, the light, and that the board's family and size are the ones given; "
        "or start from a posture in which the camera sees the board.",
        looks=looks,
    )


def _search_postures(robot: RobotModel, solver: HybridSolver, q_start: Floats, clearance: Clearance) -> Floats:
    """Return reachable postures (N, n) that turn the flange every way, at a few places."""
    place = robot.forward(q_start)[:3, 3]
    k = np.arange(_DIRECTIONS) + 0.5
    # Fibonacci sphere.
    polar, azimuth = np.arccos(1.0 - 2.0 * k / _DIRECTIONS), np.pi * (1.0 + np.sqrt(5.0)) * k
    Ts = [
        Transform.from_parts((Rotation.from_euler("ZYZ", [a, p, roll])).as_matrix(), place + np.asarray(shift)).matrix
        for shift in _SHIFTS
        for roll in _ROLLS
        for a, p in zip(azimuth, polar, strict=True)
    ]
    solved = solver.solve_batch(np.stack(Ts) @ solver.T_flange_tool.matrix, q_start)
    reached = solved.q[solved.converged]
    reached = reached[clearance.clear(reached)]
    return reached[clearance.paths_clear(q_start, reached)] if clearance.clear(q_start[None])[0] else reached


def _turned(
    first: Sighting, turn: Floats, robot: RobotModel, solver: HybridSolver, clearance: Clearance
) -> Floats | None:
    """Return the posture with the flange turned in place by a rotation vector, None when it is out of reach."""
    T = first.T_base_flange @ Transform.exp(np.concatenate([np.zeros(3), turn]))
    solution = solver.solve(T @ solver.T_flange_tool, first.q)
    near = np.abs(solution.q - first.q).max() < _FARTHEST
    inside = inside_limits(robot, solution.q[None])[0]
    if not (solution.converged and near and inside and clearance.paths_clear(first.q, solution.q[None])[0]):
        return None
    return solution.q
