"""Sizes that are hardly meant: metres given for millimetres, or the other way round."""

from __future__ import annotations

from vision_ik.types import Board, TagBundle, TagGridBoard

_SMALLEST_M = 1e-3
_LARGEST_M = 1.0
"""Squares and tags beyond these are hardly printed."""


def doubt_units(board: Board | TagBundle) -> tuple[str, ...]:
    """Return the remark that a board's squares or tags are of a size that nobody prints; none where they are not."""
    if isinstance(board, TagBundle):
        what, edges = "tags", tuple(board.sizes.values())
    elif isinstance(board, TagGridBoard):
        what, edges = "tags", (board.tag_m,)
    else:
        what, edges = "squares", (board.square_m,)
    if min(edges) < _SMALLEST_M:
        return (f"Its {what} measure {1e3 * min(edges):g} mm as described: were metres given for millimetres?",)
    if max(edges) > _LARGEST_M:
        return (f"Its {what} measure {max(edges):g} m as described: were millimetres given for metres?",)
    return ()
