"""List the arms that ship with the package, or describe one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
      vision-ik robots panda                            joints, limits, home, sources
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
        if options.json:
            console.write_json(_facts(robot) | {"joints": _joints(robot)})
        else:
            _print_robot(robot)
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
        "weights": _has_weights(robot),
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


def _print_catalogue(robots: Sequence[RobotModel]) -> None:
    rows: list[Sequence[str | Text]] = []
    for facts in map(_facts, robots):
        weights = Text("yes", style="green") if facts["weights"] else Text("no", style="dim")
        chain = f"{facts['base']} → {facts['tip']}"
        row = (facts["name"], facts["title"], str(facts["n"]), f"{facts['reach']:.3f}", chain, weights)
        rows.append((*row, Text(facts["source"], style="dim")))
    columns = ("name", "arm", "joints", "reach [m]", "base → tip", "weights", "source")
    console.results().print(console.table(columns, rows, right=("joints", "reach [m]")))
    console.say(
        "`vision-ik robots NAME` shows the limits of one arm; any other URDF can be used by its path.", style="dim"
    )


def _print_robot(robot: RobotModel) -> None:
    facts = _facts(robot)
    rows = [_joint_row(robot, i) for i in range(robot.n)]
    columns = ("joint", "kind", "lower", "upper", "home", "speed /s", "acceleration /s²", "jerk /s³")
    title = f"{facts['name']}  {facts['title']}".strip()
    results = console.results()
    results.print(console.table(columns, rows, title=title, right=columns[2:]))
    reach = "" if facts["reach"] is None else f"{facts['reach']:.3f} m"
    lines = {
        "chain": f"{robot.base} → {robot.tip}",
        "reach": reach,
        "hash": robot.hash,
        "weights": "shipped" if facts["weights"] else f"none; train them with `vision-ik train {facts['name']}`",
        "URDF": facts["urdf"],
        "kinematics": facts["source"],
        "dynamics": facts["dynamics_source"],
    }
    for name, value in lines.items():
        if value:
            results.print(Text.assemble((f"  {name:<11}", "bold"), value), soft_wrap=True)


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


def _has_weights(robot: RobotModel) -> bool:
    from vision_ik.ik.weights_file import find_shipped

    return find_shipped(robot) is not None
