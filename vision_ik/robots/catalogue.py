"""Arms that ship with the package, and the door to any other URDF."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from vision_ik.errors import RobotError
from vision_ik.robots.chain import build_robot
from vision_ik.robots.description import read_urdf
from vision_ik.robots.model import RobotModel

URDF_FOLDER = Path(__file__).resolve().parent / "urdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """What is known of a shipped arm beyond its URDF."""

    name: str
    title: str
    """Maker and model."""
    base: str
    tip: str
    reach: float
    """[m] As published by the maker."""
    home: tuple[float, ...]
    """One per joint [rad]."""
    acceleration: tuple[float, ...]
    """One per joint [rad/s^2]."""
    jerk: tuple[float, ...]
    """One per joint [rad/s^3]."""
    source: str
    """Where kinematics and position and velocity limits come from."""
    dynamics_source: str
    """Where acceleration and jerk come from."""

    @property
    def urdf_path(self) -> Path:
        """The shipped URDF."""
        return URDF_FOLDER / f"{self.name}.urdf"


def list_robots() -> tuple[str, ...]:
    """Return the names of the shipped arms."""
    return tuple(catalogue())


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Return the shipped arms by name."""
    data = tomllib.loads((URDF_FOLDER / "catalogue.toml").read_text(encoding="utf-8"))
    return {name: _entry(name, table) for name, table in data.items()}


def load_robot(name_or_urdf_path: str | Path, base: str | None = None, tip: str | None = None) -> RobotModel:
    """Return an arm of the catalogue, or the one in a URDF file.

    Acceleration, jerk and home come from the catalogue. A URDF has none, but for one that `save_urdf` wrote: it
    gets the defaults of `vision_ik.robots.chain` and the middle of its ranges; change them with `dataclasses.replace`.

    Args:
        name_or_urdf_path: A name from `list_robots`, or the path of a URDF.
        base: Link to start from; by default the catalogue's, or the root of the URDF (or as `save_urdf` wrote).
        tip: Link to end at; by default the catalogue's, or the only leaf of the URDF (or as `save_urdf` wrote).

    Raises:
        RobotError: The name is unknown, or the URDF holds no usable chain.
    """
    text = str(name_or_urdf_path)
    path = Path(name_or_urdf_path)
    for entry in catalogue().values():
        if text == entry.name or path.resolve() == entry.urdf_path:
            return _load_entry(entry, base, tip)
    if path.suffix or path.exists() or len(path.parts) > 1:
        return build_robot(read_urdf(path), base, tip)
    raise RobotError(
        f"No arm is called {text!r}.",
        f"Give the path of a URDF, or one of: {', '.join(list_robots())}.",
        name=text,
    )


@cache
def _load_entry(entry: CatalogueEntry, base: str | None, tip: str | None) -> RobotModel:
    """Return a shipped arm, which nobody can change: reading it takes 10 ms, so it is read once."""
    tree = read_urdf(entry.urdf_path)
    whole = build_robot(tree, entry.base, entry.tip)
    robot = replace(
        whole,
        name=entry.name,
        home=np.array(entry.home),
        acceleration=np.array(entry.acceleration),
        jerk=np.array(entry.jerk),
    )
    if base in (None, entry.base) and tip in (None, entry.tip):
        return robot
    part = build_robot(tree, base or entry.base, tip or entry.tip)
    missing = [joint for joint in part.joint_names if joint not in whole.joint_names]
    if missing:
        return replace(part, name=entry.name)
    rows = [whole.joint_names.index(joint) for joint in part.joint_names]
    return replace(
        part, name=entry.name, home=robot.home[rows], acceleration=robot.acceleration[rows], jerk=robot.jerk[rows]
    )


def _entry(name: str, table: dict[str, Any]) -> CatalogueEntry:
    return CatalogueEntry(
        name=name,
        title=table["title"],
        base=table["base"],
        tip=table["tip"],
        reach=table["reach"],
        home=tuple(table["home"]),
        acceleration=tuple(table["acceleration"]),
        jerk=tuple(table["jerk"]),
        source=table["source"],
        dynamics_source=table["dynamics_source"],
    )
