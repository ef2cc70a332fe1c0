"""Printed tags and boards as exact textures, and where they are attached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.motion import Motion
from vision_ik.tags.render import board_cells, render_marker
from vision_ik.transforms import Transform
from vision_ik.types import Board, Floats, tag_corners

Parent: TypeAlias = Literal["world", "flange"]

PAPER, INK = 235.0, 22.0
"""Grey of white paper and black print in full light [grey levels]."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Texture:
    """A sheet of paper cut into a grid of uneven rectangles, each of one grey.

    Every edge of the print is an edge of the grid, so nothing is lost to resolution.
    """

    x_edges: Floats
    """(C+1,) increasing, in the frame of the tag or board [m]."""
    y_edges: Floats
    """(R+1,) increasing [m]."""
    grey: NDArray[np.float32]
    """(R, C) grey levels 0..255."""

    @property
    def outline(self) -> Floats:
        """(4, 3) corners of the paper [m], top left first, clockwise seen from the front."""
        (x0, x1), (y0, y1) = self.x_edges[[0, -1]], self.y_edges[[0, -1]]
        return np.array([[x0, y1, 0.0], [x1, y1, 0.0], [x1, y0, 0.0], [x0, y0, 0.0]])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Placement:
    """A printed target, where it is attached, and from when to when."""

    name: str
    texture: Texture
    corners: Mapping[int, Floats]
    """(4, 3) corners of each marker in the target's frame [m], by id."""
    parent: Parent
    pose: Transform | Motion
    """T_parent_target, or how it moves in the world."""
    since: float
    """[s]"""
    until: float = float("inf")
    """[s]"""

    def T_parent_target(self, t: float) -> Transform:
        """Return the pose in the parent's frame at time ``t`` [s]."""
        return self.pose.pose(t) if isinstance(self.pose, Motion) else self.pose


def tag_texture(family: str, tag_id: int, size_m: float, margin_m: float) -> Texture:
    """Return one tag on paper, with a white margin around its black border."""
    return _texture([(tag_corners(size_m), render_marker(family, tag_id, cell_px=1))], margin_m)


def board_texture(board: Board, margin_m: float) -> Texture:
    """Return a board on paper, with a white margin on all sides."""
    return _texture(board_cells(board), margin_m, size_m=board.size_m)


def _texture(
    printed: list[tuple[Floats, NDArray[np.uint8]]], margin_m: float, size_m: tuple[float, float] | None = None
) -> Texture:
    """Lay ``printed`` rectangles (corners in upright order, cells by rows from the top) onto white paper."""
    if margin_m < 0:
        raise ValueError(f"The margin must not be negative, not {margin_m} m.")
    everything = np.concatenate([corners for corners, _ in printed])
    x_low, y_low = (0.0, 0.0) if size_m is not None else everything.min(axis=0)[:2].tolist()
    x_high, y_high = size_m if size_m is not None else everything.max(axis=0)[:2].tolist()
    grids = [_cell_edges(corners, cells) for corners, cells in printed]
    paper_x, paper_y = [x_low - margin_m, x_high + margin_m], [y_low - margin_m, y_high + margin_m]
    x_edges = _merged(np.concatenate([paper_x, *(xs for xs, _ in grids)]))
    y_edges = _merged(np.concatenate([paper_y, *(ys for _, ys in grids)]))
    grey = np.full((len(y_edges) - 1, len(x_edges) - 1), PAPER, dtype=np.float32)
    x_middles, y_middles = 0.5 * (x_edges[1:] + x_edges[:-1]), 0.5 * (y_edges[1:] + y_edges[:-1])
    for (xs, ys), (_, cells) in zip(grids, printed, strict=True):
        columns, rows = np.searchsorted(xs, x_middles) - 1, np.searchsorted(ys, y_middles) - 1
        inside_x, inside_y = (columns >= 0) & (columns < len(xs) - 1), (rows >= 0) & (rows < len(ys) - 1)
        upwards = cells[::-1]
        patch = np.where(upwards[np.ix_(rows[inside_y], columns[inside_x])] > 127, PAPER, INK)
        grey[np.ix_(inside_y, inside_x)] = patch
    return Texture(x_edges=x_edges, y_edges=y_edges, grey=grey)


def _cell_edges(corners: Floats, cells: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    (left, top), (right, bottom) = corners[0, :2].tolist(), corners[2, :2].tolist()
    return np.linspace(left, right, cells.shape[1] + 1), np.linspace(bottom, top, cells.shape[0] + 1)


def _merged(edges: Floats) -> Floats:
    """Return the edges in order, with those that coincide (to a nanometre) kept once."""
    edges = np.sort(edges)
    return edges[np.concatenate([[True], np.diff(edges) > 1e-9])]
