"""Our own figures on each arm, beside what was asked of them."""

from __future__ import annotations

import numpy as np

from vision_ik.cli.benches import Figure, Level, Table, _ik_batch
from vision_ik.cli.benches._ik_ablation import Ablation
from vision_ik.cli.benches._ik_judge import pose_distance
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.ik.kernels import LENGTH
from vision_ik.ik.seeds import FEATURES, complete, evaluate, features
from vision_ik.types import Floats

_SOLVED, _FIRST_SHOT = 0.9999, 0.997
"""Least shares asked on arms of six and seven joints."""
_CALL_US = {"panda": (13.0, 40.0), "ur5e": (12.0, 40.0), "iiwa14": (13.0, 40.0), "xarm6": (13.0, 40.0)}
"""Most a call may take, mean and 99th percentile [us]."""
_RAW_TARGETS = 2000


def figures(ablation: Ablation, level: Level) -> list[Figure]:
    """Return the figures of one arm; what the ablation measured is not measured again."""
    network, public, robot = ablation.network, ablation.public, ablation.robot
    if network is None or public is None:
        return [Figure(name=f"{robot.name}: learned seeds", value=float("nan"), note="no weights shipped")]
    asked = robot.n >= 6
    note = f"{len(ablation.targets):,} targets, judged by {ablation.judge.name}"
    found = [
        _at_least(
            f"{robot.name}: solved",
            float(ablation.judge.solved(public.q, ablation.targets.Ts).mean()),
            _SOLVED if asked else None,
            note,
        ),
        _at_least(
            f"{robot.name}: first-shot success",
            network.first_shot,
            _FIRST_SHOT if asked else None,
            "best-ranked head alone",
        ),
    ]
    limits = _CALL_US.get(robot.name, (None, None))
    for what, value, most in zip(("mean", "p99"), (public.mean, public.p99), limits, strict=True):
        found.append(
            Figure(
                name=f"{robot.name}: one call, {what}",
                value=value,
                unit="us CPU",
                target="" if most is None else f"at most {most:g}",
                met=None if most is None else value <= most,
                note="through Python, random q_start",
            )
        )
    return found + _ik_batch.figures(robot, ablation.judge, level)


def raw_errors(ablations: list[Ablation]) -> Table:
    """Return how far the network's proposals are from their targets before any refinement."""
    rows: list[tuple[str | float, ...]] = []
    for ablation in ablations:
        solver = load_solver(ablation.robot)
        if not solver.learned:
            continue
        nearest, ranked = _raw(solver, ablation.targets.first(_RAW_TARGETS))
        rows.append((ablation.robot.name, *nearest, *ranked))
    return Table(
        name="Network alone, before refinement",
        columns=("arm", "best head [mm]", "best head [deg]", "first-ranked [mm]", "first-ranked [deg]"),
        rows=tuple(rows),
        note=f"Medians over {_RAW_TARGETS:,} targets; the best head is the one nearest to the target, "
        f"{LENGTH:g} m counting as 1 rad.",
    )


def _raw(solver: HybridSolver, targets: Targets) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the median errors [mm], [deg] of the head nearest to each target, and of the first-ranked one."""
    chain, net, heads, n = solver.chain, solver.net, solver.net.rank.shape[1], solver.robot.n
    outputs = np.empty((heads, net.heads.shape[1] // heads), np.float32)
    logits, x, M = np.empty(heads, np.float32), np.empty(FEATURES, np.float32), np.empty((3, 4))
    best, first = np.empty((len(targets), 2)), np.empty((len(targets), 2))
    postures = np.empty((heads, n))
    for k, T in enumerate(targets.Ts):
        features(chain, net.symmetric, T, M, x)
        evaluate(net, x, outputs, logits)
        for head in range(heads):
            complete(chain, net.symmetric, M, outputs[head], postures[head])
        errors = np.stack(pose_distance(solver.robot.forward(postures), np.broadcast_to(T, (heads, 4, 4))), axis=1)
        best[k] = errors[np.argmin((errors[:, 0] / LENGTH) ** 2 + errors[:, 1] ** 2)]
        first[k] = errors[np.argmax(logits)]
    return _mm_deg(best), _mm_deg(first)


def _mm_deg(errors: Floats) -> tuple[float, float]:
    metres, radians = np.median(errors, axis=0)
    return 1e3 * float(metres), float(np.degrees(radians))


def _at_least(name: str, share: float, least: float | None, note: str) -> Figure:
    return Figure(
        name=name,
        value=100.0 * share,
        unit="%",
        target="" if least is None else f"at least {100.0 * least:g}",
        met=None if least is None else share >= least,
        note=note,
    )
