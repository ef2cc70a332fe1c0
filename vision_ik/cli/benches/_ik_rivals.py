"""The table of the peers: other solvers on the same arms, targets and starts, every answer judged alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vision_ik.cli.benches import Cell, Level, Table, tell
from vision_ik.cli.benches._ik_judge import Judge, make_judge
from vision_ik.cli.benches._ik_peers import PEERS
from vision_ik.cli.benches._ik_peers.runner import Measured, measure_peer
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.robots import RobotModel, load_robot

COLUMNS = ("arm", "peer", "solved [%]", "mean [us]", "p99 [us]", "times ours", "targets", "note")
_QUICK_S = 200e-6
"""[s] A peer that takes less for a target gets as many of them as ours, at the full level."""


def tables(arms: Sequence[str], level: Level) -> list[Table]:
    """Run every peer on ``arms`` and return what they did, and what was asked of each."""
    robots = {name: load_robot(name) for name in arms}
    judges = {name: make_judge(robot) for name, robot in robots.items()}
    measured: dict[str, dict[str, Measured]] = {}
    for key, peer in PEERS.items():
        tell(f"peer {peer.name}")
        measured[key] = measure_peer(
            key,
            arms,
            targets=level.pick(quick=20, normal=250, full=1000),
            many=level.pick(quick=0, normal=0, full=100_000),
            quick_s=_QUICK_S,
            limit_s=level.pick(quick=2.0, normal=4.0, full=60.0),
        )
    rows = [row(robots[name], judges[name], PEERS[key].name, measured[key][name]) for name in arms for key in measured]
    return [
        Table(
            name="Peers on the same targets",
            columns=COLUMNS,
            rows=tuple(rows),
            note="One random start each, one thread's worth of CPU time over all threads a peer starts, each peer in a "
            "process of its own, in turns with ours; times ours: mean time over the mean of ours in the same process. "
            f"Solved: 1e-6 m and rad, inside the limits, by {judges[arms[0]].name}.",
        ),
        Table(
            name="Peers' settings",
            columns=("peer", "setting"),
            rows=tuple((peer.name, peer.setting) for peer in PEERS.values()),
        ),
    ]


def row(robot: RobotModel, judge: Judge, name: str, measured: Measured) -> tuple[Cell, ...]:
    """Return a peer's row on one arm."""
    if measured.trouble or not len(measured.times):
        nothing = (float("nan"),) * 5
        return (robot.name, name, *nothing, measured.trouble or "measured nothing")
    count = len(measured.times)
    solved = judge.solved(measured.answers, Targets.draw(robot, count).Ts)
    wrong = int((np.isfinite(measured.answers).all(axis=1) & ~solved).sum())
    return (
        robot.name,
        name,
        100.0 * float(solved.mean()),
        1e6 * float(measured.times.mean()),
        1e6 * float(np.percentile(measured.times, 99)),
        float(measured.times.mean() / measured.ours.mean()),
        count,
        f"{wrong} answers refused by the judge" if wrong else "",
    )
