"""Run peers in processes of their own, so that one that crashes or hangs costs its row and no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vision_ik.cli.benches._ik_peers.worker import Job
from vision_ik.types import Floats

_START_UP_S = 120.0
"""[s] Wall time a peer may take to load and to prepare for one arm, beside what it may measure."""
_PATIENCE = 4.0
"""Wall time a second of CPU time may take on a busy machine."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Measured:
    """What a peer did on one arm; `trouble` says why the arrays are empty."""

    answers: Floats
    """(M, n) its answers to the first M targets, NaN where it found none."""
    times: Floats
    """(M,) [s] CPU time of each call."""
    ours: Floats
    """(M,) [s] the same for our solver, run in turns with the peer."""
    trouble: str = ""

    @classmethod
    def nothing(cls, trouble: str) -> Measured:
        """Return an outcome without measurements."""
        return cls(answers=np.empty((0, 0)), times=np.empty(0), ours=np.empty(0), trouble=trouble)


def measure_peer(
    key: str, arms: Sequence[str], *, targets: int, many: int, quick_s: float, limit_s: float
) -> dict[str, Measured]:
    """Return what the peer ``key`` did on each of ``arms``.

    Args:
        key: Of `PEERS`.
        arms: Names of the catalogue.
        targets: Targets for each arm.
        many: Targets instead, for a peer that takes less than ``quick_s`` for each.
        quick_s: [s] See ``many``.
        limit_s: [s] CPU time for one arm after which no more targets are begun.
    """
    found: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            peer=key,
            arms=tuple(arms),
            folder=folder,
            targets=targets,
            many=many,
            quick_s=quick_s,
            limit_s=limit_s,
        )
        while job.arms:
            ended = _run(job)
            for arm in job.arms:
                outcome = _read(Path(folder), arm)
                if outcome is None:  # the process ended here; the arms after this one get another
                    found[arm] = Measured.nothing(ended or "ended without a word")
                    break
                found[arm] = outcome
            job = replace(job, arms=tuple(arm for arm in job.arms if arm not in found))
    return {arm: found[arm] for arm in arms}


def _run(job: Job) -> str:
    """Run a worker and return how it ended, empty for well."""
    path = Path(job.folder) / "job.json"
    path.write_text(job.to_json(), encoding="utf-8")
    command = [sys.executable, "-m", "vision_ik.cli.benches._ik_peers.worker", str(path)]
    limit = len(job.arms) * (_START_UP_S + _PATIENCE * job.limit_s)
    try:
        done = subprocess.run(
            command,
            env=os.environ | _ONE_THREAD,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"gave no answer within {limit:.0f} s"
    if done.returncode < 0:
        return f"crashed: {signal.Signals(-done.returncode).name}"
    lines = done.stderr.strip().splitlines()
    return (f"ended: {lines[-1]}" if lines else f"ended with code {done.returncode}") if done.returncode else ""


def _read(folder: Path, arm: str) -> Measured | None:
    """Return what a worker wrote of an arm, None if it did not come to that."""
    reason = folder / f"{arm}.txt"
    if reason.exists():
        return Measured.nothing(" ".join(reason.read_text(encoding="utf-8").split()))
    measured = folder / f"{arm}.npz"
    if not measured.exists():
        return None
    with np.load(measured) as data:
        return Measured(answers=data["answers"], times=data["times"], ours=data["ours"])
