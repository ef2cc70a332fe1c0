"""Which systematic errors can be looked for at all in some views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.terms import Term
from calibration.systematics.board_scale import BoardScale
from calibration.systematics.flatness import BoardBend
from calibration.systematics.lens import LensRefinement
from calibration.systematics.time_offset import TimeOffset
from vision_ik.types import Board, CharucoBoard, Chessboard, Floats, TagGridBoard

SystematicName: TypeAlias = Literal["time offset", "board scale", "board bend", "lens"]
SystematicNames: TypeAlias = Literal["auto"] | Sequence[SystematicName]
"""Which systematic errors to look for; "auto" for all that the views can tell."""

_STILL = (1e-3, 5e-3)
"""[m/s], [rad/s] Speed below which a view says nothing about time."""
_FEWEST_MOVING = 3
_FLAT = 1e-9
"""[m]"""


def candidate_terms(
    wanted: SystematicNames,
    corners: Corners,
    Ts_base_flange: Floats,
    twists: Sequence[Floats | None],
    given: Sequence[Term] = (),
    board: Board | None = None,
    *,
    lens_from_views: bool = False,
) -> tuple[Term, ...]:
    """Return the terms for those that are wanted and can be told.

    Args:
        wanted: By name.
        corners: Of all N views.
        Ts_base_flange: (N, 4, 4) as reported.
        twists: (6,) of the flange in each view, None at rest.
        board: Layout, when known.
        given: Terms that are in the fit anyway; what has the name of one of them is not looked for.
        lens_from_views: Whether the lens was calibrated from these very views.

    Raises:
        ValueError: There is no such systematic error.
    """
    known: tuple[SystematicName, ...] = get_args(SystematicName)
    names = known if wanted == "auto" else tuple(wanted)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"systematics must be among {', '.join(known)}, not {unknown[0]!r}.")
    terms: list[Term] = []
    if "time offset" in names and _moving(twists) >= _FEWEST_MOVING:
        still = np.zeros(6)
        terms.append(TimeOffset(Ts_base_flange, np.stack([still if twist is None else twist for twist in twists])))
    if "board scale" in names:
        terms.append(BoardScale(edge=_edge(board)))
    if "board bend" in names and _bendable(corners.points_board):
        terms.append(BoardBend.of(corners))
    if "lens" in names:
        terms.append(LensRefinement.of(corners.intrinsics, from_views=lens_from_views))
    return tuple(term for term in terms if term.name not in {other.name for other in given})


def _edge(board: Board | None) -> float | None:
    """Return the edge of a square or tag [m]; None where they differ in size."""
    if isinstance(board, Chessboard | CharucoBoard):
        return board.square_m
    return board.tag_m if isinstance(board, TagGridBoard) else None


def _moving(twists: Sequence[Floats | None]) -> int:
    speeds = np.array([twist for twist in twists if twist is not None]).reshape(-1, 2, 3)
    return int((np.linalg.norm(speeds, axis=2) > _STILL).any(axis=1).sum())


def _bendable(points: Floats) -> bool:
    """Return whether points (M, 3) are in one plane and tell its bend apart from its place."""
    if float(np.ptp(points[:, 2])) > _FLAT:
        return False
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = ((points - 0.5 * (low + high)) / max(0.5 * float((high - low).max()), _FLAT)).T[:2]
    shapes = np.column_stack([np.ones(len(x)), x, y, x * x, x * y, y * y])
    return int(np.linalg.matrix_rank(shapes, tol=1e-3 * np.sqrt(len(x)))) == shapes.shape[1]
