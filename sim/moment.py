"""The world at one time, kept so that it can be painted while the world goes on."""

from __future__ import annotations

from dataclasses import replace

from sim.bullet import ArmBody
from sim.solids import Solid
from sim.targets import Parent, Placement
from sim.world import World
from vision_ik.errors import ArmError
from vision_ik.transforms import Transform
from vision_ik.types import Floats


class Moment:
    """What a painter asks of a `World`, frozen at its present time; safe to use on another thread.

    Args:
        world: Left alone.
    """

    def __init__(self, world: World) -> None:
        t = world.now()
        self.time = t
        """[s]"""
        self.solids: tuple[Solid, ...] = world.solids
        self.has_arm = world.has_arm
        self._arm = world.arm if world.has_arm else None
        self._q = world.q(t) if world.has_arm else None
        self._T_world_flange = world.T_world_flange(t) if world.has_arm else Transform.identity()
        self._placements = [replace(p, pose=p.T_parent_target(t)) for p in world.placements(t)]

    @property
    def arm(self) -> ArmBody:
        """The arm's body; only what does not change with time may be asked of it.

        Raises:
            ArmError: The world has none.
        """
        if self._arm is None:
            raise ArmError("This world has no arm.", "Call add_robot first.")
        return self._arm

    def q(self, _t: float) -> Floats:
        """Return the joint positions (n,) of this moment."""
        if self._q is None:
            raise ArmError("This world has no arm.", "Call add_robot first.")
        return self._q

    def placements(self, _t: float) -> list[Placement]:
        """Return the targets of this moment, each at rest."""
        return self._placements

    def T_world_parent(self, parent: Parent, _t: float) -> Transform:
        """Return the pose of what things are attached to."""
        return self._T_world_flange if parent == "flange" else Transform.identity()
