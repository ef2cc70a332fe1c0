"""Compiled loops that lay a print onto a picture. See :mod:`vision_ik.tags.following.pattern_fit`."""

from __future__ import annotations

import numpy as np
from numba import njit

from vision_ik.tags.sampling import sample
from vision_ik.types import Floats, Image

_REACH = (0.8, 0.7, 0.6, 0.5, 0.5)
"""[cells] Half length of the profiles in each pass: the first ones look far, the last ones near."""
_BELIEVED = (0.8, 0.6, 0.4, 0.2, 0.1)
"""[cells] Edges off by less are believed in each pass, however well the others agree: who believes the majority from
the start ends up with one half of a marker in its place and the other half off by a cell."""
_FAR_PASSES = 3
"""Passes that weigh steps by their square: that ignores what else is in the profile, and is a little biased. They
look at every other profile."""
_BLURS = 3.0
"""Half length of the later profiles in widths of the step (root mean square, squared weights)."""
_SHORTEST = 1.5
"""[px] Half length at least."""
_FAINT = 0.3
"""Share of the typical step below which an edge is not there."""
_LEAST_EDGES = 12
"""Profiles needed at least."""
_TUKEY = 4.685


@njit(cache=True, nogil=True, error_model="numpy")
def _homography(q: Floats) -> Floats:
    """Return (9,) that maps the unit square onto the corners (4, 2) (Heckbert 1989, section 2.2.3)."""
    sx = q[0, 0] - q[1, 0] + q[2, 0] - q[3, 0]
    sy = q[0, 1] - q[1, 1] + q[2, 1] - q[3, 1]
    ax, ay = q[1, 0] - q[2, 0], q[1, 1] - q[2, 1]
    bx, by = q[3, 0] - q[2, 0], q[3, 1] - q[2, 1]
    area = ax * by - bx * ay
    g = (sx * by - bx * sy) / area
    k = (ax * sy - sx * ay) / area
    return np.array(
        [
            q[1, 0] - q[0, 0] + g * q[1, 0],
            q[3, 0] - q[0, 0] + k * q[3, 0],
            q[0, 0],
            q[1, 1] - q[0, 1] + g * q[1, 1],
            q[3, 1] - q[0, 1] + k * q[3, 1],
            q[0, 1],
            g,
            k,
            1.0,
        ]
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _place(h: Floats, u: float, v: float, bend: Floats, out: Floats) -> None:
    """Write the pixel of (u, v) on the print and its derivatives: x, y, dx/du, dx/dv, dy/du, dy/dv, w."""
    w = h[6] * u + h[7] * v + 1.0
    x = (h[0] * u + h[1] * v + h[2]) / w
    y = (h[3] * u + h[4] * v + h[5]) / w
    out[2] = (h[0] - x * h[6]) / w
    out[3] = (h[1] - x * h[7]) / w
    out[4] = (h[3] - y * h[6]) / w
    out[5] = (h[4] - y * h[7]) / w
    out[6] = w
    n = bend.shape[0] - 1
    if n > 0:
        s, t = min(max(u, 0.0), 1.0) * n, min(max(v, 0.0), 1.0) * n
        i, j = min(int(s), n - 1), min(int(t), n - 1)
        a, b = s - i, t - j
        for axis in range(2):
            lower = (1.0 - a) * bend[j, i, axis] + a * bend[j, i + 1, axis]
            upper = (1.0 - a) * bend[j + 1, i, axis] + a * bend[j + 1, i + 1, axis]
            shift = (1.0 - b) * lower + b * upper
            if axis == 0:
                x += shift
            else:
                y += shift
    out[0], out[1] = x, y


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(A: Floats, b: Floats) -> bool:
    """Solve A x = b in place by Cholesky's method; False where A is not positive definite."""
    n = len(b)
    for i in range(n):
        for j in range(i + 1):
            total = A[i, j]
            for k in range(j):
                total -= A[i, k] * A[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                A[i, i] = np.sqrt(total)
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


@njit(cache=True, nogil=True, error_model="numpy")
def _look(
    gray: Image,
    h: Floats,
    points: Floats,
    normals: Floats,
    bend: Floats,
    cell: float,
    reach_cells: float,
    longest: Floats,
    squared: bool,
    rows: Floats,
    seen: Floats,
) -> None:
    """Look for the edges along their normals.

    Writes ``rows`` (P, 9): derivative of the place along the normal by h, and how far off [px] the edge is;
    ``seen`` (P, 5): step, its middle grey, width [px], half length of the profile [px], size of a cell across [px].
    """
    at = np.empty(7)
    profile = np.empty(64)
    for p in range(len(points)):
        u, v = points[p]
        _place(h, u, v, bend, at)
        # The image of the edge runs along J t; its normal, on the white side, is what is searched.
        tx = -at[2] * normals[p, 1] + at[3] * normals[p, 0]
        ty = -at[4] * normals[p, 1] + at[5] * normals[p, 0]
        size = np.sqrt(tx * tx + ty * ty)
        nx, ny = ty / size, -tx / size
        across = (at[2] * normals[p, 0] + at[3] * normals[p, 1]) * nx
        across += (at[4] * normals[p, 0] + at[5] * normals[p, 1]) * ny
        if across < 0.0:
            nx, ny, across = -nx, -ny, -across
        upright = 1 if abs(normals[p, 0]) > 0.5 else 0
        reach = min(max(min(reach_cells * cell * across, longest[upright]), _SHORTEST), 20.0)
        n = min(int(np.ceil(2.0 * reach / 0.6)) + 1, 64)
        space = 2.0 * reach / (n - 1)
        for k in range(n):
            s = k * space - reach
            profile[k] = sample(gray, at[0] + s * nx, at[1] + s * ny)
        total = first = second = 0.0
        for k in range(n - 1):
            step = profile[k + 1] - profile[k]
            weight = max(step, 0.0) ** 2 if squared else step
            s = (k + 0.5) * space - reach
            total += weight
            first += weight * s
            second += weight * s * s
        low, high = 0.5 * (profile[0] + profile[1]), 0.5 * (profile[n - 1] + profile[n - 2])
        seen[p, 0], seen[p, 1], seen[p, 3], seen[p, 4] = high - low, 0.5 * (high + low), reach, cell * across
        if total > 1e-6:
            shift = first / total
            rows[p, 8] = min(max(shift, -reach), reach)
            seen[p, 2] = np.sqrt(max(second / total - shift * shift, 0.0))
        else:
            rows[p, 8] = seen[p, 2] = 0.0
        x, y = (h[0] * u + h[1] * v + h[2]) / at[6], (h[3] * u + h[4] * v + h[5]) / at[6]
        along = -(nx * x + ny * y) / at[6]
        rows[p, 0], rows[p, 1], rows[p, 2] = nx * u / at[6], nx * v / at[6], nx / at[6]
        rows[p, 3], rows[p, 4], rows[p, 5] = ny * u / at[6], ny * v / at[6], ny / at[6]
        rows[p, 6], rows[p, 7] = along * u, along * v


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(rows: Floats, seen: Floats, believed: float, weights: Floats) -> bool:
    """Write the weight (P,) of each profile; return whether there are enough."""
    typical = np.median(seen[:, 0])
    strong = seen[seen[:, 0] > 0.5 * typical, 0]
    typical = np.median(strong) if len(strong) else 0.0
    clear = seen[:, 0] > max(_FAINT * typical, 1.0)
    if clear.sum() < _LEAST_EDGES:
        return False
    off = rows[:, 8]
    sigma = max(1.4826 * np.median(np.abs(off[clear])), 0.02)
    for p in range(len(off)):
        ratio = off[p] / max(_TUKEY * sigma, believed * seen[p, 4])
        if clear[p] and abs(ratio) < 1.0:
            weights[p] = min(seen[p, 0] / typical, 1.0) * (1.0 - ratio * ratio) ** 2
        else:
            weights[p] = 0.0
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _normal_equations(rows: Floats, weights: Floats, A: Floats, b: Floats) -> None:
    A[:] = 0.0
    b[:] = 0.0
    for p in range(len(rows)):
        if weights[p] > 0.0:
            for i in range(8):
                value = weights[p] * rows[p, i]
                b[i] += value * rows[p, 8]
                for j in range(i + 1):
                    A[i, j] += value * rows[p, j]
    for i in range(8):
        for j in range(i):
            A[j, i] = A[i, j]


@njit(cache=True, nogil=True, error_model="numpy")
def fit_homography(
    gray: Image, corners: Floats, points: Floats, normals: Floats, bend: Floats, cell: float
) -> tuple[bool, Floats, Floats, Floats, Floats]:
    """Fit the homography of a print.

    Returns:
        Whether enough edges were there; the homography (9,) from the unit square; what was seen (P, 5), see
        ``_look``; weights (P,); width of the blur [px] along either axis.
    """
    some_points, some_normals = points[::2].copy(), normals[::2].copy()
    count = len(some_points)
    rows, seen, weights = np.empty((count, 9)), np.empty((count, 5)), np.zeros(count)
    A, b = np.zeros((8, 8)), np.zeros(8)
    h = _homography(corners)
    longest = np.full(2, np.inf)
    passes = len(_REACH)
    for k in range(passes + 1):
        near = k >= _FAR_PASSES
        if k == _FAR_PASSES:
            some_points, some_normals, count = points, normals, len(points)
            rows, seen, weights = np.empty((count, 9)), np.empty((count, 5)), np.zeros(count)
        at = min(k, passes - 1)
        _look(gray, h, some_points, some_normals, bend, cell, _REACH[at], longest, not near, rows, seen)
        if not _weigh(rows, seen, _BELIEVED[at], weights):
            return False, h, seen, weights, longest
        if k == _FAR_PASSES - 1:
            # A moving camera blurs the upright edges and the level ones differently.
            upright = np.abs(some_normals[:, 0]) > 0.5
            for axis in range(2):
                widths = seen[(weights > 0.0) & (upright == (axis == 1)), 2]
                longest[axis] = _BLURS * np.median(widths) if len(widths) else np.inf
        _normal_equations(rows, weights, A, b)
        if k == passes:
            break
        if not _solve(A.copy(), b):
            return False, h, seen, weights, longest
        h[:8] += b
    return True, h, seen, weights, longest / _BLURS


@njit(cache=True, nogil=True, error_model="numpy")
def read_middles(gray: Image, h: Floats, bend: Floats, m: int) -> Floats:
    """Return the mean brightness (m * m,) of the middle of each cell."""
    at = np.empty(7)
    grey = np.empty(m * m)
    for j in range(m):
        for i in range(m):
            total = 0.0
            for dy in (-0.22, 0.0, 0.22):
                for dx in (-0.22, 0.0, 0.22):
                    _place(h, (i + 0.5 + dx) / m, (j + 0.5 + dy) / m, bend, at)
                    total += sample(gray, at[0], at[1])
            grey[j * m + i] = total / 9.0
    return grey
