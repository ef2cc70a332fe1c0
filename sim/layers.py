"""Putting a picture together: background, solid bodies, shadows, printed sheets; what stands still is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.lens import ray_table
from sim.markers import draw_sheet
from sim.meshes import robot_meshes
from sim.moment import Moment
from sim.scenery import SHADE, Background, Scenery, see_scenery, shadow_mask
from sim.shading import tint
from sim.solids import Body, Solid, SolidLayer, TracedMesh, trace
from sim.targets import Placement
from sim.world import World
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats

CameraPath: TypeAlias = Callable[[float], Transform]
"""T_world_camera as a function of time [s]."""

_STILL = 2e-6
"""[m], [1] Poses closer than this in every matrix entry are the same picture (0.005 px at 0.3 m)."""
_ROW_GROUPS = 16
"""Poses computed over the rows of a rolling shutter; in between they are interpolated."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Painting:
    """An ideal picture."""

    light: NDArray[np.float32]
    """(H, W, 3) BGR grey levels 0..255."""
    sheets: NDArray[np.float32]
    """(H, W) along the ray to scenery and printed sheets [m], inf at the backdrop."""
    solids: SolidLayer
    """The bodies over them."""

    @property
    def distance(self) -> NDArray[np.float32]:
        """(H, W) along the ray to whatever is nearest [m], inf at the backdrop."""
        near = np.minimum(self.sheets, self.solids.distance)
        return np.where(self.solids.alpha > 0.5, near, self.sheets)


class Painter:
    """Paints what one lens sees of a world; layers that stand still are kept between pictures.

    Args:
        world: What to paint.
        lens: Any of OpenCV's models.
        scenery: Table and room.
        extras: Further bodies that only this painter shows.
    """

    def __init__(
        self, world: World, lens: CameraIntrinsics, scenery: Scenery | None = None, extras: tuple[Solid, ...] = ()
    ) -> None:
        self.world: World | Moment = world
        self.lens = lens
        self.scenery = scenery or Scenery()
        self.extras = extras
        self._rays = ray_table(lens)
        self._background: tuple[Floats, list[Solid], Background] | None = None
        self._moving_camera = False
        self._front: tuple[Floats, list[TracedMesh], SolidLayer] | None = None
        self._base: tuple[Floats, Background, SolidLayer, NDArray[np.float32]] | None = None

    def paint(self, camera_path: CameraPath, t: float, *, readout_s: float = 0.0) -> Painting:
        """Return the picture at time ``t`` [s].

        A rolling shutter of ``readout_s`` [s] around ``t`` bends printed sheets row by row;
        solid bodies and scenery are taken at ``t`` as a whole.
        """
        T_world_camera = camera_path(t)
        sheets = self._sheets(t)
        back = self._see_background(T_world_camera)
        bodies = self._bodies(t)
        poses = np.stack([T_world_camera.matrix, *(T for _, T in bodies)])
        solids = self._see_solids(poses, bodies, T_world_camera)
        shadows = [body.hull @ T[:3, :3].T + T[:3, 3] for body, T in bodies]
        shadows += [T.apply(placement.texture.outline) for placement, T in sheets]
        shadow_key = np.concatenate([points.ravel() for points in [poses, *shadows]])
        canvas = self._merge(shadow_key, back, solids, shadows).copy()
        distance = back.distance.copy()
        by_range = sorted(sheets, key=lambda sheet: -(T_world_camera.inv() @ sheet[1]).translation[2])
        times = [t] if readout_s == 0.0 else np.linspace(t - readout_s / 2, t + readout_s / 2, _ROW_GROUPS).tolist()
        for placement, T_world_target in by_range:
            normal = T_world_target.rotation[:, 2]
            facing = float(normal @ (T_world_camera.translation - T_world_target.translation)) > 0
            draw_sheet(
                canvas,
                distance,
                placement.texture,
                [camera_path(s).inv() @ self._T_world_target(placement, s) for s in times],
                tint(normal if facing else -normal),
                self.lens,
                self._rays.corners,
                solid_colour=solids.colour,
                solid_alpha=solids.alpha,
                solid_distance=solids.distance,
            )
        return Painting(light=canvas, sheets=distance, solids=solids)

    def depth(self, painting: Painting) -> NDArray[np.float32]:
        """Return depth along the optical axis (H, W) [m], NaN where nothing is."""
        depth = painting.distance * self._rays.centres[..., 2]
        return np.where(np.isfinite(depth), depth, np.float32(np.nan)).astype(np.float32)

    # -- layers ---------------------------------------------------------------

    def _see_background(self, T_world_camera: Transform) -> Background:
        """Return scenery and standing bodies; rendered finely once the camera stands still."""
        fixed = [s for s in (*self.world.solids, *self.extras) if s.parent == "world"]
        pose = T_world_camera.matrix
        if self._background is not None:
            known, shown_solids, back = self._background
            if shown_solids == fixed and np.abs(known - pose).max() < _STILL:
                return back
            self._moving_camera = bool(np.abs(known - pose).max() >= _STILL)
        back = see_scenery(self.scenery, T_world_camera, self._rays, fine=not self._moving_camera)
        if fixed:
            bodies = [(_traced(s), s.T_parent_solid.matrix) for s in fixed]
            layer = trace(bodies, T_world_camera, self._rays, coarse=False)
            shown = layer.distance < back.distance
            alpha = np.where(shown, layer.alpha, np.float32(0.0))[..., None].astype(np.float32)
            off = shown & (layer.alpha > 0.5)
            back = Background(
                colour=(back.colour + alpha * (layer.colour - back.colour)).astype(np.float32, copy=False),
                distance=np.where(off, layer.distance, back.distance).astype(np.float32),
                shadow_map=np.where(off[..., None], np.float32(-1.0), back.shadow_map),
            )
        self._background = (np.array(pose), fixed, back)
        return back

    def _bodies(self, t: float) -> list[Body]:
        """Return what moves with the arm, with T_world_body."""
        if not self.world.has_arm:
            return []
        arm, q = self.world.arm, self.world.q(t)
        Ts = arm.robot.link_transforms(q)
        T_world_base = arm.T_world_base.matrix
        bodies: list[Body] = [(mesh, T_world_base @ Ts[link]) for link, mesh in _traced_links(arm.robot).items()]
        T_world_flange = arm.T_world_base @ arm.T_base_flange(q)
        carried = [s for s in (*self.world.solids, *self.extras) if s.parent == "flange"]
        return bodies + [(_traced(s), (T_world_flange @ s.T_parent_solid).matrix) for s in carried]

    def _see_solids(self, poses: Floats, bodies: list[Body], T_world_camera: Transform) -> SolidLayer:
        meshes = [mesh for mesh, _ in bodies]
        if self._front is not None and self._front[1] == meshes and _same(self._front[0], poses):
            return self._front[2]
        layer = trace(bodies, T_world_camera, self._rays, coarse=True)
        self._front = (poses, meshes, layer)
        return layer

    def _merge(self, key: Floats, back: Background, solids: SolidLayer, shadows: list[Floats]) -> NDArray[np.float32]:
        """Return the background with shadows and the solid bodies over it."""
        if self._base is not None and self._base[1] is back and self._base[2] is solids and _same(self._base[0], key):
            return self._base[3]
        merged = np.empty_like(back.colour)
        mask = shadow_mask(self.scenery, shadows)
        _lay_over(
            back.colour,
            back.distance,
            back.shadow_map,
            mask,
            SHADE,
            solids.colour,
            solids.alpha,
            solids.distance,
            merged,
        )
        self._base = (key, back, solids, merged)
        return merged

    # -- sheets ---------------------------------------------------------------

    def _sheets(self, t: float) -> list[tuple[Placement, Transform]]:
        return [(p, self._T_world_target(p, t)) for p in self.world.placements(t)]

    def _T_world_target(self, placement: Placement, t: float) -> Transform:
        return self.world.T_world_parent(placement.parent, t) @ placement.T_parent_target(t)


@lru_cache(maxsize=16)
def _traced_links(robot: RobotModel) -> dict[str, TracedMesh]:
    return {link: TracedMesh(mesh) for link, mesh in robot_meshes(robot).items()}


@lru_cache(maxsize=64)
def _traced(solid: Solid) -> TracedMesh:
    return TracedMesh(solid.mesh)


def _same(a: Floats, b: Floats) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0.0) < _STILL)


@njit(cache=True, nogil=True)
def _lay_over(
    back: NDArray[np.float32],
    back_distance: NDArray[np.float32],
    shadow_map: NDArray[np.float32],
    mask: NDArray[np.uint8],
    shade: float,
    colour: NDArray[np.float32],
    alpha: NDArray[np.float32],
    distance: NDArray[np.float32],
    merged: NDArray[np.float32],
) -> None:
    """Darken the background by the shadow and lay the bodies over it where they are nearer."""
    height, width = alpha.shape
    rows, columns = mask.shape
    unit = np.float32(shade / 255.0)
    for y in range(height):
        for x in range(width):
            light = np.float32(1.0)
            u, v = shadow_map[y, x, 0], shadow_map[y, x, 1]
            if u >= 0.0 and v >= 0.0 and u < columns - 1 and v < rows - 1:
                i, j = np.uint32(u), np.uint32(v)
                a00, a01 = np.float32(mask[j, i]), np.float32(mask[j, i + 1])
                a10, a11 = np.float32(mask[j + 1, i]), np.float32(mask[j + 1, i + 1])
                if a00 + a01 + a10 + a11 > 0.0:
                    fx, fy = u - np.float32(i), v - np.float32(j)
                    top, low = a00 + fx * (a01 - a00), a10 + fx * (a11 - a10)
                    light = np.float32(1.0) - unit * (top + fy * (low - top))
            a = alpha[y, x] if distance[y, x] <= back_distance[y, x] else np.float32(0.0)
            for c in range(3):
                merged[y, x, c] = back[y, x, c] * light
            if a > 0.0:
                for c in range(3):
                    merged[y, x, c] += a * (colour[y, x, c] - merged[y, x, c])
