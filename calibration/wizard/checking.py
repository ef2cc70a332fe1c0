"""Whether a result holds: views that it was not computed from, predicted and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibration.hand_eye.values import HandEyeView
from calibration.validation.held_out import held_out_check
from calibration.validation.values import Tolerance, rms
from calibration.wizard.results import parse_hand_eye
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
    report, seen = held_out_check(parse_hand_eye(result), views, intrinsics=lens, tolerance=Tolerance())
    if len(seen) >= _FEWEST:
        mm, worst = 1e3 * report.error, 1e3 * report.worst
        deg = float(np.rad2deg(rms([view.rotation_error for view in seen])))
        source, count = "views of its own", len(seen)
        told = {"expected_mm": 1e3 * report.sigma, "consistent": report.consistent, "sentence": report.sentence}
    else:
        mm, deg = float(result["held_out_mm"]), float(result["held_out_deg"])
        source, count = "held-out views", int(result["views_used"])
        worst = max((v["held_out_mm"] for v in result["views"] if v["used"]), default=float("nan"))
        told = {}
    bounds = [(mm, tolerance_mm), (deg, tolerance_deg)]
    given = [value <= bound for value, bound in bounds if bound is not None]
    return {
        "error_mm": mm,
        "error_deg": deg,
        "worst_mm": worst,
        "views": count,
        "unseen": len(views) - len(seen),
        "source": source,
        "tolerance_mm": tolerance_mm,
        "tolerance_deg": tolerance_deg,
        "passed": all(given) if given else None,
        **told,
    }
