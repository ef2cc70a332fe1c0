"""Synthetic calibration views: known truth, known noise, no pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import HandEyeView
from calibration.lens.projection import project
from calibration.views.sights import visible_poses
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, CharucoBoard, Floats

BOARD = CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022)
LENS = CameraIntrinsics(
    K=np.array([[600.0, 0.0, 319.5], [0.0, 602.0, 239.5], [0.0, 0.0, 1.0]]),
    distortion=np.array([-0.1, 0.05, 0.001, -0.001, 0.0]),
    width=640,
    height=480,
)
FISHEYE = CameraIntrinsics(
    K=np.array([[300.0, 0.0, 319.5], [0.0, 301.0, 239.5], [0.0, 0.0, 1.0]]),
    distortion=np.array([0.02, -0.01, 0.003, -0.001]),
    width=640,
    height=480,
    model="fisheye",
)
MOUNTS: tuple[Mount, ...] = ("eye_to_hand", "eye_in_hand")


@dataclass(frozen=True)
class Stage:
    """A set-up and what was seen of it."""

    mount: Mount
    T_mount_camera: Transform
    T_holder_board: Transform
    views: list[HandEyeView]


def detection(points_image: Floats, points_board: Floats | None = None) -> BoardDetection:
    """Return corners of the board."""
    points = BOARD.chess_corners if points_board is None else points_board
    return BoardDetection(points_board=points, points_image=points_image, timestamp=0.0)


def make_stage(
    rng: np.random.Generator,
    mount: Mount,
    n: int,
    *,
    pixel: float = 0.0,
    translation: float = 0.0,
    rotation: float = 0.0,
    lens: CameraIntrinsics = LENS,
    setup: tuple[Transform, Transform] | None = None,
) -> Stage:
    """Return random views; noise of the corners [px] and of the arm [m, rad] as given.

    Args:
        rng: Source of everything random.
        mount: Who carries the camera.
        n: Number of views.
        pixel: Noise of a corner per axis [px].
        translation: Noise of the flange per axis [m].
        rotation: Noise of the flange per axis [rad].
        lens: Of the camera.
        setup: T_mount_camera and T_holder_board; random ones by default.
    """
    turn = np.concatenate([np.zeros(3), rng.normal(size=3)])
    tilt = np.concatenate([np.zeros(3), 0.3 * rng.normal(size=3)])
    if mount == "eye_to_hand":
        T_mount_camera = Transform.from_translation([0.8, 0.1, 0.6]) @ Transform.exp(turn)
        T_holder_board = Transform.from_translation([-0.1, -0.07, 0.03]) @ Transform.exp(tilt)
    else:
        T_mount_camera = Transform.from_translation([0.06, 0.01, 0.04]) @ Transform.exp(tilt)
        T_holder_board = Transform.from_translation([0.5, 0.1, 0.0]) @ Transform.exp(turn)
    if setup is not None:
        T_mount_camera, T_holder_board = setup
    Ts_camera_board = visible_poses(BOARD, lens, 40 * n, rng)[:n]
    sigma = np.repeat([translation, rotation], 3)
    points = BOARD.chess_corners
    views: list[HandEyeView] = []
    for matrix in Ts_camera_board:
        T_camera_board = Transform(matrix)
        T_mount_holder = T_mount_camera @ T_camera_board @ T_holder_board.inv()
        T_base_flange = T_mount_holder if mount == "eye_to_hand" else T_mount_holder.inv()
        # True = reported @ exp(noise); both signs of the noise are alike.
        T_base_reported = T_base_flange @ Transform.exp(sigma * rng.normal(size=6))
        uv, _ = project(T_camera_board.apply(points), lens)
        noisy = uv + pixel * rng.normal(size=uv.shape)
        views.append(HandEyeView(T_base_flange=T_base_reported, detection=detection(noisy)))
    return Stage(mount, T_mount_camera, T_holder_board, views)
