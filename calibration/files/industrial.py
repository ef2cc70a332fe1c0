"""Data sets of ROS-Industrial's industrial_calibration: ``cal_data.yaml`` with pictures and pose files.

    data:
      - {image: images/0.png, pose: poses/0.yaml}      # beside cal_data.yaml
    target_finder: {type: CharucoGridTargetFinder, rows: 7, cols: 5, ...}
    intrinsics: {fx: 1352.0, fy: 1356.1, cx: 789.7, cy: 627.3}     # [px], no distortion
    static_camera: true                                # eye to hand; false: eye in hand

A pose file holds x, y, z [m] and qx, qy, qz, qw of the camera's or the target's mount, that is of the
flange, in the base frame: T_base_flange.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from calibration.files.contents import PosedPicture, PosedPictures
from calibration.files.documents import Document, load_document, quaternion_pose, reading
from vision_ik.cameras.pictures import decode_image
from vision_ik.errors import ConfigError, FrameReadError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, CharucoBoard, TagGridBoard

_WHAT = "industrial_calibration data set"
_REMEDY = "Compare it with a cal_data.yaml of industrial_calibration's examples."
_DICTIONARIES = {
    getattr(cv2.aruco, f"DICT_{n}X{n}_{count}"): f"{n}x{n}_{count}"
    for n in (4, 5, 6, 7)
    for count in (50, 100, 250, 1000)
} | {
    cv2.aruco.DICT_ARUCO_ORIGINAL: "aruco_original",
    cv2.aruco.DICT_APRILTAG_16h5: "16h5",
    cv2.aruco.DICT_APRILTAG_25h9: "25h9",
    cv2.aruco.DICT_APRILTAG_36h10: "36h10",
    cv2.aruco.DICT_APRILTAG_36h11: "36h11",
}  # fmt: skip


def is_industrial(document: Document) -> bool:
    """Return whether this is meant to be such a file."""
    entries = document.get("data") if isinstance(document, dict) else None
    return isinstance(entries, list) and any(
        isinstance(entry, dict) and {"image", "pose"} & entry.keys() for entry in cast("list[object]", entries)
    )


def read_industrial(file: Path, document: Document) -> PosedPictures:
    """Return its pictures and poses.

    Raises:
        ConfigError: It is malformed, a pose is missing, or its target is one that nobody here can find.
        InvalidPoseError: A pose is no rigid transform.
    """
    with reading(file, _WHAT, _REMEDY):
        pictures = tuple(_picture(file, i, entry) for i, entry in enumerate(document["data"]))
        finder = document.get("target_finder")
        return PosedPictures(
            folder=file.parent,
            pictures=pictures,
            mount=_mount(document.get("static_camera")),
            board=None if finder is None else _board(file, finder),
            lens=_lens(file.parent / pictures[0].name, document.get("intrinsics")) if pictures else None,
        )


def _picture(file: Path, index: int, entry: Mapping[str, Any]) -> PosedPicture:
    for key in ("image", "pose"):
        if key not in entry:
            raise ValueError(f"entry {index} of data has no {key}")
    name, place = str(entry["image"]), file.parent / str(entry["pose"])
    if not place.is_file():
        raise ConfigError(
            f"{file} names the pose {entry['pose']}, which is not there, for the picture {name}.",
            "Bring the file back, or take the entry out of data.",
            path=place,
        )
    pose = load_document(place)
    with reading(place, "pose", "Give x, y, z [m] and qx, qy, qz, qw."):
        if not isinstance(pose, dict):
            raise TypeError(f"it holds {pose!r}")
        T_base_flange: Transform = quaternion_pose(cast("dict[str, Any]", pose), name)
    return PosedPicture(name=name, T_base_flange=T_base_flange)


def _mount(static: object) -> Mount | None:
    if static is None:
        return None
    if not isinstance(static, bool):
        raise TypeError(f"static_camera must be true or false, not {static!r}")
    return "eye_to_hand" if static else "eye_in_hand"


def _board(file: Path, finder: Mapping[str, Any]) -> Board:
    kind = str(finder["type"])
    if kind == "CharucoGridTargetFinder":
        return CharucoBoard(
            columns=int(finder["cols"]),
            rows=int(finder["rows"]),
            square_m=float(finder["chessboard_dim"]),
            marker_m=float(finder["aruco_marker_dim"]),
            family=_family(finder["dictionary"]),
        )
    if kind == "ArucoGridTargetFinder":
        return TagGridBoard(
            columns=int(finder["cols"]),
            rows=int(finder["rows"]),
            tag_m=float(finder["aruco_marker_dim"]),
            gap_m=float(finder["marker_gap"]),
            family=_family(finder["dictionary"]),
        )
    raise ConfigError(
        f"{file} shows the target of a {kind}, which is not looked for here.",
        "Find its points with other software, and write them as corners: docs/conventions.md, "
        '"Views on disk". ChArUco boards and grids of ArUco markers are found.',
        path=file,
    )


def _family(dictionary: object) -> str:
    """Return the family of OpenCV's number or name of a dictionary."""
    if isinstance(dictionary, int) and dictionary in _DICTIONARIES:
        return _DICTIONARIES[dictionary]
    name = str(dictionary).lower().removeprefix("dict_").removeprefix("apriltag_")
    if name in _DICTIONARIES.values():
        return name
    raise ValueError(f"there is no dictionary {dictionary!r}")


def _lens(picture: Path, values: Mapping[str, Any] | None) -> CameraIntrinsics | None:
    """Return the lens that is stated; None where none is, or where no picture tells the size."""
    if values is None:
        return None
    try:
        height, width = decode_image(picture).shape[:2]
    except FrameReadError:
        return None
    fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    return CameraIntrinsics(K=K, width=width, height=height)
