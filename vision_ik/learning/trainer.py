"""Training the seeds of one arm: from a URDF to weights with a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError

from vision_ik.errors import WeightsError
from vision_ik.files import write_atomic
from vision_ik.ik.chain import make_chain
from vision_ik.ik.network import SeedNetwork
from vision_ik.ik.seeds import Net
from vision_ik.ik.weights_file import save_weights
from vision_ik.learning import checkpoint as checkpoints
from vision_ik.learning import sampling
from vision_ik.learning.evaluation import Evaluation, evaluate
from vision_ik.learning.labelling import first_shot
from vision_ik.learning.recipe import DEFAULT_BUDGET_S, OnProgress, Progress, Recipe
from vision_ik.learning.stages import STAGES, Stage
from vision_ik.learning.workspace import WorkspaceMap, map_workspace
from vision_ik.robots import RobotModel
from vision_ik.view.machine import environment

_VALIDATION = 2000
_SHARES = {"cover": 0.1, "settle": 0.5, "judge": 0.4}
"""Of the time, for the progress display."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training leaves behind."""

    weights: Path
    card: Path
    picture: Path
    """Map of the workspace."""
    evaluation: Evaluation
    workspace: WorkspaceMap
    cpu_s: float
    """[s] CPU time of the whole training, earlier parts of a resumed one included."""


def train(
    robot: RobotModel,
    *,
    out: str | Path,
    budget_s: float = DEFAULT_BUDGET_S,
    seed: int = 0,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    threads: int = 2,
    recipe: Recipe | None = None,
    start: str | Path | None = None,
    command: str = "",
) -> Trained:
    """Train seeds for ``robot`` and write ``out/NAME.safetensors`` with its card and a map of the workspace.

    The state is kept in ``out/NAME.checkpoint`` after each tenth of a stage and removed at the end.
    The result follows from the arm, the seed and the recipe; the number of threads does not change it.

    Args:
        robot: The arm.
        out: Folder for the weights and, while training, the checkpoint.
        budget_s: About how long it may take on two quiet cores [s]; sets the recipe.
        seed: Of everything random.
        resume: Go on from the checkpoint if there is one.
        on_progress: Called after each part.
        threads: Threads in use. torch runs on one: its matrices are too small to share, and its sums would depend
            on the number; the others sample and label ahead of it.
        recipe: Replaces the one that follows from the budget.
        start: Weights of another arm to start from, which has as many joints.
        command: What the user typed, for the card.

    Raises:
        ValueError: The budget or the number of threads is not positive.
        WeightsError: The checkpoint is corrupt or belongs to another training, or ``start`` does not fit.
        RecordingError: The folder cannot be written to.
    """
    if threads < 1:
        raise ValueError(f"Training needs at least one thread, not {threads}.")
    recipe = Recipe.for_budget(budget_s) if recipe is None else recipe
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(robot, Path(out), recipe, seed, resume, on_progress, threads, start, command)
    finally:
        torch.set_num_threads(before)


def _train(
    robot: RobotModel,
    out: Path,
    recipe: Recipe,
    seed: int,
    resume: bool,
    on_progress: OnProgress | None,
    threads: int,
    start: str | Path | None,
    command: str,
) -> Trained:
    began, cpu_began = perf_counter(), process_time()
    chain = make_chain(robot)
    symmetric = sampling.has_symmetry(chain)
    network = _network(robot, recipe, symmetric, seed)
    if start is not None:
        start_from(network, start)
    stage = Stage(chain=chain, network=network, recipe=recipe, seed=seed, threads=threads)
    checkpoint = out / f"{robot.name}.checkpoint"
    identity = {"robot_hash": robot.hash, "seed": seed, "recipe": recipe.as_dict(), "start": str(start or "")}
    begin, cpu_before = 0, 0.0
    if resume and checkpoint.exists():
        begin, cpu_before = checkpoints.restore(checkpoint, stage, identity)
    validation = sampling.sample(chain, symmetric, _VALIDATION, np.random.default_rng((seed, len(STAGES))))
    parts = [(name, part) for name in STAGES for part in range(recipe.rounds)]
    for k, (name, part) in enumerate(parts):
        if k < begin:
            continue
        if part == 0:
            stage.begin(name)
        loss = stage.run(name, part)
        cpu = cpu_before + process_time() - cpu_began
        checkpoints.keep(checkpoint, stage, identity, k + 1, cpu)
        if on_progress is not None:
            steps = first_shot(chain, network.to_net(), validation.q, threads=threads)
            done = steps > 0
            on_progress(
                Progress(
                    stage=name,
                    fraction=_fraction(name, (part + 1) / recipe.rounds),
                    first_shot=float(done.mean()),
                    iterations=float(steps[done].mean()) if done.any() else float("nan"),
                    loss=loss,
                    elapsed_s=perf_counter() - began,
                )
            )
    cpu = cpu_before + process_time() - cpu_began
    return _save(robot, network.to_net(), out, {"command": command, "seed": seed, **recipe.as_dict()}, cpu, checkpoint)


def _network(robot: RobotModel, recipe: Recipe, symmetric: bool, seed: int) -> SeedNetwork:
    return SeedNetwork(
        outputs=robot.n - 2 if symmetric else robot.n,
        symmetric=symmetric,
        width=recipe.width,
        layers=recipe.layers,
        heads=recipe.heads,
        judges=recipe.judges,
        seed=seed,
    )


def _save(
    robot: RobotModel, net: Net, out: Path, recipe: Mapping[str, object], cpu_s: float, checkpoint: Path
) -> Trained:
    """Judge the network and write it with its card and picture; the checkpoint has then served."""
    from vision_ik.view.plots import to_png  # matplotlib takes a second to load
    from vision_ik.view.workspace import workspace_map

    evaluation, workspace, facts = evaluate(robot, net), map_workspace(robot, net), environment()
    weights, card = save_weights(
        out / f"{robot.name}.safetensors",
        net,
        robot,
        recipe=recipe,
        metrics={
            **evaluation.as_dict(),
            "train_cpu_s": round(cpu_s, 1),
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}",
            "workspace": workspace.as_dict(),
        },
    )
    figure = workspace_map(
        workspace.radius,
        workspace.height,
        workspace.first_shot,
        workspace.time,
        title=f"{robot.name}: {evaluation.first_shot:.2%} of random reachable poses solved at the first shot",
    )
    picture = write_atomic(card.with_suffix(".png"), to_png(figure, dpi=100.0))
    checkpoint.unlink(missing_ok=True)
    return Trained(weights=weights, card=card, picture=picture, evaluation=evaluation, workspace=workspace, cpu_s=cpu_s)


def start_from(network: SeedNetwork, path: str | Path) -> None:
    """Give ``network`` the weights in ``path``, whatever arm they were trained for.

    Raises:
        WeightsError: The file cannot be read, or holds a network of another size.
    """
    weights = Path(path).with_suffix(".safetensors")
    remedy = "Start from weights of an arm with as many joints, trained by this version, or from nothing."
    try:
        tensors = safetensors.numpy.load_file(weights)
        network.take(tensors)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"Training cannot start from {weights}: {error}.", remedy, path=weights) from error


def _fraction(stage: str, within: float) -> float:
    """Return the share of the whole training done."""
    earlier = STAGES[: STAGES.index(stage)]
    return sum(_SHARES[name] for name in earlier) + _SHARES[stage] * within
