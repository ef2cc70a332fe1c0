"""Marker dictionaries as files, for markers that no library ships.

The file is TOML; each row of a marker is a string of 0 (black) and 1 (white)::

    name = "mine"
    bits = 5
    max_correction = 2
    [markers]
    0 = ["01100", "10010", "11010", "00110", "10001"]
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.errors import ConfigError, RecordingError
from vision_ik.files import write_atomic

_FOLDER = Path(__file__).parent / "patterns"


@dataclass(frozen=True, eq=False, kw_only=True)
class MarkerDictionary:
    """Square markers of one size in bits, with ids 0 to k-1."""

    name: str
    patterns: NDArray[np.uint8]
    """(k, n, n) bits of the upright markers without the border, 1 is white."""
    max_correction: int = 0
    """Wrong bits that may be corrected; less than half the smallest distance of two markers."""

    def __post_init__(self) -> None:
        shape = self.patterns.shape
        if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2] or not 3 <= shape[1] <= 8:
            raise ValueError(f"A dictionary holds (k, n, n) bits with n from 3 to 8, not {shape}.")
        if self.patterns.max() > 1:
            raise ValueError("Bits are 0 (black) or 1 (white).")
        distance = self.distance
        if distance == 0:
            raise ValueError("Two markers are equal, or one looks the same when turned; each needs its own pattern.")
        if not 0 <= self.max_correction <= (distance - 1) // 2:
            raise ValueError(
                f"{self.max_correction} wrong bits cannot be corrected: the markers differ in {distance} bits."
            )

    @cached_property
    def distance(self) -> int:
        """Smallest number of bits between two markers in any turn, or one marker and its turns."""
        k = len(self.patterns)
        if k > 100:  # Shipped with OpenCV and proven there; the check grows with k squared.
            return int(self.patterns[0].size)
        flat = self.patterns.reshape(k, -1).astype(np.int32)
        smallest = flat.shape[1]
        for turns in range(4):
            turned = np.rot90(self.patterns, turns, axes=(1, 2)).reshape(k, -1).astype(np.int32)
            differing = np.abs(flat[:, None, :] - turned[None, :, :]).sum(axis=2)
            if turns == 0:
                np.fill_diagonal(differing, smallest)
            smallest = min(smallest, int(differing.min()))
        return smallest

    def opencv(self, max_correction: int) -> cv2.aruco.Dictionary:
        """Return the same markers for OpenCV, which corrects at most so many bits."""
        packed = [cv2.aruco.Dictionary.getByteListFromBits(np.ascontiguousarray(p)) for p in self.patterns]
        return cv2.aruco.Dictionary(np.concatenate(packed), self.patterns.shape[1], max_correction)


def load_dictionary(path: str | Path) -> MarkerDictionary:
    """Read a dictionary file.

    Raises:
        ConfigError: The file is missing or malformed; the sentence names the marker.
    """
    file = Path(path)
    remedy = 'It needs name, bits, and under [markers] lines such as 0 = ["0110", ...], ids from 0 without gaps.'
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        markers = cast("dict[str, list[str]]", data["markers"])
        patterns = [_bits(markers[str(i)], int(data["bits"]), i) for i in range(len(markers))]
        return MarkerDictionary(
            name=str(data["name"]),
            patterns=np.stack(patterns),
            max_correction=int(data.get("max_correction", 0)),
        )
    except OSError as error:
        raise ConfigError(f"Could not read {file}: {error.strerror}.", "Give the path of a dictionary file.") from error
    except KeyError as error:
        raise ConfigError(f"The dictionary {file} lacks {error}.", remedy, path=file) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"The dictionary {file} is malformed: {error}", remedy, path=file) from error


def save_dictionary(dictionary: MarkerDictionary, path: str | Path, *, comment: str = "") -> Path:
    """Write a dictionary file, with ``comment`` at its head."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    if '"' in dictionary.name or "\\" in dictionary.name:
        raise RecordingError(f"A dictionary cannot be named {dictionary.name!r}.", "Use letters, digits and _.")
    lines += [f'name = "{dictionary.name}"', f"bits = {dictionary.patterns.shape[1]}"]
    lines += [f"max_correction = {dictionary.max_correction}", "", "[markers]"]
    for i, pattern in enumerate(dictionary.patterns):
        rows = ", ".join('"' + "".join(str(int(bit)) for bit in row) + '"' for row in pattern)
        lines.append(f"{i} = [{rows}]")
    return write_atomic(path, "\n".join(lines) + "\n")


@lru_cache(maxsize=1)
def bundled_dictionaries() -> dict[str, Path]:
    """Return the dictionary files that ship with the package, by name."""
    return {file.stem: file for file in sorted(_FOLDER.glob("*.toml"))}


def _bits(rows: list[str], n: int, tag_id: int) -> NDArray[np.uint8]:
    if len(rows) != n or any(len(row) != n or set(row) - {"0", "1"} for row in rows):
        raise ValueError(f"marker {tag_id} needs {n} strings of {n} characters 0 or 1.")
    return np.array([[int(bit) for bit in row] for row in rows], dtype=np.uint8)
