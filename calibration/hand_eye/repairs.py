"""Views that contradict the rest are explained, mended where the cause says how, and judged again.

A repair stands only if the view then agrees with all others at the noise found without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.agreement import Problem, Settled
from calibration.hand_eye.causes import Case, Cause, Explanation, Remark, symmetries
from calibration.hand_eye.causes_moved import Displacement, find_displacements
from calibration.hand_eye.causes_scoring import Calibrated
from calibration.hand_eye.causes_set import SetFault, find_set_fault
from calibration.hand_eye.causes_views import explain_views
from calibration.hand_eye.chain import ChainState, camera_board
from calibration.hand_eye.consensus import Start
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.held_out import nearest
from calibration.hand_eye.outcome import outcome
from calibration.hand_eye.repairs_made import Mended, mend, paired, reason_of
from calibration.hand_eye.values import HandEyeResult
from vision_ik.errors import CalibrationError
from vision_ik.types import Floats

_LEAST_HOLD = 0.25
"""Share of the views that must agree for the others to be explained by them ..."""
_FEWEST_HOLD = 5
"""... and their number."""
_LEAST_MENDED = 0.6
"""Share that must agree in the end where fewer than half did at first."""
_WORSE = 2.0
"""A repair that raises the arm's noise by more than this explains nothing."""
_LEAST_NOISE = np.array([1e-4, 1e-4])
"""[m], [rad] The least noise of an arm that is told apart."""
_DOUBTED = (4e-3, float(np.deg2rad(0.8)))
"""[m], [rad] Noise of the arm from which the set as a whole is doubted ..."""
_FEW = 0.75
"""... or share of views that agree below which it is."""
_NO_AGREEMENT = {"agreeing", "arm_noise", "median_distance"}
"""Facts of the refusals that a fault of the set may explain."""
_FLIPPED = float(np.deg2rad(5.0))
"""Angle between two tilts of a board from which taking the second is worth a word."""


def solve_with_reasons(
    problem: Problem, excluded: dict[int, Remark], twists: Sequence[Floats | None] | None = None
) -> HandEyeResult:
    """Solve, name what is wrong with views that contradict the rest, mend what can be, and solve again.

    Args:
        problem: The views.
        excluded: Views that take no part, and why.
        twists: Speed of the flange (6,) in each view, where known.

    Raises:
        CalibrationError: Too few views or too little motion; or no agreement, with the likeliest reason.
    """
    speeds: list[Floats | None] = list(twists) if twists is not None else [None] * len(problem.names)
    return _told(_solved(problem, excluded, speeds), speeds)


def _solved(problem: Problem, excluded: dict[int, Remark], twists: list[Floats | None]) -> Mended:
    """Return the fit of the views as they are, mended, or paired anew as a whole.

    Raises:
        CalibrationError: As above.
    """
    try:
        settled = problem.settle(excluded)
    except CalibrationError as refusal:
        if not _NO_AGREEMENT & refusal.facts.keys():
            raise
        return _rescued(problem, excluded, twists, refusal)
    solved = _with_repairs(problem, excluded, twists, settled)
    levels = solved.settled.reached.variances
    noisy = np.sqrt(levels.translation) > _DOUBTED[0] or np.sqrt(levels.rotation) > _DOUBTED[1]
    if noisy or solved.settled.used.sum() < _FEW * settled.usable.sum():
        fault = _set_fault(problem, excluded)
        if fault is not None:
            return _better_paired(problem, excluded, fault, solved, noisy=bool(noisy))
    return solved


def _better_paired(
    problem: Problem, excluded: dict[int, Remark], fault: SetFault, solved: Mended, *, noisy: bool
) -> Mended:
    """Return the fit of views paired anew if it is the better one: more of them, or less noise of the arm.

    Raises:
        CalibrationError: The fault, where the fit of the views as they are is ``noisy`` and nothing else is at hand.
    """
    try:
        anew = _without_fault(problem, excluded, fault)
    except CalibrationError:
        if noisy:
            raise
        return solved  # most views agree well: what a few of them look like may be chance
    before, after = solved.settled.reached.variances, anew.settled.reached.variances
    quieter = after.translation < before.translation and after.rotation < before.rotation
    more = anew.settled.used.sum() > solved.settled.used.sum() and after.translation < _WORSE**2 * before.translation
    return anew if (quieter if noisy else more) else solved


def _told(solved: Mended, twists: list[Floats | None]) -> HandEyeResult:
    """Look for systematic errors in views that belong together by now, and say what is to be said of each."""
    problem, settled = solved.problem, solved.problem.ask(solved.settled)
    explained: dict[int, Explanation] = {}
    if (settled.usable & ~settled.used).any():
        explained = {} if settled.used.all() else _explained(_case(problem, settled, twists), settled)[0]
    remarks = _flips(problem, settled) | {i: reason_of(e) for i, e in explained.items()} | solved.excluded
    for i, remark in solved.repaired.items():
        if settled.used[i]:
            remarks[i] = remark
    result = outcome(problem, settled, remarks)
    told = [text for text in result.warnings if " mended: " not in text] if solved.fault else list(result.warnings)
    views = tuple(result.views[j] for j in np.argsort(solved.pictures))
    return replace(result, views=views, warnings=(*([solved.fault] if solved.fault else []), *told))


def _rescued(
    problem: Problem, excluded: dict[int, Remark], twists: list[Floats | None], refusal: CalibrationError
) -> Mended:
    """Look for a fault of the set, then for a few views that agree and explain the others.

    Raises:
        CalibrationError: The fault by name, or the first refusal.
    """
    fault = _set_fault(problem, excluded)
    if fault is not None:
        return _without_fault(problem, excluded, fault)
    usable = np.array([i not in excluded for i in range(len(problem.names))], dtype=np.bool_)
    try:
        core = problem.settle(excluded, least_agreeing=max(_LEAST_HOLD, _FEWEST_HOLD / usable.sum()), core=True)
        solved = _with_repairs(problem, excluded, twists, replace(core, usable=usable))
    except CalibrationError as error:
        raise refusal from error
    if solved.settled.used.sum() < _LEAST_MENDED * usable.sum():
        raise refusal
    return solved


def _set_fault(problem: Problem, excluded: dict[int, Remark]) -> SetFault | None:
    boards = problem.candidates[:, 0].copy()
    boards[list(excluded)] = np.nan
    given = not isinstance(problem.evidence, Corners)
    return find_set_fault(problem.flanges, boards, problem.mount, np.random.default_rng(len(boards)), given=given)


def _without_fault(problem: Problem, excluded: dict[int, Remark], fault: SetFault) -> Mended:
    """Solve with pictures and poses paired anew.

    Raises:
        CalibrationError: The fault is not one of pairing, or the views do not agree either way.
    """
    if fault.pictures is None:
        raise fault.error
    alone = Remark(cause=Cause.PAIRING_SHIFTED, reason="has no partner once pictures and poses are in step")
    pictures = fault.pictures.copy()
    without = {int(j): alone for j in np.flatnonzero(pictures < 0)}
    pictures[pictures < 0] = np.setdiff1d(np.arange(len(pictures)), pictures)
    without |= {j: excluded[i] for j, i in enumerate(pictures.tolist()) if i in excluded}
    anew = paired(problem, pictures)
    try:
        settled = anew.settle(without)
    except CalibrationError as error:
        raise fault.error from error
    repaired = {
        j: Remark(cause=Cause.PAIRING_SHIFTED, repair=f"paired with the pose of view {problem.names[j]}")
        for j, i in enumerate(pictures.tolist())
        if i != j and j not in without
    }
    return Mended(
        problem=anew,
        pictures=pictures,
        excluded=without,
        repaired=repaired,
        settled=settled,
        fault=f"{fault.error.cause} They were paired anew.",
    )


def _with_repairs(
    problem: Problem, excluded: dict[int, Remark], twists: list[Floats | None], settled: Settled
) -> Mended:
    """Explain and mend the views that ``settled`` leaves out; return the better fit."""
    unchanged = Mended(
        problem=problem, pictures=np.arange(len(problem.names)), excluded=excluded, repaired={}, settled=settled
    )
    if not (settled.usable & ~settled.used).any():
        return unchanged
    case = _case(problem, settled, twists)
    mended = mend(problem, settled, case, *_explained(case, settled), excluded)
    if mended is None:
        return unchanged
    try:
        after = mended.problem.settle(mended.excluded, start=_near(settled, mended))
    except CalibrationError:
        return unchanged
    return replace(mended, settled=after) if _stands(settled, after) else unchanged


def _near(settled: Settled, mended: Mended) -> Start | None:
    """Return where to begin with mended views; None where something moved, and what is looked for may be elsewhere."""
    if mended.problem.terms is not settled.terms:
        return None
    agree = settled.used | np.isin(np.arange(len(settled.used)), list(mended.repaired))
    taking_part = ~np.isin(np.arange(len(settled.used)), list(mended.excluded))
    return Start(settled.reached.state.X, settled.reached.state.Y, agree[taking_part])


def _stands(before: Settled, after: Settled) -> bool:
    """Return whether repairs brought views back that agree as well as the others."""
    levels = [settled.reached.variances for settled in (before, after)]
    # Few views tell badly how much of the noise is of which kind: both together count.
    noise = [np.maximum(np.sqrt([v.translation, v.rotation]), _LEAST_NOISE) for v in levels]
    worse = float(np.sqrt(np.prod(noise[1] / noise[0])))
    return bool(after.used.sum() > before.used.sum() and worse <= _WORSE)


def _explained(case: Case, settled: Settled) -> tuple[dict[int, Explanation], list[Displacement]]:
    explained = explain_views(case)
    displaced = find_displacements(case, explained)
    for found in displaced:
        for i in found.views:
            explained[i] = Explanation(cause=found.cause, sentence=found.sentence(case), odds=found.odds)
    shifted = [i for i, explanation in explained.items() if explanation.cause is Cause.PAIRING_SHIFTED]
    for i in case.accused:
        if i in explained:
            continue
        if case.scatter[i] > settled.sharp:
            typical = float(np.median(case.scatter[settled.used]))
            words = f"its corners scatter by {case.scatter[i]:.2f} px, others' by {typical:.2f} px: blurred or misread"
            explained[i] = Explanation(cause=Cause.CORNERS_UNSHARP, sentence=words, odds=0.0)
        elif i - 1 in shifted or i + 1 in shifted:
            words = "pictures and poses are out of step here, and no pose is left that belongs with its picture"
            explained[i] = Explanation(cause=Cause.PAIRING_SHIFTED, sentence=words, odds=0.0)
    return explained, displaced


def _case(problem: Problem, settled: Settled, twists: list[Floats | None]) -> Case:
    """Return what is known of the views that a fit left out."""
    reached = settled.reached
    evidence = settled.terms.evidence(problem.evidence, reached.theta)
    seen = problem.candidates.copy()
    spread = np.full((*seen.shape[:2], 6, 6), np.nan)
    for k in range(seen.shape[1]):
        known: NDArray[np.bool_] = np.all(np.isfinite(seen[:, k]), axis=(1, 2))
        if known.any():
            near = evidence.select(known).linearise(seen[known, k])
            seen[known, k] = batch.exp(near.twist) @ seen[known, k]
            spread[known, k] = near.covariance
    with np.errstate(divide="ignore", invalid="ignore"):
        scatter = np.sqrt(evidence.misfit(seen[:, 0]) / evidence.residual_dof)
    accused: list[int] = np.flatnonzero(settled.usable & ~settled.used).tolist()
    measure = Calibrated(
        X=reached.state.X,
        Y=reached.state.Y,
        covariance=reached.covariance[:12, :12],
        variances=reached.variances,
        mount=problem.mount,
    )
    return Case(
        measure=measure,
        seen=seen,
        spread=spread,
        scatter=scatter,
        flanges=settled.terms.flanges(problem.flanges, reached.theta),
        twists=twists,
        turns=symmetries(evidence.points_board) if accused and isinstance(evidence, Corners) else [],
        accused=accused,
        names=problem.names,
    )


def _flips(problem: Problem, settled: Settled) -> dict[int, Remark]:
    """Return a word for each used view of which the less likely of two tilts was the right one."""
    if problem.candidates.shape[1] < 2:
        return {}
    reached = settled.reached
    flanges = settled.terms.flanges(problem.flanges, reached.theta)
    still = ChainState(reached.state.X, reached.state.Y, np.eye(4)[None])
    taken = nearest(problem.candidates, camera_board(still, flanges, problem.mount))
    posed = np.flatnonzero(np.isfinite(problem.candidates).all(axis=(1, 2, 3)) & settled.used)
    between = np.swapaxes(taken[posed, :3, :3], 1, 2) @ problem.candidates[posed, 0, :3, :3]
    flipped = posed[np.linalg.norm(batch.rotation_vectors(between), axis=1) > _FLIPPED]
    words = "the other of the two tilts that its corners allow was taken"
    return {i: Remark(cause=Cause.PLANAR_FLIP, repair=words) for i in flipped.tolist()}
