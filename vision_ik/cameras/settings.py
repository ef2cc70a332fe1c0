"""What is asked of a camera; what it grants instead is told by the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Mode = Literal["auto", "lock"]
"""``auto`` lets the camera choose all the time; ``lock`` stops it at what it chose for the first pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """Wishes for a live camera; None leaves things as they are.

    Drivers refuse much of this. Everything is read back, and what was not granted stands in the
    camera's ``mismatches``, one sentence each.
    """

    size: tuple[int, int] | None = None
    """(width, height) [px]"""
    rate: float | None = None
    """Frames per second."""
    pixel_format: str | None = None
    """Four characters, such as MJPG or YUYV; many webcams reach their full rate with MJPG alone."""
    exposure: float | Mode | None = None
    """Exposure time [s], or who chooses it. Short ones freeze motion; fixed ones keep grey levels comparable."""
    gain: float | None = None
    """On the driver's own scale."""
    focus: float | Mode | None = None
    """On the driver's own scale, or who chooses it. A lens that refocuses changes its calibration."""
    white_balance: float | Mode | None = None
    """Colour temperature [K], or who chooses it."""
    depth: bool = True
    """Whether a camera with depth should measure it."""
    patience: float = 30.0
    """[s] A device that went away is looked for so long; then reading fails. 0 fails at once."""

    def __post_init__(self) -> None:
        if self.size is not None and not min(self.size) > 0:
            raise ValueError(f"The size must be positive, not {self.size[0]}x{self.size[1]}.")
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise ValueError(f"The rate must be positive and finite, not {self.rate}.")
        if self.pixel_format is not None and not (len(self.pixel_format) == 4 and self.pixel_format.isascii()):
            raise ValueError(f"A pixel format has four ASCII characters, unlike {self.pixel_format!r}.")
        _check_value(self.exposure, "exposure", least=1e-6, most=60.0)
        _check_value(self.gain, "gain", least=-math.inf, most=math.inf)
        _check_value(self.focus, "focus", least=-math.inf, most=math.inf)
        _check_value(self.white_balance, "white balance", least=1000.0, most=20000.0)
        if not self.patience >= 0:
            raise ValueError(f"The patience must not be negative, but is {self.patience} s.")

    @property
    def locks(self) -> bool:
        """Whether something is to be stopped at what the camera chose."""
        return "lock" in (self.exposure, self.focus, self.white_balance)


def _check_value(value: float | str | None, name: str, *, least: float, most: float) -> None:
    if value is None or (isinstance(value, str) and value in ("auto", "lock")):
        return
    if isinstance(value, str):
        raise ValueError(f"The {name} is a number, auto or lock, not {value!r}.")
    if not (math.isfinite(value) and least <= value <= most):
        raise ValueError(f"The {name} must be finite and from {least:g} to {most:g}, not {value}.")
