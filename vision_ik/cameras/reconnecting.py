"""When to look again for a device that went away, and when to give up."""

from __future__ import annotations

from dataclasses import dataclass, field

from vision_ik.errors import CameraError, FrameReadError

_FIRST_PAUSE = 0.25
"""[s] A loose plug is back at once."""
_LONGEST_PAUSE = 4.0
"""[s] Opening a device that is not there costs time and bus traffic."""


@dataclass(slots=True, kw_only=True)
class Absence:
    """One absence of a device: pauses that double up to a bound, until the patience is over.

    It decides by the times it is given alone, so that equal times give equal attempts.
    """

    source: str
    since: float
    """[s] When it went away, on the clock of the run."""
    patience: float
    """[s] After which it is given up."""
    first: CameraError
    """What was wrong then."""
    _pause: float = field(default=_FIRST_PAUSE)

    def next_attempt(self, now: float, error: CameraError) -> float:
        """Return when to try again [s]; ``error`` is what went wrong last.

        Raises:
            FrameReadError: The device has been away for too long.
        """
        end = self.since + self.patience
        if now >= end:
            raise FrameReadError(
                f"{self.source} has been gone for {now - self.since:.0f} s: {self.first.cause}",
                self.first.remedy,
                source=self.source,
                since=self.since,
            ) from error
        due = min(now + self._pause, end)
        self._pause = min(2.0 * self._pause, _LONGEST_PAUSE)
        return due
