"""Boards and bundles as they are told on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vision_ik.errors import ConfigError

if TYPE_CHECKING:
    from vision_ik.rig import Rig
    from vision_ik.types import Board, TagBundle


@dataclass(frozen=True, kw_only=True)
class LayoutOptions:
    """What is printed."""

    columns: int | None = None
    """Squares of the ChArUco board along its width."""
    rows: int | None = None
    """Squares along its height."""
    square_mm: float = 40.0
    """Edge of a square."""
    marker_mm: float = 30.0
    """Edge of a marker's black border."""
    family: str = ""
    """Family of the markers; by default 4x4_50 on a board, and 36h11 or the rig's for single tags."""
    bundle: str = ""
    """File of a bundle of tags, or its name in the rig."""
    board: str = ""
    """Name of a board in the rig; by default the first."""
    rig: Path | None = None
    """Rig with boards, bundles, sizes of tags, and the lens if it is known."""


def told_layout(options: LayoutOptions, rig: Rig | None) -> Board | TagBundle | None:
    """Return the bundle or board that the options tell, else the board of the rig, None where there is none.

    Raises:
        ConfigError: It cannot be, or is not there.
    """
    if options.bundle:
        return _bundle(options.bundle, rig)
    if options.columns is not None or options.rows is not None:
        return _charuco(options)
    boards = {} if rig is None else rig.boards
    if options.board:
        if options.board not in boards:
            known = ", ".join(boards) or "none"
            raise ConfigError(f"No board {options.board!r} is known.", f"Give a --rig and one of its boards ({known}).")
        return boards[options.board]
    return next(iter(boards.values()), None)


def _bundle(told: str, rig: Rig | None) -> TagBundle:
    from vision_ik.layouts import load_bundle

    if rig is not None and told in rig.bundles:
        return rig.bundles[told]
    return load_bundle(told)


def _charuco(options: LayoutOptions) -> Board:
    from vision_ik.types import CharucoBoard

    if options.columns is None or options.rows is None:
        raise ConfigError("A board has columns and rows, and only one of them is told.", "Give --columns and --rows.")
    try:
        return CharucoBoard(
            columns=options.columns,
            rows=options.rows,
            square_m=options.square_mm / 1000.0,
            marker_m=options.marker_mm / 1000.0,
            family=options.family or "4x4_50",
        )
    except ValueError as error:
        raise ConfigError(f"This board cannot be: {error}", "Correct the numbers.") from error
