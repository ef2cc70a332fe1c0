"""What is refused before any fit, with the numbers that say why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration import batch
from vision_ik.errors import CalibrationError
from vision_ik.types import Board, BoardDetection, Chessboard, Floats

MIN_VIEWS = 3
MIN_CORNERS = 4
_LONGEST_ARM = 10.0
"""[m] Flange positions beyond are surely millimetres."""
_LARGEST_BOARD = 5.0
"""[m]"""
_SMALLEST_TURN = np.deg2rad(1.0)
"""Rotation about the second axis (RMS over pairs of views) below which nothing useful is left."""
_FLAT = 1e-3
"""Second over first extent of the corners on the board below which they are a line."""


def check_units(Ts_base_flange: Floats) -> None:
    """Refuse flange positions that cannot be metres.

    Raises:
        CalibrationError: They look like millimetres.
    """
    far = float(np.median(np.linalg.norm(Ts_base_flange[:, :3, 3], axis=1)))
    if far > _LONGEST_ARM:
        raise CalibrationError(
            f"The flange stands {far:.0f} m from the base in the median view: these look like millimetres.",
            "Give lengths in metres (divide by 1000).",
            median_distance=far,
        )


def check_detection(detection: BoardDetection, name: str) -> None:
    """Refuse corners no pose can be computed from.

    Raises:
        CalibrationError: Too few corners, corners on a line, or a board that cannot be in metres.
    """
    board = detection.points_board
    if len(board) < MIN_CORNERS:
        cause = f"View {name} shows {len(board)} corners of the board; {MIN_CORNERS} are needed."
        raise CalibrationError(cause, "Drop this view, or show more of the board.", view=name)
    extent = np.linalg.svd(board - board.mean(axis=0), compute_uv=False)
    if extent[1] < _FLAT * extent[0]:
        cause = f"The {len(board)} corners of view {name} lie on one line of the board."
        raise CalibrationError(cause, "Drop this view, or show more of the board.", view=name)
    if np.ptp(board, axis=0).max() > _LARGEST_BOARD:
        size = float(np.ptp(board, axis=0).max())
        cause = f"The board measures {size:.0f} m in view {name}: its points look like millimetres."
        raise CalibrationError(cause, "Give board points in metres (divide by 1000).", view=name)


def check_frame(board: Board | None) -> None:
    """Refuse a board whose frame turns with the picture: its pose means something else in each view.

    Raises:
        CalibrationError: It is a chessboard that half a turn maps to itself.
    """
    if isinstance(board, Chessboard) and board.symmetric:
        raise CalibrationError(
            f"Half a turn maps a chessboard of {board.columns}x{board.rows} squares to itself: which way up it is "
            "cannot be seen.",
            "Use one with an odd sum of columns and rows, or a ChArUco board; for a lens alone this one is good.",
        )


def check_count(views: int) -> None:
    """Refuse too few views.

    Raises:
        CalibrationError: There are fewer than ``MIN_VIEWS``.
    """
    if views < MIN_VIEWS:
        raise CalibrationError(
            f"Only {views} usable {'view' if views == 1 else 'views'}; at least {MIN_VIEWS} are needed.",
            "Add views from other postures; 10 to 15 well-spread ones give about a millimetre.",
            views=views,
        )


def check_motion(Ts_base_flange: Floats) -> list[str]:
    """Refuse views whose flange orientations cannot tell the two unknown transforms apart.

    Returns:
        Warnings about motion that is enough, but poor.

    Raises:
        CalibrationError: Too few views, no rotation, or rotation about one axis only.
    """
    n = len(Ts_base_flange)
    check_count(n)
    i, j = np.triu_indices(n, 1)
    R = Ts_base_flange[:, :3, :3]
    turns = batch.rotation_vectors(np.swapaxes(R[i], 1, 2) @ R[j])
    largest = float(np.rad2deg(np.linalg.norm(turns, axis=1).max()))
    extents = np.linalg.svd(turns, compute_uv=False) / np.sqrt(len(turns))
    first, second = float(np.rad2deg(extents[0])), float(np.rad2deg(extents[1]))
    if extents[0] < _SMALLEST_TURN:
        raise CalibrationError(
            f"The flange hardly turns between the {n} views: {largest:.2f} degrees at most.",
            "Add views that turn it by 20 degrees and more about at least two axes.",
            largest_turn_deg=largest,
        )
    if extents[1] < _SMALLEST_TURN:
        raise CalibrationError(
            f"All {n} views turn the flange about one axis only: {first:.1f} deg RMS about it, {second:.2f} across.",
            "Add views that turn it about a second axis by 20 degrees and more: along the first axis "
            "the camera's position cannot be told.",
            first_axis_deg=first,
            second_axis_deg=second,
        )
    if second < 8.0:
        return [
            f"The views turn the flange little about a second axis ({second:.1f} degrees RMS): "
            "turns of 20 degrees and more would make the result several times surer."
        ]
    return []


def duplicates(Ts_base_flange: Floats, detections: Sequence[BoardDetection | None]) -> list[int]:
    """Return the views that repeat an earlier one exactly; their noise is not independent."""
    repeated: list[int] = []
    for i in range(1, len(Ts_base_flange)):
        for j in range(i):
            if np.array_equal(Ts_base_flange[i], Ts_base_flange[j]) and _same(detections[i], detections[j]):
                repeated.append(i)
                break
    return repeated


def _same(a: BoardDetection | None, b: BoardDetection | None) -> bool:
    return a is None or b is None or np.array_equal(a.points_image, b.points_image)
