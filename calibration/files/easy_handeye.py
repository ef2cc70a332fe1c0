"""Calibrations of easy_handeye (ROS 1) and easy_handeye2 (ROS 2): parameters and a transform, in YAML.

The transform is the frame ``tracking_base_frame``, the camera's, in ``robot_effector_frame`` (eye in hand) or in
``robot_base_frame`` (eye on base): **T_parent_child** with the camera as child, [m], and a quaternion x y z w.

easy_handeye: ``parameters: {eye_on_hand: ...}``, ``transformation: {x, y, z, qx, qy, qz, qw}``; its first versions
have the parameters at the top. easy_handeye2: ``parameters: {calibration_type: eye_in_hand}`` or ``eye_on_base``,
``transform: {translation: {x, y, z}, rotation: {x, y, z, w}}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import yaml

from calibration.files.documents import Document, quaternion_pose, reading
from calibration.files.placement import Placement
from calibration.files.samples import EASY_TYPES, easy_transform
from vision_ik.config import refuse_unknown, text
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform

_REMEDY = "Compare it with a file that easy_handeye wrote."
_FRAMES = ("robot_base_frame", "robot_effector_frame", "tracking_base_frame", "tracking_marker_frame")
_PARAMETERS = {
    *_FRAMES,
    "eye_on_hand",
    "calibration_type",
    "namespace",
    "name",
    "move_group",
    "move_group_namespace",
    "freehand_robot_movement",
}
_FLAT = {"x", "y", "z", "qx", "qy", "qz", "qw"}


def is_easy_handeye(document: Document) -> bool:
    """Return whether this is meant to be such a file."""
    return isinstance(document, dict) and (
        "transformation" in document or ("transform" in document and "parameters" in document)
    )


def read_easy_handeye(file: Path, document: Document) -> Placement:
    """Return where the camera is.

    Raises:
        ConfigError: It is malformed, or has keys that nobody reads.
        InvalidPoseError: The transform is none.
    """
    with reading(file, "calibration of easy_handeye", _REMEDY):
        table = cast("dict[str, Any]", document)
        parameters = table.get("parameters")
        if parameters is None:
            parameters = {key: value for key, value in table.items() if key != "transformation"}
        refuse_unknown(parameters, _PARAMETERS, "parameters.")
        T = _transform(table)
        mount = _mount(parameters)
        carrier = parameters["robot_base_frame" if mount == "eye_to_hand" else "robot_effector_frame"]
        return Placement(
            parent=text(carrier, "the name of a frame"),
            child=text(parameters["tracking_base_frame"], "the name of a frame"),
            T_parent_child=T,
            mount=mount,
            format="easy_handeye2" if "transform" in table else "easy_handeye",
        )


def _transform(table: dict[str, Any]) -> Transform:
    if "transform" in table:
        refuse_unknown(table["transform"], {"translation", "rotation"}, "transform.")
        refuse_unknown(table["transform"]["rotation"], set("xyzw"), "transform.rotation.")
        return easy_transform(table["transform"], "the camera")
    refuse_unknown(table["transformation"], _FLAT, "transformation.")
    return quaternion_pose(table["transformation"], "the camera")


def _mount(parameters: dict[str, Any]) -> Mount:
    if "calibration_type" in parameters:
        kind = str(parameters["calibration_type"])
        if kind not in EASY_TYPES:
            raise ValueError(f"calibration_type must be one of {', '.join(EASY_TYPES)}, not {kind!r}")
        return EASY_TYPES[kind]
    on_hand = parameters["eye_on_hand"]
    if not isinstance(on_hand, bool):
        raise TypeError(f"eye_on_hand must be true or false, not {on_hand!r}")
    return "eye_in_hand" if on_hand else "eye_to_hand"


def write_easy_handeye(placement: Placement, robot: RobotModel, *, name: str, version: Literal[1, 2] = 2) -> str:
    """Return the YAML of a calibration.

    Args:
        placement: Of the camera's optical frame, with its mount.
        robot: For the name of the frame at the other end of the arm.
        name: Of the calibration, by which easy_handeye finds it.
        version: 1 for ROS 1, 2 for ROS 2.
    """
    in_hand = placement.mount == "eye_in_hand"
    frames = {
        "robot_base_frame": robot.base if in_hand else placement.parent,
        "robot_effector_frame": placement.parent if in_hand else robot.tip,
        "tracking_base_frame": placement.child,
        "tracking_marker_frame": "tracking_marker",
    }
    x, y, z = placement.T_parent_child.translation.tolist()
    qx, qy, qz, qw = placement.T_parent_child.rotation_xyzw.tolist()
    common = {"freehand_robot_movement": True, "move_group_namespace": "/", "move_group": "manipulator"}
    if version == 2:
        kind = "eye_in_hand" if in_hand else "eye_on_base"
        document: dict[str, Any] = {
            "parameters": {"name": name, "calibration_type": kind, **frames, **common},
            "transform": {
                "translation": {"x": x, "y": y, "z": z},
                "rotation": {"x": qx, "y": qy, "z": qz, "w": qw},
            },
        }
    else:
        space = f"/{name}_{'eye_on_hand' if in_hand else 'eye_on_base'}/"
        document = {
            "parameters": {"namespace": space, "eye_on_hand": in_hand, **frames, **common},
            "transformation": {"x": x, "y": y, "z": z, "qx": qx, "qy": qy, "qz": qz, "qw": qw},
        }
    return yaml.safe_dump(document, sort_keys=False)
