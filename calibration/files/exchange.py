"""Where the camera is, from and for other software, by the name of its format."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from calibration.files.documents import load_document, reading
from calibration.files.easy_handeye import is_easy_handeye, read_easy_handeye, write_easy_handeye
from calibration.files.placement import OPTICAL_NAME, T_BODY_OPTICAL, Placement, at_link, placement_of
from calibration.files.pose_csv import transform_columns, transform_of_row
from calibration.files.static_tf import is_static_tf, read_static_tf, write_static_tf
from calibration.files.urdf_joint import is_urdf, read_urdf_joint, write_urdf_joint
from vision_ik.errors import ConfigError
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform

PlacementFormat: TypeAlias = Literal[
    "easy_handeye", "easy_handeye2", "urdf", "xacro", "static_tf", "static_tf_ros1", "csv"
]
PLACEMENT_FORMATS: tuple[PlacementFormat, ...] = get_args(PlacementFormat)
_READ = (
    "What is read: a calibration of easy_handeye or easy_handeye2 (YAML), a URDF with a fixed joint, a line or launch "
    "file with static_transform_publisher, a CSV with a header."
)


def read_placement(path: str | Path, *, child: str = "") -> Placement | None:
    """Read where a camera is from a file of other software; None where it is about something else.

    Args:
        path: The file; its format is told by its content.
        child: The camera's frame, where the file has several.

    Raises:
        ConfigError: The file is missing or malformed, or which frame is meant is not plain.
        InvalidPoseError: What it holds is no rigid transform.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Could not read {file}: {error.strerror}.", "Check the path.", path=file) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} holds no text.", _READ, path=file) from error
    if is_static_tf(text):
        return read_static_tf(file, text, child)
    if is_urdf(text):
        return read_urdf_joint(file, text, child)
    if file.suffix.lower() == ".csv":
        return _read_csv(file, load_document(file), child)
    document = load_document(file, ".yaml") if "transform" in text else None
    return read_easy_handeye(file, document) if is_easy_handeye(document) else None


def _read_csv(file: Path, document: Any, child: str) -> Placement:
    with reading(file, "CSV of a camera", "Give the header parent,child,x,y,z,qx,qy,qz,qw and one row."):
        header, *rows = cast("list[list[str]]", document)
        names = [dict(zip(header, row, strict=True)) for row in rows]
        chosen = [i for i, row in enumerate(names) if not child or row["child"] == child]
        if len(chosen) != 1:
            raise ConfigError(
                f"{file} has {len(chosen)} rows that may be the camera's.", "Say which: --child NAME.", path=file
            )
        i = chosen[0]
        T = transform_of_row(header, rows[i], i + 2)
        return Placement(parent=names[i]["parent"], child=names[i]["child"], T_parent_child=T, format="CSV")


def write_placement(
    rig: Rig,
    robot: RobotModel,
    to: PlacementFormat,
    *,
    parent: str = "",
    child: str = "",
    link: str = "",
    T_link_optical: Transform = T_BODY_OPTICAL,
    name: str = "vision_ik",
    note: str = "",
) -> str:
    """Return where the camera of a rig is, in the format of other software.

    Args:
        rig: With a camera pose.
        robot: Its arm.
        to: The format.
        parent: What carries the camera; by default the base or the tip of the robot's URDF.
        child: The camera's optical frame.
        link: The camera's housing, where that is to be placed: a URDF gets it between the two, other formats place it
            in place of the optical frame.
        T_link_optical: The optical frame in the housing.
        name: Of the calibration, where the format has one.
        note: A comment, where the format has a place for it.

    Raises:
        ConfigError: The rig does not know where its camera is.
    """
    placement = placement_of(rig, robot, parent=parent, child=child, name=OPTICAL_NAME)
    if to in ("urdf", "xacro"):
        return write_urdf_joint(placement, link=link, T_link_optical=T_link_optical, note=note, xacro=to == "xacro")
    if link:
        placement = at_link(placement, link, T_link_optical)
    match to:
        case "easy_handeye":
            return write_easy_handeye(placement, robot, name=name, version=1)
        case "easy_handeye2":
            return write_easy_handeye(placement, robot, name=name, version=2)
        case "static_tf":
            return write_static_tf(placement, ros=2)
        case "static_tf_ros1":
            return write_static_tf(placement, ros=1)
        case "csv":
            return _csv(placement)


def _csv(placement: Placement) -> str:
    names, values = transform_columns(placement.T_parent_child)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["parent", "child", *names])
    writer.writerow([placement.parent, placement.child, *(repr(value) for value in values)])
    return text.getvalue()
