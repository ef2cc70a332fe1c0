"""The algebra of a Kalman filter over a moving pose, compiled.

State of a target: position p, velocity v and acceleration a in the base frame, rotation R, body
rate w and its change alpha. The error is ``(dp, dtheta, dv, dw, da, dalpha)`` (18,) with
``R_true = R exp(dtheta)``: translation and rotation move independently, so a tag that turns while
it goes straight is predicted straight (a constant body twist would send it around a screw).

Arrays: ``x`` (15,) is (p, v, w, a, alpha), ``R`` (3, 3), ``P`` (18, 18) the covariance of the error.

Error-state form: Sola, "Quaternion kinematics for the error-state Kalman filter", 2017, chapter 6;
process noise: Bar-Shalom, Li, Kirubarajan, "Estimation with applications to tracking and
navigation", 2001, eqs. (6.2.2-12), (6.2.3-9); decaying acceleration: Singer, "Estimating optimal
tracking filter performance for manned maneuvering targets", IEEE Trans. AES 6 (4), 1970.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from vision_ik.tags.projection import project_point
from vision_ik.types import Floats

N = 18
"""Length of the error."""
POSE, SPEED, SURGE = 0, 6, 12
"""Where pose, rates and accelerations begin in the error."""


@njit(cache=True, nogil=True, error_model="numpy")
def exp_so3(w: Floats, R: Floats) -> None:
    """Write the rotation of a rotation vector (3,) [rad] to ``R``."""
    angle2 = w[0] * w[0] + w[1] * w[1] + w[2] * w[2]
    angle = np.sqrt(angle2)
    if angle < 1e-4:
        a, b = 1.0 - angle2 / 6.0, 0.5 - angle2 / 24.0
    else:
        a, b = np.sin(angle) / angle, (1.0 - np.cos(angle)) / angle2
    for i in range(3):
        for j in range(3):
            R[i, j] = b * w[i] * w[j]
        R[i, i] += 1.0 - b * angle2
    R[0, 1] -= a * w[2]
    R[0, 2] += a * w[1]
    R[1, 0] += a * w[2]
    R[1, 2] -= a * w[0]
    R[2, 0] -= a * w[1]
    R[2, 1] += a * w[0]


@njit(cache=True, nogil=True, error_model="numpy")
def turn_between(A: Floats, B: Floats, w: Floats) -> None:
    """Write the rotation vector (3,) [rad] of ``A.T @ B`` to ``w``."""
    M = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            M[i, j] = A[0, i] * B[0, j] + A[1, i] * B[1, j] + A[2, i] * B[2, j]
    trace = M[0, 0] + M[1, 1] + M[2, 2]
    q = np.empty(4)
    if trace >= max(M[0, 0], M[1, 1], M[2, 2]):
        q[0], q[1], q[2], q[3] = M[2, 1] - M[1, 2], M[0, 2] - M[2, 0], M[1, 0] - M[0, 1], 1.0 + trace
    else:
        i = 0
        if M[1, 1] > M[0, 0]:
            i = 1
        if M[2, 2] > M[i, i]:
            i = 2
        j, k = (i + 1) % 3, (i + 2) % 3
        q[i] = 1.0 + 2.0 * M[i, i] - trace
        q[j] = M[j, i] + M[i, j]
        q[k] = M[k, i] + M[i, k]
        q[3] = M[k, j] - M[j, k]
    sign = -1.0 if q[3] < 0.0 else 1.0
    norm = np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2])
    scale = 0.0 if norm < 1e-300 else sign * 2.0 * np.arctan2(norm, sign * q[3]) / norm
    for i in range(3):
        w[i] = scale * q[i]


@njit(cache=True, nogil=True, error_model="numpy")
def shift(x: Floats, R: Floats, error: Floats) -> None:
    """Move a state by an error (18,), in place."""
    turn, old = np.empty((3, 3)), R.copy()
    exp_so3(error[3:6], turn)
    for i in range(3):
        for j in range(3):
            R[i, j] = old[i, 0] * turn[0, j] + old[i, 1] * turn[1, j] + old[i, 2] * turn[2, j]
        x[i] += error[i]
    for i in range(12):
        x[3 + i] += error[6 + i]


@njit(cache=True, nogil=True, error_model="numpy")
def offset(x0: Floats, R0: Floats, x: Floats, R: Floats, error: Floats) -> None:
    """Write the error (18,) by which the state (x, R) lies off (x0, R0)."""
    turn_between(R0, R, error[3:6])
    for i in range(3):
        error[i] = x[i] - x0[i]
    for i in range(12):
        error[6 + i] = x[3 + i] - x0[3 + i]


@njit(cache=True, nogil=True, error_model="numpy")
def advance(x: Floats, R: Floats, P: Floats, dt: float, decay_s: float) -> None:
    """Move a state and its covariance on by ``dt`` [s], without process noise; accelerations decay over ``decay_s``."""
    s = dt / decay_s
    e = np.exp(-s)
    c1 = -np.expm1(-s) * decay_s
    c2 = 0.5 * dt * dt * (1.0 - s / 3.0) if s < 1e-4 else (s + np.expm1(-s)) * decay_s * decay_s
    turn, phi, old = np.empty((3, 3)), np.empty(3), R.copy()
    for i in range(3):
        phi[i] = dt * x[6 + i] + c2 * x[12 + i]
        x[i] += dt * x[3 + i] + c2 * x[9 + i]
    for i in range(6):
        x[3 + i] += c1 * x[9 + i]
        x[9 + i] *= e
    exp_so3(phi, turn)
    for i in range(3):
        for j in range(3):
            R[i, j] = old[i, 0] * turn[0, j] + old[i, 1] * turn[1, j] + old[i, 2] * turn[2, j]
    row = np.empty(3)
    for side in range(2):  # P = F P F': rows, then columns
        for j in range(N):
            for i in range(3):
                if side == 0:
                    row[i] = turn[0, i] * P[3, j] + turn[1, i] * P[4, j] + turn[2, i] * P[5, j]
                else:
                    row[i] = turn[0, i] * P[j, 3] + turn[1, i] * P[j, 4] + turn[2, i] * P[j, 5]
            for i in range(6):
                if side == 0:
                    pose = row[i - 3] if i >= 3 else P[i, j]
                    P[i, j] = pose + dt * P[6 + i, j] + c2 * P[12 + i, j]
                    P[6 + i, j] += c1 * P[12 + i, j]
                    P[12 + i, j] *= e
                else:
                    pose = row[i - 3] if i >= 3 else P[j, i]
                    P[j, i] = pose + dt * P[j, 6 + i] + c2 * P[j, 12 + i]
                    P[j, 6 + i] += c1 * P[j, 12 + i]
                    P[j, 12 + i] *= e


@njit(cache=True, nogil=True, error_model="numpy")
def add_noise(P: Floats, dt: float, densities: Floats, weight: float) -> None:
    """Add the process noise of ``dt`` [s].

    Args:
        P: (18, 18), changed in place.
        dt: [s]
        densities: (3, 2) of the noise in the rates, in their change and in that of the accelerations, linear and
            angular: standing, constant velocity and constant acceleration have one each.
        weight: Factor on all.
    """
    for half in range(2):
        walk, push, jerk = weight * densities[0, half], weight * densities[1, half], weight * densities[2, half]
        for i in range(3 * half, 3 * half + 3):
            P[i, i] += walk * dt + push * dt**3 / 3.0 + jerk * dt**5 / 20.0
            P[6 + i, 6 + i] += push * dt + jerk * dt**3 / 3.0
            P[12 + i, 12 + i] += jerk * dt
            for a, b, value in (
                (i, 6 + i, push * dt**2 / 2.0 + jerk * dt**4 / 8.0),
                (i, 12 + i, jerk * dt**3 / 6.0),
                (6 + i, 12 + i, jerk * dt**2 / 2.0),
            ):
                P[a, b] += value
                P[b, a] += value


@njit(cache=True, nogil=True, error_model="numpy")
def solve(A: Floats, B: Floats) -> float:
    """Solve A X = B for X, written to B; return the log of |det A|. Gauss with pivots; A is used up."""
    n, m = A.shape[0], B.shape[1]
    log_det = 0.0
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(A[i, k]) > abs(A[best, k]):
                best = i
        if best != k:
            for j in range(n):
                A[k, j], A[best, j] = A[best, j], A[k, j]
            for j in range(m):
                B[k, j], B[best, j] = B[best, j], B[k, j]
        log_det += np.log(abs(A[k, k]))
        for i in range(k + 1, n):
            f = A[i, k] / A[k, k]
            for j in range(k + 1, n):
                A[i, j] -= f * A[k, j]
            for j in range(m):
                B[i, j] -= f * B[k, j]
    for k in range(n - 1, -1, -1):
        for j in range(m):
            value = B[k, j]
            for i in range(k + 1, n):
                value -= A[k, i] * B[i, j]
            B[k, j] = value / A[k, k]
    return log_det


@njit(cache=True, nogil=True, error_model="numpy")
def correct(
    x: Floats, R: Floats, P: Floats, at_p: Floats, at_R: Floats, information: Floats, slope: Floats, misfit: float
) -> tuple[float, float]:
    """Take in a measurement given as a quadratic form about a pose, in place.

    Near the pose (at_p, at_R) the measurement's squared residual over its noise is
    ``misfit - 2 slope @ e + e @ information @ e`` for a pose that lies off it by e (6,). With Pxx the
    covariance of the pose and M = I + information Pxx, the usual gain times the usual residual is
    ``P[:, :6] M^-1 slope``, the innovation's squared length ``misfit - slope @ Pxx M^-1 slope``
    and the determinant of its covariance, over that of the noise, det M.

    Returns:
        Squared Mahalanobis distance of the innovation, and log det M.
    """
    e, g = np.empty(18), np.empty(6)
    offset_pose(at_p, at_R, x, R, e)
    M, B = np.empty((6, 6)), np.empty((6, N + 1))
    distance = misfit
    for i in range(6):
        pull = 0.0
        for k in range(6):
            pull += information[i, k] * e[k]
        g[i] = slope[i] - pull
        distance += e[i] * (pull - 2.0 * slope[i])
    for i in range(6):
        for j in range(N):
            value = 0.0
            for k in range(6):
                value += information[i, k] * P[k, j]
            B[i, j] = value
            if j < 6:
                M[i, j] = value
        M[i, i] += 1.0
        B[i, N] = g[i]
    log_det = solve(M, B)
    step = np.empty(N)
    for i in range(N):
        value = 0.0
        for k in range(6):
            value += P[i, k] * B[k, N]
        step[i] = value
    for i in range(6):
        distance -= g[i] * step[i]
    cut = np.empty((N, N))
    for i in range(N):
        for j in range(N):
            value = 0.0
            for k in range(6):
                value += P[i, k] * B[k, j]
            cut[i, j] = value
    for i in range(N):
        for j in range(i + 1):
            value = 0.5 * (P[i, j] + P[j, i] - cut[i, j] - cut[j, i])
            P[i, j] = value
            P[j, i] = value
    shift(x, R, step)
    return distance, log_det


@njit(cache=True, nogil=True, error_model="numpy")
def offset_pose(p: Floats, R: Floats, x: Floats, Rx: Floats, error: Floats) -> None:
    """Write the first six errors by which the pose of a state lies off (p, R)."""
    turn_between(R, Rx, error[3:6])
    for i in range(3):
        error[i] = x[i] - p[i]


@njit(cache=True, nogil=True, error_model="numpy")
def linearise(
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
    """Return the squared residual of points in a picture, at a pose, and write its quadratic form.

    Args:
        p: (3,) position of the tag in the base frame [m].
        R: (3, 3) its rotation there.
        R_camera_base: (3, 3)
        t_camera_base: (3,) [m]
        points: (N, 3) in the tag's frame [m].
        pixels: (N, 2) [px] where they were seen.
        weight: (2N, 2N) inverse of the covariance of the pixels.
        lens: Packed.
        information: (6, 6) J' weight J is written here; J is by (dp, dtheta).
        slope: (6,) J' weight r is written here.

    Returns:
        r' weight r; not finite when a point lies where the lens does not see.
    """
    n = len(points)
    J, r = np.empty((2 * n, 6)), np.empty(2 * n)
    q, c = np.empty(3), np.empty(3)
    D, DR = np.empty((2, 3)), np.empty((2, 3))
    for k in range(n):
        for i in range(3):
            q[i] = p[i] + R[i, 0] * points[k, 0] + R[i, 1] * points[k, 1] + R[i, 2] * points[k, 2]
        for i in range(3):
            c[i] = t_camera_base[i]
            for j in range(3):
                c[i] += R_camera_base[i, j] * q[j]
        if c[2] <= 1e-9:
            return np.inf
        u, v, D[0, 0], D[0, 1], D[0, 2], D[1, 0], D[1, 1], D[1, 2] = project_point(lens, c[0], c[1], c[2])
        r[2 * k], r[2 * k + 1] = pixels[k, 0] - u, pixels[k, 1] - v
        x, y, z = points[k, 0], points[k, 1], points[k, 2]
        for a in range(2):
            for j in range(3):
                # by dp, which is along the base axes
                value = D[a, 0] * R_camera_base[0, j]
                J[2 * k + a, j] = value + D[a, 1] * R_camera_base[1, j] + D[a, 2] * R_camera_base[2, j]
            for j in range(3):
                DR[a, j] = J[2 * k + a, 0] * R[0, j] + J[2 * k + a, 1] * R[1, j] + J[2 * k + a, 2] * R[2, j]
            # by dtheta: -d skew(point), which is point x d
            J[2 * k + a, 3] = y * DR[a, 2] - z * DR[a, 1]
            J[2 * k + a, 4] = z * DR[a, 0] - x * DR[a, 2]
            J[2 * k + a, 5] = x * DR[a, 1] - y * DR[a, 0]
    misfit = 0.0
    information[:] = 0.0
    slope[:] = 0.0
    row = np.empty(6)
    for k in range(2 * n):
        pull = 0.0
        row[:] = 0.0
        for m in range(2 * n):
            pull += weight[k, m] * r[m]
            for j in range(6):
                row[j] += weight[k, m] * J[m, j]
        misfit += r[k] * pull
        for i in range(6):
            slope[i] += J[k, i] * pull
            for j in range(6):
                information[i, j] += J[k, i] * row[j]
    return misfit
