"""What the joints of an arm may do, and how strictly the last guard watches over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vision_ik.types import Floats

if TYPE_CHECKING:
    from vision_ik.robots import RobotModel


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class JointLimits:
    """Limits of n joints; [rad] stands for [m] on prismatic joints."""

    names: tuple[str, ...]
    lower: Floats
    """(n,) [rad]; -inf for a continuous joint."""
    upper: Floats
    """(n,) [rad]; inf for a continuous joint."""
    velocity: Floats
    """(n,) [rad/s]"""
    acceleration: Floats
    """(n,) [rad/s^2]"""
    jerk: Floats
    """(n,) [rad/s^3]"""

    def __post_init__(self) -> None:
        n = len(self.names)
        for name in ("lower", "upper", "velocity", "acceleration", "jerk"):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != (n,) or np.isnan(array).any():
                raise ValueError(f"{name} needs one number for each of the {n} joints, not {array.tolist()}.")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if (self.lower > self.upper).any():
            raise ValueError("No lower limit may lie above the upper one.")
        for name in ("velocity", "acceleration", "jerk"):
            values = getattr(self, name)
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise ValueError(f"Limits of {name} must be positive and finite, not {values.tolist()}.")

    @classmethod
    def of(cls, robot: RobotModel) -> JointLimits:
        """Return the limits of a robot model."""
        return cls(
            names=tuple(robot.joint_names),
            lower=robot.lower,
            upper=robot.upper,
            velocity=robot.velocity,
            acceleration=robot.acceleration,
            jerk=robot.jerk,
        )

    @property
    def n(self) -> int:
        """Number of joints."""
        return len(self.names)

    def inside(self, margin: float) -> tuple[Floats, Floats]:
        """Return position limits (n,), (n,) drawn in by ``margin`` [rad]; narrow ranges to their middle at most."""
        kept = np.minimum(margin, 0.5 * (self.upper - self.lower))
        return self.lower + kept, self.upper - kept

    def scaled(self, scale: float) -> JointLimits:
        """Return limits with velocity, acceleration and jerk times ``scale`` in (0, 1]."""
        if not 0.0 < scale <= 1.0:
            raise ValueError(f"A scale of limits must be in (0, 1], not {scale}.")
        return JointLimits(
            names=self.names,
            lower=self.lower,
            upper=self.upper,
            velocity=scale * self.velocity,
            acceleration=scale * self.acceleration,
            jerk=scale * self.jerk,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """How the last guard of an arm behaves; the same for every driver."""

    position_margin: float = 1e-3
    """[rad] Kept from each position limit."""
    watchdog_s: float = 0.2
    """[s] Without a command for so long, the arm decelerates to a stop."""
    start_tolerance: float = 0.1
    """[rad] How far from the present posture a first command may be."""
    soft_start_s: float = 1.0
    """[s] Over which the speed limit rises from ``soft_start_speed`` to 1 after each standstill of the loop."""
    soft_start_speed: float = 0.1
    """Share of the velocity limit allowed at the first command, in (0, 1]."""
    period: float = 0.01
    """[s] The interval assumed before a first command, and the rate of the stop profile."""
    longest_interval: float = 0.04
    """[s] A later command counts as if it came so long after the set-point; keeps its step small."""

    def __post_init__(self) -> None:
        for name in ("watchdog_s", "start_tolerance", "period", "longest_interval"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}.")
        if not 0 < self.soft_start_speed <= 1:
            raise ValueError(f"soft_start_speed must be in (0, 1], not {self.soft_start_speed}.")
        if self.soft_start_s < 0 or self.position_margin < 0:
            raise ValueError("soft_start_s and position_margin must not be negative.")
        if self.longest_interval > self.watchdog_s:
            raise ValueError("longest_interval must not exceed watchdog_s.")
