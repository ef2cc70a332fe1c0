"""Is the network worth having? Random restarts, a stored table and the network before the same refinement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision_ik.cli.benches import Table
from vision_ik.cli.benches._ik_judge import Judge, make_judge
from vision_ik.cli.benches._ik_table import PoseTable
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.cli.benches._ik_timing import Calls, Solve, call_in_turns, cpu_s
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.ik.solver import make_solver
from vision_ik.learning.labelling import first_shot
from vision_ik.robots import RobotModel, load_robot
from vision_ik.types import Floats

COLUMNS = (
    "arm",
    "seeds",
    "first shot [%]",
    "solved [%]",
    "median [us]",
    "p99 [us]",
    "mean [us]",
    "batched [us]",
    "verdict",
)
_SAME_SHARE = 1e-4
"""Solved shares that differ less are the same."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Seeds:
    """How one kind of seed did on one arm."""

    kind: str
    first_shot: float
    """Share solved from the one seed tried first."""
    solved: float
    """Share solved in the end, by the judge."""
    calls: Calls
    batched_us: float
    """CPU time for a target in a batch, one thread, the seeds included."""

    def row(self, arm: str, verdict: str) -> tuple[str | float, ...]:
        """Return a row under `COLUMNS`."""
        shares = 100.0 * self.first_shot, 100.0 * self.solved
        return arm, self.kind, *shares, self.calls.median, self.calls.p99, self.calls.mean, self.batched_us, verdict


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ablation:
    """The three kinds of seeds on one arm."""

    robot: RobotModel
    random: Seeds
    table: Seeds
    network: Seeds | None
    """None where no weights are shipped."""
    judge: Judge
    targets: Targets

    @property
    def network_wins(self) -> bool:
        """Whether calls with the network take the least time on average, and solve as many as the others."""
        if self.network is None:
            return False
        others = self.random, self.table
        return all(
            self.network.calls.mean < other.calls.mean and self.network.solved >= other.solved - _SAME_SHARE
            for other in others
        )

    def rows(self) -> list[tuple[str | float, ...]]:
        """Return the arm's rows of the table."""
        name = self.robot.name
        rows = [self.random.row(name, ""), self.table.row(name, "")]
        if self.network is None:
            nothing = (float("nan"),) * (len(COLUMNS) - 3)
            return [*rows, (name, "network", *nothing, "no weights shipped")]
        fastest = min((self.random, self.table), key=lambda seeds: seeds.calls.mean)
        ratio = fastest.calls.mean / self.network.calls.mean
        word = "wins" if self.network_wins else "does not win"
        return [*rows, self.network.row(name, f"{word}: {ratio:.2f} x as fast as {fastest.kind}")]


def compare(name: str, *, count: int, table_size: int) -> Ablation:
    """Measure the three kinds of seeds on ``count`` targets of the arm ``name``."""
    robot = load_robot(name)
    targets = Targets.draw(robot, count)
    judge, plain, learned = make_judge(robot), make_solver(robot), load_solver(robot)
    table = PoseTable(robot, table_size)

    def looked_up(T: Floats, start: Floats) -> Floats:
        del start
        return plain.solve(T, table.look_up(T[None])[0]).q

    solvers: dict[str, tuple[Solve, Targets]] = {
        "random": (_solve(plain), targets),
        "table": (looked_up, targets),
    }
    if learned.learned:
        solvers["network"] = (_solve(learned), targets)
    calls = call_in_turns(solvers)
    seeds = table.look_up(targets.Ts)
    random = Seeds(
        kind="random restarts",
        first_shot=_first_shot(robot, targets.Ts, targets.starts),
        solved=float(judge.solved(calls["random"].q, targets.Ts).mean()),
        calls=calls["random"],
        batched_us=_batched_us(plain, targets.Ts, targets.starts),
    )
    stored = Seeds(
        kind=f"table of {table.size:,}",
        first_shot=_first_shot(robot, targets.Ts, seeds),
        solved=float(judge.solved(calls["table"].q, targets.Ts).mean()),
        calls=calls["table"],
        batched_us=_batched_us(plain, targets.Ts, seeds)
        + 1e6 * cpu_s(lambda: table.look_up(targets.Ts)) / len(targets),
    )
    network = None
    if learned.learned:
        network = Seeds(
            kind="network",
            first_shot=float((first_shot(learned.chain, learned.net, targets.q) > 0).mean()),
            solved=float(judge.solved(calls["network"].q, targets.Ts).mean()),
            calls=calls["network"],
            batched_us=_batched_us(learned, targets.Ts, targets.starts),
        )
    return Ablation(robot=robot, random=random, table=stored, network=network, judge=judge, targets=targets)


def to_table(ablations: list[Ablation]) -> Table:
    """Return the table of all arms."""
    count = len(ablations[0].targets)
    return Table(
        name="Seeds before the same refinement",
        columns=COLUMNS,
        rows=tuple(row for ablation in ablations for row in ablation.rows()),
        note=f"{count:,} random reachable targets an arm, one random start each, CPU time of one thread, calls from "
        f"Python in turns; solved: 1e-6 m and rad, inside the limits, by {ablations[0].judge.name}.",
    )


def _solve(solver: HybridSolver) -> Solve:
    return lambda T, start: solver.solve(T, start).q


def _first_shot(robot: RobotModel, Ts: Floats, seeds: Floats) -> float:
    """Return the share of targets (N, 4, 4) solved from one seed (N, n) each, by the solver without restarts."""
    return float(np.mean(make_solver(robot, restarts=0).solve_batch(Ts, seeds).converged))


def _batched_us(solver: HybridSolver, Ts: Floats, starts: Floats) -> float:
    solver.solve_batch(Ts[:100], starts[:100])
    return 1e6 * cpu_s(lambda: solver.solve_batch(Ts, starts)) / len(Ts)
