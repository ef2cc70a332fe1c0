"""What an arm is: its chain, limits, forward kinematics and Jacobian."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Capsule:
    """All points within ``radius`` of the segment p0-p1; a sphere when both ends meet."""

    link: str
    p0: Floats
    """(3,) one end of the axis, in the link frame [m]."""
    p1: Floats
    """(3,) the other end [m]."""
    radius: float
    """[m]"""
    rgba: tuple[float, float, float, float] = (0.7, 0.7, 0.7, 1.0)
    """Colour of the link in pictures."""
    stand_in: bool = False
    """True where the URDF has only a mesh: a stick from joint to joint that does not bound it."""

    def __post_init__(self) -> None:
        for name in ("p0", "p1"):
            object.__setattr__(self, name, _read_only(getattr(self, name), (3,), name))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RobotModel:
    """A serial arm from a base link to a tip link.

    Joint frames are turned so that every joint axis is +z; constant matrices absorb the turns::

        T_base_tip = fixed[0] Rz(q0) fixed[1] Rz(q1) ... Rz(q_last) fixed[n]

    with a translation Tz(q) in place of Rz(q) where a joint is prismatic. Frame 0 is the base link,
    frame i + 1 the one behind joint i; every link is constant in one of them.

    Use `dataclasses.replace` to tighten a limit or to choose another home.
    """

    name: str
    """Catalogue name, or the name in the URDF."""
    joint_names: tuple[str, ...]
    """The n moving joints from base to tip."""
    base: str
    """Link whose frame is the base frame."""
    tip: str
    """Link whose frame is the flange frame."""
    fixed: Floats
    """(n+1, 4, 4) constant transforms between the joints, see above [m]."""
    prismatic: NDArray[np.bool_]
    """(n,) True where a joint slides along its axis."""
    lower: Floats
    """(n,) [rad], [m]; -inf for a continuous joint."""
    upper: Floats
    """(n,) [rad], [m]; inf for a continuous joint; ``lower`` where a joint is held and never moves."""
    velocity: Floats
    """(n,) largest speed [rad/s], [m/s]."""
    acceleration: Floats
    """(n,) [rad/s^2], [m/s^2]."""
    jerk: Floats
    """(n,) [rad/s^3], [m/s^3]."""
    home: Floats
    """(n,) a posture to start from, away from limits and singularities where known [rad], [m]."""
    links: tuple[str, ...]
    """Every link that hangs on the base, base first; see `link_transforms`."""
    link_frames: NDArray[np.int64]
    """(len(links),) which frame carries the link: 0 the base, i + 1 the one behind joint i."""
    Ts_frame_link: Floats
    """(len(links), 4, 4) pose of each link in the frame that carries it."""
    capsules: tuple[Capsule, ...]
    """The arm's shape, for collision checks and pictures."""
    urdf_path: Path
    """The file the model was read from."""

    sample_lower: Floats = field(init=False)
    """(n,) finite lower end for sampling: -pi for a continuous joint."""
    sample_upper: Floats = field(init=False)
    """(n,) finite upper end for sampling: pi for a continuous joint."""
    hash: str = field(init=False)
    """16 hex digits over joint kinds, ``fixed`` to 1e-9 and position limits: what IK weights and
    calibrations depend on. Names, file, dynamics limits and shape do not enter."""

    def __post_init__(self) -> None:
        n, m = len(self.joint_names), len(self.links)
        shapes = {"fixed": (n + 1, 4, 4), "home": (n,), "Ts_frame_link": (m, 4, 4)}
        shapes |= dict.fromkeys(("lower", "upper", "velocity", "acceleration", "jerk"), (n,))
        for name, shape in shapes.items():
            _put(self, name, _read_only(getattr(self, name), shape, name))
        prismatic = np.array(self.prismatic, dtype=np.bool_)
        frames = np.array(self.link_frames, dtype=np.int64)
        prismatic.setflags(write=False)
        frames.setflags(write=False)
        _put(self, "prismatic", prismatic)
        _put(self, "link_frames", frames)
        self._check()
        _put(self, "sample_lower", _read_only(np.where(np.isfinite(self.lower), self.lower, -np.pi), (n,), "lower"))
        _put(self, "sample_upper", _read_only(np.where(np.isfinite(self.upper), self.upper, np.pi), (n,), "upper"))
        _put(self, "hash", _chain_hash(self))

    def _check(self) -> None:
        if not self.joint_names:
            raise ValueError("A robot needs at least one moving joint.")
        if self.prismatic.shape != (self.n,):
            raise ValueError(f"prismatic must have shape ({self.n},), not {self.prismatic.shape}.")
        if not np.isfinite(self.fixed).all() or np.isnan(self.lower).any() or np.isnan(self.upper).any():
            raise ValueError("The chain or its limits hold NaN or infinity.")
        if not (self.lower <= self.upper).all():
            raise ValueError("No lower limit may lie above the upper one.")
        endless = np.isneginf(self.lower) & np.isposinf(self.upper) & ~self.prismatic
        if not (endless | (np.isfinite(self.lower) & np.isfinite(self.upper))).all():
            raise ValueError("A joint needs two finite limits; only one that turns without end has -inf and inf.")
        for name in ("velocity", "acceleration", "jerk"):
            values = getattr(self, name)
            if not (np.isfinite(values) & (values > 0.0)).all():
                raise ValueError(f"{name} must be positive and finite, not {values.tolist()}.")
        if not (np.isfinite(self.home) & (self.home >= self.lower) & (self.home <= self.upper)).all():
            raise ValueError(f"home {self.home.tolist()} must lie inside the limits.")

    def __reduce__(self) -> tuple[partial[RobotModel], tuple[()]]:
        # Built anew, so that copies and workers hold read-only arrays too: writable ones are another
        # type to numba, and every kernel would compile a second time.
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return partial(RobotModel, **values), ()

    @property
    def n(self) -> int:
        """Number of moving joints."""
        return len(self.joint_names)

    # -- kinematics -----------------------------------------------------------

    def forward(self, q: ArrayLike) -> Floats:
        """Return T_base_tip (4, 4) for ``q`` (n,), or (N, 4, 4) for (N, n) [rad], [m].

        NaN in ``q`` gives NaN in the pose; limits are not looked at.

        Raises:
            ValueError: ``q`` has another shape.
        """
        from vision_ik.robots import kernels

        joints, single = self._joints(q)
        Ts = np.empty((len(joints), 4, 4))
        kernels.fk_batch(self.fixed, self.prismatic, joints, Ts)
        return Ts[0] if single else Ts

    def jacobian(self, q: ArrayLike) -> Floats:
        """Return the geometric Jacobian (6, n) for ``q`` (n,), or (N, 6, n) for (N, n).

        Rows are (v, w): velocity of the tip's origin and angular velocity, both in base axes.

        Raises:
            ValueError: ``q`` has another shape.
        """
        from vision_ik.robots import kernels

        joints, single = self._joints(q)
        Ts = np.empty((len(joints), 4, 4))
        Js = np.empty((len(joints), 6, self.n))
        kernels.fk_jacobian_batch(self.fixed, self.prismatic, joints, Ts, Js)
        return Js[0] if single else Js

    def link_transforms(self, q: ArrayLike) -> dict[str, Floats]:
        """Return T_base_link (4, 4) of every link that hangs on the base, for ``q`` (n,).

        Side branches are included; joints that are not on the chain (a gripper's) are held at zero,
        or at their limit nearest to it.

        Raises:
            ValueError: ``q`` has another shape.
        """
        from vision_ik.robots import kernels

        joints, single = self._joints(q)
        if not single:
            raise ValueError(f"link_transforms takes one posture ({self.n},), not {joints.shape}.")
        frames = np.empty((self.n + 1, 4, 4))
        kernels.fk_frames(self.fixed, self.prismatic, joints[0], frames)
        return dict(zip(self.links, frames[self.link_frames] @ self.Ts_frame_link, strict=True))

    # -- joint space ----------------------------------------------------------

    def clip(self, q: ArrayLike) -> Floats:
        """Return ``q`` (n,) or (N, n) moved to the nearest values inside the position limits."""
        return np.clip(np.asarray(q, dtype=np.float64), self.lower, self.upper)

    def random(self, rng: np.random.Generator, count: int | None = None) -> Floats:
        """Return joint positions uniform within the sampling limits: (n,), or (count, n)."""
        shape = (self.n,) if count is None else (count, self.n)
        return rng.uniform(self.sample_lower, self.sample_upper, shape)

    def _joints(self, q: ArrayLike) -> tuple[Floats, bool]:
        """Return ``q`` as a fresh (N, n) array, and whether it was a single posture."""
        joints = np.array(q, dtype=np.float64, order="C")
        if joints.ndim not in (1, 2) or joints.shape[-1] != self.n:
            raise ValueError(
                f"{self.name} has {self.n} joints: q must be ({self.n},) or (N, {self.n}), not {joints.shape}."
            )
        return (joints[None], True) if joints.ndim == 1 else (joints, False)


def _chain_hash(robot: RobotModel) -> str:
    kinds = "".join("P" if slides else "R" for slides in robot.prismatic)
    numbers = np.concatenate([robot.fixed[:, :3].ravel(), robot.lower, robot.upper])
    # Adding 0.0 after rounding turns -0.0 into 0.0.
    text = ",".join(f"{x:.9f}" for x in np.round(numbers, 9) + 0.0)
    return hashlib.sha256(f"{kinds};{text}".encode()).hexdigest()[:16]


def _read_only(value: ArrayLike, shape: tuple[int, ...], name: str) -> Floats:
    array = np.array(value, dtype=np.float64, order="C")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}.")
    array.setflags(write=False)
    return array


def _put(robot: RobotModel, name: str, value: object) -> None:
    object.__setattr__(robot, name, value)
