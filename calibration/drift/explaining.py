"""What moved, and by how much: the camera, or one of the markers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from calibration import batch
from calibration.drift.sightings import Offset
from calibration.hand_eye.values import ArmNoise
from vision_ik.types import Floats

_CLEARER = 5.0
"""Log likelihood by which one explanation must be better than every other one to be named."""


class Moved(StrEnum):
    """What an explanation blames."""

    CAMERA = "camera"
    MARKER = "marker"
    EITHER = "camera or marker"
    """One marker alone cannot tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """An offset of one marker, averaged over some time."""

    marker: int
    """Which of the markers."""
    time: float
    """[s] of its end."""
    offset: Offset
    """Mean over that time."""
    through_arm: bool

    @property
    def fresh(self) -> Floats:
        """(6, 6) covariance of what is new in every observation."""
        return self.offset.pixels + self.offset.arm

    @property
    def stays(self) -> Floats:
        """(6, 6) covariance of what may be the same in every observation."""
        return self.offset.lens + self.offset.arm

    @property
    def covariance(self) -> Floats:
        """(6, 6) of all of it."""
        return self.offset.pixels + self.offset.arm + self.offset.lens


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shift:
    """What moved, and by how much."""

    moved: Moved
    markers: tuple[int, ...]
    """The markers it may be; empty when it is the camera."""
    twist: Floats
    """(6,) in the frame of the camera that moved, else in that of the marker, (v, w) [m, rad]."""
    covariance: Floats
    """(6, 6) of it."""

    @property
    def size(self) -> ArmNoise:
        """How far [m], and by which angle [rad]."""
        return ArmNoise(
            translation=float(np.linalg.norm(self.twist[:3])), rotation=float(np.linalg.norm(self.twist[3:]))
        )


def explain(seen: Sequence[Seen]) -> Shift:
    """Return the likeliest cause of what was seen since something moved, at least one observation.

    The camera moves all markers by one twist; a marker moves alone. Whichever leaves least unexplained
    is named if it is clearly better than everything else.
    """
    mean = {marker: _together([s for s in seen if s.marker == marker]) for marker in sorted({s.marker for s in seen})}
    shifts: dict[int, tuple[Floats, Floats, float]] = {}
    A, b = np.zeros((6, 6)), np.zeros(6)
    for marker, (twist, covariance, by_camera) in mean.items():
        weight = batch.inverse(covariance)
        shifts[marker] = twist, covariance, 0.5 * float(twist @ weight @ twist)
        A += by_camera.T @ weight @ by_camera
        b += by_camera.T @ weight @ twist
    camera = batch.inverse(A) @ b
    gain = 0.5 * float(b @ camera)
    best = max(shifts, key=lambda marker: shifts[marker][2])
    if gain > shifts[best][2] + _CLEARER:
        return Shift(moved=Moved.CAMERA, markers=(), twist=camera, covariance=batch.inverse(A))
    others = [shifts[marker][2] for marker in shifts if marker != best]
    clear = shifts[best][2] > max([gain, *others]) + _CLEARER
    twist, covariance, _ = shifts[best]
    moved = Moved.MARKER if clear else Moved.EITHER
    return Shift(moved=moved, markers=(best,), twist=twist, covariance=covariance)


def _together(seen: list[Seen]) -> tuple[Floats, Floats, Floats]:
    """Return mean offset, its covariance and how the camera enters, of observations of one marker."""
    weights = np.stack([batch.inverse(s.fresh) for s in seen])
    covariance = batch.inverse(weights.sum(axis=0))
    twist = np.asarray(covariance @ np.einsum("nab,nb->a", weights, np.stack([s.offset.twist for s in seen])))
    by_camera = covariance @ np.einsum("nab,nbc->ac", weights, np.stack([s.offset.by_camera for s in seen]))
    return twist, covariance + np.mean([s.offset.lens for s in seen], axis=0), by_camera
