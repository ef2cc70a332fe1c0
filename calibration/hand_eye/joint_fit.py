"""Maximum likelihood for the whole chain, with noise on the corners and on the arm.

All corners of a view share one arm error, so it is an unknown of its own with a Gaussian prior
(a "random effect"). Eliminating it per view leaves twelve unknowns: exactly the marginal
likelihood to first order, relinearised through the real lens until nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import batch
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.evidence import Evidence, Linearised
from calibration.hand_eye.noise_levels import MixedModel, MixedSolution, Variances, estimate_variances
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.types import Floats

_MAX_ITERATIONS = 40
_MAX_HALVINGS = 8
_STEP_TOLERANCE = 1e-9
"""[m, rad] Largest entry of a step that counts as standing still; far below any noise."""
_LEVEL_TOLERANCE = 1e-4
"""Relative change of a noise level that counts as standing still."""
_CONDITION_LIMIT = 1e14
"""Information matrices worse than this have no meaningful inverse in double precision."""


@dataclass(frozen=True, slots=True, eq=False)
class JointFit:
    """Where the fit came to rest."""

    state: ChainState
    variances: Variances
    model: MixedModel
    """The views linearised at ``state``."""
    solution: MixedSolution
    misfit: Floats
    """(N,) sums of squares with arm errors taken out [px^2]."""

    @property
    def covariance(self) -> Floats:
        """(12, 12) of the perturbations of X and Y."""
        return batch.inverse(self.solution.information)


def fit(
    evidence: Evidence,
    Ts_base_flange: Floats,
    mount: Mount,
    *,
    X: Floats,
    Y: Floats,
    start: Variances,
    free: tuple[bool, bool, bool],
) -> JointFit:
    """Maximise the likelihood over mount, holder, arm errors and the ``free`` noise levels.

    Args:
        evidence: What the camera saw.
        Ts_base_flange: (N, 4, 4) as the arm reported.
        mount: Which of the two chains.
        X: (4, 4) start for T_mount_camera.
        Y: (4, 4) start for T_holder_board.
        start: Noise levels; the ones not ``free`` are kept.
        free: Which of pixel, arm translation and arm rotation to estimate.

    Raises:
        CalibrationError: The views do not determine the twelve unknowns.
    """
    state = ChainState(X, Y, np.tile(np.eye(4), (len(Ts_base_flange), 1, 1)))
    variances = start
    for _ in range(_MAX_ITERATIONS):
        model, _ = _linearise(evidence, state, Ts_base_flange, mount)
        _check_information(model.solve(variances))
        updated = estimate_variances(model, variances, free)
        settled = np.allclose(updated.as_array(), variances.as_array(), rtol=_LEVEL_TOLERANCE, atol=0.0)
        variances = updated
        state, step = _advance(evidence, state, Ts_base_flange, mount, model, variances)
        if settled and step < _STEP_TOLERANCE:
            break
    model, seen = _linearise(evidence, state, Ts_base_flange, mount)
    return JointFit(state, variances, model, model.solve(variances), seen.misfit)


def _linearise(
    evidence: Evidence, state: ChainState, Ts_base_flange: Floats, mount: Mount
) -> tuple[MixedModel, Linearised]:
    """Return the mixed model around ``state``, with the arm errors as noise."""
    seen = evidence.linearise(camera_board(state, Ts_base_flange, mount))
    D, A = derivatives(state, Ts_base_flange, mount)
    observed = seen.twist + np.einsum("nab,nb->na", A, batch.log(state.E))
    At, Ar = A[:, :, :3], A[:, :, 3:]
    parts = np.stack([seen.covariance, At @ np.swapaxes(At, 1, 2), Ar @ np.swapaxes(Ar, 1, 2)])
    return MixedModel(observed, D, parts, seen.misfit_free, evidence.residual_dof), seen


def _advance(
    evidence: Evidence,
    state: ChainState,
    Ts_base_flange: Floats,
    mount: Mount,
    model: MixedModel,
    variances: Variances,
) -> tuple[ChainState, float]:
    """Take the Gauss-Newton step, halved until the likelihood does not fall.

    Returns:
        The new state and the largest entry of the step taken.
    """
    solution = model.solve(variances)
    _, A = derivatives(state, Ts_base_flange, mount)
    arm = np.array([variances.translation] * 3 + [variances.rotation] * 3)
    # Posterior mean of each arm error given the step of the twelve unknowns.
    errors = arm * np.einsum("nba,nbc,nc->na", A, solution.W, solution.residual)
    de = errors - batch.log(state.E)

    def cost(candidate: ChainState) -> float:
        misfit = evidence.misfit(camera_board(candidate, Ts_base_flange, mount))
        return float(misfit.sum() / variances.pixel + np.sum(batch.log(candidate.E) ** 2 / arm))

    before = cost(state)
    scale = 1.0
    for _ in range(_MAX_HALVINGS):
        candidate = state.moved(scale * solution.theta[:6], scale * solution.theta[6:], scale * de)
        # Rounding alone may raise the cost by a few units in the last place at the optimum.
        if not np.isfinite(before) or cost(candidate) <= before * (1.0 + 1e-9) + 1e-12:
            return candidate, scale * float(max(np.abs(solution.theta).max(), np.abs(de).max()))
        scale *= 0.5
    return state, 0.0


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
