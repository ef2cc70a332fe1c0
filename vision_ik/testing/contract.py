"""Contracts as lists of checks: run them under pytest, or in a plain loop.

Each suite takes a function that makes the thing under test and returns `Check` objects::

    @pytest.mark.parametrize("check", arm_contract(make_my_arm), ids=str)
    def test_my_arm_keeps_the_contract(check):
        check()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One clause of a contract; call it, and it raises `AssertionError` when the clause is broken."""

    sentence: str
    body: Callable[[], None]

    def __call__(self) -> None:
        """Run the check.

        Raises:
            AssertionError: The clause is broken; the sentence says which, and how.
        """
        try:
            self.body()
        except AssertionError as error:
            raise AssertionError(f"Broken: {self.sentence} {error}") from error

    def __str__(self) -> str:
        return self.sentence


def require(condition: bool, finding: str) -> None:
    """Raise `AssertionError` with what was found instead; unlike ``assert`` it also works under ``python -O``."""
    if not condition:
        raise AssertionError(finding)


def require_raises(kind: type[Exception] | tuple[type[Exception], ...], action: Callable[[], object]) -> None:
    """Require that ``action`` raises ``kind``."""
    try:
        action()
    except kind:
        return
    names = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
    raise AssertionError(f"Nothing was raised instead of {names}.")
