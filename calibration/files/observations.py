"""Views from files: corners or pictures beside the poses of the arm.

Two formats, told apart by their content, both JSON; lengths in metres, pixels with the centre of
the top-left pixel at (0, 0).

Corners that were found already (``*.json``)::

    {"config": "eye_to_hand",                       # or eye_in_hand; optional
     "image_size": [640, 480],
     "board": [[0.03, 0.03, 0.0], ...],             # points of the board [m]
     "views": [{"id": 0,                            # name; optional
                "T_base_flange": [[...], ...],      # 4x4; also called T_base_gripper
                "corners": [[161.8, 571.5], ...],   # [px]
                "ids": [0, 1, ...]}]}               # which board points; null for all, in order

Pictures (``poses.json`` beside them)::

    {"config": "eye_in_hand",
     "views": [{"image": "0.png", "T_base_flange": [[...], ...],
                "q": [...],                         # joints [rad], [m]; optional, in either format
                "twist": [...]}]}                   # of the flange, (v, w) in its frame; optional: at rest
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from calibration.hand_eye.values import HandEyeView
from calibration.views.missing import MissingBoard
from vision_ik.cameras.pictures import decode_image
from vision_ik.errors import CalibrationError, ConfigError, InvalidPoseError
from vision_ik.rig import Mount
from vision_ik.tags import BoardFinder
from vision_ik.transforms import Transform
from vision_ik.types import Board, BoardDetection, CameraIntrinsics, Floats, Frame, TagBundle

_FORMATS = 'Compare it with docs/conventions.md, "Views on disk".'
_ROUNDED = 1e-3
"""Deviation of a rotation from orthonormal that is taken for rounding in the file, and mended."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Observations:
    """Views read from a file."""

    views: tuple[HandEyeView, ...]
    image_size: tuple[int, int]
    """Width, height [px]."""
    mount: Mount | None
    """None when the file does not say."""
    unseen: tuple[str, ...] = ()
    """Pictures in which the board was not found."""
    board: Board | None = None
    """What the print in the pictures is; None where corners were read."""
    remarks: tuple[str, ...] = ()
    """What was wrong with the board as told."""


def read_observations(path: str | Path, *, board: Board | None = None) -> Observations:
    """Read views from a JSON file, or from the only one in a folder.

    Args:
        path: The file or its folder.
        board: Layout to look for, where the file names pictures.

    Raises:
        ConfigError: No such file, malformed, or pictures without a board; the sentence names the key.
        InvalidPoseError: A pose is no rigid transform.
        FrameReadError: A picture cannot be decoded.
        TagError: The pictures show another board, or the board mirrored.
    """
    file = views_file(Path(path))
    try:
        data = cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))
        entries = cast("list[dict[str, Any]]", data["views"])
        mount = _mount(data.get("config"))
        if entries and "image" in entries[0]:
            return _from_pictures(file, entries, mount, board)
        width, height = (int(n) for n in data["image_size"])
        points = np.array(data["board"], dtype=np.float64)
        views = tuple(_view(entry, str(entry.get("id", i)), points) for i, entry in enumerate(entries))
    except OSError as error:
        raise ConfigError(f"Could not read {file}: {error.strerror}.", "Check the path.", path=file) from error
    except KeyError as error:
        raise ConfigError(f"{file} lacks the key {error}.", _FORMATS, path=file) from error
    except InvalidPoseError:
        raise
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"{file} is no valid list of views: {error}.",
            _FORMATS,
            path=file,
        ) from error
    return Observations(views=views, image_size=(width, height), mount=mount)


def views_file(path: Path) -> Path:
    """Return the file that holds the views of a folder, or the file itself.

    Raises:
        ConfigError: There is none, or it is not plain which.
    """
    if path.is_file():
        return path
    named = path / "poses.json"
    found = [named] if named.is_file() else sorted(path.glob("*.json"))
    if len(found) != 1:
        raise ConfigError(
            f"{path} holds {len(found) or 'no'} JSON files; one with the views is needed.",
            'Name the file, or put a poses.json beside the pictures: docs/conventions.md, "Views on disk", shows one.',
            path=path,
        )
    return found[0]


def _from_pictures(file: Path, entries: list[dict[str, Any]], mount: Mount | None, board: Board | None) -> Observations:
    if board is None:
        raise ConfigError(
            f"{file} names pictures, but nobody said which board they show.",
            "Give its --columns, --rows, --square-mm, --marker-mm and --board-family.",
        )
    views: list[HandEyeView] = []
    unseen: list[str] = []
    size = (0, 0)
    finder, missing = BoardFinder(board), MissingBoard(board)
    for i, entry in enumerate(entries):
        name = str(entry["image"])
        image = decode_image(file.parent / name)
        shape = (int(image.shape[1]), int(image.shape[0]))
        if size not in ((0, 0), shape):
            raise CalibrationError(
                f"{name} measures {shape[0]}x{shape[1]} px, the pictures before it {size[0]}x{size[1]}.",
                "Use pictures of one camera at one resolution.",
                picture=name,
            )
        size = shape
        lens = CameraIntrinsics.from_field_of_view(*size)  # detection does not look at it
        frame = Frame(image=image, timestamp=float(i), index=i, intrinsics=lens)
        detection = finder.detect(frame)
        if detection is None:
            unseen.append(name)
            missing.note(frame)
        else:
            views.append(HandEyeView(T_base_flange=_pose(entry), detection=detection, name=name, **_motion(entry)))
    reason = None if views else missing.explain()
    if reason is not None:
        raise reason
    return Observations(
        views=tuple(views),
        image_size=size,
        mount=mount,
        unseen=tuple(unseen),
        board=board if isinstance(finder.layout, TagBundle) else finder.layout,
        remarks=finder.remarks,
    )


def _view(entry: Mapping[str, Any], name: str, board: Floats) -> HandEyeView:
    T_base_flange = _pose(entry)
    ids = entry.get("ids")
    try:
        points = board if ids is None else board[np.array(ids, dtype=np.int64)]
        detection = BoardDetection(points_board=points, points_image=entry["corners"], timestamp=0.0)
    except (IndexError, ValueError) as error:
        raise ValueError(f"view {name}: {error}") from error
    return HandEyeView(T_base_flange=T_base_flange, detection=detection, name=name, **_motion(entry))


def _motion(entry: Mapping[str, Any]) -> dict[str, Floats]:
    """Return the joints and the speed of the flange that a view was taken with, where the file has them."""
    return {key: np.array(entry[key], dtype=np.float64) for key in ("q", "twist") if entry.get(key) is not None}


def _pose(entry: Mapping[str, Any]) -> Transform:
    """Return the flange pose of a view; files often keep 6 digits, so a little skew is mended."""
    matrix = np.array(entry["T_base_flange"] if "T_base_flange" in entry else entry["T_base_gripper"], dtype=np.float64)
    if matrix.shape == (4, 4) and np.isfinite(matrix).all():
        u, _, vt = np.linalg.svd(matrix[:3, :3])
        if np.abs(u @ vt - matrix[:3, :3]).max() < _ROUNDED:
            matrix[:3, :3] = u @ vt
    return Transform(matrix)


def _mount(value: object) -> Mount | None:
    if value in ("eye_to_hand", "eye_in_hand"):
        return value
    if value is None:
        return None
    raise ValueError(f"config must be eye_to_hand or eye_in_hand, not {value!r}")
