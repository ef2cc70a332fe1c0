"""What is told of a systematic error that was looked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Systematic:
    """One systematic error: how large, how sure, and whether the calibration takes it into account."""

    name: str
    estimate: float
    """In ``unit``; of errors with several numbers, the one that says most."""
    sigma: float
    """Its standard deviation, in ``unit``."""
    unit: str
    """"s", "%", "mm" or "px"."""
    gain: float
    """By which taking it into account raises the logarithm of the likelihood."""
    adopted: bool
    """Whether the views ask for it, so that the calibration takes it into account."""
    striking: bool
    """Whether the user should do something about it."""
    sentence: str
    """What it means and what to do."""
