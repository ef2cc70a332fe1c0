"""Depth stored beside pictures: 16-bit files in millimetres, as RGB-D data sets and recorders write them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vision_ik.cameras.base import Depth
from vision_ik.cameras.pictures import decode_values
from vision_ik.errors import FrameReadError

FOLDER = "depth"
"""Name of the folder beside the pictures."""
SUFFIXES = (".png", ".tif", ".tiff")
_MILLIMETRE = 1e-3
"""[m]"""


def find_depth(picture: Path) -> Path | None:
    """Return the file with the depth of a picture: same name in the folder ``depth`` beside it; None without one."""
    folder = picture.parent / FOLDER
    files = (folder / f"{picture.stem}{suffix}" for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read_depth(path: Path, size: tuple[int, int]) -> Depth:
    """Return the depth in a 16-bit file [m], NaN where it holds 0.

    Args:
        path: The file, in millimetres along the optical axis.
        size: (width, height) [px] of the picture it belongs to.

    Raises:
        FrameReadError: It cannot be read, has not 16 bits and one channel, or has another size than the picture.
    """
    values = decode_values(path, cv2.IMREAD_UNCHANGED)
    if values.dtype != np.uint16 or values.ndim != 2:
        channels = 1 if values.ndim == 2 else values.shape[2]
        raise FrameReadError(
            f"{path} holds {channels} channels of {values.dtype} and no depth.",
            "Depth is stored as PNG with one channel of 16 bits, in millimetres.",
            path=path,
        )
    if values.shape != (size[1], size[0]):
        raise FrameReadError(
            f"{path} has {values.shape[1]}x{values.shape[0]} px, its picture {size[0]}x{size[1]}.",
            "Align the depth to the picture before it is stored.",
            path=path,
        )
    return to_metres(values, _MILLIMETRE)


def to_metres(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], unit: float) -> Depth:
    """Return raw depth as (H, W) float32 [m], NaN where it is 0 (nothing measured).

    Args:
        values: (H, W) counts.
        unit: Of one count [m].
    """
    depth = values.astype(np.float32) * np.float32(unit)
    depth[values == 0] = np.nan
    return depth
