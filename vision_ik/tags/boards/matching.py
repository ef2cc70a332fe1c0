"""Which of the markers in a picture belong to a layout, and which layout it really is.

All flat: markers of one board lie in one plane, so one homography maps the layout onto the
picture, in coordinates from which the lens has been taken out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from vision_ik.tags.projection import project_rays, undistort
from vision_ik.types import CameraIntrinsics, CharucoBoard, Floats, TagDetection, TagGridBoard

FlatBoard = CharucoBoard | TagGridBoard
"""A printed board with markers."""

_MAX_MISFIT = 0.25
"""Share of a marker's edge by which its corners may miss the board's plane (unknown lenses bend it)."""
_MISTOLD_RATIOS = (0.8, 1.25, 0.65, 1.5, 0.5)
"""Factors on the told size of the markers that are tried when the told one fits nothing."""
_FEWEST_FOR_RATIO = 3
_CLEAR_RATIO = 0.04
"""Deviation of marker to square from what was told beyond which the description is wrong; ink bleeds by 1-2 %."""
_SURE = 4.0
"""Standard deviations a measured ratio must be off."""


class Straightener:
    """Turns pixels into coordinates in which straight edges are straight, and back.

    Args:
        intrinsics: Lens; an approximate one or one without distortion leaves pixels as they are.
    """

    def __init__(self, intrinsics: CameraIntrinsics) -> None:
        straight = intrinsics.model == "pinhole" and not np.any(intrinsics.distortion)
        self._lens = None if intrinsics.approximate or straight else intrinsics
        self.exact = not intrinsics.approximate
        """Whether planes map by exact homographies."""

    def flat(self, pixels: Floats) -> Floats:
        """Return pixels (..., 2) straightened; not finite where the lens maps none there."""
        return pixels if self._lens is None else undistort(pixels.reshape(-1, 2), self._lens).reshape(pixels.shape)

    def pixels(self, flat: Floats) -> Floats:
        """Return the pixels (N, 2) of straightened points (N, 2)."""
        return flat if self._lens is None else project_rays(flat, self._lens)


def homography(plane: Floats, picture: Floats) -> Floats | None:
    """Return the (3, 3) map of (N, 2) onto (N, 2) with the least squared errors, None where there is none."""
    H, _ = cv2.findHomography(plane.reshape(-1, 1, 2), picture.reshape(-1, 1, 2), 0)
    # No homography comes back as None, whatever OpenCV's stubs say.
    return np.asarray(H, dtype=np.float64) if np.shape(H) == (3, 3) else None


def transfer(H: Floats, points: Floats) -> Floats:
    """Return points (..., 2) mapped by a homography."""
    mapped = points @ H[:, :2].T + H[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return mapped[..., :2] / mapped[..., 2:]


def consistent(found: Sequence[TagDetection], markers: Mapping[int, Floats], view: Straightener) -> list[TagDetection]:
    """Return the markers of a flat layout that agree on one plane, by id; a foreign or doubled id does not."""
    known = [d for d in found if d.tag_id in markers]
    if len(known) < 2:
        return known
    plane = np.stack([markers[d.tag_id][:, :2] for d in known])
    picture = view.flat(np.stack([d.corners for d in known]))
    edges = np.linalg.norm(np.roll(picture, -1, axis=1) - picture, axis=2).min(axis=1)
    centres = plane.mean(axis=1)
    votes = np.zeros(len(known), dtype=np.bool_)
    # Each marker alone proposes a plane, good enough to judge its neighbours by: errors grow with the distance.
    for i in range(len(known)):
        reach = np.linalg.norm(centres - centres[i], axis=1) / np.linalg.norm(plane[i, 1] - plane[i, 0])
        agree = _misfit(plane[i], picture[i], plane, picture, edges) < _MAX_MISFIT * (1.0 + reach)
        if agree.sum() > votes.sum():
            votes = agree
        if votes.all():
            break
    misfit = np.zeros(len(known))
    for _ in range(3):
        if votes.sum() < 2:
            break
        misfit = _misfit(plane[votes], picture[votes], plane, picture, edges)
        if np.array_equal(misfit < _MAX_MISFIT, votes):
            break
        votes = misfit < _MAX_MISFIT
    best: dict[int, int] = {}
    for i in np.flatnonzero(votes).tolist():
        tag_id = known[i].tag_id
        if tag_id not in best or misfit[i] < misfit[best[tag_id]]:
            best[tag_id] = i
    return [known[best[tag_id]] for tag_id in sorted(best)]


def match(
    found: Sequence[TagDetection], board: FlatBoard, view: Straightener
) -> tuple[list[TagDetection], FlatBoard, bool]:
    """Return the markers that belong together, the layout they show, and whether its variants are ruled out.

    The layout as told is taken wherever it explains all that is seen of it. Another one must explain more,
    and not by markers alone that stand to each other the same way in both (a guessed lens breaks large groups).
    """
    markers, layout = consistent(found, board.markers, view), board
    others = variants(board)
    known = len({d.tag_id for d in found if d.tag_id in board.markers})
    if len(markers) < known:
        for other in others + _other_ratios(board):
            alike = consistent(found, other.markers, view)
            if len(alike) > max(len(markers), 1) and not _indistinct(alike, other.markers, board.markers):
                markers, layout = alike, other
    rivals = [other for other in [board, *others] if other is not layout]
    confirmed = not any(_indistinct(markers, layout.markers, other.markers) for other in rivals)
    return markers, layout, confirmed


def variants(board: FlatBoard) -> list[FlatBoard]:
    """Return the layouts of the same ids that a board is easily mistaken for: legacy, and turned by 90 degrees."""
    turned: FlatBoard = replace(board, columns=board.rows, rows=board.columns)
    made: list[FlatBoard] = []
    for layout in (board, turned) if board.columns != board.rows else (board,):
        if layout is not board:
            made.append(layout)
        if isinstance(layout, CharucoBoard) and layout.rows % 2 == 0:
            made.append(replace(layout, legacy=not layout.legacy))
    return made


def with_marker_scale(board: FlatBoard, factor: float) -> FlatBoard | None:
    """Return the board with markers ``factor`` times as large beside their distances, None where they overlap.

    The squares of a ChArUco board keep their size, and so do the tags of a grid.
    """
    if isinstance(board, CharucoBoard):
        marker = factor * board.marker_m
        return replace(board, marker_m=marker) if marker < board.square_m else None
    gap = (board.tag_m + board.gap_m) / factor - board.tag_m
    return replace(board, gap_m=gap) if gap >= 0.0 else None


def marker_share(board: FlatBoard) -> float:
    """Return the edge of a marker over the distance of two beside each other (of a ChArUco board: over a square)."""
    if isinstance(board, CharucoBoard):
        return board.marker_m / board.square_m
    return board.tag_m / (board.tag_m + board.gap_m)


def measure_ratio(markers: Sequence[TagDetection], board: FlatBoard, view: Straightener) -> float:
    """Return how many times larger the markers are, beside their distances, than the layout says; 1 when not clear.

    The picture maps back onto the board's plane; there, edges and distances of centres are compared.
    """
    if len(markers) < _FEWEST_FOR_RATIO:
        return 1.0
    layout = np.stack([board.markers[d.tag_id][:, :2] for d in markers])
    picture = view.flat(np.stack([d.corners for d in markers]))
    centres = layout.mean(axis=1, keepdims=True)
    arms = layout - centres
    factor, sigma = 1.0, np.inf
    for _ in range(3):  # the plane is fitted to layouts that come closer and closer
        H = homography((centres + factor * arms).reshape(-1, 2), picture.reshape(-1, 2))
        if H is None or abs(np.linalg.det(H)) < 1e-12:
            return 1.0
        back = transfer(np.asarray(np.linalg.inv(H), dtype=np.float64), picture)
        middle = back.mean(axis=1, keepdims=True)
        spacing = np.linalg.norm(middle - middle.mean(axis=0)) / np.linalg.norm(centres - centres.mean(axis=0))
        edges = np.linalg.norm(back - middle, axis=2).mean(axis=1) / np.linalg.norm(arms[0, 0])
        factor = float(edges.mean() / spacing)
        sigma = float(edges.std() / spacing / np.sqrt(len(markers)))
    clear = abs(factor - 1.0) > max(_CLEAR_RATIO, _SURE * sigma)
    return factor if clear else 1.0


def _misfit(plane: Floats, picture: Floats, planes: Floats, pictures: Floats, edges: Floats) -> Floats:
    """Return how far (N,) the corners of each marker are from where the map of ``plane`` puts them, in edges."""
    H = homography(plane.reshape(-1, 2), picture.reshape(-1, 2)) if np.isfinite(picture).all() else None
    if H is None:
        return np.full(len(planes), np.inf)
    distance = np.linalg.norm(transfer(H, planes) - pictures, axis=2).max(axis=1)
    return np.where(np.isfinite(distance), distance, np.inf) / np.maximum(edges, 1e-12)


def _other_ratios(board: FlatBoard) -> list[FlatBoard]:
    layouts = [with_marker_scale(board, factor) for factor in _MISTOLD_RATIOS]
    return [layout for layout in layouts if layout is not None]


def _indistinct(markers: Sequence[TagDetection], told: Mapping[int, Floats], other: Mapping[int, Floats]) -> bool:
    """Return whether another layout has these markers in the same arrangement, but elsewhere on the board."""
    if not markers or any(d.tag_id not in other for d in markers):
        return False
    offset = np.stack([other[d.tag_id] - told[d.tag_id] for d in markers]).reshape(-1, 3)
    return bool(np.ptp(offset, axis=0).max() < 1e-9)
