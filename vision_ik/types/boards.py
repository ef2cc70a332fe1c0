"""Layouts of printed targets: what is on the paper, and where [m].

Board frame: origin at the board's lower left outer corner, x right, y up, z out of the
paper. The tag frame sits in the marker's centre with the same axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from vision_ik.types._arrays import Floats, put, read_only

_UNIT_CORNERS = np.array([[-0.5, 0.5, 0], [0.5, 0.5, 0], [0.5, -0.5, 0], [-0.5, -0.5, 0]])


def tag_corners(size_m: float) -> Floats:
    """Return the (4, 3) corners of a tag in its own frame [m], in detection order."""
    return _UNIT_CORNERS * size_m


@dataclass(frozen=True, slots=True, kw_only=True)
class CharucoBoard:
    """A chessboard whose white squares carry markers."""

    columns: int
    """Squares along x."""
    rows: int
    """Squares along y."""
    square_m: float
    marker_m: float
    family: str = "4x4_50"
    """OpenCV dictionary."""
    first_id: int = 0
    legacy: bool = False
    """Layout used before OpenCV 4.6 (differs for an even number of rows)."""

    def __post_init__(self) -> None:
        if self.columns < 2 or self.rows < 2:
            raise ValueError(f"A ChArUco board needs at least 2x2 squares, not {self.columns}x{self.rows}.")
        if not 0 < self.marker_m < self.square_m:
            raise ValueError(f"Marker {self.marker_m} m must be positive and smaller than square {self.square_m} m.")

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the chessboard [m]."""
        return self.columns * self.square_m, self.rows * self.square_m

    @property
    def chess_corners(self) -> Floats:
        """((columns-1)*(rows-1), 3) inner corners [m] in OpenCV's id order: by rows from the top left."""
        xs = np.arange(1, self.columns, dtype=np.float64) * self.square_m
        ys = self.size_m[1] - np.arange(1, self.rows, dtype=np.float64) * self.square_m
        grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        return np.column_stack([grid, np.zeros(len(grid))]).astype(np.float64)

    @property
    def markers(self) -> dict[int, Floats]:
        """Corners (4, 3) [m] of each marker by id; ids count the white squares by rows from the top left."""
        markers: dict[int, Floats] = {}
        white_first = self.legacy and self.rows % 2 == 0
        for row in range(self.rows):
            for column in range(self.columns):
                if (row + column) % 2 == (0 if white_first else 1):
                    centre = ((column + 0.5) * self.square_m, self.size_m[1] - (row + 0.5) * self.square_m, 0.0)
                    markers[self.first_id + len(markers)] = tag_corners(self.marker_m) + centre
        return markers


@dataclass(frozen=True, slots=True, kw_only=True)
class TagGridBoard:
    """Tags in a regular grid; ids count by rows from the top left."""

    columns: int
    rows: int
    tag_m: float
    """Edge of the black border [m]."""
    gap_m: float
    """White between neighbouring tags [m]."""
    family: str = "36h11"
    first_id: int = 0

    def __post_init__(self) -> None:
        if self.columns < 1 or self.rows < 1:
            raise ValueError(f"A tag grid needs at least one tag, not {self.columns}x{self.rows}.")
        if not (self.tag_m > 0 and self.gap_m >= 0):
            raise ValueError(f"Tag {self.tag_m} m must be positive and gap {self.gap_m} m not negative.")

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height over the outer tag edges [m]."""
        pitch = self.tag_m + self.gap_m
        return self.columns * pitch - self.gap_m, self.rows * pitch - self.gap_m

    @property
    def markers(self) -> dict[int, Floats]:
        """Corners (4, 3) [m] of each tag by id."""
        pitch = self.tag_m + self.gap_m
        height = self.size_m[1]
        return {
            self.first_id + row * self.columns + column: tag_corners(self.tag_m)
            + np.array([column * pitch + self.tag_m / 2, height - row * pitch - self.tag_m / 2, 0.0])
            for row in range(self.rows)
            for column in range(self.columns)
        }


Board: TypeAlias = CharucoBoard | TagGridBoard


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BoardDetection:
    """Points of one board found in one frame, matched to the layout."""

    points_board: Floats
    """(N, 3) [m] in the board frame."""
    points_image: Floats
    """(N, 2) [px]"""
    timestamp: float
    """[s] of the frame."""
    tag_ids: tuple[int, ...] = ()
    """Markers that were read."""
    sigma: Floats | None = None
    """(N,) [px] Standard deviation of each coordinate of a point, as the picture shows it; None where not measured."""

    def __post_init__(self) -> None:
        put(self, "points_board", read_only(self.points_board, (None, 3), "points_board"))
        put(self, "points_image", read_only(self.points_image, (len(self.points_board), 2), "points_image"))
        if self.sigma is not None:
            put(self, "sigma", read_only(self.sigma, (len(self.points_board),), "sigma"))
