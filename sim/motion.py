"""How tags move: paths in the plane of the tag, as exact functions of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from vision_ik.transforms import Transform

Shape: TypeAlias = Literal["static", "line", "circle", "figure8"]
SHAPES: tuple[Shape, ...] = ("static", "line", "circle", "figure8")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Motion:
    """A periodic path around a centre pose; it starts from rest and reaches full speed smoothly."""

    T_world_centre: Transform
    """Pose of the tag in the middle of the path; the path lies in its x-y plane."""
    shape: Shape = "static"
    width_m: float = 0.0
    """[m] Extent along the tag's x axis."""
    height_m: float = 0.0
    """[m] Extent along the tag's y axis; a line ignores it."""
    period_s: float = 8.0
    """[s] For one round at full speed."""
    ramp_s: float = 2.0
    """[s] From rest to full speed; 0 starts at full speed."""
    swing_rad: float = 0.0
    """[rad] Amplitude of a rotation about the tag's x axis, once a round."""

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"A motion must be one of {', '.join(SHAPES)}, not {self.shape!r}.")
        if not self.period_s > 0 or self.ramp_s < 0 or self.width_m < 0 or self.height_m < 0:
            raise ValueError("period_s must be positive; ramp_s, width_m and height_m must not be negative.")

    def pose(self, t: float) -> Transform:
        """Return T_world_tag at time ``t`` [s]; before 0 the tag rests at the start of its path."""
        if self.shape == "static":
            return self.T_world_centre
        phase = 2.0 * np.pi / self.period_s * self._run_time(t)
        x, y = 0.5 * self.width_m, 0.5 * self.height_m
        match self.shape:
            case "line":
                offset = (x * np.sin(phase), 0.0, 0.0)
            case "circle":
                offset = (x * np.cos(phase), y * np.sin(phase), 0.0)
            case _:
                offset = (x * np.sin(phase), y * np.sin(2.0 * phase), 0.0)
        swing = (self.swing_rad * np.sin(phase), 0.0, 0.0)
        return self.T_world_centre @ Transform.from_xyz_rpy(offset, swing)

    def _run_time(self, t: float) -> float:
        """Return the integral of a speed that rises as 3 s^2 - 2 s^3 over the ramp."""
        if t >= self.ramp_s:
            return t - 0.5 * self.ramp_s
        if t <= 0.0:
            return 0.0
        s = t / self.ramp_s
        return self.ramp_s * (s**3 - 0.5 * s**4)
