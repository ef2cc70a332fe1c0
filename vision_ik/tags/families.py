"""Families of markers by name: AprilTag families, OpenCV dictionaries, dictionary files.

A marker stands upright as its publisher prints it: AprilTag families as in the AprilTag
image sets, ArUco dictionaries as OpenCV draws them. OpenCV's own AprilTag dictionaries
hold the same patterns turned by 180 degrees; :func:`marker_pattern` turns them back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.errors import TagError
from vision_ik.tags.dictionaries import MarkerDictionary, bundled_dictionaries, load_dictionary
from vision_ik.types import Image

_APRILTAG_LIBRARY = {
    "16h5": "tag16h5",
    "25h9": "tag25h9",
    "36h11": "tag36h11",
    "circle21h7": "tagCircle21h7",
    "standard41h12": "tagStandard41h12",
}
_OPENCV_APRILTAG = {
    "16h5": "DICT_APRILTAG_16h5",
    "25h9": "DICT_APRILTAG_25h9",
    "36h10": "DICT_APRILTAG_36h10",
    "36h11": "DICT_APRILTAG_36h11",
}
_OPENCV_ARUCO = {
    **{f"{n}x{n}_{count}": f"DICT_{n}X{n}_{count}" for n in (4, 5, 6, 7) for count in (50, 100, 250, 1000)},
    "aruco_original": "DICT_ARUCO_ORIGINAL",
    "mip_36h12": "DICT_ARUCO_MIP_36h12",
}
_LEGIBLE_HAMMING = {"16h5": 0, "25h9": 1}
"""Corrected bits we still believe; 16h5 has so few bits that any correction invents tags in clutter."""

_OPENCV_CORRECTION = 0.6
"""Share of the correctable bits that OpenCV corrects by default; more finds markers in clutter."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TagFamily:
    """What is known about one family; at least one of the two names is set."""

    name: str
    apriltag_name: str | None = None
    """Name in the AprilTag library, None where it cannot read the family."""
    dictionary: MarkerDictionary | None = None
    """Patterns of the upright markers, None where OpenCV cannot read the family."""
    max_hamming: int = 2
    """Detections with more corrected bits are dropped."""
    opencv_turned: bool = False
    """True when OpenCV prints the markers upside down."""


def list_families() -> list[str]:
    """Return the names of all families and dictionaries known without a file."""
    return [*dict.fromkeys([*_APRILTAG_LIBRARY, *_OPENCV_APRILTAG]), *_OPENCV_ARUCO, *bundled_dictionaries()]


def find_family(name: str | Path) -> TagFamily:
    """Return the family of a name ("36h11", "tag36h11", "4x4_50", "DICT_4X4_50") or a dictionary file's path.

    Raises:
        TagError: The name is unknown; the remedy lists what exists.
        ConfigError: The file is no dictionary.
    """
    text = str(name)
    if text.endswith(".toml"):
        dictionary = load_dictionary(text)
        return TagFamily(name=dictionary.name, dictionary=dictionary, max_hamming=dictionary.max_correction)
    return _named(re.sub(r"^(dict_)?(apriltag_|aruco_(?=mip)|tag_?)?", "", text.strip().lower()), text)


@lru_cache(maxsize=64)
def _named(key: str, given: str) -> TagFamily:
    if key in _APRILTAG_LIBRARY or key in _OPENCV_APRILTAG:
        patterns = _opencv_patterns(_OPENCV_APRILTAG[key], key) if key in _OPENCV_APRILTAG else None
        return TagFamily(
            name=key,
            apriltag_name=_APRILTAG_LIBRARY.get(key),
            dictionary=patterns,
            max_hamming=_LEGIBLE_HAMMING.get(key, 2),
            opencv_turned=True,
        )
    if key in _OPENCV_ARUCO:
        dictionary = _opencv_patterns(_OPENCV_ARUCO[key], key)
        max_hamming = int(_OPENCV_CORRECTION * dictionary.max_correction)
        return TagFamily(name=key, dictionary=dictionary, max_hamming=max_hamming)
    bundled = bundled_dictionaries()
    if key in bundled:
        dictionary = load_dictionary(bundled[key])
        return TagFamily(name=key, dictionary=dictionary, max_hamming=dictionary.max_correction)
    raise TagError(
        f"There is no tag family or dictionary {given!r}.",
        f"Choose one of {', '.join(list_families())}, or give the path of a dictionary file (.toml).",
        family=given,
    )


def _opencv_patterns(constant: str, name: str) -> MarkerDictionary:
    # OpenCV renamed these constants to capitals in 5.x and kept both for a while.
    number = getattr(cv2.aruco, constant, None)
    if number is None:
        number = getattr(cv2.aruco, constant.upper())
    source = cv2.aruco.getPredefinedDictionary(number)
    n = int(source.markerSize)
    cells = [cv2.aruco.generateImageMarker(source, i, n + 2)[1:-1, 1:-1] for i in range(len(source.bytesList))]
    turns = 2 if "APRILTAG" in constant else 0
    patterns = np.stack([np.rot90(cell > 0, turns) for cell in cells]).astype(np.uint8)
    return MarkerDictionary(name=name, patterns=patterns, max_correction=int(source.maxCorrectionBits))


def marker_pattern(family: str | Path, tag_id: int) -> NDArray[np.uint8]:
    """Return the (n, n) bits (1 white) of an upright marker, without its black border.

    Raises:
        TagError: The family is unknown or has no such id, or its markers carry bits outside the border.
    """
    found = find_family(family)
    if found.dictionary is None:
        raise TagError(
            f"Markers of {found.name} cannot be drawn here: their bits lie outside the border.",
            "Print them from the AprilTag image set, or use 36h11.",
            family=found.name,
        )
    if not 0 <= tag_id < len(found.dictionary.patterns):
        raise TagError(
            f"{found.name} has no marker {tag_id}.",
            f"Choose an id from 0 to {len(found.dictionary.patterns) - 1}.",
            family=found.name,
            tag_id=tag_id,
        )
    return found.dictionary.patterns[tag_id]


def marker_cells(family: str | Path, tag_id: int) -> Image:
    """Return the (n+2, n+2) cells of an upright marker with its black border, 0 or 255."""
    return np.pad(marker_pattern(family, tag_id) * np.uint8(255), 1)
