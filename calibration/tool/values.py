"""What the calibration of a tool comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.hand_eye.values import ArmNoise
from vision_ik.transforms import Transform
from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchReport:
    """How one touch, or one view of a tag on the tool, fits the others."""

    name: str
    used: bool
    """False when it was left out of the fit."""
    reason: str
    """Why it was left out; empty when used."""
    error: float
    """[m] How far the tip was from where all other touches put the point (NaN where they do not tell)."""
    chi_square: float
    """That error squared, in units of its covariance: 3 degrees of freedom for a touch, 6 for a view."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextTouch:
    """The orientation from which one more touch would tell most."""

    T_base_flange: Transform
    """With the tip at the same point."""
    tilt_deg: float
    """How far the tool leans from the mean of the touches so far ..."""
    turn_deg: float
    """... and how far it is turned about itself."""
    sigma_before: float
    """[m] Of the tip, root mean square, as it is ..."""
    sigma_after: float
    """[m] ... and with this touch."""
    sentence: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ToolResult:
    """Where the tool is on the flange, and how sure that is."""

    T_flange_tool: Transform
    """Its origin is the tip, or what ``T_tool_tag`` says."""
    covariance: Floats
    """(6, 6) of T_flange_tool, tangent at the pose (right perturbation, tool frame), (v, w) [m, rad]; zero in the
    orientation where that was not measured."""
    orientation: str
    """Where the orientation is from, in words."""
    point: Floats
    """(3,) touched point in the base frame [m]; NaN for a tag."""
    point_covariance: Floats
    """(3, 3) [m^2]"""
    arm_sigma: ArmNoise
    """Noise of the arm, a person's aim among it; estimated unless it was given."""
    noise_estimated: bool
    touches: tuple[TouchReport, ...]
    warnings: tuple[str, ...] = ()
    next_touch: NextTouch | None = None
    """What would tell most about a tip; None for a tag."""

    @property
    def used(self) -> int:
        """Number of touches or views in the fit."""
        return sum(touch.used for touch in self.touches)

    @property
    def tip(self) -> Floats:
        """(3,) of the tool's origin in the flange frame [m]."""
        return self.T_flange_tool.translation

    @property
    def tip_covariance(self) -> Floats:
        """(3, 3) of ``tip``, in flange axes [m^2]."""
        R = self.T_flange_tool.rotation
        return R @ self.covariance[:3, :3] @ R.T

    @property
    def sigma_translation(self) -> float:
        """Predicted root mean square error of the tool's origin [m]."""
        return float(np.sqrt(np.trace(self.covariance[:3, :3])))

    @property
    def sigma_rotation(self) -> float:
        """Predicted root mean square error of the tool's orientation [rad]; 0 where it was not measured."""
        return float(np.sqrt(np.trace(self.covariance[3:, 3:])))

    @property
    def held_out(self) -> float:
        """RMS distance [m] of the tip from the point, each touch predicted by the others, its own noise included."""
        errors = [touch.error for touch in self.touches if touch.used]
        return float(np.sqrt(np.mean(np.square(errors))))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TargetResult:
    """Where the tool shall go, seen from a tag."""

    T_tag_target: Transform
    covariance: Floats
    """(6, 6) of T_tag_target, tangent at the pose, (v, w) [m, rad]: tag, camera, arm and tool."""
    spread: float
    """[m] RMS distance of single showings from their mean; NaN for one."""

    @property
    def sigma_translation(self) -> float:
        """Predicted root mean square error of the target's place [m]."""
        return float(np.sqrt(np.trace(self.covariance[:3, :3])))
