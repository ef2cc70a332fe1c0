"""A bent board: its height above the plane through it is quadratic, as a sheet's that warped or sags.

The same shape as in the calibration of the lens (``lens.terms``): heights at the rim of the corners,
of x^2, xy and y^2. A bend tilts what single views take for the board's plane, and does so
differently from near and from far; mount and holder take a part of that for their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.hand_eye.evidence import Corners
from calibration.lens.terms import BENDS
from calibration.systematics.moved_corners import by_board_point
from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class BoardBend:
    """A `SightTerm`: how the board is bent."""

    centre: Floats
    """(3,) [m] middle of all corners on the board."""
    reach: float
    """[m] From there to the rim, along the longer side."""
    sigma_height: float = 2e-3
    """[m] Standard deviation of each height before any view."""

    @classmethod
    def of(cls, corners: Corners, *, sigma_height: float = 2e-3) -> BoardBend:
        """Return the bend of the board whose corners these are."""
        low, high = corners.points_board.min(axis=0), corners.points_board.max(axis=0)
        return cls(0.5 * (low + high), max(0.5 * float((high - low).max()), 1e-9), sigma_height)

    @property
    def name(self) -> str:
        """Short, for people."""
        return "board bend"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Heights [m] of x^2, xy and y^2 at the rim."""
        return ("xx [m]", "xy [m]", "yy [m]")

    @property
    def sigma(self) -> Floats:
        """(3,) [m]."""
        return np.full(BENDS, self.sigma_height)

    def evidence(self, corners: Corners, theta: Floats) -> Corners:
        """Return ``corners`` on a board bent by ``theta`` (3,) [m]."""
        lifted = corners.points_board.copy()
        lifted[:, 2] += self._shapes(corners) @ theta
        return corners.changed(points_board=lifted)

    def derivatives(self, corners: Corners, theta: Floats, Ts_camera_board: Floats) -> Floats:
        """Return (M, 2, 3) [px/m]: a corner rises along the board's normal."""
        normal = by_board_point(corners, Ts_camera_board)[:, :, 2]
        return normal[:, :, None] * self._shapes(corners)[:, None, :]

    def select(self, keep: NDArray[np.bool_]) -> BoardBend:
        """Return itself: all views show one board."""
        return self

    def _shapes(self, corners: Corners) -> Floats:
        """Return (M, 3), the height of each corner per height at the rim."""
        x, y = ((corners.points_board - self.centre) / self.reach).T[:2]
        return np.column_stack([x * x, x * y, y * y])
