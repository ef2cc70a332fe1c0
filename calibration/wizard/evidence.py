"""From pictures on disk to views: what the board looks like in each, found once and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibration.hand_eye.values import HandEyeView
from calibration.lens.pictures import edge_width
from calibration.views.missing import MissingBoard
from calibration.wizard.store import digest
from vision_ik.cameras.pictures import decode_image
from vision_ik.errors import TagError
from vision_ik.layouts import board_table
from vision_ik.tags import BoardFinder
from vision_ik.transforms import Transform
from vision_ik.types import Board, BoardDetection, CameraIntrinsics, Frame, TagBundle

_FEWEST_CORNERS = 8
"""A sighting with fewer is too poor to calibrate with."""


class Evidence:
    """Finds one board in pictures, each only once.

    Args:
        folder: That the names of pictures are relative to.
        board: As described and measured; None where all views bring corners with them.
    """

    def __init__(self, folder: Path, board: Board | None) -> None:
        self._folder = folder
        self._board = board
        self._finder = None if board is None else BoardFinder(board)
        self._missing = None if board is None else MissingBoard(board)
        self._found: dict[str, BoardDetection | None] = {}
        self._edges: dict[str, float] = {}
        self._seen = False

    @property
    def board(self) -> Board | None:
        """What the print is, as far as is known."""
        if self._finder is None or isinstance(self._finder.layout, TagBundle):
            return self._board
        return self._finder.layout

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was wrong with the board as told."""
        return () if self._finder is None else self._finder.remarks

    def look(self, frame: Frame) -> BoardDetection | None:
        """Return the board in a frame; None when it is not there, or hardly.

        Raises:
            TagError: The picture shows the board mirrored, or another one in the same markers.
        """
        if self._finder is None:
            raise TagError("Nobody said which board is shown.", "Describe the board first.")
        found = self._finder.detect(frame)
        if found is not None and len(found.points_image) < _FEWEST_CORNERS:
            found = None
        self._seen |= found is not None
        if found is None and not self._seen and self._missing is not None:
            self._missing.note(frame)
        return found

    def explain_missing(self) -> TagError | None:
        """Return what the pictures show in place of the board; None when nothing, or when it was seen."""
        return None if self._seen or self._missing is None else self._missing.explain()

    def remember(self, name: str, detection: BoardDetection | None) -> None:
        """Keep what a picture shows, so that it need not be read again."""
        self._found[name] = detection
        self._seen |= detection is not None
        if self._finder is not None and detection is not None and detection.confirmed and detection.remarks:
            # Somebody else found out what the print is.
            self._finder.layout = detection.layout or self._finder.layout
            self._finder.remarks = tuple(dict.fromkeys((*self._finder.remarks, *detection.remarks)))

    def detections(self, names: Sequence[str], taken: Mapping[str, Mapping[str, Any]]) -> dict[str, BoardDetection]:
        """Return the board in those of the pictures that show it.

        Raises:
            FrameReadError: A picture is gone or damaged.
        """
        for name in names:
            if name not in self._found:
                self._found[name] = self._read(name, taken[name])
        found = {name: self._found[name] for name in names}
        return {name: detection for name, detection in found.items() if detection is not None}

    def views(self, names: Sequence[str], taken: Mapping[str, Mapping[str, Any]]) -> list[HandEyeView]:
        """Return the views of those of the pictures that show the board."""
        return [
            HandEyeView(
                T_base_flange=Transform(np.array(taken[name]["T_base_flange"])),
                detection=detection,
                name=short(name),
                q=_array(taken[name].get("q")),
                twist=_array(taken[name].get("twist")),
            )
            for name, detection in self.detections(names, taken).items()
        ]

    def edges_px(self, names: Sequence[str], taken: Mapping[str, Mapping[str, Any]]) -> list[float]:
        """Return how wide the print's edges are in each picture [px], NaN where nobody can tell."""
        for name, detection in self.detections(names, taken).items():
            if name not in self._edges:
                image = taken[name].get("image")
                self._edges[name] = (
                    float("nan") if image is None else edge_width(decode_image(self._folder / image), detection)
                )
        return [self._edges.get(name, float("nan")) for name in names]

    def _read(self, name: str, facts: Mapping[str, Any]) -> BoardDetection | None:
        corners = facts.get("corners")
        if corners is not None:
            return BoardDetection(
                points_board=corners["points_board"], points_image=corners["points_image"], timestamp=0.0
            )
        image = decode_image(self._folder / facts["image"])
        lens = CameraIntrinsics.from_field_of_view(image.shape[1], image.shape[0])  # detection hardly looks at it
        return self.look(Frame(image=image, timestamp=float(facts.get("timestamp") or 0.0), index=0, intrinsics=lens))


def short(name: str) -> str:
    """Return what people call a picture: its number, or the file's name."""
    path = Path(name)
    return (
        path.stem.lstrip("0") or "0"
        if path.parent.name in ("views", "rough", "checks", "camera", "touches")
        else path.name
    )


def layout_digest(board: Board) -> str:
    """Return the digest of a board whatever its size: what tells it from another one in a picture."""
    table = board_table(board.scaled(1.0, board.size_m[0]))
    return digest({key: round(value, 4) if isinstance(value, float) else value for key, value in table.items()})


def _array(value: object) -> Any:
    return None if value is None else np.array(value, dtype=np.float64)
