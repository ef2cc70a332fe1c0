"""Solid bodies in the picture, traced by Open3D's RaycastingScene and shaded.

Each body keeps a scene in its own frame; for a new posture the rays are turned, not the
triangles. Measured for the Panda with the maker's meshes at 640x480 (one core, AMD EPYC): 70 to
180 ns a ray, so all 307,200 rays cost 12 ms where most miss and 25 ms where most hit, and a new
scene from moved meshes 9 ms a picture. Tracing every fourth pixel inside the bodies' projected
hulls, the pixels between where those disagree, and outlines four times over takes 25 to 45
thousand rays: 3 to 6 ms, at full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.lens import RayTable, project
from sim.meshes import Mesh
from sim.outlines import even_pixels, fill_between, find_edges, split_rays
from sim.shading import make_rays, shade_hits
from sim.targets import Parent
from vision_ik.transforms import Transform
from vision_ik.types import Floats

_NEAR = 0.01
"""[m] Bodies that reach nearer to the camera than this are traced over the whole picture."""
_HULL_POINTS = 96


class TracedMesh:
    """A mesh ready to be hit by rays in its own frame."""

    def __init__(self, mesh: Mesh) -> None:
        import open3d as o3d

        self.mesh = mesh
        self._scene: Any = o3d.t.geometry.RaycastingScene(nthreads=1)
        self._scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.triangles)),
        )
        self._tensor: Any = o3d.core.Tensor.from_numpy
        self.hull = _support_points(mesh.vertices)
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        self._centre: Floats = (0.5 * (low + high)).astype(np.float64)
        self._radius = float(np.linalg.norm(mesh.vertices - self._centre, axis=1).max())

    def nearest(self, T_camera_body: Floats) -> float:
        """Return a distance [m] from the camera below which there is nothing of the body."""
        return float(np.linalg.norm(T_camera_body[:3, :3] @ self._centre + T_camera_body[:3, 3])) - self._radius

    def cast(self, rays: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.float32]]:
        """Return range [m] (inf for a miss), triangle and barycentric coordinates for rays (N, 6)."""
        # One thread: the budget counts CPU time, and small batches gain nothing from more.
        hits = self._scene.cast_rays(self._tensor(rays), nthreads=1)
        return hits["t_hit"].numpy(), hits["primitive_ids"].numpy(), hits["primitive_uvs"].numpy()


Body: TypeAlias = tuple[TracedMesh, Floats]
"""A mesh and its T_world_body (4, 4)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Solid:
    """A body without physics and where it is attached."""

    mesh: Mesh
    parent: Parent = "world"
    T_parent_solid: Transform = field(default_factory=Transform.identity)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SolidLayer:
    """The bodies seen alone: what to lay over the background."""

    colour: NDArray[np.float32]
    """(H, W, 3) BGR grey levels 0..255, mean over the part of the pixel that is covered."""
    alpha: NDArray[np.float32]
    """(H, W) covered share of the pixel."""
    distance: NDArray[np.float32]
    """(H, W) along the ray [m], inf where nothing is."""


class _Samples:
    """Rays and what they hit so far."""

    def __init__(self, directions: NDArray[np.float32], T_world_camera: Transform) -> None:
        n = len(directions)
        self.directions = directions
        self.colour = np.zeros((n, 3), dtype=np.float32)
        self.distance = np.full(n, np.inf, dtype=np.float32)
        self.body_of = np.zeros(n, dtype=np.int16)
        self._T_world_camera = T_world_camera.matrix

    def hit(self, label: int, body: Body, chosen: NDArray[np.int64]) -> None:
        """Trace the ``chosen`` rays against one body and keep hits that are nearer than before."""
        mesh, T_world_body = body
        T_body_camera = _inverse(T_world_body) @ self._T_world_camera
        chosen = chosen[self.distance[chosen] > mesh.nearest(_inverse(T_body_camera))]
        if len(chosen) == 0:
            return
        rays = np.empty((len(chosen), 6), dtype=np.float32)
        make_rays(self.directions, chosen, T_body_camera, rays)
        t, triangle, uv = mesh.cast(rays)
        shade_hits(
            rays,
            t,
            triangle,
            uv,
            mesh.mesh.normals,
            mesh.mesh.colours,
            T_world_body,
            label,
            chosen,
            self.colour,
            self.distance,
            self.body_of,
        )


def trace(
    bodies: list[Body],
    T_world_camera: Transform,
    table: RayTable,
    *,
    coarse: bool,
) -> SolidLayer:
    """Trace bodies: one ray through each pixel centre and four more along outlines.

    With ``coarse`` only every second pixel of every second row is traced at first; in between,
    pixels are interpolated where their neighbours agree and traced where they do not, so only
    details narrower than two pixels can be missed.
    """
    shape = table.centres.shape[:2]
    samples = _Samples(table.centres.reshape(-1, 3), T_world_camera)
    T_camera_world = T_world_camera.inv().matrix
    # Near bodies first: what they hide is not traced again.
    bodies = sorted(bodies, key=lambda body: body[0].nearest(T_camera_world @ body[1]))
    pixels_of = [_pixels_of(mesh, T_camera_world @ T_world_body, table) for mesh, T_world_body in bodies]
    if coarse:
        for i, (body, pixels) in enumerate(zip(bodies, pixels_of, strict=True)):
            samples.hit(i + 1, body, even_pixels(pixels, shape[1]))
        open_pixels = fill_between(
            samples.colour.reshape(*shape, 3), samples.distance.reshape(shape), samples.body_of.reshape(shape)
        ).reshape(-1)
        remaining = [pixels[open_pixels[pixels]] for pixels in pixels_of]
    else:
        remaining = pixels_of
    for i, (body, pixels) in enumerate(zip(bodies, remaining, strict=True)):
        samples.hit(i + 1, body, pixels)
    alpha = np.isfinite(samples.distance).astype(np.float32)
    edges = find_edges(samples.body_of.reshape(shape), samples.distance.reshape(shape))
    if len(edges):
        _refine(bodies, pixels_of, T_world_camera, table.corners, edges, samples, alpha)
    return SolidLayer(
        colour=samples.colour.reshape(*shape, 3), alpha=alpha.reshape(shape), distance=samples.distance.reshape(shape)
    )


def _refine(
    bodies: list[Body],
    pixels_of: list[NDArray[np.int64]],
    T_world_camera: Transform,
    corners: Floats,
    edges: NDArray[np.int64],
    samples: _Samples,
    alpha: NDArray[np.float32],
) -> None:
    """Replace edge pixels by the mean of four rays on a rotated grid."""
    directions = np.empty((len(edges), 4, 3), dtype=np.float32)
    split_rays(corners, edges, directions)
    fine = _Samples(directions.reshape(-1, 3), T_world_camera)
    place_of = np.full(len(alpha), -1, dtype=np.int64)
    place_of[edges] = np.arange(len(edges))
    for i, (body, pixels) in enumerate(zip(bodies, pixels_of, strict=True)):
        chosen = place_of[pixels]
        chosen = chosen[chosen >= 0]
        fine.hit(i + 1, body, (4 * chosen[:, None] + np.arange(4)).reshape(-1))
    seen = np.isfinite(fine.distance).reshape(-1, 4)
    count = seen.sum(axis=1)
    total = (fine.colour.reshape(-1, 4, 3) * seen[..., None]).sum(axis=1)
    covered = count > 0
    samples.colour[edges[covered]] = total[covered] / count[covered, None]
    alpha[edges] = count / np.float32(4.0)
    samples.distance[edges] = fine.distance.reshape(-1, 4).min(axis=1)


def _pixels_of(body: TracedMesh, T_camera_body: Floats, table: RayTable) -> NDArray[np.int64]:
    """Return the flat indices of the pixels that the body's convex hull may cover."""
    hull = body.hull @ T_camera_body[:3, :3].T + T_camera_body[:3, 3]
    lens = table.lens
    if table.never_sees(hull) or ((hull[:, 2] < _NEAR).all() and lens.model == "pinhole"):
        return np.empty(0, dtype=np.int64)
    if (hull[:, 2] < _NEAR).any():
        return np.arange(lens.width * lens.height)
    uv = project(hull, lens)
    limit = 8.0 * max(lens.width, lens.height)
    outline = cv2.convexHull(np.clip(uv, -limit, limit).astype(np.float32))
    x0, y0 = np.maximum(np.floor(outline.min(axis=(0, 1))).astype(int) - 2, 0).tolist()
    x1, y1 = (np.ceil(outline.max(axis=(0, 1))).astype(int) + 3).tolist()
    x1, y1 = min(x1, lens.width), min(y1, lens.height)
    if x1 <= x0 or y1 <= y0:
        return np.empty(0, dtype=np.int64)
    mask = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
    polygon = np.rint(outline - (x0, y0)).astype(np.int32)
    cv2.fillConvexPoly(mask, polygon, 1)
    # The hull of a few support points lies a little inside the body, and lenses bend its edges.
    cv2.polylines(mask, [polygon], isClosed=True, color=1, thickness=5)
    rows, columns = np.nonzero(mask)
    return (rows + y0) * lens.width + (columns + x0)


def _inverse(T: Floats) -> Floats:
    inverse = np.eye(4)
    inverse[:3, :3] = T[:3, :3].T
    inverse[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return inverse


def _support_points(vertices: NDArray[np.float32]) -> Floats:
    """Return the extreme vertices (k, 3) in directions spread evenly over the sphere, with the box corners."""
    i = np.arange(_HULL_POINTS) + 0.5
    z = 1.0 - 2.0 * i / _HULL_POINTS
    turn = np.pi * (1.0 + np.sqrt(5.0)) * i
    r = np.sqrt(1.0 - z * z)
    directions = np.column_stack([r * np.cos(turn), r * np.sin(turn), z])
    chosen = np.unique(np.argmax(vertices.astype(np.float64) @ directions.T, axis=0))
    return vertices[chosen].astype(np.float64)
