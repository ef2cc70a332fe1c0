"""Maximum likelihood for the whole chain, with noise on the corners and on the arm.

All corners of a view share one arm error, so it is an unknown of its own with a Gaussian prior
(a "random effect"). Eliminating it per view leaves twelve unknowns: exactly the marginal
likelihood to first order, relinearised through the real lens until nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from calibration import batch
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.evidence import Evidence, Linearised
from calibration.hand_eye.noise_levels import (
    MixedModel,
    MixedSolution,
    Variances,
    estimate_variances,
    log_likelihood,
)
from calibration.hand_eye.terms import NO_TERMS, TermStack
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.types import Floats

_MAX_ITERATIONS = 40
_MAX_HALVINGS = 8
_STEP_SHARE = 1e-4
"""A step below this share of the uncertainty counts as standing still ..."""
_STEP_TOLERANCE = 1e-9
"""[m, rad] ... or one far below any noise."""
_LEVEL_TOLERANCE = 1e-3
"""Relative change of a noise level that counts as standing still."""
_CONDITION_LIMIT = 1e14
"""Information matrices worse than this have no meaningful inverse in double precision."""


@dataclass(frozen=True, slots=True, eq=False)
class JointFit:
    """Where the fit came to rest."""

    state: ChainState
    theta: Floats
    """(k,) the further unknowns."""
    variances: Variances
    model: MixedModel
    """The views linearised at ``state`` and ``theta``."""
    solution: MixedSolution
    misfit: Floats
    """(N,) sums of squares with arm errors taken out [px^2]."""

    @property
    def covariance(self) -> Floats:
        """(12 + k, 12 + k) of the perturbations of X and Y, and of theta."""
        return batch.inverse(self.solution.information)

    @property
    def log_likelihood(self) -> float:
        """Of the views, restricted by the twelve unknowns: for the choice between sets of further ones."""
        return log_likelihood(self.model, self.variances)


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """Values of all unknowns, and what they make of the views."""

    state: ChainState
    theta: Floats
    flanges: Floats
    evidence: Evidence

    def moved(self, views: _Views, step: Floats, errors: Floats) -> _Point:
        """Return the point after steps of the 12 + k unknowns and of the arm errors (N, 6)."""
        state = self.state.moved(step[:6], step[6:12], errors)
        return views.at(state, self.theta + step[12:]) if len(self.theta) else replace(self, state=state)


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """What is given."""

    evidence: Evidence
    reported: Floats
    mount: Mount
    terms: TermStack

    def at(self, state: ChainState, theta: Floats) -> _Point:
        return _Point(state, theta, self.terms.flanges(self.reported, theta), self.terms.evidence(self.evidence, theta))


def fit(
    evidence: Evidence,
    Ts_base_flange: Floats,
    mount: Mount,
    *,
    X: Floats,
    Y: Floats,
    start: Variances,
    free: tuple[bool, bool, bool],
    terms: TermStack = NO_TERMS,
    theta: Floats | None = None,
) -> JointFit:
    """Maximise the likelihood over mount, holder, arm errors, the terms' unknowns and the ``free`` noise levels.

    Args:
        evidence: What the camera saw.
        Ts_base_flange: (N, 4, 4) as the arm reported.
        mount: Which of the two chains.
        X: (4, 4) start for T_mount_camera.
        Y: (4, 4) start for T_holder_board.
        start: Noise levels; the ones not ``free`` are kept.
        free: Which of pixel, arm translation and arm rotation to estimate.
        terms: Further unknowns.
        theta: (k,) start for them; None for zeros.

    Raises:
        CalibrationError: The views do not determine the unknowns.
    """
    views = _Views(evidence, Ts_base_flange, mount, terms)
    state = ChainState(X, Y, np.tile(np.eye(4), (len(Ts_base_flange), 1, 1)))
    point = views.at(state, np.zeros(terms.count) if theta is None else theta)
    variances = start
    for _ in range(_MAX_ITERATIONS):
        model, _, A = _linearise(views, point)
        _check_information(model.solve(variances))
        updated = estimate_variances(model, variances, free)
        settled = np.allclose(updated.as_array(), variances.as_array(), rtol=_LEVEL_TOLERANCE, atol=0.0)
        variances = updated
        point, still = _advance(views, point, model, A, variances)
        if settled and still:
            break
    model, seen, _ = _linearise(views, point)
    return JointFit(point.state, point.theta, variances, model, model.solve(variances), seen.misfit)


def linearised(
    evidence: Evidence, Ts_base_flange: Floats, mount: Mount, *, state: ChainState, terms: TermStack, theta: Floats
) -> MixedModel:
    """Return the model of the views around a state (N arm errors) and values (k,) of the terms' unknowns."""
    views = _Views(evidence, Ts_base_flange, mount, terms)
    return _linearise(views, views.at(state, theta))[0]


def _linearise(views: _Views, point: _Point) -> tuple[MixedModel, Linearised, Floats]:
    """Return the mixed model around ``point``, with the arm errors as noise, and their derivatives (N, 6, 6)."""
    state, terms = point.state, views.terms
    predicted = camera_board(state, point.flanges, views.mount)
    seen = point.evidence.linearise(predicted, terms.corner_derivatives(point.evidence, point.theta, predicted))
    D, A = derivatives(state, point.flanges, views.mount)
    if terms.count:
        # The term acts in front of the arm's error.
        by_flange = batch.adjoints(batch.inverses(state.E)) @ terms.flange_derivatives(views.reported, point.theta)
        by_theta = A @ by_flange
        if seen.further is not None:
            by_theta = by_theta + seen.further.by_theta
        D = np.concatenate([D, by_theta], axis=2)
    observed = seen.twist + (A @ batch.log(state.E)[:, :, None])[:, :, 0]
    At, Ar = A[:, :, :3], A[:, :, 3:]
    n, k = len(A), terms.count
    model = MixedModel(
        observed=observed,
        D=D,
        parts=np.stack([seen.covariance, At @ np.swapaxes(At, 1, 2), Ar @ np.swapaxes(Ar, 1, 2)]),
        misfit_free=seen.misfit_free,
        residual_dof=point.evidence.residual_dof,
        within=np.zeros((n, k, k)) if seen.further is None else seen.further.information,
        within_gradient=np.zeros((n, k)) if seen.further is None else seen.further.gradient,
        within_explained=np.zeros(n) if seen.further is None else seen.further.explained,
        within_rank=np.zeros(n) if seen.further is None else seen.further.rank,
        prior=terms.sigma**-2.0,
        further=point.theta,
    )
    return model, seen, A


def _advance(views: _Views, point: _Point, model: MixedModel, A: Floats, variances: Variances) -> tuple[_Point, bool]:
    """Take the Gauss-Newton step, halved until the likelihood does not fall.

    Returns:
        The new point and whether it stands still.
    """
    solution = model.solve(variances)
    arm = np.array([variances.translation] * 3 + [variances.rotation] * 3)
    # Posterior mean of each arm error given the step of the other unknowns.
    errors = arm * (np.swapaxes(A, 1, 2) @ solution.W @ solution.residual[:, :, None])[:, :, 0]
    de = errors - batch.log(point.state.E)

    def cost(candidate: _Point) -> float:
        misfit = candidate.evidence.misfit(camera_board(candidate.state, candidate.flanges, views.mount))
        penalty = float(model.prior @ candidate.theta**2) + float(np.sum(batch.log(candidate.state.E) ** 2 / arm))
        return float(misfit.sum()) / variances.sight + penalty

    # Ready-made poses have no misfit to compare steps by: the whole step is taken.
    before = cost(point) if point.evidence.residual_dof.any() else np.inf
    scale = 1.0
    sigma = np.sqrt(np.diag(batch.inverse(solution.information)))
    for _ in range(_MAX_HALVINGS):
        candidate = point.moved(views, scale * solution.theta, scale * de)
        # Rounding alone may raise the cost by a few units in the last place at the optimum.
        if not np.isfinite(before) or cost(candidate) <= before * (1.0 + 1e-9) + 1e-12:
            step = scale * np.abs(solution.theta)
            return candidate, bool((step < np.maximum(_STEP_SHARE * sigma, _STEP_TOLERANCE)).all())
        scale *= 0.5
    return point, True


def _check_information(solution: MixedSolution) -> None:
    """Refuse views from which the unknowns cannot be told apart.

    Raises:
        CalibrationError: The information matrix is singular.
    """
    spread = np.sqrt(np.diag(solution.information))
    if np.isfinite(spread).all() and (spread > 0).all():
        normalised = solution.information / np.outer(spread, spread)
        if np.linalg.cond(normalised) < _CONDITION_LIMIT:
            return
    raise CalibrationError(
        "The views do not determine where the camera is: some motion of camera and board together changes nothing.",
        "Add views that turn the flange about at least two axes, by 20 degrees and more.",
    )
