"""The rig a calibration reads from and writes to, and the board it shows."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from calibration import HandEyeResult
from vision_ik import __version__
from vision_ik.cameras import load_any_intrinsics
from vision_ik.cli import console
from vision_ik.cli.calibrate import BoardOptions
from vision_ik.cli.virtual_rig import approach_from_front
from vision_ik.errors import ConfigError
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.robots import RobotModel, load_robot
from vision_ik.tags.families import find_family
from vision_ik.types import Board, CameraIntrinsics, CharucoBoard

_STANDOFF_M = 0.1
"""[m] A new rig lets the tool stop so far before a tag, which nobody would like to be run over."""


def existing_rig(folder: Path) -> Rig | None:
    """Return the rig in a folder, None when there is none yet.

    Raises:
        ConfigError: There is one, and it is malformed.
    """
    file = folder if folder.suffix == ".toml" else folder / "rig.toml"
    return load_rig(file) if file.exists() else None


def rig_and_robot(options: BoardOptions, *, default_robot: str = "") -> tuple[Rig, RobotModel]:
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
        rig = _new_rig(options, options.robot or default_robot)
    elif options.robot and Path(options.robot).resolve() != Path(rig.robot).resolve():
        rig = replace(rig, robot=options.robot, base=None, tip=None)
    rig = with_tag_size(replace(rig, base=options.base or rig.base, tip=options.tip or rig.tip), options)
    find_family(rig.tag_family)
    return rig, load_robot(rig.robot, rig.base, rig.tip)


def with_tag_size(rig: Rig, options: BoardOptions) -> Rig:
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


def _new_rig(options: BoardOptions, robot: str) -> Rig:
    if not robot:
        raise ConfigError(
            f"There is no rig in {options.rig} yet, so the arm is unknown.",
            "Name it with --robot, such as --robot panda.",
        )
    if not options.robot:
        console.say(f"The arm of the new rig is {robot}; name another with --robot.")
    folder = options.rig.parent if options.rig.suffix == ".toml" else options.rig
    lens = folder / "camera.yaml"
    return Rig(
        robot=robot,
        T_tag_target=approach_from_front(_STANDOFF_M),
        intrinsics=load_any_intrinsics(lens) if lens.exists() else None,
    )


def described_board(options: BoardOptions) -> Board | None:
    """Return the board described by the options, None when none is.

    Raises:
        ConfigError: It is described in part.
    """
    parts = {
        "--columns": options.columns,
        "--rows": options.rows,
        "--square-mm": options.square_mm,
        "--marker-mm": options.marker_mm,
    }
    missing = [name for name, value in parts.items() if value is None]
    if len(missing) == len(parts):
        return None
    if options.columns is None or options.rows is None or options.square_mm is None or options.marker_mm is None:
        raise ConfigError(
            f"The board is described in part: {', '.join(missing)} is missing.", "Give all four, or none."
        )
    try:
        return CharucoBoard(
            columns=options.columns,
            rows=options.rows,
            square_m=options.square_mm / 1000.0,
            marker_m=options.marker_mm / 1000.0,
            family=options.board_family,
        )
    except ValueError as error:
        raise ConfigError(str(error), "Mend --columns, --rows, --square-mm or --marker-mm.") from error


def known_board(options: BoardOptions, rig: Rig) -> Board | None:
    """Return the described board, else the rig's only one (or the one called "board")."""
    board = described_board(options)
    if board is not None or not rig.boards:
        return board
    if len(rig.boards) > 1 and "board" not in rig.boards:
        raise ConfigError(
            f"The rig has the boards {', '.join(rig.boards)}, and none is called board.",
            "Describe the one you show with --columns, --rows, --square-mm and --marker-mm.",
        )
    return rig.boards.get("board", next(iter(rig.boards.values())))


def require_board(options: BoardOptions, rig: Rig) -> Board:
    """Return the board to look for.

    Raises:
        ConfigError: Nobody said which.
    """
    board = known_board(options, rig)
    if board is None:
        raise ConfigError(
            "Nobody said which board is shown.",
            "Give its --columns, --rows, --square-mm and --marker-mm, or a rig that has it.",
        )
    return board


def write_lens(rig: Rig, options: BoardOptions, intrinsics: CameraIntrinsics, board: Board | None) -> Path:
    """Put a lens and its board into the rig; return the file that was written."""
    return save_rig(replace(rig, intrinsics=intrinsics, boards=_boards(rig, board)), options.rig)


def hint_at_tag_size(rig: Rig) -> None:
    """Say how a size gets into the rig, when it knows that of no tag."""
    if rig.default_tag_size is None and not rig.tag_sizes:
        console.say("The rig does not know how large its tags are: give --size-mm, here or to `vision-ik run`.")


def write_hand_eye(
    rig: Rig,
    options: BoardOptions,
    result: HandEyeResult,
    intrinsics: CameraIntrinsics,
    board: Board | None,
    *,
    robot_hash: str,
    origin: str,
) -> Path:
    """Put a camera pose into the rig, keeping everything else in it; return the file that was written."""
    provenance = dict(rig.provenance) | {
        "calibrated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "calibrated_from": origin,
        "calibrated_by": f"vision-ik {__version__}",
        "calibration_views": f"{result.used_views} of {len(result.views)}",
        "calibration_sigma": f"{result.sigma_translation * 1e3:.3f} mm",
    }
    updated = replace(
        rig,
        robot_hash=robot_hash or rig.robot_hash,
        mount=result.mount,
        T_mount_camera=result.T_mount_camera,
        camera_covariance=result.covariance,
        intrinsics=intrinsics,
        boards=_boards(rig, board),
        provenance=provenance,
    )
    return save_rig(updated, options.rig)


def _boards(rig: Rig, board: Board | None) -> dict[str, Board]:
    boards = dict(rig.boards)
    if board is not None and board not in boards.values():
        boards["board"] = board
    return boards
