"""A simulated workcell: physics, time, what is attached where, and the exact truth about it."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from sim.arm_noise import FlangeNoise
from sim.bullet import ArmBody, load_pybullet
from sim.motion import Motion
from sim.solids import Solid
from sim.targets import Parent, Placement, board_texture, tag_texture
from vision_ik.errors import ArmError
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import Board, Floats, tag_corners


class World:
    """One PyBullet client with an arm, targets and a table; it is the clock of its run.

    Time moves only in `sleep_until`, which steps the physics; nothing depends on how fast the
    machine is. Everything random comes from ``seed``. Several worlds live side by side.

    Args:
        seed: Of everything random in this world.
        step_s: [s] of the physics.

    Raises:
        MissingDependencyError: PyBullet is not installed.
    """

    def __init__(self, *, seed: int = 0, step_s: float = 1e-3) -> None:
        if not 1e-4 <= step_s <= 1.0 / 60.0:
            raise ValueError(f"step_s must lie between 1e-4 and 1/60 s, not {step_s}.")
        self._bullet = load_pybullet()
        self._client: int | None = self._bullet.connect(self._bullet.DIRECT)
        self._bullet.setTimeStep(step_s, physicsClientId=self._client)
        self._bullet.setGravity(0.0, 0.0, 0.0, physicsClientId=self._client)
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        """For whoever places things at random in this world."""
        self.step_s = step_s
        self._steps = 0
        self._now = 0.0
        self._arm: ArmBody | None = None
        self._placements: list[Placement] = []
        self._solids: list[Solid] = []

    # -- clock ----------------------------------------------------------------

    def now(self) -> float:
        """Return the simulated time [s]."""
        return self._now

    def sleep_until(self, timestamp: float) -> None:
        """Step the physics up to ``timestamp`` [s]; the past leaves the world alone.

        Raises:
            ArmError: The world is closed.
        """
        client = self._require_open()
        # Half a nanosecond of slack, so that k * step_s counts as reached in spite of rounding.
        while (self._steps + 1) * self.step_s <= timestamp + 5e-10:
            start = self._steps * self.step_s
            self._now = max(self._now, start)
            if self._arm is not None:
                self._arm.drive(start)
            self._bullet.stepSimulation(physicsClientId=client)
            self._steps += 1
            if self._arm is not None:
                self._arm.measure(self._steps * self.step_s)
        self._now = max(self._now, float(timestamp))

    # -- what is in it --------------------------------------------------------

    def add_robot(
        self,
        robot: RobotModel,
        T_world_base: TransformLike | None = None,
        *,
        q: ArrayLike | None = None,
        flange_noise: FlangeNoise | None = None,
    ) -> ArmBody:
        """Put the arm into the world; a world holds one.

        Args:
            robot: The arm.
            T_world_base: Where its base stands; None for the origin.
            q: (n,) posture to start in; None for the robot's home.
            flange_noise: How far the true flange is off what the encoders say.
        """
        if self._arm is not None:
            raise ValueError(f"This world already has an arm, {self._arm.robot.name}; make another World.")
        self._arm = ArmBody(
            self._require_open(),
            robot,
            Transform.identity() if T_world_base is None else as_transform(T_world_base),
            q=None if q is None else np.asarray(q, dtype=np.float64),
            flange_noise=flange_noise,
            step_s=self.step_s,
            now=self._steps * self.step_s,
        )
        return self._arm

    def attach_board(
        self,
        board: Board,
        parent: Parent = "world",
        T_parent_board: TransformLike | Motion | None = None,
        *,
        name: str = "board",
        margin_m: float = 0.015,
    ) -> None:
        """Fix a printed board to the world or the flange (its frame: lower left corner, z out of the paper)."""
        self._attach(
            Placement(
                name=name,
                texture=board_texture(board, margin_m),
                corners=board.markers,
                parent=parent,
                pose=_pose(T_parent_board),
                since=self._now,
            )
        )

    def attach_tag(
        self,
        tag_id: int,
        size_m: float,
        parent: Parent = "world",
        T_parent_tag: TransformLike | Motion | None = None,
        *,
        family: str = "36h11",
        name: str | None = None,
        margin_m: float | None = None,
    ) -> None:
        """Fix a printed tag to the world or the flange, or let it move; its name is ``tag ID`` by default."""
        self._attach(
            Placement(
                name=f"tag {tag_id}" if name is None else name,
                texture=tag_texture(family, tag_id, size_m, 0.2 * size_m if margin_m is None else margin_m),
                corners={tag_id: tag_corners(size_m)},
                parent=parent,
                pose=_pose(T_parent_tag),
                since=self._now,
            )
        )

    def detach(self, name: str) -> None:
        """Take a board or tag away from now on."""
        for i, placement in enumerate(self._placements):
            if placement.name == name and placement.until > self._now:
                self._placements[i] = replace(placement, until=self._now)
                return
        raise ValueError(f"Nothing named {name!r} is attached; there are: {', '.join(self._names()) or 'none'}.")

    def add_solid(self, solid: Solid) -> None:
        """Put a body without physics into the picture: a table leg, a box, a board's holder."""
        self._solids.append(solid)

    def remove_solid(self, solid: Solid) -> None:
        """Take a body out of the picture again."""
        self._solids.remove(solid)

    # -- truth ----------------------------------------------------------------

    @property
    def arm(self) -> ArmBody:
        """The arm's body.

        Raises:
            ArmError: The world has none.
        """
        if self._arm is None:
            raise ArmError("This world has no arm.", "Call add_robot first, or load a scene with a [robot].")
        return self._arm

    @property
    def has_arm(self) -> bool:
        """Whether `add_robot` was called."""
        return self._arm is not None

    @property
    def solids(self) -> tuple[Solid, ...]:
        """Bodies without physics."""
        return tuple(self._solids)

    def placements(self, t: float | None = None) -> list[Placement]:
        """Return the targets that are attached at time ``t`` [s], now by default."""
        t = self._now if t is None else t
        return [p for p in self._placements if p.since <= t < p.until]

    def q(self, t: float | None = None) -> Floats:
        """Return the true joint positions (n,) at time ``t`` [s], now by default; at most 3 s back."""
        return self.arm.q_at(self._now if t is None else t)

    def T_base_flange(self, t: float | None = None) -> Transform:
        """Return where the flange truly is, arm noise included."""
        return self.arm.T_base_flange(self.q(t))

    def T_world_flange(self, t: float | None = None) -> Transform:
        """Return where the flange truly is in the world."""
        return self.arm.T_world_base @ self.T_base_flange(t)

    def T_world_parent(self, parent: Parent, t: float | None = None) -> Transform:
        """Return the pose of what things are attached to."""
        return self.T_world_flange(t) if parent == "flange" else Transform.identity()

    def T_world_target(self, name: str, t: float | None = None) -> Transform:
        """Return the true pose of the board or tag ``name``."""
        t = self._now if t is None else t
        for placement in self.placements(t):
            if placement.name == name:
                return self.T_world_parent(placement.parent, t) @ placement.T_parent_target(t)
        raise ValueError(f"Nothing named {name!r} is attached; there are: {', '.join(self._names()) or 'none'}.")

    def T_world_tag(self, t: float | None = None, *, tag_id: int | None = None) -> Transform:
        """Return the true pose of a single tag; ``tag_id`` may be left out when there is only one."""
        names = [p.name for p in self.placements(t) if len(p.corners) == 1 and (tag_id is None or tag_id in p.corners)]
        if len(names) != 1:
            raise ValueError(f"Give the tag_id of one of the tags: {', '.join(names) or 'none fits'}.")
        return self.T_world_target(names[0], t)

    # -- end ------------------------------------------------------------------

    def close(self) -> None:
        """Disconnect the physics client; more than once does no harm."""
        if self._client is not None:
            self._bullet.disconnect(physicsClientId=self._client)
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_client", None) is not None:
            self.close()

    def _attach(self, placement: Placement) -> None:
        if placement.name in self._names():
            raise ValueError(f"{placement.name!r} is attached already; detach it first or give another name.")
        if isinstance(placement.pose, Motion) and placement.parent != "world":
            raise ValueError("Only a target attached to the world can move by itself.")
        self._placements.append(placement)

    def _names(self) -> list[str]:
        return [p.name for p in self.placements()]

    def _require_open(self) -> int:
        if self._client is None:
            raise ArmError("The simulated world is closed.", "Make a new World.")
        return self._client


def _pose(value: TransformLike | Motion | None) -> Transform | Motion:
    if isinstance(value, Motion):
        return value
    return Transform.identity() if value is None else as_transform(value)
