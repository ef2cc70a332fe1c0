"""How noisy the corners and the arm are, estimated from how the views disagree.

The fit is a linear mixed model: each view's board pose is off by D theta (the unknowns), by the
corner noise with covariance s^2 C, and by the arm noise with covariance
V_t = vt A_t A_t^T and V_r = vr A_r A_r^T. The three variances maximise the restricted likelihood
(Patterson & Thompson, 1971), which does not take the noise for smaller than it is because twelve
unknowns were fitted to it, by Fisher scoring in the logarithms.

Corners of one view may err together: blurred, unevenly lit, or seen through a lens that is not quite
the calibrated one, they agree well with each other and still put the board in the wrong place. Where
that is so, the corner noise has a second level: that at which the views' board poses disagree, apart
from that at which the corners of single views do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, f

from calibration import batch
from vision_ik.types import Floats

_PRIOR_ARM = (0.3e-3, np.deg2rad(0.06))
"""[m], [rad] Between what industrial (0.05 mm, 0.01 deg) and hobby arms (2 mm, 0.4 deg) are off by."""
_PRIOR_LEVEL = 2.0 * np.log(5.0)
"""One standard deviation of the prior, in log variance, of both together: a factor 5 in sigma ..."""
_PRIOR_RATIO = 2.0 * np.log(3.0)
"""... and of one over the other, a factor 3: the same joints, some 0.3 m away, move a flange and turn it."""
_PRIOR_MEAN = 2.0 * np.log(np.array([1.0, *_PRIOR_ARM, 1.0]))
_SUM, _DIFFERENCE = np.array([0.0, 0.5, 0.5, 0.0]), np.array([0.0, 1.0, -1.0, 0.0])
_PRIOR_PRECISION = np.outer(_SUM, _SUM) / _PRIOR_LEVEL**2 + np.outer(_DIFFERENCE, _DIFFERENCE) / _PRIOR_RATIO**2
"""(4, 4) for the logarithms of the variances of pixel, translation, rotation and sight; together worth one view."""
_PRIOR_SIGHT = 2.0 * np.log(3.0)
"""Of sight where no corners are seen, only poses, and their covariance is a guess: a factor 3 in sigma."""
_FEWEST_DOF = 8.0
"""Of Fisher's F: with fewer its tail is that of levels which the prior rules out."""
_HELD = 0.95
"""Share of calibrations of which the region that is stated with this share is to hold the truth."""
_SCORING_STEPS = 4
_STANDSTILL = 1e-4
"""Step in log variance below which the levels stand still."""
_FLOOR = np.array([1e-4, 1e-7, 1e-8, 1e-4])
"""[px], [m], [rad], [px] Noise below which nothing is taken to be, so that exact data stay solvable."""
_LARGEST_STEP = 2.0
"""In log variance, so that a poor start cannot send a variance out of range."""


@dataclass(frozen=True, slots=True)
class Variances:
    """Noise levels, squared."""

    pixel: float
    """[px^2], or a factor on given pose covariances."""
    translation: float
    """[m^2] per axis of the arm."""
    rotation: float
    """[rad^2] per axis of the arm."""
    shared: float | None = None
    """[px^2] at which the board poses of the views disagree, where corners of a view err together; None where they
    do not, and it is ``pixel``."""

    @property
    def sight(self) -> float:
        """[px^2] Of the corners, as far as the board's pose in a view depends on them."""
        return self.pixel if self.shared is None else self.shared

    def as_array(self) -> Floats:
        """Return (4,): pixel, translation, rotation, sight."""
        return np.array([self.pixel, self.translation, self.rotation, self.sight])

    def parts(self) -> Floats:
        """Return the (3,) factors of the parts of a view's covariance: sight, translation, rotation."""
        return np.array([self.sight, self.translation, self.rotation])


@dataclass(frozen=True, slots=True, eq=False)
class MixedModel:
    """The linearised views: ``observed = D theta + noise``, for the twelve unknowns and k further ones."""

    observed: Floats
    """(N, 6)"""
    D: Floats
    """(N, 6, 12 + k)"""
    parts: Floats
    """(3, N, 6, 6) covariance of the noise per unit of sight, translation and rotation variance."""
    misfit_free: Floats
    """(N,) sums of squares that say nothing about the twelve unknowns, only about pixel noise and further ones."""
    residual_dof: Floats
    """(N,)"""
    within: Floats
    """(N, k, k) information about the further unknowns in those sums, for unit pixel variance."""
    within_gradient: Floats
    """(N, k)"""
    within_explained: Floats
    """(N,) what each view's own best values of the further unknowns would take from its sum of squares [px^2]."""
    within_rank: Floats
    """(N,) directions of the further unknowns that single views tell about."""
    prior: Floats
    """(k,) one over the variance of each further unknown before any view; 0 where nothing is known."""
    further: Floats
    """(k,) where the further unknowns stand; their priors are about zero."""

    def solve(self, variances: Variances) -> MixedSolution:
        """Return the generalised least squares solution for given noise levels."""
        V = np.tensordot(variances.parts(), self.parts, 1)
        W = batch.inverse(V)
        DtW = np.swapaxes(self.D, 1, 2) @ W
        information = np.sum(DtW @ self.D, axis=0)
        right = np.sum(DtW @ self.observed[:, :, None], axis=0)[:, 0]
        if len(self.prior):
            information[12:, 12:] += self.within.sum(axis=0) / variances.sight + np.diag(self.prior)
            right[12:] += self.within_gradient.sum(axis=0) / variances.sight - self.prior * self.further
        theta = np.linalg.solve(information, right)
        return MixedSolution(theta, self.observed - self.D @ theta, V, W, information)

    def scattered(self) -> tuple[float, float]:
        """Return the sum of squares of corners that nothing shared by a view explains [px^2], and its dof."""
        squares = self.misfit_free.sum() - self.within_explained.sum()
        return float(squares), float(self.residual_dof.sum() - self.within_rank.sum())

    def disagreement(self, theta: Floats) -> float:
        """Return the sum of squares of how views disagree about the further unknowns in ``theta`` [px^2]."""
        step = theta[12:]
        taken = 2.0 * self.within_gradient.sum(axis=0) @ step - step @ self.within.sum(axis=0) @ step
        return float(self.within_explained.sum() - taken)


@dataclass(frozen=True, slots=True, eq=False)
class MixedSolution:
    """Generalised least squares: estimate, residuals and information."""

    theta: Floats
    """(12 + k,)"""
    residual: Floats
    """(N, 6)"""
    V: Floats
    """(N, 6, 6) covariance of each view's noise."""
    W: Floats
    """(N, 6, 6) its inverse."""
    information: Floats
    """(12 + k, 12 + k), priors among it."""


def log_likelihood(model: MixedModel, variances: Variances) -> float:
    """Return the logarithm of the restricted likelihood, up to a constant of the views.

    Restricted by the twelve unknowns that every model has; further ones are at their best values and
    pay by their priors. So where k further unknowns are really zero, twice what they gain is
    chi-square with k degrees of freedom.
    """
    solution = model.solve(variances)
    D = model.D[:, :, :12]
    shared = np.sum(np.swapaxes(D, 1, 2) @ solution.W @ D, axis=0) if len(model.prior) else solution.information
    return _restricted(model, variances, solution, shared)


def _restricted(model: MixedModel, variances: Variances, solution: MixedSolution, information: Floats) -> float:
    """Return the log likelihood restricted by the unknowns that an information matrix is about."""
    e = solution.residual
    quadratic = float(np.sum((solution.W @ e[:, :, None])[:, :, 0] * e))
    scattered, dof = model.scattered()
    quadratic += scattered / variances.pixel + model.disagreement(solution.theta) / variances.sight
    if len(model.prior):
        further = model.further + solution.theta[12:]
        quadratic += float(model.prior @ further**2)
    volumes = float(np.linalg.slogdet(solution.V)[1].sum() + np.linalg.slogdet(information)[1])
    volumes += dof * float(np.log(variances.pixel)) + float(model.within_rank.sum()) * float(np.log(variances.sight))
    return -0.5 * (quadratic + volumes)


def estimate_variances(model: MixedModel, start: Variances, free: tuple[bool, bool, bool]) -> Variances:
    """Return the noise levels a few scoring steps closer to the restricted maximum likelihood.

    A step that would lower the likelihood is shortened to the top of the parabola through what is known of it: where
    a level hardly shows beside another, the expected information is far from the curvature, and whole steps would go
    back and forth for ever.

    Args:
        model: The linearised views.
        start: Levels to start from; those that are not ``free`` stay.
        free: Which of pixel, translation and rotation to estimate.
    """
    levels = _levels(start, free)
    best = _posterior(model, np.log(start.as_array()))
    step = best.step(levels)
    for _ in range(_SCORING_STEPS):
        if np.abs(step).max() < _STANDSTILL:
            break
        tried = _posterior(model, np.maximum(best.log_variance + step, 2.0 * np.log(_FLOOR)))
        if tried.density < best.density - 1e-9 * abs(best.density):
            slope = float(best.score @ step)
            step = step * float(np.clip(0.5 * slope / (slope + best.density - tried.density), 0.1, 0.5))
        else:
            best, step = tried, tried.step(levels)
    pixel, translation, rotation, sight = np.exp(best.log_variance).tolist()
    return Variances(pixel, translation, rotation, None if start.shared is None else sight)


@dataclass(frozen=True, slots=True, eq=False)
class _Posterior:
    """What views and priors say about the levels, at some of them."""

    log_variance: Floats
    """(4,) of pixel, translation, rotation and sight."""
    density: float
    """Logarithm, up to a constant."""
    score: Floats
    """(4,)"""
    fisher: Floats
    """(4, 4)"""

    def step(self, levels: Floats) -> Floats:
        """Return the scoring step (4,) of the free ``levels`` (4, m)."""
        inner = np.linalg.solve(levels.T @ self.fisher @ levels, levels.T @ self.score)
        return np.clip(levels @ inner, -_LARGEST_STEP, _LARGEST_STEP)


def _posterior(model: MixedModel, log_variance: Floats) -> _Posterior:
    variances = Variances(*np.exp(log_variance).tolist())
    solution = model.solve(variances)
    score, fisher = _score(model, variances, solution)
    away, precision = log_variance - _PRIOR_MEAN, _prior_precision(model)
    pull = precision @ away
    density = _restricted(model, variances, solution, solution.information) - 0.5 * float(away @ pull)
    return _Posterior(log_variance, density, score - pull, fisher + precision)


def _prior_precision(model: MixedModel) -> Floats:
    """Return the (4, 4) precision of the prior of the logarithms of the levels."""
    if model.residual_dof.any():
        return _PRIOR_PRECISION
    return _PRIOR_PRECISION + np.diag([0.0, 0.0, 0.0, _PRIOR_SIGHT**-2.0])


def excess_of_sight(model: MixedModel, variances: Variances, free: tuple[bool, bool, bool]) -> float:
    """Return by how many standard deviations the board poses disagree more than the corners of single views do.

    The score test for a level of sight of its own, at the fit without one; the other free levels
    are taken as estimated.
    """
    score, fisher = _score(model, variances, model.solve(variances))
    fisher = fisher + _PRIOR_PRECISION
    own, levels = np.array([0.0, 0.0, 0.0, 1.0]), _levels(variances, free)
    cross = levels.T @ fisher @ own
    # At the optimum of the other levels their scores are zero but for priors; the step to it takes out the rest.
    weights = np.linalg.solve(levels.T @ fisher @ levels, cross)
    spread = float(fisher[3, 3] - cross @ weights)
    return float(score[3] - weights @ (levels.T @ score)) / np.sqrt(max(spread, 1e-12))


def level_spread(model: MixedModel, variances: Variances, free: tuple[bool, bool, bool]) -> tuple[Floats, Floats]:
    """Return the covariance (m, m) of the logarithms of the estimated levels, and what of the four each is (4, m)."""
    _, fisher = _score(model, variances, model.solve(variances))
    levels = _levels(variances, free)
    return batch.inverse(levels.T @ (fisher + _prior_precision(model)) @ levels), levels


def _levels(variances: Variances, free: tuple[bool, bool, bool]) -> Floats:
    """Return (4, m) what each of the m estimated levels is of pixel, translation, rotation and sight."""
    levels = np.eye(4)
    if variances.shared is None:
        levels[3, 0] = 1.0
    return levels[:, [*free, variances.shared is not None]]


def adjusted_covariance(model: MixedModel, variances: Variances, free: tuple[bool, bool, bool]) -> Floats:
    """Return the (12 + k, 12 + k) covariance of theta, widened for noise levels that were estimated.

    Wrong levels weigh the views wrongly, and are themselves only as sure as there are views: the
    covariance grows as Kenward & Roger (1997, eq. 3) found. The region of a pose is then that of Fisher's F, with
    degrees of freedom that follow from how sure the levels are (Satterthwaite, 1946): the covariance grows once more,
    so that the normal distribution with it has a 95 % region of that size.
    """
    solution = model.solve(variances)
    covariance = batch.inverse(solution.information)
    if not any(free) and variances.shared is None:
        return covariance
    spread, levels = level_spread(model, variances, free)
    P, Q = _information_by_level(model, variances, solution, levels)
    excess = np.einsum("kl,klpq->pq", spread, Q - np.einsum("kpr,rs,lsq->klpq", P, covariance, P))
    covariance_adjusted = covariance + 2.0 * covariance @ excess @ covariance
    shares = np.einsum("kpq,qr->kpr", P, covariance)
    relative = np.einsum("kl,kpq,lqp->", spread, shares, shares) / len(covariance)
    dof = max(2.0 / relative, _FEWEST_DOF)
    return covariance_adjusted * float(6.0 * f.ppf(_HELD, 6, dof) / chi2.ppf(_HELD, 6))


def degrees_of_freedom(
    model: MixedModel, variances: Variances, free: tuple[bool, bool, bool], unknowns: slice
) -> float:
    """Return of how many views' worth the noise is known that some unknowns are judged by (Satterthwaite, 1946).

    Infinite where the levels were given.
    """
    if not any(free) and variances.shared is None:
        return float("inf")
    solution = model.solve(variances)
    covariance = batch.inverse(solution.information)
    spread, levels = level_spread(model, variances, free)
    P, _ = _information_by_level(model, variances, solution, levels)
    root = np.linalg.inv(np.linalg.cholesky(covariance[unknowns, unknowns])) @ covariance[unknowns]
    shares = root @ P @ root.T
    relative = float(np.einsum("kl,kpq,lqp->", spread, shares, shares)) / len(root)
    return 2.0 / max(relative, 1e-9)


def _information_by_level(
    model: MixedModel, variances: Variances, solution: MixedSolution, levels: Floats
) -> tuple[Floats, Floats]:
    """Return minus the derivatives of the information by each log level (m, p, p), and their products (m, m, p, p)."""
    scaled = variances.parts()[:, None, None, None] * model.parts
    WD = solution.W @ model.D
    VWD = scaled @ WD
    P = np.sum(np.swapaxes(WD, 1, 2) @ VWD, axis=1)
    WVWD = solution.W @ VWD
    Q = np.einsum("knap,lnaq->klpq", VWD, WVWD, optimize=True)
    if len(model.prior):
        within = model.within.sum(axis=0) / variances.sight
        P[0, 12:, 12:] += within
        Q[0, 0, 12:, 12:] += within
    # The corners' scatter about their own board poses, the first of the four levels, weighs nothing by itself.
    by_level = levels[[3, 1, 2]]
    return np.einsum("jk,jpq->kpq", by_level, P), np.einsum("ik,jl,ijpq->klpq", by_level, by_level, Q, optimize=True)


def _score(model: MixedModel, levels: Variances, solution: MixedSolution) -> tuple[Floats, Floats]:
    """Return gradient (4,) and expected information (4, 4) of the restricted log likelihood in log variance.

    The order is pixel, translation, rotation and sight; the solution is the one for the ``levels``.

    With P = W - W D (D^T W D + priors)^-1 D^T W: gradient_k = (y^T P V_k P y - tr(P V_k)) / 2 and
    information_kl = tr(P V_k P V_l) / 2, all through (6, 6) blocks.
    """
    W, variances = solution.W, levels.as_array()
    scaled = variances[[3, 1, 2], None, None, None] * model.parts
    WV = W @ scaled
    root = np.linalg.cholesky(batch.inverse(solution.information))
    U = W @ (model.D @ root)
    VU = scaled @ U
    # (3, p, p): sums over views of U^T V_k U, and of U^T V_k W V_l U only where traces need them.
    G = np.sum(np.swapaxes(U, 1, 2) @ VU, axis=1)
    We = W @ solution.residual[:, :, None]
    flat = VU.reshape(3, -1)
    cross = flat @ (W @ VU).reshape(3, -1).T
    traces = np.einsum("knab,lnba->kl", WV, WV)
    score = 0.5 * (np.sum(We * (scaled @ We), axis=(1, 2, 3)) - np.einsum("knaa->k", WV) + np.einsum("kpp->k", G))
    scattered, dof = model.scattered()
    if len(model.prior):
        part = root[12:].T @ (model.within.sum(axis=0) / variances[3]) @ root[12:]
        rank = float(model.within_rank.sum())
        G[0] += part
        cross[0, 0] += float(np.trace(part))
        traces[0, 0] += rank
        score[0] += 0.5 * (model.disagreement(solution.theta) / variances[3] - rank + float(np.trace(part)))
    gram = G.reshape(3, -1)
    fisher = np.zeros((4, 4))
    order = np.ix_([3, 1, 2], [3, 1, 2])
    fisher[order] = 0.5 * (traces - 2.0 * cross + gram @ gram.T)
    fisher[0, 0] = 0.5 * dof
    return np.array([0.5 * (scattered / variances[0] - dof), score[1], score[2], score[0]]), fisher
