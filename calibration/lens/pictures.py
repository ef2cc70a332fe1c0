"""From pictures to views: where the board is in each, how sharp it is, and which pictures to take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from calibration.lens.views import shift
from vision_ik.tags.boards.chessboards import detect_chessboard
from vision_ik.tags.boards.detection import BoardFinder
from vision_ik.tags.boards.units import doubt_units
from vision_ik.tags.pictures import to_gray
from vision_ik.types import BoardDetection, Chessboard, Floats, Frame, Image, Layout

_FEWEST_CORNERS = 8
_REACH_SHARE = 0.3
"""Of an edge's length, that its profile reaches to either side ..."""
_REACH_PX = 9.0
"""[px] ... at most."""
_STEPS_PER_PX = 4
_QUANTILE = 0.75
"""Of the edges' widths: motion blurs only those across its path."""
_CONTRAST = 12.0
"""[grey levels] Edges with less are not measured."""
_STILL_SHARE = 0.004
"""Of the picture's width, that the board may move from one picture to the next."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LensPicture:
    """What one picture shows of the board."""

    name: str
    size: tuple[int, int]
    """Width, height [px]."""
    detection: BoardDetection | None
    """None where the board was not found, or not enough of it."""
    edge_px: float
    """[px] Width (standard deviation) of the print's edges; NaN without a board."""
    reason: str = ""
    """Why it is no view; empty when it is one."""


class LensPictures:
    """Looks at pictures one after another and keeps what they show.

    Args:
        board: Layout as told; what the print really is, is found out.
        thorough: Whether to search for chessboards slowly, too.
    """

    def __init__(self, board: Chessboard | Layout, *, thorough: bool = True) -> None:
        self._finder = None if isinstance(board, Chessboard) else BoardFinder(board)
        self._board = board
        self._thorough = thorough
        self.taken: list[LensPicture] = []

    @property
    def board(self) -> Chessboard | Layout:
        """What the print is, as far as is known."""
        return self._board if self._finder is None else self._finder.layout

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was wrong with the layout as told."""
        return doubt_units(self._board) if self._finder is None else self._finder.remarks

    def look(self, frame: Frame, name: str) -> LensPicture:
        """Return what a frame shows, and keep it.

        Raises:
            TagError: The picture shows the board mirrored, or its markers in another arrangement.
        """
        picture = self.glance(frame, name)
        self.taken.append(picture)
        return picture

    def glance(self, frame: Frame, name: str) -> LensPicture:
        """Return what a frame shows, without keeping it.

        Raises:
            TagError: The picture shows the board mirrored, or its markers in another arrangement.
        """
        size = (int(frame.image.shape[1]), int(frame.image.shape[0]))
        if isinstance(self._board, Chessboard):
            found = detect_chessboard(frame, self._board, thorough=self._thorough)
        else:
            found = None if self._finder is None else self._finder.detect(frame)
        if found is None:
            return LensPicture(
                name=name, size=size, detection=None, edge_px=np.nan, reason="the board was not found in it"
            )
        if len(found.points_board) < _FEWEST_CORNERS:
            reason = f"it shows {len(found.points_board)} corners of the board"
            return LensPicture(name=name, size=size, detection=None, edge_px=np.nan, reason=reason)
        return LensPicture(name=name, size=size, detection=found, edge_px=edge_width(frame.image, found))


def of_one_size(pictures: Sequence[LensPicture]) -> tuple[list[LensPicture], dict[str, str], tuple[int, int]]:
    """Return the pictures of the commonest size, why each other one is left out, and that size [px]."""
    counts = Counter(picture.size for picture in pictures)
    size = max(counts, key=lambda s: (counts[s], s))
    reasons: dict[str, str] = {}
    for picture in pictures:
        if picture.size != size:
            turned = picture.size == size[::-1]
            others = f"{size[0]}x{size[1]}"
            reasons[picture.name] = f"it measures {picture.size[0]}x{picture.size[1]} px, others {others}" + (
                ": it is turned on its side" if turned else ""
            )
        elif picture.detection is None:
            reasons[picture.name] = picture.reason
    return [p for p in pictures if p.size == size and p.detection is not None], reasons, size


def edge_width(image: Image, detection: BoardDetection) -> float:
    """Return how wide the print's edges are in a picture [px], as the standard deviation of a blurred step.

    A step blurred by a Gaussian of that width rises by (contrast / width / sqrt(2 pi)) per pixel in
    its middle. NaN where no edge has contrast.
    """
    ends = _edges(detection)
    along = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(along, axis=1)
    reach = np.minimum(_REACH_SHARE * length, _REACH_PX)
    good = reach > 1.5
    if not good.any():
        return float("nan")
    ends, along, length, reach = ends[good], along[good], length[good], reach[good]
    normal = np.column_stack([-along[:, 1], along[:, 0]]) / length[:, None]
    count = int(2 * _STEPS_PER_PX * _REACH_PX) + 1
    across = np.linspace(-1.0, 1.0, count)
    places = ends[:, 0, None] + np.linspace(0.3, 0.7, 7)[None, :, None] * along[:, None]
    at = places[:, :, None] + (across[:, None] * reach[:, None, None])[:, None] * normal[:, None, None]
    grid = at.reshape(len(ends), -1, 2).astype(np.float32)
    profiles = cv2.remap(to_gray(image), grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    steps = profiles.reshape(len(ends), -1, count).astype(np.float64).mean(axis=1)
    contrast = np.abs(steps[:, -5:].mean(axis=1) - steps[:, :5].mean(axis=1))
    pitch = 2.0 * reach / (count - 1)
    span = np.maximum(np.rint(0.5 / pitch), 1.0).astype(int)
    slope = np.array(
        [
            np.abs(step[2 * k :] - step[: -2 * k]).max() / (2 * k * p)
            for step, k, p in zip(steps, span, pitch, strict=True)
        ]
    )
    clear = contrast > _CONTRAST
    if not clear.any():
        return float("nan")
    return float(np.quantile(contrast[clear] / slope[clear] / np.sqrt(2.0 * np.pi), _QUANTILE))


def _edges(detection: BoardDetection) -> Floats:
    """Return the ends (K, 2, 2) [px] of straight edges: of markers, or between neighbouring chess corners."""
    n = 4 * len(detection.tag_ids)
    if n:
        quads = detection.points_image[:n].reshape(-1, 4, 2)
        return np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2, 2)
    apart = np.linalg.norm(detection.points_board[:, None] - detection.points_board[None], axis=2)
    apart[np.tril_indices(len(apart))] = np.inf
    i, j = np.nonzero(apart < 1.01 * apart.min())
    return np.stack([detection.points_image[i], detection.points_image[j]], axis=1)


def spread_out(pictures: Sequence[LensPicture], count: int) -> list[int]:
    """Return which pictures of a film to take: ``count`` at most, in which the board stands still and apart.

    Greedily the one farthest from those taken, divided by how fast the board moves in it.
    """
    seen = [(i, p.detection) for i, p in enumerate(pictures) if p.detection is not None]
    if len(seen) <= 1:
        return [i for i, _ in seen]
    speed: list[float] = []
    for k, (i, detection) in enumerate(seen):
        beside = [seen[m][1] for m in (k - 1, k + 1) if 0 <= m < len(seen) and abs(seen[m][0] - i) == 1]
        speed.append(min((shift(detection, other) for other in beside), default=np.inf))
    still = _STILL_SHARE * pictures[0].size[0]
    cost = 1.0 + np.minimum(np.array(speed), 100.0) / still
    chosen = [int(np.argmin(cost))]
    apart = np.array([_apart(d, seen[chosen[0]][1], pictures[0].size) for _, d in seen])
    while len(chosen) < min(count, len(seen)):
        following = int(np.argmax(apart / cost))
        if apart[following] < 1.0:
            break
        chosen.append(following)
        apart = np.minimum(apart, [_apart(d, seen[following][1], pictures[0].size) for _, d in seen])
    return sorted(seen[k][0] for k in chosen)


def _apart(a: BoardDetection, b: BoardDetection, size: tuple[int, int]) -> float:
    """Return the mean distance of common corners [px]; where few are common, that of the middles, at least a tenth."""
    distance = shift(a, b)
    if np.isfinite(distance):
        return distance
    middle = float(np.linalg.norm(a.points_image.mean(axis=0) - b.points_image.mean(axis=0)))
    return max(middle, 0.1 * max(size))
