"""Whether postures keep clear of the table, of the arm itself and of the camera: capsules, no meshes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vision_ik.robots import RobotModel, kernels
from vision_ik.transforms import Transform
from vision_ik.types import Board, Floats

_PLATE_RADIUS = 0.01
"""[m] Half the thickness a board and its plate are given."""
_WRIST_JOINTS = 3
"""The last joints, whose links a plate on the flange may touch in the model but not in reality."""
_PATH_STEP = 0.15
"""[rad], [m] Largest joint step between two postures of a path that are checked."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Clearance:
    """Judge postures of one arm on a table."""

    robot: RobotModel
    floor: float | None = 0.0
    """Height of the table in the base frame [m]; None where there is none."""
    margin: float = 0.02
    """[m] Kept from everything."""
    plate: Floats = field(default_factory=lambda: np.empty((0, 3)))
    """(K, 3) corners of what the flange carries, in the flange frame [m], in order around it."""
    obstacle: Floats | None = None
    """(3,) centre of a fixed thing to keep away from, in the base frame [m]: the camera."""
    obstacle_radius: float = 0.1
    """[m]"""

    def clear(self, q: Floats) -> NDArray[np.bool_]:
        """Return which postures (N, n) touch nothing."""
        if len(q) == 0:
            return np.zeros(0, dtype=bool)
        p0, p1, radius, frame = self._segments(np.atleast_2d(q))
        ok = np.ones(len(p0), dtype=bool)
        if self.floor is not None:
            lowest = np.minimum(p0[..., 2], p1[..., 2]) - radius
            # What stands on the table, and the link that turns on it, touch it rightly.
            ok &= (lowest[:, frame > 1] > self.floor + self.margin).all(axis=1)
        if self.obstacle is not None:
            point = np.broadcast_to(self.obstacle, p0.shape)
            gap = _segment_distance(p0, p1, point, point) - radius - self.obstacle_radius
            ok &= (gap > self.margin).all(axis=1)
        first, second = self._pairs(frame)
        gap = _segment_distance(p0[:, first], p1[:, first], p0[:, second], p1[:, second])
        gap = gap - radius[first] - radius[second]
        return ok & (gap > 0.0).all(axis=1)

    def paths_clear(self, q_from: Floats, q_to: Floats) -> NDArray[np.bool_]:
        """Return whether the straight paths in joint space from ``q_from`` (n,) to ``q_to`` (N, n) touch nothing."""
        if len(q_to) == 0:
            return np.zeros(0, dtype=bool)
        steps = max(2, int(np.ceil(np.abs(q_to - q_from).max() / _PATH_STEP)) + 1)
        paths = np.linspace(np.broadcast_to(q_from, q_to.shape), q_to, steps)
        clear = self.clear(paths.reshape(-1, paths.shape[-1])).reshape(steps, len(q_to))
        return np.asarray(clear.all(axis=0), dtype=np.bool_)

    def _segments(self, q: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """Return ends (N, M, 3) in the base frame, radii (M,) and carrying frames (M,) of all capsules."""
        robot = self.robot
        frames = np.empty((len(q), robot.n + 1, 4, 4))
        for posture, row in zip(np.ascontiguousarray(q), frames, strict=True):
            kernels.fk_frames(robot.fixed, robot.prismatic, posture, row)
        index = {name: i for i, name in enumerate(robot.links)}
        links = np.array([index[c.link] for c in robot.capsules], dtype=np.int64)
        carrier = robot.link_frames[links]
        Ts = frames[:, carrier] @ robot.Ts_frame_link[links]
        ends = [_apply(Ts, np.stack([getattr(c, end) for c in robot.capsules])) for end in ("p0", "p1")]
        radius = np.array([c.radius for c in robot.capsules])
        if len(self.plate):
            T_frame_flange = np.broadcast_to(robot.fixed[-1], (len(self.plate), 4, 4))
            Ts = np.broadcast_to((frames[:, -1:] @ T_frame_flange), (len(q), len(self.plate), 4, 4))
            # Edges and, by pairing each corner with the one two further, diagonals.
            for turn in (1, 2):
                ends[0] = np.concatenate([ends[0], _apply(Ts, self.plate)], axis=1)
                ends[1] = np.concatenate([ends[1], _apply(Ts, np.roll(self.plate, -turn, axis=0))], axis=1)
            radius = np.concatenate([radius, np.full(2 * len(self.plate), _PLATE_RADIUS)])
            # One frame further than any link: the plate is never its own neighbour's neighbour.
            carrier = np.concatenate([carrier, np.full(2 * len(self.plate), robot.n + _WRIST_JOINTS - 1)])
        return ends[0], ends[1], radius, carrier

    def _pairs(self, frame: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the capsules to keep apart: not neighbours, and apart in the arm's home posture."""
        first, second = np.triu_indices(len(frame), 1)
        plate = frame > self.robot.n
        wanted = np.abs(frame[first] - frame[second]) > np.where(plate[first] ^ plate[second], 2 * _WRIST_JOINTS - 1, 1)
        wanted &= ~(plate[first] & plate[second])
        first, second = first[wanted], second[wanted]
        p0, p1, radius, _ = self._segments(self.robot.home[None])
        gap = _segment_distance(p0[:, first], p1[:, first], p0[:, second], p1[:, second])[0]
        apart = gap > radius[first] + radius[second]
        return first[apart], second[apart]


def board_plate(T_flange_board: Transform, board: Board) -> Floats:
    """Return the (4, 3) corners of a board in the flange frame [m]."""
    width, height = board.size_m
    return T_flange_board.apply([[0, 0, 0], [width, 0, 0], [width, height, 0], [0, height, 0]])


def _apply(Ts: Floats, points: Floats) -> Floats:
    """Map points (M, 3), each by its own transform of (N, M, 4, 4)."""
    return np.einsum("nmab,mb->nma", Ts[..., :3, :3], points) + Ts[..., :3, 3]


def _segment_distance(p0: Floats, p1: Floats, q0: Floats, q1: Floats) -> Floats:
    """Return the distances (...) between segments p0-p1 and q0-q1, (..., 3) each [m].

    Ericson, Real-Time Collision Detection, 2005, section 5.1.9.
    """
    d1, d2, r = p1 - p0, q1 - q0, p0 - q0
    a, e = np.maximum(_dot(d1, d1), 1e-12), np.maximum(_dot(d2, d2), 1e-12)
    b, c, f = _dot(d1, d2), _dot(d1, r), _dot(d2, r)
    denominator = a * e - b * b
    s = np.where(denominator > 1e-12, np.clip((b * f - c * e) / np.maximum(denominator, 1e-12), 0.0, 1.0), 0.0)
    t = np.clip((b * s + f) / e, 0.0, 1.0)
    s = np.clip((b * t - c) / a, 0.0, 1.0)
    gap = r + s[..., None] * d1 - t[..., None] * d2
    return np.sqrt(_dot(gap, gap))


def _dot(a: Floats, b: Floats) -> Floats:
    return np.einsum("...i,...i->...", a, b)
