"""What the user is told of each systematic error: how large it is, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.noise_levels import Variances
from calibration.hand_eye.terms import Term
from calibration.systematics.board_scale import BoardScale
from calibration.systematics.flatness import BoardBend
from calibration.systematics.lens import LensRefinement
from calibration.systematics.selection import Selection
from calibration.systematics.standing_out import Case, Tested, together
from calibration.systematics.systematic import Systematic
from calibration.systematics.time_offset import RecordedTimeOffset, TimeOffset
from vision_ik.types import Floats

STRIKING_SCALE = 0.01
"""Share by which a board is off that is flagged, ..."""
STRIKING_SIGMA = 3.0
"""... at this many standard deviations, the lens being unknown as far as its calibration left it so."""
_USELESS_SCALE = 0.01
"""Standard deviation of the scale from which the views are said not to tell it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Told:
    """Number, its standard deviation, unit, and words."""

    estimate: float
    sigma: float
    unit: str
    sentence: str
    striking: bool = False


def systematics(case: Case, candidates: Sequence[Term], selection: Selection) -> tuple[Systematic, ...]:
    """Return what is to be told of each candidate, and of errors that all corners of a view share.

    Args:
        case: The views that were selected for.
        candidates: In the order of ``selection.tested``.
        selection: What they asked for.
    """
    if not selection.tested:
        return ()
    found: list[Systematic] = []
    for candidate, test in zip(candidates, selection.tested, strict=True):
        told = _told(case, candidate, test, candidates, selection)
        found.append(
            Systematic(
                name=candidate.name,
                estimate=told.estimate,
                sigma=told.sigma,
                unit=told.unit,
                gain=test.gain,
                adopted=test.adopted,
                striking=told.striking,
                sentence=told.sentence,
            )
        )
    if isinstance(case.evidence, Corners):
        found.append(_shared(selection.reached.variances))
    return tuple(found)


def _told(case: Case, candidate: Term, test: Tested, candidates: Sequence[Term], selection: Selection) -> _Told:
    if isinstance(case.evidence, Corners):
        if isinstance(candidate, BoardScale):
            doubt = _lens_instead(case, candidate, candidates, selection)
            return _scale(candidate.edge, _spacing(case.evidence), test, doubt)
        if isinstance(candidate, BoardBend):
            return _bend(test)
        if isinstance(candidate, LensRefinement):
            return _lens(float(case.evidence.intrinsics.K[0, 0]), candidate, test)
    if isinstance(candidate, TimeOffset | RecordedTimeOffset):
        return _offset(test)
    sigma = np.sqrt(np.diag(test.covariance))
    worst = int(np.argmax(np.abs(test.theta) / sigma))
    words = f"{candidate.name}: {candidate.parameters[worst]} {test.theta[worst]:.3g}"
    return _Told(estimate=float(test.theta[worst]), sigma=float(sigma[worst]), unit="", sentence=f"{words}.")


def _scale(edge: float | None, spacing: float, test: Tested, with_lens: tuple[float, float] | None) -> _Told:
    share, sigma = float(test.theta[0]), float(np.sqrt(test.covariance[0, 0]))
    told, what = (spacing, "from corner to corner") if edge is None else (edge, "along an edge")
    size = f"{(1.0 + share) * told * 1e3:.2f} mm {what} instead of {told * 1e3:.2f} mm"
    if sigma > _USELESS_SCALE and not test.adopted:
        words = f"These views do not tell the board's size better than to {100.0 * sigma:.1f} %."
        return _Told(estimate=100.0 * share, sigma=100.0 * sigma, unit="%", sentence=words)
    if not test.adopted:
        words = f"The board has the size told, within {100.0 * max(3.0 * sigma, abs(share)):.1f} %."
        return _Told(estimate=100.0 * share, sigma=100.0 * sigma, unit="%", sentence=words)
    way = "larger" if share > 0.0 else "smaller"
    words = f"The board is {100.0 * abs(share):.1f} % {way} than told ({size})"
    if abs(share) < STRIKING_SCALE or abs(share) < STRIKING_SIGMA * sigma:
        words = f"{words}, which was taken into account."
        return _Told(estimate=100.0 * share, sigma=100.0 * sigma, unit="%", sentence=words)
    if with_lens is not None and abs(with_lens[0]) < STRIKING_SIGMA * with_lens[1]:
        words = f"{words}, or the focal length is off: these views do not tell which. Measure a square."
    else:
        words = f"{words}: measure a square."
    return _Told(estimate=100.0 * share, sigma=100.0 * sigma, unit="%", sentence=words, striking=True)


def _lens_instead(
    case: Case, candidate: BoardScale, candidates: Sequence[Term], selection: Selection
) -> tuple[float, float] | None:
    """Return scale and standard deviation with the lens unknown too; None where it is in the fit anyway."""
    adopted = [candidates[i] for i in selection.adopted]
    lenses = [other for other in candidates if isinstance(other, LensRefinement)]
    if candidate not in adopted or not lenses or lenses[0] in adopted:
        return None
    others = [other for other in adopted if other is not candidate]
    count = case.base.count + sum(len(other.parameters) for other in others)
    bare = case.fit(selection.reached, others, np.zeros(count))
    theta, covariance = together(case, bare, others, candidate, lenses[0])
    return float(theta[0]), float(np.sqrt(covariance[0, 0]))


def _bend(test: Tested) -> _Told:
    sigma = np.sqrt(np.diag(test.covariance))
    height, own = float(np.abs(test.theta).max()) * 1e3, float(sigma[np.argmax(np.abs(test.theta))]) * 1e3
    if test.adopted:
        words = (
            f"The board is bent by {height:.1f} mm at its rim, which was taken into account: glue it to a flat plate."
        )
    else:
        words = f"The board is flat as far as these views tell (to {3.0 * float(sigma.max()) * 1e3:.1f} mm)."
    return _Told(estimate=height, sigma=own, unit="mm", sentence=words, striking=False)


def _lens(f: float, candidate: LensRefinement, test: Tested) -> _Told:
    change = float(candidate.axes[0] @ test.theta) / f
    sigma = float(np.sqrt(candidate.axes[0] @ test.covariance @ candidate.axes[0])) / f
    if test.adopted:
        words = (
            f"The lens is not the calibrated one (focal length {100.0 * change:+.2f} %, {(1.0 + change) * f:.1f} px): "
            "it was refined together with the camera's place; use the refined one, and calibrate the lens again."
        )
    else:
        words = "The views agree with the lens as calibrated."
    return _Told(estimate=100.0 * change, sigma=100.0 * sigma, unit="%", sentence=words, striking=test.adopted)


def _offset(test: Tested) -> _Told:
    offset, sigma = float(test.theta[0]), float(np.sqrt(test.covariance[0, 0]))
    words = offset_told(offset, sigma) if test.adopted else _one_clock(offset, sigma)
    return _Told(estimate=offset, sigma=sigma, unit="s", sentence=words, striking=test.adopted)


def offset_told(offset: float, sigma: float) -> str:
    """Return what an offset between the clocks of pictures and poses [s] means."""
    if abs(offset) < STRIKING_SIGMA * sigma:
        return _one_clock(offset, sigma)
    way = "late" if offset < 0.0 else "early"
    return (
        f"The camera's pictures are {abs(offset) * 1e3:.0f} ms {way} against the arm's poses: "
        f"add {offset:+.3f} s to their time stamps."
    )


def _one_clock(offset: float, sigma: float) -> str:
    return f"Pictures and poses are on one clock, within {1e3 * max(3.0 * sigma, abs(offset)):.0f} ms."


def _shared(variances: Variances) -> Systematic:
    asked = variances.shared is not None
    ratio = float(np.sqrt(variances.sight / variances.pixel))
    if asked:
        words = (
            f"The corners of a picture err together: each view is {ratio:.0f} times less sure than their scatter says. "
            "Check focus, light and the lens calibration."
        )
    else:
        words = "The corners of a picture err one by one."
    return Systematic(
        name="shared corner errors",
        estimate=float(np.sqrt(variances.sight)),
        sigma=float("nan"),
        unit="px",
        gain=float("nan"),
        adopted=asked,
        striking=False,
        sentence=words,
    )


def _spacing(corners: Corners) -> float:
    """Return the usual distance between neighbouring corners [m]."""
    points: Floats = np.unique(np.round(corners.points_board, 9), axis=0)
    distance, _ = KDTree(points).query(points, k=2)
    return float(np.median(distance[:, 1]))
