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
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.checks import MIN_VIEWS
from calibration.hand_eye.evidence import Evidence
from calibration.hand_eye.joint_fit import JointFit
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
    candidates: list[Floats],
    used: NDArray[np.bool_],
) -> Verdicts:
    """Judge all views by the fit of the ``used`` ones, each used one by the rest of them.

    Args:
        reached: Fit of the used views.
        evidence: All N views.
        Ts_base_flange: (N, 4, 4) as reported.
        mount: Which chain.
        candidates: Per view, the (K, 4, 4) poses of the board its corners allow.
        used: (N,) which views the fit holds.
    """
    n = len(used)
    X, Y = reached.state.X, reached.state.Y
    still = ChainState(X, Y, np.tile(np.eye(4), (n, 1, 1)))
    expected = camera_board(still, Ts_base_flange, mount)
    seen = np.stack([_nearest(poses, T) for poses, T in zip(candidates, expected, strict=True)])
    D, A = derivatives(still, Ts_base_flange, mount)
    arm = np.array([reached.variances.translation] * 3 + [reached.variances.rotation] * 3)
    V = reached.variances.pixel * evidence.linearise(seen).covariance + A * arm @ np.swapaxes(A, 1, 2)
    residual = batch.log(seen @ batch.inverses(expected))
    chi_square, position, rotation = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    for i in range(n):
        if used[i] and used.sum() <= MIN_VIEWS:
            continue  # the rest are too few to predict it
        rest = _without(reached.solution.information, D[i], V[i], residual[i], bool(used[i]))
        if rest is None or not np.isfinite(residual[i]).all():
            continue
        shift, uncertainty = rest
        predicted = camera_board(
            ChainState(X, Y, np.eye(4)[None]).moved(shift[:6], shift[6:], np.zeros((1, 6))),
            Ts_base_flange[i : i + 1],
            mount,
        )
        error = batch.log(seen[i : i + 1] @ batch.inverses(predicted))[0]
        chi_square[i] = error @ np.linalg.solve(V[i] + D[i] @ uncertainty @ D[i].T, error)
        centre = np.append(evidence.centres[i], 1.0)
        position[i] = np.linalg.norm((seen[i] - predicted[0])[:3] @ centre)
        rotation[i] = np.linalg.norm(error[3:])
    misfit = evidence.misfit(seen)
    corners = 0.5 * (evidence.residual_dof + 6.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scatter = np.sqrt(misfit / evidence.residual_dof)
    return Verdicts(chi_square, position, rotation, np.sqrt(misfit / corners), scatter)


def _nearest(poses: Floats, expected: Floats) -> Floats:
    """Return the one of (K, 4, 4) poses nearest in orientation to (4, 4); NaN when there is none."""
    if len(poses) == 0:
        return np.full((4, 4), np.nan)
    return poses[np.argmin(np.linalg.norm(poses[:, :3, :3] - expected[:3, :3], axis=(1, 2)))]


def _without(information: Floats, D: Floats, V: Floats, residual: Floats, used: bool) -> tuple[Floats, Floats] | None:
    """Return shift (12,) and covariance (12, 12) of the fit without one view; None when it is singular then."""
    if not used:
        return np.zeros(12), batch.inverse(information)
    DtW = np.linalg.solve(V, D).T
    rest = information - DtW @ D
    spread = np.sqrt(np.maximum(np.diag(rest), 0.0))
    if not (spread > 0).all() or np.linalg.cond(rest / np.outer(spread, spread)) > _CONDITION_LIMIT:
        return None
    covariance = batch.inverse(rest)
    return -covariance @ DtW @ residual, covariance
