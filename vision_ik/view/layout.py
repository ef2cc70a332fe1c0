"""Pictures next to each other."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vision_ik.types import Image
from vision_ik.view.palette import INK, bgr
from vision_ik.view.text import put_label

_GAP = 4
"""[px] Between pictures."""


def side_by_side(images: Sequence[Image], captions: Sequence[str] = (), *, height: int | None = None) -> Image:
    """Return the pictures in one row, all scaled to the same height, each with a caption in its upper left.

    Args:
        images: (H, W, 3) BGR, of any sizes; at least one.
        captions: One for each picture, or none at all; an empty one is left out.
        height: Of the row [px]; that of the tallest picture by default.
    """
    if not images:
        raise ValueError("Give at least one picture.")
    if captions and len(captions) != len(images):
        raise ValueError(f"Give one caption for each of the {len(images)} pictures, not {len(captions)}.")
    row = max(image.shape[0] for image in images) if height is None else height
    parts: list[Image] = []
    for i, image in enumerate(images):
        if parts:
            parts.append(np.full((row, _GAP, 3), bgr(INK), np.uint8))
        part = _scaled(image, row)
        if captions and captions[i]:
            size = max(10, round(row * 0.028))
            put_label(part, captions[i], (size // 2, size // 2), size, weight="bold")
        parts.append(part)
    return np.hstack(parts)


def _scaled(image: Image, height: int) -> Image:
    """Return a copy of the picture at this height, its aspect kept."""
    if image.shape[0] == height:
        return image.copy()
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)
