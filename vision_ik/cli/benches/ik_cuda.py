"""Inverse kinematics in batches on a CUDA device: solves per second, with targets from the host and on the device.

Targets are poses of uniform random joints, with one uniform random start each. Solved means 1e-6 m and 1e-6 rad,
inside the limits, by the judge of the bench ``ik``. Times are wall times of whole calls, the best of three:
transfers, launches, retries and reasons included; compiling, which happens once a machine, left out.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from time import perf_counter

import numpy as np

from vision_ik.cli.benches import Figure, Level
from vision_ik.cli.benches._ik_judge import make_judge
from vision_ik.ik import load_solver
from vision_ik.ik.cuda import CudaBatch

TITLE = "Inverse kinematics on CUDA"

_ROBOTS = ("panda", "ur5e", "iiwa14")
_WARM_UP, _JUDGED = 10_000, 100_000
_RATE = 5e6
"""[1/s] Asked for."""
_SOLVED = 0.9999
"""Share asked for."""


def run(*, level: Level = Level.NORMAL) -> list[Figure]:
    """Measure each arm, or say why not."""
    if importlib.util.find_spec("warp") is None:
        return [_skipped('Warp is not installed: pip install "vision-ik[cuda]"')]
    if not importlib.import_module("warp").is_cuda_available():
        return [_skipped("no CUDA device")]
    count = level.pick(quick=200_000, normal=2_000_000, full=2_000_000)
    return [figure for name in _ROBOTS for figure in _arm(name, count)]


def _arm(name: str, count: int) -> list[Figure]:
    wp = importlib.import_module("warp")
    solver = load_solver(name)
    robot, rng = solver.robot, np.random.default_rng(0)
    Ts, starts = robot.forward(robot.random(rng, count)), robot.random(rng, count)
    batch = CudaBatch(solver.chain, solver.net, solver.settings, "cuda")
    batch.solve(Ts[:_WARM_UP], starts[:_WARM_UP])
    q, *_ = batch.solve(Ts, starts)
    share = float(make_judge(robot).solved(q[:_JUDGED], Ts[:_JUDGED]).mean())
    there = [wp.array(values, dtype=wp.float64, device="cuda") for values in (Ts, starts)]
    seeds = "network" if solver.learned else "random seeds"
    note = f"{count:,} targets, {seeds}, {wp.get_device('cuda').name}"
    return [
        Figure(
            name=f"{name}: solved",
            value=100.0 * share,
            unit="%",
            target=f"at least {100.0 * _SOLVED:g}",
            met=share >= _SOLVED,
            note=note,
        ),
        _rate(f"{name}: arrays on the host", count, lambda: batch.solve(Ts, starts), note),
        _rate(f"{name}: arrays on the device", count, lambda: batch.solve_on_device(*there), note),
    ]


def _rate(name: str, count: int, call: Callable[[], object], note: str) -> Figure:
    """Time ``call``, which solves ``count`` targets and returns when they are solved."""
    spent = float("inf")
    for _ in range(3):
        begin = perf_counter()
        call()
        spent = min(spent, perf_counter() - begin)
    rate = count / spent
    return Figure(name=name, value=rate, unit="1/s", target=f"at least {_RATE:,.0f}", met=rate >= _RATE, note=note)


def _skipped(why: str) -> Figure:
    return Figure(name="solves per second", value=float("nan"), unit="1/s", note=f"skipped: {why}")
