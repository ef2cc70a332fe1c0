"""The rig: one arm, one camera, and how they stand to each other; kept in ``rig.toml``.

A rig is a folder with ``rig.toml`` (hand-written or made by ``vision-ik calibrate``) and
``camera.yaml`` (ROS camera_info). Lengths in the file are in metres, rotations are
``rotation_xyzw``; only keys that end in ``_mm`` are millimetres.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import tomlkit
from tomlkit.items import Table

from vision_ik.camera_info import load_intrinsics, save_intrinsics
from vision_ik.errors import ConfigError, TagError, VisionIkError
from vision_ik.files import write_atomic
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, CharucoBoard, Floats, TagGridBoard

Mount = Literal["eye_to_hand", "eye_in_hand"]
_CAMERA_KEY: dict[Mount, str] = {"eye_to_hand": "T_base_camera", "eye_in_hand": "T_flange_camera"}
_BOARDS: dict[str, type[CharucoBoard] | type[TagGridBoard]] = {"charuco": CharucoBoard, "tag_grid": TagGridBoard}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rig:
    """Everything about a set-up that does not move."""

    robot: str
    """Catalogue name or URDF path."""
    robot_hash: str = ""
    """Hash of the robot model the calibration was made with; empty when never calibrated."""
    mount: Mount = "eye_to_hand"
    T_mount_camera: Transform | None = None
    """T_base_camera (eye to hand) or T_flange_camera (eye in hand); None before calibration."""
    camera_covariance: Floats | None = None
    """(6, 6) of T_mount_camera, tangent at the pose, (v, w) [m, rad]."""
    T_flange_tool: Transform = field(default_factory=Transform.identity)
    T_tag_target: Transform = field(default_factory=Transform.identity)
    """Where the tool shall go, seen from the tag (standoff and approach direction)."""
    tag_family: str = "36h11"
    tag_sizes: Mapping[int, float] = field(default_factory=dict[int, float])
    """Edge of the black border [m] by tag id."""
    default_tag_size: float | None = None
    """[m] for ids not listed; None: unlisted tags are an error."""
    boards: Mapping[str, Board] = field(default_factory=dict[str, Board])
    intrinsics: CameraIntrinsics | None = None
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])
    """When, from what and by which version the calibration was made."""

    def T_base_camera(self, T_base_flange: Transform) -> Transform:
        """Return the camera's pose in the base frame for an arm whose flange is at ``T_base_flange``.

        Raises:
            ConfigError: The rig has no camera pose yet.
        """
        if self.T_mount_camera is None:
            raise ConfigError(
                "This rig does not know where its camera is.", "Run `vision-ik calibrate hand-eye` first."
            )
        return self.T_mount_camera if self.mount == "eye_to_hand" else T_base_flange @ self.T_mount_camera

    def tag_size(self, tag_id: int) -> float:
        """Return the edge of a tag [m].

        Raises:
            TagError: The rig knows no size for this id.
        """
        size = self.tag_sizes.get(tag_id, self.default_tag_size)
        if size is None:
            known = ", ".join(str(i) for i in sorted(self.tag_sizes)) or "none"
            raise TagError(
                f"Tag {tag_id} has no size; sizes are known for: {known}.",
                "Add it under [tags.sizes_mm] in rig.toml, or set tags.default_size_mm.",
                tag_id=tag_id,
            )
        return size


def load_rig(path: str | Path) -> Rig:
    """Read a rig from its folder or its ``rig.toml``.

    Raises:
        ConfigError: The file is missing or malformed; the sentence names the key.
    """
    file = _rig_file(path)
    try:
        with file.open("rb") as stream:
            data = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(
            f"Could not read {file}: {error.strerror}.", "Give the folder that holds rig.toml.", path=file
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}.", "Mend the line it names.", path=file) from error
    try:
        return _parse(data, file.parent)
    except KeyError as error:
        raise ConfigError(f"{file} lacks the key {error}.", "Add it; docs/conventions.md shows a rig.toml.") from error
    except VisionIkError as error:
        raise ConfigError(f"{file}: {error.cause}", error.remedy, path=file) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{file}: {error}", "Mend the value; docs/conventions.md shows a rig.toml.") from error


def save_rig(rig: Rig, path: str | Path) -> Path:
    """Write ``rig.toml`` and ``camera.yaml`` into a folder; old files survive any failure.

    Returns:
        The path of ``rig.toml``.
    """
    file = _rig_file(path)
    document = tomlkit.document()
    document["robot"] = rig.robot
    if rig.robot_hash:
        document["robot_hash"] = rig.robot_hash
    document["mount"] = rig.mount
    if rig.T_mount_camera is not None:
        table = _transform_table(rig.T_mount_camera)
        if rig.camera_covariance is not None:
            rows = tomlkit.array()
            rows.extend(np.asarray(rig.camera_covariance).tolist())
            table["covariance"] = rows.multiline(True)
        document[_CAMERA_KEY[rig.mount]] = table
    document["T_flange_tool"] = _transform_table(rig.T_flange_tool)
    document["T_tag_target"] = _transform_table(rig.T_tag_target)
    tags = tomlkit.table()
    tags["family"] = rig.tag_family
    if rig.default_tag_size is not None:
        tags["default_size_mm"] = _mm(rig.default_tag_size)
    if rig.tag_sizes:
        tags["sizes_mm"] = {str(i): _mm(s) for i, s in sorted(rig.tag_sizes.items())}
    document["tags"] = tags
    if rig.boards:
        boards = tomlkit.table()
        for name, board in rig.boards.items():
            kind = "charuco" if isinstance(board, CharucoBoard) else "tag_grid"
            boards[name] = {"kind": kind, **asdict(board)}
        document["boards"] = boards
    if rig.provenance:
        document["provenance"] = dict(rig.provenance)
    if rig.intrinsics is not None:
        save_intrinsics(rig.intrinsics, file.parent / "camera.yaml")
        document["intrinsics"] = "camera.yaml"
    return write_atomic(file, tomlkit.dumps(document))


def _rig_file(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix == ".toml" else path / "rig.toml"


def _parse(data: dict[str, Any], folder: Path) -> Rig:
    mount = data.get("mount", "eye_to_hand")
    if mount not in _CAMERA_KEY:
        raise ValueError(f"mount must be eye_to_hand or eye_in_hand, not {mount!r}.")
    camera = data.get(_CAMERA_KEY[mount])
    other = next(key for key in _CAMERA_KEY.values() if key != _CAMERA_KEY[mount])
    if other in data:
        raise ValueError(f"mount is {mount}, which takes {_CAMERA_KEY[mount]}, but the file has {other}.")
    tags = cast("dict[str, Any]", data.get("tags", {}))
    default_mm = tags.get("default_size_mm")
    intrinsics = data.get("intrinsics")
    return Rig(
        robot=str(data["robot"]),
        robot_hash=str(data.get("robot_hash", "")),
        mount=mount,
        T_mount_camera=None if camera is None else _parse_transform(camera),
        camera_covariance=_parse_covariance(camera),
        T_flange_tool=_parse_transform(data.get("T_flange_tool", {})),
        T_tag_target=_parse_transform(data.get("T_tag_target", {})),
        tag_family=str(tags.get("family", "36h11")),
        tag_sizes={int(i): _metres(size, f"size of tag {i}") for i, size in tags.get("sizes_mm", {}).items()},
        default_tag_size=None if default_mm is None else _metres(default_mm, "default_size_mm"),
        boards={name: _parse_board(name, table) for name, table in data.get("boards", {}).items()},
        intrinsics=None if intrinsics is None else load_intrinsics(folder / str(intrinsics)),
        provenance={key: str(value) for key, value in data.get("provenance", {}).items()},
    )


def _parse_transform(table: dict[str, Any]) -> Transform:
    return Transform.from_quaternion(
        table.get("translation", (0.0, 0.0, 0.0)), table.get("rotation_xyzw", (0.0, 0.0, 0.0, 1.0))
    )


def _parse_covariance(table: dict[str, Any] | None) -> Floats | None:
    if table is None or "covariance" not in table:
        return None
    covariance = np.array(table["covariance"], dtype=np.float64)
    if covariance.shape != (6, 6) or not np.isfinite(covariance).all():
        raise ValueError("covariance must be a finite 6x6 matrix.")
    return covariance


def _parse_board(name: str, table: dict[str, Any]) -> Board:
    fields = dict(table)
    kind = fields.pop("kind", None)
    if kind not in _BOARDS:
        raise ValueError(f"board {name!r} must have kind charuco or tag_grid, not {kind!r}.")
    return _BOARDS[kind](**fields)


def _transform_table(T: Transform) -> Table:
    table = tomlkit.table()
    table["translation"] = T.translation.tolist()
    table["rotation_xyzw"] = T.rotation_xyzw.tolist()
    return table


def _metres(size_mm: object, name: str) -> float:
    size = float(cast("float", size_mm)) / 1000.0
    if not 0.0 < size < 10.0:
        raise ValueError(f"{name} is {size_mm} mm; it must be positive and below 10,000 mm.")
    return size


def _mm(size_m: float) -> float:
    return round(size_m * 1000.0, 6)
