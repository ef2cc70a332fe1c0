"""One known marker over time: sightings averaged, its place and its unsteadiness learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration import batch
from calibration.drift.explaining import Seen
from calibration.drift.sightings import Chain, KnownMarker, Offset
from vision_ik.transforms import Transform, as_transform
from vision_ik.types import Floats, PoseEstimate

_APART = (0.03, np.deg2rad(5.0))
"""[m], [rad] Nearer than this, two poses of the flange share the arm's error."""
_MEDIAN = 0.5 * np.pi
"""Variance of a median over that of a mean."""
_MOST_CORRELATED = 0.6
"""Correlation of successive averages; noise that lasts longer is an offset to live with."""
_LASTING = 0.5
"""Noise that outlasts any start, as a share of that of one sighting: light, warmth, corners that fall
between pixels the same way each time."""


class MarkerTrack:
    """What was seen of one marker.

    Args:
        marker: Which, and where if that is known.
        chain: From the camera to it.
        learning: Averages to learn from.
    """

    def __init__(self, marker: KnownMarker, chain: Chain, learning: int) -> None:
        self.marker = marker
        self.told: Seen | None = None
        """After learning: how far the place that was told is off."""
        self._chain = chain
        self._learning = learning
        self._T_holder_tag = None if marker.T_holder_tag is None else as_transform(marker.T_holder_tag)
        self._reference = np.zeros((6, 6))  # covariance of the learned place
        self._inflation = 1.0
        self._slow = np.zeros((6, 6))  # covariance of noise that outlasts an average
        self._one_frame: list[Floats] = []  # covariances of single sightings while learning
        self._learned: list[Seen] | None = []
        self._frames: list[Offset] = []
        self._group: Offset | None = None
        self._flange: Transform | None = None
        self._ended: list[Offset] = []

    @property
    def learnt(self) -> bool:
        """Whether enough was seen to watch it."""
        return self._learned is None

    @property
    def started(self) -> bool:
        """Whether anything was seen of it."""
        return self.learnt or bool(self._learned) or self._group is not None

    def place(self) -> KnownMarker:
        """Return the marker with the place that was learned, or that was told if nothing was."""
        if not self.learnt:
            return self.marker
        floor = self._chain.floor
        steady = np.diag(np.repeat([floor.translation**2, floor.rotation**2], 3))
        return replace(self.marker, T_holder_tag=self._T_holder_tag, covariance=self._reference + steady)

    def see(self, seen: PoseEstimate, T_base_flange: Transform | None) -> None:
        """Take in one sighting."""
        if self._T_holder_tag is None:
            self._T_holder_tag = self._chain.T_camera_holder(T_base_flange).inv() @ seen.T_camera_tag
        if self._chain.through_arm and T_base_flange is not None:
            if self._flange is not None and _apart(self._flange, T_base_flange):
                self._end_group()
            self._flange = self._flange or T_base_flange
        self._frames.append(self._chain.offset(seen, self._T_holder_tag, T_base_flange))

    def close(self, index: int, time: float, camera_covariance: Floats | None) -> list[tuple[Seen, bool]]:
        """End a period of averaging.

        Args:
            index: The marker's, for the observations.
            time: [s] Of the end.
            camera_covariance: (6, 6) of the camera's pose; None takes it as exact.

        Returns:
            Observations, each with whether it is over: one made while the arm stands still goes on
            until the arm moves, for the arm's error stays the same so long. Empty while learning.
        """
        self._merge_frames()
        if not self._chain.through_arm:
            self._end_group()
        ended, self._ended = self._ended, []
        seen = [Seen(index, time, offset, self._chain.through_arm) for offset in ended]
        if self._learned is not None:
            self._learned += seen
            if len(self._learned) >= self._learning:
                self._learn(self._learned, index, time, camera_covariance)
            return []
        out = [(self._widened(s), True) for s in seen]
        if self._group is not None:
            out.append((self._widened(Seen(index, time, self._group, self._chain.through_arm)), False))
        return out

    def _merge_frames(self) -> None:
        """Average the frames of a period into the group."""
        if not self._frames:
            return
        frames, self._frames = self._frames, []
        pixels = np.mean([frame.pixels for frame in frames], axis=0)
        if self._learned is not None:
            self._one_frame.append(pixels)
        # A median: a few misread frames say nothing. One or two frames are their own.
        widening = _MEDIAN if len(frames) > 2 else 1.0
        block = replace(
            frames[-1],
            twist=np.median([frame.twist for frame in frames], axis=0),
            pixels=pixels * widening / len(frames),
        )
        self._group = block if self._group is None else _merged(self._group, block)

    def _end_group(self) -> None:
        self._merge_frames()
        if self._group is not None:
            self._ended.append(self._group)
        self._group = self._flange = None

    def _learn(self, learned: list[Seen], index: int, time: float, camera_covariance: Floats | None) -> None:
        """Take the mean offset for the place, and the scatter about it for the noise."""
        n = len(learned)
        twists = np.stack([seen.offset.twist for seen in learned])
        mean = twists.mean(axis=0)
        roots = np.stack(
            [batch.inverse(np.asarray(np.linalg.cholesky(seen.fresh), dtype=np.float64)) for seen in learned]
        )
        z = np.einsum("nab,nb->na", roots, twists - mean)
        scatter = float(np.mean(z * z)) * n / (n - 1)
        # Noise that lasts longer than an average makes sums wander more (an autoregression's long run);
        # its correlation is underestimated by about 1 / n where the mean was taken out.
        correlation = float(np.sum(z[1:] * z[:-1]) / max(float(np.sum(z * z)), 1e-300)) + 1.0 / n
        correlation = 0.0 if self._chain.through_arm else float(np.clip(correlation, 0.0, _MOST_CORRELATED))
        fresh = np.mean([seen.fresh for seen in learned], axis=0)
        self._inflation = (1.0 + correlation) / (1.0 - correlation)
        self._slow = max(0.0, scatter - 1.0) * fresh + _LASTING**2 * np.mean(self._one_frame, axis=0)
        # What lasts was in the start, too, and need not be the same any more.
        self._reference = self._inflation * fresh / n + self._slow
        if self.marker.T_holder_tag is not None:
            offset = learned[-1].offset
            unsure = np.zeros((6, 6)) if self.marker.covariance is None else self.marker.covariance
            if camera_covariance is not None:
                unsure = unsure + offset.by_camera @ camera_covariance @ offset.by_camera.T
            offset = replace(
                offset, twist=mean, pixels=self._reference, arm=0.0 * unsure, lens=offset.lens + self._slow + unsure
            )
            self.told = Seen(index, time, offset, self._chain.through_arm)
        if self._T_holder_tag is not None:
            self._T_holder_tag = self._T_holder_tag @ Transform.exp(mean)
        self._group = self._flange = None  # its offset is from the old place
        self._learned = None

    def _widened(self, seen: Seen) -> Seen:
        """Return an observation with the noise as it was learned."""
        offset = seen.offset
        k = self._inflation
        return replace(
            seen,
            offset=replace(
                offset,
                pixels=k * offset.pixels,
                arm=k * offset.arm,
                lens=offset.lens + self._reference + self._slow,
            ),
        )


def _merged(group: Offset, block: Offset) -> Offset:
    """Return the mean of two averages that share the arm's error, weighed by their noise."""
    weights = batch.inverse(group.pixels), batch.inverse(block.pixels)
    covariance = batch.inverse(weights[0] + weights[1])
    return replace(block, twist=covariance @ (weights[0] @ group.twist + weights[1] @ block.twist), pixels=covariance)


def _apart(a: Transform, b: Transform) -> bool:
    metres, angle = a.distance_to(b)
    return metres > _APART[0] or angle > _APART[1]
