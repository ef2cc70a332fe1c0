"""Compiled geometry of the corner refinement: the marker's square in the picture, and corrections of it.

Points of the marker are (U, V) in [-1, 1]^2, U right and V down in the upright marker.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.types import Floats

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SMALL = 60.0
"""[px^4] Standard deviation of a side's place times the cube of the marker's size, under any blur."""
_WIDE_MARGIN = 1.25
"""[cells] White beyond it helps no more: the marker's own cells crowd its sides, too."""
_SIDE_ENDS = 0.5
"""Correlation of the errors of a side's ends."""

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def homography(quad: Floats, h: Floats) -> None:
    """Write the homography (9,) from [-1, 1]^2 to the quad (Heckbert, 1989)."""
    x0, y0, x1, y1 = quad[0, 0], quad[0, 1], quad[1, 0], quad[1, 1]
    x2, y2, x3, y3 = quad[2, 0], quad[2, 1], quad[3, 0], quad[3, 1]
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    det = dx1 * dy2 - dx2 * dy1
    g = (sx * dy2 - dx2 * sy) / det
    k = (dx1 * sy - sx * dy1) / det
    a, b, c = x1 - x0 + g * x1, x3 - x0 + k * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + k * y3, y0
    # From the unit square to [-1, 1]^2: s = (U + 1) / 2.
    w = 1.0 + 0.5 * (g + k)
    h[0], h[1], h[2] = 0.5 * a / w, 0.5 * b / w, (c + 0.5 * (a + b)) / w
    h[3], h[4], h[5] = 0.5 * d / w, 0.5 * e / w, (f + 0.5 * (d + e)) / w
    h[6], h[7], h[8] = 0.5 * g / w, 0.5 * k / w, 1.0


@compiled
def map_square(quad: Floats, square: Floats, out: Floats) -> None:
    """Write the points (M, 2) to which the quad's homography takes points of [-1, 1]^2."""
    h = np.empty(9)
    homography(quad, h)
    for i in range(len(square)):
        U, V = square[i, 0], square[i, 1]
        w = h[6] * U + h[7] * V + 1.0
        out[i, 0], out[i, 1] = (h[0] * U + h[1] * V + h[2]) / w, (h[3] * U + h[4] * V + h[5]) / w


@compiled
def map_point(h: Floats, bend: Floats, U: float, V: float, out: Floats) -> None:
    """Write the pixel of a point of the marker, the lens' bending of its lines added."""
    w = h[6] * U + h[7] * V + 1.0
    x, y = (h[0] * U + h[1] * V + h[2]) / w, (h[3] * U + h[4] * V + h[5]) / w
    n = bend.shape[0]
    if n > 0:
        pv = 1.0
        for j in range(n):
            pu = pv
            for i in range(n):
                x += bend[j, i, 0] * pu
                y += bend[j, i, 1] * pu
                pu *= U
            pv *= V
    out[0], out[1] = x, y


@compiled
def map_corners(h: Floats, bend: Floats, quad: Floats) -> None:
    """Write the corners (4, 2) [px] of the marker."""
    at = np.empty(2)
    for k in range(4):
        map_point(h, bend, -1.0 if k == 0 or k == 3 else 1.0, -1.0 if k < 2 else 1.0, at)
        quad[k, 0], quad[k, 1] = at[0], at[1]


@compiled
def farthest(quad: Floats, other: Floats) -> float:
    """Return the largest distance of two quads' corners [px]."""
    largest = 0.0
    for k in range(4):
        distance = math.hypot(quad[k, 0] - other[k, 0], quad[k, 1] - other[k, 1])
        if not distance <= largest:  # NaN is far
            largest = distance
    return largest


@compiled
def least_cell(quad: Floats, n: int) -> float:
    """Return the smaller height of a cell [px]: the quad's area over its longest edge."""
    area = longest = 0.0
    for k in range(4):
        x0, y0, x1, y1 = quad[k, 0], quad[k, 1], quad[(k + 1) % 4, 0], quad[(k + 1) % 4, 1]
        area += 0.5 * (x0 * y1 - x1 * y0)
        longest = max(longest, math.hypot(x1 - x0, y1 - y0))
    return max(abs(area) / (longest * n), 0.5)


@compiled
def place(h: Floats, bend: Floats, n: int, axis: int, line: int, start: float, end: float, frame: Floats) -> None:
    """Write centre (2), normal (2) towards higher lines, half length, U, V, tangent (2) of a piece of a grid line."""
    p, q, m = np.empty(2), np.empty(2), np.empty(2)
    s = 2.0 / n
    across, a, b = line * s - 1.0, start * s - 1.0, end * s - 1.0
    c = 0.5 * (a + b)
    if axis == 0:
        map_point(h, bend, across, a, p)
        map_point(h, bend, across, b, q)
        map_point(h, bend, across, c, m)
        frame[5], frame[6] = across, c
    else:
        map_point(h, bend, a, across, p)
        map_point(h, bend, b, across, q)
        map_point(h, bend, c, across, m)
        frame[5], frame[6] = c, across
    # Simpson's mean of the piece, so that a bent one is compared with the mean of its pixels;
    # along the piece its middle, not the mapped one.
    frame[0], frame[1] = (p[0] + 4.0 * m[0] + q[0]) / 6.0, (p[1] + 4.0 * m[1] + q[1]) / 6.0
    tx, ty = q[0] - p[0], q[1] - p[1]
    length = math.sqrt(tx * tx + ty * ty)
    tx, ty = tx / length, ty / length
    # Axis 0 runs down the marker: its normal to the right is (ty, -tx); axis 1 the other way round.
    if axis == 0:
        frame[2], frame[3] = ty, -tx
    else:
        frame[2], frame[3] = -ty, tx
    frame[4] = 0.5 * length
    frame[7], frame[8] = tx, ty


@compiled
def change_row(h: Floats, frame: Floats, out: Floats) -> None:
    """Write the derivative (8,) of the offset along the normal by the homography's numbers."""
    U, V, nx, ny = frame[5], frame[6], frame[2], frame[3]
    w = 1.0 / (h[6] * U + h[7] * V + 1.0)
    x, y = (h[0] * U + h[1] * V + h[2]) * w, (h[3] * U + h[4] * V + h[5]) * w
    along = nx * x + ny * y
    out[0], out[1], out[2] = nx * U * w, nx * V * w, nx * w
    out[3], out[4], out[5] = ny * U * w, ny * V * w, ny * w
    out[6], out[7] = -U * along * w, -V * along * w


@compiled
def solve(A: Floats, b: Floats, n: int) -> bool:
    """Solve A x = b in place for a symmetric positive matrix: ``b`` becomes x, ``A`` its Cholesky factor."""
    for i in range(n):
        for j in range(i + 1):
            total = A[i, j]
            for k in range(j):
                total -= A[i, k] * A[j, k]
            if i == j:
                if not total > 1e-12:
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


@compiled
def robust_change(
    rows: Floats, offsets: Floats, sigmas: Floats, count: int, tune: float, turns: int, step: Floats, A: Floats
) -> float:
    """Find the change (8,) of the homography that explains the offsets, outliers weighted down.

    Iteratively reweighted least squares with Tukey's biweight, ``tune`` robust standard deviations wide,
    after a start with Cauchy weights.

    Returns:
        The robust ratio of the residuals to their sigmas; ``A`` holds the Cholesky factor of the
        information, negative when there is no answer.
    """
    residual = np.empty(count)
    weight = np.empty(count)
    scale = 1.0
    for i in range(count):
        weight[i] = 1.0
    for turn in range(turns):
        A[:] = 0.0
        step[:] = 0.0
        for i in range(count):
            w = weight[i] / (sigmas[i] * sigmas[i])
            if w == 0.0:
                continue
            for j in range(8):
                step[j] += w * rows[i, j] * offsets[i]
                for k in range(j + 1):
                    A[j, k] += w * rows[i, j] * rows[i, k]
        if not solve(A, step, 8):
            return -1.0
        for i in range(count):
            r = offsets[i]
            for j in range(8):
                r -= rows[i, j] * step[j]
            residual[i] = r / sigmas[i]
        scale = 1.4826 * np.median(np.abs(residual)) * math.sqrt(count / max(count - 8.0, 1.0))
        bound = max(scale, 1e-3)
        for i in range(count):
            t = residual[i] / bound
            if turn < 2:
                weight[i] = 1.0 / (1.0 + t * t)
            else:
                t /= tune
                weight[i] = (1.0 - t * t) ** 2 if abs(t) < 1.0 else 0.0
    # The factor of the last turn belongs to its weights; Tukey's estimate is 5 % wider than least squares.
    return scale


@compiled
def corner_covariance(h: Floats, L: Floats, scale: float, floor: float, covariance: Floats) -> None:
    """Write the corners' covariance (8, 8) [px^2] from the Cholesky factor of the homography's information."""
    J = np.zeros((8, 8))
    frame = np.zeros(9)
    for k in range(4):
        frame[5], frame[6] = (-1.0 if k == 0 or k == 3 else 1.0), (-1.0 if k < 2 else 1.0)
        for j in range(2):
            frame[2], frame[3] = 1.0 - j, float(j)
            change_row(h, frame, J[2 * k + j])
    # C = J (L L')^-1 J' = (L^-1 J')' (L^-1 J').
    for r in range(8):
        for i in range(8):
            for k in range(i):
                J[r, i] -= L[i, k] * J[r, k]
            J[r, i] /= L[i, i]
    for r in range(8):
        for c in range(8):
            total = 0.0
            for i in range(8):
                total += J[r, i] * J[c, i]
            covariance[r, c] = total * scale * scale + (floor * floor if r == c else 0.0)


@compiled
def add_side_errors(
    quad: Floats, first: int, n: int, margin: float, reach: float, crowded: float, covariance: Floats
) -> None:
    """Add to the corners' covariance (8, 8) [px^2] that opposite sides may lie too far in or out as a whole.

    As measured on rendered markers under blurs of all widths: what lies beyond the paper leaks into the sides,
    so that the blur's reach counts in white margins, not in cells. Small markers are off under any blur.

    Args:
        quad: (4, 2) corners [px].
        first: Corner at which the first of both sides begins: 0 for top and bottom, 1 for right and left.
        n: Cells along an edge.
        margin: White around the border [cells].
        reach: Of the blur across these sides [px].
        crowded: Standard deviation of a side's place for a reach of a margin of one cell [cells]; it rises with the
            fifth power of the reach in margins, less where the margin is narrower.
        covariance: Changed.
    """
    u = np.empty((2, 2))
    for side in range(first, 4, 2):
        p, q, r, s = side, (side + 1) % 4, (side + 2) % 4, (side + 3) % 4
        nx, ny = quad[q, 1] - quad[p, 1], quad[p, 0] - quad[q, 0]
        length = math.hypot(nx, ny)
        nx, ny = nx / length, ny / length
        # Each corner moves along the side that meets this one there.
        u[0, 0], u[0, 1] = quad[p, 0] - quad[s, 0], quad[p, 1] - quad[s, 1]
        u[1, 0], u[1, 1] = quad[q, 0] - quad[r, 0], quad[q, 1] - quad[r, 1]
        away = (u[0, 0] * nx + u[0, 1] * ny, u[1, 0] * nx + u[1, 1] * ny)
        cell = max(0.5 * (away[0] + away[1]) / n, 0.5)
        white = min(margin, _WIDE_MARGIN) * cell
        far = reach / white
        sigma = math.hypot(crowded * min(margin, 1.0) ** 2 * white * far**5, _SMALL / (n * cell) ** 3)
        for i in range(2):
            for j in range(2):
                shared = sigma * sigma * (1.0 if i == j else _SIDE_ENDS) / (away[i] * away[j])
                a, b = 2 * (p if i == 0 else q), 2 * (p if j == 0 else q)
                for k in range(2):
                    for m in range(2):
                        covariance[a + k, b + m] += shared * u[i, k] * u[j, m]
