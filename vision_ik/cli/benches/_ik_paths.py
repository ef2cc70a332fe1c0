"""Smooth Cartesian paths, followed target by target: does the arm leap where it could have gone on?

Paths are made by smooth joint motions, so that each has a continuous solution. A step is a leap if it is longer than
0.1 rad and three times that motion's own step; it was avoidable if another solution is at most half as far from where
the arm stood: the motion's posture, the end of minimum-norm steps along the finely divided path, or one of all
solutions listed closely spaced. A redundant arm may have drifted to where every way on is long: such leaps are
counted, too, beside the avoidable ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vision_ik.cli.benches import Figure, Table
from vision_ik.cli.benches._ik_judge import TOLERANCE_M, TOLERANCE_RAD, pose_distance
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

_LEAP = 0.1
"""[rad] Shorter steps are no leaps ..."""
_LONGER = 3.0
"""... nor are those up to this many times the step of the joints that made the path."""
_FARTHER = 0.5
"""Another solution so much nearer makes a leap an avoidable one."""
_SPACING, _MOST = 0.02, 2048
"""[rad] Of listed solutions, and how many at most."""
_STEPS = 1000
_FINE = 20
"""Parts of one step in which the fine tracker goes."""


@dataclass(slots=True, kw_only=True)
class Course:
    """How paths were followed; sums and maxima over all of them."""

    leaps: int = 0
    avoidable: int = 0
    missed: int = 0
    """Targets not reached."""
    largest: float = 0.0
    """[rad] The largest step of a joint ..."""
    possible: float = 0.0
    """... and the smallest known to be possible there [rad]."""
    made: float = 0.0
    """[rad] The largest step of the joints that made the paths."""


def paths(arms: tuple[str, ...], count: int) -> list[Figure | Table]:
    """Follow ``count`` paths on each arm."""
    courses: dict[str, Course] = {}
    for name in arms:
        solver, rng = load_solver(name), np.random.default_rng(5)
        courses[name] = Course()
        for _ in range(count):
            follow(solver, smooth_motion(solver.robot, rng), courses[name])
    avoidable, missed = (sum(getattr(course, what) for course in courses.values()) for what in ("avoidable", "missed"))
    return [
        Figure(
            name="paths: leaps although a continuous solution exists",
            value=avoidable,
            target="none, and every target reached",
            met=avoidable == 0 and missed == 0,
            note=f"{count} paths of {_STEPS} steps on each of {len(arms)} arms; {missed} targets not reached",
        ),
        Table(
            name="following smooth Cartesian paths",
            columns=(
                "arm",
                "leaps",
                "avoidable",
                "not reached",
                "largest step [rad]",
                "smallest possible there [rad]",
                "largest of the joints that made the paths [rad]",
            ),
            rows=tuple(
                (name, it.leaps, it.avoidable, it.missed, it.largest, it.possible, it.made)
                for name, it in courses.items()
            ),
            note=f"{count} paths of {_STEPS} steps; a leap: a step above {_LEAP:g} rad and {_LONGER:g} times that of "
            "the joints that made the path; avoidable: another solution is at most half as far from there",
        ),
    ]


def follow(solver: HybridSolver, motion: Floats, course: Course) -> None:
    """Follow the path of the joint motion ``motion`` (steps, n), and add to ``course``."""
    q = motion[0]
    longest, at = -1.0, (q, 1)
    for k, T in enumerate(solver.robot.forward(motion[1:]), start=1):
        solution = solver.solve(T, q)
        course.missed += not solution.converged
        step, made = _farthest(solution.q, q), _farthest(motion[k], motion[k - 1])
        course.made = max(course.made, made)
        if step > longest:
            longest, at = step, (q, k)
        if step > max(_LEAP, _LONGER * made):
            course.leaps += 1
            course.avoidable += _smallest(solver, motion, k, q) <= _FARTHER * step
        q = solution.q
    if longest > course.largest:
        course.largest, course.possible = longest, min(longest, _smallest(solver, motion, at[1], at[0]))


def _smallest(solver: HybridSolver, motion: Floats, k: int, q: Floats) -> float:
    """Return the smallest step from ``q`` (n,) to the pose of row ``k`` of ``motion`` that is known [rad]."""
    T = solver.robot.forward(motion[k])
    known = [motion[k], *(other.q for other in solver.solve_all(T, q, spacing=_SPACING, most=_MOST))]
    fine = track(solver.robot, motion[k - 1], motion[k], q)
    return min(_farthest(other, q) for other in (known if fine is None else [*known, fine]))


def track(robot: RobotModel, begin: Floats, end: Floats, q: Floats) -> Floats | None:
    """Go from ``q`` along the poses between two postures (n,), by small steps of minimum norm inside the limits.

    Returns:
        Where it ends; None where that is not the pose of ``end``.
    """
    for share in np.linspace(0.0, 1.0, _FINE + 1)[1:]:
        T = robot.forward(begin + share * (end - begin))
        for _ in range(4):
            off = robot.forward(q)
            turn = Rotation.from_matrix(T[:3, :3] @ off[:3, :3].T).as_rotvec()
            error = np.concatenate([T[:3, 3] - off[:3, 3], turn])
            q = np.clip(q + np.linalg.pinv(robot.jacobian(q), rcond=1e-6) @ error, robot.lower, robot.upper)
    metres, radians = pose_distance(robot.forward(q)[None], robot.forward(end)[None])
    return q if metres[0] <= TOLERANCE_M and radians[0] <= TOLERANCE_RAD else None


def _farthest(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).max())


def smooth_motion(robot: RobotModel, rng: np.random.Generator) -> Floats:
    """Return (steps, n) joints that swing smoothly inside the limits; three sines with random phases for each."""
    lower, upper = np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi)
    t = np.linspace(0.0, np.pi, _STEPS)[:, None]
    size, phase = rng.uniform(-0.13, 0.13, (3, robot.n)), rng.uniform(0.0, 2.0 * np.pi, (3, robot.n))
    swing = sum(size[k] * np.sin((k + 1) * t + phase[k]) for k in range(3))
    return 0.5 * (lower + upper) + 0.5 * (upper - lower) * (rng.uniform(-0.6, 0.6, robot.n) + swing)
