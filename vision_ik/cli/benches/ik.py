"""Inverse kinematics: solved share, first-shot success, time, and two peers on the same targets.

Targets are poses of uniform random joints, with one uniform random start each. Solved means 1e-6 m and
1e-6 rad, inside the limits, by an FK that is neither ours nor a peer's where pinocchio is installed.
Times are CPU time of one thread, every call made from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time_ns

import numpy as np

from vision_ik.cli.benches import Figure, Level
from vision_ik.cli.benches._ik_peers import Fk, PeerIk, independent_fk, peers
from vision_ik.errors import MissingDependencyError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.learning import evaluate
from vision_ik.robots import RobotModel, load_robot
from vision_ik.types import Floats

TITLE = "Inverse kinematics"

_ROBOTS = ("panda", "ur5e")
_TOLERANCE = 1e-6
"""[m], [rad]"""
_RESTARTS = 20


def run(*, level: Level = Level.NORMAL) -> list[Figure]:
    """Measure ours and the peers on each arm."""
    quick = level is Level.QUICK
    figures: list[Figure] = []
    for name in _ROBOTS:
        figures += _arm(name, targets=100 if quick else 1000, shots=2000 if quick else 20_000)
    return figures


def _arm(name: str, *, targets: int, shots: int) -> list[Figure]:
    robot = load_robot(name)
    solver = load_solver(robot)
    rng = np.random.default_rng(7)
    Ts = robot.forward(robot.random(rng, targets))
    starts = robot.random(rng, targets * _RESTARTS).reshape(targets, _RESTARTS, robot.n)
    fk, judge = independent_fk(robot)
    figures = _first_shot(solver, shots)
    ours, own = _ours(solver, Ts, starts[:, 0], fk, f"{targets} targets, judged by {judge}")
    figures += own
    for peer_name, make in peers(robot):
        figures.append(_peer(name, peer_name, make, Ts, starts, fk, ours))
    return figures


def _first_shot(solver: HybridSolver, shots: int) -> list[Figure]:
    found = evaluate(solver.robot, solver.net, targets=shots)
    name, note = solver.robot.name, f"{shots} targets, best-ranked seed, no restart"
    return [
        Figure(
            name=f"{name}: first-shot success",
            value=100.0 * found.first_shot,
            unit="%",
            target="at least 97",
            met=found.first_shot >= 0.97,
            note=note,
        ),
        Figure(name=f"{name}: first-shot success of a random start", value=100.0 * found.random_start, unit="%"),
        Figure(name=f"{name}: steps from the best seed, mean", value=found.iterations_mean, note=note),
        Figure(name=f"{name}: steps from the best seed, p99", value=found.iterations_p99, note=note),
    ]


def _ours(solver: HybridSolver, Ts: Floats, starts: Floats, fk: Fk, note: str) -> tuple[float, list[Figure]]:
    """Return the CPU time per solved target [s] and the figures of single calls."""
    robot = solver.robot
    for T, start in zip(Ts[:20], starts[:20], strict=True):
        solver.solve(T, start)
    solver.solve_batch(Ts[:20], starts[:20])
    times, answers = np.empty(len(Ts)), np.empty((len(Ts), robot.n))
    for k, (T, start) in enumerate(zip(Ts, starts, strict=True)):
        begin = thread_time_ns()
        solution = solver.solve(T, start)
        times[k] = 1e-9 * (thread_time_ns() - begin)
        answers[k] = solution.q
    solved = sum(reached(robot, fk, q, T) for q, T in zip(answers, Ts, strict=True))
    begin = thread_time_ns()
    solver.solve_batch(Ts, starts)
    batched = 1e-9 * (thread_time_ns() - begin) / len(Ts)
    share, name = solved / len(Ts), robot.name
    return float(times.sum()) / max(solved, 1), [
        Figure(
            name=f"{name}: solved",
            value=100.0 * share,
            unit="%",
            target="at least 99.8",
            met=share >= 0.998,
            note=note,
        ),
        Figure(name=f"{name}: one call, mean", value=1e6 * float(times.mean()), unit="us", note="random q_start"),
        Figure(name=f"{name}: one call, p99", value=1e6 * float(np.percentile(times, 99)), unit="us"),
        Figure(name=f"{name}: batched, per target", value=1e6 * batched, unit="us", note="one thread"),
    ]


def _peer(arm: str, name: str, make: Callable[[], PeerIk], Ts: Floats, starts: Floats, fk: Fk, ours: float) -> Figure:
    """Return by what factor a peer's time per solved target exceeds ours."""
    title, target = f"{arm}: times faster than {name}", "at least 50"
    try:
        peer = make()
    except MissingDependencyError as error:
        return Figure(name=title, value=float("nan"), target=target, note=f"skipped: {error.cause}")
    robot = load_robot(arm)
    with peer:
        peer.solve(Ts[0], starts[0])
        begin = thread_time_ns()
        answers = [peer.solve(T, attempts) for T, attempts in zip(Ts, starts, strict=True)]
        spent = thread_time_ns() - begin
    solved = sum(q is not None and reached(robot, fk, q, T) for q, T in zip(answers, Ts, strict=True))
    if not solved:
        return Figure(name=title, value=float("inf"), target=target, note="the peer solved none")
    per_solved = 1e-9 * spent / solved
    return Figure(
        name=title,
        value=per_solved / ours,
        target=target,
        met=per_solved / ours >= 50.0,
        note=f"{solved}/{len(Ts)} solved in {1e6 * per_solved:.0f} us each, {_RESTARTS} restarts; "
        f"ours {1e6 * ours:.1f} us",
    )


def reached(robot: RobotModel, fk: Fk, q: Floats, T_target: Floats) -> bool:
    """Return whether ``q`` is inside the limits and reaches the target, by ``fk``."""
    slack = 1e-9
    if not ((q >= robot.lower - slack).all() and (q <= robot.upper + slack).all()):
        return False
    T = fk(q)
    difference = T[:3, :3].T @ T_target[:3, :3]
    sine = 0.5 * np.linalg.norm(
        [
            difference[2, 1] - difference[1, 2],
            difference[0, 2] - difference[2, 0],
            difference[1, 0] - difference[0, 1],
        ]
    )
    angle = float(np.arctan2(sine, 0.5 * (np.trace(difference) - 1.0)))
    return bool(np.linalg.norm(T[:3, 3] - T_target[:3, 3]) <= _TOLERANCE * 1.01 and angle <= _TOLERANCE * 1.01)
