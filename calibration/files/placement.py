"""Where a camera is, as other software says it: a transform between two named frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from vision_ik.errors import ConfigError
from vision_ik.rig import Mount, Rig
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform

CameraFrame: TypeAlias = Literal["optical", "body"]
"""optical: x right, y down, z forward; body: x forward, y left, z up, as the housing in ROS (REP 103)."""

T_BODY_OPTICAL = Transform.from_parts(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))
"""The optical frame in a body frame with the same origin: REP 103, rpy = -pi/2, 0, -pi/2."""
OPTICAL_NAME = "camera_optical_frame"
"""What the camera's frame is called where nobody says."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Placement:
    """A camera's frame in the frame that carries it."""

    parent: str
    """Name of what carries it: the robot's base, its flange, or a link fixed to one of them."""
    child: str
    """Name of the camera's frame."""
    T_parent_child: Transform
    """The child in the parent [m]."""
    mount: Mount | None = None
    """Who carries the camera; None where only the parent's name tells."""
    format: str = ""
    """That it was read from."""


def placement_of(
    rig: Rig, robot: RobotModel, *, parent: str = "", child: str = "", name: str = OPTICAL_NAME
) -> Placement:
    """Return where the camera of a rig is, for other software.

    Args:
        rig: With a camera pose.
        robot: Its arm, for the names of base and flange.
        parent: What other software calls what carries the camera; by default as in the robot's URDF.
        child: What it calls the camera's optical frame; by default ``name``.
        name: Default of ``child``.

    Raises:
        ConfigError: The rig does not know where its camera is.
    """
    if rig.T_mount_camera is None:
        raise ConfigError(
            "This rig does not know where its camera is.", "Run `vision-ik calibrate hand-eye` on it first."
        )
    carrier = robot.base if rig.mount == "eye_to_hand" else robot.tip
    return Placement(
        parent=parent or carrier, child=child or name, T_parent_child=rig.T_mount_camera, mount=rig.mount
    )  # fmt: skip


def at_link(placement: Placement, link: str, T_link_optical: Transform = T_BODY_OPTICAL) -> Placement:
    """Return where the link is that the optical frame is fixed to, such as the housing (``camera_link``).

    Args:
        placement: Of the optical frame.
        link: Name of the link.
        T_link_optical: The optical frame in the link; by default that of a body frame with the same origin.
    """
    return replace(placement, child=link, T_parent_child=placement.T_parent_child @ T_link_optical.inv())


def T_mount_camera_of(
    placement: Placement, robot: RobotModel, *, mount: Mount | None = None, frame: CameraFrame | None = None
) -> tuple[Mount, Transform, tuple[str, ...]]:
    """Return who carries the camera, T_mount_camera (base or flange to optical frame), and what was assumed.

    A parent that is fixed to the base or to the flange of the arm, by the arm's URDF, is carried over to it.

    Args:
        placement: As other software says it.
        robot: The arm.
        mount: Who carries the camera, where the file does not say.
        frame: Which frame of the camera the child is; None: by its name.

    Raises:
        ConfigError: Who carries the camera, or which of its frames is meant, is not known; or the file says otherwise.
    """
    if mount is not None and placement.mount not in (None, mount):
        raise ConfigError(
            f"The file is about a camera that is mounted {placement.mount}, not {mount}.", "Leave --mount out."
        )
    mount = mount or placement.mount
    remarks: list[str] = []
    T_parent_camera = placement.T_parent_child
    kind = frame or _frame_of(placement.child)
    if kind == "body":
        T_parent_camera = T_parent_camera @ T_BODY_OPTICAL
        remarks.append(
            f"{placement.child} is taken for the camera's housing (x forward), with the optical frame in the same "
            "place: an offset between the two is missing."
        )
    found = _carrier(robot, placement.parent)
    if found is None and mount is None:
        raise ConfigError(
            f"{placement.parent!r} is no link that is fixed to the base ({robot.base}) or the flange ({robot.tip}) of "
            f"{robot.name}, so who carries the camera is not known.",
            "Say --mount eye_to_hand or --mount eye_in_hand.",
        )
    if found is None:
        known = robot.base if mount == "eye_to_hand" else robot.tip
        remarks.append(f"{placement.parent} is taken for {known} of {robot.name}.")
        return mount or "eye_to_hand", T_parent_camera, tuple(remarks)
    carrier, T_mount_parent = found
    if mount is not None and mount != carrier:
        raise ConfigError(
            f"{placement.parent!r} belongs to the {'base' if carrier == 'eye_to_hand' else 'flange'} of {robot.name}, "
            f"and the camera is said to be mounted {mount}.",
            f"Check the frames of the file, or give --mount {carrier}.",
        )
    return carrier, T_mount_parent @ T_parent_camera, tuple(remarks)


def _frame_of(child: str) -> CameraFrame:
    """Return which frame of a camera has this name.

    Raises:
        ConfigError: It could be either.
    """
    name = child.lower()
    if "optical" in name:
        return "optical"
    raise ConfigError(
        f"The frame {child!r} of the camera may be the optical one (z forward) or that of the housing (x forward).",
        "Say which: --camera-frame optical or --camera-frame body.",
    )


def _carrier(robot: RobotModel, link: str) -> tuple[Mount, Transform] | None:
    """Return whether a link hangs on the base or on the flange, and its pose there; None where on neither."""
    name = link.strip("/")
    if name == robot.base:
        return "eye_to_hand", Transform.identity()
    if name == robot.tip:
        return "eye_in_hand", Transform.identity()
    if name not in robot.links:
        return None
    i = robot.links.index(name)
    T_frame_link = Transform(robot.Ts_frame_link[i])
    frame, last = int(robot.link_frames[i]), len(robot.joint_names)
    if frame == 0:
        return "eye_to_hand", T_frame_link
    if frame == last:
        return "eye_in_hand", Transform(robot.fixed[-1]).inv() @ T_frame_link
    return None
