"""What does not move: table, floor and backdrop, computed analytically, and the arm's soft shadow on the table.

When the camera rides on the arm the whole background changes with every picture: 7 ms of CPU
here for 640x480 with textures and light, where the rays alone cost 25 ms in Open3D.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.lens import RayTable
from sim.shading import LX, LY, LZ, irradiance
from vision_ik.transforms import Transform
from vision_ik.types import Floats

_SHADOW_PX_PER_M = 250.0
_SHADOW_SOFTNESS_PX = 2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenery:
    """A table whose top is the world's plane z = 0, on a floor, before a plain backdrop."""

    x_m: tuple[float, float] = (-0.35, 1.0)
    """Extent of the table top along the world's x axis [m]."""
    y_m: tuple[float, float] = (-0.75, 0.75)
    thickness_m: float = 0.04
    floor_m: float = -0.74
    """Height of the floor [m]."""
    grid_m: float = 0.1
    """Distance of the thin lines on the table [m]."""

    @property
    def numbers(self) -> Floats:
        """All of it as (7,) for the kernel."""
        return np.array([*self.x_m, *self.y_m, self.thickness_m, self.floor_m, self.grid_m])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Background:
    """Scenery seen from one place."""

    colour: NDArray[np.float32]
    """(H, W, 3) BGR grey levels 0..255, without shadows."""
    distance: NDArray[np.float32]
    """(H, W) along the ray [m], inf at the backdrop."""
    shadow_map: NDArray[np.float32]
    """(H, W, 2) where each pixel looks into the shadow mask, negative off the table top."""


def see_scenery(scenery: Scenery, T_world_camera: Transform, rays: RayTable, *, fine: bool) -> Background:
    """Return the background through a lens; ``fine`` takes nine samples a pixel, not one."""
    height, width = rays.centres.shape[:2]
    colour = np.empty((height, width, 3), dtype=np.float32)
    distance = np.empty((height, width), dtype=np.float32)
    shadow_map = np.empty((height, width, 2), dtype=np.float32)
    directions = rays.inside(3) if fine else rays.centres[:, :, None]
    pixel_rad = float(np.nanmedian(np.linalg.norm(np.diff(rays.centres[height // 2], axis=0), axis=1)))
    _see(
        scenery.numbers,
        T_world_camera.matrix,
        directions,
        pixel_rad / (3.0 if fine else 1.0),
        _SHADOW_PX_PER_M,
        colour,
        distance,
        shadow_map,
    )
    return Background(colour=colour, distance=distance, shadow_map=shadow_map)


def shadow_mask(scenery: Scenery, outlines_world: Iterable[Floats]) -> NDArray[np.uint8]:
    """Return how much key light is missing on the table (255: all), for convex bodies given by points (N, 3)."""
    size = [
        math.ceil((b - a) * _SHADOW_PX_PER_M) + 1 for a, b in (scenery.x_m, scenery.y_m)
    ]  # columns along x, rows along y
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    origin = np.array([scenery.x_m[0], scenery.y_m[0]])
    for points in outlines_world:
        above = points[points[:, 2] > 0.0]
        if len(above) < 3:
            continue
        ground = above[:, :2] - above[:, 2:] * (np.array([LX, LY]) / LZ)
        pixels = np.rint((ground - origin) * _SHADOW_PX_PER_M).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(pixels), 255)
    return cv2.GaussianBlur(mask, (0, 0), _SHADOW_SOFTNESS_PX).astype(np.uint8, copy=False)


SHADE = 1.0 - math.sqrt(irradiance(0.0, 0.0, 1.0, 0.0) / irradiance(0.0, 0.0, 1.0, 1.0))
"""Share of the display grey level that a full shadow takes from a level surface."""


def _display(b: float, g: float, r: float, light: float) -> tuple[float, float, float]:
    """Return BGR grey levels of a reflectance (linear) under a light."""
    level_b, level_g, level_r = (255.0 * math.sqrt(min(c * light, 1.0)) for c in (b, g, r))
    return level_b, level_g, level_r


_LEVEL = irradiance(0.0, 0.0, 1.0, 1.0)
_TABLE = _display(0.60, 0.62, 0.63, _LEVEL)
_LINES = _display(0.40, 0.42, 0.44, _LEVEL)
_FLOOR = _display(0.21, 0.20, 0.19, 1.0)
_WALL_LOW = _display(0.36, 0.35, 0.34, 1.0)
_WALL_HIGH = _display(0.66, 0.63, 0.60, 1.0)
_EDGE = _display(0.30, 0.32, 0.34, 1.0)
_HALF_LINE = 0.0008
"""[m]"""
_RIM = 0.012
"""[m] Width of the darker rim of the table."""


@njit(cache=True, nogil=True, error_model="numpy")
def _see(
    numbers: Floats,
    T: Floats,
    directions: NDArray[np.float32],
    sample_rad: float,
    px_per_m: float,
    colour: NDArray[np.float32],
    distance: NDArray[np.float32],
    shadow_map: NDArray[np.float32],
) -> None:
    """Fill one picture from directions (H, W, S, 3) in the camera frame; ``T`` is T_world_camera."""
    x0, x1, y0, y1 = numbers[0], numbers[1], numbers[2], numbers[3]
    thickness, floor, grid = numbers[4], numbers[5], numbers[6]
    ox, oy, oz = T[0, 3], T[1, 3], T[2, 3]
    height, width = distance.shape
    samples = directions.shape[2]
    for row in range(height):
        for column in range(width):
            b = g = r = 0.0
            for s in range(samples):
                cx, cy, cz = directions[row, column, s, 0], directions[row, column, s, 1], directions[row, column, s, 2]
                dx = T[0, 0] * cx + T[0, 1] * cy + T[0, 2] * cz
                dy = T[1, 0] * cx + T[1, 1] * cy + T[1, 2] * cz
                dz = T[2, 0] * cx + T[2, 1] * cy + T[2, 2] * cz
                t = -oz / dz
                x, y = ox + t * dx, oy + t * dy
                u = v = -1.0
                if oz > 0.0 and dz < 0.0 and x0 < x < x1 and y0 < y < y1:
                    u, v = (x - x0) * px_per_m, (y - y0) * px_per_m
                    # Footprint of a sample on the table, for soft lines: its angle over the slant.
                    size = t * sample_rad / max(-dz, 0.05)
                    on = _pattern(x, y, grid, min(min(x - x0, x1 - x), min(y - y0, y1 - y)), size)
                    cb = _TABLE[0] + on * (_LINES[0] - _TABLE[0])
                    cg = _TABLE[1] + on * (_LINES[1] - _TABLE[1])
                    cr = _TABLE[2] + on * (_LINES[2] - _TABLE[2])
                else:
                    t, face = _hit_table(ox, oy, oz, dx, dy, dz, x0, x1, y0, y1, -thickness)
                    if face > 0:
                        light = _edge_light(face, dx, dy)
                        cb, cg, cr = _EDGE[0] * light, _EDGE[1] * light, _EDGE[2] * light
                    elif math.isnan(cx):
                        cb = cg = cr = 0.0  # no light comes from where the lens does not look
                    else:
                        t, cb, cg, cr = _room(oz, dz, floor)
                b += cb
                g += cg
                r += cr
                if s == samples // 2:
                    distance[row, column] = t
                    shadow_map[row, column, 0] = u
                    shadow_map[row, column, 1] = v
            colour[row, column, 0] = b / samples
            colour[row, column, 1] = g / samples
            colour[row, column, 2] = r / samples


@njit(cache=True, nogil=True, error_model="numpy")
def _pattern(x: float, y: float, grid: float, rim: float, size: float) -> float:
    """Return how dark the table is at (x, y) [m], in [0, 1]: the mean over a footprint of ``size`` [m]."""
    dx = abs(x - grid * math.floor(x / grid + 0.5))
    dy = abs(y - grid * math.floor(y / grid + 0.5))
    d = min(dx, dy)
    overlap = min(_HALF_LINE, d + 0.5 * size) - max(-_HALF_LINE, d - 0.5 * size)
    on_line = min(1.0, max(0.0, overlap / size))
    on_rim = 0.7 * min(1.0, max(0.0, (_RIM - rim) / size + 0.5))
    return max(on_line, on_rim)


@njit(cache=True, nogil=True)
def _edge_light(face: int, dx: float, dy: float) -> float:
    """Return the display factor of a side (1: x, 2: y) or the underside (4) of the table."""
    nx = 0.0 if face != 1 else (-1.0 if dx > 0 else 1.0)
    ny = 0.0 if face != 2 else (-1.0 if dy > 0 else 1.0)
    return math.sqrt(irradiance(nx, ny, -1.0 if face == 4 else 0.0, 1.0))


@njit(cache=True, nogil=True)
def _room(oz: float, dz: float, floor: float) -> tuple[float, float, float, float]:
    """Return range and colour of floor and backdrop, which fade into each other as in a photo studio."""
    rise = min(1.0, max(0.0, 0.5 + 0.9 * dz))
    b = _WALL_LOW[0] + rise * (_WALL_HIGH[0] - _WALL_LOW[0])
    g = _WALL_LOW[1] + rise * (_WALL_HIGH[1] - _WALL_LOW[1])
    r = _WALL_LOW[2] + rise * (_WALL_HIGH[2] - _WALL_LOW[2])
    if dz > -1e-6 or oz <= floor:
        return np.inf, b, g, r
    t = (floor - oz) / dz
    fade = min(1.0, t / 6.0)
    fade = fade * fade
    return t, _FLOOR[0] + fade * (b - _FLOOR[0]), _FLOOR[1] + fade * (g - _FLOOR[1]), _FLOOR[2] + fade * (r - _FLOOR[2])


@njit(cache=True, nogil=True, error_model="numpy")
def _hit_table(
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
    x0: float,
    x1: float,
    y0: float,
    y1: float,
    z0: float,
) -> tuple[float, int]:
    """Return range and face (1: x, 2: y, 3: top, 4: below, 0: none) of a ray on the table.

    By slabs: Kay, Kajiya, Ray tracing complex scenes, 1986.
    """
    enter, leave, face = 0.0, np.inf, 0
    for axis in range(3):
        if axis == 0:
            o, d, low, high = ox, dx, x0, x1
        elif axis == 1:
            o, d, low, high = oy, dy, y0, y1
        else:
            o, d, low, high = oz, dz, z0, 0.0
        a, c = (low - o) / d, (high - o) / d
        if a > c:
            a, c = c, a
        if a > enter:
            enter = a
            face = axis + 1 if axis < 2 or d < 0 else 4
        leave = min(leave, c)
    if face == 0 or not enter < leave:
        return np.inf, 0
    return enter, face
