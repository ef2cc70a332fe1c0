"""What the solver does beyond one whole pose: every branch, the nearest solution, partial poses, paths.

Branches and nearest solutions are held against those of ssik, built from the same URDF, which solves the geometry in
closed form. Targets are poses of uniform random joints, so that each can be reached; answers are judged by another FK
where pinocchio is installed. Times are CPU time of calls from Python, one thread.
"""

from __future__ import annotations

from time import thread_time
from typing import Any

import numpy as np

from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._ik_judge import SLACK, TOLERANCE_M, TOLERANCE_RAD, make_judge
from vision_ik.cli.benches._ik_paths import paths
from vision_ik.cli.benches._ik_peers.peer import load
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.errors import MissingDependencyError
from vision_ik.ik import HybridSolver, IkTask, load_solver
from vision_ik.robots import RobotModel, list_robots, load_robot
from vision_ik.types import Floats

TITLE = "Inverse kinematics: branches, nearest, partial poses, paths"

_BRANCHED = ("ur5e", "xarm6")
_NEAREST = ("ur5e", "xarm6", "panda", "iiwa14")
_SAME = 1e-2
"""[rad] ssik's branch and ours are one if no joint differs more: near singularities its digits are fewer."""
_FARTHER = 1e-4
"""[rad] By which a solution must be farther to count: what the tolerance of 1e-6 amounts to near singularities."""
_TASKS = ("position only", "free roll", "pointing", "one locked joint")


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Measure all of it."""
    results: list[Figure | Table] = []
    for name in _BRANCHED:
        tell(f"branches of {name}")
        results.append(_branches(name, level.pick(quick=50, normal=500, full=2000)))
    for name in _NEAREST[: level.pick(quick=3, normal=4, full=4)]:
        tell(f"nearest on {name}")
        results.append(nearest(name, level.pick(quick=50, normal=500, full=2000)))
    arms = level.pick(quick=("panda", "ur5e"), normal=list_robots(), full=list_robots())
    tell("partial poses")
    results += _shares(arms, level.pick(quick=1000, normal=10_000, full=100_000))
    tell("paths")
    results += paths(arms, level.pick(quick=3, normal=10, full=50))
    return results


def _peer(robot: RobotModel) -> Any:
    return load("ssik", "ssik").Manipulator.from_urdf(robot.urdf_path, base=robot.base, ee=robot.tip)


def _inside(robot: RobotModel, solutions: Any, T: Floats) -> Floats:
    """Return the peer's solutions (m, n) that are right to 1e-5 and inside the limits."""
    q = np.array([solution.q for solution in solutions]).reshape(-1, robot.n)
    right = np.abs(robot.forward(q) - T).max(axis=(1, 2), initial=0.0) < 1e-5
    return q[right & ((q >= robot.lower - SLACK) & (q <= robot.upper + SLACK)).all(axis=1)]


def _branches(name: str, count: int) -> Figure:
    """Return which share of ssik's branches `solve_all` lists."""
    robot = load_robot(name)
    title = f"{name}: branches of ssik that solve_all finds"
    try:
        peer = _peer(robot)
    except MissingDependencyError as error:
        return Figure(name=title, value=float("nan"), target="at least 99 %", note=f"skipped: {error.cause}")
    solver, targets = load_solver(robot), Targets.draw(robot, count)
    known = found = listed = 0
    spent = np.zeros(2)
    solver.solve_all(targets.Ts[0])
    for T in targets.Ts:
        begin = thread_time()
        theirs = _inside(robot, peer.solve(T, enumerate_windings=False), T)
        middle = thread_time()
        ours = np.array([solution.q for solution in solver.solve_all(T)]).reshape(-1, robot.n)
        spent += middle - begin, thread_time() - middle
        apart = theirs[:, None] - ours[None]
        apart = np.abs(apart - 2.0 * np.pi * np.rint(apart / (2.0 * np.pi))).max(axis=2)
        known, listed = known + len(theirs), listed + len(ours)
        found += int((apart.min(axis=1, initial=np.inf) < _SAME).sum())
    microseconds = 1e6 * spent / count
    return Figure(
        name=title,
        value=100.0 * found / known,
        unit="%",
        target="at least 99",
        met=found >= 0.99 * known,
        note=f"{known} branches of {count} targets inside limits; ours {listed} in {microseconds[1]:.0f} us a target, "
        f"ssik's in {microseconds[0]:.0f} us" + ("" if solver.learned else "; without network"),
    )


def nearest(name: str, count: int) -> Figure:
    """Return how often the nearest solution is not farther than the nearest of all that ssik lists for the start."""
    robot = load_robot(name)
    title = f"{name}: nearest to q_start, not farther than seeded ssik"
    try:
        peer = _peer(robot)
    except MissingDependencyError as error:
        return Figure(name=title, value=float("nan"), target="at least 99 %", note=f"skipped: {error.cause}")
    solver, targets = load_solver(robot), Targets.draw(robot, count)
    kept = nearer = unsolved = 0
    spent = np.zeros(2)
    solver.solve(targets.Ts[0], targets.starts[0], objective="nearest")
    for T, start in zip(targets.Ts, targets.starts, strict=True):
        begin = thread_time()
        theirs = _inside(robot, peer.solve(T, q_seed=start, seed_metric="wrap_l2"), T)
        middle = thread_time()
        solution = solver.solve(T, start, objective="nearest")
        spent += middle - begin, thread_time() - middle
        if not solution.converged:
            unsolved += not len(theirs)
            continue
        distance = float(np.linalg.norm(solution.q - start))
        best = float(np.linalg.norm(theirs - start, axis=1).min(initial=np.inf))
        kept, nearer = kept + (distance <= best + _FARTHER), nearer + (distance < best - _FARTHER)
    judged = count - unsolved
    microseconds = 1e6 * spent / count
    return Figure(
        name=title,
        value=100.0 * kept / judged if judged else float("nan"),
        unit="%",
        target="at least 99",
        met=judged > 0 and kept >= 0.99 * judged,
        note=f"{count} targets, all of ssik's solutions; nearer on {nearer}; {unsolved} left out that neither "
        f"solves; ours {microseconds[1]:.0f} us, "
        f"ssik {microseconds[0]:.0f} us" + ("" if solver.learned else "; without network"),
    )


def _shares(arms: tuple[str, ...], count: int) -> list[Figure | Table]:
    """Return the shares of reachable targets that are solved for each task, the worst arm's as a figure."""
    rows: list[tuple[str | float, ...]] = []
    for name in arms:
        solver = load_solver(name)
        targets = Targets.draw(solver.robot, count)
        rows.append((name, *(_share(solver, targets, task) for task in _TASKS)))
    table = Table(
        name="partial poses of reachable targets: solved [%]",
        columns=("arm", *_TASKS),
        rows=tuple(rows),
        note=f"{count:,} targets, one random start each; the third joint is locked where the target's posture has it",
    )
    figures: list[Figure | Table] = []
    for column, task in enumerate(_TASKS, start=1):
        worst = min(rows, key=lambda row: float(row[column]))
        share = float(worst[column])
        figures.append(
            Figure(
                name=f"{task}: solved, worst arm",
                value=share,
                unit="%",
                target="at least 99.9",
                met=share >= 99.9,
                note=f"{worst[0]}; {count:,} targets on each of {len(arms)} arms",
            )
        )
    return [*figures, table]


def _share(solver: HybridSolver, targets: Targets, task: str) -> float:
    """Return the share [%] solved, judged by what the task leaves of the pose error."""
    robot, starts = solver.robot, targets.starts.copy()
    if task == "position only":
        q = solver.solve_batch(targets.Ts, starts, task=IkTask.position()).q
    elif task == "free roll":
        q = solver.solve_batch(targets.Ts, starts, task=IkTask.free_roll()).q
    elif task == "pointing":
        q = solver.solve_batch(targets.Ts, starts, task=IkTask.pointing()).q
    else:
        starts[:, 2] = targets.q[:, 2]
        q = solver.solve_batch(targets.Ts, starts, locked=[robot.joint_names[2]]).q
    judge = make_judge(robot)
    reached = np.stack([judge.forward(posture) for posture in q])
    off = np.linalg.norm(targets.Ts[:, :3, 3] - reached[:, :3, 3], axis=1)
    right = judge.inside(q)
    if task == "one locked joint":
        right &= judge.solved(q, targets.Ts) & (q[:, 2] == starts[:, 2])
    elif task == "pointing":
        line = (targets.Ts[:, :3, 3] - reached[:, :3, 3]) / off[:, None]
        right &= _angle(reached[:, :3, 2], line) <= TOLERANCE_RAD + SLACK
    else:
        right &= off <= TOLERANCE_M + SLACK
        if task == "free roll":
            right &= _angle(reached[:, :3, 2], targets.Ts[:, :3, 2]) <= TOLERANCE_RAD + SLACK
    return 100.0 * float(right.mean())


def _angle(a: Floats, b: Floats) -> Floats:
    """Return the angles (N,) between unit vectors (N, 3) [rad]."""
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1))
