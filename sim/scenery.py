"""What does not move: table, floor and backdrop, computed analytically, and the arm's soft shadow on the table.

A plane costs 8 ns a pixel here and 80 ns as triangles in Open3D, which matters when the
camera rides on the arm and the whole background changes with every picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

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


def see_scenery(scenery: Scenery, T_world_camera: Transform, corners: Floats, *, fine: bool) -> Background:
    """Return the background through pixel-corner rays (H+1, W+1, 3); ``fine`` takes nine samples a pixel, not one."""
    height, width = corners.shape[0] - 1, corners.shape[1] - 1
    colour = np.empty((height, width, 3), dtype=np.float32)
    distance = np.empty((height, width), dtype=np.float32)
    shadow_map = np.empty((height, width, 2), dtype=np.float32)
    side = 3 if fine else 1
    _see(scenery.numbers, T_world_camera.matrix, corners, side, _SHADOW_PX_PER_M, colour, distance, shadow_map)
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

_TABLE = (0.60, 0.62, 0.63)
_LINES = (0.40, 0.42, 0.44)
_EDGE = (0.30, 0.32, 0.34)
_FLOOR = (0.21, 0.20, 0.19)
_WALL_LOW = (0.36, 0.35, 0.34)
_WALL_HIGH = (0.66, 0.63, 0.60)
# BGR reflectance, linear.


@njit(cache=True)
def _line(x: float, pitch: float, half: float, footprint: float) -> float:
    """Return how much of a footprint around x lies on lines of width 2 half at multiples of pitch."""
    d = abs(x - pitch * math.floor(x / pitch + 0.5))
    overlap = min(half, d + 0.5 * footprint) - max(-half, d - 0.5 * footprint)
    return min(1.0, max(0.0, overlap / footprint))


@njit(cache=True, error_model="numpy")
def _see(
    numbers: Floats,
    T: Floats,
    corners: Floats,
    side: int,
    px_per_m: float,
    colour: NDArray[np.float32],
    distance: NDArray[np.float32],
    shadow_map: NDArray[np.float32],
) -> None:
    """Fill one picture; ``T`` is T_world_camera, ``side`` squared the samples a pixel."""
    x0, x1, y0, y1 = numbers[0], numbers[1], numbers[2], numbers[3]
    thickness, floor, grid = numbers[4], numbers[5], numbers[6]
    ox, oy, oz = T[0, 3], T[1, 3], T[2, 3]
    level = irradiance(0.0, 0.0, 1.0, 1.0)
    height, width = distance.shape
    for row in range(height):
        for column in range(width):
            b = g = r = 0.0
            for s in range(side * side):
                ay, ax = (s // side + 0.5) / side, (s % side + 0.5) / side
                cx = cy = cz = 0.0
                for k in range(4):
                    w = (ay if k >= 2 else 1.0 - ay) * (ax if k % 2 else 1.0 - ax)
                    corner = corners[row + k // 2, column + k % 2]
                    cx += w * corner[0]
                    cy += w * corner[1]
                    cz += w * corner[2]
                dx = T[0, 0] * cx + T[0, 1] * cy + T[0, 2] * cz
                dy = T[1, 0] * cx + T[1, 1] * cy + T[1, 2] * cz
                dz = T[2, 0] * cx + T[2, 1] * cy + T[2, 2] * cz
                t, face = _hit_table(ox, oy, oz, dx, dy, dz, x0, x1, y0, y1, -thickness)
                u = v = -1.0
                if face == 3:
                    x, y = ox + t * dx, oy + t * dy
                    u, v = (x - x0) * px_per_m, (y - y0) * px_per_m
                    # Footprint of a sample on the table, for soft lines: its angle over the slant.
                    angle = abs(corners[row, column + 1, 0] - corners[row, column, 0]) + 1e-6
                    size = t * angle / side / max(-dz, 0.05)
                    on = max(_line(x, grid, 0.0008, size), _line(y, grid, 0.0008, size))
                    rim = min(min(x - x0, x1 - x), min(y - y0, y1 - y))
                    on = max(on, 0.7 * min(1.0, max(0.0, (0.012 - rim) / size + 0.5)))
                    cb = (_TABLE[0] + on * (_LINES[0] - _TABLE[0])) * level
                    cg = (_TABLE[1] + on * (_LINES[1] - _TABLE[1])) * level
                    cr = (_TABLE[2] + on * (_LINES[2] - _TABLE[2])) * level
                elif face > 0:
                    nx = 0.0 if face != 1 else (-1.0 if dx > 0 else 1.0)
                    ny = 0.0 if face != 2 else (-1.0 if dy > 0 else 1.0)
                    light = irradiance(nx, ny, -1.0 if face == 4 else 0.0, 1.0)
                    cb, cg, cr = _EDGE[0] * light, _EDGE[1] * light, _EDGE[2] * light
                else:
                    # The backdrop brightens upward; the floor fades into it, as in a photo studio.
                    rise = min(1.0, max(0.0, 0.5 + 0.9 * dz))
                    cb = _WALL_LOW[0] + rise * (_WALL_HIGH[0] - _WALL_LOW[0])
                    cg = _WALL_LOW[1] + rise * (_WALL_HIGH[1] - _WALL_LOW[1])
                    cr = _WALL_LOW[2] + rise * (_WALL_HIGH[2] - _WALL_LOW[2])
                    t = np.inf
                    if dz < -1e-6 and oz > floor:
                        t = (floor - oz) / dz
                        fade = min(1.0, t / 6.0)
                        fade = fade * fade
                        cb = _FLOOR[0] + fade * (cb - _FLOOR[0])
                        cg = _FLOOR[1] + fade * (cg - _FLOOR[1])
                        cr = _FLOOR[2] + fade * (cr - _FLOOR[2])
                b += cb
                g += cg
                r += cr
                if s == side * side // 2:
                    distance[row, column] = t
                    shadow_map[row, column, 0] = u
                    shadow_map[row, column, 1] = v
            n = side * side
            colour[row, column, 0] = 255.0 * math.sqrt(min(b / n, 1.0))
            colour[row, column, 1] = 255.0 * math.sqrt(min(g / n, 1.0))
            colour[row, column, 2] = 255.0 * math.sqrt(min(r / n, 1.0))


@njit(cache=True, error_model="numpy")
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
