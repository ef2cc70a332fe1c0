"""Compiled heart of the corner refinement: from a rough quad to corners and covariance."""

from __future__ import annotations

import math

import numpy as np

from vision_ik.tags.corners.edges import TABLE, fit_edge, tabulate_step
from vision_ik.tags.corners.maps import (
    Bools,
    Ints,
    add_side_errors,
    change_row,
    compiled,
    corner_covariance,
    farthest,
    homography,
    least_cell,
    map_corners,
    place,
    robust_change,
)
from vision_ik.tags.corners.search import border_polarity, paper_margin, read_cells, search_border
from vision_ik.types import Floats, Image

_PASSES = 6
_MAX_MOVE = 4.0
"""[px] A corner that would move farther has lost its edges."""
_MAX_MOVE_CELLS = 1.0
"""[cells] The same on the way to the border of a large marker: one corner of a rough quad may be far off."""
_LEAST_RISE = 2.0
"""[grey levels] Step across the border."""
_SETTLED = 0.03
"""[px] After a step of the corners that is smaller, the next would be a tenth of the noise or less."""
_LEAST_NOISE = 0.08
"""[grey levels^2] Rounding to whole levels."""
_ODD_NOISE = 2.5
"""An edge whose residuals' variance is so many times the typical one counts with its own."""
_BIAS = 0.014
"""[px] Standard deviation of what the pixels' scatter does not show of an edge, for each of its pixels."""
_CORNER_FLOOR, _BLURRED_FLOOR = 0.0015, 0.001
"""[px] The same of a corner; and for each pixel of blur, whose shape is never quite the one that is fitted."""
_CROWDED, _CROWDED_PATH = 0.0017, 0.028
"""[margins] Standard deviation of a side's place under a blur that reaches over the paper's white margin, beyond
which more shows than is modelled, and what a path adds."""
_PRIOR = 20.0
"""Edges' worth of trust in the pixels' scatter, when the scatter of the edges says otherwise."""
_FAINT = 0.3
"""Share of the typical contrast below which an edge is left out."""
_FEWEST = 10
"""Edges; fewer do not carry a homography."""
_TUNE = 4.5
"""[sigma] Edges that miss by more have no weight."""
_KNOWN_REACH = 0.9
"""[cells] Longest reach across an edge inside the marker, where the neighbours are known."""
_OUTER_REACH = 0.5
"""[cells] Longest reach out of the border: the paper may end."""
_PAPER = 0.75
"""[cells] Where the paper may end."""
_LEAST_REACH = 1.25
"""[px]"""
_END_MARGIN = 1.5
"""[widths of the blur] Left out where another edge meets the end of this one."""
_MIXED = 1.0
"""Blur (3 sigma) over half a cell beyond which what lies beside an edge is modelled, not left out."""
_MUCH_BLUR = 1.0
"""[px]"""
_LEAST_SHARP = 0.3
"""[px] Blur of the lens beside that of a motion."""
_LEAST_PATH = 0.04
"""Square of the share in the blur's variance below which no path shows."""
_OBLIQUE = 0.1
"""Product of both directions' shares beyond which the path's direction matters."""
_CLEARER = 0.9
"""Of the misfit without a direction of the path that one with it must have."""
_KEPT = 256
"""Pixels of an edge that are asked whether their residuals are alike."""
_BLUR = (0.15, 4.0)
"""[px] Bounds of the blur."""

CONTRAST, OFFSET, VARIANCE, NOISE, WIDENING, RESHAPING, INFO, SHARED, LENGTH, AXIS = 0, 1, 2, 3, 4, 5, 6, 9, 10, 11


@compiled
def approach(gray: Image, quad: Floats, n: int, bend: Floats) -> float:
    """Move a rough quad (4, 2) onto the border in place, to a fraction of a pixel.

    Returns:
        The blur [px] with the sign of the border: positive for black on white; 0 where no border is found.
    """
    h, step, start = np.empty(9), np.zeros(8), quad.copy()
    homography(quad, h)
    rise = border_polarity(gray, h, bend, n)
    if abs(rise) < _LEAST_RISE:
        return 0.0
    polarity = 1.0 if rise > 0.0 else -1.0
    width = 0.0
    for _ in range(2):
        width = search_border(gray, h, bend, n, polarity, step)
        if width < 0.0:
            return 0.0
        for j in range(8):
            h[j] += step[j]
    map_corners(h, bend, quad)
    if not farthest(quad, start) < max(_MAX_MOVE, _MAX_MOVE_CELLS * least_cell(start, n)):
        return 0.0
    return polarity * _blur_of(width)


@compiled
def stay(gray: Image, quad: Floats, n: int, bend: Floats, width: float) -> float:
    """Return what :func:`approach` would, for a quad that lies where it should, and a known width of its steps [px]."""
    h = np.empty(9)
    homography(quad, h)
    return math.copysign(_blur_of(width), border_polarity(gray, h, bend, n))


@compiled
def _blur_of(width: float) -> float:
    """Return the blur [px] that makes steps of a width (root mean square, squared weights) [px]."""
    # Squared weights narrow a Gaussian by sqrt(2); a pixel is 1/12 px^2 wide.
    return math.sqrt(min(max(2.0 * width * width - 0.15, 0.09), 9.0))


@compiled
def refine_one(
    gray: Image,
    quad: Floats,
    n: int,
    white: Ints,
    known: bool,
    hidden: Bools,
    bend: Floats,
    start_blur: float,
    covariance: Floats,
) -> bool:
    """Move a quad (4, 2) onto the edges of its marker in place and write its covariance (8, 8).

    Args:
        gray: Picture.
        quad: Corners to a fraction of a pixel.
        n: Cells along an edge.
        white: (n+4, n+4) cells with two of paper around, 1 white; written where they are not known.
        known: Whether they are.
        hidden: (n+4, n+4) cells that something covers; edges beside them are left out.
        bend: (k, k, 2) polynomial by which the lens bends the marker [px]; k = 0 for none.
        start_blur: From :func:`approach`.
        covariance: Of the corners [px^2].

    Returns:
        False where too little of the edges can be followed; the quad is spoilt then.
    """
    h, step, A = np.empty(9), np.zeros(8), np.zeros((8, 8))
    origin, last = quad.copy(), np.empty((4, 2))
    homography(quad, h)
    polarity = 1.0 if start_blur > 0.0 else -1.0
    blur, share = np.full(2, abs(start_blur)), np.zeros(2)
    if not known:
        read_cells(gray, h, bend, n, white)
    covered = hidden.any()
    most = 2 * n * (n + 1)
    rows, found = np.empty((most, 8)), np.empty((most, 12))
    offsets, sigmas = np.empty(most), np.empty(most)
    tables = np.empty((2, TABLE + 1, 4))
    skew, tried = 0.0, False
    scale = told = once = 1.0
    kept = 0
    margin = _PAPER
    for turn in range(_PASSES):
        for axis in range(2):
            _tabulate(h, bend, n, axis, blur[axis], share[axis], tables)
        border = turn == 0 and not covered
        if turn > 0 and not tried and share[0] * share[1] > _OBLIQUE and 6.0 * blur.max() > least_cell(quad, n):
            tried = True
            least = np.inf
            for sign in (0.0, 1.0, -1.0):
                used = _fit_edges(
                    gray, h, bend, n, white, hidden, False, polarity, blur, share, sign, margin, tables, rows, found
                )
                misfit = np.median(found[:used, NOISE]) if used > 0 else np.inf
                if misfit < least:
                    skew, least = sign, misfit * (_CLEARER if sign == 0.0 else 1.0)
        used = _fit_edges(
            gray, h, bend, n, white, hidden, border, polarity, blur, share, skew, margin, tables, rows, found
        )
        if used < _FEWEST:
            return False
        typical = np.median(found[:used, CONTRAST])
        noise = max(np.median(found[:used, NOISE]), _LEAST_NOISE)
        widened = _widen(found[:used], typical, noise, blur, share)
        kept = 0
        told = once = 0.0
        for i in range(used):
            if found[i, CONTRAST] < _FAINT * typical:
                continue
            own = found[i, NOISE] if found[i, NOISE] > _ODD_NOISE * noise else noise
            rows[kept] = rows[i]
            offsets[kept] = found[i, OFFSET]
            sigmas[kept] = math.sqrt(found[i, VARIANCE] * own + _BIAS * _BIAS / found[i, LENGTH])
            told += 1.0 / sigmas[kept] ** 2
            once += 1.0 / (sigmas[kept] ** 2 * found[i, SHARED])
            kept += 1
        if kept < _FEWEST:
            return False
        scale = robust_change(rows, offsets, sigmas, kept, _TUNE, 5, step, A)
        if scale < 0.0:
            return False
        for j in range(8):
            h[j] += step[j]
        last[:] = quad
        map_corners(h, bend, quad)
        move = farthest(quad, last)
        margin = paper_margin(gray, h, bend, n, max(blur[0], blur[1]), polarity * typical)
        if not farthest(quad, origin) < _MAX_MOVE:
            return False
        if turn > 0 and move < _SETTLED + 0.2 * math.sqrt(noise) / typical and widened < 0.1:
            break
    scale = math.sqrt((_PRIOR + scale * scale * kept) / (_PRIOR + kept))
    # Edges that see the same pixels err together, which their scatter does not show.
    scale *= math.sqrt(told / once)
    corner_covariance(h, A, scale, math.hypot(_CORNER_FLOOR, _BLURRED_FLOOR * max(blur[0], blur[1])), covariance)
    for axis in range(2):
        reach = 3.0 * math.sqrt((1.0 - share[axis]) * blur[axis] ** 2 + 1.0 / 12.0)
        reach += 0.5 * math.sqrt(12.0 * share[axis]) * blur[axis]
        crowded = _CROWDED + _CROWDED_PATH * share[axis] ** 3
        add_side_errors(quad, 1 - axis, n, margin, reach, crowded, covariance)
    return True


@compiled
def _tabulate(h: Floats, bend: Floats, n: int, axis: int, blur: float, share: float, tables: Floats) -> None:
    """Write the table of the steps of one direction."""
    frame = np.empty(9)
    place(h, bend, n, axis, n // 2, 0.0, float(n), frame)
    tabulate_step(blur, share, frame[2], frame[3], tables[axis])


@compiled
def _widen(found: Floats, typical: float, noise: float, blur: Floats, share: Floats) -> float:
    """Change the blur and its shape as the edges ask; return the largest change of the blur's logarithm."""
    largest = 0.0
    for axis in range(2):
        p = q = r = u = v = 0.0
        for i in range(len(found)):
            clear = found[i, CONTRAST] > _FAINT * typical and found[i, NOISE] < 9.0 * noise
            if found[i, AXIS] == axis and clear:
                a, b, c = found[i, INFO], found[i, INFO + 1], found[i, INFO + 2]
                p, q, r = p + a * a, q + a * b, r + b * b + c * c
                u += a * a * found[i, WIDENING] + a * b * found[i, RESHAPING]
                v += a * b * found[i, WIDENING] + (b * b + c * c) * found[i, RESHAPING]
        if p <= 0.0:
            continue
        before, square = blur[axis], 0.0
        if before > _MUCH_BLUR:
            most = (1.0 - (_LEAST_SHARP / before) ** 2) ** 2
            square = share[axis] ** 2
            det = p * r - q * q
            if det > 1e-9 * p * r:
                square = min(max(square + (p * v - q * u) / det, 0.0), most)
        if square < _LEAST_PATH:
            square = 0.0
        widening = min(max((u - q * (square - share[axis] ** 2)) / p, -0.5), 0.5)
        blur[axis] = min(max(before * math.exp(widening), _BLUR[0]), _BLUR[1])
        largest = max(largest, abs(math.log(blur[axis] / before)), abs(math.sqrt(square) - share[axis]))
        share[axis] = math.sqrt(square)
    return largest


@compiled
def _fit_edges(
    gray: Image,
    h: Floats,
    bend: Floats,
    n: int,
    white: Ints,
    hidden: Bools,
    border_only: bool,
    polarity: float,
    blur: Floats,
    share: Floats,
    skew: float,
    margin_cells: float,
    tables: Floats,
    rows: Floats,
    found: Floats,
) -> int:
    """Fit every edge between a black and a white cell where it is expected.

    Args:
        gray: Picture.
        h: Homography.
        bend: See :func:`refine_one`.
        n: Cells along an edge.
        white: Cells with paper around.
        hidden: Which of them are covered.
        border_only: Whether edges inside the marker wait.
        polarity: 1 for black on white, -1 for white on black.
        blur: (2,) [px].
        share: (2,) of a path in the blur's variance.
        skew: 1 where the path leads along both directions, -1 where against one, 0 where that is not known.
        margin_cells: White around the border [cells].
        tables: Of both directions' steps.
        rows: (most, 8) derivatives of the offsets by the homography, written.
        found: (most, 12) see the columns, written.

    Returns:
        How many were fitted with the right polarity.
    """
    frame, earlier, later, fit = np.empty(9), np.empty(9), np.empty(9), np.empty(10)
    cross, around = np.empty(2), np.empty((4, 3))
    # Other shapes of blur than the Gaussian show where there is much of it.
    kept = np.empty((_KEPT if max(blur[0], blur[1]) > _MUCH_BLUR else 0, 7))
    path = skew * blur[0] * blur[1] * math.sqrt(share[0] * share[1])
    round_part = math.sqrt((1.0 - share[0]) * (1.0 - share[1])) if skew != 0.0 else 1.0
    used = 0
    for axis in range(2):
        spread, side = math.sqrt(blur[axis] ** 2 + 1.0 / 12.0), math.sqrt(blur[1 - axis] ** 2 + 1.0 / 12.0)
        # A transposed view makes both directions alike: rows run along the edges.
        cells = white if axis == 0 else white.T
        covered = hidden if axis == 0 else hidden.T
        for line in range(n + 1):
            if border_only and 0 < line < n:
                continue
            for cell in range(n):
                sign = cells[cell + 2, line + 2] - cells[cell + 2, line + 1]
                if sign == 0 or covered[cell + 2, line + 1] or covered[cell + 2, line + 2]:
                    continue
                start, end = float(cell), cell + 1.0
                place(h, bend, n, axis, line, start, end, frame)
                place(h, bend, n, axis, line - 1, start, end, earlier)
                place(h, bend, n, axis, line + 1, start, end, later)
                before = abs((earlier[0] - frame[0]) * frame[2] + (earlier[1] - frame[1]) * frame[3])
                after = abs((later[0] - frame[0]) * frame[2] + (later[1] - frame[1]) * frame[3])
                reach = 3.0 * spread + 0.7
                low = min(reach, (_OUTER_REACH if line == 0 else _KNOWN_REACH) * before)
                high = min(reach, (_OUTER_REACH if line == n else _KNOWN_REACH) * after)
                low, high = max(low, _LEAST_REACH), max(high, _LEAST_REACH)
                paper = 0.0
                tail = False
                if line == 0:
                    paper = -margin_cells * before
                    tail = low + 3.0 * spread > -paper
                elif line == n:
                    paper = margin_cells * after
                    tail = high + 3.0 * spread > paper
                mixed = 3.0 * side > _MIXED * frame[4] and 6.0 * spread > _MIXED * min(before, after)
                margin = 0.0 if mixed else min(_END_MARGIN * side, 0.7 * frame[4])
                open_start = cell > 0 and cells[cell + 1, line + 2] - cells[cell + 1, line + 1] == sign
                open_end = cell < n - 1 and cells[cell + 3, line + 2] - cells[cell + 3, line + 1] == sign
                for i in range(4):
                    for k in range(3):
                        around[i, k] = cells[cell + 1 + k, line + i]
                # The crossing lines run from the line before to the line after.
                dx, dy = later[0] - earlier[0], later[1] - earlier[1]
                length = math.hypot(dx, dy)
                cross[0], cross[1] = -dy / length, dx / length
                if cross[0] * frame[7] + cross[1] * frame[8] < 0.0:
                    cross[0], cross[1] = -cross[0], -cross[1]
                pixels = fit_edge(
                    gray,
                    frame,
                    cross,
                    around,
                    tables[axis],
                    tables[1 - axis],
                    before,
                    after,
                    low,
                    high,
                    0.0 if open_start else margin,
                    0.0 if open_end else margin,
                    mixed,
                    round_part * side * spread * (cross[0] * frame[2] + cross[1] * frame[3]) + path,
                    paper if tail else 0.0,
                    kept,
                    fit,
                )
                if pixels > 0 and fit[CONTRAST] * polarity > 0.0:
                    change_row(h, frame, rows[used])
                    found[used, :LENGTH] = fit
                    found[used, LENGTH] = 2.0 * frame[4]
                    found[used, CONTRAST] *= polarity
                    found[used, AXIS] = axis
                    used += 1
    return used
