"""Train the learned seeds of one arm, with live success."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vision_ik.cli import console
from vision_ik.cli.main import EXIT_OK
from vision_ik.robots import load_robot

_STAGES = {"cover": "Spread the heads", "settle": "Settle on solutions", "judge": "Rank the heads"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train the learned IK seeds of one arm.

    Success is the share of random reachable poses solved from the network's first proposal alone, to
    1e-6 m and rad, inside the limits. Weights, their card and a map of the workspace are written to --out;
    the state is kept there while training, so an interrupted run can go on with --resume.

    Examples:
      vision-ik train panda
      vision-ik train my_arm.urdf --base base_link --tip flange --out weights
      vision-ik train my_arm.urdf --budget 900        longer, for better seeds
      vision-ik train my_panda.urdf --from weights/panda.safetensors
      vision-ik train panda --resume
    """

    robot: tyro.conf.Positional[str]
    """Catalogue name or URDF."""
    base: str | None = None
    """Link the chain starts from; by default the catalogue's, or the root of the URDF."""
    tip: str | None = None
    """Link the chain ends at; by default the catalogue's, or the only leaf of the URDF."""
    out: Path = Path("weights")
    """Folder for the weights and, while training, the checkpoint."""
    budget: float = 120.0
    """About how long training may take on two quiet cores [s]; it sets the number of steps, not a clock."""
    seed: int = 0
    """Of everything random: the same seed and budget give the same weights."""
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Weights of a related arm with as many joints to start from: the first seconds then go farther."""
    resume: bool = False
    """Go on from the checkpoint in --out if there is one."""
    threads: int = min(2, os.cpu_count() or 1)
    """Threads in use: one trains, the others sample and label ahead of it. The weights do not depend on it."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        if not self.budget > 0:
            raise ValueError(f"The budget must be a positive number of seconds, not {self.budget}.")
        if self.threads < 1:
            raise ValueError(f"At least one thread is needed, not {self.threads}.")


def run(options: Options) -> int:
    """Train, and print where the weights are and what they do."""
    robot = load_robot(options.robot, options.base, options.tip)
    with console.Stages() as stages, stages.stage(f"Train {robot.name}", total=1.0) as stage:
        from vision_ik.learning import Progress, train

        stage.update("loading torch, compiling")

        def show(progress: Progress) -> None:
            stage.update(
                f"{_STAGES[progress.stage]}: first shot {progress.first_shot:.1%} in {progress.iterations:.1f} steps",
                completed=progress.fraction,
            )

        trained = train(
            robot,
            out=options.out,
            budget_s=options.budget,
            seed=options.seed,
            resume=options.resume,
            threads=options.threads,
            on_progress=show,
            start=options.start,
            command=_command(options),
        )
    facts = {
        "weights": str(trained.weights),
        "card": str(trained.card),
        "picture": str(trained.picture),
        "cpu_s": round(trained.cpu_s, 1),
    }
    facts |= trained.evaluation.as_dict()
    facts |= {f"workspace_{name}": value for name, value in trained.workspace.as_dict().items()}
    if options.json:
        console.write_json(facts)
    else:
        console.results().print(console.table(["what", "value"], [[name, str(facts[name])] for name in facts]))
    return EXIT_OK


def _command(options: Options) -> str:
    """Return what to type for the same weights, for the card: no folder of this machine in it."""
    words = ["vision-ik", "train", Path(options.robot).name, "--budget", f"{options.budget:g}"]
    more = {"--seed": options.seed or None, "--base": options.base, "--tip": options.tip}
    more["--from"] = None if options.start is None else options.start.name
    for name, value in more.items():
        words += [] if value is None else [name, str(value)]
    return shlex.join(words)
