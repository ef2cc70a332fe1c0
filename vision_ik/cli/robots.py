"""List the arms that ship with the package, or describe one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.text import Text

from vision_ik.cli import console
from vision_ik.cli.main import EXIT_OK
from vision_ik.robots import CatalogueEntry, RobotModel, catalogue, load_robot


@dataclass(frozen=True, kw_only=True)
class Options:
    """List the arms that ship with this package, or describe one.

    Examples:
      vision-ik robots
      vision-ik robots panda                            joints, limits, home, learned seeds, sources
      vision-ik robots my_arm.urdf --tip flange         whether a URDF of your own can be used
      vision-ik robots ur5e --json
    """

    name: tyro.conf.Positional[str] = ""
    """Catalogue name or URDF; everything in the catalogue when left out."""
    base: str | None = None
    """Link the chain starts from; by default the catalogue's, or the root of the URDF."""
    tip: str | None = None
    """Link the chain ends at; by default the catalogue's, or the only leaf of the URDF."""
    json: bool = False
    """Print JSON on stdout."""


def run(options: Options) -> int:
    """Print the catalogue, or one arm."""
    if options.name:
        robot = load_robot(options.name, options.base, options.tip)
        facts = _facts(robot) | {"seeds": _measured(robot, _seeds(robot))}
        if options.json:
            console.write_json(facts | {"joints": _joints(robot)})
        else:
            _print_robot(robot, facts, _training(options))
        return EXIT_OK
    robots = [load_robot(name) for name in catalogue()]
    if options.json:
        console.write_json([_facts(robot) for robot in robots])
    else:
        _print_catalogue(robots)
    return EXIT_OK


def _facts(robot: RobotModel) -> dict[str, Any]:
    """Return what is known of an arm as a whole; reach in metres, null for an arm outside the catalogue."""
    entry = _entry(robot)
    return {
        "name": robot.name,
        "title": entry.title if entry else "",
        "n": robot.n,
        "base": robot.base,
        "tip": robot.tip,
        "reach": entry.reach if entry else None,
        "hash": robot.hash,
        "seeds": _seeds(robot),
        "urdf": str(robot.urdf_path),
        "source": entry.source if entry else str(robot.urdf_path),
        "dynamics_source": entry.dynamics_source if entry else "the package's conservative defaults",
    }


def _joints(robot: RobotModel) -> list[dict[str, Any]]:
    """Return limits and home of each joint in SI units; null where a joint turns without end."""
    keys = ("lower", "upper", "velocity", "acceleration", "jerk", "home")
    return [
        {"name": joint, "kind": _kind(robot, i)} | {key: float(getattr(robot, key)[i]) for key in keys}
        for i, joint in enumerate(robot.joint_names)
    ]


def _seeds(robot: RobotModel) -> dict[str, Any] | None:
    """Return what the card of the shipped seeds says, and whether they are this arm's own; None if there are none."""
    from vision_ik.ik.variants import is_exact
    from vision_ik.ik.weights_file import find_shipped, read_card, trained_for

    weights = find_shipped(robot)
    if weights is None:
        return None
    card = read_card(weights)
    picture = weights.with_suffix(".png")
    return {
        "weights": str(weights),
        "trained_for": card["robot"],
        "exact": is_exact(trained_for(weights, robot), robot),
        "workspace_map": str(picture) if picture.is_file() else None,
        **card["metrics"],
    }


def _measured(robot: RobotModel, seeds: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return ``seeds`` with what they are worth on this arm: the card's figure, or on a variant a measured one."""
    if seeds is None:
        return None
    from vision_ik.ik.loading import load_seeds

    found = load_seeds(Path(seeds["weights"]), robot)[1]
    return seeds | {"first_shot_here": found.first_shot_measured, "used": found.used, "summary": str(found)}


def _print_catalogue(robots: Sequence[RobotModel]) -> None:
    rows: list[Sequence[str | Text]] = []
    for facts in map(_facts, robots):
        chain = f"{facts['base']} → {facts['tip']}"
        row = (facts["name"], facts["title"], str(facts["n"]), f"{facts['reach']:.3f}", chain)
        rows.append((*row, *_seed_cells(facts["seeds"])))
    columns = ("name", "arm", "joints", "reach [m]", "base → tip", "first shot", "trained")
    console.results().print(console.table(columns, rows, right=("joints", "reach [m]", "first shot")))
    console.say(
        "First shot: share of random poses solved from the learned seed alone.\n"
        "`vision-ik robots NAME` shows limits and sources of one arm; any other URDF can be used by its path.",
        style="dim",
    )


def _seed_cells(seeds: dict[str, Any] | None) -> tuple[str | Text, str | Text]:
    """Return first-shot success and date of training."""
    if seeds is None:
        return Text("no seeds", style="dim"), ""
    if not seeds["exact"]:
        return Text(f"as {seeds['trained_for']}", style="yellow"), ""
    share = f"{seeds['first_shot']:.2%}" if "first_shot" in seeds else "seeds"
    return Text(share, style="green"), seeds.get("date", "")


def _print_robot(robot: RobotModel, facts: dict[str, Any], training: str) -> None:
    rows = [_joint_row(robot, i) for i in range(robot.n)]
    columns = ("joint", "kind", "lower", "upper", "home", "speed /s", "acceleration /s²", "jerk /s³")
    title = f"{facts['name']}  {facts['title']}".strip()
    results = console.results()
    results.print(console.table(columns, rows, title=title, right=columns[2:]))
    lines = {
        "chain": f"{robot.base} → {robot.tip}",
        "reach": "" if facts["reach"] is None else f"{facts['reach']:.3f} m",
        "hash": robot.hash,
        **_seed_lines(facts["seeds"], training),
        "URDF": facts["urdf"],
        "kinematics": facts["source"],
        "dynamics": facts["dynamics_source"],
    }
    for name, value in lines.items():
        if value:
            results.print(Text.assemble((f"  {name:<11}", "bold"), value), soft_wrap=True)


def _seed_lines(seeds: dict[str, Any] | None, training: str) -> dict[str, str]:
    """Return what to print of the learned seeds."""
    if seeds is None:
        return {"seeds": f"none: solves start from random postures; train them with `{training}`"}
    card = []
    if "random_start" in seeds:
        card.append(f"{seeds['random_start']:.1%} from one random posture")
    if "iterations_mean" in seeds:
        card.append(f"{seeds['iterations_mean']:.1f} steps (99 %: {seeds.get('iterations_p99', float('nan')):.0f})")
    if "train_cpu_s" in seeds:
        card.append(f"trained in {seeds['train_cpu_s']:.0f} s of CPU time on {seeds.get('date', 'an unknown day')}")
    advice = "" if seeds["exact"] else f"; seeds of its own: `{training}`"
    cell = seeds.get("workspace", {}).get("first_shot_worst_cell")
    worst = "" if cell is None else f" (worst cell {cell:.1%} at the first shot)"
    return {
        "seeds": seeds["summary"] + advice,
        "card": ", ".join(card),
        "map": "" if seeds["workspace_map"] is None else seeds["workspace_map"] + worst,
        "weights": seeds["weights"],
    }


def _training(options: Options) -> str:
    """Return the command that trains seeds for the chain asked for."""
    ends = [word for key in ("base", "tip") if (link := getattr(options, key)) for word in (f"--{key}", link)]
    return shlex.join(["vision-ik", "train", options.name, *ends])


def _joint_row(robot: RobotModel, i: int) -> tuple[str, ...]:
    """Return the cells of one joint, in degrees or millimetres."""
    slides = bool(robot.prismatic[i])
    scale, unit = (1000.0, " mm") if slides else (float(np.degrees(1.0)), "°")
    values = (robot.lower, robot.upper, robot.home, robot.velocity, robot.acceleration, robot.jerk)
    cells = (f"{scale * array[i]:.1f}{unit}" if np.isfinite(array[i]) else "∞" for array in values)
    return robot.joint_names[i], _kind(robot, i), *cells


def _kind(robot: RobotModel, i: int) -> str:
    if robot.prismatic[i]:
        return "prismatic"
    return "revolute" if np.isfinite(robot.upper[i]) else "continuous"


def _entry(robot: RobotModel) -> CatalogueEntry | None:
    """Return the catalogue's entry of the file the arm was read from."""
    entry = catalogue().get(robot.name)
    return entry if entry is not None and entry.urdf_path == robot.urdf_path else None
