"""Bundles of known shape, and what a camera that goes around one sees."""

from __future__ import annotations

import numpy as np

from vision_ik.tags.projection import project
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, TagBundle, TagDetection

LENS = CameraIntrinsics(K=np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]]), width=640, height=480)
SIZE = 0.04
_GRAZING = 0.3
"""Cosine between a tag's normal and the line of sight below which it is not read."""


def cube(edge: float = 0.05) -> TagBundle:
    """Return five faces of a cube, each tag turned in its face by another angle."""
    h, right = 0.5 * edge, 0.5 * np.pi
    faces = [
        ((0, 0, h), (0, 0, 0)),
        ((h, 0, 0), (0, right, 0)),
        ((-h, 0, 0), (0, -right, 0)),
        ((0, h, 0), (-right, 0, 0)),
        ((0, -h, 0), (right, 0, 0)),
    ]
    return TagBundle.of(
        (i, Transform.from_xyz_rpy(xyz, rpy) @ Transform.exp([0, 0, 0, 0, 0, 0.3 * i]), SIZE)
        for i, (xyz, rpy) in enumerate(faces)
    )


def sheet() -> TagBundle:
    """Return six tags in one plane, turned in it by any angle."""
    return TagBundle.of(
        (i, Transform.from_xyz_rpy((0.07 * (i % 3), 0.06 * (i // 3), 0), (0, 0, 0.4 * i)), SIZE) for i in range(6)
    )


def around(bundle: TagBundle, rng: np.random.Generator) -> Transform:
    """Return T_camera_bundle of a camera somewhere above the bundle that looks at its middle."""
    middle = np.mean([T.translation for T in bundle.Ts_bundle_tag.values()], axis=0)
    away = rng.normal(size=3)
    away[2] = abs(away[2])
    away /= np.linalg.norm(away)
    x = np.cross(away, rng.normal(size=3))
    x /= np.linalg.norm(x)
    R = np.column_stack([x, np.cross(-away, x), -away])
    return Transform.from_parts(R, middle + away * rng.uniform(0.25, 0.45)).inv()


def sighted(
    bundle: TagBundle, T_camera_bundle: Transform, rng: np.random.Generator, *, noise: float = 0.1
) -> list[TagDetection]:
    """Return what an ideal detector sees of a bundle, each corner off by ``noise`` [px]."""
    seen: list[TagDetection] = []
    for tag_id, points in bundle.markers.items():
        uv = project(points, T_camera_bundle, LENS)[0]
        sight = T_camera_bundle.apply(points.mean(axis=0))
        facing = -float((T_camera_bundle @ bundle.Ts_bundle_tag[tag_id]).rotation[:, 2] @ sight) / np.linalg.norm(sight)
        inside = (uv > 5).all() and (uv < np.array([LENS.width, LENS.height]) - 6).all()
        if facing > _GRAZING and inside:
            seen.append(detection(tag_id, uv + noise * rng.normal(size=(4, 2))))
    return seen


def detection(tag_id: int, corners: Floats) -> TagDetection:
    """Return a tag of family 36h11 with these corners."""
    return TagDetection(tag_id=tag_id, family="36h11", corners=corners, timestamp=0.0)
