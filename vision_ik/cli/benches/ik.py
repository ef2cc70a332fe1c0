"""Inverse kinematics: what the network is worth, what was asked of the solver, and how other solvers do.

Targets are poses of uniform random joints, with one uniform random start each. Solved means 1e-6 m and 1e-6 rad,
inside the limits, by an FK that is neither ours nor a peer's where pinocchio is installed. Times are CPU time of
calls made from Python, one thread, unless a note says otherwise.
"""

from __future__ import annotations

from vision_ik.cli.benches import Figure, Level, Table, _ik_extras, _ik_ours, _ik_rivals, tell
from vision_ik.cli.benches._ik_ablation import Ablation, compare, to_table
from vision_ik.ik import load_solver
from vision_ik.robots import list_robots

TITLE = "Inverse kinematics: ablation, figures, peers"

_QUICK_ARMS = ("panda", "ur5e")


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Measure the seeds, ours and the peers on every arm of the catalogue; at the quick level on two."""
    arms = _QUICK_ARMS if level is Level.QUICK else list_robots()
    count = level.pick(quick=500, normal=10_000, full=100_000)
    table_size = level.pick(quick=200_000, normal=2_000_000, full=2_000_000)
    ablations: list[Ablation] = []
    for name in arms:
        tell(f"seeds on {name}")
        ablations.append(compare(name, count=count, table_size=table_size))
    figures: list[Figure] = []
    for ablation in ablations:
        tell(f"batches on {ablation.robot.name}")
        figures += _ik_ours.figures(ablation, level)
    tell("other arms")
    figures += [_wins(ablations), defaults(ablations), *_ik_extras.calibrated(level), *_ik_extras.training(level)]
    return [*figures, to_table(ablations), _ik_ours.raw_errors(ablations), *_ik_rivals.tables(arms, level)]


def _wins(ablations: list[Ablation]) -> Figure:
    """Return on how many arms the network is worth having."""
    losing = [ablation.robot.name for ablation in ablations if not ablation.network_wins]
    return Figure(
        name="arms on which the network wins",
        value=len(ablations) - len(losing),
        unit=f"of {len(ablations)}",
        target="all",
        met=not losing,
        note=f"not on: {', '.join(losing)}" if losing else "least mean time, nothing lost in solved share",
    )


def defaults(ablations: list[Ablation]) -> Figure:
    """Return for how many arms `load_solver` uses the network exactly where the table says that it wins."""
    odd: list[str] = []
    for ablation in ablations:
        used = load_solver(ablation.robot.name).learned
        if used != ablation.network_wins:
            odd.append(f"{ablation.robot.name} ({'uses' if used else 'leaves out'} its network)")
    return Figure(
        name="arms whose default follows this table",
        value=len(ablations) - len(odd),
        unit=f"of {len(ablations)}",
        target="all",
        met=not odd,
        note=f"not: {', '.join(odd)}" if odd else "the network where it wins, random postures elsewhere",
    )
