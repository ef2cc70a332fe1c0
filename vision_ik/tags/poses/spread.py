"""Covariance of a plane's pose where chi-square is no paraboloid: far away, and seen nearly from the front.

There the picture hardly changes while the plane tilts, and then by the square of the tilt: the Jacobian at the
minimum tells too much or too little. So the likelihood itself is integrated, over tilts on rays around the minimum;
for each tilt the other four directions go to their own minimum and add their own spread (Laplace's method). What
comes out is the second moment of the error about the minimum, for a plane that may be turned any way, within the
basin of the minimum: up to the ridge behind which the mirrored solution lies.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numba import njit

from vision_ik.tags.poses.algebra import invert_positive, move
from vision_ik.tags.poses.kernels import linearise
from vision_ik.types import Floats

_compiled = njit(cache=True, nogil=True, error_model="numpy")

_RAYS = 8
_STEP = 0.65
"""[sigma] Wanted distance of the points along a ray, by the root of the rise of chi-square."""
_FAR = 3.4
"""[sigma] Rise at which a ray ends."""
_MAX_POINTS = 40
_MAX_TILT = 1.2
"""[rad]"""
_CURVED = 0.15
"""Share by which the rise at the probes may differ from that of a paraboloid which is taken for one."""
_PROBE = 2.0
"""[sigma] Distance of the probes."""
_SETTLED = 0.05
"""Decrease of chi-square below which a profile is at its minimum: the step taken last makes up for it."""
Room: TypeAlias = tuple[Floats, Floats, Floats, Floats, Floats, Floats, Floats, Floats]


@_compiled
def widen(
    points: Floats,
    image: Floats,
    lens: Floats,
    W: Floats,
    T: Floats,
    cost: float,
    variance: float,
    covariance: Floats,
) -> bool:
    """Replace ``covariance`` where chi-square is curved; return whether it was.

    Args:
        points: (N, 3) [m] in a plane z = const.
        image: (N, 2) [px].
        lens: Packed lens.
        W: See :func:`vision_ik.tags.poses.kernels.linearise`.
        T: (4, 4) Minimum.
        cost: Chi-square there.
        variance: Factor on the stated variance of the points.
        covariance: (6, 6) What the Jacobian at the minimum says, and the result.
    """
    a, b, c = covariance[3, 3], covariance[3, 4], covariance[4, 4]
    # Axes of the ellipse of tilts, one sigma long: eigenvectors of a symmetric matrix.
    middle, half = 0.5 * (a + c), math.sqrt(0.25 * (a - c) ** 2 + b * b)
    angle = 0.5 * math.atan2(2.0 * b, a - c)
    long, short = math.sqrt(middle + half), math.sqrt(max(middle - half, 1e-4 * middle))
    curved = not long < 0.5
    xi, follow, spread, room = np.zeros(6), np.empty((4, 2)), np.empty((4, 4)), _room(len(points))
    k = 0
    while k < 4 and not curved:
        across = 0.5 * math.pi * k
        x, y = _PROBE * long * math.cos(across), _PROBE * short * math.sin(across)
        for i in range(6):
            xi[i] = 0.0
        for i in range(3):
            # Where the paraboloid has the other directions for this tilt: covariance with it over its own.
            xi[i] = _along_with(covariance, i, x, y, angle)
        xi[5] = _along_with(covariance, 5, x, y, angle)
        xi[3], xi[4] = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
        rise, _ = _profile(points, image, lens, W, T, xi, follow, spread, room)
        curved = not abs((rise - cost) / (variance * _PROBE**2) - 1.0) < _CURVED
        k += 1
    if not curved:
        return False
    total, moments = 0.0, np.zeros((6, 6))
    for k in range(_RAYS):
        phi = 2.0 * math.pi * (k + 0.5) / _RAYS
        x, y = long * math.cos(phi), short * math.sin(phi)
        tx, ty = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
        total += _along(points, image, lens, W, T, cost, variance, tx, ty, moments, room)
    if not total > 0.0:
        return False
    for i in range(6):
        for j in range(6):
            covariance[i, j] = moments[i, j] / total
    return True


@_compiled
def _along_with(covariance: Floats, i: int, x: float, y: float, angle: float) -> float:
    """Return by how much direction ``i`` follows a tilt that is (x, y) along the axes of the ellipse of tilts."""
    c, s = math.cos(angle), math.sin(angle)
    along_x = (c * covariance[i, 3] + s * covariance[i, 4]) * x
    along_y = (c * covariance[i, 4] - s * covariance[i, 3]) * y
    xx = c * c * covariance[3, 3] + 2.0 * c * s * covariance[3, 4] + s * s * covariance[4, 4]
    yy = s * s * covariance[3, 3] - 2.0 * c * s * covariance[3, 4] + c * c * covariance[4, 4]
    return along_x / xx + along_y / yy


@_compiled
def _along(
    points: Floats,
    image: Floats,
    lens: Floats,
    W: Floats,
    T: Floats,
    cost: float,
    variance: float,
    tx: float,
    ty: float,
    moments: Floats,
    room: Room,
) -> float:
    """Add the moments of the ray towards the tilt (tx, ty) to ``moments`` (6, 6); return its mass.

    Steps are long where chi-square rises slowly. The ray ends where it has risen enough, or falls again.
    """
    xi, follow, spread = np.zeros(6), np.empty((4, 2)), np.empty((4, 4))
    _, level = _profile(points, image, lens, W, T, xi, follow, spread, room)
    size = math.sqrt(tx * tx + ty * ty)
    ux, uy = tx / size, ty / size
    h = min(_STEP * size, 0.2)
    at, height, total, weight_before = 0.0, 0.0, 0.0, 0.0
    M, M_before = np.zeros((6, 6)), np.zeros((6, 6))
    start = np.zeros(6)
    for _ in range(_MAX_POINTS):
        for i in range(6):
            start[i] = xi[i]
        for k in range(4):
            i = k if k < 3 else 5
            xi[i] += (follow[k, 0] * ux + follow[k, 1] * uy) * h
        xi[3], xi[4] = (at + h) * ux, (at + h) * uy
        rise, log_det = _profile(points, image, lens, W, T, xi, follow, spread, room)
        rise = max((rise - cost) / variance, 0.0)
        new_height = math.sqrt(rise)
        if new_height - height > 2.0 * _STEP and h > 1e-6:  # too far at once: go back
            for i in range(6):
                xi[i] = start[i]
            _profile(points, image, lens, W, T, xi, follow, spread, room)
            h *= 0.5
            continue
        if not new_height >= height - 1e-9:  # over the ridge
            break
        at += h
        # Area element of tilts; the volume of rotations shrinks by (sin(x/2) / (x/2))^2.
        half = 0.5 * at
        weight = at * (math.sin(half) / half) ** 2 * math.exp(-0.5 * rise - (log_det - level))
        share = 0.5 * h
        total += share * (weight_before + weight)
        for i in range(6):
            for j in range(6):
                M[i, j] = xi[i] * xi[j]
        for k in range(4):
            i = k if k < 3 else 5
            for m in range(4):
                j = m if m < 3 else 5
                M[i, j] += variance * spread[k, m]
        for i in range(6):
            for j in range(6):
                moments[i, j] += share * (weight_before * M_before[i, j] + weight * M[i, j])
                M_before[i, j] = M[i, j]
        weight_before = weight
        if new_height > _FAR or at > _MAX_TILT:
            break
        h *= min(max(_STEP / max(new_height - height, 1e-3), 0.5), 2.0)
        height = new_height
    return total


@_compiled
def _profile(
    points: Floats,
    image: Floats,
    lens: Floats,
    W: Floats,
    T: Floats,
    xi: Floats,
    follow: Floats,
    spread: Floats,
    room: Room,
) -> tuple[float, float]:
    """Move the four directions of ``xi`` that are no tilt to their minimum of chi-square at ``T exp(xi)``.

    Args:
        points: See :func:`widen`, as for the next four.
        image: .
        lens: .
        W: .
        T: .
        xi: (6,) Start and result.
        follow: (4, 2) Result: how they go on when the tilt does.
        spread: (4, 4) Result: their covariance at this tilt for the stated variance.
        room: See :func:`_room`.

    Returns:
        Chi-square, and half the logarithm of the determinant of the information of the four.
    """
    J, A, ad, H, moved, B, r, g = room
    cost, log_det = math.inf, 0.0
    for _ in range(3):
        move(T, xi, moved)
        cost = linearise(points, image, moved, lens, W, J, r, H, g)
        if not cost < math.inf:
            return math.inf, 0.0
        _in_coordinates(xi, H, g, J, A, ad)
        for k in range(4):
            for m in range(4):
                B[k, m] = H[k if k < 3 else 5, m if m < 3 else 5]
        if not invert_positive(B, spread):
            return math.inf, 0.0
        gain, log_det = 0.0, 0.0
        for k in range(4):
            log_det += math.log(B[k, k])
            step = follow[k, 0] = follow[k, 1] = 0.0
            for m in range(4):
                i = m if m < 3 else 5
                step -= spread[k, m] * g[i]
                follow[k, 0] -= spread[k, m] * H[i, 3]
                follow[k, 1] -= spread[k, m] * H[i, 4]
            i = k if k < 3 else 5
            xi[i] += step
            gain -= step * g[i]
        cost -= gain
        if gain < _SETTLED:
            break
    return cost, log_det


@_compiled
def _room(n: int) -> Room:
    """Return arrays for ``n`` points, so that none need be made again and again."""
    J, A, ad, H = np.empty((max(2 * n, 6), 6)), np.empty((6, 6)), np.zeros((6, 6)), np.empty((6, 6))
    return J, A, ad, H, np.empty((4, 4)), np.empty((4, 4)), np.empty(2 * n), np.empty(6)


@_compiled
def _in_coordinates(xi: Floats, H: Floats, g: Floats, J: Floats, A: Floats, ad: Floats) -> None:
    """Turn the normal equations at ``T exp(xi)`` from right perturbations there into changes of ``xi`` itself.

    exp(xi + d) = exp(xi) exp(J d) with the right Jacobian J = I - ad/2 + ad^2/6 - ... (Sola et al. 2018, eq. 179
    gives it in closed form; three terms are exact to 1e-3 at 0.3 rad, five at 1 rad). ``J``, ``A`` and ``ad``
    are room (6, 6), ``ad`` zero where it always is.
    """
    for i in range(6):
        for j in range(6):
            J[i, j] = 1.0 if i == j else 0.0
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        ad[j, i] = ad[3 + j, 3 + i] = xi[3 + k]
        ad[i, j] = ad[3 + i, 3 + j] = -xi[3 + k]
        ad[j, 3 + i] = xi[k]
        ad[i, 3 + j] = -xi[k]
    terms = 3 if xi[3] * xi[3] + xi[4] * xi[4] + xi[5] * xi[5] < 0.1 else 5
    for k in range(terms, 1, -1):
        _times(ad, J, A)
        for i in range(6):
            for j in range(6):
                J[i, j] = (1.0 if i == j else 0.0) - A[i, j] / k
    _times(H, J, A)
    for i in range(6):
        for j in range(6):
            H[i, j] = 0.0
            for k in range(6):
                H[i, j] += J[k, i] * A[k, j]
    for i in range(6):
        A[0, i] = g[i]
    for i in range(6):
        g[i] = 0.0
        for k in range(6):
            g[i] += J[k, i] * A[0, k]


@_compiled
def _times(A: Floats, B: Floats, C: Floats) -> None:
    for i in range(6):
        for j in range(6):
            s = 0.0
            for k in range(6):
                s += A[i, k] * B[k, j]
            C[i, j] = s
