"""What an arm does: joint state, command, IK solution."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vision_ik.types._arrays import Floats, put, read_only


class IkStatus(IntEnum):
    """How a solve ended."""

    CONVERGED = 0
    """Pose reached within tolerance, joints inside their limits."""
    LIMITED = 1
    """Not reached; the closest pose has at least one joint at its limit."""
    UNREACHABLE = 2
    """Not reached, and out of reach as far as the search can tell: beyond the stretched arm, or in a hole."""
    INVALID = 3
    """The target (in a batch) or start was not finite or not a rigid transform; q is the start or NaN."""
    SINGULAR = 4
    """Not reached; the closest posture is singular, and cannot move in the direction that is missing."""
    COLLISION = 5
    """Reached only by postures in which the arm touches itself; q is one of them."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IkSolution:
    """Joint angles for one pose: the solution, or the closest posture found."""

    q: Floats
    """(n,) [rad], [m] for prismatic joints; always inside the limits."""
    status: IkStatus
    position_error: float
    """[m]"""
    rotation_error: float
    """[rad]"""
    seed: str
    """Where the solution came from: "start", "network" or "random"."""
    iterations: int
    """Damped-least-squares steps over all seeds tried; 0 of a solve that failed because every joint was locked."""
    duration: float
    """[s] Wall time of the call."""

    def __post_init__(self) -> None:
        put(self, "q", read_only(self.q, (None,), "q"))

    @property
    def converged(self) -> bool:
        """Whether the pose was reached within tolerance."""
        return self.status == IkStatus.CONVERGED


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IkBatch:
    """Joint angles for N poses."""

    q: Floats
    """(N, n) [rad]; NaN rows where the target was invalid."""
    status: NDArray[np.int64]
    """(N,) values of IkStatus."""
    position_error: Floats
    """(N,) [m]"""
    rotation_error: Floats
    """(N,) [rad]"""
    iterations: NDArray[np.int64]
    """(N,) damped-least-squares steps over all seeds tried."""

    def __post_init__(self) -> None:
        for name in ("q", "status", "position_error", "rotation_error", "iterations"):
            view = getattr(self, name).view()
            if view.shape[:1] != self.q.shape[:1] or view.ndim != (2 if name == "q" else 1):
                raise ValueError(f"{name} must have one row for each of the {len(self.q)} poses, not {view.shape}.")
            view.setflags(write=False)
            put(self, name, view)

    def __len__(self) -> int:
        """Return the number of poses."""
        return len(self.q)

    @property
    def converged(self) -> NDArray[np.bool_]:
        """(N,) whether the pose was reached within tolerance."""
        return self.status == IkStatus.CONVERGED


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class JointState:
    """Where the joints are."""

    names: tuple[str, ...]
    q: Floats
    """(n,) [rad] or [m]."""
    dq: Floats
    """(n,) [rad/s] or [m/s]."""
    timestamp: float
    """[s] When it was measured, on the clock of the run."""

    def __post_init__(self) -> None:
        n = len(self.names)
        put(self, "q", read_only(self.q, (n,), "q"))
        put(self, "dq", read_only(self.dq, (n,), "dq"))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class JointCommand:
    """Where the joints shall go."""

    names: tuple[str, ...]
    q: Floats
    """(n,) position set-point [rad] or [m]."""
    dq: Floats
    """(n,) velocity feed-forward [rad/s] or [m/s]."""
    timestamp: float
    """[s] When it was made, on the clock of the run."""
    clipped_by: tuple[str, ...] = field(default=())
    """What limited it ("velocity", "position", "workspace", ...); empty when sent as asked."""

    def __post_init__(self) -> None:
        n = len(self.names)
        put(self, "q", read_only(self.q, (n,), "q"))
        put(self, "dq", read_only(self.dq, (n,), "dq"))
