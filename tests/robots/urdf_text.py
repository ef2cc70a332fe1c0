"""URDF text for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

LIMIT = '<limit lower="-2" upper="2" velocity="1.5" effort="10"/>'


def joint(
    name: str,
    parent: str,
    child: str,
    *,
    kind: str = "revolute",
    xyz: Sequence[float] = (0.0, 0.0, 0.3),
    rpy: Sequence[float] = (0.0, 0.0, 0.0),
    axis: Sequence[float] | None = (0.0, 0.0, 1.0),
    inside: str = LIMIT,
) -> str:
    """Return a <joint> element."""
    turn = "" if axis is None else f'<axis xyz="{_words(axis)}"/>'
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{_words(xyz)}" rpy="{_words(rpy)}"/>{turn}{inside}</joint>'
    )


def robot(*elements: str, links: Sequence[str] = ()) -> str:
    """Return a <robot> of these elements, with empty links of these names."""
    return "<robot name='arm'>" + "".join(f'<link name="{link}"/>' for link in links) + "".join(elements) + "</robot>"


def two_joints(second: str = "") -> str:
    """Return base - j1 - middle - j2 - tip; ``second`` replaces the second joint."""
    return robot(joint("j1", "base", "middle"), second or joint("j2", "middle", "tip"), links=("base", "middle", "tip"))


def write(folder: Path, text: str, name: str = "arm.urdf") -> Path:
    """Write ``text`` to a file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _words(numbers: Sequence[float]) -> str:
    return " ".join(repr(float(x)) for x in numbers)
