"""Whether postures keep clear of the table, of the arm itself and of the camera: capsules, no meshes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vision_ik.ik.collision import CollisionModel
from vision_ik.robots import Capsule, RobotModel, kernels
from vision_ik.transforms import Transform
from vision_ik.types import Board, Floats

_PLATE = "carried plate"
"""Name of the link that is added for what the flange carries."""
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
    """[m] Kept from table and obstacle."""
    plate: Floats = field(default_factory=lambda: np.empty((0, 3)))
    """(K, 3) corners of what the flange carries, in the flange frame [m], in order around it."""
    obstacle: Floats | None = None
    """(3,) centre of a fixed thing to keep away from, in the base frame [m]: the camera."""
    obstacle_radius: float = 0.1
    """[m]"""
    shape: CollisionModel = field(init=False)
    """The arm with what it carries, and the pairs of its parts to keep apart."""

    def __post_init__(self) -> None:
        carrying = _carrying(self.robot, self.plate)
        wrist = [
            (_PLATE, link)
            for link, frame in zip(self.robot.links, self.robot.link_frames.tolist(), strict=True)
            if len(self.plate) and frame > self.robot.n - _WRIST_JOINTS
        ]
        object.__setattr__(self, "shape", CollisionModel.from_robot(carrying, disabled=wrist))

    def clear(self, q: Floats) -> NDArray[np.bool_]:
        """Return which postures (N, n) touch nothing."""
        if len(q) == 0:
            return np.zeros(0, dtype=bool)
        ok = ~self.shape.collides_batch(q)
        p0, p1 = self._ends(q[ok])
        outside = np.ones(len(p0), dtype=bool)
        if self.floor is not None:
            lowest = np.minimum(p0[..., 2], p1[..., 2]) - self.shape.radius
            # What stands on the table, and the link that turns on it, touch it rightly.
            outside &= (lowest[:, self.shape.frames > 1] > self.floor + self.margin).all(axis=1)
        if self.obstacle is not None:
            gap = _point_distance(p0, p1, self.obstacle) - self.shape.radius - self.obstacle_radius
            outside &= (gap > self.margin).all(axis=1)
        ok[ok] = outside
        return ok

    def paths_clear(self, q_from: Floats, q_to: Floats) -> NDArray[np.bool_]:
        """Return whether the straight paths in joint space from ``q_from`` (n,) to ``q_to`` (N, n) touch nothing."""
        if len(q_to) == 0:
            return np.zeros(0, dtype=bool)
        steps = max(2, int(np.ceil(np.abs(q_to - q_from).max() / _PATH_STEP)) + 1)
        paths = np.linspace(np.broadcast_to(q_from, q_to.shape), q_to, steps)
        clear = self.clear(paths.reshape(-1, paths.shape[-1])).reshape(steps, len(q_to))
        return np.asarray(clear.all(axis=0), dtype=np.bool_)

    def _ends(self, q: Floats) -> tuple[Floats, Floats]:
        """Return both ends (N, M, 3) of all capsules in the base frame [m]."""
        robot = self.robot
        frames = np.empty((len(q), robot.n + 1, 4, 4))
        for posture, row in zip(np.ascontiguousarray(q), frames, strict=True):
            kernels.fk_frames(robot.fixed, robot.prismatic, posture, row)
        Ts = frames[:, self.shape.frames]
        p0, p1 = (
            (Ts[..., :3, :3] @ end[:, :, None])[..., 0] + Ts[..., :3, 3] for end in (self.shape.p0, self.shape.p1)
        )
        return p0, p1


def board_plate(T_flange_board: Transform, board: Board) -> Floats:
    """Return the (4, 3) corners of a board in the flange frame [m]."""
    width, height = board.size_m
    return T_flange_board.apply([[0, 0, 0], [width, 0, 0], [width, height, 0], [0, height, 0]])


def _carrying(robot: RobotModel, plate: Floats) -> RobotModel:
    """Return the arm with one more link, fixed to its tip: capsules along edges and diagonals of ``plate`` (K, 3)."""
    if len(plate) == 0:
        return robot
    # Edges and, by pairing each corner with the one two further, diagonals.
    bars = [(plate[i], plate[(i + turn) % len(plate)]) for turn in (1, 2) for i in range(len(plate))]
    return replace(
        robot,
        links=(*robot.links, _PLATE),
        link_frames=np.append(robot.link_frames, robot.n),
        Ts_frame_link=np.concatenate([robot.Ts_frame_link, robot.fixed[-1:]]),
        capsules=(*robot.capsules, *(Capsule(link=_PLATE, p0=a, p1=b, radius=_PLATE_RADIUS) for a, b in bars)),
    )


def _point_distance(p0: Floats, p1: Floats, point: Floats) -> Floats:
    """Return the distances (...) of a point (3,) from segments p0-p1, (..., 3) each [m]."""
    along, to_point = p1 - p0, point - p0
    squared = np.einsum("...i,...i->...", along, along)
    share = np.einsum("...i,...i->...", to_point, along) / np.maximum(squared, 1e-12)
    return np.linalg.norm(to_point - np.clip(share, 0.0, 1.0)[..., None] * along, axis=-1)
