"""Who reads markers out of a picture: our own reader, and the libraries as they are.

All give corners in one convention: pixel centres at whole numbers, upright order.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from vision_ik.tags.corners.refinement import refine_corners
from vision_ik.tags.detection.apriltag import dark_quads, detect_apriltags
from vision_ik.tags.detection.aruco import ArucoBackend
from vision_ik.tags.detection.gate import Trust
from vision_ik.tags.detection.ladder import View
from vision_ik.tags.detection.reading import AGREEMENT, CODE, CONTRAST, TURN, WRONG_BITS, Codebook, read_quads
from vision_ik.tags.dictionaries import MarkerDictionary
from vision_ik.tags.pictures import is_convex_quad, unscaled
from vision_ik.types import Floats

_PROMISING = 0.5
"""Agreement from which it is worth to move a rough outline onto its edges and to read again."""


class Sighting(NamedTuple):
    """One marker read out of a picture."""

    tag_id: int
    corners: Floats
    """(4, 2) [px], upright order."""
    hamming: int
    margin: float
    """See :class:`vision_ik.types.TagDetection`."""
    score: float
    """For choosing between two sightings of one marker; larger is better."""


class Reader(Protocol):
    """Reads the markers of one family."""

    reads_cuts: bool
    """Whether outlines in pictures cut at some grey level are of use to it."""

    def read(self, view: View, noise: float, *, expected: int | None, thorough: bool) -> list[Sighting]:
        """Return the markers seen, with corners in pixels of ``view.gray``.

        Args:
            view: What to look at.
            noise: Noise of the camera's picture [grey levels].
            expected: Id of the marker that must be in the picture.
            thorough: Whether rough outlines are worth more work.
        """
        ...


class SoftReader:
    """Quads from the AprilTag library's segmentation, read softly (:mod:`vision_ik.tags.detection.reading`)."""

    reads_cuts = True

    def __init__(self, dictionary: MarkerDictionary, max_hamming: int) -> None:
        self._book = Codebook.of(dictionary)
        self._trust = Trust.of(dictionary.patterns, max_hamming)

    def read(self, view: View, noise: float, *, expected: int | None, thorough: bool) -> list[Sighting]:
        """Return the markers seen; see :class:`Reader`."""
        quads = unscaled(dark_quads(view.picture, view.contrast), view.picture, view.gray)
        if not len(quads):
            return []
        readings = read_quads(view.gray, quads, self._book)
        believed = self._believed(readings, noise, expected)
        if thorough:
            again = self._trust.plausible(readings, noise) & ~believed & (readings[:, AGREEMENT] > _PROMISING)
            if again.any():
                quads[again] = refine_corners(view.gray, quads[again], self._book.bits + 2)
                readings[again] = read_quads(view.gray, quads[again], self._book)
                believed = self._believed(readings, noise, expected)
        return [_sighting(quad, reading) for quad, reading in zip(quads[believed], readings[believed], strict=True)]

    def _believed(
        self, readings: Floats, noise: float, expected: int | None
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        believed = self._trust.believes(readings, noise)
        return believed if expected is None else believed | self._trust.believes_expected(readings, noise, expected)


def _sighting(quad: Floats, reading: Floats) -> Sighting:
    return Sighting(
        tag_id=int(reading[CODE]),
        corners=np.roll(quad, -int(reading[TURN]), axis=0),
        hamming=int(reading[WRONG_BITS]),
        margin=float(0.5 * reading[CONTRAST] * reading[AGREEMENT]),
        score=float(reading[AGREEMENT]),
    )


class AprilTagReader:
    """The AprilTag library, decoder included."""

    reads_cuts = False

    def __init__(self, family: str, apriltag_name: str, max_hamming: int, min_margin: float) -> None:
        self._family = family
        self._name = apriltag_name
        self._max_hamming = max_hamming
        self._min_margin = min_margin

    def read(self, view: View, noise: float, *, expected: int | None, thorough: bool) -> list[Sighting]:
        """Return the markers seen; see :class:`Reader`."""
        return [
            Sighting(
                tag_id=found.tag_id,
                corners=unscaled(found.corners, view.picture, view.gray),
                hamming=found.hamming,
                margin=found.margin,
                score=found.margin,
            )
            for found in detect_apriltags(view.picture, self._family, self._name, 0.0, view.contrast)
            if found.hamming <= self._max_hamming and found.margin >= self._min_margin
        ]


class OpenCvReader:
    """OpenCV's marker detector, decoder included."""

    reads_cuts = False

    def __init__(self, dictionary: MarkerDictionary, max_hamming: int) -> None:
        self._aruco = ArucoBackend(dictionary, max_hamming)

    def read(self, view: View, noise: float, *, expected: int | None, thorough: bool) -> list[Sighting]:
        """Return the markers seen; see :class:`Reader`."""
        return [
            Sighting(
                tag_id=tag_id,
                corners=unscaled(quad, view.picture, view.gray),
                hamming=0,
                margin=float("nan"),
                score=0.0,
            )
            for tag_id, quad in self._aruco.detect(view.picture)
        ]


def merged(sightings: list[Sighting]) -> list[Sighting]:
    """Return each marker once: of those of one size in one place the one with the best score."""
    kept: list[Sighting] = []
    for sighting in sorted(sightings, key=lambda s: (-s.score, s.tag_id)):
        if is_convex_quad(sighting.corners) and not any(_is_twin(sighting.corners, k.corners) for k in kept):
            kept.append(sighting)
    return kept


def _is_twin(a: Floats, b: Floats) -> bool:
    """Return whether two outlines (4, 2) are about the same."""
    sizes = [float(np.linalg.norm(quad[2] - quad[0]) + np.linalg.norm(quad[3] - quad[1])) for quad in (a, b)]
    apart = float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))
    return apart < 0.25 * min(sizes) and max(sizes) < 1.6 * min(sizes)
