"""Poses as CSV with a header line that says what each column is, in whatever order.

A row is a view: ``image`` (optional; without it the pictures of the folder belong to the rows in their natural
order), then the flange in the base frame, **T_base_flange**:

- ``x, y, z`` in [m], or ``x_mm, y_mm, z_mm``;
- ``qx, qy, qz, qw``, or a rotation vector ``rx_deg, ry_deg, rz_deg`` (also ``_rad``), axis times angle, or
  ``roll_deg, pitch_deg, yaw_deg`` (also ``_rad``), turned about the fixed axes x, then y, then z.

The same names behind ``board_`` hold the board in the camera's optical frame, **T_camera_board**, for pairs of
poses without pictures. Where the order of a quaternion, or a unit, is not said, nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy.spatial.transform import Rotation

from calibration.files.contents import PosedPicture, PosedPictures, PosePairs
from calibration.files.documents import Document, quaternion_pose, reading
from calibration.files.pairing import find_pictures, in_order
from vision_ik.errors import ConfigError
from vision_ik.transforms import Transform
from vision_ik.types import Floats

_REMEDY = (
    "Write a header line: image,x,y,z,qx,qy,qz,qw, or with x_mm,y_mm,z_mm, rx_deg,ry_deg,rz_deg or "
    "roll_deg,pitch_deg,yaw_deg."
)
_IMAGE = ("image", "picture", "file")
_QUATERNION = ("qx", "qy", "qz", "qw")
_TRIPLES = ("rx", "ry", "rz"), ("roll", "pitch", "yaw")
_BOARD = "board_"


def is_pose_csv(document: Document) -> bool:
    """Return whether this is meant to be such a file: rows of several cells."""
    return isinstance(document, list) and bool(document) and isinstance(document[0], list) and len(document[0]) >= 6


def read_pose_csv(file: Path, document: Document) -> PosedPictures | PosePairs:
    """Return its views.

    Raises:
        ConfigError: There is no header, it leaves something open, or a row is malformed.
        InvalidPoseError: A pose is no rigid transform.
    """
    rows = cast("list[list[str]]", document)
    with reading(file, "CSV of poses", _REMEDY):
        header = [cell.lower().replace(" ", "").replace("[", "_").replace("]", "") for cell in rows[0]]
        _check_header(file, header)
        views = [_row(header, row, line) for line, row in enumerate(rows[1:], start=2)]
        flanges = [_pose(view, f"row {line}") for line, view in enumerate(views, start=2)]
        if any(name.startswith(_BOARD) for name in header):
            boards = [_pose(_board_of(view), f"the board in row {line}") for line, view in enumerate(views, start=2)]
            return PosePairs(
                names=tuple(str(view.get("name", i)) for i, view in enumerate(views)),
                Ts_base_flange=_stack(flanges),
                Ts_camera_board=_stack(boards),
            )
        image = next((name for name in _IMAGE if name in header), None)
        if image is not None:
            names = [str(view[image]) for view in views]
        else:
            paths = in_order(find_pictures(file.parent), len(views), file)
            names = [path.relative_to(file.parent).as_posix() for path in paths]
        pictures = tuple(PosedPicture(name=n, T_base_flange=T) for n, T in zip(names, flanges, strict=True))
        return PosedPictures(folder=file.parent, pictures=pictures)


def transform_columns(T: Transform) -> tuple[list[str], list[float]]:
    """Return the names and the values of x, y, z [m], qx, qy, qz, qw."""
    return ["x", "y", "z", *_QUATERNION], [*T.translation.tolist(), *T.rotation_xyzw.tolist()]


def transform_of_row(header: Sequence[str], row: Sequence[str], line: int) -> Transform:
    """Return the transform of one row.

    Raises:
        KeyError: A column is missing.
        ValueError: A cell is no number, or the row has another length than the header.
        InvalidPoseError: It is no rigid transform.
    """
    return _pose(_row(list(header), list(row), line), f"row {line}")


def _check_header(file: Path, header: list[str]) -> None:
    """Refuse what would have to be guessed.

    Raises:
        ConfigError: There is no header, or it does not say in which order a quaternion stands or which unit an angle
            has.
    """
    if all(_is_number(cell) for cell in header[-6:]):
        raise ConfigError(
            f"{file} starts with numbers, not with a header: whether a quaternion stands as qx qy qz qw or as "
            "qw qx qy qz cannot be seen from it.",
            _REMEDY,
            path=file,
        )
    for prefix in ("", _BOARD):
        own = [
            name.removeprefix(prefix) for name in header if name.startswith(prefix) and (prefix or _BOARD not in name)
        ]
        vague = [name for name in own if name in ("q0", "q1", "q2", "q3", "q4")]
        if vague:
            raise ConfigError(
                f"{file} calls parts of a quaternion {', '.join(vague)}, which does not say where the scalar stands.",
                "Call the columns qx, qy, qz and qw.",
                path=file,
            )
        for names in _TRIPLES:
            bare = [name for name in own if name in names]
            if bare:
                raise ConfigError(
                    f"{file} does not say which unit {', '.join(bare)} have.",
                    f"Call the columns {', '.join(f'{name}_deg' for name in names)}, or _rad.",
                    path=file,
                )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row(header: list[str], row: list[str], line: int) -> dict[str, Any]:
    if len(row) != len(header):
        raise ValueError(f"row {line} has {len(row)} cells, and the header {len(header)}")
    values: dict[str, Any] = {}
    for name, cell in zip(header, row, strict=True):
        if name in (*_IMAGE, "name", "parent", "child", "frame_id", "child_frame_id"):
            values[name] = cell
            continue
        try:
            values[name] = float(cell)
        except ValueError as error:
            raise ValueError(f"{name} in row {line} is {cell!r}, no number") from error
    return values


def _board_of(view: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(_BOARD): value for name, value in view.items() if name.startswith(_BOARD)}


def _pose(view: Mapping[str, Any], place: str) -> Transform:
    position: dict[str, float] = {}
    for name in "xyz":
        if f"{name}_mm" in view:
            position[name] = view[f"{name}_mm"] / 1000.0
        else:
            position[name] = view[f"{name}_m"] if f"{name}_m" in view else view[name]
    for names in _TRIPLES:
        for unit, scale in (("deg", np.pi / 180.0), ("rad", 1.0)):
            if f"{names[0]}_{unit}" in view:
                angles = scale * np.array([view[f"{name}_{unit}"] for name in names])
                turned = Rotation.from_rotvec(angles) if names[0] == "rx" else Rotation.from_euler("xyz", angles)
                return Transform.from_parts(turned.as_matrix(), list(position.values()))
    return quaternion_pose(position | {name: view[name] for name in _QUATERNION}, place)


def _stack(poses: list[Transform]) -> Floats:
    return np.array([pose.matrix for pose in poses]).reshape(-1, 4, 4)
