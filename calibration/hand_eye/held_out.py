"""Each view judged by all others: leave-one-out errors and chi-squares, without refitting.

Leaving view i out of a linear fit with information L and residual e_i moves the estimate by
-(L - D_i^T W_i D_i)^-1 D_i^T W_i e_i (Cook & Weisberg, 1982); the fit is linear at its optimum far
beyond such steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.board_pose import refine
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.checks import MIN_VIEWS
from calibration.hand_eye.evidence import Corners, Evidence
from calibration.hand_eye.joint_fit import JointFit
from calibration.hand_eye.terms import NO_TERMS, TermStack
from vision_ik.rig import Mount
from vision_ik.types import Floats

_CONDITION_LIMIT = 1e13


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """One number per view (N,); NaN where the other views predict nothing."""

    chi_square: Floats
    position: Floats
    """[m] Board centre, seen against predicted."""
    rotation: Floats
    """[rad] Board orientation, seen against predicted."""
    pixel_rms: Floats
    """[px] Corners against the lens, board pose free."""
    scatter: Floats
    """[px] Noise of a corner per axis, from this view alone."""


def judge(
    reached: JointFit,
    evidence: Evidence,
    Ts_base_flange: Floats,
    mount: Mount,
    candidates: Floats,
    used: NDArray[np.bool_],
    terms: TermStack = NO_TERMS,
) -> Verdicts:
    """Judge all views by the fit of the ``used`` ones, each used one by the rest of them.

    Args:
        reached: Fit of the used views.
        evidence: All N views.
        Ts_base_flange: (N, 4, 4) as reported.
        mount: Which chain.
        candidates: (N, 2, 4, 4) poses of the board that each view's corners allow; NaN where there is none.
        used: (N,) which views the fit holds.
        terms: The further unknowns of all N views.
    """
    X, Y, theta = reached.state.X, reached.state.Y, reached.theta
    still = ChainState(X, Y, np.eye(4)[None])
    flanges, given, evidence = terms.flanges(Ts_base_flange, theta), evidence, terms.evidence(evidence, theta)
    expected = camera_board(still, flanges, mount)
    seen = nearest(candidates, expected)
    posed = np.isfinite(seen).all(axis=(1, 2))
    seen[~posed] = expected[~posed]
    if isinstance(evidence, Corners) and evidence is not given:
        seen, _ = refine(evidence, seen)  # another lens or board: the corners prefer other poses
    D, A = derivatives(still, flanges, mount)
    linear = evidence.linearise(seen, terms.corner_derivatives(evidence, theta, seen))
    n, k = len(used), terms.count
    within, gradient = np.zeros((n, 12 + k, 12 + k)), np.zeros((n, 12 + k))
    if k:
        by_theta = A @ terms.flange_derivatives(Ts_base_flange, theta)
        if linear.further is not None:
            by_theta = by_theta + linear.further.by_theta
            within[:, 12:, 12:] = linear.further.information / reached.variances.sight
            gradient[:, 12:] = linear.further.gradient / reached.variances.sight
        D = np.concatenate([D, by_theta], axis=2)
    arm = np.array([reached.variances.translation] * 3 + [reached.variances.rotation] * 3)
    V = reached.variances.sight * linear.covariance + A * arm @ np.swapaxes(A, 1, 2)
    residual = batch.log(seen @ batch.inverses(expected))
    DtW = np.swapaxes(np.linalg.solve(V, D), 1, 2)
    information = np.where(used[:, None, None], DtW @ D + within, 0.0)
    pull = np.where(used[:, None], (DtW @ residual[:, :, None])[:, :, 0] + gradient, 0.0)
    uncertainty, told = _inverses(reached.solution.information - information)
    shift = -(uncertainty @ pull[:, :, None])[:, :, 0]
    told &= posed & ~(used & (used.sum() <= MIN_VIEWS))  # the rest are too few to predict it
    twist = (D @ shift[:, :, None])[:, :, 0]
    predicted = batch.exp(twist) @ expected
    error = batch.log(seen @ batch.inverses(predicted))
    weighed = np.linalg.solve(V + D @ uncertainty @ np.swapaxes(D, 1, 2), error[:, :, None])[:, :, 0]
    chi_square = np.sum(error * weighed, axis=1)
    centres = np.concatenate([evidence.centres, np.ones((n, 1))], axis=1)
    position = np.linalg.norm(((seen - predicted)[:, :3] @ centres[:, :, None])[:, :, 0], axis=1)
    rotation = np.linalg.norm(error[:, 3:], axis=1)
    misfit = np.where(posed, evidence.misfit(seen), np.nan)
    corners = 0.5 * (evidence.residual_dof + 6.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scatter = np.sqrt(misfit / evidence.residual_dof)
    for verdict in (chi_square, position, rotation):
        verdict[~told] = np.nan
    return Verdicts(chi_square, position, rotation, np.sqrt(misfit / corners), scatter)


def nearest(candidates: Floats, expected: Floats) -> Floats:
    """Return of (N, K, 4, 4) poses, NaN where missing, the (N, 4, 4) nearest in orientation to ``expected``."""
    apart = np.linalg.norm(candidates[:, :, :3, :3] - expected[:, None, :3, :3], axis=(2, 3))
    best = np.argmin(np.where(np.isfinite(apart), apart, np.inf), axis=1)
    return candidates[np.arange(len(candidates)), best]


def _inverses(information: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the inverses of (N, p, p) and which of them (N,) mean anything: some rests determine nothing."""
    spread = np.sqrt(np.maximum(np.einsum("npp->np", information), 0.0))
    told = (spread > 0).all(axis=1)
    spread[~told] = 1.0
    scale = spread[:, :, None] * spread[:, None, :]
    normalised = information / scale
    eye = np.eye(information.shape[1])
    normalised[~told] = eye
    eigenvalues = np.linalg.eigvalsh(normalised)
    told &= eigenvalues[:, 0] * _CONDITION_LIMIT > eigenvalues[:, -1]
    normalised[~told] = eye
    return batch.inverse(normalised) / scale, told


def middle(verdicts: Floats) -> float:
    """Return the median of what is told in (N,) verdicts; 0 where nothing is."""
    told = verdicts[np.isfinite(verdicts)]
    return float(np.median(told)) if len(told) else 0.0
