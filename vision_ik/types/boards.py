"""Layouts of printed targets: what is on the paper, and where [m].

Board frame: origin at the board's lower left outer corner, x right, y up, z out of the
paper. The tag frame sits in the marker's centre with the same axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types._arrays import Floats, put, read_only

_UNIT_CORNERS = np.array([[-0.5, 0.5, 0], [0.5, 0.5, 0], [0.5, -0.5, 0], [-0.5, -0.5, 0]])


_FLAT = 0.01
"""Height of the corners over their common plane (rms), in tag edges, below which a bundle counts as flat."""


def tag_corners(size_m: float) -> Floats:
    """Return the (4, 3) corners of a tag in its own frame [m], in detection order."""
    return _UNIT_CORNERS * size_m


def _inner_corners(columns: int, rows: int, square_m: float) -> Floats:
    """Return the ((columns-1)*(rows-1), 3) inner corners of a chessboard [m], by rows from the top left."""
    xs = np.arange(1, columns, dtype=np.float64) * square_m
    ys = (rows - np.arange(1, rows, dtype=np.float64)) * square_m
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    return np.column_stack([grid, np.zeros(len(grid))]).astype(np.float64)


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
    ids: tuple[int, ...] = ()
    """Ids of the markers by rows from the top left; empty: they count from ``first_id``."""

    def __post_init__(self) -> None:
        if self.columns < 2 or self.rows < 2:
            raise ValueError(f"A ChArUco board needs at least 2x2 squares, not {self.columns}x{self.rows}.")
        if not 0 < self.marker_m < self.square_m < np.inf:
            raise ValueError(f"Marker {self.marker_m} m must be positive and smaller than square {self.square_m} m.")
        put(self, "ids", tuple(self.ids))
        if self.ids:
            _check_ids(self.ids)
            if len(self.ids) != len(self._white_squares()):
                raise ValueError(
                    f"A {self.columns}x{self.rows} board has {len(self._white_squares())} markers, not {len(self.ids)}."
                )

    @classmethod
    def diamond(
        cls, ids: tuple[int, int, int, int], square_m: float, marker_m: float, family: str = "4x4_50"
    ) -> CharucoBoard:
        """Return OpenCV's ChArUco diamond: 3x3 squares with four markers of any ids (top, left, right, bottom)."""
        return cls(columns=3, rows=3, square_m=square_m, marker_m=marker_m, family=family, ids=ids)

    def scaled(self, measured_m: float, nominal_m: float) -> CharucoBoard:
        """Return the board as it came out of the printer: an edge meant to be ``nominal_m`` measures ``measured_m``."""
        factor = _factor(measured_m, nominal_m)
        return replace(self, square_m=self.square_m * factor, marker_m=self.marker_m * factor)

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the chessboard [m]."""
        return self.columns * self.square_m, self.rows * self.square_m

    @property
    def chess_corners(self) -> Floats:
        """((columns-1)*(rows-1), 3) inner corners [m] in OpenCV's id order: by rows from the top left."""
        return _inner_corners(self.columns, self.rows, self.square_m)

    @property
    def markers(self) -> dict[int, Floats]:
        """Corners (4, 3) [m] of each marker by id; ids count the white squares by rows from the top left."""
        squares = self._white_squares()
        ids = self.ids or range(self.first_id, self.first_id + len(squares))
        s, height, corners = self.square_m, self.size_m[1], tag_corners(self.marker_m)
        return {
            tag_id: corners + np.array([(column + 0.5) * s, height - (row + 0.5) * s, 0.0])
            for tag_id, (row, column) in zip(ids, squares, strict=True)
        }

    def _white_squares(self) -> list[tuple[int, int]]:
        """Return row and column of the squares with a marker, by rows from the top left."""
        odd = 0 if self.legacy and self.rows % 2 == 0 else 1
        return [(r, c) for r in range(self.rows) for c in range(self.columns) if (r + c) % 2 == odd]


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
        if not (0 < self.tag_m < np.inf and 0 <= self.gap_m < np.inf):
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

    def scaled(self, measured_m: float, nominal_m: float) -> TagGridBoard:
        """Return the board as it came out of the printer: an edge meant to be ``nominal_m`` measures ``measured_m``."""
        factor = _factor(measured_m, nominal_m)
        return replace(self, tag_m=self.tag_m * factor, gap_m=self.gap_m * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chessboard:
    """Black and white squares and nothing else; the top left one is black.

    With an even sum of columns and rows, half a turn maps the print to itself: such a board
    calibrates a lens, but its frame is known up to that turn only.
    """

    columns: int
    """Squares along x (inner corners plus one)."""
    rows: int
    """Squares along y."""
    square_m: float

    def __post_init__(self) -> None:
        if self.columns < 3 or self.rows < 3:
            raise ValueError(f"A chessboard needs at least 3x3 squares, not {self.columns}x{self.rows}.")
        if not 0 < self.square_m < float("inf"):
            raise ValueError(f"Square {self.square_m} m must be positive.")

    def scaled(self, measured_m: float, nominal_m: float) -> Chessboard:
        """Return the board as it came out of the printer: an edge meant to be ``nominal_m`` measures ``measured_m``."""
        return replace(self, square_m=self.square_m * _factor(measured_m, nominal_m))

    @property
    def symmetric(self) -> bool:
        """Whether half a turn maps the print to itself."""
        return (self.columns + self.rows) % 2 == 0

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height [m]."""
        return self.columns * self.square_m, self.rows * self.square_m

    @property
    def chess_corners(self) -> Floats:
        """((columns-1)*(rows-1), 3) inner corners [m], by rows from the top left."""
        return _inner_corners(self.columns, self.rows, self.square_m)

    @property
    def markers(self) -> dict[int, Floats]:
        """Nothing: a chessboard has none."""
        return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class TagBundle:
    """Tags fixed to one rigid body: a cube, a bent sheet, the front of a machine."""

    Ts_bundle_tag: Mapping[int, Transform]
    """Where each tag is, by id; 4x4 arrays are converted."""
    sizes: Mapping[int, float]
    """Edge of each tag's black border [m], by id."""
    family: str = "36h11"

    def __post_init__(self) -> None:
        if not self.Ts_bundle_tag:
            raise ValueError("A bundle needs at least one tag.")
        _check_ids(tuple(self.Ts_bundle_tag))
        for tag_id in sorted(self.Ts_bundle_tag.keys() ^ self.sizes.keys()):
            raise ValueError(f"Tag {tag_id} of a bundle needs both a pose and a size.")
        for tag_id, size in self.sizes.items():
            if not 0 < size < np.inf:
                raise ValueError(f"The size of tag {tag_id} must be positive and finite, not {size} m.")
        put(self, "Ts_bundle_tag", {i: as_transform(T) for i, T in sorted(self.Ts_bundle_tag.items())})
        put(self, "sizes", {i: float(size) for i, size in sorted(self.sizes.items())})

    @classmethod
    def of(cls, tags: Iterable[tuple[int, TransformLike, float]], family: str = "36h11") -> TagBundle:
        """Return the bundle of tags given as (id, T_bundle_tag, size [m]).

        Raises:
            ValueError: An id comes twice, or a size is not positive and finite.
            InvalidPoseError: A pose is not finite or not rigid.
        """
        listed = list(tags)
        _check_ids(tuple(tag_id for tag_id, _, _ in listed))
        return cls(
            Ts_bundle_tag={i: as_transform(T) for i, T, _ in listed},
            sizes={i: size for i, _, size in listed},
            family=family,
        )

    @cached_property
    def markers(self) -> Mapping[int, Floats]:
        """Corners (4, 3) [m] of each tag by id, in the bundle's frame."""
        return {i: T.apply(tag_corners(self.sizes[i])) for i, T in self.Ts_bundle_tag.items()}

    @cached_property
    def flat(self) -> bool:
        """Whether all tags lie in one plane and face the same way."""
        points = np.concatenate(list(self.markers.values()))
        _, spread, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        facing = [float(T.rotation[:, 2] @ axes[2]) for T in self.Ts_bundle_tag.values()]
        height = spread[2] / np.sqrt(len(points))
        return bool(height < _FLAT * min(self.sizes.values()) and (min(facing) > 0 or max(facing) < 0))

    def scaled(self, measured_m: float, nominal_m: float) -> TagBundle:
        """Return the bundle as it came out of the printer: an edge of ``nominal_m`` measures ``measured_m``."""
        factor = _factor(measured_m, nominal_m)
        return TagBundle(
            Ts_bundle_tag={
                i: Transform.from_parts(T.rotation, factor * T.translation) for i, T in self.Ts_bundle_tag.items()
            },
            sizes={i: factor * size for i, size in self.sizes.items()},
            family=self.family,
        )

    def within(self, T_new_bundle: TransformLike) -> TagBundle:
        """Return the same bundle described in another frame."""
        T = as_transform(T_new_bundle)
        return replace(self, Ts_bundle_tag={i: T @ pose for i, pose in self.Ts_bundle_tag.items()})


def _check_ids(ids: tuple[int, ...]) -> None:
    for tag_id in ids:
        if tag_id < 0:
            raise ValueError(f"The ids of tags start at 0, {tag_id} is none.")
        if ids.count(tag_id) > 1:
            raise ValueError(f"Tag {tag_id} is listed twice; each id may be used once.")


def _factor(measured_m: float, nominal_m: float) -> float:
    if not (0 < measured_m < np.inf and 0 < nominal_m < np.inf):
        raise ValueError(f"Both lengths must be positive and finite, not {measured_m} m and {nominal_m} m.")
    return measured_m / nominal_m


Board: TypeAlias = CharucoBoard | TagGridBoard | Chessboard
Layout: TypeAlias = CharucoBoard | TagGridBoard | TagBundle
"""Whatever rigid arrangement of markers can be looked for."""


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
    """Markers that were read: the first points are their corners, four of each in this order."""
    sigma: Floats | None = None
    """(N,) [px] Standard deviation of each coordinate of a point, as the picture shows it; None where not measured."""
    marker_covariances: Floats | None = None
    """(M, 8, 8) [px^2] of the first 4 M points, four at a time (x0, y0, x1, ...): the corners of a marker err together.
    None where only ``sigma`` is known."""
    layout: Layout | None = None
    """What the picture really shows, in whose frame the points are; it differs from what was asked for where the
    remarks say so. None where nobody looked."""
    confirmed: bool = True
    """False where too few markers were read to tell the layout from its variants (legacy, turned by 90 degrees)."""
    remarks: tuple[str, ...] = ()
    """What is wrong with the print or its description, each with its remedy."""

    def __post_init__(self) -> None:
        put(self, "points_board", read_only(self.points_board, (None, 3), "points_board"))
        put(self, "points_image", read_only(self.points_image, (len(self.points_board), 2), "points_image"))
        if self.sigma is not None:
            put(self, "sigma", read_only(self.sigma, (len(self.points_board),), "sigma"))
        if 4 * len(self.tag_ids) > len(self.points_board):
            raise ValueError(f"{len(self.tag_ids)} markers have more corners than the {len(self.points_board)} points.")
        if self.marker_covariances is not None:
            covariances = read_only(self.marker_covariances, (None, 8, 8), "marker_covariances")
            if 4 * len(covariances) > len(self.points_board):
                raise ValueError(
                    f"{len(covariances)} markers have more corners than the {len(self.points_board)} points."
                )
            put(self, "marker_covariances", covariances)
