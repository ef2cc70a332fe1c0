"""What a peer is to the bench, and what several need."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from vision_ik.errors import MissingDependencyError
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

Solve: TypeAlias = Callable[[Floats, Floats], Floats | None]
"""Joints (n,) for a pose T_base_tip (4, 4), from a start (n,); None where the peer finds none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another solver."""

    key: str
    name: str
    setting: str
    """What was asked of it so that its answers are good to 1e-6 m and rad."""
    make: Callable[[RobotModel], Solve]
    """Raises MissingDependencyError where its package is absent, RobotError where it refuses the arm."""


def load(module: str, package: str) -> Any:
    """Import a peer's module.

    Raises:
        MissingDependencyError: It is not installed, or does not load.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{package} is not installed." if isinstance(error, ModuleNotFoundError) else f"{package}: {error}.",
            "Install the extra `bench`: `pip install -e '.[bench]'`.",
            package=package,
        ) from error


def zero_frames(robot: RobotModel) -> Floats:
    """Return the base poses (n+1, 4, 4) of the joint frames, z along the axis, and of the tip, at zero joints."""
    T, frames = np.eye(4), np.empty((robot.n + 1, 4, 4))
    for k, link in enumerate(robot.fixed):
        T = T @ link
        frames[k] = T
    return frames


def turned_inside(robot: RobotModel, q: Floats) -> Floats:
    """Return ``q`` (n,) with each turning joint moved into its limits by whole turns where that can be done."""
    if ((q >= robot.lower) & (q <= robot.upper)).all():
        return q
    full = 2.0 * np.pi
    bounded = ~robot.prismatic & np.isfinite(robot.lower)
    turned = q.copy()
    turned[bounded] = robot.lower[bounded] + np.mod(q[bounded] - robot.lower[bounded], full)
    return turned
