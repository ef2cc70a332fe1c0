"""Synthetic touches of one point, and views of a tag on the tool: known truth, known noise."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from vision_ik.transforms import Transform
from vision_ik.types import Floats

TIP = np.array([0.02, -0.01, 0.15])
POINT = np.array([0.5, 0.1, 0.02])
COBOT = (0.3e-3, float(np.deg2rad(0.05)))


def orientations(rng: np.random.Generator, n: int, tilt_deg: float = 40.0, turn_deg: float = 90.0) -> Floats:
    """Return (n, 3, 3) of a flange that looks down, tilted every way and turned about itself."""
    azimuth = rng.uniform(0.0, 2.0 * np.pi, n)
    tilt = np.deg2rad(tilt_deg) * np.sqrt(rng.uniform(size=n))
    tilts = np.column_stack([tilt * np.cos(azimuth), tilt * np.sin(azimuth), np.zeros(n)])
    turns = np.column_stack([np.zeros((n, 2)), np.deg2rad(rng.uniform(-turn_deg, turn_deg, n))])
    down = Rotation.from_euler("x", 180.0, degrees=True)
    return (down * Rotation.from_rotvec(tilts) * Rotation.from_rotvec(turns)).as_matrix()


def touches(
    rng: np.random.Generator,
    n: int,
    noise: tuple[float, float] = (0.0, 0.0),
    *,
    tip: Floats = TIP,
    tilt_deg: float = 40.0,
    turn_deg: float = 90.0,
) -> list[Transform]:
    """Return T_base_flange as reported, for touches of `POINT` with ``tip`` (3,)."""
    sigma = np.repeat(noise, 3)
    return [
        Transform.from_parts(R, POINT - R @ tip) @ Transform.exp(sigma * rng.normal(size=6))
        for R in orientations(rng, n, tilt_deg, turn_deg)
    ]
