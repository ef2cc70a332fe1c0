"""Compiled loops of the corner refinement: edge search, edge fits, homography. See :mod:`vision_ik.tags.corners`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.types import Floats, Image

Ints = NDArray[np.int64]

_compiled = njit(cache=True, nogil=True, error_model="numpy")

_TABLE = 97
"""Entries of the step's table."""
_TABLE_REACH = 4.0
"""[sigma] Half length of the table, beside the pixel's own width; beyond it the step is over."""

_PASSES = 4
_LEAST_NOISE = 0.08
"""[grey levels^2] Rounding to whole levels."""
_BIAS = 0.004
"""[px] Standard deviation of what the pixels' scatter does not show of one edge."""
_CORNER_FLOOR = 0.003
"""[px] The same of a corner."""
_MAX_MOVE = 4.0
"""[px] A corner that would move farther has lost its edges."""
_KNOWN_REACH = 0.9
"""[cells] Longest reach across an edge whose neighbours are known."""
_END_MARGIN = 1.5
"""[widths of the blur] Left out where another edge meets the end of this one."""
_MIXED = 1.0
"""Blur over cell beyond which what lies beside an edge is modelled, not left out."""
_SHARPEST = 0.15
"""[px] Least blur."""
_SETTLED = 0.004
"""[px] Corners that move less have arrived."""
_PROFILES = 2
"""Profiles of the search per cell of the border."""
_ACROSS = 21
"""Samples of such a profile."""

AXIS, LINE, CELL, OPEN0, OPEN1 = range(5)
"""Columns of the segments: 0 for edges between columns of cells and 1 between rows; grid line; cell along it;
whether the same edge goes on before the cell, and after it."""
SEGMENT_COLUMNS = 5


@_compiled
def _phi(x: float) -> tuple[float, float]:
    """Return the normal distribution and its density at x."""
    return 0.5 * math.erfc(-0.7071067811865476 * x), 0.3989422804014327 * math.exp(-0.5 * x * x)


@_compiled
def _tabulate(sigma: float, nx: float, ny: float, table: Floats) -> None:
    """Write the pixels' answer to a step, its slope and its derivative by the logarithm of sigma.

    A pixel is the mean over its square of the step blurred by a Gaussian: with the square
    seen along the normal (nx, ny) as two boxes of widths |nx| and |ny|, the answer is the
    second difference of the second integral of the distribution.
    """
    a, b = max(abs(nx), 0.02), max(abs(ny), 0.02)
    reach = _TABLE_REACH * sigma + 0.5 * (a + b)
    pitch = 2.0 * reach / (_TABLE - 1)
    table[_TABLE, 0], table[_TABLE, 1] = reach, 1.0 / pitch
    half = (0.5 * (a + b), 0.5 * (a - b), 0.5 * (b - a), -0.5 * (a + b))
    for i in range(_TABLE):
        d = i * pitch - reach
        s0 = s1 = s2 = 0.0
        for k in range(4):
            x = d + half[k]
            sign = 1.0 if k == 0 or k == 3 else -1.0
            P, p = _phi(x / sigma)
            s0 += sign * 0.5 * ((x * x + sigma * sigma) * P + x * sigma * p)
            s1 += sign * (x * P + sigma * p)
            s2 += sign * P
        ab = a * b
        table[i, 0] = s0 / ab
        table[i, 1] = s1 / ab
        table[i, 2] = sigma * sigma * s2 / ab


@_compiled
def _lookup(table: Floats, d: float, out: Floats) -> None:
    """Write step, slope and width derivative at distance ``d`` [px]."""
    reach = table[_TABLE, 0]
    if d <= -reach:
        out[0] = out[1] = out[2] = 0.0
    elif d >= reach:
        out[0], out[1], out[2] = 1.0, 0.0, 0.0
    else:
        f = (d + reach) * table[_TABLE, 1]
        i = min(int(f), _TABLE - 2)
        f -= i
        for k in range(3):
            out[k] = table[i, k] + f * (table[i + 1, k] - table[i, k])


@_compiled
def _homography(quad: Floats, h: Floats) -> None:
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


@_compiled
def map_square(quad: Floats, square: Floats, out: Floats) -> None:
    """Write the points (M, 2) to which the quad's homography takes points of [-1, 1]^2."""
    h = np.empty(9)
    _homography(quad, h)
    for i in range(len(square)):
        U, V = square[i, 0], square[i, 1]
        w = h[6] * U + h[7] * V + 1.0
        out[i, 0], out[i, 1] = (h[0] * U + h[1] * V + h[2]) / w, (h[3] * U + h[4] * V + h[5]) / w


@_compiled
def _map(h: Floats, bend: Floats, U: float, V: float, out: Floats) -> None:
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


@_compiled
def _place(h: Floats, bend: Floats, n: int, axis: int, line: int, start: float, end: float, frame: Floats) -> None:
    """Write centre (2), normal (2) towards higher lines, half length, U, V, tangent (2) of a piece of a grid line."""
    p, q, m = np.empty(2), np.empty(2), np.empty(2)
    s = 2.0 / n
    across, a, b = line * s - 1.0, start * s - 1.0, end * s - 1.0
    c = 0.5 * (a + b)
    if axis == 0:
        _map(h, bend, across, a, p)
        _map(h, bend, across, b, q)
        _map(h, bend, across, c, m)
        frame[5], frame[6] = across, c
    else:
        _map(h, bend, a, across, p)
        _map(h, bend, b, across, q)
        _map(h, bend, c, across, m)
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


@_compiled
def _sample(gray: Image, x: float, y: float) -> float:
    """Return the grey level between pixels, the nearest one outside the picture."""
    height, width = gray.shape
    x, y = min(max(x, 0.0), width - 1.001), min(max(y, 0.0), height - 1.001)
    i, j = int(x), int(y)
    f, g = x - i, y - j
    top = gray[j, i] + f * (float(gray[j, i + 1]) - gray[j, i])
    low = gray[j + 1, i] + f * (float(gray[j + 1, i + 1]) - gray[j + 1, i])
    return top + g * (low - top)


@_compiled
def read_cells(gray: Image, quad: Floats, bend: Floats, n: int, cells: Image) -> None:
    """Write the (n, n) cells inside a quad, 1 where they are nearer to the paper around than to the border."""
    h, at = np.empty(9), np.empty(2)
    _homography(quad, h)
    outside, black = 0.0, 0.0
    for j in range(-1, n + 1):
        for i in range(-1, n + 1):
            rim = min(min(i, n - 1 - i), min(j, n - 1 - j))
            if rim <= 0:
                _map(h, bend, (2.0 * i + 1.0) / n - 1.0, (2.0 * j + 1.0) / n - 1.0, at)
                if rim < 0:
                    outside += _sample(gray, at[0], at[1]) / (4.0 * n + 4.0)
                else:
                    black += _sample(gray, at[0], at[1]) / (4.0 * n - 4.0)
    for j in range(n):
        for i in range(n):
            _map(h, bend, (2.0 * i + 1.0) / n - 1.0, (2.0 * j + 1.0) / n - 1.0, at)
            value = _sample(gray, at[0], at[1])
            inner = min(min(i, n - 1 - i), min(j, n - 1 - j)) > 0
            cells[j, i] = 1 if inner and abs(value - outside) < abs(value - black) else 0


@_compiled
def _solve(A: Floats, b: Floats, n: int) -> bool:
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


@_compiled
def _row(h: Floats, frame: Floats, out: Floats) -> None:
    """Write the derivative (8,) of the offset along the normal by the homography's numbers."""
    U, V, nx, ny = frame[5], frame[6], frame[2], frame[3]
    w = 1.0 / (h[6] * U + h[7] * V + 1.0)
    x, y = (h[0] * U + h[1] * V + h[2]) * w, (h[3] * U + h[4] * V + h[5]) * w
    along = nx * x + ny * y
    out[0], out[1], out[2] = nx * U * w, nx * V * w, nx * w
    out[3], out[4], out[5] = ny * U * w, ny * V * w, ny * w
    out[6], out[7] = -U * along * w, -V * along * w


@_compiled
def _fit(rows: Floats, offsets: Floats, sigmas: Floats, count: int, tune: float, step: Floats, A: Floats) -> float:
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
    for turn in range(6):
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
        if not _solve(A, step, 8):
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


@_compiled
def _search(gray: Image, h: Floats, bend: Floats, n: int, polarity: float, step: Floats) -> float:
    """Look for the border's four edges along their normals; write the change of the homography.

    Steps are weighed by their square, which ignores what else is in a profile.

    Returns:
        The rms width of the steps [px], negative where the edges are not found.
    """
    most = 4 * n * _PROFILES
    rows, offsets, sigmas = np.empty((most, 8)), np.empty(most), np.empty(most)
    strength, widths = np.empty(most), np.empty(most)
    frame, inner = np.empty(9), np.empty(9)
    profile = np.empty(_ACROSS)
    count = 0
    for side in range(4):
        axis, line = side // 2, 0 if side % 2 == 0 else n
        outward = -1.0 if line == 0 else 1.0
        for k in range(n * _PROFILES):
            start = k / _PROFILES
            if (k == 0 or k == n * _PROFILES - 1) and n > 2:
                continue
            _place(h, bend, n, axis, line, start, start + 1.0 / _PROFILES, frame)
            _place(h, bend, n, axis, 1 if line == 0 else n - 1, start, start + 1.0 / _PROFILES, inner)
            cell = abs((inner[0] - frame[0]) * frame[2] + (inner[1] - frame[1]) * frame[3])
            reach = min(max(0.8 * cell, 2.0), 6.0)
            pitch = 2.0 * reach / (_ACROSS - 1)
            nx, ny = outward * frame[2], outward * frame[3]
            for i in range(_ACROSS):
                s = i * pitch - reach
                profile[i] = _sample(gray, frame[0] + s * nx, frame[1] + s * ny)
            total = first = second = 0.0
            for i in range(_ACROSS - 1):
                rise = polarity * (profile[i + 1] - profile[i])
                if rise > 0.0:
                    s = (i + 0.5) * pitch - reach
                    total += rise * rise
                    first += rise * rise * s
                    second += rise * rise * s * s
            if total <= 0.0:
                continue
            frame[2], frame[3] = nx, ny
            _row(h, frame, rows[count])
            offsets[count] = first / total
            widths[count] = math.sqrt(max(second / total - offsets[count] ** 2, 0.0))
            strength[count] = total / pitch
            sigmas[count] = 0.2
            count += 1
    if count < 12:
        return -1.0
    typical = np.median(strength[:count])
    kept = 0
    for i in range(count):
        if strength[i] > 0.1 * typical:
            rows[kept] = rows[i]
            offsets[kept], widths[kept] = offsets[i], widths[i]
            kept += 1
    if kept < 12:
        return -1.0
    A = np.empty((8, 8))
    if _fit(rows, offsets, sigmas, kept, 5.0, step, A) < 0.0:
        return -1.0
    return np.median(widths[:kept])


@_compiled
def _polarity(gray: Image, h: Floats, bend: Floats, n: int) -> float:
    """Return the mean step across the border from inside to outside [grey levels]."""
    total = 0.0
    at = np.empty(2)
    for k in range(n):
        c = (k + 0.5) * 2.0 / n - 1.0
        inside, outside = 1.0 - 1.0 / n, 1.0 + 1.0 / n
        for side in range(4):
            for where in range(2):
                r = outside if where else inside
                U = c if side < 2 else (r if side == 2 else -r)
                V = (r if side == 0 else -r) if side < 2 else c
                _map(h, bend, U, V, at)
                total += (1.0 if where else -1.0) * _sample(gray, at[0], at[1])
    return total / (4.0 * n)


@_compiled
def _edge(
    gray: Image,
    frame: Floats,
    cross: Floats,
    white: NDArray[np.int64],
    table: Floats,
    cross_table: Floats,
    spacing: tuple[float, float],
    reach: tuple[float, float],
    margins: tuple[float, float],
    mixed: bool,
    cov: float,
    out: Floats,
) -> int:
    """Fit level, contrast, width and place of one straight edge to the pixels around it.

    Linear least squares of grey = level + contrast pattern + ... about the expected place, with the
    neighbouring edges, which move with it.

    Args:
        gray: Picture.
        frame: From :func:`_place`.
        cross: Normal (2) of the lines that cross the edge at its ends.
        white: (4, 3) cells around: two before and two after the edge, by three along it; 1 white.
        table: Of the step across the edge.
        cross_table: Of the steps along it.
        spacing: Distance of the lines before and after [px].
        reach: Used before and after [px].
        margins: Left out at both ends [px].
        mixed: Whether what lies beside the edge's ends shows in it.
        cov: Covariance of the blur across and along [px^2].
        out: contrast, offset [px], its variance for a noise of 1 [px^2], residual variance,
            change of log sigma, and its information for a noise of 1.

    Returns:
        Number of pixels, 0 where the edge cannot be fitted.
    """
    height, width = gray.shape
    cx, cy, nx, ny, half, tx, ty = frame[0], frame[1], frame[2], frame[3], frame[4], frame[7], frame[8]
    mx, my = cross[0], cross[1]
    ends = half * (tx * mx + ty * my)
    before, after = spacing
    low, high = reach
    t0, t1 = -half + margins[0], half - margins[1]
    M = np.zeros((4, 4))
    b = np.zeros(4)
    total = 0.0
    count = 0
    F0, F1, F2, G0, G1 = np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    values, slopes, spreads = np.empty(3), np.empty(3), np.empty(3)
    c0 = float(white[1, 1] - white[0, 1])
    c1 = float(white[2, 1] - white[1, 1])
    c2 = float(white[3, 1] - white[2, 1])
    # Corners of the window bound its rows.
    ymin, ymax = 1e9, -1e9
    for t in (t0, t1):
        for s in (-low, high):
            y = cy + t * ty + s * ny
            ymin, ymax = min(ymin, y), max(ymax, y)
    for row in range(max(math.ceil(ymin), 0), min(math.floor(ymax), height - 1) + 1):
        v = row - cy
        # Columns where -low <= n.p <= high and t0 <= t.p <= t1.
        left, right = -1e9, 1e9
        if abs(nx) > 1e-9:
            p, q = (-low - v * ny) / nx, (high - v * ny) / nx
            left, right = max(left, min(p, q)), min(right, max(p, q))
        elif not -low <= v * ny <= high:
            continue
        if abs(tx) > 1e-9:
            p, q = (t0 - v * ty) / tx, (t1 - v * ty) / tx
            left, right = max(left, min(p, q)), min(right, max(p, q))
        elif not t0 <= v * ty <= t1:
            continue
        for column in range(max(math.ceil(cx + left), 0), min(math.floor(cx + right), width - 1) + 1):
            d = (column - cx) * nx + v * ny
            _lookup(table, d, F1)
            if mixed:
                _lookup(table, d + before, F0)
                _lookup(table, d - after, F2)
                e = (column - cx) * mx + v * my
                _lookup(cross_table, e + ends, G0)
                _lookup(cross_table, e - ends, G1)
                for k in range(3):
                    d0 = white[1, k] - white[0, k]
                    d1 = white[2, k] - white[1, k]
                    d2 = white[3, k] - white[2, k]
                    values[k] = white[0, k] + d0 * F0[0] + d1 * F1[0] + d2 * F2[0]
                    slopes[k] = d0 * F0[1] + d1 * F1[1] + d2 * F2[1]
                    spreads[k] = d0 * F0[2] + d1 * F1[2] + d2 * F2[2]
                s0 = values[0] + (values[1] - values[0]) * G0[0] + (values[2] - values[1]) * G1[0]
                s2 = slopes[0] + (slopes[1] - slopes[0]) * G0[0] + (slopes[2] - slopes[1]) * G1[0]
                s1 = spreads[0] + (spreads[1] - spreads[0]) * G0[0] + (spreads[2] - spreads[1]) * G1[0]
                s0 += cov * ((slopes[1] - slopes[0]) * G0[1] + (slopes[2] - slopes[1]) * G1[1])
            else:
                s0, s2, s1 = c1 * F1[0], c1 * F1[1], c1 * F1[2]
                if c0 != 0.0:
                    _lookup(table, d + before, F0)
                    s0, s2, s1 = s0 + c0 * F0[0], s2 + c0 * F0[1], s1 + c0 * F0[2]
                if c2 != 0.0:
                    _lookup(table, d - after, F2)
                    s0, s2, s1 = s0 + c2 * F2[0], s2 + c2 * F2[1], s1 + c2 * F2[2]
            g = float(gray[row, column])
            M[0, 0] += 1.0
            M[1, 0] += s0
            M[1, 1] += s0 * s0
            M[2, 0] += s1
            M[2, 1] += s1 * s0
            M[2, 2] += s1 * s1
            M[3, 0] += s2
            M[3, 1] += s2 * s0
            M[3, 2] += s2 * s1
            M[3, 3] += s2 * s2
            b[0] += g
            b[1] += g * s0
            b[2] += g * s1
            b[3] += g * s2
            total += g * g
            count += 1
    if count < 6:
        return 0
    M[2, 2] += 0.02 * M[3, 3] + 1e-6
    M[1, 1] += 1e-6
    rhs = b.copy()
    if not _solve(M, b, 4):
        return 0
    contrast = b[1]
    if abs(contrast) < 1.0:
        return 0
    explained = b[0] * rhs[0] + b[1] * rhs[1] + b[2] * rhs[2] + b[3] * rhs[3]
    out[0] = contrast
    out[1] = -b[3] / contrast
    out[2] = 1.0 / (M[3, 3] * contrast) ** 2
    out[3] = max(total - explained, 0.0) / max(count - 4, 1)
    out[4] = b[2] / contrast
    out[5] = (M[2, 2] * contrast) ** 2
    return count


@_compiled
def refine_one(
    gray: Image,
    quad: Floats,
    n: int,
    white: Ints,
    segments: Ints,
    known: bool,
    bend: Floats,
    covariance: Floats,
) -> bool:
    """Move a quad (4, 2) onto the edges of its marker in place and write its covariance (8, 8); False if it cannot."""
    h, step, A = np.empty(9), np.zeros(8), np.zeros((8, 8))
    middle = np.zeros(2)
    origin = quad.copy()
    # Homographies are solved about the marker's middle; `bend` takes the middle back on.
    _homography(quad, h)
    step_ = _polarity(gray, h, bend, n)
    if abs(step_) < 2.0:
        return False
    polarity = 1.0 if step_ > 0.0 else -1.0
    width = 0.0
    for _ in range(2):
        width = _search(gray, h, bend, n, polarity, step)
        if width < 0.0:
            return False
        for j in range(8):
            h[j] += step[j]
    # Squared weights narrow a Gaussian by sqrt(2); a pixel is 1/12 px^2 wide.
    variance = 2.0 * width * width - 0.15
    sigmas_psf = np.full(2, math.sqrt(min(max(variance, 0.09), 9.0)))
    count_all = len(segments)
    rows, offsets, sigmas = np.empty((count_all, 8)), np.empty(count_all), np.empty(count_all)
    contrasts, variances, noises, axes = (
        np.empty(count_all),
        np.empty(count_all),
        np.empty(count_all),
        np.empty(count_all, np.int64),
    )
    widths, width_info = np.empty(count_all), np.empty(count_all)
    tables = np.empty((2, _TABLE + 1, 3))
    frame, other, earlier, fit = np.empty(9), np.empty(9), np.empty(9), np.empty(6)
    cross, around = np.empty(2), np.empty((4, 3), np.int64)
    scale = 1.0
    used = kept = 0
    for turn in range(_PASSES):
        for axis in range(2):
            _place(h, bend, n, axis, n // 2, 0.0, float(n), frame)
            _tabulate(sigmas_psf[axis], frame[2], frame[3], tables[axis])
        used = 0
        for s in range(count_all):
            axis, line, cell = segments[s, AXIS], segments[s, LINE], segments[s, CELL]
            start, end = float(cell), cell + 1.0
            _place(h, bend, n, axis, line, start, end, frame)
            spread = math.sqrt(sigmas_psf[axis] ** 2 + 1.0 / 12.0)
            reach = 3.0 * spread + 0.7
            _place(h, bend, n, axis, line - 1, start, end, earlier)
            before = abs((earlier[0] - frame[0]) * frame[2] + (earlier[1] - frame[1]) * frame[3])
            _place(h, bend, n, axis, line + 1, start, end, other)
            after = abs((other[0] - frame[0]) * frame[2] + (other[1] - frame[1]) * frame[3])
            if known:
                low, high = min(reach, _KNOWN_REACH * before), min(reach, _KNOWN_REACH * after)
            else:
                low, high = min(reach, max(0.5 * before, 1.25)), min(reach, max(0.5 * after, 1.25))
            side = math.sqrt(sigmas_psf[1 - axis] ** 2 + 1.0 / 12.0)
            mixed = known and min(3.0 * side / frame[4], 6.0 * spread / min(before, after)) > _MIXED
            m = 0.0 if mixed else min(_END_MARGIN * side, 0.7 * frame[4])
            m0 = 0.0 if segments[s, OPEN0] else m
            m1 = 0.0 if segments[s, OPEN1] else m
            for i in range(4):
                for k in range(3):
                    around[i, k] = white[cell + 1 + k, line + i] if axis == 0 else white[line + i, cell + 1 + k]
            # The crossing lines run from the line before to the line after.
            dx, dy = other[0] - earlier[0], other[1] - earlier[1]
            length = math.hypot(dx, dy)
            cross[0], cross[1] = -dy / length, dx / length
            if cross[0] * frame[7] + cross[1] * frame[8] < 0.0:
                cross[0], cross[1] = -cross[0], -cross[1]
            cov = side * spread * (cross[0] * frame[2] + cross[1] * frame[3])
            pixels = _edge(
                gray,
                frame,
                cross,
                around,
                tables[axis],
                tables[1 - axis],
                (before, after),
                (low, high),
                (m0, m1),
                mixed,
                cov,
                fit,
            )
            if pixels == 0:
                continue
            contrast = fit[0] * polarity
            if contrast <= 0.0:
                continue
            _row(h, frame, rows[used])
            contrasts[used], offsets[used], variances[used], noises[used] = contrast, fit[1], fit[2], fit[3]
            widths[used], width_info[used], axes[used] = fit[4], fit[5], axis
            used += 1
        if used < 10:
            return False
        typical = np.median(contrasts[:used])
        noise = max(np.median(noises[:used]), _LEAST_NOISE)
        kept = 0
        for axis in range(2):
            top = bottom = 0.0
            for i in range(used):
                if axes[i] == axis and contrasts[i] > 0.3 * typical and noises[i] < 9.0 * noise:
                    top += width_info[i] * widths[i]
                    bottom += width_info[i]
            if bottom > 0.0:
                change = min(max(top / bottom, -0.5), 0.5)
                sigmas_psf[axis] = min(max(sigmas_psf[axis] * math.exp(change), _SHARPEST), 4.0)
        for i in range(used):
            if contrasts[i] < 0.3 * typical:
                continue
            rows[kept] = rows[i]
            offsets[kept] = offsets[i]
            sigmas[kept] = math.sqrt(variances[i] * (noises[i] if noises[i] > 2.5 * noise else noise) + _BIAS * _BIAS)
            kept += 1
        if kept < 10:
            return False
        scale = _fit(rows, offsets, sigmas, kept, 4.5, step, A)
        if scale < 0.0:
            return False
        move = 0.0
        for j in range(8):
            h[j] += step[j]
        last = quad.copy()
        for k in range(4):
            U, V = (-1.0 if k == 0 or k == 3 else 1.0), (-1.0 if k < 2 else 1.0)
            _map(h, bend, U, V, middle)
            quad[k, 0], quad[k, 1] = middle[0], middle[1]
            move = max(move, math.hypot(quad[k, 0] - last[k, 0], quad[k, 1] - last[k, 1]))
            if not math.hypot(quad[k, 0] - origin[k, 0], quad[k, 1] - origin[k, 1]) < _MAX_MOVE:
                return False
        if turn > 0 and move < _SETTLED + 0.1 * math.sqrt(noise) / typical:
            break
    _covariance(h, A, math.sqrt((20.0 + scale * scale * kept) / (20.0 + kept)), _CORNER_FLOOR, covariance)
    return True


@_compiled
def _covariance(h: Floats, L: Floats, scale: float, floor: float, covariance: Floats) -> None:
    """Write the corners' covariance (8, 8) [px^2] from the Cholesky factor of the homography's information."""
    J = np.zeros((8, 8))
    frame = np.zeros(9)
    for k in range(4):
        frame[5], frame[6] = (-1.0 if k == 0 or k == 3 else 1.0), (-1.0 if k < 2 else 1.0)
        for j in range(2):
            frame[2], frame[3] = 1.0 - j, float(j)
            _row(h, frame, J[2 * k + j])
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
