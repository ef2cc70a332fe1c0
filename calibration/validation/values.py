"""What the checks of a calibration come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vision_ik.types import Floats

CheckName = Literal["held-out views", "touch test", "depth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What the task can bear, root mean square; None: no verdict."""

    translation: float | None = None
    """[m]"""
    rotation: float | None = None
    """[rad]"""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CheckedView:
    """One fresh view against what the calibration predicts."""

    name: str
    position_error: float
    """[m] Of the middle of what was seen."""
    rotation_error: float
    """[rad]"""
    position_sigma: float
    """[m] Predicted root mean square of ``position_error``: calibration, arm and corners."""
    chi_square: float
    """Both errors in units of their covariance: 6 degrees of freedom."""
    pixel_rms: float
    """[px] Corners seen against those projected through the chain."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Touch:
    """One point of the touch test."""

    name: str
    p_base: Floats
    """(3,) where the calibration says the point is [m]."""
    offset: Floats
    """(3,) where the tip was, less where it was meant to be, in board axes [m]; NaN along what was not measured."""
    sigma: float
    """[m] Predicted root mean square over the measured axes."""

    @property
    def error(self) -> float:
        """Distance over the measured axes [m]."""
        return float(np.sqrt(np.nansum(np.square(self.offset))))


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """One check, with its verdict."""

    name: CheckName
    error: float
    """[m] Root mean square, or the offset found; NaN where nothing was measured."""
    sigma: float
    """[m] Predicted for ``error``, or of the offset found."""
    worst: float
    """[m]"""
    count: int
    """Views, touches or points that were looked at."""
    passed: bool | None
    """Against the tolerance; None without one, and where the check could not tell."""
    consistent: bool | None
    """Whether the error is one that the stated uncertainty explains; None where it cannot be told."""
    sentence: str
    skipped: str = ""
    """Why it was not made; empty where it was."""

    def as_facts(self) -> dict[str, Any]:
        """Return plain values, lengths in millimetres; what is not known is not there."""
        facts: dict[str, Any] = {
            "name": self.name,
            "error_mm": _mm(self.error),
            "sigma_mm": _mm(self.sigma),
            "worst_mm": _mm(self.worst),
            "count": self.count,
            "passed": self.passed,
            "consistent": self.consistent,
            "sentence": self.sentence,
            "skipped": self.skipped,
        }
        return {key: value for key, value in facts.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """All checks of one calibration."""

    checks: tuple[CheckReport, ...]

    @property
    def passed(self) -> bool | None:
        """False when one check failed, True when one passed and none failed, else None."""
        verdicts = [check.passed for check in self.checks if check.passed is not None]
        return all(verdicts) if verdicts else None

    @property
    def sentences(self) -> tuple[str, ...]:
        """What each check says."""
        return tuple(check.sentence or check.skipped for check in self.checks)

    def as_facts(self) -> dict[str, Any]:
        """Return plain values."""
        return {"passed": self.passed, "checks": [check.as_facts() for check in self.checks]}


def skipped(name: CheckName, why: str) -> CheckReport:
    """Return a check that was not made."""
    nothing = float("nan")
    return CheckReport(
        name=name,
        error=nothing,
        sigma=nothing,
        worst=nothing,
        count=0,
        passed=None,
        consistent=None,
        sentence="",
        skipped=why,
    )


def rms(values: Floats | list[float]) -> float:
    """Return the root mean square; NaN of nothing."""
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")


def _mm(value: float) -> float | None:
    return 1e3 * value if np.isfinite(value) else None
