"""Anti-aliased text on BGR pictures, in the font that matplotlib ships (OpenCV's has no µ, ° or ·)."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from vision_ik.errors import MissingDependencyError
from vision_ik.types import Image
from vision_ik.view.palette import INK, PAPER, bgr

Weight = Literal["regular", "bold"]
_FILES: dict[Weight, str] = {"regular": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}


def text_size(text: str, size: int, weight: Weight = "regular") -> tuple[int, int]:
    """Return width and line height [px] of one line of text at ``size`` [px]."""
    ascent, descent = _font(size, weight).getmetrics()
    return round(_font(size, weight).getlength(text)), ascent + descent


def put_text(
    image: Image, text: str, corner: tuple[int, int], size: int, *, colour: str = PAPER, weight: Weight = "regular"
) -> None:
    """Draw one line of text in place, its upper left at ``corner`` (x, y) [px]; what lies outside is cut off."""
    _blend(image, _mask(text, size, weight), corner, colour)


def put_label(
    image: Image,
    text: str,
    corner: tuple[int, int],
    size: int,
    *,
    colour: str = PAPER,
    background: str = INK,
    opacity: float = 0.75,
    weight: Weight = "regular",
) -> tuple[int, int]:
    """Draw text in place on a rounded plate with its upper left at ``corner``; return the plate's size [px].

    The plate is moved so that it lies inside the picture, where it fits.
    """
    (width, height), pad = text_size(text, size, weight), max(2, size // 3)
    plate = (width + 2 * pad, height + pad)
    x = max(0, min(corner[0], image.shape[1] - plate[0]))
    y = max(0, min(corner[1], image.shape[0] - plate[1]))
    _blend(image, _plate(plate, max(2, size // 4)), (x, y), background, opacity)
    put_text(image, text, (x + pad, y + pad // 2), size, colour=colour, weight=weight)
    return plate


def fitted(text: str, size: int, width: int, weight: Weight = "regular") -> str:
    """Return ``text``, shortened with an ellipsis so that it is at most ``width`` [px] wide; empty if nothing fits."""
    if text_size(text, size, weight)[0] <= width:
        return text
    for end in range(len(text) - 1, 0, -1):
        shorter = text[:end].rstrip() + "…"
        if text_size(shorter, size, weight)[0] <= width:
            return shorter
    return ""


@lru_cache(maxsize=64)
def _font(size: int, weight: Weight) -> ImageFont.FreeTypeFont:
    found = importlib.util.find_spec("matplotlib")  # located, not imported: that costs 0.1 s
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError("matplotlib, which ships our font, is not installed.", "pip install matplotlib.")
    folder = Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / _FILES[weight]), size)


@lru_cache(maxsize=512)
def _mask(text: str, size: int, weight: Weight) -> NDArray[np.uint8]:
    width, height = text_size(text, size, weight)
    canvas = PillowImage.new("L", (max(width + 2, 1), height))
    ImageDraw.Draw(canvas).text((0, 0), text, fill=255, font=_font(size, weight))
    return np.asarray(canvas)


@lru_cache(maxsize=128)
def _plate(plate: tuple[int, int], radius: int) -> NDArray[np.uint8]:
    oversampling = 4
    canvas = PillowImage.new("L", (plate[0] * oversampling, plate[1] * oversampling))
    box = (0, 0, plate[0] * oversampling - 1, plate[1] * oversampling - 1)
    ImageDraw.Draw(canvas).rounded_rectangle(box, radius * oversampling, fill=255)
    return np.asarray(canvas.resize(plate, PillowImage.Resampling.BOX))


def _blend(image: Image, mask: NDArray[np.uint8], corner: tuple[int, int], colour: str, opacity: float = 1.0) -> None:
    """Mix ``colour`` into ``image`` in place where ``mask`` (H, W) says, its upper left at ``corner``."""
    x, y = corner
    left, top = max(0, -x), max(0, -y)
    right = min(mask.shape[1], image.shape[1] - x)
    bottom = min(mask.shape[0], image.shape[0] - y)
    if left >= right or top >= bottom:
        return
    region = image[y + top : y + bottom, x + left : x + right]
    alpha = mask[top:bottom, left:right, None].astype(np.float32) * np.float32(opacity / 255.0)
    region[:] = (region + alpha * (np.array(bgr(colour), np.float32) - region) + 0.5).astype(np.uint8)
