"""The shape of an arm in a posture, as triangles: its meshes where the URDF has them, else its capsules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_ik.ik.collision_meshes import find_mesh
from vision_ik.robots import Capsule, RobotModel
from vision_ik.robots.description import Shape, read_urdf
from vision_ik.types import Floats

_SIDES, _RINGS = 28, 7
"""Of a capsule: around it, and over each of its ends."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Surface:
    """One body."""

    name: str
    vertices: Floats
    """(V, 3) [m]"""
    triangles: NDArray[np.int64]
    """(F, 3)"""

    def moved(self, T: Floats) -> Surface:
        """Return the body mapped by ``T`` (4, 4)."""
        return Surface(name=self.name, vertices=self.vertices @ T[:3, :3].T + T[:3, 3], triangles=self.triangles)


def arm_surfaces(robot: RobotModel, q: Floats, shapes: Mapping[str, Surface] | None = None) -> list[Surface]:
    """Return the bodies of the links in the base frame.

    Args:
        robot: The arm.
        q: (n,) its posture.
        shapes: Links in their own frames; by default as ``link_surfaces`` finds them.
    """
    Ts = robot.link_transforms(q)
    known = link_surfaces(robot) if shapes is None else shapes
    return [surface.moved(Ts[link]) for link, surface in known.items() if link in Ts]


def link_surfaces(robot: RobotModel) -> dict[str, Surface]:
    """Return the shape of each link in its own frame: meshes that can be read, else capsules that are no stand-ins."""
    tree = read_urdf(robot.urdf_path) if robot.urdf_path.is_file() else None
    found: dict[str, Surface] = {}
    for link in robot.links:
        described = None if tree is None else tree.links.get(link)
        meshes = [] if described is None else [shape for shape in described.visuals if shape.mesh]
        parts = [part for shape in meshes if (part := _mesh(shape, robot)) is not None]
        if not parts:
            parts = [_capsule(c) for c in robot.capsules if c.link == link and not c.stand_in]
        if parts:
            found[link] = _joined(link, parts)
    return found


def plate(name: str, corners: Floats) -> Surface:
    """Return a flat sheet with corners (4, 3) in order around it."""
    return Surface(name=name, vertices=np.asarray(corners), triangles=np.array([[0, 1, 2], [0, 2, 3]]))


def _mesh(shape: Shape, robot: RobotModel) -> Surface | None:
    """Return a mesh file in its link's frame; None where it cannot be found or read."""
    import open3d as o3d

    path = find_mesh(shape.mesh, robot.urdf_path)
    if path is None:
        return None
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        read: Any = o3d.io.read_triangle_mesh(path)
    vertices, triangles = np.asarray(read.vertices) * shape.size, np.asarray(read.triangles, dtype=np.int64)
    if len(triangles) == 0:
        return None
    return Surface(name=path.name, vertices=vertices, triangles=triangles).moved(shape.T_link_shape)


def _capsule(capsule: Capsule) -> Surface:
    """Return a capsule as a closed surface of triangles, normals outwards."""
    axis = capsule.p1 - capsule.p0
    length = float(np.linalg.norm(axis))
    z = axis / length if length > 1e-9 else np.array([0.0, 0.0, 1.0])
    x = np.cross(z, np.eye(3)[int(np.argmin(np.abs(z)))])
    x = np.asarray(x / float(np.linalg.norm(x)), dtype=np.float64)
    frame: Floats = np.asarray(np.column_stack([x, np.cross(z, x), z]), dtype=np.float64)
    polar = np.linspace(0.0, 0.5 * np.pi, _RINGS + 1)
    around = 2.0 * np.pi * np.arange(_SIDES) / _SIDES
    # From the far end to the near one; the poles are rings of no radius.
    heights = np.concatenate([np.cos(polar), -np.cos(polar[::-1])])
    radii = np.concatenate([np.sin(polar), np.sin(polar[::-1])])
    ends = np.repeat([length, 0.0], _RINGS + 1)
    rings = np.stack(
        [
            np.outer(capsule.radius * radii, np.cos(around)),
            np.outer(capsule.radius * radii, np.sin(around)),
            np.repeat((ends + capsule.radius * heights)[:, None], _SIDES, axis=1),
        ],
        axis=-1,
    )
    vertices = rings.reshape(-1, 3) @ frame.T + capsule.p0
    below, right = np.arange(len(heights) - 1), (np.arange(_SIDES) + 1) % _SIDES
    a = (below[:, None] * _SIDES + np.arange(_SIDES)).ravel()
    b = (below[:, None] * _SIDES + right).ravel()
    triangles = np.concatenate([np.column_stack([a, a + _SIDES, b]), np.column_stack([b, a + _SIDES, b + _SIDES])])
    return Surface(name=capsule.link, vertices=vertices, triangles=triangles)


def _joined(name: str, parts: list[Surface]) -> Surface:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return Surface(
        name=name,
        vertices=np.concatenate([part.vertices for part in parts]),
        triangles=np.concatenate([part.triangles + start for part, start in zip(parts, starts, strict=True)]),
    )
