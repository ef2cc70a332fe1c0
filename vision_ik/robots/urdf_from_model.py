"""A URDF made from the model alone: links, joints, limits, and the capsules as shape."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vision_ik.robots.model import Capsule, RobotModel
from vision_ik.robots.urdf_text import escaped
from vision_ik.types import Floats

_ROUNDING = 1e-12
"""[m, 1] A link this near to a joint's axis can be that joint's child."""


def describe(robot: RobotModel, note: str = "") -> str:
    """Return the URDF of a model; efforts and masses, which it does not know, are left out or zero."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f'<robot name="{escaped(robot.name)}">']
    if note:
        lines.append(f"  <!-- {note.replace('--', '- -')} -->")
    lines.append(f"  {extras_element(robot)}")
    links = list(zip(robot.links, robot.link_frames.tolist(), robot.Ts_frame_link, strict=True))
    carriers = [_carrier(robot, links, frame) for frame in range(robot.n + 1)]
    known = {robot.base, robot.tip, *robot.links, *(name for name, _ in carriers)}
    for link in sorted(known, key=lambda name: robot.links.index(name) if name in robot.links else len(robot.links)):
        lines += _link(link, [c for c in robot.capsules if c.link == link and not c.stand_in])
    for i, name in enumerate(robot.joint_names):
        (parent, T_frame_parent), (child, T_frame_child) = carriers[i], carriers[i + 1]
        T_parent_child = np.linalg.inv(T_frame_parent) @ robot.fixed[i] @ T_frame_child
        lines += _moving_joint(robot, i, name, parent, child, T_parent_child, T_frame_child[2, :3])
    for link, frame, T_frame_link in links:
        parent, T_frame_parent = carriers[frame]
        if link not in (parent, robot.tip):
            lines += _fixed_joint(parent, link, np.linalg.inv(T_frame_parent) @ T_frame_link)
    parent, T_frame_parent = carriers[-1]
    if parent != robot.tip:
        lines += _fixed_joint(parent, robot.tip, np.linalg.inv(T_frame_parent) @ robot.fixed[-1])
    return "\n".join([*lines, "</robot>", ""])


def extras_element(robot: RobotModel) -> str:
    """Return what the format has no place for, see `vision_ik.robots.description.UrdfExtras`."""
    ends = f'base="{escaped(robot.base)}" tip="{escaped(robot.tip)}"'
    values = (f'{key}="{numbers(getattr(robot, key))}"' for key in ("home", "acceleration", "jerk"))
    return f"<vision_ik {ends} {' '.join(values)}/>"


def origin_values(T: Floats) -> dict[str, str]:
    """Return xyz and rpy of a URDF origin (4, 4)."""
    return {"xyz": numbers(T[:3, 3]), "rpy": numbers(rpy_of(T[:3, :3]))}


def rpy_of(R: Floats) -> tuple[float, float, float]:
    """Return the fixed-axis x-y-z angles [rad] of a rotation (3, 3), to rounding also where pitch is near 90 degrees.

    Each angle is taken out before the next is read, so that an ill-determined yaw is made up for by the roll.
    """
    yaw = float(np.arctan2(R[1, 0], R[0, 0]))
    c, s = np.cos(yaw), np.sin(yaw)
    rest = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) @ R
    return float(np.arctan2(-rest[1, 2], rest[1, 1])), float(np.arctan2(-rest[2, 0], rest[0, 0])), yaw


def numbers(values: Iterable[float]) -> str:
    """Return numbers as text that reads back exactly."""
    return " ".join(repr(float(x) + 0.0) for x in values)


def _carrier(robot: RobotModel, links: list[tuple[str, int, Floats]], frame: int) -> tuple[str, Floats]:
    """Return the link that stands for a frame in the tree, with its pose there: one on the joint's axis, or a new one.

    The tip is the first choice for the last frame only if it lies where ``fixed`` says.
    """
    if frame == 0:
        return robot.base, np.eye(4)
    for name, at, T in links:
        on_axis = bool((np.abs(T[:3, 3]) < _ROUNDING).all())
        if at == frame and on_axis and (name != robot.tip or np.abs(T - robot.fixed[-1]).max() < _ROUNDING):
            return name, T
    return f"{robot.joint_names[frame - 1]}_frame", np.eye(4)


def _link(name: str, capsules: list[Capsule]) -> list[str]:
    if not capsules:
        return [f'  <link name="{escaped(name)}"/>']
    lines = [f'  <link name="{escaped(name)}">']
    for capsule in capsules:
        colour = f'<material name=""><color rgba="{numbers(capsule.rgba)}"/></material>'
        for shape in _shapes(capsule):
            lines += [f"    <visual>{shape}{colour}</visual>", f"    <collision>{shape}</collision>"]
    return [*lines, "  </link>"]


def _shapes(capsule: Capsule) -> list[str]:
    """Return a capsule as a cylinder and a sphere at each end, which every parser reads."""
    radius = numbers([capsule.radius])
    spheres = [
        f'<origin xyz="{numbers(end)}"/><geometry><sphere radius="{radius}"/></geometry>'
        for end in (capsule.p0, capsule.p1)
    ]
    axis = capsule.p1 - capsule.p0
    length = float(np.linalg.norm(axis))
    if length == 0.0:
        return spheres[:1]
    # The turn of z to the axis, as roll about x and then pitch about y.
    x, y, z = axis / length
    rpy = numbers([-np.arcsin(np.clip(y, -1.0, 1.0)), np.arctan2(x, z), 0.0])
    centre = numbers(0.5 * (capsule.p0 + capsule.p1))
    body = f'<cylinder radius="{radius}" length="{numbers([length])}"/>'
    return [f'<origin xyz="{centre}" rpy="{rpy}"/><geometry>{body}</geometry>', *spheres]


def _moving_joint(
    robot: RobotModel, i: int, name: str, parent: str, child: str, T_parent_child: Floats, axis: Floats
) -> list[str]:
    endless = bool(np.isinf(robot.lower[i]))
    kind = "prismatic" if robot.prismatic[i] else "continuous" if endless else "revolute"
    limits = "" if endless else f'lower="{numbers([robot.lower[i]])}" upper="{numbers([robot.upper[i]])}" '
    return [
        f'  <joint name="{escaped(name)}" type="{kind}">',
        *_ends(parent, child, T_parent_child),
        f'    <axis xyz="{numbers(axis)}"/>',
        f'    <limit {limits}velocity="{numbers([robot.velocity[i]])}" effort="0"/>',
        "  </joint>",
    ]


def _fixed_joint(parent: str, child: str, T_parent_child: Floats) -> list[str]:
    name = escaped(f"{parent}-{child}")
    return [f'  <joint name="{name}" type="fixed">', *_ends(parent, child, T_parent_child), "  </joint>"]


def _ends(parent: str, child: str, T_parent_child: Floats) -> list[str]:
    origin = origin_values(T_parent_child)
    return [
        f'    <parent link="{escaped(parent)}"/>',
        f'    <child link="{escaped(child)}"/>',
        f'    <origin xyz="{origin["xyz"]}" rpy="{origin["rpy"]}"/>',
    ]
