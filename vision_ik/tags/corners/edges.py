"""Compiled edge fits of the corner refinement: what pixels make of a step, and where a step is."""

from __future__ import annotations

import math

import numpy as np

from vision_ik.tags.corners.maps import compiled, solve
from vision_ik.types import Floats, Image

_CHANCE = 0.2
"""Correlation of neighbouring residuals that is not taken for more than chance."""
TABLE = 73
"""Entries of the step's table."""
_SAME_BLUR, _SAME_PAPER, _SAME_SHAPE = 0.02, 1e-5, 1e-3
"""Weights of the expectations that an edge has the marker's blur, that the paper goes on, and that the blur's
shape is right."""
_TABLE_REACH = 4.0
"""[sigma] Half length of the table, beside the pixel's own width; beyond it the step is over."""


@compiled
def _phi(x: float) -> tuple[float, float]:
    """Return the normal distribution and its density at x."""
    return 0.5 * math.erfc(-0.7071067811865476 * x), 0.3989422804014327 * math.exp(-0.5 * x * x)


@compiled
def tabulate_step(blur: float, share: float, nx: float, ny: float, table: Floats) -> None:
    """Write the pixels' answer to a step, its slope, and its changes with the blur's width and shape.

    The blur is that of a Gaussian and of a straight path during the exposure, seen from along the
    edge: a box. A pixel is the mean over its square: two boxes of widths |nx| and |ny| along the
    normal. So the answer is the second (with the path, third) difference of as many integrals of
    the distribution. The changes are by the logarithm of the blur's standard deviation, and by the
    square of the path's share, to which the excess kurtosis is proportional (-1.2).

    Args:
        blur: Standard deviation of the whole blur across the edge [px].
        share: Of the path in the blur's variance.
        nx: Normal of the edge.
        ny: Normal of the edge.
        table: (TABLE + 1, 4) written; the last row holds the half length and the entries per px.
    """
    a, b, c = max(abs(nx), 0.02), max(abs(ny), 0.02), math.sqrt(12.0 * share) * blur
    variance, square = blur * blur, (1.0 - share) * blur * blur
    sigma = math.sqrt(square)
    reach = _TABLE_REACH * sigma + 0.5 * (a + b + c)
    pitch = 2.0 * reach / (TABLE - 1)
    table[TABLE, 0], table[TABLE, 1] = reach, 1.0 / pitch
    for i in range(TABLE):
        d = i * pitch - reach
        s0 = s1 = s2 = s4 = ends = 0.0
        for k in range(8 if share > 0.0 else 4):
            sign = 1.0 if k % 4 == 0 or k % 4 == 3 else -1.0
            x = d + 0.5 * ((a if k % 2 == 0 else -a) + (b if k % 4 < 2 else -b) + (c if k < 4 else -c))
            P, p = _phi(x / sigma)
            p *= sigma
            once = x * P + p
            twice = 0.5 * ((x * x + square) * P + x * p)
            if share > 0.0:
                ends += 0.5 * sign * twice
                sign = sign if k < 4 else -sign
                s0 += sign * ((x * x + 3.0 * square) * x * P + (x * x + 2.0 * square) * p) / 6.0
                s1 += sign * twice
                s2 += sign * once
            else:
                s0 += sign * twice
                s1 += sign * once
                s2 += sign * P
                s4 -= sign * x * p / (square * square)
        if share > 0.0:
            area = a * b * c
            by_path = ends / (a * b) - s0 / area
            table[i, 2] = square * s2 / area + by_path
            table[i, 3] = 0.25 * (by_path / share - variance * s2 / area) / share
        else:
            area = a * b
            table[i, 2] = square * s2 / area
            table[i, 3] = -0.05 * square * square * s4 / area
        table[i, 0] = s0 / area
        table[i, 1] = s1 / area


@compiled
def _lookup(table: Floats, d: float, out: Floats) -> None:
    """Write step, slope and changes with width and shape at distance ``d`` [px]."""
    reach = table[TABLE, 0]
    if d <= -reach:
        out[0] = out[1] = out[2] = out[3] = 0.0
    elif d >= reach:
        out[0], out[1], out[2], out[3] = 1.0, 0.0, 0.0, 0.0
    else:
        f = (d + reach) * table[TABLE, 1]
        i = min(int(f), TABLE - 2)
        f -= i
        for k in range(4):
            out[k] = table[i, k] + f * (table[i + 1, k] - table[i, k])


@compiled
def fit_edge(
    gray: Image,
    frame: Floats,
    cross: Floats,
    white: Floats,
    table: Floats,
    cross_table: Floats,
    before: float,
    after: float,
    low: float,
    high: float,
    start: float,
    end: float,
    mixed: bool,
    cov: float,
    paper: float,
    kept: Floats,
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
        before: Distance of the line before [px].
        after: Distance of the line after [px].
        low: Reach before [px].
        high: Reach after [px].
        start: Left out at the start [px].
        end: Left out at the end [px].
        mixed: Whether what lies beside the edge's ends shows in it.
        cov: Covariance of the blur across and along [px^2].
        paper: Where the marker's paper may end [px], negative before the edge, 0 for edges inside; what lies beyond
            may have any grey, and its blur is fitted too.
        kept: (P, 7) room for what the fit saw, to tell whether residuals are alike among neighbours; P = 0 for no,
            and for a blur whose shape is taken as right.
        out: contrast, offset [px], its variance for a noise of 1 [px^2], residual variance,
            change of the logarithm of the blur and of the square of the path's share, the factor
            (3 numbers) of their information for a noise of 1, and how many edges have their say here:
            1, more where the blur lets neighbours be seen, which are fitted to the same pixels again.

    Returns:
        Number of pixels, 0 where the edge cannot be fitted.
    """
    height, width = gray.shape
    cx, cy, nx, ny, half, tx, ty = frame[0], frame[1], frame[2], frame[3], frame[4], frame[7], frame[8]
    mx, my = cross[0], cross[1]
    ends = half * (tx * mx + ty * my)
    t0, t1 = -half + start, half - end
    M = np.zeros((6, 6))
    b = np.zeros(6)
    total = own = every = 0.0
    count = 0
    F0, F1, F2, G0, G1 = np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4)
    values, slopes, spreads, shapes, along = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    shaped = len(kept) > 0
    c0, c1, c2 = white[1, 1] - white[0, 1], white[2, 1] - white[1, 1], white[3, 1] - white[2, 1]
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
                # Steps of the three lines here, mixed along them.
                p0 = p1 = p2 = 0.0
                along[0], along[1], along[2] = 1.0 - G0[0], G0[0] - G1[0], G1[0]
                for k in range(3):
                    d0 = white[1, k] - white[0, k]
                    d1 = white[2, k] - white[1, k]
                    d2 = white[3, k] - white[2, k]
                    values[k] = white[0, k] + d0 * F0[0] + d1 * F1[0] + d2 * F2[0]
                    slopes[k] = d0 * F0[1] + d1 * F1[1] + d2 * F2[1]
                    spreads[k] = d0 * F0[2] + d1 * F1[2] + d2 * F2[2]
                    shapes[k] = d0 * F0[3] + d1 * F1[3] + d2 * F2[3]
                    p0, p1, p2 = p0 + along[k] * d0, p1 + along[k] * d1, p2 + along[k] * d2
                s0 = values[0] + (values[1] - values[0]) * G0[0] + (values[2] - values[1]) * G1[0]
                s2 = slopes[0] + (slopes[1] - slopes[0]) * G0[0] + (slopes[2] - slopes[1]) * G1[0]
                s1 = spreads[0] + (spreads[1] - spreads[0]) * G0[0] + (spreads[2] - spreads[1]) * G1[0]
                s4 = shapes[0] + (shapes[1] - shapes[0]) * G0[0] + (shapes[2] - shapes[1]) * G1[0]
                s0 += cov * ((slopes[1] - slopes[0]) * G0[1] + (slopes[2] - slopes[1]) * G1[1])
            else:
                s0, s2, s1, s4 = c1 * F1[0], c1 * F1[1], c1 * F1[2], c1 * F1[3]
                p0, p1, p2 = c0, c1, c2
                if c0 != 0.0:
                    _lookup(table, d + before, F0)
                    s0, s2, s1, s4 = s0 + c0 * F0[0], s2 + c0 * F0[1], s1 + c0 * F0[2], s4 + c0 * F0[3]
                if c2 != 0.0:
                    _lookup(table, d - after, F2)
                    s0, s2, s1, s4 = s0 + c2 * F2[0], s2 + c2 * F2[1], s1 + c2 * F2[2], s4 + c2 * F2[3]
            own += (p1 * F1[1]) ** 2
            every += (p0 * F0[1]) ** 2 + (p1 * F1[1]) ** 2 + (p2 * F2[1]) ** 2
            s3 = 0.0
            if paper > 0.0:
                _lookup(table, d - paper, F2)
                s3 = F2[0]
            elif paper < 0.0:
                _lookup(table, d - paper, F0)
                s3 = 1.0 - F0[0]
            g = float(gray[row, column])
            M[0, 0] += 1.0
            M[1, 0] += s0
            M[1, 1] += s0 * s0
            M[2, 0] += s3
            M[2, 1] += s3 * s0
            M[2, 2] += s3 * s3
            M[3, 0] += s1
            M[3, 1] += s1 * s0
            M[3, 2] += s1 * s3
            M[3, 3] += s1 * s1
            M[5, 0] += s2
            M[5, 1] += s2 * s0
            M[5, 2] += s2 * s3
            M[5, 3] += s2 * s1
            M[5, 5] += s2 * s2
            b[5] += g * s2
            if shaped:
                M[4, 0] += s4
                M[4, 1] += s4 * s0
                M[4, 2] += s4 * s3
                M[4, 3] += s4 * s1
                M[4, 4] += s4 * s4
                M[5, 4] += s4 * s2
                b[4] += g * s4
            if count < len(kept):
                kept[count, 0], kept[count, 1], kept[count, 2], kept[count, 3] = g, s0, s3, s1
                kept[count, 4], kept[count, 5], kept[count, 6] = s4, s2, column
            b[0] += g
            b[1] += g * s0
            b[2] += g * s3
            b[3] += g * s1
            total += g * g
            count += 1
    if count < 6:
        return 0
    M[3, 3] += _SAME_BLUR * M[5, 5] + 1e-6
    M[4, 4] += (_SAME_SHAPE * M[5, 5] if shaped else 1.0) + 1e-6
    M[2, 2] += _SAME_PAPER
    M[1, 1] += 1e-6
    rhs = b.copy()
    if not solve(M, b, 6):
        return 0
    contrast = b[1]
    if abs(contrast) < 1.0:
        return 0
    explained = 0.0
    for k in range(6):
        explained += b[k] * rhs[k]
    out[0] = contrast
    out[1] = -b[5] / contrast
    out[2] = 1.0 / (M[5, 5] * contrast) ** 2
    out[3] = max(total - explained, 0.0) / max(count - 4, 1)
    out[9] = every / max(own, 1e-9)
    if len(kept) > 0:
        out[3] *= _alikeness(kept[: min(count, len(kept))], b)
    out[4], out[5] = b[3] / contrast, b[4] / contrast
    out[6], out[7], out[8] = M[3, 3] * contrast, M[4, 3] * contrast, M[4, 4] * contrast
    return count


@compiled
def _alikeness(kept: Floats, fitted: Floats) -> float:
    """Return by how much residuals that are alike among neighbours average out more slowly than noise."""
    squares = products = last = 0.0
    for i in range(len(kept)):
        r = kept[i, 0] - fitted[0]
        for k in range(1, 6):
            r -= fitted[k] * kept[i, k]
        squares += r * r
        if i > 0 and kept[i, 6] == kept[i - 1, 6] + 1.0:
            products += r * last
        last = r
    alike = min(max(products / max(squares, 1e-9) - _CHANCE, 0.0), 0.8)
    return (1.0 + alike) / (1.0 - alike)
