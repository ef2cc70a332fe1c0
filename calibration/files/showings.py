"""Showings of a target on disk: docs/conventions.md, "Views on disk"."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from calibration.files.documents import load_document, matrix_pose, reading
from vision_ik.cameras.pictures import decode_image
from vision_ik.errors import ConfigError
from vision_ik.transforms import Transform
from vision_ik.types import Floats, Image

_REMEDY = 'Compare it with docs/conventions.md, "Views on disk".'


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ShownPose:
    """Where an arm was: one of both is known, or both."""

    T_base_flange: Transform | None
    q: Floats | None
    """(n,) joints [rad], [m]"""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shown:
    """One time the tool was put where it shall go, as a file tells it."""

    name: str
    image: Image | None
    """Picture with the tag; None where its corners are told."""
    corners: Floats | None
    """(4, 2) [px] top-left, top-right, bottom-right, bottom-left of the upright tag."""
    goal: ShownPose
    """Of the arm with the tool at its goal."""
    sighting: ShownPose | None
    """Of the arm when the tag was seen; None where the file does not say."""


def read_showings(path: Path) -> tuple[int | None, list[Shown]]:
    """Return which tag was shown, None where the file does not say, and the showings.

    Raises:
        ConfigError: There is no such file, or it is malformed; the sentence names the entry.
        InvalidPoseError: A pose is no rigid transform.
        FrameReadError: A picture cannot be decoded.
    """
    file = path / "showings.json" if path.is_dir() else path
    document = load_document(file, ".json")
    with reading(file, "list of showings", _REMEDY):
        entries = cast("list[dict[str, Any]]", document["showings"])
        tag = document.get("tag")
        shown = [_shown(entry, i, file.parent) for i, entry in enumerate(entries)]
    if not shown:
        raise ConfigError(f"{file} holds no showing.", _REMEDY, path=file)
    return None if tag is None else int(tag), shown


def _shown(entry: dict[str, Any], index: int, folder: Path) -> Shown:
    name = str(entry.get("id", index + 1))
    if ("image" in entry) == ("corners" in entry):
        raise ValueError(f"showing {name} needs either an image of the tag or its corners")
    corners = np.array(entry["corners"], dtype=np.float64) if "corners" in entry else None
    if corners is not None and corners.shape != (4, 2):
        raise ValueError(f"showing {name} needs 4 corners (u, v), not {json.dumps(entry['corners'])[:60]}")
    goal, sighting = _pose(entry, "", name), _pose(entry, "_sighting", name)
    if goal is None:
        raise ValueError(f"showing {name} has neither T_base_flange nor q")
    image = decode_image(folder / str(entry["image"])) if "image" in entry else None
    return Shown(name=name, image=image, corners=corners, goal=goal, sighting=sighting)


def _pose(entry: dict[str, Any], of: str, name: str) -> ShownPose | None:
    matrix, q = entry.get(f"T_base_flange{of}"), entry.get(f"q{of}")
    if matrix is None and q is None:
        return None
    pose = None if matrix is None else matrix_pose(matrix, f"showing {name}")
    return ShownPose(T_base_flange=pose, q=None if q is None else np.array(q, dtype=np.float64))
