"""Texts, tables and numbers in files of others: every complaint names the file and the place in it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import yaml
from numpy.typing import ArrayLike

from vision_ik.config import number
from vision_ik.errors import ConfigError, InvalidPoseError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Floats

Document: TypeAlias = Any
"""What a file holds: tables, lists, numbers and texts of a JSON or YAML file, rows of a CSV file, else its text."""

_LARGEST = 200_000_000
"""[bytes] Larger files are no lists of views."""
ROUNDED = 1e-3
"""Deviation of a rotation from orthonormal that is taken for rounding in the file, and mended."""
_QUATERNION = ("qx", "qy", "qz", "qw")


def load_document(file: Path, kind: str = "") -> Document:
    """Return what a file holds; None where it is nothing that can be read.

    Args:
        file: It.
        kind: The suffix that it is read as; by default its own.

    Raises:
        ConfigError: The file is missing or cannot be read, or its content is not what its suffix says.
    """
    suffix = kind or file.suffix.lower()
    if suffix not in (".json", ".yaml", ".yml", ".samples", ".txt", ".csv"):
        return None
    try:
        if file.stat().st_size > _LARGEST:
            return None
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Could not read {file}: {error.strerror}.", "Check the path.", path=file) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} holds no text.", "Give a file with views.", path=file) from error
    try:
        if suffix == ".json":
            return json.loads(text)
        if suffix == ".csv":
            lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO("\n".join(lines)))]
        return text if suffix == ".txt" else yaml.load(text, Loader=_LOADER)
    except (ValueError, yaml.YAMLError, csv.Error) as error:
        kind = {".json": "JSON", ".csv": "CSV"}.get(suffix, "YAML")
        detail = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(f"{file} is not {kind}: {detail}.", "Mend the line it names.", path=file) from error


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@contextmanager
def reading(file: Path, what: str, remedy: str) -> Generator[None]:
    """Turn whatever is wrong with a file's content into a ConfigError that names it.

    Args:
        file: It.
        what: It should be ("list of views").
        remedy: What to do.

    Raises:
        ConfigError: The block raised KeyError, TypeError, ValueError, IndexError or AttributeError.
        InvalidPoseError: As the block did.
    """
    try:
        yield
    except InvalidPoseError:
        raise
    except KeyError as error:
        raise ConfigError(f"{file} lacks the key {error}.", remedy, path=file) from error
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(f"{file} is no valid {what}: {str(error).rstrip('.')}.", remedy, path=file) from error


def matrix_pose(value: ArrayLike, place: str) -> Transform:
    """Return the pose of a 4x4 matrix, rows first, also as 16 numbers; a little skew by rounding is mended.

    Args:
        value: The matrix [m].
        place: Where it stands, for messages ("view 3").

    Raises:
        InvalidPoseError: It is no rigid transform.
    """
    matrix: Floats = np.array(value, dtype=np.float64)
    if matrix.shape == (16,):
        matrix = matrix.reshape(4, 4)
    if matrix.shape == (4, 4) and np.isfinite(matrix).all():
        u, _, vt = np.linalg.svd(matrix[:3, :3])
        if np.abs(u @ vt - matrix[:3, :3]).max() < ROUNDED:
            matrix[:3, :3] = u @ vt
    return _placed(place, lambda: Transform(matrix))


def quaternion_pose(values: Mapping[str, Any], place: str) -> Transform:
    """Return the pose of x, y, z [m] and qx, qy, qz, qw.

    Raises:
        KeyError: One of them is missing.
        TypeError: One of them is no number.
        InvalidPoseError: The quaternion's norm is off 1 by more than rounding.
    """
    position = [_number(values, name, place) for name in "xyz"]
    quaternion = [_number(values, name, place) for name in _QUATERNION]
    return _placed(place, lambda: Transform.from_quaternion(position, quaternion))


def _number(values: Mapping[str, Any], name: str, place: str) -> float:
    try:
        return number(values[name])
    except TypeError as error:
        raise TypeError(f"{name} of {place}: {error}") from error


def _placed(place: str, make: Any) -> Transform:
    try:
        return cast("Transform", make())
    except InvalidPoseError as error:
        why = error.cause.replace("The pose holds", "it holds")
        raise InvalidPoseError(
            f"The pose of {place} cannot be used: {why[0].lower()}{why[1:]}", error.remedy
        ) from error


def mount_of(value: object) -> Mount | None:
    """Return who carries the camera, None where nobody says.

    Raises:
        ValueError: It says something else.
    """
    if value in ("eye_to_hand", "eye_in_hand"):
        return value
    if value is None:
        return None
    raise ValueError(f"config must be eye_to_hand or eye_in_hand, not {value!r}")
