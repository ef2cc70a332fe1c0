"""A picture, or a folder of them, as a camera."""

from __future__ import annotations

import re
from pathlib import Path

from vision_ik.cameras.base import StoredCamera
from vision_ik.cameras.pictures import decode_image, fit_intrinsics
from vision_ik.clock import Clock
from vision_ik.errors import CameraNotFoundError, FrameReadError
from vision_ik.types import CameraIntrinsics, Image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
NOMINAL_RATE = 10.0
"""[1/s] Pictures carry no usable time of capture; they are spaced as if taken at this rate."""


class ImageCamera(StoredCamera):
    """Gives pictures in natural order (``frame2`` before ``frame10``); sizes may differ from one to the next.

    Args:
        path: A picture or a folder; pictures in subfolders are not taken.
        intrinsics: Lens of all pictures; None guesses.
        fov: Horizontal field of view [rad] to guess with.
        clock: Clock to play on, see :class:`StoredCamera`.
        rate: Pictures per second.

    Raises:
        CameraNotFoundError: The folder holds no picture.
        FrameReadError: The first picture cannot be decoded.
    """

    def __init__(
        self,
        path: Path,
        *,
        intrinsics: CameraIntrinsics | None = None,
        fov: float | None = None,
        clock: Clock | None = None,
        rate: float = NOMINAL_RATE,
    ) -> None:
        if not rate > 0:
            raise ValueError(f"The rate must be positive, not {rate}.")
        self.paths = list_images(path) if path.is_dir() else [path]
        if not self.paths:
            raise CameraNotFoundError(
                f"The folder {path} holds no picture.",
                f"Give a folder with files ending in {', '.join(sorted(IMAGE_SUFFIXES))}.",
                path=path,
            )
        self._given, self._fov, self._rate = intrinsics, fov, rate
        self._first: Image | None = decode_image(self.paths[0])
        super().__init__(str(path), self._fit(self._first, self.paths[0]), clock)

    def _fit(self, image: Image, path: Path) -> CameraIntrinsics:
        return fit_intrinsics(self._given, self._fov, image.shape[1], image.shape[0], str(path))

    def _peek_time(self) -> float | None:
        return self._index / self._rate if self._index < len(self.paths) else None

    def _take(self) -> tuple[Image, CameraIntrinsics]:
        path = self.paths[self._index]
        image, self._first = self._first, None
        if image is None:
            try:
                image = decode_image(path)
            except FrameReadError:
                self._index += 1  # the reader may go on with the next picture
                raise
        return image, self._fit(image, path)


def list_images(folder: Path) -> list[Path]:
    """Return the pictures in a folder in natural order."""
    found = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    return sorted(found, key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
