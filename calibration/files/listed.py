"""The project's own files of views, both JSON: docs/conventions.md, "Views on disk".

``T_base_flange`` (also ``T_base_gripper``) is the flange in the base frame, 4x4, rows first, [m]; points
of the board are in the board's frame [m]; pixels have the centre of the top-left pixel at (0, 0).

Corners that were found already (``*.json``)::

    {"config": "eye_to_hand",                       # or eye_in_hand; optional
     "image_size": [640, 480],
     "board": [[0.03, 0.03, 0.0], ...],             # points of the board [m]
     "views": [{"id": 0,                            # name; optional
                "T_base_flange": [[...], ...],
                "corners": [[161.8, 571.5], ...],   # [px]
                "ids": [0, 1, ...]}]}               # which board points; null for all, in order

Pictures (``poses.json`` beside them)::

    {"config": "eye_in_hand",
     "views": [{"image": "0.png", "T_base_flange": [[...], ...],
                "q": [...],                         # joints [rad], [m]; optional, in either format
                "twist": [...]}]}                   # of the flange, (v, w) in its frame; optional: at rest
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from calibration.files.contents import PosedCorners, PosedPicture, PosedPictures
from calibration.files.documents import Document, matrix_pose, mount_of, reading
from calibration.hand_eye.values import HandEyeView
from vision_ik.errors import ConfigError
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, Floats

REMEDY = 'Compare it with docs/conventions.md, "Views on disk".'
WHAT = "list of views"


def is_listing(document: Document) -> bool:
    """Return whether this is meant to be such a file."""
    return isinstance(document, dict) and "views" in document


def read_listing(file: Path, document: Document) -> PosedCorners | PosedPictures:
    """Return its views.

    Raises:
        ConfigError: It is malformed; the sentence names the key.
        InvalidPoseError: A pose is no rigid transform.
    """
    with reading(file, WHAT, REMEDY):
        entries = cast("list[dict[str, Any]]", document["views"])
        mount = mount_of(document.get("config"))
        if entries and "image" in entries[0]:
            pictures = tuple(_picture(entry) for entry in entries)
            return PosedPictures(folder=file.parent, pictures=pictures, mount=mount)
        width, height = (int(n) for n in document["image_size"])
        points = np.array(document["board"], dtype=np.float64)
        views = tuple(_view(entry, str(entry.get("id", i)), points) for i, entry in enumerate(entries))
        return PosedCorners(views=views, image_size=(width, height), mount=mount)


def _picture(entry: Mapping[str, Any]) -> PosedPicture:
    name = str(entry["image"])
    return PosedPicture(name=name, T_base_flange=_pose(entry, name), **_motion(entry))


def _view(entry: Mapping[str, Any], name: str, board: Floats) -> HandEyeView:
    T_base_flange = _pose(entry, f"view {name}")
    ids = entry.get("ids")
    try:
        points = board if ids is None else _points(board, np.array(ids, dtype=np.int64))
        detection = BoardDetection(points_board=points, points_image=entry["corners"], timestamp=0.0)
    except ValueError as error:
        raise ValueError(f"view {name}: {error}") from error
    return HandEyeView(T_base_flange=T_base_flange, detection=detection, name=name, **_motion(entry))


def _points(board: Floats, ids: NDArray[np.int64]) -> Floats:
    """Return the points (M, 3) of the board that corners are.

    Raises:
        ValueError: There is no such point.
    """
    wrong = ids[(ids < 0) | (ids >= len(board))]
    if len(wrong):
        raise ValueError(f"it has the id {wrong[0]}, but the board has {len(board)} points, counted from 0")
    return board[ids]


def _motion(entry: Mapping[str, Any]) -> dict[str, Floats]:
    """Return the joints and the speed of the flange that a view was taken with, where the file has them."""
    return {key: np.array(entry[key], dtype=np.float64) for key in ("q", "twist") if entry.get(key) is not None}


def _pose(entry: Mapping[str, Any], place: str) -> Transform:
    matrix = entry.get("T_base_flange", entry.get("T_base_gripper"))
    if matrix is None:
        cause = f"{place[0].upper()}{place[1:]} has no pose of the arm."
        raise ConfigError(cause, "Give its T_base_flange, or take it out of the list.", view=place)
    return matrix_pose(matrix, place)
