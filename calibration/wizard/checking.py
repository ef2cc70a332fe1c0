"""Whether a result holds: views that it was not computed from, predicted and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibration.hand_eye.board_pose import board_poses
from calibration.hand_eye.chain import ChainState, camera_board
from calibration.hand_eye.values import HandEyeView
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics

_FEWEST = 2
"""Views that a check needs; with fewer, the held-out error of the calibration serves."""


def check_result(
    result: Mapping[str, Any],
    views: Sequence[HandEyeView],
    lens: CameraIntrinsics,
    *,
    tolerance_mm: float | None,
    tolerance_deg: float | None,
) -> dict[str, Any]:
    """Return how far the board is from where the calibration puts it, and whether that is within the tolerance.

    Args:
        result: From ``hand_eye_facts``.
        views: Not used for the result; their own noise is in what comes out. With fewer than two, what the
            calibration said of views held out in turn is judged.
        lens: Of the camera.
        tolerance_mm: Most that the board's middle may be off, root mean square; None: no verdict.
        tolerance_deg: Most that its orientation may be off.
    """
    fresh = [check_view(result, view, lens) for view in views]
    seen = [error for error in fresh if error is not None]
    if len(seen) >= _FEWEST:
        mm, deg = (float(np.sqrt(np.mean(np.square(values)))) for values in zip(*seen, strict=True))
        source, count = "views of its own", len(seen)
        worst = max(error[0] for error in seen)
    else:
        mm, deg = float(result["held_out_mm"]), float(result["held_out_deg"])
        source, count = "held-out views", int(result["views_used"])
        worst = max((v["held_out_mm"] for v in result["views"] if v["used"]), default=float("nan"))
    bounds = [(mm, tolerance_mm), (deg, tolerance_deg)]
    given = [value <= bound for value, bound in bounds if bound is not None]
    return {
        "error_mm": mm,
        "error_deg": deg,
        "worst_mm": worst,
        "views": count,
        "unseen": len(fresh) - len(seen),
        "source": source,
        "tolerance_mm": tolerance_mm,
        "tolerance_deg": tolerance_deg,
        "passed": all(given) if given else None,
    }


def check_view(result: Mapping[str, Any], view: HandEyeView, lens: CameraIntrinsics) -> tuple[float, float] | None:
    """Return how far the board is seen from where a calibration puts it, in its middle [mm] and in angle [deg].

    None where the picture determines no pose of the board.
    """
    poses = board_poses(view.detection, lens)
    if len(poses) == 0:
        return None
    X, Y = np.array(result["T_mount_camera"]), np.array(result["T_holder_board"])
    predicted = Transform(camera_board(ChainState(X, Y, np.eye(4)[None]), view.flange.matrix[None], result["mount"])[0])
    middle = view.detection.points_board.mean(axis=0)
    errors: list[tuple[float, float]] = []
    for pose in poses:
        seen = Transform(pose)
        off = float(np.linalg.norm(seen.apply(middle) - predicted.apply(middle)))
        errors.append((1e3 * off, float(np.rad2deg(seen.distance_to(predicted)[1]))))
    return min(errors)  # of the two mirrored poses of a flat board, the one that is meant
