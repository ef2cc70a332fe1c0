"""CPU times of calls made from Python, several solvers in turns so that a busy machine slows them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, thread_time_ns

import numpy as np

from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.types import Floats

_BLOCK = 250
"""Targets one solver gets before it is the next one's turn."""
_WARM_UP = 20


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Calls:
    """What one solver did, a call a target."""

    q: Floats
    """(N, n) its answers."""
    times: Floats
    """(N,) [us] CPU time of each call, less that of asking for the time."""

    @property
    def mean(self) -> float:
        """Return the mean [us]."""
        return float(self.times.mean())

    @property
    def median(self) -> float:
        """Return the median [us]."""
        return float(np.median(self.times))

    @property
    def p99(self) -> float:
        """Return the 99th percentile [us]."""
        return float(np.percentile(self.times, 99))


Solve = Callable[[Floats, Floats], Floats]
"""Joints (n,) for a pose (4, 4) and a start (n,)."""


def call_in_turns(solvers: Mapping[str, tuple[Solve, Targets]]) -> dict[str, Calls]:
    """Return what each solver did on its targets, as many for each; called in turns, a block at a time."""
    calls: dict[str, Calls] = {}
    for name, (solve, targets) in solvers.items():
        for T, start in zip(targets.Ts[:_WARM_UP], targets.starts[:_WARM_UP], strict=True):
            solve(T, start)
        calls[name] = Calls(q=np.empty_like(targets.q), times=np.empty(len(targets)))
    clock = clock_us(thread_time_ns)
    count = max((len(targets) for _, targets in solvers.values()), default=0)
    for begin in range(0, count, _BLOCK):
        for name, (solve, targets) in solvers.items():
            _call(solve, targets, range(begin, min(begin + _BLOCK, len(targets))), calls[name], clock)
    return calls


def _call(solve: Solve, targets: Targets, rows: range, calls: Calls, clock: float) -> None:
    Ts, starts, q, times = targets.Ts, targets.starts, calls.q, calls.times
    for k in rows:
        T, start = Ts[k], starts[k]
        begin = thread_time_ns()
        answer = solve(T, start)
        times[k] = 1e-3 * (thread_time_ns() - begin) - clock
        q[k] = answer


def clock_us(clock: Callable[[], int]) -> float:
    """Return what timing nothing at all shows [us], the median of many: half a microsecond that no solver spends."""
    spent = np.empty(2000)
    for k in range(len(spent)):
        begin = clock()
        spent[k] = 1e-3 * (clock() - begin)
    return float(np.median(spent))


def cpu_s(work: Callable[[], object], *, repeats: int = 3) -> float:
    """Return the least CPU time [s] of this thread that ``work`` took in some repeats; compile it before."""
    return min(_spent(work, lambda: 1e-9 * thread_time_ns()) for _ in range(repeats))


def wall_s(work: Callable[[], object], *, repeats: int = 3) -> float:
    """Return the least wall time [s] that ``work`` took in some repeats; compile it before."""
    return min(_spent(work, perf_counter) for _ in range(repeats))


def _spent(work: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    work()
    return clock() - begin
