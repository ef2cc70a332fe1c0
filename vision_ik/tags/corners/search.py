"""Compiled search of the corner refinement: the border near a rough quad, and the cells inside."""

from __future__ import annotations

import math

import numpy as np

from vision_ik.tags.corners.maps import Ints, change_row, compiled, map_point, place, robust_change
from vision_ik.tags.sampling import sample
from vision_ik.types import Floats, Image

_PROFILES = 2
"""Profiles per cell of the border."""
_ACROSS = 21
"""Samples of a profile."""
_REACH = 0.6
"""[cells] Half length of a profile."""
_REACH_PX = (2.0, 6.0)
"""[px] Bounds of it."""
_FAINT = 0.1
"""Share of the typical strength of a step below which a profile is left out."""
_STEP_PX, _START_PX = 0.2, 1.0
"""[px] Standard deviations of the place of a step, and of a corner of the rough quad."""
_FEWEST = 12
"""Profiles."""
_RINGS = 12
"""Steps outwards in the search of the paper's end."""
_NEAR, _PITCH = 0.3, 0.1
"""[cells] Distance of the first sample from the border, and of one sample from the next."""
_RAYS, _WIDE = 5, 0.9
"""Rays outwards from a side, and the share of it that they cover."""
_SHOWS = 0.03
"""Least change between samples (rms) that shows an end of the paper [of the contrast]."""
_MARGIN, _ENDLESS = 0.5, 4.0
"""[cells] The least white margin, and what is taken for one whose end does not show."""


@compiled
def border_polarity(gray: Image, h: Floats, bend: Floats, n: int) -> float:
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
                map_point(h, bend, U, V, at)
                total += (1.0 if where else -1.0) * sample(gray, at[0], at[1])
    return total / (4.0 * n)


@compiled
def search_border(gray: Image, h: Floats, bend: Floats, n: int, polarity: float, step: Floats) -> float:
    """Look for the border's four edges along their normals; write the change of the homography.

    Steps are weighed by their square, which ignores what else is in a profile.

    Returns:
        The rms width of the steps [px], negative where the edges are not found.
    """
    most = 4 * n * _PROFILES + 8
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
            place(h, bend, n, axis, line, start, start + 1.0 / _PROFILES, frame)
            place(h, bend, n, axis, 1 if line == 0 else n - 1, start, start + 1.0 / _PROFILES, inner)
            cell = abs((inner[0] - frame[0]) * frame[2] + (inner[1] - frame[1]) * frame[3])
            reach = min(max(_REACH * cell, _REACH_PX[0]), _REACH_PX[1])
            pitch = 2.0 * reach / (_ACROSS - 1)
            nx, ny = outward * frame[2], outward * frame[3]
            for i in range(_ACROSS):
                s = i * pitch - reach
                profile[i] = sample(gray, frame[0] + s * nx, frame[1] + s * ny)
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
            change_row(h, frame, rows[count])
            offsets[count] = first / total
            widths[count] = math.sqrt(max(second / total - offsets[count] ** 2, 0.0))
            strength[count] = total / pitch
            sigmas[count] = _STEP_PX
            count += 1
    if count < _FEWEST:
        return -1.0
    typical = np.median(strength[:count])
    kept = 0
    for i in range(count):
        if strength[i] > _FAINT * typical:
            rows[kept] = rows[i]
            offsets[kept], widths[kept] = offsets[i], widths[i]
            kept += 1
    if kept < _FEWEST:
        return -1.0
    width = np.median(widths[:kept])
    # What the profiles leave open stays where it is.
    for k in range(8):
        frame[5], frame[6] = (-1.0 if k % 4 == 0 or k % 4 == 3 else 1.0), (-1.0 if k % 4 < 2 else 1.0)
        frame[2], frame[3] = (1.0, 0.0) if k < 4 else (0.0, 1.0)
        change_row(h, frame, rows[kept])
        offsets[kept], sigmas[kept] = 0.0, _START_PX
        kept += 1
    A = np.empty((8, 8))
    return width if robust_change(rows, offsets, sigmas, kept, 5.0, 4, step, A) >= 0.0 else -1.0


@compiled
def read_cells(gray: Image, h: Floats, bend: Floats, n: int, white: Ints) -> None:
    """Write the inner cells into ``white`` (n+4, n+4): 1 where nearer to the paper around than to the border."""
    at = np.empty(2)
    outside, black = 0.0, 0.0
    for j in range(-1, n + 1):
        for i in range(-1, n + 1):
            rim = min(min(i, n - 1 - i), min(j, n - 1 - j))
            if rim <= 0:
                map_point(h, bend, (2.0 * i + 1.0) / n - 1.0, (2.0 * j + 1.0) / n - 1.0, at)
                if rim < 0:
                    outside += sample(gray, at[0], at[1]) / (4.0 * n + 4.0)
                else:
                    black += sample(gray, at[0], at[1]) / (4.0 * n - 4.0)
    for j in range(n):
        for i in range(n):
            map_point(h, bend, (2.0 * i + 1.0) / n - 1.0, (2.0 * j + 1.0) / n - 1.0, at)
            value = sample(gray, at[0], at[1])
            inner = min(min(i, n - 1 - i), min(j, n - 1 - j)) > 0
            white[j + 2, i + 2] = 1 if inner and abs(value - outside) < abs(value - black) else 0


@compiled
def paper_margin(gray: Image, h: Floats, bend: Floats, n: int, blur: float, contrast: float) -> float:
    """Return how far the white goes on around the border [cells], far where no end shows.

    The end is where the brightness changes most on the way outwards, the border's own blurred step taken away:
    that place stays where it is under blur, and whatever lies beyond the paper.

    Args:
        gray: Picture.
        h: Homography onto the border.
        bend: Of the lens [px], see :func:`vision_ik.tags.corners.kernels.refine_one`.
        n: Cells along an edge.
        blur: The larger of both axes [px], which errs to narrow margins.
        contrast: Of white over black [grey levels].
    """
    at, frame, last, change = np.empty(2), np.empty(9), np.empty(_RAYS), np.zeros(_RINGS)
    width = math.sqrt(2.0 * (blur * blur + 1.0 / 12.0))
    for side in range(4):
        axis, line = side // 2, 0 if side % 2 == 0 else n
        outward = -1.0 if line == 0 else 1.0
        place(h, bend, n, axis, line, 0.0, float(n), frame)
        for k in range(_RINGS + 1):
            across = outward * (1.0 + 2.0 * (_NEAR + k * _PITCH) / n)
            map_point(h, bend, across if axis == 0 else 0.0, 0.0 if axis == 0 else across, at)
            away = abs((at[0] - frame[0]) * frame[2] + (at[1] - frame[1]) * frame[3])
            shade = 0.5 * contrast * math.erfc(away / width)
            for i in range(_RAYS):
                along = _WIDE * ((2.0 * i + 1.0) / _RAYS - 1.0)
                map_point(h, bend, across if axis == 0 else along, along if axis == 0 else across, at)
                value = sample(gray, at[0], at[1]) + shade
                if k > 0:
                    change[k - 1] += (value - last[i]) ** 2
                last[i] = value
    best = 0
    for k in range(1, _RINGS - 1):  # the border's own step, told a little wrong, falls off from the first on
        if change[k] > change[k - 1] and change[k] >= change[k + 1] and (best == 0 or change[k] > change[best]):
            best = k
    if best == 0 or change[best] < 4.0 * _RAYS * (_SHOWS * contrast) ** 2:
        return _ENDLESS
    a, b, c = change[best - 1], change[best], change[best + 1]
    between = 0.5 * (a - c) / (a - 2.0 * b + c)  # the parabola's top
    return max(_NEAR + (best + 0.5 + between) * _PITCH, _MARGIN)
