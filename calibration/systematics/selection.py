"""Which systematic errors the views ask for, one after the other, with a stated chance of a false alarm.

Each candidate is first tested where the fit without it stands, by the slope of the likelihood (score
test; Rao, 1948): one linearisation serves them all. Only what looks promising there is fitted, and
adopted when its estimate stands out of its own noise (Wald test); what was adopted must stand out
again in the end.

A calibrated lens takes part from the beginning, within its covariance: that it is not exact is known. It
is found only where the views contradict that covariance, and is then believed less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
from scipy.stats import chi2

from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.joint_fit import JointFit
from calibration.hand_eye.noise_levels import excess_of_sight
from calibration.hand_eye.terms import ArmTerm, Term
from calibration.systematics.lens import LensRefinement
from calibration.systematics.standing_out import Case, Tested, contradiction, fitted_ones, last, scores
from vision_ik.errors import CalibrationError

FALSE_ALARM = 1e-3
"""Chance that a systematic error is found where there is none, for each of them."""
_PROMISING = 0.02
"""Chance below which the slope of the likelihood makes a fit worth its time."""
_PROMISING_EXCESS = 2.0
"""Standard deviations of the slope from which it is tried whether the corners of a view err together, ..."""
_SHARED_GAIN = 0.5 * float(chi2.isf(2.0 * FALSE_ALARM, 1))
"""... and what the logarithm of the likelihood must gain by it (one-sided)."""
_WIDTHS = (3.0, 9.0)
"""Tried for a prior that the views contradict."""
_LARGEST = 8.0
"""Standard deviations of a term's prior beyond which it stands for something else that is wrong."""
_ABSURD = (25e-3, float(np.deg2rad(2.5)))
"""[m], [rad] Noise of an arm at rest from which the views do not belong together: nothing is looked for then."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Selection:
    """What the views ask for."""

    tested: tuple[Tested, ...]
    """One per candidate, or none."""
    adopted: tuple[int, ...]
    """Which candidates are in the fit, in that order: those adopted, and a calibrated lens."""
    reached: JointFit
    """The fit with them, in that order after the base's."""
    widths: dict[int, float]
    """By how much the prior of a candidate had to be widened, because the views contradict it."""

    def terms(self, candidates: Sequence[Term]) -> list[Term]:
        """Return those of the candidates (of whichever views) that were adopted, in that order, widened."""
        return [_widened(candidates[i], self.widths.get(i, 1.0)) for i in self.adopted]


def select(case: Case, reached: JointFit, candidates: Sequence[Term]) -> Selection:
    """Adopt one candidate after the other, the most striking first, until none stands out.

    Args:
        case: The views.
        reached: Their fit with the base's terms.
        candidates: For the views of the case.

    Returns:
        The tests are none where the views contradict each other too much to be asked.
    """
    if _is_absurd(reached, candidates):
        return Selection(tested=(), adopted=(), reached=reached, widths={})
    candidates, widths = list(candidates), {}
    reached, adopted = _with_lens(case, reached, candidates)
    lens = adopted[0] if adopted else None
    refused: set[int] = set()
    tested: dict[int, Tested] = {}
    while True:
        reached = _with_shared(case, reached, [candidates[i] for i in adopted])
        order = [*adopted, *(i for i in range(len(candidates)) if i not in adopted)]
        slopes = dict(zip(order[len(adopted) :], scores(case, reached, candidates, order, len(adopted)), strict=True))
        tested.update({i: score for i, score in slopes.items() if i not in refused})
        promising = [i for i, score in slopes.items() if score.probability < _PROMISING and i not in refused]
        best = min(promising, key=lambda i: _rank(slopes[i]), default=None)
        if lens is not None and lens not in widths and _is_believed(told := candidates[lens]):
            doubt = _against(case, reached, told)
            if _stands_out(doubt, told) and (best is None or _rank(doubt) < _rank(slopes[best])):
                reached, widths[lens] = _best_width(case, reached, [candidates[i] for i in adopted], 0)
                candidates[lens] = _widened(candidates[lens], widths[lens])
                refused.clear()
                continue
        if best is None:
            break
        further = [candidates[i] for i in [*adopted, best]]
        try:
            tried = case.fit(reached, further, np.append(reached.theta, slopes[best].theta))
        except (CalibrationError, np.linalg.LinAlgError):  # the views do not determine it
            refused.add(best)
            continue
        tested[best] = last(case, tried, len(candidates[best].parameters))
        if _stands_out(tested[best], candidates[best]):
            reached, widths[best] = _best_width(case, tried, further, len(adopted))
            adopted.append(best)
            candidates[best] = _widened(candidates[best], widths[best])
            refused.clear()
        else:
            refused.add(best)
    reached, adopted = _without_idle(case, reached, candidates, adopted)
    if lens in widths and len(adopted) > 1:
        reached = _with_trust(case, reached, candidates, adopted, widths)
    reached = _without_shared(case, reached, [candidates[i] for i in adopted])
    for i, test in zip(adopted, fitted_ones(case, reached, candidates, adopted), strict=True):
        tested[i] = replace(test, adopted=i != lens or i in widths)
    in_order = tuple(tested[i] for i in range(len(candidates)))
    return Selection(tested=in_order, adopted=tuple(adopted), reached=reached, widths=widths)


def _rank(test: Tested) -> tuple[float, float]:
    """Return what is smallest for the most striking test."""
    return test.probability, -test.gain


def _stands_out(test: Tested, term: Term) -> bool:
    return test.probability < FALSE_ALARM and bool((np.abs(test.theta) < _LARGEST * term.sigma).all())


def _is_calibrated_lens(term: Term) -> TypeGuard[LensRefinement]:
    return isinstance(term, LensRefinement) and term.calibrated


def _is_believed(term: Term) -> TypeGuard[LensRefinement]:
    """Return whether a lens's calibration is knowledge of its own, which the views can contradict."""
    return isinstance(term, LensRefinement) and term.width == 1.0


def _with_lens(case: Case, reached: JointFit, candidates: Sequence[Term]) -> tuple[JointFit, list[int]]:
    """Return the fit with a calibrated lens within its covariance, and which of the candidates that is."""
    known = [i for i, candidate in enumerate(candidates) if _is_calibrated_lens(candidate)][:1]
    if known:
        lens = candidates[known[0]]
        reached = case.fit(reached, [lens], np.append(reached.theta, np.zeros(len(lens.parameters))))
    return reached, known


def _against(case: Case, reached: JointFit, lens: LensRefinement) -> Tested:
    """Test whether the views contradict a calibrated lens, the first of the candidates in a fit."""
    part = slice(case.base.count, case.base.count + len(lens.parameters))
    return contradiction(case, reached, part, lens.axes[:2].mean(axis=0))


def _with_trust(
    case: Case, reached: JointFit, candidates: list[Term], adopted: Sequence[int], widths: dict[int, float]
) -> JointFit:
    """Return the fit in which the lens is believed again, where what came later explains the views with it."""
    lens = candidates[adopted[0]]
    if not isinstance(lens, LensRefinement):
        return reached
    trusted = lens.widened(1.0)
    tried = case.fit(reached, [trusted, *(candidates[i] for i in adopted[1:])], reached.theta)
    if _stands_out(_against(case, tried, trusted), trusted):
        return reached
    candidates[adopted[0]] = trusted
    del widths[adopted[0]]
    return tried


def _widened(term: Term, width: float) -> Term:
    return term.widened(width) if isinstance(term, LensRefinement) and width != 1.0 else term


def _best_width(case: Case, reached: JointFit, terms: Sequence[Term], which: int) -> tuple[JointFit, float]:
    """Return the fit with the prior of one of its terms as wide as the views suggest, and that width.

    A lens that was touched since its calibration is farther off than that calibration allows. Of some
    widths, the one with the largest evidence (Laplace) is taken.
    """
    best, width, term = reached, 1.0, terms[which]
    if not isinstance(term, LensRefinement):
        return best, width
    before = case.base.count + sum(len(other.parameters) for other in terms[:which])
    part = slice(12 + before, 12 + before + len(term.parameters))
    most = _evidence(reached, part, width)
    for tried in _WIDTHS:
        wider = case.fit(reached, [*terms[:which], term.widened(tried), *terms[which + 1 :]], reached.theta)
        evidence = _evidence(wider, part, tried)
        if evidence > most:
            best, width, most = wider, tried, evidence
    return best, width


def _evidence(reached: JointFit, part: slice, width: float) -> float:
    """Return the log evidence for a width of the prior of some unknowns, up to a constant."""
    volume = float(np.linalg.slogdet(reached.covariance[part, part])[1])
    return reached.log_likelihood + 0.5 * volume - (part.stop - part.start) * float(np.log(width))


def _is_absurd(reached: JointFit, candidates: Sequence[Term]) -> bool:
    """Return whether the arm is noisier than any arm is, and than a clock that is off would make it look."""
    largest = np.square(_ABSURD)
    for candidate in candidates:
        if isinstance(candidate, ArmTerm):
            off = candidate.derivatives(np.zeros(len(candidate.sigma))) * candidate.sigma
            largest += np.mean(np.sum(off**2, axis=2).reshape(-1, 2, 3), axis=(0, 2))
    return reached.variances.translation > largest[0] or reached.variances.rotation > largest[1]


def _with_shared(case: Case, reached: JointFit, terms: Sequence[Term]) -> JointFit:
    """Return the fit with common errors of the corners of a view, where the views ask for it."""
    if reached.variances.shared is not None or not isinstance(case.evidence, Corners) or not all(case.free):
        return reached
    if excess_of_sight(reached.model, reached.variances, case.free) < _PROMISING_EXCESS:
        return reached
    tried = case.fit_shared(reached, terms)
    asked = tried.variances.sight > tried.variances.pixel
    return tried if asked and tried.log_likelihood > reached.log_likelihood + _SHARED_GAIN else reached


def _without_shared(case: Case, reached: JointFit, terms: Sequence[Term]) -> JointFit:
    """Return the fit without common errors of the corners, where they were only taken for what came later."""
    if reached.variances.shared is None or not terms:
        return reached
    alone, tried = case.fit_alone(reached, terms), case.fit_shared(reached, terms)
    best = max(reached, tried, key=lambda candidate: candidate.log_likelihood)
    asked = best.variances.sight > best.variances.pixel
    return best if asked and best.log_likelihood > alone.log_likelihood + _SHARED_GAIN else alone


def _without_idle(
    case: Case, reached: JointFit, candidates: Sequence[Term], adopted: list[int]
) -> tuple[JointFit, list[int]]:
    """Drop what no longer stands out beside what came later."""
    while len(adopted) > 1:
        tests = fitted_ones(case, reached, candidates, adopted)
        given = [_is_calibrated_lens(candidates[i]) for i in adopted]
        worst = int(np.argmax([0.0 if known else test.probability for known, test in zip(given, tests, strict=True)]))
        if tests[worst].probability < FALSE_ALARM:
            break
        kept = [i for k, i in enumerate(adopted) if k != worst]
        theta = np.concatenate(
            [reached.theta[: case.base.count], *(t.theta for k, t in enumerate(tests) if k != worst)]
        )
        adopted, reached = kept, case.fit(reached, [candidates[i] for i in kept], theta)
    return reached, adopted
