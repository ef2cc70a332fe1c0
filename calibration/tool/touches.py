"""n touches of one point with the tip, as a linear model.

The flange is reported at A_i = (R_i, t_i), and really stands at A_i exp(eps_i). With the tip x in the
flange frame and the point p in the base frame, R_i x + t_i = p up to the noise, so that in flange axes

    -R_i^T t_i = x - R_i^T p + v_i + w_i x x,      eps_i = (v_i, w_i).

The noise of a touch has covariance vt I + vr (|x|^2 I - x x^T), the same for all: turning errors count
with the length of the tool as their lever, and not along it. What a person misses the point by adds to vt.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from calibration.hand_eye.values import ArmNoise
from calibration.tool.mixed import LevelPrior, LinearFit, LinearModel, fit_levels
from vision_ik.types import Floats

TIP, POINT = slice(0, 3), slice(3, 6)
"""Where x and p stand among the unknowns."""
USUAL = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.06)))
"""Between what industrial (0.05 mm, 0.01 deg) and hobby arms (2 mm, 0.4 deg) are off by."""
_PRIOR_LEVEL, _PRIOR_RATIO = 2.0 * np.log(5.0), 2.0 * np.log(3.0)
"""One standard deviation, in log variance: of both levels together a factor 5 in sigma, of one over the other 3."""
_SMALLEST = 1e-6
"""[m], [rad] Noise below which nothing is taken to be, so that exact touches stay solvable."""
_LEVER_ROUNDS = 4
"""The noise depends on where the tip is, the tip hardly on the noise."""
_SAME_LEVER = 1e-3
"""Share of the tool's length by which the lever may be off."""
_MOST_TRIPLES = 2000
_CONCENTRATIONS = 3


def design(Ts_base_flange: Floats) -> tuple[Floats, Floats]:
    """Return observations (N, 3) and derivatives (N, 3, 6) by tip and point, in flange axes."""
    Rt = np.swapaxes(Ts_base_flange[:, :3, :3], 1, 2)
    D = np.concatenate([np.broadcast_to(np.eye(3), Rt.shape), -Rt], axis=2)
    return -(Rt @ Ts_base_flange[:, :3, 3, None])[:, :, 0], D


def touch_noise(tip: Floats, noise: ArmNoise) -> Floats:
    """Return the (3, 3) covariance of one touch, in flange axes [m^2]."""
    return noise.translation**2 * np.eye(3) + noise.rotation**2 * _lever(tip)


def fit_touches(Ts_base_flange: Floats, tip: Floats, given: ArmNoise | None, start: ArmNoise = USUAL) -> LinearFit:
    """Return the likeliest tip and point for touches that belong together.

    Args:
        Ts_base_flange: (N, 4, 4).
        tip: (3,) to start from, for the lever [m].
        given: Noise of the arm; None estimates it.
        start: Noise to start the estimate from.
    """
    observed, D = design(Ts_base_flange)
    fit = fit_levels(_model(observed, D, tip, given is None), _logs(given or start))
    for _ in range(_LEVER_ROUNDS):
        moved, tip = fit.theta[TIP] - tip, fit.theta[TIP]
        if np.linalg.norm(moved) < _SAME_LEVER * np.linalg.norm(tip):
            break
        fit = fit_levels(_model(observed, D, tip, given is None), fit.log_levels)
    return fit


def noise_of(fit: LinearFit) -> ArmNoise:
    """Return the noise levels of a fit."""
    translation, rotation = np.sqrt(fit.levels).tolist()
    return ArmNoise(translation=translation, rotation=rotation)


def held_out(fit: LinearFit, index: int) -> tuple[Floats, Floats]:
    """Return by how much (3,) touch ``index`` misses where the others put it, and its covariance, in flange axes.

    Deleting one observation of a linear fit, at the levels of all (Cook & Weisberg, 1982).
    """
    rows = slice(3 * index, 3 * index + 3)
    S = np.linalg.inv(fit.W[rows, rows])
    D = fit.model.D[rows]
    inside = S - D @ fit.C @ D.T
    factor = S @ np.linalg.pinv(inside, hermitian=True)
    return factor @ fit.residual[rows], factor @ S


def predicted(fit: LinearFit, Ts_base_flange: Floats) -> tuple[Floats, Floats]:
    """Return by how much (3,) a touch outside the fit misses, and its covariance, in flange axes."""
    observed, D = design(Ts_base_flange[None])
    S = touch_noise(fit.theta[TIP], noise_of(fit))
    return observed[0] - D[0] @ fit.theta, S + D[0] @ fit.C @ D[0].T


def consensus(Ts_base_flange: Floats, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_], float]:
    """Return the tip that most touches agree on, which those are, and how well they do.

    Least trimmed squares (Rousseeuw, 1984; Rousseeuw & Van Driessen, 2006): starts from triples of
    touches, then a few times the half that agrees best decides anew.

    Returns:
        The tip (3,) [m], the better half of the touches (N,), and their RMS disagreement per axis [m].
    """
    observed, D = design(Ts_base_flange)
    n = len(D)
    half = min(n, max(4, n // 2 + 1))
    triples = np.array(list(combinations(range(n), 3)) if n <= 24 else [])
    if len(triples) == 0:
        triples = np.stack([rng.permutation(n)[:3] for _ in range(_MOST_TRIPLES)])
    elif len(triples) > _MOST_TRIPLES:
        triples = rng.permutation(triples)[:_MOST_TRIPLES]
    theta = _least_squares(observed[triples], D[triples])
    for _ in range(_CONCENTRATIONS):
        chosen = np.argsort(_squares(observed, D, theta), axis=1)[:, :half]
        theta = _least_squares(observed[chosen], D[chosen])
    squares = _squares(observed, D, theta)
    chosen = np.argsort(squares, axis=1)[:, :half]
    cost = np.take_along_axis(squares, chosen, axis=1).sum(axis=1)
    best = int(np.argmin(cost))
    keep = np.zeros(n, dtype=np.bool_)
    keep[chosen[best]] = True
    dof = max(3 * half - 6, 1)
    return theta[best, TIP], keep, float(np.sqrt(cost[best] / dof))


def geometry(Ts_base_flange: Floats) -> tuple[Floats, Floats]:
    """Return how much (3,) surer than a touch the tip becomes along the columns (3, 3), in flange axes; worst first."""
    mean = Ts_base_flange[:, :3, :3].mean(axis=0)
    values, vectors = np.linalg.eigh(np.eye(3) - mean.T @ mean)
    return np.sqrt(len(Ts_base_flange) * np.maximum(values, 0.0)), vectors


def _least_squares(observed: Floats, D: Floats) -> Floats:
    """Return (T, 6) solutions of T small problems; those that are hardly determined stay near zero."""
    normal = np.einsum("tnap,tnaq->tpq", D, D) + 1e-9 * np.eye(6)
    right = np.einsum("tnap,tna->tp", D, observed)
    return np.linalg.solve(normal, right[:, :, None])[:, :, 0]


def _squares(observed: Floats, D: Floats, theta: Floats) -> Floats:
    """Return by how much all touches miss by each of (T, 6) solutions, squared (T, N) [m^2]."""
    return np.sum((observed - (D @ theta[:, None, :, None])[..., 0]) ** 2, axis=2)


def _model(observed: Floats, D: Floats, tip: Floats, estimate: bool) -> LinearModel:
    n = len(D)
    each = np.stack([np.eye(3), _lever(tip)])
    together, difference = np.array([0.5, 0.5]), np.array([1.0, -1.0])
    precision = np.outer(together, together) / _PRIOR_LEVEL**2 + np.outer(difference, difference) / _PRIOR_RATIO**2
    return LinearModel(
        observed=observed.ravel(),
        D=D.reshape(3 * n, 6),
        parts=np.stack([np.kron(np.eye(n), part) for part in each]),
        prior=LevelPrior(mean=_logs(USUAL), precision=precision),
        free=np.array([estimate, estimate]),
        known=np.zeros((6, 6)),
        known_pull=np.zeros(6),
        scatter=np.zeros((2, 2)),
    )


def _lever(tip: Floats) -> Floats:
    return float(tip @ tip) * np.eye(3) - np.outer(tip, tip)


def _logs(noise: ArmNoise) -> Floats:
    return 2.0 * np.log(np.maximum([noise.translation, noise.rotation], _SMALLEST))
