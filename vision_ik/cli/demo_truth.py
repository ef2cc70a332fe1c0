"""How far the simulated tool truly was from where the tag truly was."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sim import World
from vision_ik.rig import Rig
from vision_ik.types import Floats

CONTACT_M = 0.01
"""[m] The tool has arrived once it is so near; what was before is the approach."""


@dataclass(slots=True, kw_only=True)
class TruthLog:
    """True errors of the tool over time; the program under test never sees them."""

    times: list[float] = field(default_factory=list[float])
    """[s]"""
    position: list[float] = field(default_factory=list[float])
    """[m]"""
    rotation: list[float] = field(default_factory=list[float])
    """[rad]"""

    def add(self, world: World, rig: Rig) -> None:
        """Take the errors as they are now."""
        T_world_tool = world.T_world_flange() @ rig.T_flange_tool
        T_world_target = world.T_world_tag() @ rig.T_tag_target
        metres, radians = T_world_target.distance_to(T_world_tool)
        self.times.append(world.now())
        self.position.append(metres)
        self.rotation.append(radians)

    @property
    def contact_s(self) -> float:
        """Time from the start until the tool first was within 10 mm [s]; NaN when it never was."""
        near = np.flatnonzero(np.array(self.position) < CONTACT_M)
        return self.times[near[0]] - self.times[0] if len(near) else float("nan")

    def after_contact(self, settle_s: float = 1.0) -> tuple[Floats, Floats]:
        """Return position [m] and rotation [rad] errors from ``settle_s`` after the arrival on; empty without one."""
        start = self.times[0] + self.contact_s + settle_s if self.times else np.nan
        late = np.array(self.times) >= start
        return np.array(self.position)[late], np.array(self.rotation)[late]

    def at_rest(self, last_s: float = 0.5) -> tuple[float, float]:
        """Return the median errors [m], [rad] of the last ``last_s`` seconds."""
        late = np.array(self.times) >= self.times[-1] - last_s
        return float(np.median(np.array(self.position)[late])), float(np.median(np.array(self.rotation)[late]))


def rms(values: Floats) -> float:
    """Return the root mean square, NaN of nothing."""
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")
