"""Linear models whose noise has several sources, each with a level of its own that the data tell.

y = D theta + noise, with covariance V = sum_k v_k V_k. The levels v_k maximise the restricted
likelihood (Patterson & Thompson, 1971) times a broad prior, by Fisher scoring in their logarithms. The
covariance of theta is widened for levels that were estimated (Kenward & Roger, 1997, eq. 3, and
Student's t with the degrees of freedom of Satterthwaite, 1946). Dense: for tens of observations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from vision_ik.types import Floats

_MAX_STEPS = 30
_CONVERGED = 1e-6
_LARGEST_STEP = 1.5
"""In log variance."""
_FEWEST_DOF = 4.0
"""Of Student's t, whose variance would else soon be infinite."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LevelPrior:
    """What is known of the noise levels before any data: normal in the logarithms of the variances."""

    mean: Floats
    """(K,)"""
    precision: Floats
    """(K, K)"""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LinearModel:
    """Observations of p unknowns."""

    observed: Floats
    """(M,)"""
    D: Floats
    """(M, p)"""
    parts: Floats
    """(K, M, M) covariance of the noise per unit of each level's variance."""
    prior: LevelPrior
    free: NDArray[np.bool_]
    """(K,) which levels are estimated."""
    known: Floats
    """(p, p) information about the unknowns from elsewhere ..."""
    known_pull: Floats
    """(p,) ... and that information times the values it prefers."""
    scatter: Floats
    """(K, 2) sums of squares that tell of a level alone, and their degrees of freedom."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LinearFit:
    """What a model comes to at given levels."""

    model: LinearModel
    log_levels: Floats
    """(K,) logarithms of the variances."""
    theta: Floats
    """(p,)"""
    residual: Floats
    """(M,)"""
    W: Floats
    """(M, M) inverse covariance of the noise."""
    C: Floats
    """(p, p) covariance of theta if the levels were known."""

    @property
    def levels(self) -> Floats:
        """(K,) variances."""
        return np.exp(self.log_levels)

    def covariance(self) -> Floats:
        """Return the (p, p) covariance of theta, grown as wrong levels weigh the data wrongly; not yet Student's."""
        spread, P, Q = self._by_level()
        if not len(spread):
            return self.C
        excess = np.einsum("kl,klpq->pq", spread, Q - np.einsum("kpr,rs,lsq->klpq", P, self.C, P))
        return self.C + 2.0 * self.C @ excess @ self.C

    def dof(self, unknowns: slice) -> float:
        """Return how many degrees of freedom the noise that some unknowns are judged by is known to."""
        spread, P, _ = self._by_level()
        if not len(spread):
            return float("inf")
        root = np.linalg.inv(np.linalg.cholesky(self.C[unknowns, unknowns])) @ self.C[unknowns]
        shares = root @ P @ root.T
        relative = float(np.einsum("kl,kpq,lqp->", spread, shares, shares)) / len(root)
        return 2.0 / max(relative, 1e-9)

    def region(self, unknowns: slice) -> Floats:
        """Return the covariance of some unknowns, with the variance of Student's t."""
        dof = max(self.dof(unknowns), _FEWEST_DOF)
        return self.covariance()[unknowns, unknowns] * (1.0 if np.isinf(dof) else dof / (dof - 2.0))

    def _by_level(self) -> tuple[Floats, Floats, Floats]:
        """Return the covariance (m, m) of the m free log levels, D^T W V_k W D, and D^T W V_k W V_l W D."""
        model, free = self.model, self.model.free
        _, fisher = _score(self)
        spread = batch.inverse((fisher + model.prior.precision)[np.ix_(free, free)])
        WD = self.W @ model.D
        scaled = self.levels[free, None, None] * model.parts[free]
        VWD = scaled @ WD
        P = WD.T @ VWD
        Q = np.einsum("kap,laq->klpq", VWD, self.W @ VWD, optimize=True)
        return spread, P, Q


def fit_levels(model: LinearModel, log_levels: Floats) -> LinearFit:
    """Return the fit at the likeliest levels; those that are not free stay as given (K,)."""
    fit, free = solve(model, log_levels), model.free
    if not free.any():
        return fit
    for _ in range(_MAX_STEPS):
        score, fisher = _score(fit)
        score = score - model.prior.precision @ (fit.log_levels - model.prior.mean)
        fisher = fisher + model.prior.precision
        step = np.zeros_like(fit.log_levels)
        step[free] = np.linalg.solve(fisher[np.ix_(free, free)], score[free])
        fit = solve(model, fit.log_levels + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP))
        if np.abs(step).max() < _CONVERGED:
            break
    return fit


def solve(model: LinearModel, log_levels: Floats) -> LinearFit:
    """Return generalised least squares at given levels (K,)."""
    W = batch.inverse(np.tensordot(np.exp(log_levels), model.parts, 1))
    DtW = model.D.T @ W
    C = batch.inverse(DtW @ model.D + model.known)
    theta = C @ (DtW @ model.observed + model.known_pull)
    return LinearFit(
        model=model, log_levels=log_levels, theta=theta, residual=model.observed - model.D @ theta, W=W, C=C
    )


def _score(fit: LinearFit) -> tuple[Floats, Floats]:
    """Return gradient (K,) and expected information (K, K) of the restricted log likelihood in the log levels."""
    model, W = fit.model, fit.W
    WD = W @ model.D
    P = W - WD @ fit.C @ WD.T
    scaled = fit.levels[:, None, None] * model.parts
    PV = P @ scaled
    weighed = W @ fit.residual
    squares, dof = model.scatter.T
    gained = np.einsum("a,kab,b->k", weighed, scaled, weighed) - np.einsum("kaa->k", PV)
    score = 0.5 * (gained + squares / fit.levels - dof)
    return score, 0.5 * (np.einsum("kab,lba->kl", PV, PV) + np.diag(dof))
