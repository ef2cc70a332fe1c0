"""The workcell from any viewpoint, for people: the right half of the demo's video."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.layers import Painter
from sim.meshes import Mesh, box_mesh, capsule_mesh, join, moved
from sim.moment import Moment
from sim.scenery import Scenery
from sim.sensor import Sensor, expose
from sim.solids import Solid
from sim.targets import Parent
from sim.world import World
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import CameraIntrinsics, Floats, Image

_CLEAN = Sensor(noise=0.0, blur_px=0.35)


class Viewer:
    """A picture of the world from outside, as often as wanted; it keeps what stands still.

    Args:
        world: What to show.
        T_world_camera: Viewpoint; None for a good one on the arm's workspace.
        intrinsics: Lens; None for 640x480 and 42 degrees.
        scenery: Table and room.
        camera: Lens and place of a camera to show as a small body with its pyramid of view.
    """

    def __init__(
        self,
        world: World,
        T_world_camera: TransformLike | None = None,
        *,
        intrinsics: CameraIntrinsics | None = None,
        scenery: Scenery | None = None,
        camera: tuple[CameraIntrinsics, Transform, Parent] | None = None,
    ) -> None:
        self.intrinsics = intrinsics or CameraIntrinsics.from_field_of_view(640, 480, np.deg2rad(42.0))
        self.T_world_camera = (
            look_at((1.75, -1.65, 1.25), (0.38, -0.06, 0.28))
            if T_world_camera is None
            else as_transform(T_world_camera)
        )
        extras = () if camera is None else (camera_body(*camera),)
        self._world = world
        self._painter = Painter(world, self.intrinsics, scenery, extras)

    def render(self) -> Image:
        """Return the picture (H, W, 3) uint8 BGR of the world as it is now."""
        return self.capture()()

    def capture(self) -> Callable[[], Image]:
        """Keep this moment, and return what renders it; one thread may render while another steps the world."""
        moment = Moment(self._world)

        def develop() -> Image:
            self._painter.world = moment
            return expose(self._painter.paint(lambda _: self.T_world_camera, moment.time).light, _CLEAN, 0)

        return develop


def render_view(
    world: World,
    intrinsics: CameraIntrinsics | None = None,
    T_world_camera: TransformLike | None = None,
    *,
    scenery: Scenery | None = None,
) -> Image:
    """Return one picture (H, W, 3) uint8 BGR of the world as it is now; use a `Viewer` for a film."""
    return Viewer(world, T_world_camera, intrinsics=intrinsics, scenery=scenery).render()


def look_at(eye: tuple[float, float, float], goal: tuple[float, float, float], *, roll: float = 0.0) -> Transform:
    """Return T_world_camera of a camera at ``eye`` that looks at ``goal`` [m], upright up to ``roll`` [rad].

    Looking straight down or up, the picture's right is the world's -y.
    """
    z = np.subtract(goal, eye).astype(np.float64)
    length = float(np.linalg.norm(z))
    if length < 1e-9:
        raise ValueError("eye and goal must differ.")
    z /= length
    x = np.cross(z, (0.0, 0.0, 1.0))
    norm = float(np.linalg.norm(x))
    x = np.array([0.0, -1.0, 0.0]) if norm < 1e-6 else x / norm
    T = Transform.from_parts(np.column_stack([x, np.cross(z, x), z]), eye)
    return T @ Transform.from_xyz_rpy((0.0, 0.0, 0.0), (0.0, 0.0, roll))


def camera_body(intrinsics: CameraIntrinsics, T_parent_camera: Transform, parent: Parent) -> Solid:
    """Return a small camera: housing, lens, and four thin bars along the corners of its view."""
    dark, lens, bar = (0.16, 0.17, 0.20), (0.05, 0.05, 0.07), (0.95, 0.62, 0.16)
    parts: list[Mesh] = [
        moved(box_mesh((0.09, 0.05, 0.035), dark), Transform.from_translation((0, 0, -0.03)).matrix),
        capsule_mesh((0, 0, -0.02), (0, 0, -0.004), 0.018, lens),
    ]
    reach = 0.16
    xs = np.array([0.0, intrinsics.width, intrinsics.width, 0.0]) - 0.5
    ys = np.array([0.0, 0.0, intrinsics.height, intrinsics.height]) - 0.5
    x, y = (xs - intrinsics.K[0, 2]) / intrinsics.K[0, 0], (ys - intrinsics.K[1, 2]) / intrinsics.K[1, 1]
    ends: Floats = reach * np.column_stack([x, y, np.ones(4)])
    for i in range(4):
        parts.append(capsule_mesh((0, 0, 0.0), ends[i], 0.0022, bar, sides=8))
        parts.append(capsule_mesh(ends[i], ends[(i + 1) % 4], 0.0022, bar, sides=8))
    return Solid(mesh=join(parts), parent=parent, T_parent_solid=T_parent_camera)
