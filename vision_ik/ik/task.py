"""What of a pose has to be reached: tasks with fewer conditions than a full pose, and what holds the joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vision_ik.robots import RobotModel
from vision_ik.types import Floats

AXES = ("x", "y", "z", "rx", "ry", "rz")
"""The six components of a pose error."""


def _entries(name: str, values: Sequence[float], count: int) -> tuple[float, ...]:
    if np.shape(values) != (count,):
        raise ValueError(f"{name} must have {count} entries, for {', '.join(AXES[:count])}, not be {values!r}.")
    return tuple(values)


class Rotation(IntEnum):
    """How a task measures orientation."""

    VECTOR = 0
    """By the rotation vector from target to tool, in target axes."""
    SWING = 1
    """By the smallest rotation that aligns the tool's z axis with the target's, in target axes; roll does not enter."""
    AIM = 2
    """By the smallest rotation that turns the tool's z axis toward the target's origin, in tool axes. Of the
    position only the distance to the target counts, as component z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IkTask:
    """Which components of the pose error count, and how exactly.

    A task is made once and used with many targets::

        solver.solve(T, q, task=IkTask.position())     # orientation free
        solver.solve(T, q, task=IkTask.free_roll())    # any roll about the tool's z axis: drilling, welding
        solver.solve(T, q, task=IkTask.pointing())     # the tool's z axis through the target's origin
        solver.solve(T, q, task=IkTask.pose(tolerances=(0.01, 0.01, 0, 0, 0, 0)))    # anywhere within 1 cm in x and y
        solver.solve(T, q, locked={"panda_joint3": 0.0, "panda_joint5": None})       # of any task: joints that stay

    Position and orientation errors are those of the tool against the target, in the target's axes (see
    `Rotation` for the exception). Use the presets, or set the fields for anything else::

        IkTask(counts=(False, False, True, True, True, False))    # height and tilt alone
    """

    counts: tuple[bool, ...] = (True,) * 6
    """(6,) which of x, y, z, rx, ry, rz count."""
    tolerances: tuple[float, ...] = (0.0,) * 6
    """(6,) dead bands [m], [rad]: a component within +-tolerance is as good as zero, and is not pulled closer. A band
    is kept whole: solutions lie inside it, not within the solver's tolerance of it."""
    rotation: Rotation = Rotation.VECTOR
    distance: float | None = None
    """[m] Of the tool from the target's origin, for `Rotation.AIM`; any if None."""

    def __post_init__(self) -> None:
        counts = tuple(bool(c) for c in _entries("counts", self.counts, 6))
        tolerances = tuple(float(t) for t in _entries("tolerances", self.tolerances, 6))
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "tolerances", tolerances)
        object.__setattr__(self, "rotation", Rotation(self.rotation))
        if not all(0.0 <= t < np.inf for t in tolerances):
            raise ValueError(f"Tolerances must be finite and not negative, not {tolerances}.")
        if not any(counts):
            raise ValueError("At least one component of the pose must count.")
        if self.rotation != Rotation.VECTOR and counts[5]:
            raise ValueError(f"Roll about the tool's z axis (rz) cannot count with {self.rotation.name}.")
        if self.rotation == Rotation.AIM and (counts[0] or counts[1] or counts[2] != (self.distance is not None)):
            raise ValueError("With AIM, of x, y and z only z may count, and does exactly where a distance is given.")
        if self.distance is not None and not (self.rotation == Rotation.AIM and 0.0 < self.distance < np.inf):
            raise ValueError(f"A distance must be positive, finite and used with AIM, not {self.distance}.")

    @classmethod
    def pose(cls, *, tolerances: Sequence[float] = (0.0,) * 6) -> IkTask:
        """Return the task of reaching the whole pose, within ``tolerances`` (6,) [m], [rad] about it."""
        return cls(tolerances=_entries("tolerances", tolerances, 6))

    @classmethod
    def position(cls, *, tolerances: Sequence[float] = (0.0,) * 3) -> IkTask:
        """Return the task of reaching the target's origin, whatever the orientation; ``tolerances`` (3,) [m]."""
        bands = _entries("tolerances", tolerances, 3)
        return cls(counts=(True, True, True, False, False, False), tolerances=(*bands, 0.0, 0.0, 0.0))

    @classmethod
    def free_roll(cls, *, tolerances: Sequence[float] = (0.0,) * 5) -> IkTask:
        """Return the task of reaching the pose up to a rotation about the tool's z axis.

        Args:
            tolerances: (5,) of x, y, z [m] and of the tilt about the target's x and y axis [rad].
        """
        bands = _entries("tolerances", tolerances, 5)
        return cls(counts=(True, True, True, True, True, False), tolerances=(*bands, 0.0), rotation=Rotation.SWING)

    @classmethod
    def pointing(cls, *, distance: float | None = None, tolerance: float = 0.0, tilt: float = 0.0) -> IkTask:
        """Return the task of looking at the target's origin along the tool's z axis, from wherever that is possible.

        Args:
            distance: Of the tool from the target [m]; any if None.
            tolerance: Dead band of the distance [m].
            tilt: Dead band of the direction, about the tool's x and y axis each [rad].
        """
        return cls(
            counts=(False, False, distance is not None, True, True, False),
            tolerances=(0.0, 0.0, tolerance, tilt, tilt, 0.0),
            rotation=Rotation.AIM,
            distance=distance,
        )


POSE = IkTask()
"""All six components, to the solver's tolerance."""


class Goal(NamedTuple):
    """A task and what holds the joints, as compiled code takes them."""

    rotation: int
    bands: Floats
    """(6,) dead bands [m], [rad]; infinite for what does not count."""
    distance: float
    """[m] For `Rotation.AIM`."""
    mobility: Floats
    """(n,) inverse squares of the joint weights, the largest 1; 0 for a locked joint."""
    hold: Floats
    """(n,) where locked joints are held [rad], [m]; NaN for the start's value."""
    redundant: bool
    """Whether solutions form a continuum: more free joints than conditions."""


Locked: TypeAlias = Mapping[str, float | None] | Sequence[str]
Weights: TypeAlias = Mapping[str, float] | ArrayLike


def make_goal(
    robot: RobotModel, task: IkTask | None = None, locked: Locked | None = None, joint_weights: Weights | None = None
) -> Goal:
    """Return ``task`` (the full pose if None) with locked and weighted joints, for compiled code.

    Args:
        robot: Whose joints are meant.
        task: What has to be reached.
        locked: Joints that do not move: at the value given, or where the start has them if it is None. Names alone
            mean the latter.
        joint_weights: By name, or (n,): a joint of weight 2 counts twice as much in the distance to the start and
            moves a quarter as readily; 1 where not named.

    Raises:
        TypeError: ``task`` is no IkTask.
        ValueError: A name is unknown, a value lies outside the limits, or a weight is not positive and finite.
    """
    if task is not None and not isinstance(task, IkTask):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            "task must be what IkTask.pose(), IkTask.position(), IkTask.free_roll(), IkTask.pointing() or IkTask(...) "
            f"returns, not {task!r}."
        )
    if isinstance(locked, str):
        raise ValueError(
            f"locked must be a list of names or a mapping of names to positions, not a string: [{locked!r}] locks one."
        )
    held = locked if isinstance(locked, Mapping) else dict.fromkeys(locked or ())
    if isinstance(joint_weights, Mapping):
        weights = np.ones(robot.n)
        for name, value in joint_weights.items():
            weights[_joint(robot, str(name))] = value
    else:
        weights = np.ones(robot.n) if joint_weights is None else np.array(joint_weights, dtype=np.float64)
    if weights.shape != (robot.n,) or not (np.isfinite(weights) & (weights > 0.0)).all():
        raise ValueError(f"joint_weights must be {robot.n} positive, finite numbers, not {weights.tolist()}.")
    return _goal(robot, POSE if task is None else task, tuple(held.items()), tuple(weights.tolist()))


@lru_cache(maxsize=256)
def _goal(robot: RobotModel, task: IkTask, held: tuple[tuple[str, float | None], ...], w: tuple[float, ...]) -> Goal:
    hold, is_locked, weights = np.full(robot.n, np.nan), np.zeros(robot.n, dtype=np.bool_), np.array(w)
    for name, value in held:
        i = _joint(robot, name)
        is_locked[i] = True
        if value is not None:
            if not robot.lower[i] <= value <= robot.upper[i]:
                raise ValueError(
                    f"{name} cannot be locked at {value}: its range is {robot.lower[i]}..{robot.upper[i]}."
                )
            hold[i] = value
    mobility = np.where(is_locked, 0.0, (weights[~is_locked].min(initial=np.inf) / weights) ** 2)
    bands = np.where(task.counts, task.tolerances, np.inf)
    conditions = int(np.sum(bands == 0.0))
    for array in (bands, mobility, hold):  # writable ones are another type to numba
        array.setflags(write=False)
    return Goal(
        rotation=int(task.rotation),
        bands=bands,
        distance=0.0 if task.distance is None else task.distance,
        mobility=mobility,
        hold=hold,
        redundant=int(np.sum(~is_locked)) > conditions,
    )


def _joint(robot: RobotModel, name: str) -> int:
    if name not in robot.joint_names:
        raise ValueError(f"{robot.name} has no joint {name!r}; it has {', '.join(robot.joint_names)}.")
    return robot.joint_names.index(name)
