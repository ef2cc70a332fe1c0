"""Synthetic calibrations of an arm that is not as drawn: a UR5e whose Denavit-Hartenberg table has errors.

Camera, board and picture noise are those of `_hand_eye_cells`. Views are postures of the nominal arm
that show the board from its distances and tilts, in any branch of the inverse kinematics; what is seen
is where the true arm, repeating itself with the noise of an industrial one, has the board.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from calibration import ArmNoise, HandEyeView, batch
from calibration.arm.link_errors import ArmPrior, LinkErrors
from calibration.hand_eye.chain import ChainState, camera_board
from calibration.lens.projection import project
from vision_ik.cli.benches._hand_eye_cells import ARMS, BOARD, LENS, PIXEL_SIGMA, seen, sights
from vision_ik.ik import HybridSolver
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Floats

VIEWS = 40
"""To calibrate with, and as many fresh ones to be judged by."""
REPEATABILITY: ArmNoise = ARMS["industrial"]
_QUARTER = np.pi / 2.0
_D = np.array([0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996])
_A = np.array([0.0, -0.425, -0.3922, 0.0, 0.0, 0.0])
_ALPHA = np.array([_QUARTER, 0.0, 0.0, _QUARTER, -_QUARTER, 0.0])
"""The maker's table, as in the shipped description."""
_TRIES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How an arm is drawn wrong: standard deviations."""

    length: float
    """Of each d and a [m]."""
    zero: float
    """Of each theta [rad]."""
    twist: float
    """Of each alpha [rad]."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ArmTrial:
    """One drawn arm and what was seen of it."""

    mount: Mount
    true: RobotModel
    views: list[HandEyeView]
    fresh_q: Floats
    """(N, n) postures that were not calibrated with."""
    fresh: list[HandEyeView]
    """What is seen in them."""
    Ts_camera_board: Floats
    """(N, 4, 4) where the board really is in them, the arm standing exactly where it is told."""


def draw(nominal: RobotModel, solver: HybridSolver, mount: Mount, errors: Errors | ArmPrior, seed: int) -> ArmTrial:
    """Return a random calibration; the same for the same arguments.

    Args:
        nominal: The shipped UR5e.
        solver: Its inverse kinematics.
        mount: Who carries the camera.
        errors: Of the table; or of the errors that a calibration knows, drawn from its prior.
        seed: Of everything random.
    """
    rng = np.random.default_rng((seed, mount == "eye_in_hand"))
    X, Y, q = _postures(solver, mount, 2 * VIEWS, rng)
    true = _true_arm(nominal, errors, rng)
    exact = ChainState(X, Y, np.eye(4)[None])
    sigma = np.repeat([REPEATABILITY.translation, REPEATABILITY.rotation], 3)
    shaken = true.forward(q) @ batch.exp(sigma * rng.normal(size=(len(q), 6)))
    reported = nominal.forward(q)
    views: list[HandEyeView] = []
    for T, T_base_flange, joints in zip(camera_board(exact, shaken, mount), reported, q, strict=True):
        uv, _ = project(BOARD @ T[:3, :3].T + T[:3, 3], LENS)
        corners = seen(BOARD, uv + PIXEL_SIGMA * rng.normal(size=uv.shape))
        views.append(HandEyeView(T_base_flange=T_base_flange, detection=corners, q=joints))
    return ArmTrial(
        mount=mount,
        true=true,
        views=views[:VIEWS],
        fresh_q=q[VIEWS:],
        fresh=views[VIEWS:],
        Ts_camera_board=camera_board(exact, true.forward(q[VIEWS:]), mount),
    )


def _true_arm(nominal: RobotModel, errors: Errors | ArmPrior, rng: np.random.Generator) -> RobotModel:
    if isinstance(errors, ArmPrior):
        known = LinkErrors.of(nominal)
        return replace(nominal, fixed=known.fixed(known.sigma(errors) * rng.normal(size=known.count)))
    by = rng.normal(size=(4, 6)) * np.array([[errors.length], [errors.length], [errors.zero], [errors.twist]])
    links = _links(_D + by[0], _A + by[1], by[2], _ALPHA + by[3])
    # The base link is the controller's base turned by half a turn, see the description.
    return replace(nominal, fixed=np.concatenate([np.diag([-1.0, -1.0, 1.0, 1.0])[None], links]))


def _links(d: Floats, a: Floats, theta: Floats, alpha: Floats) -> Floats:
    """Return the (n, 4, 4) transforms from joint to joint: Rz(theta) Tz(d) Tx(a) Rx(alpha)."""
    nothing = np.zeros_like(d)
    along_z = batch.exp(np.column_stack([nothing, nothing, d, nothing, nothing, theta]))
    along_x = batch.exp(np.column_stack([a, nothing, nothing, alpha, nothing, nothing]))
    return along_z @ along_x


def _postures(
    solver: HybridSolver, mount: Mount, count: int, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return X, Y and ``count`` postures (count, n) that show the board: set-ups out of reach are drawn anew."""
    while True:
        X, Y = _setup(mount, rng)
        found = np.empty((0, solver.robot.n))
        for _ in range(_TRIES):
            Ts_mount_holder = X @ sights(BOARD, count, rng) @ np.linalg.inv(Y)
            flanges = Ts_mount_holder if mount == "eye_to_hand" else batch.inverses(Ts_mount_holder)
            starts = 0.5 * solver.robot.random(rng, count)  # within half a turn
            solved = solver.solve_batch(flanges, starts)
            found = np.concatenate([found, solved.q[solved.converged]])
            if len(found) >= count:
                return X, Y, found[:count]


def _setup(mount: Mount, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return a random T_mount_camera and T_holder_board."""
    near = Transform.exp([0.0, 0.0, 0.0, *(0.3 * rng.normal(size=3))])
    if mount == "eye_in_hand":
        place = Transform.from_translation([rng.uniform(0.35, 0.55), rng.uniform(-0.3, 0.3), 0.0])
        # Face up on the table: its z points away from whoever looks at it.
        board = place @ Transform.exp([0.0, 0.0, 0.0, np.pi, 0.0, 0.0]) @ _about_z(rng.uniform(-np.pi, np.pi))
        return (Transform.from_translation([0.05, 0.03, 0.06]) @ near).matrix, board.matrix
    azimuth = rng.uniform(-0.7, 0.7)
    out = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    aim = 0.45 * out + [0.0, 0.0, 0.35]
    forward = -(np.cos(0.5) * out + [0.0, 0.0, np.sin(0.5)])
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    turn = np.column_stack([right, np.cross(forward, right), forward])
    camera = Transform.from_parts(turn, aim - 0.5 * forward) @ _about_z(rng.uniform(-0.3, 0.3))
    return camera.matrix, (Transform.from_translation([0.0, 0.05, 0.08]) @ near).matrix


def _about_z(angle: float) -> Transform:
    return Transform.exp([0.0, 0.0, 0.0, 0.0, 0.0, angle])
