"""``vision-ik tags check``: pictures in, what they show of a board out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vision_ik.cli import console
from vision_ik.cli.main import EXIT_FOUND, EXIT_OK
from vision_ik.errors import ConfigError, TagError

if TYPE_CHECKING:
    from vision_ik.cli.tags import CheckOptions
    from vision_ik.rig import Rig
    from vision_ik.types import Board, Frame

_FRAME_TIMEOUT = 5.0
_MOST = 200
"""Pictures looked at."""


def check_board(options: CheckOptions) -> int:
    """Print what each picture shows of the board; 1 when any does not show it as described.

    Raises:
        ConfigError: No board is described.
    """
    from vision_ik.cameras import open_camera
    from vision_ik.rig import load_rig

    rig = None if options.rig is None else load_rig(options.rig)
    board = _board(options, rig)
    rows: list[tuple[str, str]] = []
    good = True
    with open_camera(options.source, intrinsics=None if rig is None else rig.intrinsics) as camera:
        while not camera.ended and len(rows) < _MOST:
            frame = camera.read(timeout=_FRAME_TIMEOUT)
            if frame is None:
                break
            as_described, said = _look(frame, board)
            good &= as_described
            rows.append((str(frame.index + 1), said))
    console.results().print(console.table(["picture", "what it shows"], rows, right={"picture"}))
    return EXIT_OK if good else EXIT_FOUND


def _look(frame: Frame, board: Board) -> tuple[bool, str]:
    """Return whether a picture shows the board as described, and what it shows in words."""
    from vision_ik.tags import detect_board, explain_missing_board
    from vision_ik.types import Chessboard

    try:
        found = detect_board(frame, board)
    except TagError as error:
        return False, str(error)
    if found is not None:
        seen = f"{len(found.tag_ids)} of {len(board.markers)} markers, {len(found.points_board)} points."
        return not found.remarks, " ".join([seen, *found.remarks])
    error = None if isinstance(board, Chessboard) else explain_missing_board(frame, board)
    return False, "No board." if error is None else str(error)


def _board(options: CheckOptions, rig: Rig | None) -> Board:
    from vision_ik.types import CharucoBoard

    if options.columns is not None and options.rows is not None:
        try:
            return CharucoBoard(
                columns=options.columns,
                rows=options.rows,
                square_m=options.square_mm / 1000.0,
                marker_m=options.marker_mm / 1000.0,
                family=options.family,
            )
        except ValueError as error:
            raise ConfigError(f"This board cannot be: {error}", "Correct the numbers.") from error
    if rig is not None and rig.boards:
        return next(iter(rig.boards.values()))
    raise ConfigError(
        "No board is described.", "Give --columns, --rows, --square-mm and --marker-mm, or a --rig that has a board."
    )
