"""The simulated camera: frames with a real camera's delays and faults, and the exact truth beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sim.layers import Painter, Painting
from sim.lens import project
from sim.scenery import Scenery
from sim.sensor import Sensor, expose
from sim.targets import Parent, Placement
from sim.world import World
from vision_ik.errors import FrameReadError
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import CameraIntrinsics, Floats, Frame

_KEPT = 4096
"""Truths kept; at 30 Hz the last two minutes of frames that were read."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FrameTruth:
    """What was really in front of the camera in the middle of an exposure."""

    index: int
    timestamp: float
    """[s]"""
    T_base_camera: Transform
    T_world_camera: Transform
    T_base_flange: Transform | None
    """The true one, arm noise included; None in a world without an arm."""
    q: Floats
    """(n,) joint positions, as encoders report them [rad], [m]."""
    Ts_camera_target: Mapping[str, Transform]
    """Tags and boards by name, visible or not."""
    corners: Mapping[int, Floats]
    """(4, 2) corners of every marker that lies wholly in the picture, by id [px]; occlusion is not looked at."""


class SimCamera:
    """A camera in a `World`, fixed or on the flange; a live source on the world's clock.

    Frame k is exposed around ``k / rate_hz`` and can be read ``latency_s`` later; only frames
    that are read are rendered, from the state the world had then. The same seed gives the same
    pictures, whichever of them are read.

    Args:
        world: What it looks at.
        intrinsics: Its lens.
        T_parent_camera: Where it stands: in the world, or in the flange frame.
        parent: "world" or "flange".
        sensor: Rate, delays, noise and faults.
        scenery: Table and room.
        depth: Whether frames carry a depth image.
        frames: How many frames there are; None for no end.
        seed: Of noise and dropped frames; None derives it from the world's.
    """

    def __init__(
        self,
        world: World,
        intrinsics: CameraIntrinsics,
        T_parent_camera: TransformLike,
        parent: Parent = "world",
        *,
        sensor: Sensor | None = None,
        scenery: Scenery | None = None,
        depth: bool = False,
        frames: int | None = None,
        seed: int | None = None,
    ) -> None:
        self.world = world
        self.parent: Parent = parent
        self.sensor = sensor or Sensor()
        self.T_parent_camera = as_transform(T_parent_camera)
        self._intrinsics = intrinsics
        self._painter = Painter(world, intrinsics, scenery)
        self._depth = depth
        self._frames = frames
        self._seed = world.seed if seed is None else seed
        self._start = world.now()
        self._next = 0
        self._truths: dict[int, FrameTruth] = {}
        self._closed = False

    # -- the Camera protocol --------------------------------------------------

    @property
    def intrinsics(self) -> CameraIntrinsics:
        """The true lens."""
        return self._intrinsics

    @property
    def live(self) -> bool:
        """True: unread frames are dropped."""
        return True

    @property
    def ended(self) -> bool:
        """Whether the last of a limited number of frames was read or missed."""
        return self._frames is not None and self._next >= self._frames

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the newest unseen frame that has arrived, or wait for the next on the world's clock.

        Raises:
            FrameReadError: The camera is closed.
        """
        if self._closed:
            raise FrameReadError("The simulated camera is closed.", "Make a new SimCamera.")
        if not timeout >= 0:
            raise ValueError(f"timeout must be at least 0 s, not {timeout}.")
        deadline = self.world.now() + timeout
        while not self.ended:
            index = self._newest_arrived()
            if index is not None:
                self._next = index + 1
                return self._render(index)
            arrival = self._arrival(self._next)
            if arrival > deadline:
                break
            self.world.sleep_until(arrival)
        if timeout > 0 and not self.ended:
            self.world.sleep_until(deadline)
        return None

    def next_arrival(self) -> float:
        """Return when the next frame that is not dropped can be read [s]."""
        index = self._next
        while self._dropped(index):
            index += 1
        return self._arrival(index)

    def close(self) -> None:
        """Release the camera; more than once does no harm."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- truth ----------------------------------------------------------------

    def truth(self, index: int) -> FrameTruth:
        """Return what was really there when frame ``index`` was exposed.

        Raises:
            ValueError: The frame was never read, or is one of more than 4096 since.
        """
        if index not in self._truths:
            raise ValueError(f"Frame {index} was not read from this camera, or too long ago.")
        return self._truths[index]

    def T_world_camera(self, t: float | None = None) -> Transform:
        """Return the true pose of the camera in the world at time ``t`` [s], now by default."""
        return self.world.T_world_parent(self.parent, t) @ self.T_parent_camera

    def true_T_base_camera(self, t: float | None = None) -> Transform:
        """Return the true pose of the camera in the arm's base frame; the world's without an arm."""
        T_world_camera = self.T_world_camera(t)
        return self.world.arm.T_world_base.inv() @ T_world_camera if self.world.has_arm else T_world_camera

    # -- inside ----------------------------------------------------------------

    def _exposed(self, index: int) -> float:
        return self._start + index / self.sensor.rate_hz

    def _arrival(self, index: int) -> float:
        return self._exposed(index) + self.sensor.latency_s

    def _newest_arrived(self) -> int | None:
        """Return the newest frame from ``_next`` on that has arrived and was not dropped; skip the dropped ones."""
        since = self.world.now() - self._start - self.sensor.latency_s
        newest = int(np.floor(since * self.sensor.rate_hz + 1e-6))
        if self._frames is not None:
            newest = min(newest, self._frames - 1)
        for index in range(newest, self._next - 1, -1):
            if not self._dropped(index):
                return index
        self._next = max(self._next, newest + 1)
        return None

    def _dropped(self, index: int) -> bool:
        rate = self.sensor.drop_rate
        return rate > 0 and np.random.default_rng((self._seed, index, 1)).random() < rate

    def _render(self, index: int) -> Frame:
        t, sensor = self._exposed(index), self.sensor
        count = sensor.blur_samples
        times = [t] if count == 1 else (t + sensor.exposure_s * ((np.arange(count) + 0.5) / count - 0.5)).tolist()
        paintings = [self._painter.paint(self.T_world_camera, s, readout_s=sensor.readout_s) for s in times]
        middle = paintings[count // 2]
        light = middle.light if count == 1 else np.stack([p.light for p in paintings]).mean(axis=0, dtype=np.float32)
        noise_seed = int(np.random.SeedSequence((self._seed, index, 2)).generate_state(1, np.uint64)[0])
        self._remember(index, t)
        return Frame(
            image=expose(light, sensor, noise_seed),
            timestamp=t,
            index=index,
            intrinsics=self._intrinsics,
            depth=self._depth_of(middle),
        )

    def _depth_of(self, painting: Painting) -> NDArray[np.float32] | None:
        return self._painter.depth(painting) if self._depth else None

    def _remember(self, index: int, t: float) -> None:
        T_world_camera = self.T_world_camera(t)
        Ts_camera_target: dict[str, Transform] = {}
        corners: dict[int, Floats] = {}
        for placement in self.world.placements(t):
            T_world_target = self.world.T_world_target(placement.name, t)
            Ts_camera_target[placement.name] = T_world_camera.inv() @ T_world_target
            corners |= self._corners(placement, t)
        has_arm = self.world.has_arm
        self._truths[index] = FrameTruth(
            index=index,
            timestamp=t,
            T_base_camera=self.true_T_base_camera(t),
            T_world_camera=T_world_camera,
            T_base_flange=self.world.T_base_flange(t) if has_arm else None,
            q=self.world.q(t) if has_arm else np.zeros(0),
            Ts_camera_target=Ts_camera_target,
            corners=corners,
        )
        if len(self._truths) > _KEPT:
            del self._truths[next(iter(self._truths))]

    def _corners(self, placement: Placement, t: float) -> dict[int, Floats]:
        """Return the marker corners that lie in the picture [px], each at the time its row is read."""
        ids = list(placement.corners)
        points = np.concatenate([placement.corners[i] for i in ids])
        uv = self._project_at(placement, points, t)
        if self.sensor.readout_s > 0:
            for _ in range(3):  # the row fixes the time, the time the row: converges by a factor of speed * readout
                uv = self._rolled(placement, points, t, uv)
        found: dict[int, Floats] = {}
        for i, quad in zip(ids, uv.reshape(-1, 4, 2), strict=True):
            if (quad > -0.5).all() and (quad < (self._intrinsics.width - 0.5, self._intrinsics.height - 0.5)).all():
                found[i] = quad
        return found

    def _rolled(self, placement: Placement, points: Floats, t: float, uv: Floats) -> Floats:
        rows = np.nan_to_num(uv[:, 1], nan=0.0)
        times = t + self.sensor.readout_s * ((rows + 0.5) / self._intrinsics.height - 0.5)
        times = np.clip(times, t - self.sensor.readout_s / 2, t + self.sensor.readout_s / 2)
        return np.concatenate(
            [self._project_at(placement, p[None], s) for p, s in zip(points, times.tolist(), strict=True)]
        )

    def _project_at(self, placement: Placement, points: Floats, t: float) -> Floats:
        T_world_target = self.world.T_world_parent(placement.parent, t) @ placement.T_parent_target(t)
        return project((self.T_world_camera(t).inv() @ T_world_target).apply(points), self._intrinsics)
