"""Films of one tag over which something slides, with the truth of every picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.lens import project
from sim.stress import Conditions, Ellipse, Shot, clutter, covered_share, random_pose, shoot
from sim.targets import tag_texture
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, tag_corners

SIZE_M = 0.1
_FPS = 30.0
_HALVINGS = 16
_NOISY = Conditions(noise=3.0)
_SWING = np.array([0.02, 0.02, 0.02, 0.25, 0.25, 0.4])
"""[m, rad] Standard deviation of a hand's swings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """What a film shows."""

    family: str
    tag_id: int
    lens: CameraIntrinsics
    edge_px: tuple[float, float]
    """[px] Bounds of the tag's edge."""
    share: tuple[float, float] | None = None
    """Bounds of the covered share of the tag; None for nothing in front of it."""
    tag_moves: bool = True
    cover_moves: bool = True
    """Whether the cover slides over the tag, or lies on it."""
    from_rim: bool = True
    """Whether the cover reaches in from a side; else it lies somewhere inside."""
    lead: int = 6
    """[frames] before anything covers the tag."""
    conditions: Conditions = _NOISY


def shoot_film(film: Film, frames: int, *, seed: int) -> Iterator[Shot]:
    """Yield the pictures of a film, 30 a second."""
    rng = np.random.default_rng(seed)
    texture = tag_texture(film.family, film.tag_id, SIZE_M, 0.03)
    margin = 0.125 * film.lens.height
    T_camera_start = random_pose(rng, film.lens, SIZE_M, edge_px=film.edge_px, tilt_deg=(0, 40), margin_px=margin)
    background = clutter(film.lens.width, film.lens.height, rng)
    swing = rng.normal(size=6) * _SWING * film.tag_moves
    rate, phase = rng.uniform(1.5, 4.0, 6), rng.uniform(0.0, 2.0 * np.pi, 6)
    side, sliding = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(-1.5, 1.5) * film.cover_moves
    shape = (rng.uniform(0.3, 0.6), rng.uniform(0.5, 1.0))
    for k in range(frames):
        t = k / _FPS
        T_camera_tag = T_camera_start @ Transform.exp(swing * (np.sin(rate * t + phase) - np.sin(phase)))
        rim = project(T_camera_tag.apply(tag_corners(SIZE_M)), film.lens)
        cover = None
        if film.share is not None and k >= film.lead:
            deep = 0.5 - 0.5 * np.cos(2.1 * film.cover_moves * t + phase[0])
            low, high = film.share
            share = low + (0.05 + 0.9 * deep) * (high - low)
            cover = (_from_rim if film.from_rim else _inside)(rim, share, side + sliding * t, shape)
        yield shoot(
            texture,
            {film.tag_id: tag_corners(SIZE_M)},
            T_camera_tag,
            film.lens,
            film.conditions,
            seed=1000 * seed + k,
            timestamp=t,
            index=k,
            background=background,
            cover=cover,
        )


def _inside(rim: Floats, share: float, angle: float, shape: tuple[float, float]) -> Ellipse:
    """Return an ellipse inside a tag that covers ``share`` of it, for arguments see :func:`_from_rim`."""
    middle = rim.mean(axis=0)
    edge = float(np.ptp(rim, axis=0).mean())
    centre = middle + 0.15 * edge * np.array([np.cos(angle), np.sin(angle)])
    small, large = 0.0, edge
    found = Ellipse(centre=centre, radii=(edge, shape[1] * edge), angle=angle)
    for _ in range(_HALVINGS):
        radius = 0.5 * (small + large)
        found = Ellipse(centre=centre, radii=(radius, shape[1] * radius), angle=angle)
        small, large = (radius, large) if covered_share(found, rim) < share else (small, radius)
    return found


def _from_rim(rim: Floats, share: float, angle: float, shape: tuple[float, float]) -> Ellipse:
    """Return an ellipse that reaches in from one side just so far that it covers ``share`` of a tag.

    Args:
        rim: (4, 2) corners of the tag [px].
        share: Of the tag.
        angle: Of the side [rad].
        shape: Radius over the tag's edge, and the other radius over that.
    """
    radius = shape[0] * float(np.ptp(rim, axis=0).mean())
    inward, towards = rim.mean(axis=0), np.array([np.cos(angle), np.sin(angle)])
    near, far = 0.0, 4.0 * float(np.ptp(rim, axis=0).max())
    found = Ellipse(centre=inward, radii=(radius, shape[1] * radius), angle=angle)
    for _ in range(_HALVINGS):
        distance = 0.5 * (near + far)
        found = Ellipse(centre=inward + distance * towards, radii=(radius, shape[1] * radius), angle=angle)
        near, far = (distance, far) if covered_share(found, rim) > share else (near, distance)
    return found
