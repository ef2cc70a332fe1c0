"""Cumulative sums of log likelihood ratios: has the mean of a sequence moved, and since when (Page, 1954).

For each suspected shift d the sum S = max(0, S + log p(x | d) / p(x | 0)) stays near zero as long as nothing
has moved, and climbs as soon as it has. With independent noise of the stated size, a sum passes the
threshold h once in exp(h) steps or more on average (Lorden, 1971), whatever the covariances are. Offsets
of less than half the suspected shift never add up.
"""

from __future__ import annotations

import numpy as np

from vision_ik.types import Floats

_STEPS_AT_LEAST = 3
"""It takes for an alarm, however large the offsets: what is gone within a step or two is no shift."""
_DEADBAND = 4.0
"""Standard deviations of what never averages out that half a suspected shift is, at least."""


class ShiftSums:
    """Two-sided sums for shifts along each of six axes.

    Args:
        translation: Suspected shift along each axis [m].
        rotation: Suspected turn about each axis [rad].
        threshold: At which a sum means an alarm.
    """

    def __init__(self, translation: float, rotation: float, threshold: float) -> None:
        shifts = np.diag(np.repeat([translation, rotation], 3))
        self._shifts = np.concatenate([shifts, -shifts])
        self._threshold = threshold
        self._sums = np.zeros(len(self._shifts))
        self._pending = np.zeros(len(self._shifts))
        self._since = np.full(len(self._shifts), -np.inf)

    @staticmethod
    def count() -> int:
        """Return how many shifts are suspected."""
        return 12

    @property
    def value(self) -> float:
        """The largest sum."""
        return float(np.maximum(self._sums + self._pending, 0.0).max())

    @property
    def since(self) -> float:
        """Time of the last observation before the largest sum left zero [s]; minus infinity from the start."""
        return float(self._since[int(np.argmax(self._sums + self._pending))])

    def ratios(self, seen: list[tuple[Floats, Floats, Floats, Floats]]) -> Floats:
        """Return the log likelihood ratios (12,) of observations of one shift.

        Args:
            seen: Of each observation the offset (6,), its covariance (6, 6), the part of that which never
                averages out (6, 6), and how a shift enters it (6, 6).
        """
        lasting = np.zeros(len(self._shifts))
        linear = np.zeros(len(self._shifts))
        square = np.zeros(len(self._shifts))
        for offset, covariance, stays, by_shift in seen:
            moved = self._shifts @ by_shift.T
            weighed = np.linalg.solve(covariance, np.column_stack([moved.T, offset]))
            linear += moved @ weighed[:, -1]
            square += np.einsum("ka,ak->k", moved, weighed[:, :-1])
            lasting += np.einsum("ka,ak->k", moved, np.linalg.solve(stays, moved.T))
        # Shifts that could be nothing but a lasting error are not looked for: larger ones in their place.
        scale = np.maximum(1.0, 2.0 * _DEADBAND / np.sqrt(np.maximum(lasting, 1e-300)))
        return np.minimum(scale * linear - 0.5 * scale**2 * square, self._threshold / _STEPS_AT_LEAST)

    def add(self, ratios: Floats, time: float) -> None:
        """Take in the log likelihood ratios (12,) of one step that ended at ``time`` [s]."""
        self._sums = np.maximum(self._sums + ratios, 0.0)
        self._pending = np.zeros(len(self._shifts))
        self._since = np.where(self._sums > 0.0, self._since, time)

    def preview(self, ratios: Floats) -> None:
        """Show what ``value`` would be with the ratios (12,) of a step that is not over."""
        self._pending = ratios
