"""Tests of single systematic errors: by the slope of the likelihood before a fit, by the estimate after it.

The noise levels are estimated from few views, so Fisher's F takes the place of the chi-square, with
the degrees of freedom that Satterthwaite's approximation gives.

A term with a prior (the board's scale) need only stand out where the views know more than the prior:
its statistic is then a sum of squares with weights below one, taken for a scaled chi-square with the
same mean and variance (Satterthwaite again).

A calibrated lens is off by what its covariance says: not zero is asked of it, but that the views' own
estimate stays within the prior's width and its own (``contradiction``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.stats import chi2, f

from calibration import batch
from calibration.hand_eye.evidence import Evidence
from calibration.hand_eye.joint_fit import JointFit, fit, linearised
from calibration.hand_eye.noise_levels import MixedModel, Variances, degrees_of_freedom
from calibration.hand_eye.terms import Term, TermStack
from vision_ik.rig import Mount
from vision_ik.types import Floats

_LEAST_WEIGHT = 1e-6
"""Of a direction of a term: below it the views say nothing about it that the prior does not."""
_TOLD = 0.8
"""Share of a prior's variance that is left, above which the views have said too little to contradict it."""
_SHARED_START = 5.0
"""Times the corners' scatter (in sigma): where the estimate of their common errors starts ..."""
_ARM_START = (0.3e-3, float(np.deg2rad(0.05)))
"""[m], [rad] ... with an arm as good as this: from a bad arm, the fit might not find out that the arm is good."""
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


def scores(
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


def last(case: Case, reached: JointFit, k: int) -> Tested:
    """Test the last ``k`` unknowns of a fit as one term."""
    return _fitted(case, reached, slice(len(reached.theta) - k, len(reached.theta)))


def contradiction(case: Case, reached: JointFit, part: slice, single: Floats) -> Tested:
    """Test whether the views contradict the prior N(0, I) of some unknowns of a fit.

    The views' own estimate has the covariance I + C if the prior is true, C its own; the fit's, which the prior
    pulls to zero, then has I - P, P being its covariance in the fit. All unknowns are tested together, and along
    one direction alone, each at half the chance of a false alarm (Bonferroni).

    Args:
        case: The views.
        reached: Their fit.
        part: Where the unknowns are in its ``theta``.
        single: (k,) the direction in which they matter most.
    """
    theta, block = reached.theta[part], slice(12 + part.start, 12 + part.stop)
    covariance = reached.covariance[block, block]
    dof = max(degrees_of_freedom(reached.model, reached.variances, case.free, block), _FEWEST_DOF)
    left, axes = np.linalg.eigh(0.5 * (covariance + covariance.T))
    told = left < _TOLD
    tested: list[tuple[float, float]] = []
    for directions in (axes[:, told], single[:, None] / np.linalg.norm(single)):
        after = directions.T @ covariance @ directions
        count, share = len(after), float(np.trace(after)) / max(len(after), 1)
        if count == 0 or share > _TOLD:
            continue
        moved = directions.T @ theta
        statistic = float(moved @ np.linalg.solve(np.eye(count) - after, moved)) / _excess(case, reached)
        # The noise levels are in doubt, the prior is not: the better the views tell, the less of the doubt is left.
        own = dof * ((1.0 - share) / share) ** 2
        tested.append((float(f.sf(statistic / count, count, max(own, _FEWEST_DOF))), 0.5 * statistic))
    probability, gain = min(tested, default=(1.0, 0.0))
    return Tested(theta=theta, covariance=covariance, gain=gain, probability=min(1.0, 2.0 * probability))


def fitted_ones(case: Case, reached: JointFit, candidates: Sequence[Term], adopted: Sequence[int]) -> list[Tested]:
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
