"""Where every figure in the docs is made: one module a subject, run by ``vision-ik bench NAME``.

A bench module has ``TITLE: str`` and ``run(*, level: Level = Level.NORMAL) -> list[Figure | Table]``.
Timings are given as ratios within one run, or as CPU time with the machine named. One that takes minutes says with
``tell`` where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)
"""Who hears what `tell` is told."""

Cell: TypeAlias = str | float
"""A word, or a number that is rounded when it is printed."""


class Level(StrEnum):
    """How much is measured."""

    QUICK = "quick"
    """Seconds: whether everything runs, and rough figures."""
    NORMAL = "normal"
    """All benches together in a quarter of an hour on two cores."""
    FULL = "full"
    """The counts that the figures in the docs stand for."""

    def pick(self, *, quick: _T, normal: _T, full: _T) -> _T:
        """Return the value for this level."""
        return {Level.QUICK: quick, Level.NORMAL: normal, Level.FULL: full}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number and what was asked of it."""

    name: str
    value: float
    unit: str = ""
    target: str = ""
    """What was asked, in words ("at most 1.5"); empty when only reported."""
    met: bool | None = None
    """Whether the target is met; None when there is none."""
    note: str = ""
    """Conditions: seeds, sizes, peers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Numbers that say most side by side."""

    name: str
    columns: tuple[str, ...]
    """Headings, with the unit where there is one."""
    rows: tuple[tuple[Cell, ...], ...]
    """As many cells as there are columns; NaN prints as nothing."""
    note: str = ""
    """Conditions, in a line below."""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"Every row of {self.name!r} must have {len(self.columns)} cells.")


def tell(what: str) -> None:
    """Say in a few words what is being measured now, to whoever listens."""
    hear = listener.get()
    if hear is not None:
        hear(what)
