"""How noisy corners are, learned from how they fit the poses of a track."""

from __future__ import annotations

from vision_ik.tags.tracking.settings import TrackerSettings
from vision_ik.tags.tracking.sightings import Sighting

_ASSUMED_FRAMES, _MEASURED_FRAMES = 0.5, 30
"""An assumed corner noise counts like so many frames, one that was measured in the picture like so many."""
_NOISE_FRAMES = 60
"""Frames over which the corner noise is averaged."""
_BLUNDER = 16.0
"""Largest misfit, per two degrees of freedom, that one frame adds to the measured noise."""
_BIAS_EDGE = 20.0
"""[px] Edge of the tags for which the corner bias is told; it falls with the square of the edge."""


class CornerNoise:
    """The noise of the corners of one target, over the noise that its estimates state.

    Args:
        settings: Least noise, corner bias.
    """

    def __init__(self, settings: TrackerSettings) -> None:
        self._settings = settings
        self.frames = 0
        self.ratio = 1.0
        """Variance of the corners' noise, as their fit shows it, over the one stated."""
        self.bias_share = 0.0
        """Variance of the corner errors that are the same in each frame, over that of the noise."""

    def learn(self, seen: Sighting, misfit: float) -> None:
        """Take in one frame: four corners have two degrees of freedom more than a pose.

        Args:
            seen: The frame's estimate.
            misfit: Squared residual at its best pose, over the noise believed.
        """
        if not seen.freedom:
            return  # a board; how many corners it has is not told here
        s = self._settings
        stated = seen.sigma or s.pixel_sigma
        variance = min(misfit / seen.freedom, 0.5 * _BLUNDER) * self.ratio
        self.frames += 1
        prior = _MEASURED_FRAMES if seen.measured else _ASSUMED_FRAMES
        gain = 1.0 / min(self.frames + prior, _NOISE_FRAMES)
        ratio = self.ratio + gain * (variance - self.ratio)
        self.ratio = max(ratio, (s.least_pixel_sigma / stated) ** 2)
        if seen.sigma > 0.0:
            bias = s.corner_bias * (_BIAS_EDGE / max(seen.edge, 1.0)) ** 2
            self.bias_share = (bias / stated) ** 2 / self.ratio
