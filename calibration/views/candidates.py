"""Postures in which the camera sees the board well, to choose from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.values import HandEyeResult
from calibration.views.clearance import Clearance, board_plate
from calibration.views.sights import chance_inside, distance_band, near_poses, seen_well, visible_poses
from vision_ik.ik import HybridSolver
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, Floats

_LIMIT_MARGIN = 0.05
"""[rad], [m] Kept from joint limits, where the joint has that much room."""
_LIKELY = 0.97
"""Chance of the whole board being in the picture with which a posture is worth going to, ..."""
_FEWEST_LIKELY = 40
"""... unless there are fewer than these: then the likeliest ones have to do."""
_OBSTACLE_RADIUS = 0.1
"""[m] Of a fixed camera."""
_SURE = 2.0
"""Standard deviations that a fixed camera may be elsewhere, and is kept clear of."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Candidates:
    """Views that could be taken next."""

    postures: Floats
    """(N, n) [rad], [m]"""
    Ts_base_flange: Floats
    """(N, 4, 4)"""
    Ts_camera_board: Floats
    """(N, 4, 4) where the board will be seen, if the guess is right."""
    chance: Floats
    """(N,) that all of the board is in the picture, given how sure the guess is."""

    def __len__(self) -> int:
        return len(self.Ts_base_flange)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Candidates:
        """Return the candidates that ``keep``, a mask or indices, names."""
        return Candidates(
            postures=self.postures[keep],
            Ts_base_flange=self.Ts_base_flange[keep],
            Ts_camera_board=self.Ts_camera_board[keep],
            chance=self.chance[keep],
        )

    def joined(self, other: Candidates) -> Candidates:
        """Return these and the others."""
        return Candidates(
            postures=np.concatenate([self.postures, other.postures]),
            Ts_base_flange=np.concatenate([self.Ts_base_flange, other.Ts_base_flange]),
            Ts_camera_board=np.concatenate([self.Ts_camera_board, other.Ts_camera_board]),
            chance=np.concatenate([self.chance, other.chance]),
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Workcell:
    """Who can see what from where, as far as it is guessed."""

    solver: HybridSolver
    """Inverse kinematics, with the arm."""
    intrinsics: CameraIntrinsics
    board: Board
    mount: Mount
    T_mount_camera: Transform
    """T_base_camera (eye to hand) or T_flange_camera (eye in hand)."""
    T_holder_board: Transform
    """T_flange_board (eye to hand) or T_base_board (eye in hand)."""
    guess_covariance: Floats | None = None
    """(12, 12) of both, as in ``HandEyeResult.joint_covariance``: the board is kept that far from the
    picture's border, and the arm from the camera; None takes them as near enough."""
    floor: float | None = 0.0
    """Height of the table in the base frame [m]; None where there is none."""
    distances: tuple[float, float] | None = None
    """Nearest and farthest distance from camera to board [m]; where it is seen well by default."""

    clearance: Clearance = field(init=False)
    """What to keep clear of: table, arm, and the fixed camera."""

    def __post_init__(self) -> None:
        to_hand = self.mount == "eye_to_hand"
        unsure = 0.0
        if self.guess_covariance is not None:
            unsure = _SURE * float(np.sqrt(np.trace(self.guess_covariance[:3, :3]) / 3.0))
        clearance = Clearance(
            robot=self.solver.robot,
            floor=self.floor,
            plate=board_plate(self.T_holder_board, self.board) if to_hand else np.empty((0, 3)),
            obstacle=self.T_mount_camera.translation if to_hand else None,
            obstacle_radius=_OBSTACLE_RADIUS + min(unsure, _OBSTACLE_RADIUS),
        )
        object.__setattr__(self, "clearance", clearance)

    @property
    def band(self) -> tuple[float, float]:
        """Nearest and farthest distance at which the board is looked at [m]."""
        return distance_band(self.board, self.intrinsics) if self.distances is None else self.distances

    def updated(self, result: HandEyeResult) -> Workcell:
        """Return the workcell as a calibration knows it."""
        return replace(
            self,
            T_mount_camera=result.T_mount_camera,
            T_holder_board=result.T_holder_board,
            guess_covariance=result.joint_covariance,
        )

    def postures(self, start: Floats, samples: int, rng: np.random.Generator) -> Floats:
        """Return postures (N, n) that show the whole board, reached straight from ``start`` (n,), nearest first."""
        return self.candidates(start, samples, rng).postures

    def candidates(self, start: Floats, samples: int, rng: np.random.Generator) -> Candidates:
        """Return views of the whole board, reached straight from the posture ``start`` (n,), nearest first.

        Args:
            start: (n,) where the arm stands [rad], [m].
            samples: Board poses drawn.
            rng: Source of chance.
        """
        seen = visible_poses(self.board, self.intrinsics, samples, rng, self.band)
        return self.reached(seen, start)

    def around(
        self, chosen: Candidates, start: Floats, count: int, rng: np.random.Generator, spread: float
    ) -> Candidates:
        """Return more candidates close to the ``chosen`` ones, see `near_poses`."""
        drawn = near_poses(chosen.Ts_camera_board, self.board, count, rng, spread)
        return self.reached(drawn[seen_well(drawn, self.board, self.intrinsics, self.band)], start)

    def reached(self, Ts_camera_board: Floats, start: Floats) -> Candidates:
        """Return which of Ts_camera_board (N, 4, 4) can be shown, reached straight from ``start`` (n,).

        Args:
            Ts_camera_board: (N, 4, 4) wanted.
            start: (n,) where the arm stands [rad], [m].
        """
        robot, clearance = self.solver.robot, self.clearance
        Ts_mount_board = self.T_mount_camera.matrix @ Ts_camera_board
        if self.mount == "eye_to_hand":
            Ts_base_flange = Ts_mount_board @ self.T_holder_board.inv().matrix
        else:
            Ts_base_flange = self.T_holder_board.matrix @ batch.inverses(Ts_mount_board)
        solved = self.solver.solve_batch(Ts_base_flange @ self.solver.T_flange_tool.matrix, start)
        good = solved.converged & inside_limits(robot, solved.q, _LIMIT_MARGIN)
        good[good] = clearance.clear(solved.q[good])
        postures = _nearest_first(solved.q[good], start, robot.velocity)
        # Straight from the start: that is the way round any obstacle. A start that touches something
        # by the model is there all the same, and says nothing.
        if clearance.clear(start[None])[0]:
            postures = postures[clearance.paths_clear(start, postures)]
        return self._sure(postures)

    def _sure(self, postures: Floats) -> Candidates:
        """Return the candidates of postures (N, n), without those that may well lose the board."""
        flanges = self.solver.robot.forward(postures)
        state = ChainState(
            self.T_mount_camera.matrix, self.T_holder_board.matrix, np.tile(np.eye(4), (len(postures), 1, 1))
        )
        sights = camera_board(state, flanges, self.mount)
        chance = np.ones(len(postures))
        if self.guess_covariance is not None and len(postures):
            D, _ = derivatives(state, flanges, self.mount)
            covariances = D @ self.guess_covariance @ np.swapaxes(D, 1, 2)
            chance = chance_inside(sights, covariances, self.board, self.intrinsics)
        made = Candidates(postures=postures, Ts_base_flange=flanges, Ts_camera_board=sights, chance=chance)
        likeliest = np.partition(chance, -_FEWEST_LIKELY)[-_FEWEST_LIKELY] if len(chance) > _FEWEST_LIKELY else 0.0
        return made.select(chance >= min(_LIKELY, likeliest))


def inside_limits(robot: RobotModel, q: Floats, margin: float = 0.0) -> NDArray[np.bool_]:
    """Return which postures (N, n) keep ``margin`` [rad], [m] from joint limits; a held joint keeps none."""
    room = robot.upper - robot.lower
    kept = np.where(np.isfinite(room), np.minimum(margin, 0.25 * room), margin)
    held = room <= 0.0
    inside = held | ((q > robot.lower + kept) & (q < robot.upper - kept))
    return np.asarray(inside.all(axis=1), dtype=np.bool_)


def _nearest_first(postures: Floats, start: Floats, velocity: Floats) -> Floats:
    """Return the postures (N, n) in the order in which they can be reached from ``start``."""
    time = np.abs((postures - start) / velocity).max(axis=1)
    return postures[np.argsort(time, kind="stable")]
