"""Printed sheets in the picture, exact to a few thousandths of a pixel.

A pixel's grey is the mean over its area: the sheet's coordinates are computed exactly at the
four corners of the pixel (through the true lens), interpolated inside it, and the print is
sampled at 64 well-spread points where it has an edge there, at one point where it has none.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.lens import project
from sim.targets import PAPER, Texture
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats

SAMPLES = 64
_PER_SIDE = 24
_SLACK_M = 0.003
"""[m] A sheet that lies on a surface is not hidden by it."""


def _hammersley(n: int) -> Floats:
    """Return n points (n, 2) spread evenly over the unit square (Hammersley, 1960): n levels on either axis."""
    bits = int(np.log2(n))
    i = np.arange(n)
    mirrored = sum(((i >> b) & 1) << (bits - 1 - b) for b in range(bits))
    return np.column_stack([(i + 0.5) / n, (np.asarray(mirrored) + 0.5) / n])


_POINTS = _hammersley(SAMPLES)


def draw_sheet(
    canvas: NDArray[np.float32],
    distance: NDArray[np.float32],
    texture: Texture,
    Ts_camera_target: list[Transform],
    brightness: float,
    lens: CameraIntrinsics,
    corners: Floats,
    *,
    solid_colour: NDArray[np.float32],
    solid_alpha: NDArray[np.float32],
    solid_distance: NDArray[np.float32],
) -> None:
    """Draw one sheet into ``canvas`` (H, W, 3) and its range [m] into ``distance`` (H, W).

    Args:
        canvas: Background with the solid bodies and farther sheets on it.
        distance: Range of the background and farther sheets.
        texture: What is printed.
        Ts_camera_target: One pose, or several spread evenly over the rows from the top (rolling shutter).
        brightness: Factor on the grey levels, from the light on the sheet.
        lens: The camera's.
        corners: (H+1, W+1, 3) rays through the corners of the pixels.
        solid_colour: The bodies alone, with ``solid_alpha`` and ``solid_distance``.
        solid_alpha: (H, W)
        solid_distance: (H, W) [m]
    """
    box = _box(texture, Ts_camera_target, lens)
    if box is None:
        return
    Ts_target_camera = np.stack([T.inv().matrix for T in Ts_camera_target])
    rows = np.linspace(0.0, len(Ts_camera_target) - 1.0, lens.height + 1)
    _draw(
        canvas,
        distance,
        solid_colour,
        solid_alpha,
        solid_distance,
        texture.x_edges,
        texture.y_edges,
        texture.grey,
        Ts_target_camera,
        rows,
        brightness,
        corners,
        np.array(box),
    )


def _box(
    texture: Texture, Ts_camera_target: list[Transform], lens: CameraIntrinsics
) -> tuple[int, int, int, int] | None:
    """Return x0, y0, x1, y1 of the pixels that the sheet may touch, or None."""
    outline = texture.outline
    steps = np.linspace(0.0, 1.0, _PER_SIDE, endpoint=False)[:, None]
    rim = np.concatenate([a + steps * (b - a) for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True)])
    points = np.concatenate([T.apply(rim) for T in Ts_camera_target])
    if (points[:, 2] <= 0.0).all() and lens.model == "pinhole":
        return None
    if (points[:, 2] < 0.02).any():
        return 0, 0, lens.width, lens.height
    uv = project(points, lens)
    low, high = np.floor(uv.min(axis=0)).astype(int) - 1, np.ceil(uv.max(axis=0)).astype(int) + 2
    # A sheet that is partly outside a distorted picture may fold back into it: look everywhere.
    if (np.abs(uv) > 3.0 * max(lens.width, lens.height)).any():
        return 0, 0, lens.width, lens.height
    x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
    x1, y1 = min(int(high[0]), lens.width), min(int(high[1]), lens.height)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


@njit(cache=True, nogil=True, error_model="numpy")
def _corner_row(row: int, x0: int, x1: int, Ts: Floats, rows: Floats, corners: Floats, uvt: Floats) -> None:
    """Write (u, v, range) on the sheet's plane for the pixel corners x0..x1 of a row; NaN behind the camera."""
    k = min(int(rows[row]), len(Ts) - 1)
    nxt = min(k + 1, len(Ts) - 1)
    f = rows[row] - k
    T = (1.0 - f) * Ts[k] + f * Ts[nxt]
    for x in range(x0, x1 + 1):
        d = corners[row, x]
        dz = T[2, 0] * d[0] + T[2, 1] * d[1] + T[2, 2] * d[2]
        t = -T[2, 3] / dz
        if not t > 0.0:
            uvt[x - x0, 0] = uvt[x - x0, 1] = uvt[x - x0, 2] = np.nan
            continue
        uvt[x - x0, 0] = T[0, 3] + t * (T[0, 0] * d[0] + T[0, 1] * d[1] + T[0, 2] * d[2])
        uvt[x - x0, 1] = T[1, 3] + t * (T[1, 0] * d[0] + T[1, 1] * d[1] + T[1, 2] * d[2])
        uvt[x - x0, 2] = t


@njit(cache=True, nogil=True)
def _cell(edges: Floats, x: float, start: int) -> int:
    """Return i with edges[i] <= x < edges[i + 1], walking from ``start``; -1 before all, len - 1 after."""
    i = start
    last = len(edges) - 1
    while i >= 0 and edges[i] > x:
        i -= 1
    while i < last and edges[i + 1] <= x:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _plain(grey: NDArray[np.float32], i0: int, j0: int, i1: int, j1: int) -> bool:
    """Return whether the cells i0..i1, j0..j1 all exist and have one grey."""
    if i0 < 0 or j0 < 0 or i1 >= grey.shape[1] or j1 >= grey.shape[0]:
        return False
    first = grey[j0, i0]
    for j in range(j0, j1 + 1):
        for i in range(i0, i1 + 1):
            if grey[j, i] != first:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(
    canvas: NDArray[np.float32],
    distance: NDArray[np.float32],
    solid_colour: NDArray[np.float32],
    solid_alpha: NDArray[np.float32],
    solid_distance: NDArray[np.float32],
    xs: Floats,
    ys: Floats,
    grey: NDArray[np.float32],
    Ts: Floats,
    rows: Floats,
    brightness: float,
    corners: Floats,
    box: NDArray[np.int64],
) -> None:
    x0, y0, x1, y1 = box[0], box[1], box[2], box[3]
    nx, ny = len(xs) - 1, len(ys) - 1
    top = np.empty((x1 - x0 + 1, 3))
    low = np.empty((x1 - x0 + 1, 3))
    front = Ts[0, 2, 3] > 0.0
    points = _POINTS
    i_hint = j_hint = 0
    _corner_row(y0, x0, x1, Ts, rows, corners, low)
    for y in range(y0, y1):
        top, low = low, top
        _corner_row(y + 1, x0, x1, Ts, rows, corners, low)
        for x in range(x0, x1):
            a, b, c, d = top[x - x0], top[x - x0 + 1], low[x - x0], low[x - x0 + 1]
            u_min, u_max = min(min(a[0], b[0]), min(c[0], d[0])), max(max(a[0], b[0]), max(c[0], d[0]))
            v_min, v_max = min(min(a[1], b[1]), min(c[1], d[1])), max(max(a[1], b[1]), max(c[1], d[1]))
            t = 0.25 * (a[2] + b[2] + c[2] + d[2])
            if not (u_max > xs[0] and u_min < xs[nx] and v_max > ys[0] and v_min < ys[ny] and t > 0.0):
                continue
            if t - _SLACK_M > distance[y, x]:
                continue
            hidden = solid_distance[y, x] < t
            if hidden and solid_alpha[y, x] == 1.0:
                continue
            i_hint, j_hint = _cell(xs, u_min, max(i_hint, 0)), _cell(ys, v_min, max(j_hint, 0))
            alone = _plain(grey, i_hint, j_hint, _cell(xs, u_max, max(i_hint, 0)), _cell(ys, v_max, max(j_hint, 0)))
            alpha = 1.0
            if alone:
                value = float(grey[j_hint, i_hint])
            else:
                total = 0.0
                count = 0
                for k in range(len(points)):
                    p, q = points[k, 0], points[k, 1]
                    w00, w01, w10, w11 = (1 - p) * (1 - q), p * (1 - q), (1 - p) * q, p * q
                    u = w00 * a[0] + w01 * b[0] + w10 * c[0] + w11 * d[0]
                    v = w00 * a[1] + w01 * b[1] + w10 * c[1] + w11 * d[1]
                    i = _cell(xs, u, max(i_hint, 0))
                    j = _cell(ys, v, max(j_hint, 0))
                    if i >= 0 and i < nx and j >= 0 and j < ny:
                        total += grey[j, i]
                        count += 1
                if count == 0:
                    continue
                value = total / count
                alpha = count / len(points)
            if not front:
                value = 0.9 * PAPER
            value *= brightness
            for channel in range(3):
                if hidden:
                    # A soft outline before the sheet: take the body off, lay the sheet, put the body back.
                    share, body = solid_alpha[y, x], solid_colour[y, x, channel]
                    under = (canvas[y, x, channel] - share * body) / (1.0 - share)
                    under += alpha * (value - under)
                    canvas[y, x, channel] = under + share * (body - under)
                else:
                    canvas[y, x, channel] += alpha * (value - canvas[y, x, channel])
            if alpha > 0.5:
                distance[y, x] = t
