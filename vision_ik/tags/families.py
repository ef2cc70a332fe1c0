"""Families of markers by name: AprilTag families, OpenCV dictionaries, STag libraries, dictionary files.

A marker stands upright as its publisher prints it: AprilTag families as in the AprilTag
image sets, ArUco dictionaries as OpenCV draws them. OpenCV's own AprilTag dictionaries
hold the same patterns turned by 180 degrees; :func:`marker_pattern` turns them back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import comb
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
_STAG_MARKERS = {11: 22_309, 13: 2_884, 15: 766, 17: 157, 19: 38, 21: 12, 23: 6}
"""How many markers the STag library of each Hamming distance holds."""
_STAG_BITS = 48
_STAG_CELLS = 10
"""A STag marker is black around a circle of four fifths of its edge: a rim of one cell in ten."""
_STAG_CHANCE = 1e-5
"""Chance that a square with random bits passes as a STag marker; no more bits are corrected than it allows."""
_LEGIBLE_HAMMING = {"16h5": 0, "25h9": 1}
"""Corrected bits we still believe; 16h5 has so few bits that any correction invents tags in clutter."""

_OPENCV_CORRECTION = 0.6
"""Share of the correctable bits that OpenCV corrects by default; more finds markers in clutter."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TagFamily:
    """What is known about one family; at least one reader's name for it or its patterns are set."""

    name: str
    apriltag_name: str | None = None
    """Name in the AprilTag library, None where it cannot read the family."""
    dictionary: MarkerDictionary | None = None
    """Patterns of the upright markers, None where OpenCV cannot read the family."""
    max_hamming: int = 2
    """Detections with more corrected bits are dropped."""
    opencv_turned: bool = False
    """True when OpenCV prints the markers upside down."""
    stag_distance: int | None = None
    """Hamming distance of the STag library, None for other families."""
    rim_cells: int | None = None
    """Cells along an edge, of which the outermost are black, where that is all that is known of the print."""


def list_families() -> list[str]:
    """Return the names of all families and dictionaries known without a file."""
    stag = [f"stag_hd{distance}" for distance in _STAG_MARKERS]
    return [*dict.fromkeys([*_APRILTAG_LIBRARY, *_OPENCV_APRILTAG]), *_OPENCV_ARUCO, *stag, *bundled_dictionaries()]


def find_family(name: str | Path) -> TagFamily:
    """Return the family of a name ("36h11", "tag36h11", "4x4_50", "DICT_4X4_50", "stag_hd21") or of a dictionary file.

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
    stag = re.fullmatch(r"stag_hd(\d+)", key)
    if stag is not None and int(stag[1]) in _STAG_MARKERS:
        distance = int(stag[1])
        limit = _stag_correction(distance)
        return TagFamily(name=key, stag_distance=distance, rim_cells=_STAG_CELLS, max_hamming=limit)
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


def _stag_correction(distance: int) -> int:
    """Return the most bits to correct of a STag library, for which squares with random bits hardly ever pass."""
    ways = 4 * _STAG_MARKERS[distance] / 2**_STAG_BITS
    chances = [ways * sum(comb(_STAG_BITS, k) for k in range(n + 1)) for n in range((distance - 1) // 2 + 1)]
    return max(n for n, chance in enumerate(chances) if chance <= _STAG_CHANCE)


def marker_pattern(family: str | Path, tag_id: int) -> NDArray[np.uint8]:
    """Return the (n, n) bits (1 white) of an upright marker, without its black border.

    Raises:
        TagError: The family is unknown or has no such id, or its markers carry bits outside the border.
    """
    found = find_family(family)
    if found.stag_distance is not None:
        raise TagError(
            f"Markers of {found.name} cannot be drawn here: their bits are no square cells.",
            "Print them from the pictures that the STag project publishes, or use 36h11.",
            family=found.name,
        )
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
