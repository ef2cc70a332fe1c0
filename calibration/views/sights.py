"""Places of a board before a camera at which it is seen well, and how sure it is in the picture there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from calibration import batch
from calibration.lens.projection import project
from vision_ik.types import Board, CameraIntrinsics, CharucoBoard, Chessboard, Floats, TagGridBoard

_LARGEST_TILT = np.deg2rad(50.0)
"""Between the board's normal and the line of sight: beyond, corners smear."""
_IMAGE_MARGIN = 0.05
"""Share of the image kept free along its border: the guess may be off."""
_SMALLEST_SQUARE = 14.0
"""[px] Marker edges below are not read reliably: the far end of the distance band."""
_LARGEST_SHARE = 0.8
"""Share of the image's height the board may fill: the near end of the distance band."""


def board_points(board: Board) -> Floats:
    """Return all (N, 3) points a detector can find on a board [m]."""
    chess = [] if isinstance(board, TagGridBoard) else [board.chess_corners]
    return np.concatenate([*board.markers.values(), *chess])


def outline(board: Board) -> Floats:
    """Return the (4, 3) corners of a board's sheet, in order around it [m]."""
    width, height = board.size_m
    return np.array([[0, 0, 0], [width, 0, 0], [width, height, 0], [0, height, 0]], dtype=np.float64)


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


def visible_poses(
    board: Board,
    intrinsics: CameraIntrinsics,
    samples: int,
    rng: np.random.Generator,
    band: tuple[float, float] | None = None,
) -> Floats:
    """Draw (N, 4, 4) Ts_camera_board in which the whole board is in the picture, of ``samples`` tries.

    Args:
        board: The board's layout.
        intrinsics: The lens.
        samples: Tries.
        rng: Source of chance.
        band: Nearest and farthest distance of the board's centre [m]; where it is seen well by default.
    """
    near, far = distance_band(board, intrinsics) if band is None else band
    distance = np.exp(rng.uniform(np.log(near), np.log(far), samples))
    size = np.array([intrinsics.width, intrinsics.height])
    pixel = rng.uniform(_IMAGE_MARGIN * size, (1.0 - _IMAGE_MARGIN) * size, (samples, 2))
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
    T = np.tile(np.eye(4), (samples, 1, 1))
    T[:, :3, :3] = R
    T[:, :3, 3] = rays * distance[:, None] - R @ _centre(board)
    return T[seen_well(T, board, intrinsics, (near, far))]


def near_poses(Ts_camera_board: Floats, board: Board, count: int, rng: np.random.Generator, spread: float) -> Floats:
    """Draw ``count`` poses about each of Ts_camera_board (N, 4, 4): the board moved and turned about its centre.

    Args:
        Ts_camera_board: (N, 4, 4).
        board: The board's layout.
        count: Draws per pose.
        rng: Source of chance.
        spread: Standard deviation of each angle [rad], and of the place as a share of the distance.
    """
    Ts = np.repeat(Ts_camera_board, count, axis=0)
    place = Ts[:, :3, :3] @ _centre(board) + Ts[:, :3, 3]
    distance = np.linalg.norm(place, axis=1, keepdims=True)
    moved = spread * distance * rng.normal(size=place.shape)
    Ts = turned_about_centre(Ts, spread * rng.normal(size=place.shape), board)
    Ts[:, :3, 3] += moved
    return Ts


def turned_about_centre(Ts_camera_board: Floats, turns: Floats, board: Board) -> Floats:
    """Return the (N, 4, 4) poses with the board turned about its centre by ``turns`` (N, 3) [rad], camera axes.

    Args:
        Ts_camera_board: (N, 4, 4), or one (4, 4) for all turns.
        turns: (N, 3) rotation vectors.
        board: The board's layout.
    """
    Ts = np.broadcast_to(Ts_camera_board, (len(turns), 4, 4))
    place = Ts[:, :3, :3] @ _centre(board) + Ts[:, :3, 3]
    turned = np.array(Ts)
    turned[:, :3, :3] = _rotations(turns) @ Ts[:, :3, :3]
    turned[:, :3, 3] = place - turned[:, :3, :3] @ _centre(board)
    return turned


def seen_well(
    Ts_camera_board: Floats, board: Board, intrinsics: CameraIntrinsics, band: tuple[float, float]
) -> NDArray[np.bool_]:
    """Return in which of Ts_camera_board (N, 4, 4) all of the board is in the picture, near and not too tilted."""
    points = Ts_camera_board[:, None, :3, :3] @ outline(board)[:, :, None]
    points = points[..., 0] + Ts_camera_board[:, None, :3, 3]
    uv = project(points.reshape(-1, 3), intrinsics)[0].reshape(*points.shape[:2], 2)
    size = np.array([intrinsics.width, intrinsics.height])
    margin = _IMAGE_MARGIN * size
    inside = ((uv > margin) & (uv < size - 1 - margin)).all(axis=(1, 2))
    sight = points.mean(axis=1)
    distance = np.linalg.norm(sight, axis=1)
    facing = -np.einsum("na,na->n", Ts_camera_board[:, :3, 2], sight) / distance
    # Rounding must not cost poses drawn right at an end.
    good = (distance > band[0] - 1e-9) & (distance < band[1] + 1e-9) & (facing > np.cos(_LARGEST_TILT) - 1e-9)
    return inside & good & (points[..., 2] > 0.5 * band[0]).all(axis=1)


def chance_inside(Ts_camera_board: Floats, covariances: Floats, board: Board, intrinsics: CameraIntrinsics) -> Floats:
    """Return how likely all of the board is in the picture (N,), for poses that are not sure.

    Args:
        Ts_camera_board: (N, 4, 4) as guessed.
        covariances: (N, 6, 6) of them, left twists (camera frame), (v, w) [m, rad].
        board: The board's layout.
        intrinsics: The lens.
    """
    corners = outline(board)
    points = np.einsum("nab,kb->nka", Ts_camera_board[:, :3, :3], corners) + Ts_camera_board[:, None, :3, 3]
    uv, by_point = project(points.reshape(-1, 3), intrinsics)
    J = np.concatenate([by_point, -by_point @ batch.skews(points.reshape(-1, 3))], axis=2)
    J = J.reshape(len(points), len(corners), 2, 6)
    sigma = np.sqrt(np.einsum("nkia,nab,nkib->nki", J, covariances, J))
    uv = uv.reshape(sigma.shape)
    room = np.minimum(uv, np.array([intrinsics.width - 1, intrinsics.height - 1]) - uv)
    # The corners move together: the one nearest to the border decides.
    return np.asarray(ndtr((room / np.maximum(sigma, 1e-9)).min(axis=(1, 2))), dtype=np.float64)


def _centre(board: Board) -> Floats:
    return outline(board).mean(axis=0)


def _rotations(vectors: Floats) -> Floats:
    twists = np.zeros((len(vectors), 6))
    twists[:, 3:] = vectors
    return batch.exp(twists)[:, :3, :3]
