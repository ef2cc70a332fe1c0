"""How views are mended: other partners, other corners, six more unknowns for what moved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.hand_eye.agreement import Problem, Settled
from calibration.hand_eye.causes import Case, Cause, Explanation, Remark
from calibration.hand_eye.causes_moved import Displacement, moved_term
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.terms import TermStack
from vision_ik.types import Floats

_FEWEST_MOVED = 3
"""Views that must share a displacement before they are fitted with it: six unknowns eat one view."""
_POSE_GONE = Remark(cause=Cause.UNEXPLAINED, reason="its own belongs with another picture")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mended:
    """A problem, with repairs made or not, and its fit."""

    problem: Problem
    pictures: NDArray[np.int_]
    """(N,) which picture is paired with each pose."""
    excluded: dict[int, Remark]
    """Views that take no part; by place of the pose, as all else."""
    repaired: dict[int, Remark]
    settled: Settled
    fault: str = ""
    """What was wrong with all views together, and what was done about it."""


def mend(
    problem: Problem,
    settled: Settled,
    case: Case,
    explained: dict[int, Explanation],
    displaced: list[Displacement],
    excluded: dict[int, Remark],
) -> Mended | None:
    """Return the problem with all repairs made that the explanations offer, not yet fitted; None without any."""
    repairs = {i: e.repair for i, e in explained.items() if e.repair is not None}
    displaced = [found for found in displaced if len(found.views) >= _FEWEST_MOVED]
    if not repairs and not displaced:
        return None
    pictures = np.arange(case.count)
    partners = {i: repair.partner for i, repair in repairs.items() if repair.partner is not None}
    homeless = [p for p in partners.values() if p not in partners]
    empty = [i for i in partners if i not in partners.values()]
    for i, j in partners.items():
        pictures[j] = i
    # A picture whose pose went to another one stands at a pose that is left over, and takes no part.
    without: dict[int, Remark] = dict(excluded)
    for i, j in zip(homeless, empty, strict=True):
        pictures[j] = i
        reason = reason_of(explained[i]) if i in explained else _POSE_GONE
        without[j] = replace(reason, contradicts=False, reason=f"has no pose left ({reason.reason})")
    repaired = {
        partners.get(i, i): Remark(cause=explained[i].cause, repair=repair.words) for i, repair in repairs.items()
    }
    turned = _turned(problem, {i: r.turn for i, r in repairs.items() if r.turn is not None})
    mended = paired(turned, pictures)
    for found in displaced:
        mended = replace(mended, terms=TermStack([*mended.terms.terms, moved_term(case, found)]))
        words = f"fitted with six more unknowns ({found.sentence(case)})"
        if found.cause is Cause.CAMERA_MOVED and found.lasts(case):
            words = f"{words}, the camera taken where it sat last"
        repaired |= {i: Remark(cause=found.cause, repair=words) for i in found.views}
    return Mended(problem=mended, pictures=pictures, excluded=without, repaired=repaired, settled=settled)


def paired(problem: Problem, pictures: NDArray[np.int_]) -> Problem:
    """Return the problem with picture ``pictures[j]`` at pose j."""
    if np.array_equal(pictures, np.arange(len(pictures))):
        return problem
    return replace(
        problem,
        names=[problem.names[i] for i in pictures],
        evidence=problem.evidence.take(pictures),
        candidates=problem.candidates[pictures],
    )


def _turned(problem: Problem, turns: dict[int, Floats]) -> Problem:
    """Return the problem with the corners of some views counted from elsewhere."""
    evidence = problem.evidence
    if not turns or not isinstance(evidence, Corners):
        return problem
    points, candidates = evidence.points_board.copy(), problem.candidates.copy()
    for i, G in turns.items():
        own = evidence.view == i
        points[own] = points[own] @ G[:3, :3].T + G[:3, 3]
        candidates[i] = candidates[i] @ np.linalg.inv(G)
    return replace(problem, evidence=evidence.changed(points_board=points), candidates=candidates)


def reason_of(explanation: Explanation) -> Remark:
    """Return what is told of a view that an explanation belongs to."""
    return Remark(cause=explanation.cause, reason=explanation.sentence, contradicts=True)
