"""Set-ups within an arm's reach, and what is seen of them: known truth, known noise, no pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration import ArmNoise, HandEyeView, Workcell
from calibration.lens.projection import project
from calibration.views.candidates import Candidates
from calibration.views.sights import board_points
from vision_ik.cli.benches._hand_eye_cells import BOARD, LENS, PIXEL_SIGMA, sights
from vision_ik.ik import HybridSolver
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, Chessboard, Floats

PRINT = Chessboard(columns=7, rows=5, square_m=0.03)
"""Has the 6x4 corners of the synthetic cells."""
GUESS = 0.01
"""[m, rad] Standard deviation of the guess per axis."""
_DRAWN = 300
"""Board poses drawn of each kind of random view."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A set-up, and random views of it that can be reached."""

    truth: Workcell
    guess: Workcell
    """The same, wrong by `GUESS`."""
    careful: Candidates
    """As a careful person takes views: see `sights`."""
    even: Candidates
    """Evenly from all that a planner may choose from."""

    @property
    def home(self) -> Floats:
        """Where the arm stands."""
        return self.truth.solver.robot.home


def make_scene(solver: HybridSolver, mount: Mount, rng: np.random.Generator) -> Scene:
    """Return a random set-up within the arm's reach."""
    X, Y = _setup(mount, rng)
    truth = Workcell(solver=solver, intrinsics=LENS, board=PRINT, mount=mount, T_mount_camera=X, T_holder_board=Y)
    guess = replace(
        truth,
        T_mount_camera=X @ Transform.exp(GUESS * rng.normal(size=6)),
        T_holder_board=Y @ Transform.exp(GUESS * rng.normal(size=6)),
        guess_covariance=GUESS**2 * np.eye(12),
    )
    # The cells give the board's points about its middle, with z away from the camera.
    facing = np.diag([1.0, -1.0, -1.0])
    T_points_board = Transform.from_parts(facing, -facing @ PRINT.chess_corners.mean(axis=0)).matrix
    home = solver.robot.home
    careful = truth.reached(sights(BOARD, _DRAWN, rng) @ T_points_board, home)
    return Scene(truth, guess, careful, truth.candidates(home, 4 * _DRAWN, rng))


def _setup(mount: Mount, rng: np.random.Generator) -> tuple[Transform, Transform]:
    """Return a random T_mount_camera and T_holder_board."""
    turn = np.concatenate([np.zeros(3), 0.1 * rng.normal(size=3)])
    if mount == "eye_in_hand":
        place = np.array([0.5, 0.0, 0.0]) + 0.03 * rng.normal(size=3) * (1.0, 1.0, 0.0)
        return Transform.from_translation([0.06, 0.0, 0.03]) @ Transform.exp(turn), Transform.from_translation(place)
    azimuth, distance = rng.uniform(-0.7, 0.7), rng.uniform(1.1, 1.35)
    eye = np.array([distance * np.cos(azimuth), distance * np.sin(azimuth), rng.uniform(0.5, 0.9)])
    forward = np.array([0.4, 0.0, 0.35]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    T_base_aim = Transform.from_parts(np.column_stack([right, np.cross(forward, right), forward]), eye)
    return T_base_aim @ Transform.exp(turn), Transform.from_translation([-0.105, -0.075, 0.03]) @ Transform.exp(turn)


def see(truth: Workcell, T_base_flange: Floats, arm: ArmNoise, rng: np.random.Generator) -> HandEyeView:
    """Return what is seen with the arm off by its noise and the corners by theirs."""
    sigma = np.repeat([arm.translation, arm.rotation], 3)
    flange = Transform(T_base_flange)
    points = board_points(PRINT)
    true = _sight(truth, flange @ Transform.exp(sigma * rng.normal(size=6)))
    uv, _ = project(true.apply(points), LENS)
    noisy = uv + PIXEL_SIGMA * rng.normal(size=uv.shape)
    return HandEyeView(
        T_base_flange=flange, detection=BoardDetection(points_board=points, points_image=noisy, timestamp=0.0)
    )


def _sight(truth: Workcell, T_base_flange: Transform) -> Transform:
    T_mount_holder = T_base_flange if truth.mount == "eye_to_hand" else T_base_flange.inv()
    return truth.T_mount_camera.inv() @ T_mount_holder @ truth.T_holder_board


def shows(truth: Workcell, flanges: Floats) -> NDArray[np.bool_]:
    """Return in which flange poses (N, 4, 4) all of the board is in the picture."""
    poses = np.stack([_sight(truth, Transform(T)).matrix for T in flanges])
    uv = np.stack([project(Transform(T).apply(board_points(PRINT)), LENS)[0] for T in poses])
    inside = (uv > 0.0) & (uv < (LENS.width - 1, LENS.height - 1))
    return np.asarray(inside.all(axis=(1, 2)), dtype=np.bool_)
