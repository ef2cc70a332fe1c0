"""Closed-form starts for X M = A Y, and the consensus of the views about them.

M is T_camera_board, A is T_base_flange (eye to hand) or T_flange_base (eye in hand), X the mount
and Y the holder of the board. Several methods, because each has motions where another is better;
minimal sets of views, because one bad view spoils them all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from vision_ik.types import Floats

_TRIPLES = 80
"""Minimal sets tried: with 40 % bad views, the chance that none is clean is 1e-8."""
_TRANSLATION_UNIT = 2e-3
"""[m] What a view's translation error is compared with..."""
_ROTATION_UNIT = np.deg2rad(0.3)
"""[rad] ... and its rotation error: only their ratio matters (typical of arm and corner noise)."""
_DAMPING = 1e-12
_CONSENSUS_WIDTH = 3.0
"""Views within this multiple of the middle distance agree with a start."""


def kronecker(A: Floats, M: Floats) -> tuple[Floats, Floats]:
    """Solve X M = A Y by SVD of the stacked Kronecker products (Shah, 2013, eqs. 28-31).

    Args:
        A: (..., N, 4, 4).
        M: (..., N, 4, 4), N at least 3.

    Returns:
        X and Y, (..., 4, 4) each.
    """
    Ra, Rm = A[..., :3, :3], M[..., :3, :3]
    # R_x R_m = R_a R_y for all views: vec(R_x) ~ K vec(R_y) with K = sum R_m (x) R_a, row-major.
    K = np.einsum("...nij,...nkl->...ikjl", Ra, Rm).reshape(*A.shape[:-3], 9, 9)
    u, _, vt = np.linalg.svd(K)
    Rx = nearest_rotation(u[..., :, 0].reshape(*A.shape[:-3], 3, 3))
    Ry = nearest_rotation(vt[..., 0, :].reshape(*A.shape[:-3], 3, 3))
    tx, ty = _translations(A, M, Rx)
    return _compose(Rx, tx), _compose(Ry, ty)


def relative_motions(A: Floats, M: Floats) -> tuple[Floats, Floats]:
    """Solve X M = A Y through motions between views (Park & Martin, 1994, eq. 13).

    The rotation axes of A_i A_j^-1, turned by X, are those of M_i M_j^-1; the best rotation is
    found by SVD over all pairs.

    Args:
        A: (N, 4, 4).
        M: (N, 4, 4), N at least 3.
    """
    i, j = np.triu_indices(len(A), 1)
    Ra, Rm = A[:, :3, :3], M[:, :3, :3]
    wa = batch.rotation_vectors(Ra[i] @ np.swapaxes(Ra[j], 1, 2))
    wm = batch.rotation_vectors(Rm[i] @ np.swapaxes(Rm[j], 1, 2))
    # Near 180 degrees the sign of an axis is decided by noise.
    clear = (np.linalg.norm(wa, axis=1) < 2.8) & (np.linalg.norm(wm, axis=1) < 2.8)
    Rx = nearest_rotation(wa[clear].T @ wm[clear], proper=True)
    return from_rotation(A, M, Rx)


def from_rotation(A: Floats, M: Floats, Rx: Floats) -> tuple[Floats, Floats]:
    """Return X and Y (..., 4, 4) that solve X M = A Y best, given the rotation (..., 3, 3) of X."""
    Ra, Rm = A[..., :3, :3], M[..., :3, :3]
    Ry = nearest_rotation(np.sum(np.swapaxes(Ra, -1, -2) @ (Rx[..., None, :, :] @ Rm), axis=-3), proper=True)
    tx, ty = _translations(A, M, Rx)
    return _compose(Rx, tx), _compose(Ry, ty)


def discrepancies(A: Floats, M: Floats, X: Floats, Y: Floats) -> Floats:
    """Return how far each view (N,) is from X M = A Y, translation and rotation in common units."""
    seen, expected = X[..., None, :, :] @ M, A @ Y[..., None, :, :]
    translation = np.linalg.norm(seen[..., :3, 3] - expected[..., :3, 3], axis=-1)
    # |R1 - R2|_F = 2 sqrt(2) sin(angle / 2)
    chord = np.linalg.norm(seen[..., :3, :3] - expected[..., :3, :3], axis=(-2, -1)) / (2.0 * np.sqrt(2.0))
    angle = 2.0 * np.arcsin(np.minimum(chord, 1.0))
    return np.hypot(translation / _TRANSLATION_UNIT, angle / _ROTATION_UNIT)


def consensus(A: Floats, M: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the start most views agree with, and which views those are.

    Candidates: both methods on all views, and the Kronecker solution of random triples; the least
    middle discrepancy wins (Rousseeuw, 1984), and both methods run once more on the views near it.

    Args:
        A: (N, 4, 4).
        M: (N, 4, 4), N at least 3.
        rng: Chooses the triples.
    """
    n = len(A)
    candidates = [kronecker(A, M), relative_motions(A, M)]
    if n > 3:
        triples = np.stack([rng.choice(n, 3, replace=False) for _ in range(_TRIPLES)])
        Xs, Ys = kronecker(A[triples], M[triples])
        candidates += list(zip(Xs, Ys, strict=True))
    X, Y = _best(candidates, A, M)
    distance = discrepancies(A, M, X, Y)
    agree = distance <= _CONSENSUS_WIDTH * _middle(distance) + 1e-9
    if agree.sum() >= 3:
        X, Y = _best([(X, Y), *both(A[agree], M[agree])], A[agree], M[agree])
    return X, Y, agree


def both(A: Floats, M: Floats) -> list[tuple[Floats, Floats]]:
    """Return the solutions of both methods."""
    return [kronecker(A, M), relative_motions(A, M)]


def _best(candidates: list[tuple[Floats, Floats]], A: Floats, M: Floats) -> tuple[Floats, Floats]:
    Xs, Ys = (np.stack(side) for side in zip(*candidates, strict=True))
    scores = _middle(discrepancies(A, M, Xs, Ys))
    best = int(np.argmin(np.where(np.isfinite(scores), scores, np.inf)))
    return candidates[best]


def _middle(distances: Floats) -> Floats:
    """Return the (n + 4) / 2-th smallest of (..., n): half the views beyond the three that fit by construction."""
    n = distances.shape[-1]
    rank = min(n, (n + 4) // 2) - 1
    return np.partition(distances, rank, axis=-1)[..., rank]


def _translations(A: Floats, M: Floats, Rx: Floats) -> tuple[Floats, Floats]:
    """Return t_x and t_y of R_a t_y - t_x = R_x t_m - t_a by least squares (Shah, eq. 32)."""
    Ra = A[..., :3, :3]
    right = (Rx[..., None, :, :] @ M[..., :3, 3:])[..., 0] - A[..., :3, 3]
    # Normal equations, blocks of [-1 Ra]; the lengths are all about a metre.
    normal = np.zeros((*A.shape[:-3], 6, 6))
    sum_Ra = Ra.sum(axis=-3)
    normal[..., :3, :3] = normal[..., 3:, 3:] = A.shape[-3] * np.eye(3)
    normal[..., :3, 3:], normal[..., 3:, :3] = -sum_Ra, -np.swapaxes(sum_Ra, -1, -2)
    gradient = np.concatenate(
        [-right.sum(axis=-2), np.sum((np.swapaxes(Ra, -1, -2) @ right[..., None])[..., 0], axis=-2)], axis=-1
    )
    # Along a common axis of all turns nothing is told: a trace of damping keeps that length short.
    solution = np.asarray(np.linalg.solve(normal + _DAMPING * np.eye(6), gradient[..., None])[..., 0], dtype=np.float64)
    return solution[..., :3], solution[..., 3:]


def nearest_rotation(matrix: Floats, *, proper: bool = False) -> Floats:
    """Return the rotation nearest to a (..., 3, 3) matrix of unknown sign (known when ``proper``)."""
    if not proper:
        matrix = matrix * np.where(np.linalg.det(matrix) < 0, -1.0, 1.0)[..., None, None]
    u, _, vt = np.linalg.svd(matrix)
    u[..., :, 2] *= np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)[..., None]
    return u @ vt


def _compose(R: Floats, t: Floats) -> Floats:
    T = np.zeros((*R.shape[:-2], 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, t, 1.0
    return T
