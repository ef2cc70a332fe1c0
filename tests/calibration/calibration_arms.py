"""An arm that is not as drawn, its postures before a camera, and what that sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from calibration_stage import BOARD, LENS, detection

from calibration import ArmPrior, HandEyeView, LinkErrors, batch
from calibration.hand_eye.chain import ChainState, camera_board
from calibration.lens.projection import project
from vision_ik.ik import load_solver
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import Transform
from vision_ik.types import Floats

UR5E = load_robot("ur5e")
NOISE = np.repeat([0.1e-3, np.deg2rad(0.02)], 3)
"""[m, rad] By which the flange is elsewhere from view to view."""


def off_its_drawing(robot: RobotModel, rng: np.random.Generator, prior: ArmPrior | None = None) -> RobotModel:
    errors = LinkErrors.of(robot)
    return replace(robot, fixed=errors.fixed(errors.sigma(prior or ArmPrior()) * rng.normal(size=errors.count)))


def setup(mount: Mount) -> tuple[Floats, Floats]:
    """Return T_mount_camera and T_holder_board in which the arm's usual postures show the board."""
    if mount == "eye_in_hand":
        X = Transform.from_translation([0.05, 0.0, 0.06])
        return X.matrix, (Transform.from_translation([0.4, -0.2, 0.0])).matrix
    X = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [0.45, 0.1, 1.1])
    return X.matrix, (Transform.from_translation([-0.09, -0.06, 0.08]) @ Transform.exp([0, 0, 0, 0.1, 0.2, 0])).matrix


def postures(mount: Mount, n: int, rng: np.random.Generator) -> Floats:
    """Return joints (n, 6) in which the board lies before the camera: drawn about one posture, kept if they do."""
    solver = load_solver(UR5E)
    X, Y = setup(mount)
    facing = np.diag([1.0, -1.0, -1.0, 1.0])
    found = np.empty((0, 6))
    centre = np.append(BOARD.chess_corners.mean(axis=0), 1.0)
    while len(found) < n:
        twists = rng.normal(size=(4 * n, 6)) * [0.03, 0.03, 0.04, 0.3, 0.3, 0.5]
        Ts = np.tile(np.eye(4), (4 * n, 1, 1))
        Ts[:, 2, 3] = 0.5
        Ts = Ts @ batch.exp(twists) @ facing
        Ts[:, :3, 3] -= Ts[:, :3, :3] @ centre[:3]
        holder = X @ Ts @ np.linalg.inv(Y)
        flanges = holder if mount == "eye_to_hand" else batch.inverses(holder)
        solved = solver.solve_batch(flanges, 0.5 * UR5E.random(rng, len(flanges)))
        found = np.concatenate([found, solved.q[solved.converged]])
    return found[:n]


def see(
    true: RobotModel, mount: Mount, q: Floats, rng: np.random.Generator, noise: Floats = NOISE, pixel: float = 0.2
) -> list[HandEyeView]:
    """Return what the camera sees of an arm that is not quite the nominal one."""
    X, Y = setup(mount)
    shaken = true.forward(q) @ batch.exp(noise * rng.normal(size=(len(q), 6)))
    views: list[HandEyeView] = []
    for T, reported, joints in zip(
        camera_board(ChainState(X, Y, np.eye(4)[None]), shaken, mount), UR5E.forward(q), q, strict=True
    ):
        uv, _ = project(BOARD.chess_corners @ T[:3, :3].T + T[:3, 3], LENS)
        views.append(
            HandEyeView(T_base_flange=reported, q=joints, detection=detection(uv + pixel * rng.normal(size=uv.shape)))
        )
    return views
