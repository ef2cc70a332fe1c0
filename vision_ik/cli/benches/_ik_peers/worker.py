"""Measure one peer in this process: ``python -m vision_ik.cli.benches._ik_peers.worker JOB.json``.

For each arm of the job one file is written to the job's folder: ``ARM.npz`` with what was measured, or ``ARM.txt``
with the reason why nothing was. An arm without a file is one at which the process ended.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from time import process_time, process_time_ns

import numpy as np

from vision_ik.cli.benches._ik_peers import PEERS
from vision_ik.cli.benches._ik_peers.peer import Solve
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.cli.benches._ik_timing import clock_us
from vision_ik.errors import VisionIkError
from vision_ik.files import write_atomic
from vision_ik.ik import load_solver
from vision_ik.robots import load_robot
from vision_ik.types import Floats

_BLOCK = 50
"""Targets given to the peer, then to ours, in turn: what slows the machine down slows both."""
_WARM_UP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is to do."""

    peer: str
    """Key of `PEERS`."""
    arms: tuple[str, ...]
    """Names of the catalogue."""
    folder: str
    targets: int
    many: int
    """Targets for a peer that takes less than ``quick_s`` for each."""
    quick_s: float
    limit_s: float
    """[s] CPU time for one arm after which no more targets are begun."""

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job written by `to_json`."""
        values = json.loads(text)
        return cls(**(values | {"arms": tuple(values["arms"])}))


def main(job: Job) -> None:
    """Measure every arm of the job."""
    warnings.simplefilter("ignore")  # the peers' own
    folder = Path(job.folder)
    for arm in job.arms:
        try:
            answers, times, ours = _measure(job, arm)
        except VisionIkError as error:
            write_atomic(folder / f"{arm}.txt", error.cause)
        except Exception as error:  # whatever a peer does becomes its row
            write_atomic(folder / f"{arm}.txt", f"{type(error).__name__}: {error}")
        else:
            part = folder / f"{arm}.part.npz"
            np.savez(part, answers=answers, times=times, ours=ours)
            part.rename(folder / f"{arm}.npz")


def _measure(job: Job, arm: str) -> tuple[Floats, Floats, Floats]:
    """Return the peer's answers (M, n) with NaN where it has none, and both times (M,) [s]."""
    robot = load_robot(arm)
    targets = Targets.draw(robot, max(job.targets, job.many))
    peer, solver = PEERS[job.peer].make(robot), load_solver(robot)

    def ours(T: Floats, start: Floats) -> Floats:
        return solver.solve(T, start).q

    _timed(peer, targets.first(_WARM_UP))
    _timed(ours, targets.first(_WARM_UP))
    solver.warm_up()  # what a rare call needs is compiled ahead
    answers, times, own = np.empty_like(targets.q), np.empty(len(targets)), np.empty(len(targets))
    begin, done, count = process_time(), 0, job.targets
    while done < count and process_time() - begin < job.limit_s:
        block = slice(done, min(done + _BLOCK, count))
        part = Targets(q=targets.q[block], Ts=targets.Ts[block], starts=targets.starts[block])
        answers[block], times[block] = _timed(peer, part)
        own[block] = _timed(ours, part)[1]
        done = block.stop
        if done == job.targets and times[:done].mean() < job.quick_s:
            count = max(job.targets, job.many)
    return answers[:done], times[:done], own[:done]


@lru_cache(maxsize=1)
def _clock_s() -> float:
    """Return what asking for the time costs [s]."""
    return 1e-6 * clock_us(process_time_ns)


def _timed(solve: Solve | Callable[[Floats, Floats], Floats], targets: Targets) -> tuple[Floats, Floats]:
    """Return the answers (M, n) and the CPU time (M,) [s] of each call, over all threads it starts."""
    answers, times = np.full(targets.q.shape, np.nan), np.empty(len(targets))
    for k, (T, start) in enumerate(zip(targets.Ts, targets.starts, strict=True)):
        begin = process_time_ns()
        q = solve(T, start)
        times[k] = 1e-9 * (process_time_ns() - begin) - _clock_s()
        if q is not None:
            answers[k] = q
    return answers, times


if __name__ == "__main__":
    main(Job.from_json(Path(sys.argv[1]).read_text(encoding="utf-8")))
