"""Finding ChArUco boards, diamonds and tag grids: marker corners and chess corners together.

A covered board keeps its pose as long as any marker is read: OpenCV's own ChArUco detector
gives chess corners only where two neighbouring markers are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vision_ik.tags.boards.bundles import corner_covariances, corner_sigmas, detect_bundle
from vision_ik.tags.boards.chess_corners import find_chess_corners
from vision_ik.tags.boards.chessboards import detect_chessboard
from vision_ik.tags.boards.faults import find_markers, more_rows, refuse_mirrored, refuse_other_board, remarks
from vision_ik.tags.boards.matching import (
    FlatBoard,
    Straightener,
    marker_share,
    match,
    measure_ratio,
    with_marker_scale,
)
from vision_ik.tags.boards.units import doubt_units
from vision_ik.tags.detection.detector import TagDetector
from vision_ik.tags.pictures import to_gray
from vision_ik.types import (
    Board,
    BoardDetection,
    CharucoBoard,
    Chessboard,
    Frame,
    TagBundle,
    TagDetection,
)

_TOO_FEW = 0.5
"""Share of the board's markers seen that must agree on its plane; where fewer do, the layout is another."""


def detect_board(
    frame: Frame,
    board: Board | TagBundle,
    *,
    detector: TagDetector | None = None,
    mirrored: bool = True,
) -> BoardDetection | None:
    """Return the points of a board seen in a frame, None when no marker of it is (a chessboard: all of it).

    The layout need not be told exactly: the legacy layout of ChArUco boards, swapped width and
    height, and markers of another size beside their distances are recognised; the detection's
    ``layout`` then says what the print is, and its ``remarks`` what to correct; they also say
    where metres and millimetres were mixed up.

    Args:
        frame: Picture.
        board: Layout.
        detector: Detector to use; None takes the shared one of the board's family.
        mirrored: Whether to look at the mirror image where hardly any marker is found, which
            costs a second detection.

    Raises:
        TagError: The picture shows the board mirrored, or most of its markers in another arrangement.
    """
    found = _detect(frame, board, detector, mirrored=mirrored)
    doubts = () if found is None else doubt_units(board)
    return replace(found, remarks=(*found.remarks, *doubts)) if found is not None and doubts else found


def _detect(
    frame: Frame, board: Board | TagBundle, detector: TagDetector | None, *, mirrored: bool
) -> BoardDetection | None:
    if isinstance(board, Chessboard):
        return detect_chessboard(frame, board)
    if isinstance(board, TagBundle):
        return detect_bundle(frame, board, detector=detector)
    view = Straightener(frame.intrinsics)
    found = find_markers(frame, board, detector)
    markers, layout, confirmed = match(found, board, view)
    if len(markers) < 2 and mirrored:
        refuse_mirrored(frame, board)
    if not markers:
        return None
    if len(markers) <= _TOO_FEW * len({d.tag_id for d in found if d.tag_id in layout.markers}):
        refuse_other_board(frame, board, more_than=len(markers))
    layout, scale = _as_printed(markers, layout, board, view)
    said = (*remarks(board, layout, scale), *more_rows(found, markers, layout, view))
    return gather_points(frame, markers, layout, view, confirmed=confirmed, said=said)


class BoardFinder:
    """Looks for one board in frame after frame, and remembers which layout the print turned out to have.

    A picture in which nearly all of a board is covered may not tell its layout from the legacy
    one; earlier pictures have.

    Args:
        board: Layout as told.
        detector: Detector to use; None takes the shared one of the board's family.
    """

    def __init__(self, board: Board | TagBundle, *, detector: TagDetector | None = None) -> None:
        self.layout: Board | TagBundle = board
        """What the print is, as far as is known."""
        self.remarks: tuple[str, ...] = ()
        """What was wrong with the layout as told."""
        self._detector = detector
        self._found = False

    def detect(self, frame: Frame) -> BoardDetection | None:
        """Return the board's points in a frame, see :func:`detect_board`.

        Raises:
            TagError: The picture shows the board mirrored, and no picture before showed it upright.
        """
        found = detect_board(frame, self.layout, detector=self._detector, mirrored=not self._found)
        if found is not None:
            self._found = True
            if found.confirmed and found.layout is not None and found.remarks:
                self.layout, self.remarks = found.layout, tuple(dict.fromkeys((*self.remarks, *found.remarks)))
        return found


def _as_printed(
    markers: Sequence[TagDetection], layout: FlatBoard, told: FlatBoard, view: Straightener
) -> tuple[FlatBoard, float]:
    """Return the layout with the markers as large as the picture shows them, and how much larger than told."""
    ratio = measure_ratio(markers, layout, view)
    printed = layout if ratio == 1.0 else with_marker_scale(layout, ratio) or layout
    return printed, marker_share(printed) / marker_share(told)


def gather_points(
    frame: Frame,
    markers: Sequence[TagDetection],
    layout: FlatBoard,
    view: Straightener,
    *,
    confirmed: bool = True,
    said: tuple[str, ...] = (),
) -> BoardDetection:
    """Return all points of a layout of which these markers were found: their corners, and the chess corners."""
    corners, sigma = layout.markers, corner_sigmas(markers)
    points_board = [corners[d.tag_id] for d in markers]
    points_image = [np.array(d.corners) for d in markers]
    if isinstance(layout, CharucoBoard):
        chess_board, chess_image, chess_sigma = find_chess_corners(to_gray(frame.image), layout, markers, view)
        points_board.append(chess_board)
        points_image.append(chess_image)
        sigma = None if sigma is None else np.concatenate([sigma, chess_sigma])
    return BoardDetection(
        points_board=np.concatenate(points_board),
        points_image=np.concatenate(points_image),
        timestamp=frame.timestamp,
        tag_ids=tuple(d.tag_id for d in markers),
        sigma=sigma,
        marker_covariances=corner_covariances(markers),
        layout=layout,
        confirmed=confirmed,
        remarks=said,
    )
