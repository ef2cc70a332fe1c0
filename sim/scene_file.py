"""Reading scene files; every complaint names the key.

A pose is a table with ``translation`` [m] and either ``rotation_xyzw``, or ``rpy_deg`` (fixed
axes x, y, z), or, for cameras, ``look_at`` (a point [m] in the parent's frame).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from sim.arm_noise import FlangeNoise
from sim.motion import Motion
from sim.scenery import Scenery
from sim.sensor import Sensor
from sim.targets import Parent
from sim.view import look_at
from vision_ik.config import at_key, refuse_unknown, table_at
from vision_ik.errors import ConfigError
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, CharucoBoard, Chessboard, Floats, TagGridBoard

Table = dict[str, Any]
T = TypeVar("T")

_KEYS = {
    "": {"title", "seed", "robot", "table", "camera", "tags", "board", "rig"},
    "robot": {"name", "translation", "rotation_xyzw", "rpy_deg", "q", "noise_mm", "noise_deg"},
    "camera": {
        "parent", "translation", "rotation_xyzw", "rpy_deg", "look_at",
        "width", "height", "model", "focal_px", "centre_px", "distortion", "depth", "frames",
        *(f.name for f in fields(Sensor)),
    },
    "tags": {"id", "family", "size_mm", "parent", "translation", "rotation_xyzw", "rpy_deg", "motion"},
    "motion": {"shape", "width_m", "height_m", "period_s", "ramp_s", "swing_deg"},
    "board": {"kind", "parent", "translation", "rotation_xyzw", "rpy_deg", "mounted",
              *(f.name for f in fields(CharucoBoard)), *(f.name for f in fields(TagGridBoard))},
    "rig": {"T_flange_tool", "T_tag_target"},
    "T_flange_tool": {"translation", "rotation_xyzw", "rpy_deg"},
    "T_tag_target": {"translation", "rotation_xyzw", "rpy_deg"},
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SceneCamera:
    """The camera of a scene file."""

    intrinsics: CameraIntrinsics
    parent: Parent
    T_parent_camera: Transform
    sensor: Sensor
    depth: bool
    frames: int | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SceneTag:
    """A tag of a scene file."""

    tag_id: int
    family: str
    size_m: float
    parent: Parent
    pose: Transform | Motion


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SceneFile:
    """What a scene file says."""

    name: str
    title: str
    seed: int
    robot: RobotModel
    T_world_base: Transform
    q: Floats | None
    """(n,) posture to start in; None for the robot's home."""
    noise_m: float
    """Standard deviation of the flange's position error per axis [m]."""
    noise_rad: float
    scenery: Scenery
    camera: SceneCamera | None
    tags: tuple[SceneTag, ...]
    board: Board | None
    board_parent: Parent
    T_parent_board: Transform
    board_mounted: bool
    T_flange_tool: Transform
    T_tag_target: Transform

    def flange_noise(self) -> FlangeNoise | None:
        """Return the arm's error field, or None for a perfect arm."""
        if self.noise_m == 0.0 and self.noise_rad == 0.0:
            return None
        return FlangeNoise(self.robot.n, translation_m=self.noise_m, rotation_rad=self.noise_rad, seed=self.seed)


def list_scenes() -> list[str]:
    """Return the names of the scenes that ship."""
    return sorted(item.name.removesuffix(".toml") for item in _folder().iterdir() if item.name.endswith(".toml"))


def read_scene(name_or_path: str | Path) -> tuple[str, Table]:
    """Return the name and the tables of a shipped scene or a file.

    Raises:
        ConfigError: There is none, or it is no TOML.
    """
    text = str(name_or_path)
    path = Path(text) if text.endswith(".toml") else _folder().joinpath(f"{text}.toml")
    try:
        return Path(text).stem, tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"There is no scene {text!r}.",
            f"Give one of {', '.join(list_scenes())}, or the path of a .toml file.",
            scene=text,
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The scene {text} is not TOML: {error}.", "Mend the line it names.", scene=text) from error


def parse_scene(name: str, data: Table, overrides: Mapping[str, object] | None = None) -> SceneFile:
    """Check the tables of a scene, with ``overrides`` laid over them.

    Raises:
        ConfigError: A key is unknown, missing, or has a bad value.
    """
    tables = _overlaid(data, overrides or {})
    if isinstance(tables.get("robot"), str):
        tables["robot"] = {**cast("Table", data.get("robot", {})), "name": tables["robot"], "q": None}
    try:
        return _parse(name, tables)
    except ConfigError as error:
        raise ConfigError(f"Scene {name}: {error.cause}", error.remedy, **error.facts) from error


def _parse(name: str, tables: Table) -> SceneFile:
    refuse_unknown(tables, _KEYS[""])
    robot_table, scenery, rig = (_table(tables, key) for key in ("robot", "table", "rig"))
    tool, target = (_table(rig, key, "rig.") for key in ("T_flange_tool", "T_tag_target"))
    robot = _read("robot.name", lambda: load_robot(str(robot_table.get("name", "panda"))))
    return SceneFile(
        name=name,
        title=str(tables.get("title", name)),
        seed=_read("seed", lambda: int(tables.get("seed", 0))),
        robot=robot,
        T_world_base=_read("robot", lambda: _pose(robot_table)),
        q=_read("robot.q", lambda: _posture(robot_table.get("q"), robot)),
        noise_m=_read("robot.noise_mm", lambda: _number(robot_table.get("noise_mm", 0.0), low=0.0) / 1000.0),
        noise_rad=_read(
            "robot.noise_deg", lambda: float(np.deg2rad(_number(robot_table.get("noise_deg", 0.0), low=0.0)))
        ),
        scenery=_read("table", lambda: Scenery(**{k: _tupled(v) for k, v in scenery.items()})),
        camera=_camera(_table(tables, "camera")) if "camera" in tables else None,
        tags=tuple(_tag(f"tags[{i}]", entry) for i, entry in enumerate(_list(tables, "tags"))),
        **_board(_table(tables, "board")),
        T_flange_tool=_read("rig.T_flange_tool", lambda: _pose(tool)),
        T_tag_target=_read("rig.T_tag_target", lambda: _pose(target)),
    )


def _camera(table: Table) -> SceneCamera:
    sensor_keys = {f.name for f in fields(Sensor)}
    parent: Parent = _read("camera.parent", lambda: _parent(table.get("parent", "world")))
    return SceneCamera(
        intrinsics=_read("camera", lambda: _intrinsics(table)),
        parent=parent,
        T_parent_camera=_read("camera", lambda: _pose(table)),
        sensor=_read("camera", lambda: Sensor(**{k: v for k, v in table.items() if k in sensor_keys})),
        depth=_read("camera.depth", lambda: bool(table.get("depth", False))),
        frames=_read("camera.frames", lambda: None if table.get("frames") is None else int(table["frames"])),
    )


def _intrinsics(table: Table) -> CameraIntrinsics:
    width, height = int(table.get("width", 640)), int(table.get("height", 480))
    focal = np.broadcast_to(np.asarray(table.get("focal_px", 600.0), dtype=np.float64), 2)
    cx, cy = table.get("centre_px", (0.5 * (width - 1), 0.5 * (height - 1)))
    return CameraIntrinsics(
        K=np.array([[focal[0], 0.0, cx], [0.0, focal[1], cy], [0.0, 0.0, 1.0]]),
        distortion=np.asarray(table.get("distortion", np.zeros(5)), dtype=np.float64),
        width=width,
        height=height,
        model=table.get("model", "pinhole"),
    )


def _tag(key: str, entry: Table) -> SceneTag:
    refuse_unknown(entry, _KEYS["tags"], f"{key}.")
    parent: Parent = _read(f"{key}.parent", lambda: _parent(entry.get("parent", "world")))
    motion = _table(entry, "motion", f"{key}.")
    pose: Transform | Motion = _read(key, lambda: _pose(entry))
    if motion:
        T_world_centre = pose
        swing = motion.pop("swing_deg", 0.0)
        pose = _read(
            f"{key}.motion", lambda: Motion(T_world_centre=T_world_centre, swing_rad=np.deg2rad(swing), **motion)
        )
    return SceneTag(
        tag_id=_read(f"{key}.id", lambda: int(entry["id"])),
        family=str(entry.get("family", "36h11")),
        size_m=_read(f"{key}.size_mm", lambda: _number(entry["size_mm"], low=1.0, high=5000.0) / 1000.0),
        parent=parent,
        pose=pose,
    )


def _board(table: Table) -> Table:
    """Return the fields of SceneFile that concern the board."""
    made: Table = {"board": None, "board_parent": "flange", "T_parent_board": Transform.identity()}
    made["board_mounted"] = bool(table.get("mounted", True))
    if not table:
        return made
    kinds: dict[str, type[Board]] = {"charuco": CharucoBoard, "tag_grid": TagGridBoard, "chessboard": Chessboard}
    kind = _read("board.kind", lambda: kinds[str(table["kind"])])
    layout = {k: v for k, v in table.items() if k in {f.name for f in fields(kind)}}
    made["board"] = _read("board", lambda: kind(**layout))
    made["board_parent"] = _read("board.parent", lambda: _parent(table.get("parent", "flange")))
    made["T_parent_board"] = _read("board", lambda: _pose(table))
    return made


def _read(key: str, read: Callable[[], T]) -> T:
    """Read one value; whatever goes wrong becomes a ConfigError that names the key."""
    with at_key(key, "Mend the value."):
        try:
            return read()
        except KeyError as error:
            raise ValueError(f"{error} is missing, or not known") from error


def _table(tables: Table, key: str, prefix: str = "") -> Table:
    """Return a copy of a table, its keys checked where they are listed."""
    table = table_at(tables, key, "Make it a table.", prefix)
    if key in _KEYS:
        refuse_unknown(table, _KEYS[key], f"{prefix}{key}.")
    return dict(table)


def _list(tables: Table, key: str) -> list[Table]:
    entries = tables.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in cast("list[object]", entries)):
        raise ConfigError(f"{key}: it must be a list of tables.", f"Write [[{key}]].", key=key)
    return cast("list[Table]", entries)


def _overlaid(base: Table, over: Mapping[str, object]) -> Table:
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        if isinstance(value, Mapping) and isinstance(mine, dict):
            merged[key] = _overlaid(cast("Table", mine), cast("Mapping[str, object]", value))
        else:
            merged[key] = value
    return merged


def _pose(table: Table) -> Transform:
    given = [key for key in ("rotation_xyzw", "rpy_deg", "look_at") if key in table]
    if len(given) > 1:
        raise ValueError(f"give only one of {' and '.join(given)}.")
    translation = _vector(table.get("translation", (0.0, 0.0, 0.0)), "translation")
    if given == ["look_at"]:
        x, y, z = translation.tolist()
        u, v, w = _vector(table["look_at"], "look_at").tolist()
        return look_at((x, y, z), (u, v, w))
    if given == ["rpy_deg"]:
        return Transform.from_xyz_rpy(translation, np.deg2rad(_vector(table["rpy_deg"], "rpy_deg")))
    return Transform.from_quaternion(translation, table.get("rotation_xyzw", (0.0, 0.0, 0.0, 1.0)))


def _vector(value: object, key: str) -> Floats:
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise ValueError(f"{key} must be three numbers, not {value!r}.")
    return vector


def _posture(value: object, robot: RobotModel) -> Floats | None:
    if value is None:
        return None
    q = np.asarray(value, dtype=np.float64)
    if q.shape != (robot.n,) or not np.isfinite(q).all():
        raise ValueError(f"{robot.name} has {robot.n} joints, so q needs {robot.n} numbers.")
    return q


def _parent(value: object) -> Parent:
    if value not in ("world", "flange"):
        raise ValueError(f"parent must be world or flange, not {value!r}.")
    return value


def _number(value: object, *, low: float, high: float = 1e6) -> float:
    number = float(cast("float", value))
    if not low <= number <= high:
        raise ValueError(f"it must lie between {low:g} and {high:g}, not {number:g}.")
    return number


def _tupled(value: object) -> Any:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _folder() -> Any:
    return resources.files("sim").joinpath("scenes")
