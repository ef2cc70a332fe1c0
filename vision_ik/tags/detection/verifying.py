"""Whether a marker's corners agree with all of its print, and better corners where they do not.

The straight rim of something that lies along a side of a marker looks like that side: the outline is
then found short, its bits still read, and refinement may settle on the wrong edges with great
confidence. But a homography that is right puts every edge inside the marker in its place, too.
Where edges are elsewhere, sides are moved until the bits read best, and the print is laid onto what
is visible from there (:mod:`vision_ik.tags.following.placing`).
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.tags.corners.refinement import refine_visible
from vision_ik.tags.detection.edge_offsets import (
    CELL,
    HIDDEN,
    IN_PLACE,
    OFFSET,
    STATE,
    PrintedEdges,
    look_at_edges,
    printed_edges,
)
from vision_ik.tags.detection.reading import AGREEMENT, CODE, TURN, Codebook, read_quads
from vision_ik.tags.families import TagFamily
from vision_ik.tags.pictures import is_convex_quad
from vision_ik.tags.projection import project_rays, undistort
from vision_ik.tags.quads import on_print
from vision_ik.types import CameraIntrinsics, Floats, Frame, Image, TagDetection

_SURE = 0.97
"""Share of the edges inside a marker in their places at which its corners pass."""
_BELIEVED, _GAIN = 0.75, 0.05
"""Share that other corners must reach, and by which they must be better."""
_PLAIN = 16
"""Edges inside below which a marker looks like things (number 17 of 4x4_50 is a window with a broad frame)."""
_PLAIN_SHARE, _PLAIN_OUTLINE = 0.85, 0.4
"""Shares of the edges inside and around that such a marker must have in their places."""
_SHIFTS = (-1.0, -0.7, -0.4, 0.4, 0.7)
"""[cells] By which a side is tried elsewhere; negative outwards."""
_NUDGES = (-0.25, 0.25)
"""[cells] The same around the best of those."""
_STARTS = 3
"""From which the print is laid onto the picture."""
_TURNS = 5
"""Of moving an outline to where the edges are."""
_SIDE = 0.6
"""Share of a side's edges in their places below which it is something else's."""
_WIDTH_PX = 0.6
"""Of the steps to begin with."""
_ROUGH = 0.3
"""[px] Least standard deviation of corners that were not refined."""
_HELD = 0.05
"""Edges' worth of belief that a corner is where it is."""


class PrintVerifier:
    """Compares markers' corners with their print.

    Args:
        family: Of the markers; one whose print is known.
    """

    def __init__(self, family: TagFamily) -> None:
        if family.dictionary is None:
            raise ValueError(f"The print of {family.name} is not known.")
        self._patterns = family.dictionary.patterns
        self._book = Codebook.of(family.dictionary)
        self._prints: dict[int, PrintedEdges] = {}

    def verified(self, detection: TagDetection, frame: Frame, gray: Image) -> TagDetection | None:
        """Return a detection whose corners and covariance agree with the print, None where nothing does.

        Args:
            detection: What was read.
            frame: Where.
            gray: (H, W) its grey picture.
        """
        edges = self._print(detection.tag_id)
        share, seen = _fit(gray, detection.corners, edges, frame.intrinsics)
        if share < _SURE:
            found = self._elsewhere(gray, detection, edges, share, frame.intrinsics)
            if found is not None:
                detection = found
                share, seen = _fit(gray, found.corners, edges, frame.intrinsics)
        outline = float((seen[~edges.inner, STATE] == IN_PLACE).mean())
        if edges.inner.sum() < _PLAIN and not (share >= _PLAIN_SHARE and outline >= _PLAIN_OUTLINE):
            return None
        sure = share >= _SURE and detection.covariance is not None
        return detection if sure else _doubted(detection, edges, seen)

    def _elsewhere(
        self, gray: Image, detection: TagDetection, edges: PrintedEdges, share: float, lens: CameraIntrinsics
    ) -> TagDetection | None:
        """Return the marker where more of its edges are in their places than ``share``, None where that is nowhere."""
        needed = max(_BELIEVED, share + _GAIN)
        laid = [self._laid(gray, start, edges, lens) for start in self._starts(gray, detection)]
        best_share, best = max(laid, key=lambda one: one[0], default=(0.0, detection.corners))
        if best_share < needed or not is_convex_quad(best):
            return None
        refined = self._refined(gray, best, edges, detection.tag_id, lens)
        if refined is None or _fit(gray, refined[0], edges, lens)[0] < needed:
            return None
        return replace(detection, corners=refined[0], covariance=refined[1])

    def _laid(self, gray: Image, corners: Floats, edges: PrintedEdges, lens: CameraIntrinsics) -> tuple[float, Floats]:
        """Return corners (4, 2) moved to where the edges inside the marker ask for them, and their share."""
        for _ in range(_TURNS):
            _, seen = _fit(gray, corners, edges, lens)
            move, _ = _asked_move(corners, edges, seen, edges.inner)
            corners = corners + move
            if not is_convex_quad(corners):
                return 0.0, corners
            if np.abs(move).max() < 0.05:
                break
        return _fit(gray, corners, edges, lens)[0], corners

    def _refined(
        self, gray: Image, corners: Floats, edges: PrintedEdges, tag_id: int, lens: CameraIntrinsics
    ) -> tuple[Floats, Floats] | None:
        """Return corners (4, 2) and covariance (8, 8) from all edges but those of sides that are elsewhere."""
        n = self._book.bits + 2
        _, seen = _fit(gray, corners, edges, lens)
        near = seen[:, STATE] == IN_PLACE
        visible = np.ones((n + 4, n + 4), dtype=np.bool_)
        for axis, far in ((0, 0.0), (0, float(n)), (1, 0.0), (1, float(n))):
            side = ~edges.inner & (edges.place[:, axis] == far) & (np.abs(edges.across[:, axis]) == 1.0)
            if near[side].mean() < _SIDE:
                paper = slice(0, 2) if far == 0.0 else slice(n + 2, n + 4)
                visible[(slice(None), paper) if axis == 0 else (paper, slice(None))] = False
        cells = np.pad(self._patterns[tag_id] * np.uint8(255), 1)
        return refine_visible(gray, corners, cells, visible, _WIDTH_PX, None if lens.approximate else lens)

    def _print(self, tag_id: int) -> PrintedEdges:
        if tag_id not in self._prints:
            cells = np.pad(self._patterns[tag_id] * np.uint8(255), 1)
            self._prints[tag_id] = printed_edges(cells)
        return self._prints[tag_id]

    def _starts(self, gray: Image, detection: TagDetection) -> list[Floats]:
        """Return outlines (4, 2) near the detection's, those first that read best."""
        tried = [detection.corners, *self._moved(detection.corners, _SHIFTS)]
        scores = self._scores(gray, tried, detection.tag_id)
        nudged = self._moved(tried[int(np.argmax(scores))], _NUDGES)
        tried += nudged
        scores = np.append(scores, self._scores(gray, nudged, detection.tag_id))
        order = np.argsort(-scores, kind="stable")[:_STARTS]
        return [tried[i] for i in order if scores[i] > 0.0]

    def _moved(self, corners: Floats, shifts: tuple[float, ...]) -> list[Floats]:
        cell = 1.0 / (self._book.bits + 2)
        square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        moved: list[Floats] = []
        for axis, far in ((0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0)):
            for shift in shifts:
                outline = square.copy()
                outline[square[:, axis] == far, axis] += shift * cell * (1.0 if far == 0.0 else -1.0)
                quad = on_print(corners, outline)
                if is_convex_quad(quad):
                    moved.append(quad)
        return moved

    def _scores(self, gray: Image, quads: list[Floats], tag_id: int) -> Floats:
        """Return how well the marker is read in each outline, -1 where it is not."""
        if not quads:
            return np.zeros(0)
        alone = replace(self._book, codes=self._book.codes[4 * tag_id : 4 * tag_id + 4])
        readings = read_quads(gray, np.stack(quads), alone)
        right = (readings[:, CODE] == 0) & (readings[:, TURN] == 0)
        return np.where(right, readings[:, AGREEMENT], -1.0)


def _fit(gray: Image, corners: Floats, edges: PrintedEdges, lens: CameraIntrinsics) -> tuple[float, Floats]:
    """Return the share of the edges inside that are in their places, and what is seen of all (E, 4)."""
    n = float(np.abs(edges.place).max())
    square = np.array([[0, 0], [n, 0], [n, n], [0, n]], dtype=np.float32)
    H = np.asarray(cv2.getPerspectiveTransform(square, corners.astype(np.float32)), dtype=np.float64)
    seen = np.empty((len(edges.place), 4))
    look_at_edges(gray, H, edges.place, edges.across, _bend(corners, edges.place / n, lens), seen)
    return float((seen[edges.inner, STATE] == IN_PLACE).mean()), seen


def _bend(corners: Floats, points: Floats, lens: CameraIntrinsics) -> Floats:
    """Return (E, 2) [px] how the lens moves points of the print away from the homography through the corners."""
    if lens.approximate or (lens.model == "pinhole" and not np.any(lens.distortion)):
        return np.zeros(points.shape)
    rays = undistort(corners, lens)
    if not np.isfinite(rays).all():
        return np.zeros(points.shape)
    bent = project_rays(on_print(rays, points), lens) - on_print(corners, points)
    return np.where(np.isfinite(bent), bent, 0.0)


def _doubted(detection: TagDetection, edges: PrintedEdges, seen: Floats) -> TagDetection:
    """Return a detection as unsure as its edges say: by the corners' move that they ask for, and by their scatter."""
    move, scatter = _asked_move(detection.corners, edges, seen, np.ones(len(seen), dtype=np.bool_))
    doubt = np.diag(np.repeat((move**2).sum(axis=1), 2))
    if detection.covariance is not None:
        return replace(detection, covariance=detection.covariance + doubt)
    return replace(detection, covariance=doubt + (_ROUGH**2 + scatter**2) * np.eye(8))


def _asked_move(corners: Floats, edges: PrintedEdges, seen: Floats, counted: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Return how the edges would move the corners (4, 2) [px], and how far they miss that themselves [px]."""
    n = float(np.abs(edges.place).max())
    there = (seen[:, STATE] != HIDDEN) & counted
    place, across = edges.place[there] / n, edges.across[there]
    half = 0.25 / n
    along = np.column_stack([-across[:, 1], across[:, 0]])
    tangent = on_print(corners, place + half * along) - on_print(corners, place - half * along)
    direction = on_print(corners, place + half * across) - on_print(corners, place - half * across)
    normal = np.column_stack([tangent[:, 1], -tangent[:, 0]]) / np.linalg.norm(tangent, axis=1)[:, None]
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    off = seen[there, OFFSET] * seen[there, CELL] * (normal * direction).sum(axis=1)
    u, v = place.T
    shape = np.column_stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v])
    rows = (shape[:, :, None] * normal[:, None, :]).reshape(-1, 8)
    weight = np.ones(len(rows))
    move, scatter = np.zeros(8), 0.0
    for _ in range(4):
        A = (rows * weight[:, None]).T @ rows + _HELD * np.eye(8)
        move = np.linalg.solve(A, (rows * weight[:, None]).T @ off)
        miss = off - rows @ move
        scatter = 1.4826 * float(np.median(np.abs(miss))) if len(miss) else 0.0
        weight = 1.0 / (1.0 + (miss / max(2.0 * scatter, 0.1)) ** 2)
    return move.reshape(4, 2), scatter
