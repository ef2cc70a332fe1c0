"""The algebra of a bank of pose filters, compiled: mixing them, moving them on, and weighing them.

Arrays as in :mod:`vision_ik.tags.tracking.pose_filter`, with one row a motion model.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vision_ik.tags.tracking.pose_filter import (
    POSE,
    SURGE,
    N,
    add_noise,
    advance,
    correct,
    linearise,
    offset,
    offset_pose,
    shift,
    solve,
)
from vision_ik.types import Floats

_LEAST_WEIGHT = 1e-6
"""A model that was all but excluded must be able to come back at once."""
_STEPS = 3
"""Gauss-Newton steps to the likeliest pose, about which a measurement is taken in."""


@njit(cache=True, nogil=True, error_model="numpy")
def mix(x: Floats, R: Floats, P: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean and covariance of a mixture, in the tangent of its likeliest part."""
    n = len(weights)
    base = int(np.argmax(weights))
    errors, mean, spread = np.empty((n, N)), np.zeros(N), np.empty(N)
    for k in range(n):
        offset(x[base], R[base], x[k], R[k], errors[k])
        for i in range(N):
            mean[i] += weights[k] * errors[k, i]
    xm, Rm, Pm = x[base].copy(), R[base].copy(), np.zeros((N, N))
    for k in range(n):
        for i in range(N):
            spread[i] = errors[k, i] - mean[i]
        for i in range(N):
            for j in range(N):
                Pm[i, j] += weights[k] * (P[k, i, j] + spread[i] * spread[j])
    shift(xm, Rm, mean)
    return xm, Rm, Pm


@njit(cache=True, nogil=True, error_model="numpy")
def predict_all(
    x: Floats,
    R: Floats,
    P: Floats,
    weights: Floats,
    freedom: Floats,
    densities: Floats,
    spread: Floats,
    leave: float,
    dt: float,
    decay_s: float,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Mix the filters as they change models, and move each on."""
    n = len(weights)
    xs, Rs, Ps, arriving = x.copy(), R.copy(), np.zeros_like(P), np.zeros(n)
    share, errors, mean, off = np.empty(n), np.empty((n, N)), np.empty(N), np.empty(N)
    for j in range(n):
        for i in range(n):
            stay = 1.0 - leave if i == j else leave / max(n - 1, 1)
            share[i] = weights[i] * stay
            arriving[j] += share[i]
        used = POSE + 6 * (freedom[j] + 1)  # the rest is known to be zero
        mean[:] = 0.0
        for i in range(n):
            share[i] /= arriving[j]
            offset(x[j], R[j], x[i], R[i], errors[i])
            for a in range(used):
                mean[a] += share[i] * errors[i, a]
        for i in range(n):
            for a in range(used):
                off[a] = errors[i, a] - mean[a]
            for a in range(used):
                for b in range(used):
                    Ps[j, a, b] += share[i] * (P[i, a, b] + off[a] * off[b])
            if freedom[i] < 2 and freedom[j] == 2:  # gains accelerations, with their spread
                for a in range(SURGE, N):
                    Ps[j, a, a] += share[i] * spread[j, 1, (a - SURGE) // 3]
        mean[used:] = 0.0
        shift(xs[j], Rs[j], mean)
        advance(xs[j], Rs[j], Ps[j], dt, decay_s)
        add_noise(Ps[j], dt, densities[j], 1.0)
    return xs, Rs, Ps, arriving


@njit(cache=True, nogil=True, error_model="numpy")
def most_likely(
    x: Floats,
    Rx: Floats,
    P: Floats,
    p: Floats,
    R: Floats,
    R_camera_base: Floats,
    t_camera_base: Floats,
    points: Floats,
    pixels: Floats,
    weight: Floats,
    lens: Floats,
    information: Floats,
    slope: Floats,
) -> float:
    """Move (p, R) to the likeliest pose under prediction and picture; write the picture's quadratic form there."""
    e, M, step = np.empty(6), np.empty((6, 6)), np.empty((6, 1))
    move = np.zeros(N)
    state = np.zeros(15)
    for _ in range(_STEPS):
        misfit = linearise(p, R, R_camera_base, t_camera_base, points, pixels, weight, lens, information, slope)
        if not np.isfinite(misfit):
            return misfit
        # (I + Pxx information) step = Pxx slope - e, where e leads from the prediction to the pose
        offset_pose(x[:3], Rx, p, R, e)
        for i in range(6):
            value = -e[i]
            for a in range(6):
                value += P[i, a] * slope[a]
                M[i, a] = 0.0
                for b in range(6):
                    M[i, a] += P[i, b] * information[b, a]
            M[i, i] += 1.0
            step[i, 0] = value
        solve(M, step)
        for i in range(6):
            move[i] = step[i, 0]
        state[:3] = p
        shift(state, R, move)
        p[:] = state[:3]
    return linearise(p, R, R_camera_base, t_camera_base, points, pixels, weight, lens, information, slope)


@njit(cache=True, nogil=True, error_model="numpy")
def correct_all(
    x: Floats,
    R: Floats,
    P: Floats,
    weights: Floats,
    p: Floats,
    Rp: Floats,
    information: Floats,
    slope: Floats,
    misfit: float,
) -> tuple[float, float]:
    """Take a measurement into every filter and weigh them, in place; return least distance and log-likelihood."""
    n = len(weights)
    logs = np.empty(n)
    nearest = np.inf
    for k in range(n):
        distance, log_det = correct(x[k], R[k], P[k], p, Rp, information, slope, misfit)
        logs[k] = np.log(weights[k]) - 0.5 * (distance + log_det)
        nearest = min(nearest, distance)
    top = logs.max()
    total = 0.0
    for k in range(n):
        weights[k] = np.exp(logs[k] - top)
        total += weights[k]
    kept = 0.0
    for k in range(n):
        weights[k] = max(weights[k] / total, _LEAST_WEIGHT)
        kept += weights[k]
    for k in range(n):
        weights[k] /= kept
    return nearest, top + np.log(total)
