"""The camera as fixed joints of a URDF or xacro: **T_parent_child** as xyz [m] and rpy [rad] about fixed x, y, z.

Written is one joint from what carries the camera to its optical frame, or two with the camera's housing between:
carrier to ``camera_link``, ``camera_link`` to the optical frame. Read are fixed joints, one after the other, from the
optical frame up to the last that is fixed.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from calibration.files.documents import reading
from calibration.files.placement import T_BODY_OPTICAL, Placement, at_link
from vision_ik.errors import ConfigError
from vision_ik.robots.urdf_from_model import origin_values
from vision_ik.transforms import Transform

_REMEDY = "Give a URDF with a fixed joint to the camera's optical frame, expanded if it was xacro."


def is_urdf(text: str) -> bool:
    """Return whether a text has joints of a URDF."""
    return "<joint" in text


def read_urdf_joint(file: Path, text: str, child: str = "") -> Placement:
    """Return where the camera is.

    Args:
        file: Where the text is from.
        text: A URDF, or a piece of one.
        child: The camera's frame; by default the only one with "optical" in its name, or the only fixed joint's.

    Raises:
        ConfigError: It is malformed, holds expressions of xacro, or which frame is meant is not plain.
        InvalidPoseError: An origin is none.
    """
    with reading(file, "URDF", _REMEDY):
        joints = _fixed_joints(file, text)
        if not child:
            optical = [name for name in joints if "optical" in name.lower()]
            candidates = optical or list(joints)
            if len(candidates) != 1:
                listed = ", ".join(candidates) or "none"
                raise ConfigError(
                    f"{file} has {len(candidates)} frames that may be the camera's: {listed}.",
                    "Say which: --child NAME.",
                    path=file,
                )
            child = candidates[0]
        if child not in joints:
            raise ConfigError(
                f"{file} has no fixed joint to {child!r}, but to {', '.join(joints) or 'none'}.", _REMEDY, path=file
            )
        parent, T_parent_child = joints[child]
        while parent in joints:
            parent, T = joints[parent]
            T_parent_child = T @ T_parent_child
        return Placement(parent=parent, child=child, T_parent_child=T_parent_child, format="URDF")


def _fixed_joints(file: Path, text: str) -> dict[str, tuple[str, Transform]]:
    """Return parent and origin of every fixed joint, by child."""
    if "<!DOCTYPE" in text:
        raise ValueError("it holds a DOCTYPE, which no URDF needs")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        root = _piece(text)
    found: dict[str, tuple[str, Transform]] = {}
    for joint in root.iter("joint"):
        ends = [element.get("link") for name in ("parent", "child") if (element := joint.find(name)) is not None]
        if joint.get("type") != "fixed" or len(ends) != 2:
            continue
        parent, child = ends
        if parent is None or child is None:
            raise ValueError(f"the joint {joint.get('name')!r} has an end without a link")
        origin = joint.find("origin")
        words = {key: "0 0 0" if origin is None else origin.get(key, "0 0 0") for key in ("xyz", "rpy")}
        if "$" in "".join((parent, child, *words.values())):
            raise ConfigError(
                f"{file} holds expressions of xacro in the joint {joint.get('name')!r}.",
                "Expand it first: xacro camera.urdf.xacro > camera.urdf.",
                path=file,
            )
        xyz, rpy = (np.array([float(word) for word in words[key].split()]) for key in ("xyz", "rpy"))
        if xyz.shape != (3,) or rpy.shape != (3,):
            raise ValueError(f"the origin of the joint {joint.get('name')!r} needs three numbers each in xyz and rpy")
        found[child] = parent, Transform.from_xyz_rpy(xyz, rpy)
    return found


def _piece(text: str) -> ElementTree.Element:
    """Return a piece of a URDF, which has several elements at its top."""
    body = text.partition("?>")[2] if text.lstrip().startswith("<?xml") else text
    try:
        return ElementTree.fromstring(f'<robot xmlns:xacro="http://www.ros.org/wiki/xacro">{body}</robot>')
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no well-formed XML: {error}") from error


def write_urdf_joint(
    placement: Placement,
    *,
    link: str = "",
    T_link_optical: Transform = T_BODY_OPTICAL,
    note: str = "",
    xacro: bool = False,
) -> str:
    """Return the links and fixed joints of the camera, to put into the URDF of the arm.

    Args:
        placement: Of the camera's optical frame.
        link: The camera's housing, to put between; empty: the optical frame hangs on its carrier.
        T_link_optical: The optical frame in the housing.
        note: A comment at the head.
        xacro: Whether to make it a file of its own, to include from xacro.
    """
    pieces = [placement]
    if link:
        optical = Placement(parent=link, child=placement.child, T_parent_child=T_link_optical)
        pieces = [at_link(placement, link, T_link_optical), optical]
    lines: list[str] = []
    for piece in pieces:
        origin = origin_values(piece.T_parent_child.matrix)
        lines += [
            f"<link name={quoteattr(piece.child)}/>",
            f'<joint name={quoteattr(f"{piece.child}_joint")} type="fixed">',
            f"  <parent link={quoteattr(piece.parent)}/>",
            f"  <child link={quoteattr(piece.child)}/>",
            f'  <origin xyz="{origin["xyz"]}" rpy="{origin["rpy"]}"/>',
            "</joint>",
        ]
    said = [f"<!-- {note.replace('--', '- -')} -->"] if note else []
    if not xacro:
        return "\n".join([*said, *lines]) + "\n"
    head = ['<?xml version="1.0"?>', *said, '<robot xmlns:xacro="http://www.ros.org/wiki/xacro">']
    return "\n".join([*head, *(f"  {line}" for line in lines), "</robot>"]) + "\n"
