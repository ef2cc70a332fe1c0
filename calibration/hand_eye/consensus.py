"""Where a calibration starts: the mount that most views agree with, however bad the others are.

Locally optimised RANSAC (Chum, Matas & Kittler, 2003) over triples of views. Two of a view's own
facts need no guess of the mount: between two views camera and flange turn by the same angle, and
advance by the same length along the axis. Triples that keep to it, about axes far apart, are tried
first. A planar board may stand in either of two tilts: every view is free to choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.closed_form import both, from_rotation, nearest_rotation
from vision_ik.types import Floats

_FEW, _MOST_TRIPLES = 20, 1200
"""All triples of so few views; of more, a random choice of so many."""
_LIKELY, _RANDOM = 60, 40
"""Triples tried: the likeliest by turn and advance, and others, lest some trick makes bad ones look alike."""
_KEPT = (4, 1)
"""Best guesses that are refined on all views near them, and of those how many once more."""
_ARM = (1e-3, np.deg2rad(0.15))
"""[m], [rad] Noise of an arm, with that of a mount from three views: only its ratio to the corners' matters."""
_WIDTH = 3.0
"""Views within this multiple of the middle distance agree."""
_HALF_TURN = 2.8
"""[rad] Near 180 degrees the sign of an axis is decided by noise."""
_SLACK = np.deg2rad(0.3)
"""[rad] Difference of two angles below which nothing is said against a pair."""
_METRE = 1.0 / 0.3
"""[rad/m] What a difference of advance is worth."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The mount most views agree with."""

    X: Floats
    """(4, 4)"""
    Y: Floats
    """(4, 4)"""
    agree: NDArray[np.bool_]
    """(N,)"""


def find_start(A: Floats, candidates: Floats, spreads: Floats, centres: Floats, rng: np.random.Generator) -> Start:
    """Return where to start from.

    Args:
        A: (N, 4, 4) Ts_base_flange (eye to hand) or Ts_flange_base (eye in hand), N at least 3.
        candidates: (N, K, 4, 4) Ts_camera_board; NaN where there are fewer than K.
        spreads: (N, K, 6, 6) covariances of the candidates (left twists), zeros when exact.
        centres: (N, 3) of what each view sees, in the board's frame [m].
        rng: Chooses the triples.
    """
    views = _Views(A, candidates, *_weights(candidates, spreads, centres), centres)
    X, Y = _guesses(A, candidates, rng)
    for kept in _KEPT:
        distance, chosen = views.distances(X, Y)
        score = middle(distance)
        best = np.argsort(score, kind="stable")[:kept]
        pairs = [(X[i], Y[i]) for i in best]
        for i in best:
            near = distance[i] <= _WIDTH * score[i] + 1e-9
            if near.sum() >= 3:
                pairs += both(A[near], candidates[near, chosen[i, near]])
        X, Y = (np.stack(side) for side in zip(*pairs, strict=True))
    distance, _ = views.distances(X, Y)
    score = middle(distance)
    i = int(np.argmin(np.where(np.isfinite(score), score, np.inf)))
    agree = distance[i] <= _WIDTH * score[i] + 1e-9
    return Start(X[i], Y[i], agree)


def middle(distances: Floats) -> Floats:
    """Return the (n + 4) / 2-th smallest of (..., n): half the views beyond the three that fit by construction."""
    n = distances.shape[-1]
    rank = min(n, (n + 4) // 2) - 1
    return np.partition(distances, rank, axis=-1)[..., rank]


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    A: Floats
    candidates: Floats
    roots: Floats
    """(N, K, 6, 6) that make the differences of a candidate white."""
    known: NDArray[np.bool_]
    """(N, K)"""
    centres: Floats

    def distances(self, X: Floats, Y: Floats) -> tuple[Floats, NDArray[np.int_]]:
        """Return how far each view is from each of (H, 4, 4) guesses, (H, N), and which candidate is meant."""
        X_inverse = batch.inverses(X)
        expected = X_inverse[:, None] @ self.A @ Y[:, None]
        R = expected[:, :, None, :3, :3]
        turned = self.candidates[:, :, :3, :3] @ np.swapaxes(R, -1, -2)
        c = self.centres[:, None, :, None]
        seen = (self.candidates[:, :, :3, :3] @ c)[..., 0] + self.candidates[:, :, :3, 3]
        place = seen - (R @ c)[..., 0] - expected[:, :, None, :3, 3]
        sine = 0.5 * np.stack(
            [
                turned[..., 2, 1] - turned[..., 1, 2],
                turned[..., 0, 2] - turned[..., 2, 0],
                turned[..., 1, 0] - turned[..., 0, 1],
            ],
            axis=-1,
        )
        # Beyond 90 degrees the sine falls again; what is so far off just stays far.
        cosine = 0.5 * (turned[..., 0, 0] + turned[..., 1, 1] + turned[..., 2, 2] - 1.0)
        length = np.linalg.norm(sine, axis=-1, keepdims=True)
        sine = np.where(cosine[..., None] < 0.0, sine / np.maximum(length, 1e-6), sine)
        white = (self.roots @ np.concatenate([place, sine], axis=-1)[..., None])[..., 0]
        distance = np.where(self.known & np.isfinite(white).all(axis=-1), np.linalg.norm(white, axis=-1), np.inf)
        chosen = np.argmin(distance, axis=-1)
        return np.take_along_axis(distance, chosen[..., None], axis=-1)[..., 0], chosen


def _weights(candidates: Floats, spreads: Floats, centres: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return (N, K, 6, 6) roots of the weights of a candidate's place and turn, and which there are."""
    known = batch.posed(candidates)
    p = (candidates[:, :, :3, :3] @ centres[:, None, :, None])[..., 0] + candidates[:, :, :3, 3]
    # A left twist moves the centre of the board by v + w x p.
    to_centre = np.tile(np.eye(6), (*known.shape, 1, 1))
    to_centre[..., :3, 3:] = -batch.skews(np.where(known[..., None], p, 0.0))
    V = to_centre @ np.where(known[..., None, None], spreads, 0.0) @ np.swapaxes(to_centre, -1, -2)
    V = V + np.diag(np.repeat(np.square(_ARM), 3))
    return batch.inverse(np.asarray(np.linalg.cholesky(V), dtype=np.float64)), known


def _guesses(A: Floats, candidates: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return X and Y (H, 4, 4) from all views, and from triples."""
    n = len(A)
    M = candidates[:, 0]
    pairs = both(A, M)
    X, Y = (np.stack(side) for side in zip(*pairs, strict=True))
    if n == 3:
        return X, Y
    i, j = np.triu_indices(n, 1)
    place = np.zeros((n, n), dtype=np.int_)
    place[i, j] = np.arange(len(i))
    if n <= _FEW:
        triples = np.array(list(combinations(range(n), 3)))
    else:
        shuffled = rng.permuted(np.tile(np.arange(n), (_MOST_TRIPLES, 1)), axis=1)
        triples = np.sort(shuffled[:, :3], axis=1)
    sides = np.stack([place[triples[:, a], triples[:, b]] for a, b in ((0, 1), (0, 2), (1, 2))], axis=1)
    tilts = [M]
    if candidates.shape[1] > 1 and batch.posed(candidates[:, 1]).any():
        # A board that may stand in two tilts: in half of the tries each view takes one at random.
        second = batch.posed(candidates[:, 1]) & (rng.random(n) < 0.5)
        tilts.append(np.where(second[:, None, None], candidates[:, 1], M))
    for boards in tilts:
        wa, wm, mismatch = _motions(A, boards, i, j)
        strength = _strength(wa, sides)
        odds = strength / (_SLACK + mismatch[sides].max(axis=1))
        likely = np.argsort(-odds, kind="stable")[: _LIKELY // len(tilts)]
        others = rng.choice(len(triples), min(len(triples), _RANDOM // len(tilts)), replace=False)
        tried = np.unique(np.concatenate([likely, others]))
        Rx = nearest_rotation(np.swapaxes(wa[sides[tried]], 1, 2) @ wm[sides[tried]], proper=True)
        found = from_rotation(A[triples[tried]], boards[triples[tried]], Rx)
        X, Y = np.concatenate([X, found[0]]), np.concatenate([Y, found[1]])
    return X, Y


def _motions(A: Floats, M: Floats, i: NDArray[np.intp], j: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
    """Return the turns (P, 3) of arm and camera between views, and by how much they cannot be one motion (P,)."""
    relative = [T[i] @ batch.inverses(T)[j] for T in (A, M)]
    turns = [batch.rotation_vectors(T[:, :3, :3]) for T in relative]
    angles = [np.linalg.norm(w, axis=1) for w in turns]
    advances = [
        np.einsum("pa,pa->p", w, T[:, :3, 3]) / np.maximum(angle, 1e-3)
        for w, T, angle in zip(turns, relative, angles, strict=True)
    ]
    clear = (angles[0] < _HALF_TURN) & (angles[1] < _HALF_TURN)
    wa, wm = (w * clear[:, None] for w in turns)
    # About a small turn the axis is vague, and the advance with it.
    sure = np.minimum(angles[0], 0.5) / 0.5
    return wa, wm, np.abs(angles[0] - angles[1]) + sure * _METRE * np.abs(advances[0] - advances[1])


def _strength(turns: Floats, sides: NDArray[np.int_]) -> Floats:
    """Return how well each triple (T,) fixes a rotation: the largest area between two of its axes [rad^2]."""
    a, b, c = (turns[sides[:, k]] for k in range(3))
    crosses = np.stack([np.cross(a, b), np.cross(a, c), np.cross(b, c)])
    return np.linalg.norm(crosses, axis=-1).max(axis=0)
