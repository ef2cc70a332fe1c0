"""Showing the tool where to go: T_tag_target from the arm, moved there by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.hand_eye.values import ArmNoise
from calibration.tool.values import TargetResult
from vision_ik.errors import ConfigError
from vision_ik.rig import Rig
from vision_ik.transforms import (
    Transform,
    TransformLike,
    as_transform,
    compose_covariance,
    mean_transform,
)
from vision_ik.types import Floats, PoseEstimate

_ARM = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Showing:
    """One time the tool was put where it shall go."""

    sighting: PoseEstimate
    """The tag, seen before the tool covered it; it has not moved since."""
    T_base_flange: TransformLike
    """Of the flange with the tool at its goal."""
    T_base_flange_sighting: TransformLike | None = None
    """Of the flange when the tag was seen: needed where the flange carries the camera."""


def teach_target(
    rig: Rig,
    showings: Sequence[Showing],
    *,
    tool_covariance: Floats | None = None,
    arm_sigma: ArmNoise = _ARM,
    standoff: float = 0.0,
) -> TargetResult:
    """Return where the tool shall go, seen from the tag, from putting it there once or several times.

    T_tag_target = T_tag_base T_base_flange T_flange_tool, in the mean over the showings.

    Args:
        rig: With the camera's place and the tool.
        showings: One or more.
        tool_covariance: (6, 6) of T_flange_tool; None takes it as exact.
        arm_sigma: Noise of the arm.
        standoff: How far [m] the target shall lie before the place shown, against the tool's z axis.

    Raises:
        ConfigError: The rig does not know its camera, or a showing does not tell where the flange was.
    """
    if not showings:
        raise ValueError("At least one showing is needed.")
    back = Transform.from_translation([0.0, 0.0, -standoff])
    targets, own, shared = zip(*(_one(rig, showing, arm_sigma, tool_covariance) for showing in showings), strict=True)
    mean = mean_transform(targets)
    n = len(targets)
    # What tag and arm blur anew each time averages out; what camera and tool are off by does not.
    covariance = np.mean(own, axis=0) / n + np.mean(shared, axis=0)
    offsets = [float(np.linalg.norm(T.translation - mean.translation)) for T in targets]
    Ad = back.inv().adjoint()
    return TargetResult(
        T_tag_target=mean @ back,
        covariance=Ad @ covariance @ Ad.T,
        spread=float(np.sqrt(np.sum(np.square(offsets)) / (n - 1))) if n > 1 else float("nan"),
    )


def _one(
    rig: Rig, showing: Showing, arm_sigma: ArmNoise, tool_covariance: Floats | None
) -> tuple[Transform, Floats, Floats]:
    """Return T_tag_target of one showing, its own covariance, and the one it shares with the others (6, 6)."""
    at_goal = as_transform(showing.T_base_flange)
    arm = np.diag(np.repeat([arm_sigma.translation, arm_sigma.rotation], 3) ** 2)
    T_base_camera = rig.T_base_camera(_seen_from(rig, showing))
    T_camera_tag, T_flange_tool = showing.sighting.T_camera_tag, rig.T_flange_tool
    target = (T_base_camera @ T_camera_tag).inv() @ at_goal @ T_flange_tool
    zero = np.zeros((6, 6))
    camera = zero if rig.camera_covariance is None else rig.camera_covariance
    lens = zero if showing.sighting.lens_covariance is None else showing.sighting.lens_covariance
    # The arm's error at the sighting is one of T_base_flange, right of it: it counts like one of the camera's place.
    mount = rig.T_mount_camera if rig.mount == "eye_in_hand" else None
    moved = zero if mount is None else compose_covariance(mount, arm, zero)
    own = compose_covariance(T_flange_tool, arm, zero)
    own = own + _of_tag(target, compose_covariance(T_camera_tag, moved, showing.sighting.covariance))
    shared = zero if tool_covariance is None else tool_covariance
    shared = shared + _of_tag(target, compose_covariance(T_camera_tag, camera, lens))
    return target, own, shared


def _seen_from(rig: Rig, showing: Showing) -> Transform:
    """Return where the flange was when the tag was seen; anything where it does not matter."""
    if showing.T_base_flange_sighting is not None:
        return as_transform(showing.T_base_flange_sighting)
    if rig.mount == "eye_in_hand":
        raise ConfigError(
            "The flange carries the camera, and nobody said where it was when the tag was seen.",
            "Give T_base_flange_sighting.",
        )
    return Transform.identity()


def _of_tag(T_tag_target: Transform, covariance: Floats) -> Floats:
    """Return what a covariance (6, 6) of T_base_tag comes to in T_tag_target.

    exp(xi)^-1 T_tag_target = T_tag_target exp(-Ad(T_target_tag) xi).
    """
    Ad = T_tag_target.inv().adjoint()
    return Ad @ covariance @ Ad.T
