"""Boards and tag bundles in files: as tables of ``rig.toml``, and bundles in a file of their own.

A bundle's table, the same in both; sizes are in millimetres, poses in metres in the bundle's frame::

    family = "36h11"
    size_mm = 40.0              # of tags that have none of their own

    [tags.3]
    translation = [0.0, 0.0, 0.0]
    rotation_xyzw = [0.0, 0.0, 0.0, 1.0]

    [tags.4]
    translation = [0.03, 0.0, -0.03]
    rotation_xyzw = [0.0, 0.70710678, 0.0, 0.70710678]
    size_mm = 35.0
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, cast

import tomlkit

from vision_ik.config import at_key, number, numbers, refuse_unknown, table_at, text
from vision_ik.errors import ConfigError, VisionIkError
from vision_ik.files import write_atomic
from vision_ik.transforms import Transform
from vision_ik.types import Board, CharucoBoard, Chessboard, TagBundle, TagGridBoard

BOARD_KINDS: dict[str, type[Board]] = {"charuco": CharucoBoard, "tag_grid": TagGridBoard, "chessboard": Chessboard}
"""Boards by the ``kind`` of their tables."""
_PARTS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "text"),
    "bool": (bool, "true or false"),
    "tuple[int, ...]": (list, "a list of ids"),
}
"""What the fields of a board may hold, by the names of their types."""
_LARGEST_MM = 10_000.0
_REMEDY = "Mend the value; docs/conventions.md shows boards and bundles."


def parse_board(name: str, given: object) -> Board:
    """Return the board that a table under ``[boards]`` describes.

    Raises:
        ConfigError: A key is unknown, missing, or has a bad value; the sentence names it.
    """
    board = table_at({name: given}, name, _REMEDY, "boards.")
    with at_key(f"boards.{name}", _REMEDY):
        kind = board.get("kind")
        if not isinstance(kind, str) or kind not in BOARD_KINDS:
            raise ValueError(f"kind must be one of {', '.join(BOARD_KINDS)}, not {kind!r}")
    layout = BOARD_KINDS[kind]
    refuse_unknown(board, {f.name for f in fields(layout)} | {"kind"}, f"boards.{name}.")
    with at_key(f"boards.{name}", _REMEDY):
        lacking = [f.name for f in fields(layout) if f.default is MISSING and f.name not in board]
        if lacking:
            raise ValueError(f"a {kind} board also needs " + ", ".join(lacking))
    values = {part.name: board[part.name] for part in fields(layout) if part.name in board}
    for part in fields(layout):
        if part.name in values:
            with at_key(f"boards.{name}.{part.name}", _REMEDY):
                values[part.name] = _checked(values[part.name], str(part.type))
    with at_key(f"boards.{name}", _REMEDY):
        return layout(**values)


def board_table(board: Board) -> dict[str, object]:
    """Return the table that describes a board."""
    kind = next(kind for kind, layout in BOARD_KINDS.items() if isinstance(board, layout))
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(board).items()}
    return {"kind": kind, **{key: value for key, value in values.items() if value != []}}


def load_bundle(path: str | Path) -> TagBundle:
    """Read a bundle from its file.

    Raises:
        ConfigError: The file is missing or malformed; the sentence names the key.
    """
    file = Path(path)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Could not read {file}: {error.strerror}.", "Give the path of a bundle's .toml file.", path=file
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}.", "Mend the line it names.", path=file) from error
    try:
        return parse_bundle(data)
    except VisionIkError as error:
        raise ConfigError(f"{file}: {error.cause}", error.remedy, path=file) from error


def save_bundle(bundle: TagBundle, path: str | Path, *, comment: str = "") -> Path:
    """Write a bundle into a file of its own, with ``comment`` at its head.

    Raises:
        RecordingError: The file could not be written.
    """
    document = tomlkit.document()
    for line in comment.splitlines():
        document.add(tomlkit.comment(line))
    for key, value in bundle_table(bundle).items():
        document[key] = value
    return write_atomic(path, tomlkit.dumps(document))


def parse_bundle(table: Mapping[str, Any], key: str = "") -> TagBundle:
    """Return the bundle that a table describes; ``key`` is where it stands, with a dot at its end.

    Raises:
        ConfigError: A key is unknown, missing, doubled, or has a bad value; the sentence names it.
    """
    refuse_unknown(table, {"family", "size_mm", "tags"}, key)
    with at_key(f"{key}family", _REMEDY):
        family = text(table.get("family", "36h11"), "the name of a family")
    with at_key(f"{key}size_mm", _REMEDY):
        common = _metres(table["size_mm"]) if "size_mm" in table else None
    tags: list[tuple[int, Transform, float]] = []
    for name in table_at(table, "tags", _REMEDY, key):
        where = f"{key}tags.{name}"
        with at_key(where, _REMEDY):
            if not (name.isascii() and name.isdecimal()):
                raise ValueError(f"the id of a tag is a whole number from 0 up, not {name!r}")
        tags.append((int(name), *_parse_tag(table_at(table["tags"], name, _REMEDY, f"{key}tags."), where, common)))
    with at_key(f"{key}tags".strip("."), _REMEDY):
        doubled = [tag_id for tag_id, count in Counter(tag_id for tag_id, _, _ in tags).items() if count > 1]
        if doubled:
            raise ValueError(f"tag {doubled[0]} is listed twice; each id may be used once")
        if not tags:
            raise ValueError("a bundle needs at least one tag")
        return TagBundle.of(tags, family)


def bundle_table(bundle: TagBundle) -> dict[str, object]:
    """Return the table that describes a bundle."""
    (common, count), *_ = Counter(bundle.sizes.values()).most_common(1)
    table: dict[str, object] = {"family": bundle.family}
    if count > 1:
        table["size_mm"] = _mm(common)
    tags = tomlkit.table(is_super_table=True)
    for tag_id, T in bundle.Ts_bundle_tag.items():
        tag = tomlkit.table()
        tag["translation"] = [round(float(x), 9) for x in T.translation]
        tag["rotation_xyzw"] = T.rotation_xyzw.tolist()
        if count == 1 or bundle.sizes[tag_id] != common:
            tag["size_mm"] = _mm(bundle.sizes[tag_id])
        tags[str(tag_id)] = tag
    return {**table, "tags": tags}


def _parse_tag(tag: Mapping[str, Any], key: str, common: float | None) -> tuple[Transform, float]:
    refuse_unknown(tag, {"translation", "rotation_xyzw", "size_mm"}, f"{key}.")
    with at_key(f"{key}.translation", _REMEDY):
        translation = numbers(tag.get("translation"), 3)
    with at_key(f"{key}.rotation_xyzw", _REMEDY):
        T = Transform.from_quaternion(translation, numbers(tag.get("rotation_xyzw", [0.0, 0.0, 0.0, 1.0]), 4))
    with at_key(f"{key}.size_mm", _REMEDY):
        size = _metres(tag["size_mm"]) if "size_mm" in tag else common
        if size is None:
            raise ValueError("the tag has no size, and the bundle has no size_mm for all")
    return T, size


def _checked(value: object, kind: str) -> object:
    allowed, called = _PARTS[kind]
    if not isinstance(value, allowed) or (isinstance(value, bool) and allowed is not bool):
        raise TypeError(f"it must be {called}, not {value!r}")
    if isinstance(value, list):
        items = cast("list[object]", value)
        if not all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            raise TypeError(f"it must be {called}, not {items!r}")
        return tuple(cast("list[int]", items))
    return value


def _metres(size_mm: object) -> float:
    size = number(size_mm)
    if not 0.0 < size < _LARGEST_MM:
        raise ValueError(f"the size must be a number of millimetres between 0 and 10,000, not {size_mm!r}")
    return size / 1000.0


def _mm(size_m: float) -> float:
    return round(size_m * 1000.0, 6)
