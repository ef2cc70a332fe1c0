"""Where every figure in the docs is made: one module a subject, run by ``vision-ik bench NAME``.

A bench module has ``TITLE: str`` and ``run(*, quick: bool = False) -> list[Figure]``.
Timings are given as ratios within one run, or as CPU time with the machine named.
"""

from __future__ import annotations

from dataclasses import dataclass


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
