"""Why a board is in no picture."""

from __future__ import annotations

from vision_ik.errors import TagError
from vision_ik.tags import explain_missing_board
from vision_ik.tags.boards.chessboards import explain_missing_chessboard
from vision_ik.tags.detection.apriltag import dark_quads
from vision_ik.tags.pictures import to_gray
from vision_ik.types import Board, Chessboard, Frame

_CONTRAST = 30
"""[grey levels] Least step at the edge of what may be a marker."""


class MissingBoard:
    """Keeps, of the pictures in which a board was not found, the one that most likely shows it after all.

    Args:
        board: Layout as told.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._frame: Frame | None = None
        self._most = -1

    def note(self, frame: Frame) -> None:
        """Take in a picture; of all the one with the most dark squares is kept."""
        squares = len(dark_quads(to_gray(frame.image), _CONTRAST))
        if squares > self._most:
            self._frame, self._most = frame, squares

    def explain(self) -> TagError | None:
        """Return what the picture shows in the board's place, ready to be raised; None when nothing. Takes seconds."""
        return None if self._frame is None else explain_missing(self._frame, self._board)


def explain_missing(frame: Frame, board: Board) -> TagError | None:
    """Return what a picture shows in place of a board, ready to be raised; None when nothing. Takes seconds."""
    if isinstance(board, Chessboard):
        return explain_missing_chessboard(frame, board)
    return explain_missing_board(frame, board)
