"""Is the network worth having? Random restarts, a stored table and the network before the same refinement.

All three are the solver's own search, `vision_ik.ik.single.solve_single`. Without a network it refines the start
alone, then random postures sixteen at a time; the table's rows hand it the posture that was looked up as one to begin
with, not as one to stay near to, which would cost them a second search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vision_ik.cli.benches import Table
from vision_ik.cli.benches._ik_judge import Judge, make_judge
from vision_ik.cli.benches._ik_restarts import propose_first, refine_batch
from vision_ik.cli.benches._ik_table import PoseTable
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.cli.benches._ik_timing import Calls, Solve, call_in_turns, cpu_s
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.ik.single import solve_single
from vision_ik.ik.weights_file import find_shipped
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
    seeding_us: float = 0.0
    """What of the mean of a call goes to a seed from outside the solver ..."""
    seeding_batched_us: float = 0.0
    """... and what that seed costs a target in a batch, nearly free of Python."""

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
    public: Calls | None
    """`HybridSolver.solve` as users call it, on the same targets; None where ``network`` is."""
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
        alone, together = self.table.seeding_us, self.table.seeding_batched_us
        looking = f"looking up, from Python, takes {alone:.1f} us of the mean; {together:.1f} us in a batch"
        rows = [self.random.row(name, ""), self.table.row(name, looking)]
        if self.network is None:
            nothing = (float("nan"),) * (len(COLUMNS) - 3)
            return [*rows, (name, "network", *nothing, "no weights shipped")]
        fastest = min((self.random, self.table), key=lambda seeds: seeds.calls.mean)
        mean = self.network.calls.mean
        ratio, refining = fastest.calls.mean / mean, self.table.calls.mean - alone
        verdict = f"{'wins' if self.network_wins else 'does not win'}: {ratio:.2f} x as fast as {fastest.kind}"
        verdict += f"; as a table looked up as in a batch {(refining + together) / mean:.2f} x, for free "
        return [*rows, self.network.row(name, f"{verdict}{refining / mean:.2f} x")]


def compare(name: str, *, count: int, table_size: int) -> Ablation:
    """Measure the three kinds of seeds on ``count`` targets of the arm ``name``.

    Bare compiled calls are compared: what a public call adds is the same for all.
    """
    robot = load_robot(name)
    targets = Targets.draw(robot, count)
    judge, plain, usual = make_judge(robot), load_solver(robot, learned=False), load_solver(robot)
    learned = load_solver(robot, weights=find_shipped(robot))  # even where the default goes without the network
    table = PoseTable(robot, table_size)
    n, packed, learned_packed = robot.n, plain.packed, learned.packed
    solvers: dict[str, tuple[Solve, Targets]] = {
        "random": (lambda T, start: solve_single(*packed, T, start, True)[:n], targets),
        "table": (lambda T, start: solve_single(*packed, T, table.look_up(T[None])[0], False)[:n], targets),
        "look-up": (lambda T, start: table.look_up(T[None])[0], targets),
    }
    if learned.learned:
        solvers["network"] = (lambda T, start: solve_single(*learned_packed, T, start, True)[:n], targets)
        solvers["public"] = (lambda T, start: usual.solve(T, start).q, targets)
        usual.warm_up()  # what a rare call needs is compiled ahead
    calls = call_in_turns(solvers)

    def seeds(kind: str, key: str, first_shot: float, batched_us: float) -> Seeds:
        return Seeds(
            kind=kind,
            first_shot=first_shot,
            solved=float(judge.solved(calls[key].q, targets.Ts).mean()),
            calls=calls[key],
            batched_us=batched_us,
        )

    looked_up = table.look_up(targets.Ts)
    return Ablation(
        robot=robot,
        random=seeds(
            "random restarts", "random", _first_shot(plain, targets.Ts, targets.starts), _batched_us(plain, targets)
        ),
        table=replace(
            seeds(
                f"table of {table.size:,}",
                "table",
                _first_shot(plain, targets.Ts, looked_up),
                _table_batched_us(plain, table, targets),
            ),
            seeding_us=calls["look-up"].mean,
            seeding_batched_us=1e6 * cpu_s(lambda: table.look_up(targets.Ts)) / len(targets),
        ),
        network=seeds(
            "network",
            "network",
            _first_shot(learned, targets.Ts, best_ranked(learned, targets.Ts)),
            _batched_us(learned, targets),
        )
        if learned.learned
        else None,
        public=calls.get("public"),
        judge=judge,
        targets=targets,
    )


def to_table(ablations: list[Ablation]) -> Table:
    """Return the table of all arms."""
    count = len(ablations[0].targets)
    return Table(
        name="Seeds before the same refinement",
        columns=COLUMNS,
        rows=tuple(row for ablation in ablations for row in ablation.rows()),
        note=f"{count:,} random reachable targets an arm, one random start each, CPU time of one thread, bare "
        f"compiled calls in turns; solved: 1e-6 m and rad, inside the limits, by {ablations[0].judge.name}.",
    )


def best_ranked(solver: HybridSolver, Ts: Floats) -> Floats:
    """Return the posture (N, n) of the network's best-ranked head for each target (N, 4, 4)."""
    seeds = np.empty((len(Ts), solver.robot.n))
    propose_first(solver.chain, solver.net, Ts, seeds)
    return seeds


def _first_shot(solver: HybridSolver, Ts: Floats, seeds: Floats) -> float:
    """Return the share of targets (N, 4, 4) solved from one seed (N, n) each."""
    return float(refine_batch(solver.chain, solver.settings, Ts, seeds)[1].mean())


def _batched_us(solver: HybridSolver, targets: Targets) -> float:
    solver.solve_batch(targets.Ts[:100], targets.starts[:100])
    return 1e6 * cpu_s(lambda: solver.solve_batch(targets.Ts, targets.starts)) / len(targets)


def _table_batched_us(solver: HybridSolver, table: PoseTable, targets: Targets) -> float:
    """Time a batch from the table's seeds; targets that fail from them go to the solver without a network."""

    def batch(Ts: Floats) -> None:
        _, done = refine_batch(solver.chain, solver.settings, Ts, table.look_up(Ts))
        solver.solve_batch(Ts[done == 0.0])

    batch(targets.Ts[:100])
    return 1e6 * cpu_s(lambda: batch(targets.Ts)) / len(targets)
