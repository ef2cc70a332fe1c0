"""A board larger or smaller than told: printers scale to fit the page, squares are measured with a ruler.

The camera alone cannot tell: a board smaller by 2 % looks like the same board 2 % nearer. The arm
can, because it knows how far it moved. Moving across the line of sight shows the scale whatever the
focal length is (the picture moves by as many squares as the arm moved metres); moving along it shows
the product of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.hand_eye.evidence import Corners
from calibration.systematics.moved_corners import by_board_point
from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BoardScale:
    """A `SightTerm`: by which share the board is larger than told."""

    edge: float | None = None
    """[m] Of a square or tag as told, for a person to measure; None where nobody said."""
    sigma_scale: float = 0.015
    """Standard deviation of that share before any view."""

    @property
    def name(self) -> str:
        """Short, for people."""
        return "board scale"

    @property
    def parameters(self) -> tuple[str, ...]:
        """One: the share."""
        return ("scale - 1",)

    @property
    def sigma(self) -> Floats:
        """(1,)."""
        return np.array([self.sigma_scale])

    def evidence(self, corners: Corners, theta: Floats) -> Corners:
        """Return ``corners`` on a board larger by the share ``theta`` (1,)."""
        return corners.changed(points_board=corners.points_board * (1.0 + theta[0]))

    def derivatives(self, corners: Corners, theta: Floats, Ts_camera_board: Floats) -> Floats:
        """Return (M, 2, 1) [px]: a corner moves away from the board's origin, as far as it lies from it."""
        told = corners.points_board / (1.0 + theta[0])
        return by_board_point(corners, Ts_camera_board) @ told[:, :, None]

    def select(self, keep: NDArray[np.bool_]) -> BoardScale:
        """Return itself: all views show one board."""
        return self
