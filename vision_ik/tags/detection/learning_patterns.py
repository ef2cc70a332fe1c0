"""Reading the patterns of markers that no library ships out of pictures of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.errors import TagError
from vision_ik.tags.corners.refinement import refine_corners
from vision_ik.tags.detection.aruco import find_quads
from vision_ik.tags.dictionaries import MarkerDictionary
from vision_ik.tags.pictures import is_convex_quad, to_gray
from vision_ik.types import Floats, Image

_CELL_PX = 12
_CONTRAST = 40.0
"""Grey levels between the black and the white cells of a marker that can be trusted."""
_DOUBTFUL = 0.25
"""Share of the contrast around the threshold within which a cell is neither black nor white."""
_WHITE_SHARE = (0.1, 0.9)
"""Fewer or more white cells are a window, a screen or a sheet of paper, no marker."""


def learn_dictionary(
    images: Iterable[Image], bits: int = 5, *, name: str = "learned", min_views: int = 2
) -> MarkerDictionary:
    """Read the markers that appear in at least ``min_views`` pictures.

    Pictures do not tell which id a pattern has, nor which side is up: ids count the patterns
    from 0 in the order of how often they were seen (then by their bits), and each stands in
    the turn whose bits read as the smallest number. Both are the same for the same patterns.

    Args:
        images: (H, W, 3) BGR pictures with the markers large and sharp.
        bits: Cells along an edge without the border.
        name: Name of the dictionary.
        min_views: Pictures a pattern must appear in; chance patterns do not come twice.

    Raises:
        TagError: No pattern appears often enough.
    """
    seen: Counter[bytes] = Counter()
    for image in images:
        seen.update({_canonical(pattern).tobytes() for pattern in _patterns(to_gray(image), bits)})
    kept = sorted((views for views in seen.items() if views[1] >= min_views), key=lambda views: (-views[1], views[0]))
    if not kept:
        raise TagError(
            f"No marker of {bits}x{bits} bits appears in {min_views} of the pictures.",
            "Check the number of bits, and give sharper or larger pictures of the same markers.",
            bits=bits,
        )
    patterns = np.stack([np.frombuffer(key, dtype=np.uint8).reshape(bits, bits) for key, _ in kept])
    # The few patterns seen lie far apart; correcting up to half their distance would read markers into clutter.
    correction = min((MarkerDictionary(name=name, patterns=patterns).distance - 1) // 2, bits * bits // 10)
    return MarkerDictionary(name=name, patterns=patterns, max_correction=correction)


def _patterns(gray: Image, bits: int) -> list[NDArray[np.uint8]]:
    quads = [quad for quad in find_quads(gray) if is_convex_quad(quad)]
    if not quads:
        return []
    refined = refine_corners(gray, np.stack(quads), bits + 2)
    read = (_read(gray, quad, bits) for quad in refined)
    return [pattern for pattern in read if pattern is not None]


def _read(gray: Image, quad: Floats, bits: int) -> NDArray[np.uint8] | None:
    """Return the (n, n) bits inside a black border, None where the quad shows no clear marker."""
    cells = bits + 2
    side = cells * _CELL_PX
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], dtype=np.float32) - 0.5
    H = cv2.getPerspectiveTransform(quad.astype(np.float32), corners)
    flat = cv2.warpPerspective(gray, H, (side, side), flags=cv2.INTER_LINEAR)
    m = _CELL_PX // 4  # the rim of a cell is blurred
    means = flat.reshape(cells, _CELL_PX, cells, _CELL_PX)[:, m:-m, :, m:-m].mean(axis=(1, 3))
    black, white = float(np.percentile(means, 10)), float(means.max())
    middle = 0.5 * (black + white)
    if white - black < _CONTRAST or (np.abs(means - middle) < 0.5 * _DOUBTFUL * (white - black)).any():
        return None
    pattern = (means > middle).astype(np.uint8)
    inside = pattern[1:-1, 1:-1]
    is_marker = pattern.sum() == inside.sum() and _WHITE_SHARE[0] < inside.mean() < _WHITE_SHARE[1]
    return np.ascontiguousarray(inside) if is_marker else None


def _canonical(pattern: NDArray[np.uint8]) -> NDArray[np.uint8]:
    turns = [np.ascontiguousarray(np.rot90(pattern, k)) for k in range(4)]
    return min(turns, key=lambda turn: turn.tobytes())
