"""Light: kernels that turn rays and hits into grey levels.

One distant key light, a sky that is brighter above than below, a little gloss; reflectance is
linear, the display gamma is 2 (a square root, which is cheap).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.types import Floats

LIGHT = np.array([0.30, -0.42, 0.857]) / math.sqrt(0.30**2 + 0.42**2 + 0.857**2)
"""Unit vector toward the key light, in the world."""
LX, LY, LZ = (float(x) for x in LIGHT)
KEY, SKY, GROUND = 0.66, 0.42, 0.17
"""Irradiance from the key light and from above and below, of white."""
GLOSS = 0.12


@njit(cache=True, nogil=True)
def irradiance(nx: float, ny: float, nz: float, light: float) -> float:
    """Return the light on a surface of unit normal n in the world; ``light`` is 0 in full shadow."""
    facing = nx * LX + ny * LY + nz * LZ
    up = 0.5 + 0.5 * nz
    return max(facing, 0.0) * KEY * light + SKY * up + GROUND * (1.0 - up)


@njit(cache=True, nogil=True)
def make_rays(
    directions: NDArray[np.float32], samples: NDArray[np.int64], T_body_camera: Floats, rays: NDArray[np.float32]
) -> None:
    """Write origin and direction in the body's frame for ``directions[samples]`` into ``rays`` (N, 6)."""
    T = T_body_camera
    for i in range(len(samples)):
        k = samples[i]
        x, y, z = directions[k, 0], directions[k, 1], directions[k, 2]
        for r in range(3):
            rays[i, r] = T[r, 3]
            rays[i, 3 + r] = T[r, 0] * x + T[r, 1] * y + T[r, 2] * z


@njit(cache=True, nogil=True, error_model="numpy")
def shade_hits(
    rays: NDArray[np.float32],
    t: NDArray[np.float32],
    triangle: NDArray[np.uint32],
    uv: NDArray[np.float32],
    normals: NDArray[np.float32],
    colours: NDArray[np.float32],
    T_world_body: Floats,
    label: int,
    slots: NDArray[np.int64],
    colour: NDArray[np.float32],
    distance: NDArray[np.float32],
    body_of: NDArray[np.int16],
) -> None:
    """Shade the hits that are nearer than what is in their slot, and write them there."""
    R = T_world_body
    for i in range(len(t)):
        slot = slots[i]
        if not t[i] < distance[slot]:
            continue
        k = np.int64(triangle[i])
        u, v = uv[i, 0], uv[i, 1]
        w = np.float32(1.0) - u - v
        nx = w * normals[3 * k, 0] + u * normals[3 * k + 1, 0] + v * normals[3 * k + 2, 0]
        ny = w * normals[3 * k, 1] + u * normals[3 * k + 1, 1] + v * normals[3 * k + 2, 1]
        nz = w * normals[3 * k, 2] + u * normals[3 * k + 1, 2] + v * normals[3 * k + 2, 2]
        dx, dy, dz = rays[i, 3], rays[i, 4], rays[i, 5]
        flip = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
        if nx * dx + ny * dy + nz * dz > 0.0:
            flip = -flip
        wx = (R[0, 0] * nx + R[0, 1] * ny + R[0, 2] * nz) * flip
        wy = (R[1, 0] * nx + R[1, 1] * ny + R[1, 2] * nz) * flip
        wz = (R[2, 0] * nx + R[2, 1] * ny + R[2, 2] * nz) * flip
        # Blinn: the half vector between light and eye, to the 32nd power.
        hx = LX - (R[0, 0] * dx + R[0, 1] * dy + R[0, 2] * dz)
        hy = LY - (R[1, 0] * dx + R[1, 1] * dy + R[1, 2] * dz)
        hz = LZ - (R[2, 0] * dx + R[2, 1] * dy + R[2, 2] * dz)
        s = max(0.0, (wx * hx + wy * hy + wz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-20))
        for _ in range(5):
            s *= s
        light = irradiance(wx, wy, wz, 1.0)
        for c in range(3):
            colour[slot, c] = 255.0 * math.sqrt(min(colours[k, c] * light + GLOSS * s, 1.0))
        distance[slot] = t[i]
        body_of[slot] = label


def tint(normal_world: Floats, *, light: Any = 1.0) -> float:
    """Return the factor on display grey levels for a flat sheet of unit normal (3,), at most 1."""
    nx, ny, nz = (float(x) for x in normal_world)
    return min(1.0, math.sqrt(irradiance(nx, ny, nz, light)))
