"""Which systematic errors the views ask for, one after the other, with a stated chance of a false alarm.

Each candidate is first tested where the fit without it stands, by the slope of the likelihood (score
test; Rao, 1948): one linearisation serves them all. Only what looks promising there is fitted, and
adopted when its estimate stands out of its own noise (Wald test). The noise levels are estimated
from few views, so Fisher's F takes the place of the chi-square, with the degrees of freedom that
Satterthwaite's approximation gives. What was adopted must stand out again in the end.

A term with a prior (the lens and the covariance of its calibration) need only stand out where the
views know more than the prior: its statistic is then a sum of squares with weights below one, taken
for a scaled chi-square with the same mean and variance (Satterthwaite again).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.stats import chi2, f

from calibration import batch
from calibration.hand_eye.evidence import Corners, Evidence
from calibration.hand_eye.joint_fit import JointFit, fit, linearised
from calibration.hand_eye.noise_levels import MixedModel, Variances, degrees_of_freedom, excess_of_sight
from calibration.hand_eye.terms import ArmTerm, Term, TermStack
from calibration.systematics.lens import LensRefinement
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.types import Floats

FALSE_ALARM = 1e-3
"""Chance that a systematic error is found where there is none, for each of them."""
_PROMISING = 0.02
"""Chance below which the slope of the likelihood makes a fit worth its time."""
_LEAST_WEIGHT = 1e-6
"""Of a direction of a term: below it the views say nothing about it that the prior does not."""
_PROMISING_EXCESS = 2.0
"""Standard deviations of the slope from which it is tried whether the corners of a view err together, ..."""
_SHARED_GAIN = 0.5 * float(chi2.isf(2.0 * FALSE_ALARM, 1))
"""... and what the logarithm of the likelihood must gain by it (one-sided)."""
_SHARED_START = 5.0
"""Times the corners' scatter (in sigma): where the estimate of their common errors starts ..."""
_ARM_START = (0.3e-3, float(np.deg2rad(0.05)))
"""[m], [rad] ... with an arm as good as this: from a bad arm, the fit might not find out that the arm is good."""
_WIDTHS = (3.0, 9.0)
"""Tried for a prior that the views contradict."""
_LARGEST = 8.0
"""Standard deviations of a term's prior beyond which it stands for something else that is wrong."""
_ABSURD = (25e-3, float(np.deg2rad(2.5)))
"""[m], [rad] Noise of an arm at rest from which the views do not belong together: nothing is looked for then."""
_FEWEST_DOF = 1.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Case:
    """What is selected for: the views in the fit."""

    evidence: Evidence
    flanges: Floats
    """(N, 4, 4) Ts_base_flange as reported."""
    mount: Mount
    free: tuple[bool, bool, bool]
    """Which of the noise levels to estimate."""
    base: TermStack
    """Terms that are in the fit anyway."""

    def fit(self, reached: JointFit, terms: Sequence[Term], theta: Floats) -> JointFit:
        """Return the fit with more terms than the base's, from where another one stands.

        Raises:
            CalibrationError: The views do not determine the unknowns.
        """
        return self._fit(reached, terms, theta, reached.variances)

    def fit_shared(self, reached: JointFit, terms: Sequence[Term]) -> JointFit:
        """Return the fit in which the corners of a view err together, the better one of two starts.

        Raises:
            CalibrationError: The views do not determine the unknowns.
        """
        start = reached.variances
        translation, rotation = _ARM_START if self.free[1] else (start.translation, start.rotation)
        starts = (
            replace(start, shared=start.pixel),
            Variances(start.pixel, translation, rotation, _SHARED_START**2 * start.pixel),
        )
        fits = [self._fit(reached, terms, reached.theta, variances) for variances in starts]
        return max(fits, key=lambda tried: tried.log_likelihood)

    def fit_alone(self, reached: JointFit, terms: Sequence[Term]) -> JointFit:
        """Return the fit in which corners err one by one.

        Raises:
            CalibrationError: The views do not determine the unknowns.
        """
        return self._fit(reached, terms, reached.theta, replace(reached.variances, shared=None))

    def _fit(self, reached: JointFit, terms: Sequence[Term], theta: Floats, start: Variances) -> JointFit:
        return fit(
            self.evidence,
            self.flanges,
            self.mount,
            X=reached.state.X,
            Y=reached.state.Y,
            start=start,
            free=self.free,
            terms=TermStack([*self.base.terms, *terms]),
            theta=theta,
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tested:
    """What the views say about one candidate."""

    theta: Floats
    """(k,)"""
    covariance: Floats
    """(k, k)"""
    gain: float
    """Of the logarithm of the likelihood."""
    probability: float
    """That chance alone gains as much."""
    adopted: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Selection:
    """What the views ask for."""

    tested: tuple[Tested, ...]
    """One per candidate, or none."""
    adopted: tuple[int, ...]
    """Which candidates were adopted, in that order."""
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
    adopted: list[int] = []
    refused: set[int] = set()
    tested: dict[int, Tested] = {}
    while True:
        reached = _with_shared(case, reached, [candidates[i] for i in adopted])
        order = [*adopted, *(i for i in range(len(candidates)) if i not in adopted)]
        scores = dict(zip(order[len(adopted) :], _scores(case, reached, candidates, order, len(adopted)), strict=True))
        tested.update({i: score for i, score in scores.items() if i not in refused})
        promising = [i for i, score in scores.items() if score.probability < _PROMISING and i not in refused]
        if not promising:
            break
        best = min(promising, key=lambda i: (scores[i].probability, -scores[i].gain))
        further = [candidates[i] for i in [*adopted, best]]
        try:
            tried = case.fit(reached, further, np.append(reached.theta, scores[best].theta))
        except (CalibrationError, np.linalg.LinAlgError):  # the views do not determine it
            refused.add(best)
            continue
        tested[best] = _last(case, tried, len(candidates[best].parameters))
        plausible = bool((np.abs(tested[best].theta) < _LARGEST * candidates[best].sigma).all())
        if tested[best].probability < FALSE_ALARM and plausible:
            adopted.append(best)
            reached, widths[best] = _best_width(case, tried, further)
            candidates[best] = _widened(candidates[best], widths[best])
            refused.clear()
        else:
            refused.add(best)
    reached, adopted = _without_idle(case, reached, candidates, adopted)
    reached = _without_shared(case, reached, [candidates[i] for i in adopted])
    for i, test in zip(adopted, _all(case, reached, candidates, adopted), strict=True):
        tested[i] = replace(test, adopted=True)
    told = tuple(tested[i] for i in range(len(candidates)))
    return Selection(tested=told, adopted=tuple(adopted), reached=reached, widths=widths)


def _widened(term: Term, width: float) -> Term:
    return term.widened(width) if isinstance(term, LensRefinement) and width != 1.0 else term


def _best_width(case: Case, reached: JointFit, terms: Sequence[Term]) -> tuple[JointFit, float]:
    """Return the fit with the prior of the last term as wide as the views suggest, and that width.

    A lens that was touched since its calibration is farther off than that calibration allows. Of some
    widths, the one with the largest evidence (Laplace) is taken.
    """
    best, width = reached, 1.0
    if not isinstance(terms[-1], LensRefinement):
        return best, width
    count = len(terms[-1].parameters)
    most = _evidence(reached, count, width)
    for tried in _WIDTHS:
        wider = case.fit(reached, [*terms[:-1], terms[-1].widened(tried)], reached.theta)
        evidence = _evidence(wider, count, tried)
        if evidence > most:
            best, width, most = wider, tried, evidence
    return best, width


def _evidence(reached: JointFit, count: int, width: float) -> float:
    """Return the log evidence for a width of the prior of the last ``count`` unknowns, up to a constant."""
    volume = float(np.linalg.slogdet(reached.covariance[-count:, -count:])[1])
    return reached.log_likelihood + 0.5 * volume - count * float(np.log(width))


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


def together(case: Case, reached: JointFit, fitted: Sequence[Term], own: Term, other: Term) -> tuple[Floats, Floats]:
    """Return estimate (k,) and covariance (k, k) of a term when another one is unknown as well, by one step.

    Args:
        case: The views.
        reached: Their fit with the base's terms and those ``fitted``.
        fitted: Neither of the two is among them.
        own: The term asked about.
        other: The one that might be taken for it.
    """
    model = _model(case, reached, [own, other], fitted)
    solution = model.solve(reached.variances)
    covariance = batch.inverse(solution.information)
    k = 12 + len(reached.theta)
    part = slice(k, k + len(own.parameters))
    return solution.theta[part], covariance[part, part]


def _model(case: Case, reached: JointFit, candidates: Sequence[Term], fitted: Sequence[Term] = ()) -> MixedModel:
    """Return the views linearised about a fit, with candidates at zero beside the terms fitted already."""
    terms = TermStack([*case.base.terms, *fitted, *candidates])
    theta = np.append(reached.theta, np.zeros(terms.count - len(reached.theta)))
    return linearised(case.evidence, case.flanges, case.mount, state=reached.state, terms=terms, theta=theta)


def _scores(
    case: Case, reached: JointFit, candidates: Sequence[Term], order: Sequence[int], fitted: int
) -> list[Tested]:
    """Test each of the candidates beyond the first ``fitted`` of the order alone, without fitting it."""
    if len(order) == fitted:
        return []
    ordered = [candidates[i] for i in order]
    model = _model(case, reached, ordered[fitted:], ordered[:fitted])
    solution = model.solve(reached.variances)
    information = solution.information
    right = information @ solution.theta
    n = 12 + len(reached.theta)
    tested: list[Tested] = []
    start = n
    for candidate in ordered[fitted:]:
        part = slice(start, start + len(candidate.parameters))
        start = part.stop
        cross = np.linalg.solve(information[:n, :n], np.column_stack([information[:n, part], right[:n]]))
        own = information[part, part] - information[part, :n] @ cross[:, :-1]
        slope = right[part] - information[part, :n] @ cross[:, -1]
        tested.append(_test(own, slope, candidate.sigma, np.inf, _excess(case, reached)))
    return tested


def _last(case: Case, reached: JointFit, k: int) -> Tested:
    return _fitted(case, reached, slice(len(reached.theta) - k, len(reached.theta)))


def _all(case: Case, reached: JointFit, candidates: Sequence[Term], adopted: Sequence[int]) -> list[Tested]:
    """Test what was fitted, in the order of adoption."""
    ends = (case.base.count + np.cumsum([0, *(len(candidates[i].parameters) for i in adopted)])).tolist()
    return [_fitted(case, reached, slice(a, b)) for a, b in pairwise(ends)]


def _fitted(case: Case, reached: JointFit, part: slice) -> Tested:
    """Test a term by its estimate, beside the others in the fit."""
    block = slice(12 + part.start, 12 + part.stop)
    covariance = reached.covariance[block, block]
    sigma = reached.model.prior[part] ** -0.5 if (reached.model.prior[part] > 0).all() else None
    information = batch.inverse(covariance)
    dof = max(degrees_of_freedom(reached.model, reached.variances, case.free, block), _FEWEST_DOF)
    prior = np.full(part.stop - part.start, np.inf) if sigma is None else sigma
    return _test(information, information @ reached.theta[part], prior, dof, _excess(case, reached))


def _excess(case: Case, reached: JointFit) -> float:
    """Return by how much the views' variance exceeds that of noise levels that were given, at least 1."""
    if case.free[1]:
        return 1.0
    solution = reached.solution
    squares = float(np.sum((solution.W @ solution.residual[:, :, None])[:, :, 0] * solution.residual))
    return max(1.0, squares / max(solution.residual.size - 12, 1))


def _test(information: Floats, slope: Floats, prior_sigma: Floats, dof: float, excess: float) -> Tested:
    """Test a term.

    Args:
        information: (k, k), the prior's among it.
        slope: (k,) of the logarithm of the likelihood.
        prior_sigma: (k,)
        dof: By how many degrees of freedom the noise is known.
        excess: Factor by which the variance is larger than the information has it.
    """
    covariance = batch.inverse(information)
    theta = covariance @ slope
    statistic = float(slope @ theta) / excess
    root = np.linalg.cholesky(0.5 * (covariance + covariance.T))
    weights = 1.0 - np.linalg.eigvalsh(root.T @ np.diag(prior_sigma**-2.0) @ root)
    weights = weights[weights > _LEAST_WEIGHT]
    if not len(weights):
        return Tested(theta=theta, covariance=covariance, gain=0.0, probability=1.0)
    scale = float(np.sum(weights**2) / weights.sum())
    count = float(weights.sum()) / scale
    probability = (
        f.sf(statistic / (scale * count), count, dof) if np.isfinite(dof) else chi2.sf(statistic / scale, count)
    )
    return Tested(theta=theta, covariance=covariance, gain=0.5 * statistic, probability=float(probability))


def _without_idle(
    case: Case, reached: JointFit, candidates: Sequence[Term], adopted: list[int]
) -> tuple[JointFit, list[int]]:
    """Drop what no longer stands out beside what came later."""
    while len(adopted) > 1:
        tests = _all(case, reached, candidates, adopted)
        worst = int(np.argmax([test.probability for test in tests]))
        if tests[worst].probability < FALSE_ALARM:
            break
        kept = [i for k, i in enumerate(adopted) if k != worst]
        theta = np.concatenate(
            [reached.theta[: case.base.count], *(t.theta for k, t in enumerate(tests) if k != worst)]
        )
        adopted, reached = kept, case.fit(reached, [candidates[i] for i in kept], theta)
    return reached, adopted
