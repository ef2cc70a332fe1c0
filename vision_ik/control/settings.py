"""What a servo loop is asked to keep."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vision_ik.tags.tracking.tracker import TrackerSettings
from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WorkspaceBox:
    """A box in the base frame that the tool's origin must not leave."""

    lower: Floats
    """(3,) [m]"""
    upper: Floats
    """(3,) [m]"""

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            corner = np.array(getattr(self, name), dtype=np.float64)
            if corner.shape != (3,) or np.isnan(corner).any():
                raise ValueError(f"{name} must be three numbers [m], not {corner.tolist()}.")
            corner.setflags(write=False)
            object.__setattr__(self, name, corner)
        if (self.lower >= self.upper).any():
            raise ValueError("Each lower bound of the workspace must be below the upper one.")

    def excess(self, p_base: Floats) -> Floats:
        """Return (3,) how far a point lies outside along each axis [m]; negative below, positive above, 0 inside."""
        return np.maximum(p_base - self.upper, 0.0) + np.minimum(p_base - self.lower, 0.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ServoSettings:
    """How fast, how far, how long: all bounds of a servo loop."""

    rate: float = 100.0
    """[Hz] Of control ticks."""
    tag_id: int | None = None
    """The tag to follow; None: the first one seen, until it is lost."""
    speed_scale: float = 0.5
    """Share of the robot's velocity, acceleration and jerk limits, in (0, 1]."""
    arm_latency: float = 0.0
    """[s] By which the arm trails its set-point; the target is predicted so far ahead."""
    max_data_age: float = 0.25
    """[s] After the target was last seen the arm comes to a controlled stop."""
    coasting_after: float = 0.1
    """[s] After the target was last seen the loop says that it relies on the prediction."""
    workspace: WorkspaceBox | None = None
    """None: only the joint limits bound the tool."""
    near_position: float = 0.02
    """[m] An unreachable target is approached when the closest pose is at least so near, ..."""
    near_rotation: float = 0.1
    """[rad] ... and so well aligned; otherwise the arm holds."""
    max_tracking_error: float = 0.2
    """[rad] Between set-point and measured posture; more stops the loop."""
    max_state_age: float = 0.1
    """[s] Of the newest joint state; older stops the arm until a fresh one comes."""
    soft_start_s: float = 1.0
    """[s] Over which the speed rises after each standstill."""
    soft_start_speed: float = 0.1
    """Share of the speed allowed at first, in (0, 1]."""
    tracker: TrackerSettings = field(default_factory=TrackerSettings)

    def __post_init__(self) -> None:
        for name in (
            "rate", "max_data_age", "coasting_after", "max_tracking_error", "max_state_age", "near_position",
            "near_rotation",
        ):  # fmt: skip
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}.")
        for name in ("speed_scale", "soft_start_speed"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], not {getattr(self, name)}.")
        for name in ("arm_latency", "soft_start_s"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}.")

    @property
    def period(self) -> float:
        """Time between control ticks [s]."""
        return 1.0 / self.rate
