"""What the wizard computes: each function takes what it needs and returns plain facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration import batch
from calibration.files.observations import Observations, read_observations
from calibration.hand_eye import turned_boards
from calibration.hand_eye.chain import ChainState, camera_board
from calibration.hand_eye.corners import better_corners
from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.values import HandEyeResult, HandEyeView
from calibration.lens.intrinsics import IntrinsicsResult, LensChoice, calibrate_intrinsics
from calibration.wizard.evidence import Evidence, short
from calibration.wizard.results import parse_lens
from calibration.wizard.store import digest
from vision_ik.cameras.pictures import fit_intrinsics
from vision_ik.config import at_key
from vision_ik.errors import CalibrationError, ConfigError, RecordingError
from vision_ik.layouts import board_table, parse_board
from vision_ik.rig import Mount
from vision_ik.robots import load_robot
from vision_ik.types import Board, CameraIntrinsics, CharucoBoard, TagGridBoard

_LARGEST_SCALING = 0.15
"""By which a print may be off its description."""
_FEWEST_FOR_LENS = 5
"""Views from which a lens that nobody calibrated is guessed."""
_SURE_FOCAL = 0.02
"""Relative sigma of a focal length that is good enough to foretell the accuracy with."""


def fit_lens(
    evidence: Evidence,
    names: Sequence[str],
    taken: Mapping[str, Mapping[str, Any]],
    *,
    model: LensChoice,
    coefficients: int,
) -> IntrinsicsResult:
    """Return the lens that the pictures determine.

    Raises:
        CalibrationError: They are too few, or determine none.
        TagError: They show another board than told.
    """
    found = evidence.detections(names, taken)
    if not found:
        raise evidence.explain_missing() or CalibrationError(
            f"The board was found in none of {len(names)} pictures.", "Check its kind, columns, rows and family."
        )
    seen = list(found.values())
    told: dict[str, Any] = {
        "image_size": size_of(list(found), taken),
        "model": model,
        "coefficients": coefficients,
        "names": [short(name) for name in found],
        "edges_px": evidence.edges_px(list(found), taken),
    }
    result = calibrate_intrinsics(seen, **told)
    if evidence.board is None:
        return result
    better = better_corners(seen, evidence.board, result.intrinsics)
    return result if better == seen else calibrate_intrinsics(better, **told)


def lens_advice(
    evidence: Evidence, names: Sequence[str], taken: Mapping[str, Mapping[str, Any]], model: LensChoice
) -> str:
    """Return what to show next so that the lens becomes surer; empty where nothing helps.

    Raises:
        CalibrationError: The pictures determine no lens yet.
    """
    found = evidence.detections(names, taken)
    size = size_of(list(found), taken)
    result = calibrate_intrinsics(list(found.values()), image_size=size, model=model, bend=False)
    return str(result.next_views[0]) if result.next_views else ""


def guess_lens(
    evidence: Evidence, names: Sequence[str], taken: Mapping[str, Mapping[str, Any]], size: tuple[int, int]
) -> tuple[CameraIntrinsics, bool]:
    """Return a lens to plan and foretell with while none is calibrated, and whether it says anything."""
    found = list(evidence.detections(names, taken).values())
    guess = CameraIntrinsics.from_field_of_view(*size)
    if len(found) < _FEWEST_FOR_LENS:
        return guess, False
    try:
        result = calibrate_intrinsics(found, image_size=size, coefficients=4, bend=False)
    except CalibrationError:  # so few views need not tell of it
        return guess, False
    sure = result.focal_sigma < _SURE_FOCAL * result.intrinsics.K[0, 0]
    return (result.intrinsics, True) if sure else (guess, False)


def foretell(
    views: Sequence[HandEyeView], lens: CameraIntrinsics, mount: Mount, board: Board | None, seed: int
) -> HandEyeResult:
    """Return where the camera is as far as views tell that are still few: systematic errors are not asked for.

    Raises:
        CalibrationError: The views do not determine it.
    """
    return calibrate_hand_eye(views, intrinsics=lens, mount=mount, board=board, systematics=(), seed=seed)


def counted_as_expected(
    views: Sequence[HandEyeView], board: Board | None, result: Mapping[str, Any]
) -> list[HandEyeView]:
    """Return views with their corners counted as a calibration expects them, of a board that looks alike turned.

    Args:
        views: They.
        board: What they show.
        result: From ``hand_eye_facts``.
    """
    if not views or len(turned_boards.same_looks(board)) == 1:
        return list(views)
    X, Y = np.array(result["T_mount_camera"]), np.array(result["T_holder_board"])
    flanges = np.stack([view.flange.matrix for view in views])
    state = ChainState(X, Y, np.tile(np.eye(4), (len(views), 1, 1)))
    lens = parse_lens(result["lens"])
    return [
        replace(view, detection=turned_boards.counted_as_expected(view.detection, board, expected, lens))
        for view, expected in zip(views, camera_board(state, flanges, result["mount"]), strict=True)
    ]


def lens_for(lens: CameraIntrinsics, size: tuple[int, int], source: str) -> CameraIntrinsics:
    """Return a lens for pictures of a size.

    Raises:
        CameraError: It is that of pictures of another shape.
    """
    return fit_intrinsics(lens, None, *size, source)


def size_of(names: Sequence[str], taken: Mapping[str, Mapping[str, Any]]) -> tuple[int, int]:
    """Return width and height [px] of pictures, of which all are alike."""
    width, height = taken[names[0]]["size"]
    return int(width), int(height)


def read_views(path: Path, board: Board | None) -> tuple[Observations, dict[str, dict[str, Any]]]:
    """Return the views of a folder or file, and the facts of each, in order, by a name that is its own.

    Raises:
        VisionIkError: As `calibration.read_observations`.
    """
    read = read_observations(path, board=board)
    folder = (path if path.is_dir() else path.parent).resolve()
    facts: dict[str, dict[str, Any]] = {}
    for i, view in enumerate(read.views):
        entry: dict[str, Any] = {
            "size": list(read.image_size),
            "T_base_flange": view.flange.matrix.tolist(),
            "q": None if view.q is None else view.q.tolist(),
            "twist": None if view.twist is None else view.twist.tolist(),
        }
        image = folder / view.name
        if read.board is not None and image.is_file():
            try:
                entry |= {"image": str(image), "sha256": digest(image.read_bytes())}
            except OSError as error:
                raise RecordingError(f"Could not read {image}: {error.strerror}.", "Check its permissions.") from error
        else:
            corners = {
                "points_board": view.detection.points_board.tolist(),
                "points_image": view.detection.points_image.tolist(),
            }
            entry |= {"corners": corners, "sha256": digest(corners)}
        facts[f"{digest([entry['sha256'], entry['T_base_flange'], i])[:12]}/{view.name or i}"] = entry
    return read, facts


def spread_deg(poses: Sequence[Any]) -> float:
    """Return how far flanges (N, 4, 4) were turned about the second axis, root mean square over their pairs [deg]."""
    if len(poses) < 2:
        return 0.0
    R = np.array(poses, dtype=np.float64)[:, :3, :3]
    i, j = np.triu_indices(len(R), 1)
    turns = batch.rotation_vectors(np.swapaxes(R[i], 1, 2) @ R[j])
    extents = np.linalg.svd(turns, compute_uv=False) / np.sqrt(len(turns))
    return float(np.rad2deg(extents[1])) if len(extents) > 1 else 0.0


def measured(board: Board, edge_mm: float | None) -> Board:
    """Return the board scaled so that the edge that was measured is as long as it was measured.

    Which edge that was shows from its length: the one closest to it by description, of a square, a
    marker, the board's width and its height.

    Raises:
        ConfigError: It is none of them, or could be two.
    """
    if edge_mm is None:
        return board
    width, height = board.size_m
    edges = {"width": width, "height": height}
    if not isinstance(board, TagGridBoard):
        edges["square"] = board.square_m
    if isinstance(board, CharucoBoard):
        edges["marker"] = board.marker_m
    if isinstance(board, TagGridBoard):
        edges["tag"] = board.tag_m
    near = {name: m for name, m in edges.items() if abs(edge_mm / 1000.0 / m - 1.0) < _LARGEST_SCALING}
    if len({round(m, 9) for m in near.values()}) != 1:
        listed = ", ".join(f"{name} {1000.0 * m:g} mm" for name, m in edges.items())
        what = f"could be {' or '.join(near)}" if near else "is no edge"
        raise ConfigError(
            f"The measured edge of {edge_mm:g} mm {what} of this board ({listed}).",
            "Measure another edge, or describe the board as it was drawn.",
        )
    return board.scaled(edge_mm / 1000.0, next(iter(near.values())))


def checked_answer(name: str, value: Any, answers: Mapping[str, Any]) -> Any:
    """Return an answer as it is kept.

    Raises:
        VisionIkError: It cannot be.
    """
    match name:
        case "robot":
            told: dict[str, Any] = {"robot": value} if isinstance(value, str) else dict(value)
            robot = load_robot(told["robot"], told.get("base"), told.get("tip"))
            return {"robot": told["robot"], "base": told.get("base"), "tip": told.get("tip"), "hash": robot.hash}
        case "mount":
            if value not in ("eye_to_hand", "eye_in_hand"):
                raise ConfigError(
                    f"The camera is mounted eye_to_hand or eye_in_hand, not {value!r}.",
                    "eye_to_hand: it stands still; eye_in_hand: the arm carries it.",
                )
            return value
        case "board":
            return None if value is None else board_table(parse_board("board", value))
        case "edge_mm":
            edge = _number(name, value, 0.0)
            described = answers.get("board")
            if edge and described is not None:
                measured(parse_board("board", described), edge)
            return edge
        case "views":
            return int(_number(name, value, 3.0))
        case "touches":
            return int(_number(name, value, 3.0))
        case "pictures":
            return int(_number(name, value, 4.0))
        case "checks":
            return int(_number(name, value, 0.0))
        case "accuracy_mm" | "accuracy_deg" | "tolerance_mm" | "tolerance_deg":
            return None if value is None else _number(name, value, 0.0, above=True)
        case _:
            return value


def _number(name: str, value: Any, least: float, *, above: bool = False) -> float:
    with at_key(name, "Give a number."):
        number = float(value)
        if not least <= number < 1e6 or (above and number <= least):
            raise ValueError(f"it must be {'above' if above else 'at least'} {least:g}, not {value!r}")
        return number
