"""Calibration from an arm in motion: pictures and poses with time stamps, on clocks that may differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import f

from calibration.hand_eye.board_pose import all_board_poses
from calibration.hand_eye.chain import arm_poses
from calibration.hand_eye.closed_form import both, discrepancies
from calibration.hand_eye.solving import calibrate_hand_eye
from calibration.hand_eye.values import HandEyeResult
from calibration.systematics.selection import FALSE_ALARM
from calibration.systematics.sentences import offset_told
from calibration.systematics.systematic import Systematic
from calibration.systematics.time_offset import FlangeRecording, RecordedTimeOffset, views_from_stream
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.types import Board, BoardDetection, CameraIntrinsics, Floats

_STEP = 0.025
"""[s] Between the offsets that are tried first; the fit finds its way from the nearest."""
_TRIED = 40
"""Pictures that the offsets are tried on."""
_LEAST_INSIDE = 0.7
"""Share of these that the arm's recording must cover at an offset."""
_SPENT = 13
"""Numbers, of the six that each view gives, spent on mount, holder and the offset."""


def calibrate_hand_eye_stream(
    detections: Sequence[BoardDetection],
    recording: FlangeRecording,
    *,
    intrinsics: CameraIntrinsics,
    mount: Mount = "eye_to_hand",
    board: Board | None = None,
    largest_offset: float = 0.5,
    views: int = 60,
    seed: int = 0,
) -> HandEyeResult:
    """Compute where the camera is, and how late its pictures are, while the arm moves.

    The offset is fitted together with the camera's place, with the flange at each moment where the
    arm recorded it. The other systematic errors are looked for as in ``calibrate_hand_eye``.

    Args:
        detections: The board in pictures with time stamps [s].
        recording: Where the flange was, by the arm's clock.
        intrinsics: Lens the pictures were taken with.
        mount: Who carries the camera.
        board: Layout, when known.
        largest_offset: [s] Between the clocks, either way.
        views: At most so many pictures are used, spread evenly.
        seed: Of the random view triples the start is chosen from.

    Raises:
        CalibrationError: The recording covers too few pictures; or as in ``calibrate_hand_eye``.
    """
    chosen = np.unique(np.linspace(0, len(detections) - 1, min(views, len(detections))).round().astype(int))
    pictures = [detections[i] for i in chosen]
    coarse = _coarse_offset(pictures, recording, intrinsics, mount, largest_offset)
    seen = views_from_stream(pictures, recording, time_offset=coarse)
    stamps = np.array([view.detection.timestamp for view in seen]) + coarse
    term = RecordedTimeOffset(recording, stamps)
    result = calibrate_hand_eye(seen, intrinsics=intrinsics, mount=mount, board=board, terms=(term,), seed=seed)
    estimate = next(found for found in result.terms if found.name == term.name)
    offset, sigma = coarse + float(estimate.theta[0]), float(estimate.sigma[0])
    told = _told(offset, sigma, result.used_views)
    warnings = (told.sentence, *result.warnings) if told.striking else result.warnings
    return replace(result, time_offset=offset, systematics=(told, *result.systematics), warnings=warnings)


def _told(offset: float, sigma: float, views: int) -> Systematic:
    """Return what is told of an offset [s]: it is in the fit in any case, for no two clocks are one unasked.

    It is striking where it stands out of its noise (Wald test, Fisher's F for noise estimated from the views), with
    the same chance of a false alarm as the other systematic errors.
    """
    statistic = (offset / sigma) ** 2
    striking = float(f.sf(statistic, 1, max(6 * views - _SPENT, 1))) < FALSE_ALARM
    return Systematic(
        name="time offset",
        estimate=offset,
        sigma=sigma,
        unit="s",
        gain=0.5 * statistic,
        adopted=True,
        striking=striking,
        sentence=offset_told(offset, sigma),
    )


def _coarse_offset(
    pictures: Sequence[BoardDetection],
    recording: FlangeRecording,
    intrinsics: CameraIntrinsics,
    mount: Mount,
    largest: float,
) -> float:
    """Return the offset [s] of a grid at which a closed form fits best.

    Raises:
        CalibrationError: The recording covers too few of the pictures.
    """
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(_TRIED, len(pictures))).round().astype(int))
    some = [pictures[i] for i in chosen]
    boards = all_board_poses(some, intrinsics)[:, 0]
    known = np.isfinite(boards).all(axis=(1, 2))
    boards = boards[known]
    times = np.array([detection.timestamp for detection in some])[known]
    best, offset = np.inf, float("nan")
    for tried in np.arange(-np.ceil(largest / _STEP), np.ceil(largest / _STEP) + 1.0) * _STEP:
        inside = recording.covers(times + tried)
        if inside.sum() < max(_LEAST_INSIDE * len(times), 4):
            continue
        arms = arm_poses(recording.poses(times[inside] + tried), mount)
        misfit = min(_misfit(arms, boards[inside], X, Y) for X, Y in both(arms, boards[inside]))
        if misfit < best:
            best, offset = misfit, float(tried)
    if not np.isfinite(best):
        raise CalibrationError(
            f"The arm's recording covers too few of the {len(pictures)} pictures.",
            "Check that pictures and poses are stamped by clocks that differ by no more than "
            f"{largest:.1f} s, and that both were recorded at once.",
        )
    return offset


def _misfit(arms: Floats, boards: Floats, X: Floats, Y: Floats) -> float:
    return float(np.median(discrepancies(arms, boards, X, Y)))
