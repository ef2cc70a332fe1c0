"""Finding markers in frames, with several readers behind one convention and one ladder of attempts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vision_ik.errors import TagError
from vision_ik.tags.corners.refinement import refine_markers
from vision_ik.tags.detection.ladder import (
    FRAME_RUNGS,
    REGION_RUNGS,
    Budget,
    Meter,
    Rung,
    SearchResult,
    cost,
    in_turn,
    views,
)
from vision_ik.tags.detection.readers import AprilTagReader, OpenCvReader, Reader, Sighting, SoftReader, merged
from vision_ik.tags.detection.reading import AGREEMENT, CODE, Codebook, read_quads
from vision_ik.tags.detection.stag import StagReader
from vision_ik.tags.detection.verifying import PrintVerifier
from vision_ik.tags.families import TagFamily, find_family
from vision_ik.tags.pictures import is_convex_quad, noise_level, to_gray
from vision_ik.types import Floats, Frame, Image, TagDetection

Backend = Literal["soft", "apriltag", "opencv", "stag"]

_MIN_MARGIN = 5.0
"""AprilTag decision margin below which patterns in clutter pass as tags."""
_SMALLEST_PICTURE = 5
"""[px] Nothing smaller shows a tag."""
_MARGIN = 0.35
"""Width of the rim around a predicted marker that is looked at too, in its longest edge."""
_LEAST_MARGIN = 10.0
"""[px] Of that rim."""
_LOSS, _LOSS_BENT = 0.03, 0.2
"""Of the agreement between cells and code by which refined corners may read worse than rough ones; more where the
lens bends lines, as cells are looked for along straight ones."""
_STRAY = 0.05
"""Of a marker's longest edge by which its refined corners may lie from rough ones where the print is not known."""
_ENOUGH_PX = 40.0
"""[px] Shortest edge of a marker whose outline is found as well in a smaller picture."""


class TagDetector:
    """Finds the markers of one family; corners are upright order, pixel centres, whatever the back end.

    Args:
        family: "36h11", "4x4_50", ... (see :func:`list_families`) or a dictionary file's path.
        backend: "soft" reads cells by their whiteness under their own light and finds most;
            "apriltag", "opencv" and "stag" are the libraries as they are. None takes "soft" where the
            markers have a black border around their bits, "stag" for STag markers, else "apriltag".
        wanted: Ids to look for and to report; None reports all. While one of them is not to be seen, every
            frame costs the whole budget.
        max_hamming: Most corrected bits to believe; None takes the family's own limit. OpenCV and STag keep
            to it but do not tell how many they corrected: their detections say 0.
        min_margin: Smallest decision margin to believe of the "apriltag" back end.
        decimate: The first look is at the picture shrunk by this factor; 2 is faster and misses small tags.
        budget: How much work one frame may cost.

    Raises:
        TagError: The family is unknown, the back end cannot read it, or the extra it needs is missing.
        ConfigError: The dictionary file is malformed.
    """

    def __init__(
        self,
        family: str | Path = "36h11",
        *,
        backend: Backend | None = None,
        wanted: Collection[int] | None = None,
        max_hamming: int | None = None,
        min_margin: float = _MIN_MARGIN,
        decimate: float = 1.0,
        budget: Budget | None = None,
    ) -> None:
        found = find_family(family)
        self.family = found.name
        self.backend: Backend = backend or _suited(found)
        self.wanted = None if wanted is None else frozenset(wanted)
        self.budget = budget or Budget()
        if not decimate >= 1.0:
            raise ValueError(f"A picture is shrunk by a factor of at least 1, not {decimate}.")
        self._rungs = (Rung(tone="plain", scale=1.0 / decimate), *FRAME_RUNGS[1:])
        limit = found.max_hamming if max_hamming is None else max_hamming
        self._reader = _reader(found, self.backend, limit, min_margin)
        self._patterns = found.dictionary.patterns if found.dictionary else None
        self._rim_cells = found.rim_cells
        self._book = Codebook.of(found.dictionary) if found.dictionary else None
        self._verifier = PrintVerifier(found) if found.dictionary else None

    def detect(self, frame: Frame) -> list[TagDetection]:
        """Return the markers in a frame by increasing id; an id seen twice is reported twice.

        Climbs the ladder until a rung shows any marker (or the wanted ones), or the budget is spent.
        """
        return self.search(frame).detections

    def search(
        self,
        frame: Frame,
        *,
        expected: Mapping[int, Floats] | None = None,
        wanted: Collection[int] | None = None,
        rim: float = 0.0,
        regions_only: bool = False,
        turn: int | None = None,
    ) -> SearchResult:
        """Return the markers in a frame, and what finding them cost.

        Looks first where markers are expected, with every rung for small pictures, then over the whole
        frame, rung by rung. It stops as soon as all that is expected and wanted has been seen; where nothing
        is, after the first rung that shows anything. Rungs that the budget does not allow are left out.
        The same frame and arguments always give the same result.

        Args:
            frame: The picture.
            expected: Where markers are predicted to be: (4, 2) corners [px] by id, upright order.
            wanted: Ids to look for; None takes the detector's own.

            rim: Least width of the rim around predicted corners that is looked at, too [px].
            regions_only: Do not look elsewhere, whatever is missing.
            turn: Number of this search in a series, of which each climbs no more than the first rung and, in turn,
                one of the others: together they climb the ladder that a single one does. None climbs it all.

        Raises:
            ValueError: Predicted corners are not (4, 2) finite numbers.
        """
        predicted = {tag_id: _checked(corners, tag_id) for tag_id, corners in (expected or {}).items()}
        gray = to_gray(frame.image)
        if min(gray.shape) < _SMALLEST_PICTURE:
            return SearchResult(detections=[], passes=0, pixels=0, complete=False)
        search = _Search(
            reader=self._reader,
            gray=gray,
            meter=Meter(self.budget, gray.size),
            asked=frozenset(predicted) | frozenset((self.wanted if wanted is None else wanted) or ()),
            turn=turn,
        )
        search.in_regions(predicted, rim)
        if not regions_only:
            search.in_frame(self._rungs)
        found = self._refined(merged(search.sightings), frame, gray)
        detections = [d for d in found if self.wanted is None or d.tag_id in self.wanted]
        return SearchResult(
            detections=sorted(detections, key=lambda d: (d.tag_id, *d.corners[0])),
            passes=search.meter.passes,
            pixels=search.meter.pixels,
            complete=search.is_complete(),
        )

    def _refined(self, sightings: list[Sighting], frame: Frame, gray: Image) -> list[TagDetection]:
        """Return the detections, with corners on the edges of the pattern that was read, and their covariance."""
        cells = self._cells(sightings)
        if cells is None or not sightings:
            return [self._detection(s, s.corners, None, frame.timestamp) for s in sightings]
        lens = None if frame.intrinsics.approximate else frame.intrinsics
        rough = np.stack([s.corners for s in sightings])
        moved = refine_markers(gray, rough, cells, lens)
        loss = _LOSS if lens is None or not np.any(lens.distortion) else _LOSS_BENT
        kept = moved.refined & self._still_read(gray, sightings, rough, moved.corners, loss)
        table = zip(sightings, np.where(kept[:, None, None], moved.corners, rough), moved.covariance, kept, strict=True)
        detections = [
            self._detection(s, quad, covariance if good else None, frame.timestamp)
            for s, quad, covariance, good in table
            if is_convex_quad(quad)
        ]
        if self._verifier is None:
            return detections
        verified = (self._verifier.verified(d, frame, gray) for d in detections)
        return [d for d in verified if d is not None]

    def _cells(self, sightings: list[Sighting]) -> int | list[Image] | None:
        """Return what is known of the prints, see :func:`refine_markers`; None where not even their borders are."""
        if self._patterns is None:
            return self._rim_cells
        return [np.pad(self._patterns[s.tag_id] * np.uint8(255), 1) for s in sightings]

    def _still_read(
        self, gray: Image, sightings: list[Sighting], rough: Floats, moved: Floats, loss: float
    ) -> NDArray[np.bool_]:
        """Return which markers are read as well (N,) where their corners were moved to; elsewhere edges misled."""
        if self._book is None:
            longest = np.linalg.norm(np.roll(rough, -1, axis=1) - rough, axis=2).max(axis=1)
            return np.asarray(np.abs(moved - rough).max(axis=(1, 2)) <= _STRAY * longest, dtype=np.bool_)
        if not np.isfinite(moved).all():
            return np.asarray(np.isfinite(moved).all(axis=(1, 2)), dtype=np.bool_)
        ids = np.array([s.tag_id for s in sightings])
        before, after = (read_quads(gray, quads, self._book) for quads in (rough, moved))
        well_before = np.where(before[:, CODE] == ids, before[:, AGREEMENT], -1.0)
        well_after = np.where(after[:, CODE] == ids, after[:, AGREEMENT], -1.0)
        return np.asarray(well_after >= well_before - loss, dtype=np.bool_)

    def _detection(
        self, sighting: Sighting, corners: Floats, covariance: Floats | None, timestamp: float
    ) -> TagDetection:
        return TagDetection(
            tag_id=sighting.tag_id,
            family=self.family,
            corners=corners,
            timestamp=timestamp,
            hamming=sighting.hamming,
            margin=sighting.margin,
            covariance=covariance,
        )


@dataclass(slots=True, kw_only=True)
class _Search:
    """One search through one picture."""

    reader: Reader
    gray: Image
    meter: Meter
    asked: frozenset[int]
    turn: int | None
    sightings: list[Sighting] = field(default_factory=list[Sighting])
    _noise: float | None = None

    def is_complete(self) -> bool:
        """Return whether all that was asked for was seen, or anything where nothing was asked for."""
        seen = {s.tag_id for s in self.sightings}
        return self.asked <= seen if self.asked else bool(seen)

    def in_regions(self, predicted: Mapping[int, Floats], rim: float) -> None:
        """Climb the ladder around the places where markers are predicted."""
        suited = [rung for rung in REGION_RUNGS if self._suits(rung)]
        for number, rung in enumerate([suited[0], *in_turn(suited[1:], self.turn)]):
            seen = {s.tag_id for s in self.sightings}
            regions = {i: _region(corners, self.gray, rim) for i, corners in predicted.items() if i not in seen}
            looks = {i: (_sized(rung, predicted[i]), box) for i, box in regions.items() if box is not None}
            pixels = sum(cost(sized, self.gray[box]) for sized, box in looks.values())
            if not looks or not self.meter.allows(pixels):
                return
            self.meter.count(pixels)
            for tag_id, (sized, box) in looks.items():
                self._look(sized, box, expected=tag_id, thorough=number > 0)

    def in_frame(self, rungs: tuple[Rung, ...]) -> None:
        """Climb the ladder with the whole frame."""
        suited = [rung for rung in rungs if self._suits(rung)]
        self._climb(suited[:1], thorough=False)
        if not self.is_complete():
            others = suited[1:]
            if self.turn is not None:
                others = in_turn(self.meter.affordable(others, self.gray), self.turn)
            self._climb(others, thorough=True)

    def _climb(self, rungs: Sequence[Rung], *, thorough: bool) -> None:
        everywhere = slice(None), slice(None)
        for rung in rungs:
            pixels = cost(rung, self.gray)
            if not self.is_complete() and self.meter.allows(pixels):
                self.meter.count(pixels)
                self._look(rung, everywhere, expected=None, thorough=thorough)

    def _suits(self, rung: Rung) -> bool:
        return self.reader.reads_cuts or rung.tone != "levels"

    def _look(self, rung: Rung, box: tuple[slice, slice], *, expected: int | None, thorough: bool) -> None:
        if self._noise is None:
            self._noise = noise_level(self.gray)
        part = np.ascontiguousarray(self.gray[box])
        corner = np.array([box[1].start or 0, box[0].start or 0], dtype=np.float64)
        for view in views(rung, part, self._noise):
            found = self.reader.read(view, self._noise, expected=expected, thorough=thorough)
            self.sightings += [s._replace(corners=s.corners + corner) for s in found]


def _suited(family: TagFamily) -> Backend:
    """Return the back end that finds most markers of a family."""
    return "stag" if family.stag_distance is not None else "soft" if family.dictionary else "apriltag"


def _reader(family: TagFamily, backend: Backend, max_hamming: int, min_margin: float) -> Reader:
    if backend not in ("soft", "apriltag", "opencv", "stag"):
        raise ValueError(f"The back end must be soft, apriltag, opencv or stag, not {backend!r}.")
    if backend == "stag" and family.stag_distance is not None:
        return StagReader(family.stag_distance, max_hamming)
    if backend == "apriltag" and family.apriltag_name is not None:
        return AprilTagReader(family.name, family.apriltag_name, max_hamming, min_margin)
    if backend in ("soft", "opencv") and family.dictionary is not None:
        return (SoftReader if backend == "soft" else OpenCvReader)(family.dictionary, max_hamming)
    raise TagError(
        f"The {backend} back end cannot read {family.name}.",
        "Leave the back end open, or choose another one.",
        family=family.name,
        backend=backend,
    )


def _checked(corners: Floats, tag_id: int) -> Floats:
    values = np.asarray(corners, dtype=np.float64)
    if values.shape != (4, 2) or not np.isfinite(values).all():
        raise ValueError(f"The predicted corners of tag {tag_id} must be (4, 2) finite numbers, not {values.shape}.")
    return values


def _sized(rung: Rung, corners: Floats) -> Rung:
    """Return the rung for a picture just as large as a marker with such corners (4, 2) [px] needs."""
    edge = float(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).min())
    shrinking = 2.0 ** -np.clip(np.floor(np.log2(max(edge, 1.0) / _ENOUGH_PX)), 0.0, 3.0)
    return replace(rung, scale=rung.scale * float(shrinking))


def _region(corners: Floats, gray: Image, least: float) -> tuple[slice, slice] | None:
    """Return rows and columns around predicted corners, or None where too little of them lies in the picture."""
    edge = float(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).max())
    rim = max(_LEAST_MARGIN, _MARGIN * edge, least)
    low = np.maximum(np.floor(corners.min(axis=0) - rim), 0.0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0) + rim) + 1.0, gray.shape[::-1]).astype(int)
    if (high - low < _SMALLEST_PICTURE).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
