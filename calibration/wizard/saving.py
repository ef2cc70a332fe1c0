"""Writing results into the rig, keeping what was there before, and saying where they are from."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.arm.rig import rig_with_arm
from calibration.arm.values import ArmCalibration
from calibration.wizard.results import parse_lens, told_of_hand_eye
from calibration.wizard.store import digest
from vision_ik import __version__
from vision_ik.errors import RecordingError
from vision_ik.files import write_atomic
from vision_ik.rig import Rig, save_rig
from vision_ik.transforms import Transform
from vision_ik.types import Board, Chessboard, Floats

_FILES = ("rig.toml", "camera.yaml")


def keep_old(rig_file: Path) -> str:
    """Copy rig.toml, camera.yaml and arms beside them into the history; return the copy's place beside rig.toml.

    It is empty when there is nothing to keep.

    Raises:
        RecordingError: A copy could not be written; nothing was changed.
    """
    folder = rig_file.parent
    arms = sorted(path.name for path in folder.glob("*.urdf"))
    present = {name: folder / name for name in (rig_file.name, _FILES[1], *arms) if (folder / name).is_file()}
    if not present:
        return ""
    history = folder / "calibration" / "history"
    last = max((int(path.name) for path in history.glob("[0-9]*") if path.name.isdecimal()), default=0)
    place = history / f"{last + 1:04d}"
    try:
        contents = {name: path.read_bytes() for name, path in present.items()}
        before = history / f"{last:04d}"
        if last and {path.name: path.read_bytes() for path in before.iterdir()} == contents:
            return before.relative_to(folder).as_posix()
    except OSError as error:
        raise RecordingError(
            f"Could not read the rig before writing it anew: {error.strerror}.", "Check the folder.", path=folder
        ) from error
    for name, content in contents.items():
        write_atomic(place / name, content)
    return place.relative_to(folder).as_posix()


def bring_back(rig_file: Path, place: str) -> None:
    """Put rig.toml, camera.yaml and arms back as they were; what is there now goes into the history.

    Args:
        rig_file: Path of rig.toml.
        place: From ``keep_old``; empty: there was no rig, so the present one is only moved away.

    Raises:
        RecordingError: Something could not be written.
    """
    keep_old(rig_file)
    folder = rig_file.parent
    arms = sorted(path.name for path in (folder / place).glob("*.urdf")) if place else []
    for name in (*arms, _FILES[1], rig_file.name):
        kept = folder / place / name
        if place and kept.is_file():
            write_atomic(folder / name, kept.read_bytes())
        else:
            (folder / name).unlink(missing_ok=True)


def write_results(
    rig: Rig,
    rig_file: Path,
    *,
    lens: Mapping[str, Any] | None = None,
    hand_eye: Mapping[str, Any] | None = None,
    tool: Mapping[str, Any] | None = None,
    board: Board | None = None,
    provenance: Mapping[str, Mapping[str, Any]] | None = None,
    origin: str = "",
) -> tuple[Path, str]:
    """Put results into a rig, keeping everything else in it; return rig.toml, and where the one before is kept.

    Args:
        rig: What is known apart from the results.
        rig_file: Path of rig.toml.
        lens: Plain values of a lens (``lens_values``).
        hand_eye: From ``hand_eye_facts``.
        tool: From ``tool_facts``.
        board: What was shown.
        provenance: Where the results are from, by step; written as tables under ``[provenance]``.
        origin: What it was calibrated from, in a word.

    Raises:
        RecordingError: The rig could not be written; the one before is untouched.
    """
    kept = keep_old(rig_file)
    known: dict[str, Any] = dict(rig.provenance) | dict(provenance or {})
    rig = replace(rig, boards=with_board(rig, board))
    if lens is not None:
        rig = replace(rig, intrinsics=parse_lens(lens))
    if tool is not None:
        rig = replace(rig, T_flange_tool=Transform(np.array(tool["T_flange_tool"])))
    if hand_eye is not None:
        known |= _in_short(hand_eye, origin)
        covariance: Floats = np.array(hand_eye["covariance"])
        rig = replace(
            rig,
            mount=hand_eye["mount"],
            T_mount_camera=Transform(np.array(hand_eye["T_mount_camera"])),
            camera_covariance=covariance,
        )
    return save_rig(replace(rig, provenance=known), rig_file), kept


def write_arm(
    rig: Rig,
    rig_file: Path,
    found: ArmCalibration,
    *,
    hand_eye: Mapping[str, Any],
    board: Board | None,
    provenance: Mapping[str, Any],
    origin: str,
) -> tuple[Path, Path, str]:
    """Put a calibrated arm and the camera that belongs to it into a rig, keeping everything else in it.

    Args:
        rig: What is known apart from the result.
        rig_file: Path of rig.toml.
        found: An arm that was adopted.
        hand_eye: From ``hand_eye_facts``, with the calibrated arm.
        board: What was shown.
        provenance: Where the result is from.
        origin: What it was calibrated from, in a word.

    Returns:
        rig.toml, the arm's URDF, and where the rig before is kept.

    Raises:
        RecordingError: Something could not be written; the rig before is kept.
    """
    kept = keep_old(rig_file)
    changed = rig_with_arm(replace(rig, boards=with_board(rig, board)), found, rig_file.parent)
    known = {key: value for key, value in rig.provenance.items() if key != "check"} | _in_short(hand_eye, origin)
    told = {"arm": {"note": found.note, **provenance}, "hand_eye": {**provenance, **told_of_hand_eye(hand_eye)}}
    told = {step: {k: _short(v) for k, v in facts.items() if v is not None} for step, facts in told.items()}
    return save_rig(replace(changed, provenance=known | told), rig_file), Path(changed.robot), kept


def _in_short(hand_eye: Mapping[str, Any], origin: str) -> dict[str, str]:
    return {
        "calibrated": now(),
        "calibrated_from": origin,
        "calibrated_by": f"vision-ik {__version__}",
        "calibration_views": f"{hand_eye['views_used']} of {len(hand_eye['views'])}",
        "calibration_sigma": f"{hand_eye['sigma_mm']:.3f} mm",
    }


def with_board(rig: Rig, board: Board | None) -> dict[str, Board]:
    """Return the rig's boards with the one that was shown: in place of the same print measured otherwise."""
    boards = dict(rig.boards)
    if board is not None and board not in boards.values():
        same = [name for name, known in boards.items() if same_print(known, board)]
        boards[same[0] if same else "board"] = board
    return boards


def same_print(a: Board, b: Board) -> bool:
    """Return whether two boards differ in nothing but what was measured on the paper."""
    if type(a) is not type(b) or (a.columns, a.rows) != (b.columns, b.rows):
        return False
    return isinstance(a, Chessboard) or isinstance(b, Chessboard) or (a.family, a.first_id) == (b.family, b.first_id)


def provenance_of(
    taken: Sequence[Mapping[str, Any]], *, source: str, options: Mapping[str, Any], **facts: Any
) -> dict[str, Any]:
    """Return where a result is from, as a table of plain values.

    Args:
        taken: Facts of the pictures it was computed from.
        source: Camera, folder or scene.
        options: What was asked for beside the defaults.
        **facts: Of the result; None is left out.
    """
    pictures = [str(entry["sha256"]) for entry in taken if entry.get("sha256")]
    poses = [entry["T_base_flange"] for entry in taken if entry.get("T_base_flange") is not None]
    table: dict[str, Any] = {"when": now(), "source": source, "views": len(taken)}
    if pictures:
        table |= {"pictures": len(pictures), "pictures_sha256": digest(pictures)}
    if poses:
        table["poses_sha256"] = digest(np.round(np.array(poses, dtype=np.float64), 12).tolist())
    table |= {key: _short(value) for key, value in facts.items() if value is not None}
    table |= {
        "vision_ik": __version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    told = {key: value for key, value in options.items() if value is not None}
    return table | ({"options": told} if told else {})


def now() -> str:
    """Return the time of day [UTC], as files keep it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
