"""Sub-pixel chess corners: two crossing blurred edges fitted to the pixels around a prediction.

Near a chess corner the picture is level + contrast g(d1) g(d2), with d1 and d2 the distances from
its two edges and g the error function that a Gaussian blur makes of a step. The fit (least squares
on the pixels themselves, Levenberg-Marquardt) finds the crossing, both directions, blur, level and
contrast; for white noise that is the maximum-likelihood estimate, and as any symmetric blur
leaves the crossing the centre of symmetry, the wrong blur does not move it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.types import Floats, Image

_compiled = njit(cache=True, nogil=True, error_model="numpy")

_RING = 32
"""Samples around a corner that tell the directions of its edges."""
_FORSTNER_STEPS = 4
_STEPS = 8
_SETTLED = 1e-3
"""[px] A crossing that moves less has arrived."""
_LEAST_CONTRAST = 3.0
"""[grey levels] Half the step between the squares."""
_MISFIT = 0.35
"""Residual (rms) over contrast beyond which the pixels show no chess corner."""
_FAINT = 0.2
"""Share of the typical contrast of all corners below which one is something else."""
_COMPARED = 3
"""Corners whose contrast makes a typical one."""
_LEAST_NOISE = 0.08
"""[grey levels^2] Rounding to whole levels."""
_ALIKE = 0.2
"""Correlation of neighbouring residuals that is not taken for more than chance."""
_FLOOR = 0.003
"""[px] Standard deviation of what the pixels' scatter does not show."""

_SHARP_FLOOR, _SHARP = 0.015, 0.3
"""[px] The same in pictures without blur, and the blur up to which that matters."""


class RefinedSaddles(NamedTuple):
    """Chess corners near their predictions."""

    points: Floats
    """(N, 2) [px]; the prediction where ``found`` is false."""
    sigma: Floats
    """(N,) standard deviation of each coordinate [px]; NaN where ``found`` is false."""
    found: NDArray[np.bool_]
    """(N,) False where the picture shows no chess corner."""


def refine_saddles(gray: Image, predicted: Floats, window: float | Floats) -> RefinedSaddles:
    """Move predicted chess corners to where the picture shows them.

    Args:
        gray: (H, W) picture.
        predicted: (N, 2) [px].
        window: Radius around a corner in which nothing but its four squares is seen [px], one or (N,);
            below 2 px no corner is found. Corners farther than 0.6 of it (at least 1.5 px) from the
            prediction are not found.
    """
    points = np.array(predicted, dtype=np.float64).reshape(-1, 2)
    windows = np.ascontiguousarray(np.broadcast_to(np.asarray(window, dtype=np.float64), len(points)))
    sigma, contrast = np.full(len(points), np.nan), np.zeros(len(points))
    _refine(np.ascontiguousarray(gray), points, windows, sigma, contrast)
    found = contrast > 0.0
    if found.sum() >= _COMPARED:
        found &= contrast > _FAINT * np.median(contrast[found])
    start = np.reshape(predicted, (-1, 2))
    return RefinedSaddles(np.where(found[:, None], points, start), np.where(found, sigma, np.nan), found)


@_compiled
def _refine(gray: Image, points: Floats, windows: Floats, sigma: Floats, contrast: Floats) -> None:
    """Refine points in place; the contrast stays 0 where there is no chess corner."""
    fitted = np.empty(7)
    for i in range(len(points)):
        x, y, radius = points[i, 0], points[i, 1], windows[i]
        if not (radius >= 2.0 and math.isfinite(x) and math.isfinite(y)):
            continue
        far = max(1.5, 0.6 * radius)
        if not _gradients_meet(gray, x, y, radius, fitted):
            continue
        if not math.hypot(fitted[0] - x, fitted[1] - y) <= far:
            continue
        if not _directions(gray, radius, fitted):
            continue
        spread = _fit(gray, radius, fitted)
        if spread > 0.0 and math.hypot(fitted[0] - x, fitted[1] - y) <= far:
            points[i, 0], points[i, 1] = fitted[0], fitted[1]
            sigma[i] = spread
            contrast[i] = abs(fitted[6])


@_compiled
def _gradients_meet(gray: Image, x: float, y: float, radius: float, fitted: Floats) -> bool:
    """Write the point towards which no gradient around points (Foerstner and Guelch, 1987)."""
    height, width = gray.shape
    for _ in range(_FORSTNER_STEPS):
        if not (radius + 1.0 <= x <= width - 2.0 - radius and radius + 1.0 <= y <= height - 2.0 - radius):
            return False
        a = b = c = p = q = 0.0
        for row in range(math.ceil(y - radius), math.floor(y + radius) + 1):
            for column in range(math.ceil(x - radius), math.floor(x + radius) + 1):
                u, v = column - x, row - y
                share = (u * u + v * v) / (radius * radius)
                if share > 1.0:
                    continue
                weight = (1.0 - share) ** 2
                gx = 0.5 * (float(gray[row, column + 1]) - gray[row, column - 1])
                gy = 0.5 * (float(gray[row + 1, column]) - gray[row - 1, column])
                a += weight * gx * gx
                b += weight * gx * gy
                c += weight * gy * gy
                along = gx * u + gy * v
                p += weight * gx * along
                q += weight * gy * along
        det = a * c - b * b
        if not det > 1e-6 * (a + c) ** 2 or a + c <= 0.0:
            return False
        dx, dy = (c * p - b * q) / det, (a * q - b * p) / det
        step = math.hypot(dx, dy)
        if step > radius:
            return False
        x, y = x + dx, y + dy
        if step < 0.05:
            break
    if not (radius + 1.0 <= x <= width - 2.0 - radius and radius + 1.0 <= y <= height - 2.0 - radius):
        return False
    fitted[0], fitted[1] = x, y
    return True


@_compiled
def _directions(gray: Image, radius: float, fitted: Floats) -> bool:
    """Write the first guess of the directions, blur, level and contrast from a ring around the corner.

    Returns:
        False where the ring does not change four times between black and white, with opposite changes opposite.
    """
    x, y = fitted[0], fitted[1]
    ring = np.empty(_RING)
    mean = 0.0
    for k in range(_RING):
        angle = 2.0 * math.pi * k / _RING
        ring[k] = _smooth(gray, x + 0.75 * radius * math.cos(angle), y + 0.75 * radius * math.sin(angle))
        mean += ring[k] / _RING
    ordered = np.sort(ring)
    low, high = ordered[_RING // 8], ordered[_RING - 1 - _RING // 8]
    level, contrast = 0.5 * (low + high), 0.5 * (high - low)
    if contrast < _LEAST_CONTRAST:
        return False
    changes = np.empty(4)
    count = 0
    rising = 0.0
    for k in range(_RING):
        a, b = ring[k] - level, ring[(k + 1) % _RING] - level
        if (a <= 0.0) != (b <= 0.0):
            if count == 4:
                return False
            if count == 0:
                rising = 1.0 if b > a else -1.0
            changes[count] = (k + a / (a - b)) * 2.0 * math.pi / _RING
            count += 1
    if count != 4:
        return False
    for k in range(2):
        apart = changes[k + 2] - changes[k] - math.pi
        if abs(apart) > 0.8:
            return False
        fitted[2 + k] = changes[k] + 0.5 * apart
    between = fitted[3] - fitted[2]
    if not 0.25 < between < math.pi - 0.25:
        return False
    fitted[4], fitted[5] = math.log(0.7), level
    # Between the first and the second direction the picture is bright when the first change rises.
    fitted[6] = -rising * contrast
    return True


@_compiled
def _smooth(gray: Image, x: float, y: float) -> float:
    i, j = int(x), int(y)
    f, g = x - i, y - j
    top = gray[j, i] + f * (float(gray[j, i + 1]) - gray[j, i])
    low = gray[j + 1, i] + f * (float(gray[j + 1, i + 1]) - gray[j + 1, i])
    return top + g * (low - top)


@_compiled
def _accumulate(
    gray: Image, radius: float, p: Floats, x0: float, y0: float, A: Floats, b: Floats
) -> tuple[float, float, int]:
    """Write the normal equations of the model at ``p`` over the disk around (x0, y0).

    Returns:
        The sum of the residuals' squares, of the products of neighbours in a row, and the number of pixels.

    p: crossing x, y; angles of the edges; log sigma; level; contrast.
    """
    A[:] = 0.0
    b[:] = 0.0
    x, y, level, contrast = p[0], p[1], p[5], p[6]
    sigma = math.sqrt(math.exp(2.0 * p[4]) + 1.0 / 12.0)
    by_log = math.exp(2.0 * p[4]) / sigma
    # Distances grow to the left of each direction (x right, y down: clockwise).
    c1, s1, c2, s2 = math.cos(p[2]), math.sin(p[2]), math.cos(p[3]), math.sin(p[3])
    rho = c1 * c2 + s1 * s2
    J = np.empty(7)
    total = alike = 0.0
    count = 0
    for row in range(math.ceil(y0 - radius), math.floor(y0 + radius) + 1):
        last = 0.0
        for column in range(math.ceil(x0 - radius), math.floor(x0 + radius) + 1):
            if (column - x0) ** 2 + (row - y0) ** 2 > radius * radius:
                continue
            u, v = column - x, row - y
            d1, d2 = c1 * v - s1 * u, c2 * v - s2 * u
            t1, t2 = d1 / sigma, d2 / sigma
            g1, g2 = math.erf(0.7071067811865476 * t1), math.erf(0.7071067811865476 * t2)
            e1 = 0.7978845608028654 * math.exp(-0.5 * t1 * t1)
            e2 = 0.7978845608028654 * math.exp(-0.5 * t2 * t2)
            # The blur across the two edges is correlated where they are not square to each other.
            shape = g1 * g2 + rho * e1 * e2
            m1 = contrast * (e1 * g2 - rho * t1 * e1 * e2) / sigma
            m2 = contrast * (g1 * e2 - rho * t2 * e1 * e2) / sigma
            J[0] = m1 * s1 + m2 * s2
            J[1] = -m1 * c1 - m2 * c2
            J[2] = -m1 * (s1 * v + c1 * u)
            J[3] = -m2 * (s2 * v + c2 * u)
            J[4] = -(m1 * t1 + m2 * t2) * by_log
            J[5] = 1.0
            J[6] = shape
            r = gray[row, column] - level - contrast * shape
            total += r * r
            alike += r * last
            last = r
            count += 1
            for i in range(7):
                b[i] += J[i] * r
                for j in range(i + 1):
                    A[i, j] += J[i] * J[j]
    return total, alike, count


@_compiled
def _fit(gray: Image, radius: float, fitted: Floats) -> float:
    """Fit the model from the first guess in place; return the crossing's standard deviation, or -1."""
    A, b, L, step, trial = np.empty((7, 7)), np.empty(7), np.empty((7, 7)), np.empty(7), np.empty(7)
    nA, nb = np.empty((7, 7)), np.empty(7)
    # The disk stays, so that squares of different steps compare.
    x0, y0 = fitted[0], fitted[1]
    total, alike, count = _accumulate(gray, radius, fitted, x0, y0, A, b)
    if count < 12:
        return -1.0
    damping = 1e-3
    for _ in range(_STEPS):
        better = False
        new = new_alike = 0.0
        for _ in range(4):
            for i in range(7):
                step[i] = b[i]
                for j in range(i + 1):
                    L[i, j] = A[i, j]
                L[i, i] = A[i, i] * (1.0 + damping) + 1e-9
            if not _solve(L, step):
                return -1.0
            step[4] = min(max(step[4], -0.7), 0.7)
            for i in range(7):
                trial[i] = fitted[i] + step[i]
            trial[4] = min(max(trial[4], -2.0), math.log(0.5 * radius))
            new, new_alike, count = _accumulate(gray, radius, trial, x0, y0, nA, nb)
            if new <= total:
                better = True
                break
            damping = 10.0 * damping + 1e-3
        if not better:
            break
        moved = math.hypot(step[0], step[1])
        fitted[:] = trial
        A[:], b[:] = nA, nb
        total, alike = new, new_alike
        damping *= 0.1
        if moved < _SETTLED:
            break
    noise = max(total / max(count - 7, 1), _LEAST_NOISE)
    if abs(fitted[6]) < _LEAST_CONTRAST or math.sqrt(noise) > _MISFIT * abs(fitted[6]):
        return -1.0
    if abs(math.sin(fitted[3] - fitted[2])) < 0.2:
        return -1.0
    variance = 0.0
    for k in range(2):
        for i in range(7):
            step[i] = 1.0 if i == k else 0.0
            for j in range(i + 1):
                L[i, j] = A[i, j]
            L[i, i] = A[i, i] * (1.0 + 1e-9) + 1e-9
        if not _solve(L, step):
            return -1.0
        variance += 0.5 * step[k]
    # Where pixels are wider than the blur they are squares, not Gaussians as the model has them.
    sharp = _SHARP_FLOOR * math.exp(-(math.exp(2.0 * fitted[4]) / (_SHARP * _SHARP)))
    # Residuals that are alike among neighbours (other blur, something in the window) average out more slowly.
    alike = min(max(alike / max(total, 1e-9) - _ALIKE, 0.0), 0.8)
    variance *= (1.0 + alike) / (1.0 - alike)
    return math.sqrt(variance * noise + _FLOOR * _FLOOR + sharp * sharp)


@_compiled
def _solve(A: Floats, b: Floats) -> bool:
    """Solve A x = b in place for a symmetric positive matrix given by its lower half."""
    n = len(b)
    for i in range(n):
        for j in range(i + 1):
            total = A[i, j]
            for k in range(j):
                total -= A[i, k] * A[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                A[i, i] = math.sqrt(total)
            else:
                A[i, j] = total / A[j, j]
    for i in range(n):
        for k in range(i):
            b[i] -= A[i, k] * b[k]
        b[i] /= A[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= A[k, i] * b[k]
        b[i] /= A[i, i]
    return True
