"""How noisy the corners and the arm are, estimated from how the views disagree.

The fit is a linear mixed model: each view's board pose is off by D theta (the unknowns), by the
corner noise with covariance s^2 C, and by the arm noise with covariance
V_t = vt A_t A_t^T and V_r = vr A_r A_r^T. The three variances maximise the restricted likelihood
(Patterson & Thompson, 1971), which does not take the noise for smaller than it is because twelve
unknowns were fitted to it, by Fisher scoring in the logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import batch
from vision_ik.types import Floats

_PRIOR_ARM = (0.5e-3, np.deg2rad(0.1))
"""[m], [rad] What arms are like, from industrial to hobby; decides only when the views say nothing."""
_PRIOR_SPREAD = 2.0 * np.log(4.0)
"""One standard deviation of the prior, in log variance: a factor 4 in sigma; worth 0.3 observations."""
_PRIOR_MEAN = 2.0 * np.log(np.array([1.0, *_PRIOR_ARM]))
_PRIOR_WEIGHT = np.array([0.0, 1.0, 1.0]) / _PRIOR_SPREAD**2
_FEWEST_DOF = 4.0
"""Of Student's t: its variance, twice that of the normal distribution here, would soon be infinite."""
_SCORING_STEPS = 4
_FLOOR = np.array([1e-4, 1e-7, 1e-8])
"""[px], [m], [rad] Noise below which nothing is taken to be, so that exact data stay solvable."""
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

    def as_array(self) -> Floats:
        """Return the (3,) variances."""
        return np.array([self.pixel, self.translation, self.rotation])


@dataclass(frozen=True, slots=True, eq=False)
class MixedModel:
    """The linearised views: ``observed = D theta + noise``, for the twelve unknowns and k further ones."""

    observed: Floats
    """(N, 6)"""
    D: Floats
    """(N, 6, 12 + k)"""
    parts: Floats
    """(3, N, 6, 6) covariance of the noise per unit of pixel, translation and rotation variance."""
    misfit_free: Floats
    """(N,) sums of squares that say nothing about the twelve unknowns, only about pixel noise and further ones."""
    residual_dof: Floats
    """(N,)"""
    within: Floats
    """(N, k, k) information about the further unknowns in those sums, for unit pixel variance."""
    within_gradient: Floats
    """(N, k)"""
    prior: Floats
    """(k,) one over the variance of each further unknown before any view; 0 where nothing is known."""
    further: Floats
    """(k,) where the further unknowns stand; their priors are about zero."""

    def solve(self, variances: Variances) -> MixedSolution:
        """Return the generalised least squares solution for given noise levels."""
        V = np.tensordot(variances.as_array(), self.parts, 1)
        W = batch.inverse(V)
        DtW = np.swapaxes(self.D, 1, 2) @ W
        information = np.sum(DtW @ self.D, axis=0)
        right = np.sum(DtW @ self.observed[:, :, None], axis=0)[:, 0]
        if len(self.prior):
            information[12:, 12:] += self.within.sum(axis=0) / variances.pixel + np.diag(self.prior)
            right[12:] += self.within_gradient.sum(axis=0) / variances.pixel - self.prior * self.further
        theta = np.linalg.solve(information, right)
        return MixedSolution(theta, self.observed - self.D @ theta, V, W, information)

    def leftover(self, theta: Floats) -> float:
        """Return the sum of squares that neither board poses nor the further unknowns in ``theta`` explain [px^2]."""
        step = theta[12:]
        explained = 2.0 * self.within_gradient.sum(axis=0) @ step - step @ self.within.sum(axis=0) @ step
        return float(self.misfit_free.sum() - explained)


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
    e = solution.residual
    quadratic = float(np.sum((solution.W @ e[:, :, None])[:, :, 0] * e))
    quadratic += model.leftover(solution.theta) / variances.pixel
    if len(model.prior):
        further = model.further + solution.theta[12:]
        quadratic += float(model.prior @ further**2)
        D = model.D[:, :, :12]
        shared = np.sum(np.swapaxes(D, 1, 2) @ solution.W @ D, axis=0)
    else:
        shared = solution.information
    volumes = float(np.linalg.slogdet(solution.V)[1].sum() + np.linalg.slogdet(shared)[1])
    return -0.5 * (quadratic + volumes + float(model.residual_dof.sum()) * float(np.log(variances.pixel)))


def estimate_variances(model: MixedModel, start: Variances, free: tuple[bool, bool, bool]) -> Variances:
    """Return the noise levels a few scoring steps closer to the restricted maximum likelihood.

    Args:
        model: The linearised views.
        start: Levels to start from; those that are not ``free`` stay.
        free: Which of pixel, translation and rotation to estimate.
    """
    mask = np.array(free)
    log_variance = np.log(start.as_array())
    for _ in range(_SCORING_STEPS):
        score, fisher = _score(model, np.exp(log_variance))
        score = score - _PRIOR_WEIGHT * (log_variance - _PRIOR_MEAN)
        fisher = fisher + np.diag(_PRIOR_WEIGHT)
        step = np.zeros(3)
        step[mask] = np.linalg.solve(fisher[np.ix_(mask, mask)], score[mask])
        log_variance = np.maximum(log_variance + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP), 2.0 * np.log(_FLOOR))
    pixel, translation, rotation = np.exp(log_variance).tolist()
    return Variances(pixel, translation, rotation)


def adjusted_covariance(model: MixedModel, variances: Variances, free: tuple[bool, bool, bool]) -> Floats:
    """Return the (12 + k, 12 + k) covariance of theta, widened for noise levels that were estimated.

    Wrong levels weigh the views wrongly, and are themselves only as sure as there are views: the
    covariance grows as Kenward & Roger (1997, eq. 3) found, and by the variance of Student's t
    whose degrees of freedom follow from how sure the levels are (Satterthwaite, 1946).
    """
    solution = model.solve(variances)
    covariance = batch.inverse(solution.information)
    mask = np.flatnonzero(free)
    if not len(mask):
        return covariance
    _, fisher = _score(model, variances.as_array())
    spread = batch.inverse((fisher + np.diag(_PRIOR_WEIGHT))[np.ix_(mask, mask)])
    scaled = variances.as_array()[mask, None, None, None] * model.parts[mask]
    WD = solution.W @ model.D
    VWD = scaled @ WD
    # Minus the derivatives of the information by each log variance, and their products.
    P = np.sum(np.swapaxes(WD, 1, 2) @ VWD, axis=1)
    WVWD = solution.W @ VWD
    Q = np.einsum("knap,lnaq->klpq", VWD, WVWD, optimize=True)
    if free[0] and len(model.prior):
        within = model.within.sum(axis=0) / variances.pixel
        P[0, 12:, 12:] += within
        Q[0, 0, 12:, 12:] += within
    excess = np.einsum("kl,klpq->pq", spread, Q - np.einsum("kpr,rs,lsq->klpq", P, covariance, P))
    covariance_adjusted = covariance + 2.0 * covariance @ excess @ covariance
    shares = np.einsum("kpq,qr->kpr", P, covariance)
    relative = np.einsum("kl,kpq,lqp->", spread, shares, shares) / len(covariance)
    dof = max(2.0 / relative, _FEWEST_DOF)
    return covariance_adjusted * dof / (dof - 2.0)


def _score(model: MixedModel, variances: Floats) -> tuple[Floats, Floats]:
    """Return gradient (3,) and expected information (3, 3) of the restricted log likelihood in log variance.

    With P = W - W D (D^T W D + priors)^-1 D^T W: gradient_k = (y^T P V_k P y - tr(P V_k)) / 2 and
    information_kl = tr(P V_k P V_l) / 2, all through (6, 6) blocks.
    """
    solution = model.solve(Variances(*variances.tolist()))
    W = solution.W
    scaled = variances[:, None, None, None] * model.parts
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
    dof = float(model.residual_dof.sum())
    leftover = float(model.misfit_free.sum())
    if len(model.prior):
        part = root[12:].T @ (model.within.sum(axis=0) / variances[0]) @ root[12:]
        G[0] += part
        cross[0, 0] += float(np.trace(part))
        score[0] += 0.5 * float(np.trace(part))
        leftover = model.leftover(solution.theta)
    gram = G.reshape(3, -1)
    fisher = 0.5 * (traces - 2.0 * cross + gram @ gram.T)
    score[0] += 0.5 * (leftover / variances[0] - dof)
    fisher[0, 0] += 0.5 * dof
    return score, fisher
