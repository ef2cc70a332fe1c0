"""The rig: one arm, one camera, and how they stand to each other; kept in ``rig.toml``.

A rig is a folder with ``rig.toml`` (hand-written or made by ``vision-ik calibrate``) and
``camera.yaml`` (ROS camera_info). Lengths in the file are in metres, rotations are
``rotation_xyzw``; only keys that end in ``_mm`` are millimetres.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import tomlkit
from numpy.typing import ArrayLike
from tomlkit.items import Table

from vision_ik.camera_info import load_intrinsics, save_intrinsics
from vision_ik.config import at_key, number, numbers, refuse_unknown, table_at, text
from vision_ik.errors import ConfigError, TagError, VisionIkError
from vision_ik.files import write_atomic
from vision_ik.layouts import board_table, bundle_table, parse_board, parse_bundle
from vision_ik.transforms import Transform, as_transform
from vision_ik.types import Board, CameraIntrinsics, Floats, TagBundle
from vision_ik.types._arrays import put, read_only

Mount = Literal["eye_to_hand", "eye_in_hand"]
_CAMERA_KEY: dict[Mount, str] = {"eye_to_hand": "T_base_camera", "eye_in_hand": "T_flange_camera"}
_KEYS = {"robot", "base", "tip", "robot_hash", "mount", *_CAMERA_KEY.values(), "T_flange_tool", "T_tag_target"} | {
    "tags",
    "boards",
    "bundles",
    "workspace",
    "intrinsics",
    "provenance",
}
_ROUNDING = 1e-9
"""Asymmetry, or negative variance, of a covariance beside its largest entry that is taken for rounding."""
_REMEDY = "Mend the value; docs/conventions.md shows a rig.toml."


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rig:
    """Everything about a set-up that does not move.

    Transforms may be given as 4x4 arrays.

    Raises:
        ValueError: A value is out of its range.
        InvalidPoseError: An array is no rigid transform.
    """

    robot: str
    """Catalogue name or URDF path."""
    base: str | None = None
    """Link the chain starts from; None: the catalogue's, or the root of the URDF."""
    tip: str | None = None
    """Link the chain ends at, the flange; None: the catalogue's, or the only leaf of the URDF."""
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
    workspace: tuple[Floats, Floats] | None = None
    """Lower and upper corner (3,) of the box the tool may be in [m], base frame; None: no bound."""
    boards: Mapping[str, Board] = field(default_factory=dict[str, Board])
    bundles: Mapping[str, TagBundle] = field(default_factory=dict[str, TagBundle])
    """Rigid bodies with several tags."""
    intrinsics: CameraIntrinsics | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """When, from what and by which version the calibration was made: texts, numbers, and tables of them by step."""

    def __post_init__(self) -> None:
        if self.mount not in tuple(_CAMERA_KEY):
            raise ValueError(f"The mount must be eye_to_hand or eye_in_hand, not {self.mount!r}.")
        if self.T_mount_camera is not None:
            put(self, "T_mount_camera", as_transform(self.T_mount_camera))
        put(self, "T_flange_tool", as_transform(self.T_flange_tool))
        put(self, "T_tag_target", as_transform(self.T_tag_target))
        if self.camera_covariance is not None:
            put(self, "camera_covariance", _covariance(self.camera_covariance))
        if self.default_tag_size is not None and not 0.0 < self.default_tag_size < np.inf:
            raise ValueError(f"The default tag size must be positive, not {self.default_tag_size!r} m.")
        for tag_id, size in self.tag_sizes.items():
            if tag_id < 0:
                raise ValueError(f"The ids of tags start at 0, {tag_id} is none.")
            if not 0.0 < size < np.inf:
                raise ValueError(f"The size of tag {tag_id} must be positive, not {size!r} m.")
        put(self, "tag_sizes", dict(self.tag_sizes))
        if self.workspace is not None:
            put(self, "workspace", _box(*self.workspace))

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
    except VisionIkError as error:
        raise ConfigError(f"{file}: {error.cause}", error.remedy, path=file) from error


def save_rig(rig: Rig, path: str | Path) -> Path:
    """Write ``rig.toml`` and ``camera.yaml`` into a folder; old files survive any failure.

    What the file held before is replaced, key by key; comments of its top level stay.

    Returns:
        The path of ``rig.toml``.

    Raises:
        ConfigError: The file that is there is not TOML, so its comments cannot be kept.
        RecordingError: The folder cannot be written to.
    """
    file = _rig_file(path)
    document = tomlkit.document()
    if file.exists():
        with at_key(str(file), _REMEDY):  # tomlkit's parse errors are ValueErrors
            document = tomlkit.parse(file.read_text(encoding="utf-8"))
    if rig.intrinsics is not None:
        save_intrinsics(rig.intrinsics, file.parent / "camera.yaml")
    values = _values(rig) | {"robot": _robot_written(rig.robot, document.get("robot"), file.parent)}
    for key in _KEYS - values.keys():
        document.pop(key, None)
    for key, value in values.items():
        document[key] = value
    return write_atomic(file, tomlkit.dumps(document))


def _values(rig: Rig) -> dict[str, object]:
    """Return what the file says of this rig: plain keys first, as TOML wants them."""
    values: dict[str, object] = {"robot": rig.robot}
    if rig.base is not None:
        values["base"] = rig.base
    if rig.tip is not None:
        values["tip"] = rig.tip
    if rig.robot_hash:
        values["robot_hash"] = rig.robot_hash
    values["mount"] = rig.mount
    if rig.intrinsics is not None:
        values["intrinsics"] = "camera.yaml"
    if rig.T_mount_camera is not None:
        table = _transform_table(rig.T_mount_camera)
        if rig.camera_covariance is not None:
            rows = tomlkit.array()
            rows.extend(rig.camera_covariance.tolist())
            table["covariance"] = rows.multiline(True)
        values[_CAMERA_KEY[rig.mount]] = table
    values["T_flange_tool"] = _transform_table(rig.T_flange_tool)
    values["T_tag_target"] = _transform_table(rig.T_tag_target)
    tags: dict[str, object] = {"family": rig.tag_family}
    if rig.default_tag_size is not None:
        tags["default_size_mm"] = _mm(rig.default_tag_size)
    if rig.tag_sizes:
        tags["sizes_mm"] = {str(tag_id): _mm(size) for tag_id, size in sorted(rig.tag_sizes.items())}
    values["tags"] = tags
    if rig.workspace is not None:
        values["workspace"] = {"lower": rig.workspace[0].tolist(), "upper": rig.workspace[1].tolist()}
    if rig.boards:
        values["boards"] = {name: board_table(board) for name, board in rig.boards.items()}
    if rig.bundles:
        values["bundles"] = {name: bundle_table(bundle) for name, bundle in rig.bundles.items()}
    if rig.provenance:
        # What follows a table in TOML would be part of it.
        told = sorted(rig.provenance.items(), key=lambda entry: isinstance(entry[1], Mapping))
        values["provenance"] = dict(told)
    return values


def _rig_file(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix == ".toml" else path / "rig.toml"


def _robot_read(robot: str, folder: Path) -> str:
    """Return the robot as `load_robot` takes it; a URDF in the rig's folder goes before the working directory's."""
    return str(folder / robot) if (folder / robot).is_file() else robot


def _robot_written(robot: str, before: object, folder: Path) -> str:
    """Return what the file says of the robot, so that reading it does not depend on the working directory."""
    path = Path(robot)
    if not (path.suffix or len(path.parts) > 1) or not path.is_file():
        return robot  # a name of the catalogue
    if isinstance(before, str) and (folder / before).resolve() == path.resolve():
        return str(before)
    inside, here = path.resolve(), folder.resolve()
    return inside.relative_to(here).as_posix() if inside.is_relative_to(here) else str(inside)


def _parse(data: dict[str, Any], folder: Path) -> Rig:
    refuse_unknown(data, _KEYS)
    with at_key("robot", _REMEDY):
        robot = text(data.get("robot"), "the name of a robot, or the path of a URDF,")
    names = {key: _optional_text(data, key) for key in ("base", "tip", "robot_hash", "intrinsics")}
    with at_key("mount", _REMEDY):
        mount = data.get("mount", "eye_to_hand")
        if mount not in tuple(_CAMERA_KEY):
            raise ValueError(f"it must be eye_to_hand or eye_in_hand, not {mount!r}")
    for other in set(_CAMERA_KEY.values()) - {_CAMERA_KEY[mount]}:
        with at_key(other, _REMEDY):
            if other in data:
                raise ValueError(f"the mount is {mount}, which takes {_CAMERA_KEY[mount]} instead")
    T_mount_camera, covariance = _parse_transform(data, _CAMERA_KEY[mount])
    tag_family, tag_sizes, default_tag_size = _parse_tags(table_at(data, "tags", _REMEDY))
    with at_key("intrinsics", _REMEDY):
        lens = None if names["intrinsics"] is None else load_intrinsics(folder / names["intrinsics"])
    return Rig(
        robot=_robot_read(robot, folder),
        base=names["base"],
        tip=names["tip"],
        robot_hash=names["robot_hash"] or "",
        mount=mount,
        T_mount_camera=T_mount_camera,
        camera_covariance=covariance,
        T_flange_tool=_parse_transform(data, "T_flange_tool")[0] or Transform.identity(),
        T_tag_target=_parse_transform(data, "T_tag_target")[0] or Transform.identity(),
        tag_family=tag_family,
        tag_sizes=tag_sizes,
        default_tag_size=default_tag_size,
        workspace=_parse_workspace(data),
        boards={name: parse_board(name, board) for name, board in table_at(data, "boards", _REMEDY).items()},
        bundles=_parse_bundles(table_at(data, "bundles", _REMEDY)),
        intrinsics=lens,
        provenance=_told(table_at(data, "provenance", _REMEDY)),
    )


def _told(value: Any) -> Any:
    """Return a value of the provenance as plain text, number, list or table: dates are text."""
    if isinstance(value, dict):
        return {key: _told(entry) for key, entry in cast("Mapping[str, Any]", value).items()}
    return value if isinstance(value, bool | int | float | list) else str(value)


def _optional_text(data: Mapping[str, Any], key: str) -> str | None:
    with at_key(key, _REMEDY):
        return text(data[key]) if key in data else None


def _parse_tags(tags: Mapping[str, Any]) -> tuple[str, dict[int, float], float | None]:
    """Return family, sizes by id [m] and default size [m]."""
    refuse_unknown(tags, {"family", "default_size_mm", "sizes_mm"}, "tags.")
    sizes: dict[int, float] = {}
    for tag_id, size_mm in table_at(tags, "sizes_mm", _REMEDY, "tags.").items():
        with at_key(f"tags.sizes_mm.{tag_id}", _REMEDY):
            if not (tag_id.isascii() and tag_id.isdecimal()):
                raise ValueError(f"the id of a tag is a whole number from 0 up, not {tag_id!r}")
            sizes[int(tag_id)] = _metres(size_mm)
    with at_key("tags.default_size_mm", _REMEDY):
        default = _metres(tags["default_size_mm"]) if "default_size_mm" in tags else None
    with at_key("tags.family", _REMEDY):
        return text(tags.get("family", "36h11"), "the name of a family"), sizes, default


def _parse_transform(data: Mapping[str, Any], name: str) -> tuple[Transform | None, Floats | None]:
    """Return the transform under ``name`` and its covariance, each None where the file has none."""
    if name not in data:
        return None, None
    table = table_at(data, name, _REMEDY)
    refuse_unknown(table, {"translation", "rotation_xyzw", "covariance"}, f"{name}.")
    with at_key(f"{name}.translation", _REMEDY):
        translation = numbers(table.get("translation", [0.0, 0.0, 0.0]), 3)
    with at_key(f"{name}.rotation_xyzw", _REMEDY):
        T = Transform.from_quaternion(translation, numbers(table.get("rotation_xyzw", [0.0, 0.0, 0.0, 1.0]), 4))
    with at_key(f"{name}.covariance", _REMEDY):
        rows = table.get("covariance")
        if rows is None:
            return T, None
        if not isinstance(rows, list) or len(cast("list[object]", rows)) != 6:
            raise TypeError(f"it must be a list of 6 rows, not {rows!r}")
        return T, _covariance([numbers(row, 6) for row in cast("list[object]", rows)])


def _parse_workspace(data: Mapping[str, Any]) -> tuple[Floats, Floats] | None:
    if "workspace" not in data:
        return None
    table = table_at(data, "workspace", _REMEDY)
    refuse_unknown(table, {"lower", "upper"}, "workspace.")
    corners: list[list[float]] = []
    for name in ("lower", "upper"):
        with at_key(f"workspace.{name}", _REMEDY):
            corners.append(numbers(table.get(name), 3))
    with at_key("workspace", _REMEDY):
        return _box(*corners)


def _covariance(value: ArrayLike) -> Floats:
    """Return a checked (6, 6) covariance, read-only."""
    covariance = read_only(value, (6, 6), "The covariance")
    allowed = _ROUNDING * float(np.abs(covariance).max())
    if np.abs(covariance - covariance.T).max() > allowed:
        raise ValueError("The covariance must be symmetric.")
    if np.linalg.eigvalsh(covariance).min() < -allowed:
        raise ValueError("The covariance must be positive semi-definite, but has a negative eigenvalue.")
    return covariance


def _box(lower: ArrayLike, upper: ArrayLike) -> tuple[Floats, Floats]:
    """Return the checked corners of the workspace, read-only."""
    corners = read_only(lower, (3,), "The lower corner"), read_only(upper, (3,), "The upper corner")
    if not (corners[0] < corners[1]).all():
        raise ValueError("The lower corner of the workspace must be below the upper one on all three axes.")
    return corners


def _parse_bundles(tables: Mapping[str, Any]) -> dict[str, TagBundle]:
    return {name: parse_bundle(table_at(tables, name, _REMEDY, "bundles."), f"bundles.{name}.") for name in tables}


def _transform_table(T: Transform) -> Table:
    table = tomlkit.table()
    table["translation"] = T.translation.tolist()
    table["rotation_xyzw"] = T.rotation_xyzw.tolist()
    return table


def _metres(size_mm: object) -> float:
    size = number(size_mm)
    if not 0.0 < size < 10_000.0:
        raise ValueError(f"the size must be a number of millimetres between 0 and 10,000, not {size_mm!r}")
    return size / 1000.0


def _mm(size_m: float) -> float:
    return round(size_m * 1000.0, 6)
