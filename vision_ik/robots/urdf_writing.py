"""Write an arm as URDF: the file it was read from with what has changed, or one made from the model.

A calibrated or narrowed arm keeps its author's meshes, colours, inertias and comments: only the origins of the joints
whose frames moved, and the limits that differ, are rewritten. A model whose file is gone, or whose chain the file
cannot express, is written from the model alone, with its capsules as shape.

Home, acceleration, jerk and the two ends of the chain have no place in the format. They go into an element
``<vision_ik>`` below ``<robot>``, which other parsers pass over and `vision_ik.robots.load_robot` reads.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.parsers.expat import ExpatError

import numpy as np

from vision_ik.errors import RobotError
from vision_ik.files import write_atomic
from vision_ik.robots.chain import build_robot, turn_to_z
from vision_ik.robots.description import UrdfJoint, UrdfTree, parse_urdf, read_urdf
from vision_ik.robots.model import RobotModel
from vision_ik.robots.urdf_from_model import describe, extras_element, numbers, origin_values
from vision_ik.robots.urdf_text import UrdfText, apply_edits, find_tags, with_attributes
from vision_ik.types import Floats

SAME = 1e-9
"""[m, 1] Largest entry by which a chain that was read back may differ."""
_UNMOVED = 1e-13
"""[m, 1] Frames nearer than this have not been touched: their text stays."""


def save_urdf(robot: RobotModel, path: str | Path, *, note: str = "") -> Path:
    """Write an arm so that `load_robot` gives it back: same chain, limits, home and shape.

    Args:
        robot: The arm, often with ``fixed`` replaced by a calibration.
        path: The file; its folder is made if it is missing.
        note: A comment at the head of the file, such as how it was calibrated.

    Returns:
        The path written.

    Raises:
        RobotError: The chain cannot be written so that it reads back the same.
        RecordingError: The file cannot be written.
    """
    file = Path(path)
    data = _patched(robot, file, note)
    if data is None or not _reads_back(data, robot, file):
        data = describe(robot, note).encode()
        if not _reads_back(data, robot, file):
            raise RobotError(
                f"The chain of {robot.name!r} cannot be written as URDF: it reads back differently.",
                "Check that its constant transforms are rigid.",
                robot=robot.name,
            )
    return write_atomic(file, data)


def _patched(robot: RobotModel, file: Path, note: str) -> bytes | None:
    """Return the text of the arm's own file with what has changed; None where the file does not show this arm."""
    try:
        tree = read_urdf(robot.urdf_path)
        nominal = build_robot(tree, robot.base, robot.tip)
        text = find_tags(robot.urdf_path.read_bytes())
    except (RobotError, OSError, ExpatError):
        return None  # another file by now, or none at all: the model alone is left
    if nominal.joint_names != robot.joint_names or not np.array_equal(nominal.prismatic, robot.prismatic):
        return None
    edits = _mesh_edits(text, robot.urdf_path.parent, file.parent)
    edits += _joint_edits(text, tree, nominal, robot)
    start, end = text.robot.start, text.robot.end
    edits.append((start, end, with_attributes(text.data[start:end], {"name": robot.name}) + _head(robot, note)))
    if text.extras is not None:
        edits.append((*text.extras, b""))
    return apply_edits(text.data, edits)


def _head(robot: RobotModel, note: str) -> bytes:
    comment = f"\n  <!-- {note.replace('--', '- -')} -->" if note else ""
    return f"{comment}\n  {extras_element(robot)}".encode()


def _joint_edits(
    text: UrdfText, tree: UrdfTree, nominal: RobotModel, robot: RobotModel
) -> list[tuple[int, int, bytes]]:
    edits: list[tuple[int, int, bytes]] = []
    by_name = {joint.name: joint for joint in tree.joints.values()}
    poses = dict(zip(nominal.links, nominal.Ts_frame_link, strict=True))
    for i, name in enumerate(robot.joint_names):
        joint = by_name[name]
        if np.abs(nominal.fixed[i] - robot.fixed[i]).max() > _UNMOVED:
            T_parent_joint = np.linalg.inv(poses[joint.parent]) @ robot.fixed[i] @ turn_to_z(joint.axis).T
            edits.append(_origin_edit(text, name, T_parent_joint))
        edits += _limit_edits(text, joint, nominal, robot, i)
    last = tree.joints[robot.tip]
    moved = np.abs(nominal.fixed[-1] - robot.fixed[-1]).max() > _UNMOVED
    if moved and last.kind == "fixed":
        edits.append(_origin_edit(text, last.name, np.linalg.inv(poses[last.parent]) @ robot.fixed[-1]))
    return edits


def _origin_edit(text: UrdfText, joint: str, T_parent_joint: Floats) -> tuple[int, int, bytes]:
    values = origin_values(T_parent_joint)
    tag = text.origins.get(joint)
    if tag is not None:
        return tag.start, tag.end, with_attributes(text.data[tag.start : tag.end], values)
    after = text.joints[joint].end
    return after, after, f'\n    <origin xyz="{values["xyz"]}" rpy="{values["rpy"]}"/>'.encode()


def _limit_edits(
    text: UrdfText, joint: UrdfJoint, nominal: RobotModel, robot: RobotModel, i: int
) -> list[tuple[int, int, bytes]]:
    """Return what turns the file's limits of a joint into the model's."""
    names = ("lower", "upper", "velocity")
    if all(getattr(nominal, name)[i] == getattr(robot, name)[i] for name in names):
        return []
    edits: list[tuple[int, int, bytes]] = []
    endless = bool(np.isinf(robot.lower[i]))
    values = {"velocity": numbers([robot.velocity[i]])}
    if not endless:
        values |= {"lower": numbers([robot.lower[i]]), "upper": numbers([robot.upper[i]])}
    if endless != (joint.kind == "continuous"):
        tag = text.joints[joint.name]
        kind = "continuous" if endless else "revolute"
        edits.append((tag.start, tag.end, with_attributes(text.data[tag.start : tag.end], {"type": kind})))
    tag = text.limits.get(joint.name)
    if tag is not None:
        edits.append((tag.start, tag.end, with_attributes(text.data[tag.start : tag.end], values)))
    else:
        after = text.joints[joint.name].end
        edits.append((after, after, with_attributes(b'\n    <limit effort="0"/>', values)))
    return edits


def _mesh_edits(text: UrdfText, old: Path, new: Path) -> list[tuple[int, int, bytes]]:
    """Return edits that keep relative file names of meshes right in another folder."""
    edits: list[tuple[int, int, bytes]] = []
    for tag, name in text.meshes:
        if not name or "://" in name or Path(name).is_absolute() or old.resolve() == new.resolve():
            continue
        try:
            there = Path(os.path.relpath((old / name).resolve(), new.resolve())).as_posix()
        except ValueError:  # on another drive
            there = (old / name).resolve().as_posix()
        edits.append((tag.start, tag.end, with_attributes(text.data[tag.start : tag.end], {"filename": there})))
    return edits


def _reads_back(data: bytes, robot: RobotModel, file: Path) -> bool:
    """Return whether the text gives this chain with these limits."""
    try:
        read = build_robot(parse_urdf(data, file))
    except RobotError:
        return False
    same = ("lower", "upper", "velocity", "acceleration", "jerk", "home")
    return (
        (read.base, read.tip, read.joint_names) == (robot.base, robot.tip, robot.joint_names)
        and np.array_equal(read.prismatic, robot.prismatic)
        and bool(np.abs(read.fixed - robot.fixed).max() < SAME)
        and all(np.array_equal(getattr(read, name), getattr(robot, name)) for name in same)
    )
