"""What is believed to be a marker, in one picture and over time."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision_ik.tags.detection.reading import AGREEMENT, BORDER, CODE, CONTRAST, QUIET, RUNNER_UP, SPREAD, WRONG_BITS
from vision_ik.types import Floats, TagDetection

_CHANCE = 2e-3
"""Most that chance may do: the share of random patterns that pass as some marker of the family."""
_WEAKEST_AGREEMENT, _STRONGEST_AGREEMENT = 0.80, 0.90
"""Bounds of the cosine between what is seen and what should be; sharp markers in full light have 0.99."""
_PLAIN, _PLAIN_AGREEMENT = 0.3, 0.97
"""Share of the possible edges between cells below which a marker looks like things, and what it then needs."""
_LEAD = 0.08
"""By which the best code must beat the second best."""
_EXPECTED_AGREEMENT = 0.6
"""A marker that is looked for by its id where it must be has one code in one turn to compete with."""
_BORDER_WRONG, _QUIET_WRONG = 0.15, 0.3
"""Shares of the border's and the quiet zone's cells on the wrong side of the middle."""
_BORDER_SPREAD = 0.6
"""Root mean square of the border's cells around black, where white is 2 away; chance patterns have 0.7 and more."""
_LEAST_CONTRAST = 5.0
"""[grey levels] Between white and black."""
_CONTRAST_OVER_NOISE = 2.5
"""A cell's mean over nine samples is three times as sure as a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a reading must show to be believed, for the markers of one dictionary."""

    max_hamming: int
    agreement: Floats
    """(k,) Least agreement of each marker."""

    @classmethod
    def of(cls, patterns: NDArray[np.uint8], max_hamming: int) -> Trust:
        """Return what a dictionary needs: the fewer bits for more codes, the more agreement.

        A random pattern falls within w bits of some code in some turn with probability
        4 k sum_{i<=w} C(n, i) / 2^n; what it may be wrong in follows from the chance we accept.
        Markers with few edges inside look like things (number 17 of 4x4_50 is a white square in a
        black frame) and need the most.
        """
        codes, bits = len(patterns), patterns[0].size
        wrong = -1
        chance = 0.0
        while wrong < bits:
            chance += 4.0 * codes * math.comb(bits, wrong + 1) / 2.0**bits
            if chance > _CHANCE:
                break
            wrong += 1
        usual = np.clip(1.0 - 2.0 * (wrong + 1.0) / bits, _WEAKEST_AGREEMENT, _STRONGEST_AGREEMENT)
        signed = patterns.astype(np.int8)
        edges = np.abs(np.diff(signed, axis=1)).sum(axis=(1, 2)) + np.abs(np.diff(signed, axis=2)).sum(axis=(1, 2))
        plain = edges < _PLAIN * 2 * patterns.shape[1] * (patterns.shape[1] - 1)
        return cls(max_hamming=max_hamming, agreement=np.where(plain, _PLAIN_AGREEMENT, usual).astype(np.float64))

    def believes(self, readings: Floats, noise: float) -> NDArray[np.bool_]:
        """Return which readings (N, FIELDS) are markers, in a picture with so much noise [grey levels]."""
        return (
            self.plausible(readings, noise)
            & (readings[:, AGREEMENT] >= self.agreement[np.maximum(readings[:, CODE], 0.0).astype(int)])
            & (readings[:, AGREEMENT] - readings[:, RUNNER_UP] >= _LEAD)
            & (readings[:, WRONG_BITS] <= self.max_hamming)
        )

    def believes_expected(self, readings: Floats, noise: float, tag_id: int) -> NDArray[np.bool_]:
        """Return which readings are the marker ``tag_id``, given that it must be about where they were taken."""
        return (
            self.plausible(readings, noise)
            & (readings[:, CODE] == tag_id)
            & (readings[:, AGREEMENT] >= _EXPECTED_AGREEMENT)
            & (readings[:, AGREEMENT] - readings[:, RUNNER_UP] >= _LEAD)
        )

    def plausible(self, readings: Floats, noise: float) -> NDArray[np.bool_]:
        """Return which readings have a black border in a white zone around whatever stands inside."""
        contrast = max(_LEAST_CONTRAST, _CONTRAST_OVER_NOISE * noise)
        return (
            (readings[:, CODE] >= 0.0)
            & (readings[:, CONTRAST] >= contrast)
            & (readings[:, BORDER] <= _BORDER_WRONG)
            & (readings[:, QUIET] <= _QUIET_WRONG)
            & (readings[:, SPREAD] <= _BORDER_SPREAD)
        )


class TemporalGate:
    """Lets a marker that was hard to read pass once a second frame shows it in the same place.

    Markers read without correction pass at once, and so do those that passed before; a corrected
    one that is new waits. One such gate belongs to one stream of frames.

    Args:
        memory_s: For how long a marker is remembered [s].
        reach: How far a marker may move between frames to be the same, in its own edges.
    """

    def __init__(self, *, memory_s: float = 1.0, reach: float = 1.0) -> None:
        self._memory = memory_s
        self._reach = reach
        self._seen: dict[int, list[tuple[float, Floats]]] = {}

    @property
    def remembered(self) -> tuple[int, ...]:
        """Ids of the markers that are remembered."""
        return tuple(sorted(self._seen))

    def pass_on(self, detections: Sequence[TagDetection], *, sure: Collection[int] = ()) -> list[TagDetection]:
        """Return the detections of one frame that are believed; ids in ``sure`` are believed as they come."""
        passed: list[TagDetection] = []
        for detection in detections:
            known = [old for old in self._seen.get(detection.tag_id, []) if self._is_same(old, detection)]
            if detection.hamming == 0 or detection.tag_id in sure or known:
                passed.append(detection)
        for detection in detections:
            self._forget(detection.timestamp)
            kept = self._seen.get(detection.tag_id, [])
            self._seen[detection.tag_id] = [*kept, (detection.timestamp, detection.corners)][-8:]
        return passed

    def _forget(self, now: float) -> None:
        """Drop what was seen too long ago, or in frames that are yet to come where time went back."""
        recent = {i: [old for old in seen if 0.0 <= now - old[0] <= self._memory] for i, seen in self._seen.items()}
        self._seen = {tag_id: seen for tag_id, seen in recent.items() if seen}

    def _is_same(self, old: tuple[float, Floats], detection: TagDetection) -> bool:
        if not 0.0 < detection.timestamp - old[0] <= self._memory:
            return False
        edge = float(np.linalg.norm(np.diff(detection.corners, axis=0), axis=1).max())
        apart = float(np.linalg.norm(detection.corners.mean(axis=0) - old[1].mean(axis=0)))
        return apart <= self._reach * edge
