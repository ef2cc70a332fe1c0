"""Small errors of an arm's geometry: complete, minimal, and named.

Joint i follows joint i - 1 by a constant transform; its error is a twist in a frame on the axis of
joint i: z along the axis, x along the common normal with the axis before, origin at its foot. Of
the six entries per joint, the classical four are kept: the distance of both axes (x) and the twist
between them (about x), and the zero of the joint (about z) and its offset along the axis (z), as
Denavit and Hartenberg have it; where axes are parallel, the tilt about y takes the place of an
offset (Hayati, 1983).

What changes nothing that mount and holder cannot take back is left out by computation, not by case:
moving along or about an axis just before a joint is the same as just behind it, and before the first
joint and behind the last, mount and holder do the same. These motions span the gauge; entries are
dropped, the least classical ones first, until none of it is left. Everett & Hsu (1988) count what
remains: 4 for each revolute joint, 2 for each prismatic one, less 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

_PARALLEL = np.sin(np.deg2rad(5.0))
"""Axes nearer than this have no common normal that rounding or a small error would not turn."""
_LENGTH = 0.3
"""[m] What a metre is weighed by against a radian in the choice of entries: a link."""
_INDEPENDENT = 0.2
"""Share of an entry that must lie outside the span of those dropped before, to be dropped itself."""
_ENTRIES = ("distance from", "shift from", "offset along its axis", "twist against", "tilt against", "zero")
_LEAST_CLASSICAL = (1, 4, 2, 5, 0, 3)
"""Order in which entries are dropped: y, about y, z, about z, x, about x."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPrior:
    """How well arms are built: standard deviations of the errors of one joint."""

    position: float = 0.5e-3
    """Of distances, shifts and offsets [m]."""
    angle: float = float(np.deg2rad(0.1))
    """Of twists and tilts [rad]."""
    zero: float = float(np.deg2rad(0.1))
    """Of joint zeros [rad]; that of a sliding joint counts as a position."""

    def __post_init__(self) -> None:
        if not all(value > 0.0 for value in (self.position, self.angle, self.zero)):
            raise ValueError(f"An arm's errors need positive standard deviations, not {self}.")


@dataclass(frozen=True, slots=True, eq=False)
class LinkErrors:
    """Which errors of an arm views can tell, and the arm that has them."""

    robot: RobotModel
    frames: Floats
    """(n-1, 4, 4) frame of the errors of joints 1 .. n-1, in the frame of the joint."""
    kept: NDArray[np.intp]
    """(k,) entries in use, of the (n-1) * 6."""

    @staticmethod
    def of(robot: RobotModel) -> LinkErrors:
        """Return the errors of an arm with at least two joints."""
        frames = np.stack([_error_frame(robot, i) for i in range(1, robot.n)]) if robot.n > 1 else np.empty((0, 4, 4))
        return LinkErrors(robot, frames, _kept(robot, frames))

    @property
    def count(self) -> int:
        """Number k of errors."""
        return len(self.kept)

    @property
    def names(self) -> tuple[str, ...]:
        """(k,) what each error is, with its unit."""
        joints = self.robot.joint_names
        names: list[str] = []
        for link, entry in zip(*divmod(self.kept, 6), strict=True):
            what = _ENTRIES[entry]
            of = f" {joints[link]}" if what.endswith(("from", "against")) else ""
            names.append(f"{joints[link + 1]}: {what}{of} [{'m' if entry < 3 else 'rad'}]")
        return tuple(names)

    def sigma(self, prior: ArmPrior) -> Floats:
        """Return the (k,) standard deviations [m, rad] of a prior."""
        return np.repeat([prior.position, prior.angle, prior.zero], [3, 2, 1])[self.kept % 6]

    def fixed(self, theta: Floats) -> Floats:
        """Return `RobotModel.fixed` (n+1, 4, 4) of the arm with the errors ``theta`` (k,) [m, rad]."""
        fixed = self.robot.fixed.copy()
        C = self.frames
        fixed[1:-1] = fixed[1:-1] @ C @ batch.exp(self._twists(theta)) @ batch.inverses(C)
        return fixed

    def derivatives(self, theta: Floats, q: Floats) -> tuple[Floats, Floats]:
        """Return Ts_base_flange (N, 4, 4) at ``q`` (N, n) and their right twists (N, 6, k) by ``theta``."""
        fixed = self.fixed(theta)
        T = np.broadcast_to(fixed[0], (len(q), 4, 4))
        before = np.empty((self.robot.n - 1, len(q), 4, 4))
        for i in range(self.robot.n):
            if i:
                T = T @ fixed[i]
                before[i - 1] = T
            T = T @ _motions(bool(self.robot.prismatic[i]), q[:, i])
        T = T @ fixed[-1]
        # From the error's own frame to the flange, and from its entries to the twist they make there.
        local = batch.adjoints(self.frames) @ _right_jacobians(self._twists(theta))
        flange_joint = batch.inverses(np.tile(T, (len(before), 1, 1))) @ before.reshape(-1, 4, 4)
        by_twist = batch.adjoints(flange_joint).reshape(len(before), len(q), 6, 6) @ local[:, None]
        return T, np.moveaxis(by_twist, 0, 2).reshape(len(q), 6, -1)[:, :, self.kept]

    def _twists(self, theta: Floats) -> Floats:
        twists = np.zeros(6 * (self.robot.n - 1))
        twists[self.kept] = theta
        return twists.reshape(-1, 6)


def _motions(prismatic: bool, q: Floats) -> Floats:
    """Return the (N, 4, 4) motions of one joint."""
    twists = np.zeros((len(q), 6))
    twists[:, 2 if prismatic else 5] = q
    return batch.exp(twists)


def _right_jacobians(twists: Floats) -> Floats:
    """Return the (N, 6, 6) with exp(xi + d) = exp(xi) exp(J d) for small d, to third order in xi."""
    ad = np.zeros((len(twists), 6, 6))
    ad[:, :3, :3] = ad[:, 3:, 3:] = batch.skews(twists[:, 3:])
    ad[:, :3, 3:] = batch.skews(twists[:, :3])
    square = ad @ ad
    return np.eye(6) - ad / 2.0 + square / 6.0 - square @ ad / 24.0


def _error_frame(robot: RobotModel, i: int) -> Floats:
    """Return the frame (4, 4) on the axis of joint ``i`` that its errors are told in, see above."""
    F = robot.fixed[i]
    # The axis before and a point of it, seen from the joint's own frame.
    axis, point = F[2, :3], -F[:3, :3].T @ F[:3, 3]
    normal = np.array([axis[1], -axis[0], 0.0])  # axis x z
    height = 0.0
    if np.linalg.norm(normal) > _PARALLEL:
        if not robot.prismatic[i] and not robot.prismatic[i - 1]:
            # Where z, less its part along the axis before, brings the origin next to it.
            across = point - (axis @ point) * axis
            height = across[2] / (1.0 - axis[2] ** 2)
    else:
        normal = np.array([-point[0], -point[1], 0.0])
        if np.linalg.norm(normal) < 1e-6:
            normal = np.array([1.0, 0.0, 0.0])  # coaxial: any direction does
    x = normal / np.linalg.norm(normal)
    C = np.eye(4)
    C[:3, 0], C[:3, 1], C[2, 3] = x, np.cross([0.0, 0.0, 1.0], x), height
    return C


def _kept(robot: RobotModel, frames: Floats) -> NDArray[np.intp]:
    """Return the entries (k,) that are left when the gauge is fixed by dropping others."""
    gauge = _gauge(robot, frames)
    order = [6 * (robot.n - 2) + entry for entry in (2, 5)]  # the last joint's own, which the holder has
    order += [6 * link + entry for entry in _LEAST_CLASSICAL for link in range(robot.n - 1)]
    rank = int(np.linalg.matrix_rank(gauge)) if gauge.size else 0
    dropped: list[int] = []
    span = np.empty((0, gauge.shape[1]))
    for entry in order:
        if len(dropped) == rank or entry in dropped:
            continue
        row = gauge[entry]
        rest = row - span.T @ (span @ row)
        if np.linalg.norm(rest) > _INDEPENDENT * max(float(np.linalg.norm(row)), _INDEPENDENT):
            dropped.append(entry)
            span = np.vstack([span, rest / np.linalg.norm(rest)])
    return np.setdiff1d(np.arange(len(gauge)), dropped)


def _gauge(robot: RobotModel, frames: Floats) -> Floats:
    """Return the ((n-1) * 6, g) errors, lengths by `_LENGTH`, that mount and holder take back or that cancel."""
    columns: list[Floats] = []
    inverse = batch.inverses(frames)
    for joint in range(robot.n):
        # Whatever commutes with the joint's own motion.
        for entry in (0, 1, 2, 5) if robot.prismatic[joint] else (2, 5):
            errors = np.zeros((robot.n - 1, 6))
            twist = np.eye(6)[entry]
            if joint > 0:
                errors[joint - 1] += batch.adjoints(inverse[joint - 1][None])[0] @ twist
            if joint < robot.n - 1:
                across = inverse[joint] @ batch.inverses(robot.fixed[joint + 1][None])[0]
                errors[joint] -= batch.adjoints(across[None])[0] @ twist
            errors[:, :3] /= _LENGTH
            columns.append(errors.ravel() * (_LENGTH if entry < 3 else 1.0))
    return np.stack(columns, axis=1) if robot.n > 1 else np.empty((0, 0))
