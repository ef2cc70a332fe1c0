"""Boards that a turn maps to themselves: from which corner each view counts, told from the arm's motion.

Of a chessboard with an even sum of columns and rows a picture shows either of two orders of the corners, of a square
one with odd counts any of four. The arm knows by how much it turned between two views, so that one view's order
settles that of all others. Which order is the board's own stays open; where the camera is does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.chain import arm_poses
from calibration.hand_eye.checks import MIN_VIEWS
from calibration.hand_eye.closed_form import discrepancies, kronecker
from calibration.hand_eye.consensus import middle
from calibration.lens.projection import project
from vision_ik.rig import Mount
from vision_ik.transforms import TransformLike, as_transform
from vision_ik.types import Board, BoardDetection, CameraIntrinsics, Chessboard, Floats

_TRIPLES = 120
"""Minimal sets tried, each with all orders of its corners: of 30 % bad views and some in the wrong tilt, twenty are
clean."""
_AT_ONCE = 120
"""Guesses judged at a time, to bound the memory."""


def same_looks(board: Board | None) -> Floats:
    """Return the turns (T, 4, 4) of the board's frame that leave its print as it is, none at all first."""
    if not isinstance(board, Chessboard) or not board.symmetric:
        return np.eye(4)[None]
    # Of a square board with an odd count all four corner squares are black.
    quarters = [0, 1, 2, 3] if board.columns == board.rows and board.columns % 2 else [0, 2]
    twists = np.zeros((len(quarters), 6))
    twists[:, 5] = 0.5 * np.pi * np.array(quarters)
    turns = batch.exp(twists)
    centre = _middle_of(board.chess_corners)
    turns[:, :3, 3] = centre - turns[:, :3, :3] @ centre
    return turns


def ambiguity(board: Board | None) -> str:
    """Return the sentence about a board that a turn maps to itself; empty for any other."""
    turns = len(same_looks(board))
    if turns == 1:
        return ""
    which = "Half a" if turns == 2 else "A quarter"
    return f"{which} turn maps this board to itself: the corner order was told from the arm's motion."


def counted_alike(
    detections: Sequence[BoardDetection],
    seen: Floats,
    Ts_base_flange: Floats,
    *,
    mount: Mount,
    board: Board | None,
    seed: int,
) -> tuple[list[BoardDetection], Floats]:
    """Return the views with their corners counted from the same corner of the board.

    Args:
        detections: One per view (N), each counted from any of the corners that look alike.
        seen: (N, K, 4, 4) poses T_camera_board that each view's corners allow, best first; NaN where there is none.
        Ts_base_flange: (N, 4, 4) as the arm reported it.
        mount: Who carries the camera.
        board: Layout, when known.
        seed: Of the random view triples.

    Returns:
        The views, and their (N, K, 4, 4) poses.
    """
    turns = same_looks(board)
    posed = batch.posed(seen[:, 0])
    if not isinstance(board, Chessboard) or len(turns) == 1 or posed.sum() < MIN_VIEWS:
        return list(detections), seen
    order = np.zeros(len(seen), dtype=np.int_)
    arms = arm_poses(Ts_base_flange[posed], mount)
    order[posed] = _orders(arms, seen[posed], turns, _middle_of(board.chess_corners), np.random.default_rng(seed))
    # All views turned by the same are as good: most are left as they are.
    usual = int(np.argmax(np.bincount(order[posed])))
    order = np.where(posed, (order - usual) % len(turns), 0)
    counted = [_counted(d, turns[k]) if k else d for d, k in zip(detections, order.tolist(), strict=True)]
    return counted, seen @ batch.inverses(turns[order])[:, None]


def counted_as_expected(
    detection: BoardDetection, board: Board | None, T_camera_board: TransformLike, intrinsics: CameraIntrinsics
) -> BoardDetection:
    """Return what was seen, with the corners counted from where a calibration expects the first one.

    Args:
        detection: The corners, counted from any of those that look alike.
        board: Layout, when known.
        T_camera_board: Where the board is expected.
        intrinsics: Lens of the picture.
    """
    ways = [detection, *(_counted(detection, turn) for turn in same_looks(board)[1:])]
    if len(ways) == 1:
        return detection
    T = as_transform(T_camera_board)
    off = [way.points_image - project(T.apply(way.points_board), intrinsics)[0] for way in ways]
    sums = np.array([np.square(each).sum() for each in off])
    return ways[int(np.argmin(np.where(np.isfinite(sums), sums, np.inf)))]


def _orders(A: Floats, seen: Floats, turns: Floats, centre: Floats, rng: np.random.Generator) -> NDArray[np.int_]:
    """Return the turn (N,) that each view needs so that most views agree with one mount, free to choose each.

    The best of the mounts from triples of views, each with all relative orders; the turns are so far apart that no
    noise of that mount mistakes one for another.
    """
    n, tilts, count = *seen.shape[:2], len(turns)
    # About the board's centre, that the turns leave where it is.
    candidates = (seen[:, :, None] @ batch.inverses(turns)).reshape(n, tilts * count, 4, 4)
    candidates = candidates @ _shift(centre)
    triples = np.array(list(combinations(range(n), 3)) if n <= 10 else [])
    if len(triples) == 0 or len(triples) > _TRIPLES:
        triples = np.stack([rng.choice(n, 3, replace=False) for _ in range(_TRIPLES)])
    relative = np.array([(0, *rest) for rest in product(range(count), repeat=2)])
    views, orders = np.repeat(triples, len(relative), axis=0), np.tile(relative, (len(triples), 1))
    X, Y = kronecker(A[views], candidates[views, orders])
    known = batch.posed(candidates)
    flat = np.where(known[:, :, None, None], candidates, np.eye(4)).reshape(-1, 4, 4)
    repeated = np.repeat(A, tilts * count, axis=0)
    best, chosen = np.inf, np.zeros(n, dtype=np.int_)
    for first in range(0, len(X), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        distance = discrepancies(repeated, flat, X[some], Y[some]).reshape(-1, n, tilts * count)
        distance = np.where(known & np.isfinite(distance), distance, np.inf)
        score = middle(distance.min(axis=2))
        if score.min() < best:
            guess = int(np.argmin(score))
            best, chosen = float(score[guess]), np.argmin(distance[guess], axis=1)
    return chosen % count


def _counted(detection: BoardDetection, turn: Floats) -> BoardDetection:
    return replace(detection, points_board=detection.points_board @ turn[:3, :3].T + turn[:3, 3])


def _middle_of(points: Floats) -> Floats:
    return 0.5 * (points.min(axis=0) + points.max(axis=0))


def _shift(centre: Floats) -> Floats:
    T = np.eye(4)
    T[:3, 3] = centre
    return T
