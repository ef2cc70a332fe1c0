"""A picture, or a folder of them, as a camera."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision_ik.cameras.base import Depth, StoredCamera
from vision_ik.cameras.depth_files import find_depth, read_depth
from vision_ik.cameras.pictures import decode_image, decode_values, fit_intrinsics
from vision_ik.cameras.tones import Tones
from vision_ik.clock import Clock
from vision_ik.errors import CameraNotFoundError, FrameReadError
from vision_ik.types import CameraIntrinsics, Image

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
SIXTEEN_BIT_SUFFIXES = frozenset({".pgm", ".png", ".ppm", ".tif", ".tiff"})
_MOST_SAMPLES = 64
"""Pictures of a folder from which its bits are learned; the others are unlikely to be ones that need more."""
NOMINAL_RATE = 10.0
"""[1/s] Pictures whose names are no times carry none that can be used; they are spaced as if taken at this rate."""
_TIMES = (
    (r"\d{9,10}\.\d+", Decimal(1)),
    (r"\d{13}", Decimal("1e-3")),
    (r"\d{16}", Decimal("1e-6")),
    (r"\d{19}", Decimal("1e-9")),
)
"""Names that are times since 1970, and their units [s]."""


class ImageCamera(StoredCamera):
    """Gives pictures in natural order (``frame2`` before ``frame10``); sizes may differ from one to the next.

    16-bit pictures of a folder are all scaled to 8 bits alike, see :class:`Tones`. A folder ``depth`` beside
    the pictures, with files of the same names, gives the frames depth, see :mod:`vision_ik.cameras.depth_files`.

    Args:
        path: A picture or a folder; pictures in subfolders are not taken.
        intrinsics: Lens of all pictures; None guesses.
        fov: Horizontal field of view [rad] to guess with.
        clock: Clock to play on, see :class:`StoredCamera`.
        rate: Pictures per second; None takes the times that the names of the files are (in seconds, or in ms, us or
            ns since 1970, as data sets have them), or else `NOMINAL_RATE`.

    Raises:
        ValueError: The rate is not positive.
        CameraNotFoundError: The folder holds no picture.
        FrameReadError: No picture can be decoded.
    """

    def __init__(
        self,
        path: Path,
        *,
        intrinsics: CameraIntrinsics | None = None,
        fov: float | None = None,
        clock: Clock | None = None,
        rate: float | None = None,
    ) -> None:
        if rate is not None and not rate > 0:
            raise ValueError(f"The rate must be positive, not {rate}.")
        self.paths = list_images(path) if path.is_dir() else [path]
        if not self.paths:
            raise CameraNotFoundError(
                f"The folder {path} holds no picture.",
                f"Give a folder with files ending in {', '.join(sorted(IMAGE_SUFFIXES))}.",
                path=path,
            )
        self._given, self._fov = intrinsics, fov
        named = times_in_names(self.paths) if rate is None else None
        self._times = named or [k / (rate or NOMINAL_RATE) for k in range(len(self.paths))]
        self._tones = Tones(str(path))
        self._tones.learn(_sixteen_bit_samples(self.paths))
        self._ahead: tuple[Path, Image] | None = self._first_readable()
        super().__init__(str(path), self._fit(self._ahead[1], self._ahead[0]), clock)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is done to the pictures, one sentence each."""
        return self._tones.remarks

    def _first_readable(self) -> tuple[Path, Image]:
        """Return the first picture that can be decoded; those before it are told when their turn comes."""
        first_error: FrameReadError | None = None
        for path in self.paths:
            try:
                return path, decode_image(path, self._tones)
            except FrameReadError as error:
                first_error = first_error or error
        raise first_error or FrameReadError("There is no picture.", "Give one.")

    def _fit(self, image: Image, path: Path) -> CameraIntrinsics:
        return fit_intrinsics(self._given, self._fov, image.shape[1], image.shape[0], str(path))

    def _peek_time(self) -> float | None:
        return self._times[self._index] if self._index < len(self._times) else None

    def _take(self) -> tuple[Image, CameraIntrinsics, Depth | None]:
        path = self.paths[self._index]
        image = None
        if self._ahead is not None and self._ahead[0] == path:
            image, self._ahead = self._ahead[1], None
        try:
            image = decode_image(path, self._tones) if image is None else image
            file = find_depth(path)
            depth = None if file is None else read_depth(file, (image.shape[1], image.shape[0]))
        except FrameReadError:
            self._index += 1  # the reader may go on with the next picture
            raise
        return image, self._fit(image, path), depth


def list_images(folder: Path) -> list[Path]:
    """Return the pictures in a folder in natural order."""
    found = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    return sorted(found, key=lambda file: _natural(file.name))


def times_in_names(paths: Sequence[Path]) -> list[float] | None:
    """Return when pictures were taken [s] since the first, None where their names are no increasing times."""
    for pattern, unit in _TIMES:
        if len(paths) > 1 and all(re.fullmatch(pattern, path.stem) for path in paths):
            # Nanoseconds since 1970 do not fit a float: subtract first.
            stamps = [Decimal(path.stem) * unit for path in paths]
            times = [float(stamp - stamps[0]) for stamp in stamps]
            return times if all(a < b for a, b in pairwise(times)) else None
    return None


def _sixteen_bit_samples(paths: Sequence[Path]) -> Iterator[NDArray[np.generic]]:
    """Give pictures from which the bits of a folder can be learned, evenly spread over it; none if it has 8 bits.

    One type of file holds one depth of values as a rule, so the first of each type that has 8 bits ends its turn.
    """
    by_suffix: dict[str, list[Path]] = {}
    for path in paths:
        by_suffix.setdefault(path.suffix.lower(), []).append(path)
    for suffix in sorted(by_suffix.keys() & SIXTEEN_BIT_SUFFIXES):
        files = by_suffix[suffix]
        step = max(1, -(-len(files) // _MOST_SAMPLES))
        for file in files[::step]:
            try:
                values = decode_values(file)
            except FrameReadError:
                continue  # it is told when its turn to be read comes
            if values.dtype != np.uint16:
                break
            yield values


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
