"""What is wrong with a printed board, or with what was told about it, in words with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from vision_ik.errors import TagError
from vision_ik.tags.boards.matching import FlatBoard, Straightener, consistent, match
from vision_ik.tags.detection.detector import TagDetector
from vision_ik.tags.render import prints_turned
from vision_ik.types import CameraIntrinsics, CharucoBoard, Frame, TagDetection

_SURE = 3
"""Markers that must agree before a board is said to be mirrored, or another one."""
_MOST_COLUMNS = 20
_MOST_ROWS = 20
"""Beyond the last one told in which a board's markers are looked for."""
_FAMILIES = (
    "4x4_1000", "5x5_1000", "6x6_1000", "7x7_1000", "aruco_original", "mip_36h12", "36h11", "36h10", "25h9", "16h5",
)  # fmt: skip
"""What boards are printed with; the smaller dictionaries are the beginnings of these."""
_SMALLER = (50, 100, 250)
_SHARES = (0.5, 0.6, 0.75, 0.85)
"""Of a square's edge that its marker's has."""
_LISTED = 8
_LOOSE = 4
"""Markers that are named though they form no board; fewer are easily seen where there is none."""


@lru_cache(maxsize=16)
def shared_detector(family: str) -> TagDetector:
    """Return the one detector of a family that all boards share."""
    return TagDetector(family)


def find_markers(frame: Frame, board: FlatBoard, detector: TagDetector | None = None) -> list[TagDetection]:
    """Return the markers in a frame, with their corners in the order in which this board prints them."""
    found = (detector or shared_detector(board.family)).detect(frame)
    return [_turned(d) for d in found] if prints_turned(board) else found


def remarks(told: FlatBoard, layout: FlatBoard, scale: float) -> tuple[str, ...]:
    """Return what of the description is wrong when the picture shows ``layout``, its markers ``scale`` as large."""
    said: list[str] = []
    if (layout.columns, layout.rows) != (told.columns, told.rows):
        said.append(
            f"Width and height are swapped: the print has {layout.columns} columns and {layout.rows} rows. "
            f"Set columns = {layout.columns} and rows = {layout.rows}."
        )
    if isinstance(layout, CharucoBoard) and isinstance(told, CharucoBoard) and layout.legacy != told.legacy:
        since = "the layout from before OpenCV 4.6" if layout.legacy else "the layout since OpenCV 4.6"
        said.append(f"The print has {since}. Set legacy = {str(layout.legacy).lower()}.")
    if scale != 1.0:
        said.append(_wrong_ratio(told, scale))
    return tuple(said)


def refuse_mirrored(frame: Frame, board: FlatBoard) -> None:
    """Look at the picture's mirror image.

    Raises:
        TagError: The board is in it.
    """
    if len(_mirrored_markers(frame, board)) >= min(_SURE, len(board.markers)):
        raise TagError(
            "The picture shows the board mirrored.",
            "Turn off mirroring in the camera's settings; if the print itself is mirrored, print the board anew.",
        )


def refuse_other_board(frame: Frame, board: FlatBoard, *, more_than: int) -> None:
    """Look for an arrangement of the same family's markers that explains more of them than the one told.

    Raises:
        TagError: There is one, of at least three markers more than ``more_than``.
    """
    alike, layout = _best_arrangement(frame, board, find_markers(frame, board))
    if len(alike) >= more_than + _SURE:
        raise _another(board, alike, layout)


def explain_missing_board(frame: Frame, board: FlatBoard) -> TagError | None:
    """Return what a picture shows in place of the board that was told, ready to be raised; None when no board.

    Looks for the board mirrored, of other markers, with other ids, and of another width, then for
    any markers; that takes seconds, so it is meant for one picture of a set in which the board was not found.
    """
    try:
        refuse_mirrored(frame, board)
    except TagError as error:
        return error
    best, shown = list[TagDetection](), board
    loose = list[TagDetection]()
    for family in dict.fromkeys((board.family, *_FAMILIES)):
        other = replace(board, family=family)
        found = find_markers(frame, other)
        if len(found) > max(len(best), _SURE - 1):
            for printed in _of_other_shares(other):
                alike, layout = _best_arrangement(frame, printed, found)
                if len(alike) > len(best):
                    best, shown = alike, layout
                if len(best) >= _SURE:
                    break
        loose = max(loose, [d for d in found if d.hamming == 0], key=len)
    if len(best) >= _SURE:
        return _another(board, best, shown)
    return _loose(board, loose) if len({d.tag_id for d in loose}) >= _LOOSE else None


def more_rows(
    found: Sequence[TagDetection], markers: Sequence[TagDetection], layout: FlatBoard, view: Straightener
) -> tuple[str, ...]:
    """Return the remark that the board goes on below its last row, where markers of higher ids continue it."""
    if isinstance(layout, CharucoBoard) and layout.ids:
        return ()
    last = max(layout.markers)
    beyond = [d.tag_id for d in found if last < d.tag_id <= last + _MOST_ROWS * layout.columns]
    if not beyond:
        return ()
    more = 2 * ((max(beyond) - last) // layout.columns + 1)  # an even number keeps the pattern of a ChArUco board
    if len(consistent(found, replace(layout, rows=layout.rows + more).markers, view)) <= len(markers) + 1:
        return ()
    return (
        f"The print goes on below row {layout.rows}: it has markers up to {max(beyond)}. "
        "Set rows to what is on the paper; until then the board's origin is the corner of the rows told.",
    )


def _best_arrangement(
    frame: Frame, board: FlatBoard, found: Sequence[TagDetection]
) -> tuple[list[TagDetection], FlatBoard]:
    """Return the layout of any width and first id that most of the markers agree with, and these markers."""
    if isinstance(board, CharucoBoard):
        board = replace(board, ids=())
    view = Straightener(frame.intrinsics)
    best, shown = list[TagDetection](), board
    for layout in _arrangements(board, found):
        alike = consistent(found, layout.markers, view)
        if len(alike) > len(best):
            best, shown = alike, layout
        if len(best) == len({d.tag_id for d in found}):
            break
    return best, shown


def _of_other_shares(board: FlatBoard) -> list[FlatBoard]:
    """Return the board as told, and with markers of the usual sizes beside its squares."""
    if not isinstance(board, CharucoBoard):
        return [board]
    layouts: list[FlatBoard] = [board]
    layouts += [replace(board, marker_m=share * board.square_m) for share in _SHARES]
    return layouts


def _another(told: FlatBoard, markers: Sequence[TagDetection], shown: FlatBoard) -> TagError:
    ids, told_ids = [d.tag_id for d in markers], sorted(told.markers)
    family = shown.family if shown.family == told.family else smallest_family(shown.family, ids)
    named = family if shown.family == told.family else _or_larger(family)
    return TagError(
        f"The picture shows a board with markers {min(ids)}-{max(ids)} of {named} in {shown.columns} columns, "
        f"not one of {told.family} markers {told_ids[0]}-{told_ids[-1]} in {told.columns} columns.",
        "Correct the family, the ids and the columns of the board's description, or show the board it describes.",
        family=family,
        tag_ids=ids,
        columns=shown.columns,
    )


def _loose(told: FlatBoard, markers: Sequence[TagDetection]) -> TagError:
    ids = sorted({d.tag_id for d in markers})
    family = smallest_family(markers[0].family, ids)
    listed = ", ".join(map(str, ids[:_LISTED])) + (", ..." if len(ids) > _LISTED else "")
    return TagError(
        f"The picture shows {len(ids)} markers of {_or_larger(family)} ({listed}), "
        f"not a board of {told.family} markers in {told.columns} columns.",
        "Correct the family, columns, rows and sizes of the board's description, or show the board it describes.",
        family=family,
        tag_ids=ids,
    )


def smallest_family(family: str, ids: Sequence[int]) -> str:
    """Return the smallest dictionary of a series such as 6x6_50, 6x6_100, ... that holds these ids."""
    series, _, count = family.rpartition("_")
    if not count.isdecimal():
        return family
    fitting = [size for size in _SMALLER if max(ids) < size <= int(count)]
    return f"{series}_{fitting[0]}" if fitting else family


def _or_larger(family: str) -> str:
    """Return a dictionary in words: the larger ones of its series begin with the same markers."""
    series, _, count = family.rpartition("_")
    larger = count.isdecimal() and int(count) <= _SMALLER[-1]
    return f"{family} or a larger {series} dictionary" if larger else family


def _wrong_ratio(told: FlatBoard, scale: float) -> str:
    if isinstance(told, CharucoBoard):
        share = 100.0 * told.marker_m / told.square_m
        return (
            f"The markers measure {scale * share:.1f} % of a square, not {share:.1f} %: square_m or marker_m is wrong. "
            "Measure one square and one marker on the paper and set both; until then the squares are believed."
        )
    return (
        f"The tags are {100.0 * (scale - 1.0):+.1f} % off beside their distances: tag_m or gap_m is wrong. "
        "Measure one tag and one gap on the paper and set both; until then the tags are believed."
    )


def _mirrored_markers(frame: Frame, board: FlatBoard) -> list[TagDetection]:
    height, width = frame.image.shape[:2]
    mirror = Frame(
        image=np.ascontiguousarray(frame.image[:, ::-1]),
        timestamp=frame.timestamp,
        index=frame.index,
        intrinsics=CameraIntrinsics.from_field_of_view(width, height),
    )
    return match(find_markers(mirror, board), board, Straightener(mirror.intrinsics))[0]


def _arrangements(board: FlatBoard, found: Sequence[TagDetection]) -> Iterator[FlatBoard]:
    """Yield layouts of every width and first id that would hold the markers found, the width told first.

    Which row the first id is in does not matter to how markers lie to each other, so ids are
    shifted by less than two rows.
    """
    low, high = min(d.tag_id for d in found), max(d.tag_id for d in found)
    widths = sorted(range(2, _MOST_COLUMNS + 1), key=lambda columns: abs(columns - board.columns))
    for columns in widths:
        for first in range(max(0, low - columns + 1), low + 1):
            rows = 2 * ((high - first) // columns) + 2
            layout = replace(board, columns=columns, rows=rows, first_id=first)
            yield layout
            if isinstance(layout, CharucoBoard):
                yield replace(layout, legacy=not layout.legacy)


def _turned(detection: TagDetection) -> TagDetection:
    covariance = None if detection.covariance is None else np.roll(detection.covariance, (4, 4), axis=(0, 1))
    return replace(detection, corners=np.roll(detection.corners, 2, axis=0), covariance=covariance)
