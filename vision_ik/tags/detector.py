"""Finding markers in frames, with two libraries behind one convention."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from vision_ik.errors import TagError
from vision_ik.tags.apriltag import detect_apriltags
from vision_ik.tags.aruco import ArucoBackend
from vision_ik.tags.corners import refine_corners
from vision_ik.tags.families import find_family
from vision_ik.tags.pictures import is_convex_quad, to_gray
from vision_ik.types import Frame, TagDetection

Backend = Literal["apriltag", "opencv"]

_MIN_MARGIN = 5.0
"""AprilTag decision margin below which patterns in clutter pass as tags."""

_SMALLEST_PICTURE = 5
"""[px] Nothing smaller shows a tag, and below 3 px the AprilTag library crashes or hangs."""


class TagDetector:
    """Finds the markers of one family; corners are upright order, pixel centres, whatever the back end.

    Args:
        family: "36h11", "4x4_50", ... (see :func:`list_families`) or a dictionary file's path.
        backend: "apriltag" or "opencv"; None takes AprilTag where it can read the family,
            whose corners are the more accurate.
        wanted: Ids to report; None reports all.
        max_hamming: Most corrected bits to believe; None takes the family's own limit. OpenCV keeps
            to it but does not tell how many it corrected: its detections say 0.
        min_margin: Smallest AprilTag decision margin to believe.
        decimate: AprilTag looks for quads in the picture shrunk by this factor; 2 is
            faster and misses small tags.

    Raises:
        TagError: The family is unknown, or the back end cannot read it.
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
    ) -> None:
        found = find_family(family)
        chosen = backend or ("apriltag" if found.apriltag_name else "opencv")
        if chosen not in ("apriltag", "opencv"):
            raise ValueError(f"The back end must be apriltag or opencv, not {chosen!r}.")
        if (found.apriltag_name if chosen == "apriltag" else found.dictionary) is None:
            raise TagError(
                f"The {chosen} back end cannot read {found.name}.",
                "Leave the back end open, or choose the other one.",
                family=found.name,
                backend=chosen,
            )
        self.family = found.name
        self.backend: Backend = chosen
        self.wanted = None if wanted is None else frozenset(wanted)
        self._max_hamming = found.max_hamming if max_hamming is None else max_hamming
        self._min_margin = min_margin
        self._decimate = decimate
        self._apriltag_name = found.apriltag_name
        self._cells = found.dictionary.patterns.shape[1] + 2 if found.dictionary else 0
        self._aruco = (
            ArucoBackend(found.dictionary, self._max_hamming) if chosen == "opencv" and found.dictionary else None
        )

    def detect(self, frame: Frame) -> list[TagDetection]:
        """Return the markers in a frame by increasing id; an id seen twice is reported twice."""
        gray = to_gray(frame.image)
        if min(gray.shape) < _SMALLEST_PICTURE:
            return []
        if self._aruco is None:
            found = detect_apriltags(
                gray, self.family, str(self._apriltag_name), frame.timestamp, decimate=self._decimate
            )
        else:
            found = [
                TagDetection(tag_id=i, family=self.family, corners=quad, timestamp=frame.timestamp)
                for i, quad in self._aruco.detect(gray)
            ]
        if self._cells and found:
            lens = None if frame.intrinsics.approximate else frame.intrinsics
            quads = refine_corners(gray, np.stack([d.corners for d in found]), self._cells, lens)
            found = [replace(d, corners=quad) for d, quad in zip(found, quads, strict=True)]
        return sorted((d for d in found if self._credible(d)), key=lambda d: (d.tag_id, *d.corners[0]))

    def _credible(self, detection: TagDetection) -> bool:
        wanted = self.wanted is None or detection.tag_id in self.wanted
        legible = detection.hamming <= self._max_hamming and not detection.margin < self._min_margin
        return wanted and legible and is_convex_quad(detection.corners)
