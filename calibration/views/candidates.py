"""Postures in which the camera sees the board well, to choose from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import batch
from calibration.lens.projection import project
from calibration.views.clearance import Clearance, board_plate
from vision_ik.ik import HybridSolver
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, CharucoBoard, Chessboard, Floats, TagGridBoard

_LARGEST_TILT = np.deg2rad(50.0)
"""Between the board's normal and the line of sight: beyond, corners smear."""
_LIMIT_MARGIN = 0.05
"""[rad], [m] Kept from joint limits."""
_IMAGE_MARGIN = 0.05
"""Share of the image kept free along its border: the guess may be off."""
_SMALLEST_SQUARE = 14.0
"""[px] Marker edges below are not read reliably: the far end of the distance band."""
_LARGEST_SHARE = 0.8
"""Share of the image's height the board may fill: the near end of the distance band."""
_KEPT_SHARE = 0.6
"""Of the reachable candidates: the farthest ones cost time and tell little that nearer ones do not."""
_FEWEST_KEPT = 150


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
    floor: float | None = 0.0
    """Height of the table in the base frame [m]; None where there is none."""

    @property
    def clearance(self) -> Clearance:
        """What to keep clear of: table, arm, and the fixed camera."""
        to_hand = self.mount == "eye_to_hand"
        return Clearance(
            robot=self.solver.robot,
            floor=self.floor,
            plate=board_plate(self.T_holder_board, self.board) if to_hand else np.empty((0, 3)),
            obstacle=self.T_mount_camera.translation if to_hand else None,
        )

    def postures(self, start: Floats, samples: int, rng: np.random.Generator) -> Floats:
        """Return postures (N, n) that show the whole board, reached straight from ``start`` (n,), nearest first."""
        robot, clearance = self.solver.robot, self.clearance
        Ts_mount_board = self.T_mount_camera.matrix @ visible_poses(self.board, self.intrinsics, samples, rng)
        if self.mount == "eye_to_hand":
            Ts_base_flange = Ts_mount_board @ self.T_holder_board.inv().matrix
        else:
            Ts_base_flange = self.T_holder_board.matrix @ batch.inverses(Ts_mount_board)
        solved = self.solver.solve_batch(Ts_base_flange @ self.solver.T_flange_tool.matrix, start)
        inside = (solved.q > robot.lower + _LIMIT_MARGIN) & (solved.q < robot.upper - _LIMIT_MARGIN)
        good = solved.converged & inside.all(axis=1)
        good[good] = clearance.clear(solved.q[good])
        postures = _near(solved.q[good], start, robot.velocity)
        # Straight from the start: that is the way round any obstacle. A start that touches something
        # by the model is there all the same, and says nothing.
        if clearance.clear(start[None])[0]:
            postures = postures[clearance.paths_clear(start, postures)]
        return postures


def board_points(board: Board) -> Floats:
    """Return all (N, 3) points a detector can find on a board [m]."""
    chess = [] if isinstance(board, TagGridBoard) else [board.chess_corners]
    return np.concatenate([*board.markers.values(), *chess])


def visible_poses(board: Board, intrinsics: CameraIntrinsics, samples: int, rng: np.random.Generator) -> Floats:
    """Draw (N, 4, 4) Ts_camera_board in which the whole board is in the picture, of ``samples`` tries."""
    near, far = distance_band(board, intrinsics)
    distance = np.exp(rng.uniform(np.log(near), np.log(far), samples))
    margin = _IMAGE_MARGIN * np.array([intrinsics.width, intrinsics.height])
    size = np.array([intrinsics.width, intrinsics.height])
    pixel = rng.uniform(margin, size - margin, (samples, 2))
    K = intrinsics.K
    rays = np.column_stack([(pixel - K[:2, 2]) / np.diag(K)[:2], np.ones(samples)])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    # Turn the optical axis to the ray, tilt about a random axis across it, roll about the normal.
    azimuth, roll = rng.uniform(-np.pi, np.pi, (2, samples))
    tilt = _LARGEST_TILT * np.sqrt(rng.uniform(0.0, 1.0, samples))
    across = np.column_stack([np.cos(azimuth), np.sin(azimuth), np.zeros(samples)])
    axis = np.cross([0.0, 0.0, 1.0], rays)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    aim = axis / np.maximum(sine, 1e-12) * np.arctan2(sine, rays[:, 2:])
    facing = np.diag([1.0, -1.0, -1.0])  # board x right, y up, z toward the camera
    about_z = np.column_stack([np.zeros((samples, 2)), roll])
    R = _rotations(aim) @ _rotations(across * tilt[:, None]) @ facing @ _rotations(about_z)
    width, height = board.size_m
    T = np.tile(np.eye(4), (samples, 1, 1))
    T[:, :3, :3] = R
    T[:, :3, 3] = rays * distance[:, None] - R @ np.array([0.5 * width, 0.5 * height, 0.0])
    corners = np.array([[0, 0, 0], [width, 0, 0], [width, height, 0], [0, height, 0]], dtype=np.float64)
    points = np.einsum("nab,kb->nka", R, corners) + T[:, None, :3, 3]
    uv = project(points.reshape(-1, 3), intrinsics)[0].reshape(samples, -1, 2)
    inside = ((uv > margin) & (uv < size - 1 - margin)).all(axis=(1, 2))
    return T[inside & (points[..., 2] > 0.5 * near).all(axis=1)]


def distance_band(board: Board, intrinsics: CameraIntrinsics) -> tuple[float, float]:
    """Return the nearest and farthest distance [m] at which the board is seen well."""
    focal = float(np.sqrt(intrinsics.K[0, 0] * intrinsics.K[1, 1]))
    near = focal * max(board.size_m) / (_LARGEST_SHARE * min(intrinsics.width, intrinsics.height))
    if isinstance(board, Chessboard):
        edge = board.square_m
    else:
        edge = board.marker_m if isinstance(board, CharucoBoard) else board.tag_m
    far = focal * edge / _SMALLEST_SQUARE
    return near, max(far, 1.2 * near)


def _near(postures: Floats, start: Floats, velocity: Floats) -> Floats:
    """Return the share of the postures (N, n) that is reached soonest."""
    time = np.abs((postures - start) / velocity).max(axis=1)
    kept = max(_FEWEST_KEPT, int(_KEPT_SHARE * len(postures)))
    return postures[np.argsort(time, kind="stable")[:kept]]


def _rotations(vectors: Floats) -> Floats:
    twists = np.zeros((len(vectors), 6))
    twists[:, 3:] = vectors
    return batch.exp(twists)[:, :3, :3]
