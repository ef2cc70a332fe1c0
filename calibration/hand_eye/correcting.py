"""Further views put right by what a calibration found beside mount and holder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.terms import LastingTerm, SightTerm, Term, TermEstimate, TermStack
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats

if TYPE_CHECKING:
    from calibration.hand_eye.values import HandEyeView


def corrected(
    estimates: Sequence[TermEstimate], views: Sequence[HandEyeView], intrinsics: CameraIntrinsics | None
) -> list[HandEyeView]:
    """Return views, as taken, with board and flange where the estimated terms have them; the lens stays out of it.

    Args:
        estimates: Of a calibration. Those of the arm that hold for its own views alone (a board that was displaced
            in some) change nothing here.
        views: Not those of the calibration.
        intrinsics: Their lens; None where no term is one of the sight.
    """
    if not views or not estimates:
        return list(views)
    found = [(_further(estimate.term, views), estimate.theta) for estimate in estimates]
    lasting = [(term, theta) for term, theta in found if term is not None]
    terms = TermStack([term for term, _ in lasting])
    theta: Floats = np.concatenate([np.empty(0), *(theta for _, theta in lasting)])
    flanges = terms.flanges(np.stack([view.flange.matrix for view in views]), theta)
    points = [view.detection.points_board for view in views]
    if intrinsics is not None:
        seen = terms.evidence(Corners([view.detection for view in views], intrinsics), theta)
        if isinstance(seen, Corners):
            points = np.split(seen.points_board, seen.starts[1:])
    return [
        replace(view, T_base_flange=Transform(T), detection=replace(view.detection, points_board=p))
        for view, T, p in zip(views, flanges, points, strict=True)
    ]


def _further(term: Term, views: Sequence[HandEyeView]) -> Term | None:
    """Return the term for other views; None where it says nothing about them."""
    if isinstance(term, LastingTerm):
        return term.further(views)
    return term if isinstance(term, SightTerm) else None
