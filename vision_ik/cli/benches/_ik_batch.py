"""Batches: ours without and with starts, on one thread and on two, and EAIK's beside them."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import numpy as np
from numpy.typing import NDArray

from vision_ik.cli.benches import Figure, Level
from vision_ik.cli.benches._ik_judge import Judge
from vision_ik.cli.benches._ik_peers.closed_form import eaik_arm, first_inside
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.cli.benches._ik_timing import cpu_s, wall_s
from vision_ik.errors import MissingDependencyError
from vision_ik.ik import load_solver
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

_LEAST = (400_000, 750_000)
"""Least solves a second asked for on arms of six and seven joints, on one thread and on two."""
_SOLVED = 0.9999
_EAIK_ARM = "ur5e"


def figures(robot: RobotModel, judge: Judge, level: Level) -> list[Figure]:
    """Return solves a second, of targets that the judge finds solved, and the share of those."""
    # A thread takes 2,048 targets at a time: each needs several such chunks.
    targets = Targets.draw(robot, level.pick(quick=16_384, normal=40_960, full=100_000))
    one, two, asked = load_solver(robot), load_solver(robot, threads=2), robot.n >= 6
    found: list[Figure] = []
    shares: list[float] = []

    def add(name: str, solve: Callable[[], Floats], how: str, least: int | None, threads: int = 1) -> None:
        share = float(judge.solved(solve(), targets.Ts).mean())  # this compiles, too
        shares.append(share)
        measure, clock = (cpu_s, "CPU time") if threads == 1 else (wall_s, "wall time")
        rate = share * len(targets) / measure(solve)
        found.append(
            Figure(
                name=f"{robot.name}: {name}, {threads} thread" + "s" * (threads > 1),
                value=round(rate),
                unit="solves/s",
                target="" if least is None else f"at least {least:,}",
                met=None if least is None else rate >= least,
                note=f"{len(targets):,} targets, {how}, {clock}, best of 3",
            )
        )

    add("batched", lambda: one.solve_batch(targets.Ts).q, "no start", _LEAST[0] if asked else None)
    add("batched", lambda: two.solve_batch(targets.Ts).q, "no start", _LEAST[1] if asked else None, threads=2)
    add("batched with starts", lambda: one.solve_batch(targets.Ts, targets.starts).q, "one random start each", None)
    found.append(
        Figure(
            name=f"{robot.name}: solved in batches",
            value=100.0 * min(shares),
            unit="%",
            target=f"at least {100.0 * _SOLVED:g}" if asked else "",
            met=min(shares) >= _SOLVED if asked else None,
            note=f"the worst of these {len(shares)}, judged by {judge.name}",
        )
    )
    if robot.name == _EAIK_ARM:
        found.append(_eaik(robot, judge, targets))
    return found


def _eaik(robot: RobotModel, judge: Judge, targets: Targets) -> Figure:
    """Return what EAIK's batched call does; to pick a branch inside the limits is not counted against it."""
    name = f"{robot.name}: batched, EAIK, 1 thread"
    try:
        arm = eaik_arm(robot)
    except MissingDependencyError as error:
        return Figure(name=name, value=float("nan"), unit="solves/s", note=f"skipped: {error.cause}")
    answers = np.full_like(targets.q, np.nan)
    for k, found in enumerate(arm.IK_batched(targets.Ts, 1)):
        q = first_inside(robot, found)
        if q is not None:
            answers[k] = q
    right: NDArray[np.bool_] = judge.solved(answers, targets.Ts)
    spent: list[float] = []
    for _ in range(3):
        begin = process_time()  # it works in a thread of its own
        arm.IK_batched(targets.Ts, 1)
        spent.append(process_time() - begin)
    return Figure(
        name=name,
        value=round(int(right.sum()) / min(spent)),
        unit="solves/s",
        note=f"{len(targets):,} targets, CPU time, best of 3; {100.0 * float(right.mean()):.3f} % solved; "
        "picking the branch inside the limits not timed",
    )
