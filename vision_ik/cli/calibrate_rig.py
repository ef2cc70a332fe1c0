"""The rig a calibration reads from and writes to, and the board it shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from calibration.wizard.work import measured
from vision_ik.cameras import load_any_intrinsics
from vision_ik.cli import console
from vision_ik.cli.calibrate import BoardOptions, RigOptions
from vision_ik.cli.virtual_rig import approach_from_front
from vision_ik.errors import ConfigError
from vision_ik.rig import Rig, load_rig
from vision_ik.robots import RobotModel, load_robot
from vision_ik.tags.families import find_family
from vision_ik.types import Board, CharucoBoard, Chessboard, TagGridBoard

_STANDOFF_M = 0.1
"""[m] A new rig lets the tool stop so far before a tag, which nobody would like to be run over."""
_NEEDED = {
    "charuco": ("--columns", "--rows", "--square-mm", "--marker-mm"),
    "chessboard": ("--columns", "--rows", "--square-mm"),
    "tags": ("--columns", "--rows", "--marker-mm", "--gap-mm"),
}
"""What describes a board of each kind."""


def existing_rig(folder: Path) -> Rig | None:
    """Return the rig in a folder, None when there is none yet.

    Raises:
        ConfigError: There is one, and it is malformed.
    """
    file = folder if folder.suffix == ".toml" else folder / "rig.toml"
    return load_rig(file) if file.exists() else None


def rig_and_robot(options: RigOptions, *, default_robot: str = "") -> tuple[Rig, RobotModel]:
    """Return the rig in its folder, or a new one, with what the options say put into it; and its arm.

    Args:
        options: What was asked for.
        default_robot: Arm of a new rig for which nobody named one; empty: that is an error.

    Raises:
        ConfigError: The rig is malformed, the tag size impossible, or the arm of a new rig unknown.
        RobotError: There is no such arm.
        TagError: There is no such family of tags.
    """
    rig = existing_rig(options.rig)
    if rig is None:
        if not (options.robot or default_robot):
            raise ConfigError(
                f"There is no rig in {options.rig} yet, so the arm is unknown.",
                "Name it with --robot, such as --robot panda.",
            )
        if not options.robot:
            console.say(f"The arm of the new rig is {default_robot}; name another with --robot.")
        rig = new_rig(options, options.robot or default_robot)
    elif options.robot and Path(options.robot).resolve() != Path(rig.robot).resolve():
        rig = replace(rig, robot=options.robot, base=None, tip=None)
    rig = with_tag_size(replace(rig, base=options.base or rig.base, tip=options.tip or rig.tip), options)
    find_family(rig.tag_family)
    return rig, load_robot(rig.robot, rig.base, rig.tip)


def with_tag_size(rig: Rig, options: RigOptions) -> Rig:
    """Return the rig with the size of --size-mm for its tags.

    Raises:
        ConfigError: The size is impossible.
    """
    if options.size_mm is None:
        return rig
    if not 0 < options.size_mm < 10_000:
        raise ConfigError(
            f"--size-mm must be between 0 and 10,000, not {options.size_mm}.", "Give the edge of the black border."
        )
    return replace(rig, default_tag_size=options.size_mm / 1000.0)


def new_rig(options: RigOptions, robot: str) -> Rig:
    """Return what is known of a rig that is not there yet: its lens, if that lies where it will be."""
    folder = options.rig.parent if options.rig.suffix == ".toml" else options.rig
    lens = folder / "camera.yaml"
    return Rig(
        robot=robot,
        T_tag_target=approach_from_front(_STANDOFF_M),
        intrinsics=load_any_intrinsics(lens) if lens.exists() else None,
    )


def described_board(options: BoardOptions) -> Board | None:
    """Return the board described by the options, scaled to the measured edge; None when none is.

    Raises:
        ConfigError: It is described in part, or impossible.
    """
    given = {
        "--columns": options.columns,
        "--rows": options.rows,
        "--square-mm": options.square_mm,
        "--marker-mm": options.marker_mm,
        "--gap-mm": options.gap_mm,
    }
    needed = _NEEDED[options.board]
    if all(value is None for value in given.values()):
        return None
    missing = [name for name in needed if given[name] is None]
    if missing:
        raise ConfigError(
            f"The board is described in part: {', '.join(missing)} is missing.", f"Give all of {', '.join(needed)}."
        )
    spare = [name for name, value in given.items() if value is not None and name not in needed]
    if spare:
        raise ConfigError(
            f"A board of kind {options.board} has no {', '.join(spare)}.", "Leave it out, or give another --board."
        )
    try:
        return measured(_board(options), options.measured_edge_mm)
    except ValueError as error:
        raise ConfigError(str(error), f"Mend {', '.join(needed)}.") from error


def _board(options: BoardOptions) -> Board:
    columns, rows = options.columns or 0, options.rows or 0
    square, marker, gap = ((mm or 0.0) / 1000.0 for mm in (options.square_mm, options.marker_mm, options.gap_mm))
    if options.board == "chessboard":
        return Chessboard(columns=columns, rows=rows, square_m=square)
    if options.board == "tags":
        board = TagGridBoard(columns=columns, rows=rows, tag_m=marker, gap_m=gap)
    else:
        board = CharucoBoard(columns=columns, rows=rows, square_m=square, marker_m=marker)
    return replace(board, family=options.board_family) if options.board_family else board


def known_board(options: BoardOptions, rig: Rig) -> Board | None:
    """Return the described board, else the rig's only one (or the one called "board")."""
    board = described_board(options)
    if board is not None or not rig.boards:
        return board
    if options.measured_edge_mm is not None:
        rig = replace(rig, boards={name: measured(b, options.measured_edge_mm) for name, b in rig.boards.items()})
    if len(rig.boards) > 1 and "board" not in rig.boards:
        raise ConfigError(
            f"The rig has the boards {', '.join(rig.boards)}, and none is called board.",
            "Describe the one you show with --columns, --rows, --square-mm and --marker-mm.",
        )
    return rig.boards.get("board", next(iter(rig.boards.values())))


def require_board(options: BoardOptions, rig: Rig | None) -> Board:
    """Return the board to look for.

    Raises:
        ConfigError: Nobody said which.
    """
    board = described_board(options) if rig is None else known_board(options, rig)
    if board is None:
        raise ConfigError(
            "Nobody said which board is shown.",
            "Give its --columns, --rows, --square-mm and --marker-mm (or another --board), or a rig that has it.",
        )
    return board


def hint_at_tag_size(rig: Rig) -> None:
    """Say how a size gets into the rig, when it knows that of no tag."""
    if rig.default_tag_size is None and not rig.tag_sizes:
        console.say("The rig does not know how large its tags are: give --size-mm, here or to `vision-ik run`.")
