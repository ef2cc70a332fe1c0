"""Pictures of a folder beside poses that do not name them."""

from __future__ import annotations

import re
from pathlib import Path

from vision_ik.errors import ConfigError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm")
_PLACES = ("", "images", "image", "images/camera0", "handeye")


def find_pictures(folder: Path) -> list[Path]:
    """Return the pictures beside a file of poses, or in the folder for them, in their natural order.

    Raises:
        ConfigError: There are none, or several cameras have theirs.
    """
    cameras = [place.name for place in sorted(folder.glob("images/camera*")) if place.is_dir()]
    if len(cameras) > 1:
        raise ConfigError(
            f"{folder / 'images'} holds the pictures of {len(cameras)} cameras: {', '.join(cameras)}.",
            "Calibrate one at a time: give a folder with the poses and its pictures alone.",
            path=folder,
        )
    for place in _PLACES:
        found = [path for path in (folder / place).glob("*") if path.suffix.lower() in _SUFFIXES]
        if found:
            return sorted(found, key=natural)
    raise ConfigError(
        f"There are poses in {folder}, and no pictures, neither beside them nor in images/.",
        "Put the pictures there.",
        path=folder,
    )


def natural(path: Path) -> list[int | str]:
    """Return a key that sorts image2 before image10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def number_of(path: Path) -> int | None:
    """Return the last number in a picture's name, None where there is none."""
    found = re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else None


def in_order(pictures: list[Path], poses: int, source: Path) -> list[Path]:
    """Return the pictures, one for each pose.

    Raises:
        ConfigError: Their count is another.
    """
    if len(pictures) != poses:
        raise ConfigError(
            f"{source} holds {poses} poses, and {pictures[0].parent} {len(pictures)} pictures: which belong together "
            "cannot be known.",
            "Take out what has no partner, or name the picture of each pose (poses.json, or a column image).",
            path=source,
        )
    return pictures
