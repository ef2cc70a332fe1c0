"""Planned views: visible, reachable, clear of things, and better than chance."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, MOUNTS

from calibration import ViewPlan, plan_views
from calibration.lens.projection import project
from calibration.views.candidates import Workcell
from calibration.views.clearance import Clearance, board_plate
from calibration.views.information import Accuracy, Noise, choose, information
from calibration.views.sights import board_points, distance_band, outline
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Floats

T_BASE_CAMERA = Transform.from_parts(
    [[0.0, 0.5, -np.sqrt(0.75)], [1.0, 0.0, 0.0], [0.0, -np.sqrt(0.75), -0.5]], [1.3, 0.1, 0.9]
)
GUESS: dict[Mount, tuple[Transform, Transform]] = {
    "eye_to_hand": (T_BASE_CAMERA, Transform.from_translation([-0.105, -0.075, 0.03])),
    "eye_in_hand": (Transform.from_translation([0.06, 0.0, 0.03]), Transform.from_translation([0.45, -0.07, 0.0])),
}


@cache
def solver() -> HybridSolver:
    return load_solver("panda")


@cache
def plan(mount: Mount, n: int = 10) -> ViewPlan:
    X, Y = GUESS[mount]
    return plan_views(
        solver().robot, solver(), LENS, BOARD, T_mount_camera=X, T_holder_board=Y, mount=mount, n=n, samples=1500
    )


@pytest.mark.parametrize("mount", MOUNTS)
def test_every_planned_posture_shows_the_whole_board(mount: Mount) -> None:
    X, Y = GUESS[mount]
    near, far = distance_band(BOARD, LENS)
    for q in plan(mount).postures:
        T_base_flange = Transform(solver().robot.forward(q))
        arm = T_base_flange if mount == "eye_to_hand" else T_base_flange.inv()
        T_camera_board = X.inv() @ arm @ Y
        uv, _ = project(T_camera_board.apply(board_points(BOARD)), LENS)
        assert (uv > 0).all()
        assert (uv < (LENS.width - 1, LENS.height - 1)).all()
        sight = T_camera_board.apply([0.5 * BOARD.size_m[0], 0.5 * BOARD.size_m[1], 0.0])
        assert 0.95 * near < np.linalg.norm(sight) < 1.05 * far
        # Out of the paper means toward the camera.
        assert T_camera_board.rotation[:, 2] @ sight < -np.cos(np.deg2rad(51)) * np.linalg.norm(sight)


@pytest.mark.parametrize("mount", MOUNTS)
def test_planned_postures_and_ways_stay_inside_limits_and_touch_nothing(mount: Mount) -> None:
    robot = solver().robot
    made = plan(mount)
    assert made.postures.shape == (10, robot.n)
    assert (made.postures > robot.lower).all()
    assert (made.postures < robot.upper).all()
    plate = board_plate(GUESS[mount][1], BOARD) if mount == "eye_to_hand" else np.empty((0, 3))
    clearance = Clearance(robot=robot, plate=plate)
    before = robot.home
    for way, posture in zip(made.ways, made.postures, strict=True):
        np.testing.assert_array_equal(way[-1], posture)
        for corner in way:
            assert clearance.paths_clear(before, corner[None])[0]
            before = corner


@pytest.mark.parametrize("mount", MOUNTS)
def test_ten_planned_views_leave_far_less_error_than_ten_random_ones(mount: Mount) -> None:
    X, Y = GUESS[mount]
    workcell = Workcell(solver=solver(), intrinsics=LENS, board=BOARD, mount=mount, T_mount_camera=X, T_holder_board=Y)
    rng = np.random.default_rng(0)
    reachable = workcell.candidates(solver().robot.home, 1500, rng)
    views = information(workcell, reachable.Ts_base_flange, Noise())
    chance = [
        Accuracy.of(np.linalg.inv(views[rng.choice(len(views), 10, replace=False)].sum(axis=0))) for _ in range(30)
    ]
    made = plan(mount)
    assert made.sigma_translation < 0.7 * np.mean([sigma.translation for sigma in chance])
    assert made.sigma_translation < plan(mount, 5).sigma_translation


def test_a_poor_guess_keeps_the_board_from_the_border_of_the_picture() -> None:
    X, Y = GUESS["eye_to_hand"]
    # The camera may be turned by 2 degrees: 21 px at this lens.
    poor = np.diag([1e-3, 1e-3, 1e-3, 0.035, 0.035, 0.035, *[1e-3] * 6]) ** 2

    def border(covariance: Floats | None) -> float:
        made = plan_views(
            solver().robot,
            solver(),
            LENS,
            BOARD,
            T_mount_camera=X,
            T_holder_board=Y,
            n=8,
            samples=1500,
            guess_covariance=covariance,
        )
        points = np.concatenate([Transform(T).apply(outline(BOARD)) for T in made.Ts_camera_board])
        uv, _ = project(points, LENS)
        return float(np.minimum(uv, (LENS.width - 1, LENS.height - 1) - uv).min())

    assert border(poor) > 24 + 15 > border(None)


def test_a_held_joint_does_not_forbid_every_posture() -> None:
    X, Y = GUESS["eye_to_hand"]
    robot = solver().robot
    third = np.arange(robot.n) == 2
    held = replace(
        robot, lower=np.where(third, 0.1, robot.lower), upper=np.where(third, 0.1, robot.upper), home=q_held()
    )
    arm = load_solver(held, learned=False)
    workcell = Workcell(
        solver=arm, intrinsics=LENS, board=BOARD, mount="eye_to_hand", T_mount_camera=X, T_holder_board=Y
    )
    found = workcell.candidates(held.home, 200, np.random.default_rng(0))
    assert len(found) > 5
    np.testing.assert_array_equal(found.postures[:, 2], 0.1)


def q_held() -> Floats:
    q = np.array(solver().robot.home)
    q[2] = 0.1
    return q


def test_choice_is_the_best_of_all_pairs(rng: np.random.Generator) -> None:
    """Greedy with exchanges need not be optimal, but on small problems it is."""
    roots = rng.normal(size=(8, 12, 6))
    views = roots @ np.swapaxes(roots, 1, 2)
    known = np.diag(np.repeat([1.0, 0.1, 1.0, 0.1], 3))
    weight = np.repeat([1.5e-3**-2, np.deg2rad(0.2) ** -2], 3)

    def cost(pair: list[int]) -> float:
        covariance = np.linalg.inv(known + views[pair].sum(axis=0))
        return float(np.diag(covariance)[:6] @ weight)

    chosen = choose(views, known, 2)
    assert len(set(chosen)) == 2
    assert cost(chosen) <= 1.05 * min(cost([i, j]) for i in range(8) for j in range(i))


def test_a_camera_that_looks_away_has_no_plan() -> None:
    away = T_BASE_CAMERA @ Transform.exp([0, 0, 0, 0, np.pi, 0])
    with pytest.raises(CalibrationError, match="can be reached"):
        plan_views(
            solver().robot,
            solver(),
            LENS,
            BOARD,
            T_mount_camera=away,
            T_holder_board=GUESS["eye_to_hand"][1],
            samples=300,
        )


def test_clearance_sees_table_camera_and_the_arm_itself() -> None:
    robot = solver().robot
    home = robot.home[None]
    assert Clearance(robot=robot).clear(home)[0]
    tip = robot.forward(robot.home)[:3, 3]
    assert not Clearance(robot=robot, floor=float(tip[2])).clear(home)[0]
    assert not Clearance(robot=robot, obstacle=tip).clear(home)[0]
    postures = robot.random(np.random.default_rng(0), 20000)
    tips = robot.forward(postures)[:, :3, 3]
    in_shoulder = (np.hypot(tips[:, 0], tips[:, 1]) < 0.05) & (np.abs(tips[:, 2] - 0.2) < 0.1)
    assert in_shoulder.any()
    assert not Clearance(robot=robot, floor=None).clear(postures[in_shoulder]).any()
