"""What one sighting of a known marker says about camera and marker: where it is seen against where it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from calibration.hand_eye.values import ArmNoise
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount, Rig
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import Floats, PoseEstimate
from vision_ik.types._arrays import put, read_only

Holder: TypeAlias = Literal["base", "flange"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KnownMarker:
    """A marker that stays where it is, on the base (or anything that stands) or on the flange."""

    tag_id: int
    holder: Holder = "base"
    T_holder_tag: TransformLike | None = None
    """T_base_tag or T_flange_tag; None learns it from the first sightings, when nothing has moved yet."""
    covariance: Floats | None = None
    """(6, 6) of it, tangent at the pose, (v, w) [m, rad]; None takes it as exact."""
    name: str = ""
    """Shown in messages; by its id when empty."""

    def __post_init__(self) -> None:
        if self.holder not in ("base", "flange"):
            raise ValueError(f"holder must be base or flange, not {self.holder!r}.")
        if self.T_holder_tag is not None:
            put(self, "T_holder_tag", as_transform(self.T_holder_tag))
        if self.covariance is not None:
            put(self, "covariance", read_only(self.covariance, (6, 6), "covariance"))

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return self.name or f"marker {self.tag_id}"


@dataclass(frozen=True, slots=True, eq=False)
class Offset:
    """Where markers are seen against where they should be, in the marker's frame: a twist and what it may come from."""

    twist: Floats
    """(6,) from where it should be to where it is seen, (v, w) [m, rad]."""
    pixels: Floats
    """(6, 6) covariance from the noise of the pictures."""
    arm: Floats
    """(6, 6) from the arm, the same as long as it stands still."""
    lens: Floats
    """(6, 6) from whatever else stays: the lens, warmth."""
    by_camera: Floats
    """(6, 6) twist for a camera that moved by a twist in its own frame."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Chain:
    """From the camera to one marker, as the calibration has it."""

    mount: Mount
    T_mount_camera: Transform
    holder: Holder
    arm_sigma: ArmNoise
    floor: ArmNoise
    """What nothing is steadier than."""

    @classmethod
    def of(cls, rig: Rig, marker: KnownMarker, arm_sigma: ArmNoise, floor: ArmNoise) -> Chain:
        """Return the chain of a marker in a rig.

        Raises:
            CalibrationError: The rig does not know where its camera is.
        """
        if rig.T_mount_camera is None:
            raise CalibrationError(
                "This rig does not know where its camera is.", "Run `vision-ik calibrate hand-eye` first."
            )
        return cls(
            mount=rig.mount,
            T_mount_camera=rig.T_mount_camera,
            holder=marker.holder,
            arm_sigma=arm_sigma,
            floor=floor,
        )

    @property
    def through_arm(self) -> bool:
        """Whether the arm is between camera and marker."""
        return (self.mount == "eye_in_hand") == (self.holder == "base")

    def T_camera_holder(self, T_base_flange: Transform | None) -> Transform:
        """Return where the camera should see the holder.

        Raises:
            ValueError: The arm is in between, and its pose is not given.
        """
        T_camera_mount = self.T_mount_camera.inv()
        if not self.through_arm:
            return T_camera_mount
        if T_base_flange is None:
            raise ValueError("The arm is between camera and marker: T_base_flange is needed with each sighting.")
        return T_camera_mount @ (T_base_flange if self.mount == "eye_to_hand" else T_base_flange.inv())

    def nearest(self, seen: PoseEstimate, T_camera_tag: Transform) -> tuple[Transform, Floats]:
        """Return the planar solution that is turned least from where the tag should be, with its covariance."""
        mirrored, covariance = seen.alternative, seen.alternative_covariance
        if mirrored is None or covariance is None:
            return seen.T_camera_tag, seen.covariance
        turned = [T.distance_to(T_camera_tag)[1] for T in (seen.T_camera_tag, mirrored)]
        return (seen.T_camera_tag, seen.covariance) if turned[0] <= turned[1] else (mirrored, covariance)

    def offset(self, seen: PoseEstimate, T_holder_tag: Transform, T_base_flange: Transform | None) -> Offset:
        """Return how far off a sighting is."""
        T_camera_tag = self.T_camera_holder(T_base_flange) @ T_holder_tag
        pose, covariance = self.nearest(seen, T_camera_tag)
        lens = np.diag(np.repeat([self.floor.translation**2, self.floor.rotation**2], 3))
        if seen.lens_covariance is not None and self.through_arm:
            lens = lens + seen.lens_covariance  # a marker that stays in its place of the picture keeps its offset
        return Offset(
            twist=(T_camera_tag.inv() @ pose).log(),
            pixels=covariance,
            arm=self._arm(T_holder_tag, T_base_flange),
            lens=lens,
            by_camera=-T_camera_tag.inv().adjoint(),
        )

    def _arm(self, T_holder_tag: Transform, T_base_flange: Transform | None) -> Floats:
        """Return the (6, 6) covariance of a sighting from the arm's noise, a twist in the flange frame."""
        if not self.through_arm or T_base_flange is None:
            return np.zeros((6, 6))
        T_flange_tag = T_holder_tag if self.holder == "flange" else T_base_flange.inv() @ T_holder_tag
        A = T_flange_tag.inv().adjoint()
        sigma = np.repeat([self.arm_sigma.translation, self.arm_sigma.rotation], 3)
        return A * sigma**2 @ A.T
