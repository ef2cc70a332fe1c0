"""What the parts of the learned seeds are worth: every design trained for the same CPU time, judged alike.

First shot is the share of poses of uniform random joints that one refinement solves from the best-ranked
proposal, to 1e-6 m and rad, inside the limits. Only at the full level are all designs
trained, in a quarter of an hour of CPU time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vision_ik.cli.benches import Cell, Level, Table
from vision_ik.errors import MissingDependencyError
from vision_ik.ik.chain import make_chain
from vision_ik.robots import load_robot

if TYPE_CHECKING:
    from vision_ik.learning.designs.design import Design
    from vision_ik.learning.designs.measure import Measured

TITLE = "Designs of the learned seeds"

_BUDGET_S = 15.0
"""[s] CPU time each design is trained for."""
_LONG_S = 45.0
"""[s] For the best few once more."""
_TARGETS = 10_000
_COLUMNS = (
    "design",
    "first shot %",
    "any %",
    "steps",
    "p99",
    "best ranked mm",
    "deg",
    "nearest mm",
    "deg ",
    "weights",
    "forward us",
    "solved/ms",
    "note",
)


def run(*, level: Level = Level.NORMAL) -> list[Table]:
    """Train and judge the designs: at the full level all on the Panda, parts and ideas on the UR5e, some longer."""
    from vision_ik.learning.designs.catalogue import IDEAS, PARTS, REFERENCE, RIVALS, SIZES
    from vision_ik.learning.designs.schedule import one_thread

    with one_thread():
        if level is Level.QUICK:
            return [_table("panda", (PARTS[0], REFERENCE), budget_s=2.0, targets=1000)]
        if level is Level.NORMAL:
            return [_table("panda", PARTS, budget_s=5.0, targets=5000)]
        return [
            _table("panda", (*PARTS, *IDEAS, *SIZES), budget_s=_BUDGET_S),
            _table("ur5e", (*PARTS, *IDEAS), budget_s=_BUDGET_S),
            _table("panda", RIVALS, budget_s=_LONG_S),
        ]


def _table(name: str, designs: Sequence[Design], *, budget_s: float, targets: int = _TARGETS) -> Table:
    from vision_ik.learning import sampling
    from vision_ik.learning.designs.catalogue import fit
    from vision_ik.learning.designs.design import Task, symmetric
    from vision_ik.learning.designs.measure import measure, step_us

    chain = make_chain(load_robot(name))
    task = Task(chain=chain, symmetric=sampling.has_symmetry(chain), budget_s=budget_s)
    one_step_us = step_us(task)
    rows: list[tuple[Cell, ...]] = []
    for design in designs:
        if design.condition == "elbow" and len(chain.lower) != 7:
            continue
        try:
            fitted = fit(design, task)
        except MissingDependencyError as error:
            rows.append((design.name, *[float("nan")] * (len(_COLUMNS) - 2), f"skipped: {error.cause}"))
            continue
        for label, one in fitted:
            found = measure(task, one, symmetric(design, task), targets=targets)
            rows.append((label, *_row(found, one_step_us)))
    return Table(
        name=f"{name}, {budget_s:.0f} s of CPU time each",
        columns=_COLUMNS,
        rows=tuple(rows),
        note=f"{targets} poses. Pose errors are medians before refinement, of the best-ranked proposal and of the "
        f"nearest of all. Solved per ms of CPU time: forward pass and steps of {one_step_us:.2f} us.",
    )


def _row(found: Measured, one_step_us: float) -> tuple[Cell, ...]:
    return (
        100.0 * found.first_shot,
        100.0 * found.any_proposal,
        found.steps_mean,
        found.steps_p99,
        found.error_mm,
        found.error_deg,
        found.least_error_mm,
        found.least_error_deg,
        found.weights,
        found.forward_us,
        1e3 * found.first_shot / (found.forward_us + found.steps_spent * one_step_us),
        found.forward_note,
    )
