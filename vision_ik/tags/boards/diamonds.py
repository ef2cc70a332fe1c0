"""ChArUco diamonds: 3x3 squares with four markers, told apart by their four ids together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vision_ik.tags.boards.detection import gather_points
from vision_ik.tags.boards.faults import find_markers
from vision_ik.tags.boards.matching import Straightener, homography, transfer
from vision_ik.tags.detection.detector import TagDetector
from vision_ik.types import BoardDetection, CharucoBoard, Floats, Frame, TagDetection

_MAX_MISFIT = 0.25
"""Share of a marker's edge by which its corners may miss the diamond's plane."""


def find_diamonds(
    frame: Frame,
    *,
    square_m: float,
    marker_m: float,
    family: str = "4x4_50",
    detector: TagDetector | None = None,
) -> list[BoardDetection]:
    """Return all diamonds in a frame, whatever their ids, by these ids.

    Each detection's ``layout`` is the diamond (its ``ids``: top, left, right, bottom). All four
    markers must be read, for nothing else tells which diamond it is; one whose ids are known is
    found with any of its markers covered by :func:`detect_board`. A larger ChArUco board in the
    picture consists of diamonds.

    Args:
        frame: Picture.
        square_m: Edge of a square [m].
        marker_m: Edge of a marker's black border [m].
        family: OpenCV dictionary.
        detector: Detector to use; None takes the shared one of the family.
    """
    shape = CharucoBoard.diamond((0, 1, 2, 3), square_m, marker_m, family)
    found = find_markers(frame, shape, detector)
    view = Straightener(frame.intrinsics)
    groups = _groups(found, np.stack([c[:, :2] for c in shape.markers.values()]), view)
    diamonds: list[BoardDetection] = []
    for group in groups:
        markers = [found[k] for k in group]
        top, left, right, bottom = (d.tag_id for d in markers)
        layout = CharucoBoard.diamond((top, left, right, bottom), square_m, marker_m, family)
        diamonds.append(gather_points(frame, markers, layout, view))
    return diamonds


def _groups(found: Sequence[TagDetection], plane: Floats, view: Straightener) -> list[tuple[int, ...]]:
    """Return the places in ``found`` of the four markers (top, left, right, bottom) of each diamond, by their ids."""
    if len(found) < len(plane):
        return []
    seen = view.flat(np.stack([d.corners for d in found]))
    edges = np.linalg.norm(np.roll(seen, -1, axis=1) - seen, axis=2).min(axis=1)
    reach = np.linalg.norm(plane.mean(axis=1) - plane[0].mean(axis=0), axis=1) / np.ptp(plane[0], axis=0).max()
    groups: set[tuple[int, ...]] = set()
    for k in range(len(found)):
        H = homography(plane[0], seen[k])
        if H is None:
            continue
        expected = transfer(H, plane)
        misfit = np.linalg.norm(seen[None] - expected[:, None], axis=3).max(axis=2) / edges
        nearest = np.nanargmin(np.where(np.isfinite(misfit), misfit, np.inf), axis=1)
        near = misfit[np.arange(len(plane)), nearest] < _MAX_MISFIT * (1.0 + reach)
        if near.all() and len(set(nearest.tolist())) == len(plane) and _agree(plane, seen[nearest], edges[nearest]):
            groups.add(tuple(nearest.tolist()))
    ordered = sorted(groups, key=lambda group: [found[i].tag_id for i in group])
    return [group for group in ordered if len({found[i].tag_id for i in group}) == len(group)]


def _agree(plane: Floats, seen: Floats, edges: Floats) -> bool:
    """Return whether all corners lie in one plane as they should."""
    H = homography(plane.reshape(-1, 2), seen.reshape(-1, 2))
    if H is None:
        return False
    misfit = np.linalg.norm(transfer(H, plane) - seen, axis=2).max(axis=1) / edges
    return bool((misfit < _MAX_MISFIT).all())
