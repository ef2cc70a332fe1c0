"""Arms that the tests of this room make up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vision_ik.robots import RobotModel, load_robot
from vision_ik.types import Floats

_TYPES = {"R": "revolute", "C": "continuous", "P": "prismatic", "H": "revolute", "S": "prismatic"}
HELD = 0.15
"""[rad], [m] Where joints H and S are held."""


def made_arm(folder: Path, kinds: str, *, limit: float = 2.5, seed: int = 0) -> RobotModel:
    """Return an arm with one joint per letter, with random axes and offsets.

    R is revolute, C continuous, P prismatic, H a revolute joint whose limits are equal, S such a prismatic one.
    """
    rng = np.random.default_rng(seed)
    text = ['<robot name="made">', *(f'<link name="l{k}"/>' for k in range(len(kinds) + 2))]
    for k, kind in enumerate(kinds):
        axis = rng.normal(size=3)
        bound = 0.4 if kind == "P" else limit
        lower, upper = (HELD, HELD) if kind in "HS" else (-bound, bound)
        text.append(
            f'<joint name="j{k}" type="{_TYPES[kind]}"><parent link="l{k}"/><child link="l{k + 1}"/>'
            f'<origin xyz="{_words(rng.uniform(-0.3, 0.3, 3))}" rpy="{_words(rng.uniform(-1, 1, 3))}"/>'
            f'<axis xyz="{_words(axis / np.linalg.norm(axis))}"/>'
            f'<limit lower="{lower}" upper="{upper}" velocity="2" effort="10"/></joint>'
        )
    n = len(kinds)
    text.append(
        f'<joint name="end" type="fixed"><parent link="l{n}"/><child link="l{n + 1}"/>'
        '<origin xyz="0.05 0 0.1" rpy="0 0.3 0"/></joint></robot>'
    )
    path = folder / "made.urdf"
    path.write_text("".join(text), encoding="utf-8")
    return load_robot(path)


def random_postures(robot: RobotModel, rng: np.random.Generator, count: int) -> Floats:
    """Return (count, n) uniform postures, whole turns left out."""
    lower, upper = np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi)
    return rng.uniform(lower, upper, (count, robot.n))


def _words(numbers: Sequence[float] | Floats) -> str:
    return " ".join(f"{x:.12f}" for x in numbers)
