"""Chains of every kind: one to twelve joints that turn, turn without end, slide, or are held in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ik_arms import HELD, made_arm, random_postures

from vision_ik.errors import RobotError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.ik.chain import make_chain
from vision_ik.ik.variants import difference
from vision_ik.robots import RobotModel, load_robot
from vision_ik.types import Floats, IkStatus

_LETTERS = np.random.default_rng(7)
MIXED = ["".join(_LETTERS.choice(list("RRRCP"), n)) for n in range(1, 13)]
SLIDING = ["P", "PRRRRR", "RRRPRR", "RRRRRP", "PP", "PPPRRR", "PPPPPP", "PRPRPR"]
HOLDING = ["RHRR", "HRRRRRR", "RRRHRRR", "RRRRRRH", "HRRRRRH", "RSRRRR", "SHRRRH", "HCH"]


def require_exact(robot: RobotModel, Ts: Floats, q: Floats) -> None:
    reached = robot.forward(q)
    assert np.linalg.norm(reached[:, :3, 3] - Ts[:, :3, 3], axis=1).max() <= 1.01e-6
    assert np.abs(reached[:, :3, :3] - Ts[:, :3, :3]).max() <= 1.1e-6
    assert ((q >= robot.lower) & (q <= robot.upper)).all()


def solve_and_require(robot: RobotModel, share: float, count: int = 60) -> HybridSolver:
    rng = np.random.default_rng(5)
    solver = load_solver(robot)
    Ts, starts = robot.forward(random_postures(robot, rng, count)), random_postures(robot, rng, count)
    for batch in (solver.solve_batch(Ts), solver.solve_batch(Ts, starts)):
        assert batch.converged.mean() >= share
        require_exact(robot, Ts[batch.converged], batch.q[batch.converged])
        assert ((batch.q >= robot.lower) & (batch.q <= robot.upper)).all()
    single = [solver.solve(T, q) for T, q in zip(Ts[:20], starts[:20], strict=True)]
    assert np.mean([solution.converged for solution in single]) >= share
    return solver


@pytest.mark.parametrize("kinds", MIXED)
def test_random_chains_of_one_to_twelve_joints_are_solved(kinds: str, tmp_path: Path) -> None:
    solve_and_require(made_arm(tmp_path, kinds, seed=len(kinds)), 0.95)


@pytest.mark.parametrize("kinds", SLIDING)
def test_sliding_joints_are_solved_wherever_they_are(kinds: str, tmp_path: Path) -> None:
    solve_and_require(made_arm(tmp_path, kinds, seed=3), 0.95)


@pytest.mark.parametrize("kinds", HOLDING)
def test_joints_held_in_place_stay_there_and_the_others_are_solved(kinds: str, tmp_path: Path) -> None:
    robot = made_arm(tmp_path, kinds, seed=4)
    held = [k for k, kind in enumerate(kinds) if kind in "HS"]
    assert (robot.lower[held] == HELD).all()
    solver = solve_and_require(robot, 0.95)
    far = robot.forward(robot.home)
    far[:3, 3] += 10.0
    for solution in (solver.solve(far), solver.solve(far, np.full(robot.n, 9.0))):
        assert (solution.q[held] == HELD).all()
        assert not solution.converged
    for solution in solver.solve_all(robot.forward(robot.home)):
        assert (solution.q[held] == HELD).all()


def test_a_joint_held_in_place_is_no_reason_to_call_a_pose_limited(tmp_path: Path) -> None:
    robot = made_arm(tmp_path, "RRRHRRRR", seed=4)
    T = robot.forward(robot.home)
    T[:3, 3] += 10.0
    assert load_solver(robot).solve(T).status == IkStatus.UNREACHABLE


@pytest.mark.parametrize("joint", [0, 2, 6])
def test_an_arm_with_one_of_its_joints_held_keeps_its_network(joint: int) -> None:
    robot = load_robot("panda")
    lower, upper = robot.lower.copy(), robot.upper.copy()
    lower[joint] = upper[joint] = robot.home[joint]
    held = replace(robot, lower=lower, upper=upper)
    assert difference(robot, held) == ""
    solver = solve_and_require(held, 0.97, count=200)
    assert solver.seeds is not None
    assert solver.seeds.trained_for == "panda"


def test_the_seeds_range_of_every_chain_lies_inside_its_limits(tmp_path: Path) -> None:
    for kinds in (*MIXED, *SLIDING, *HOLDING):
        robot = made_arm(tmp_path, kinds)
        chain = make_chain(robot)
        assert (chain.half > 0.0).all()
        for ends in (chain.centre - chain.half, chain.centre + chain.half):
            assert ((ends >= chain.lower - 1e-9) & (ends <= chain.upper + 1e-9)).all()


def test_a_range_far_from_zero_and_of_many_turns_is_searched_where_the_arm_may_be(tmp_path: Path) -> None:
    robot = made_arm(tmp_path, "RRRRRR", seed=8)
    for lower, upper in ((7.0, 9.0), (-40.0, 40.0), (-20.0, -13.0)):
        moved = replace(
            robot, lower=np.full(6, lower), upper=np.full(6, upper), home=np.clip(np.zeros(6), lower, upper)
        )
        q = np.random.default_rng(0).uniform(lower, upper, (60, 6))
        batch = load_solver(moved).solve_batch(moved.forward(q))
        assert batch.converged.mean() >= 0.95
        require_exact(moved, moved.forward(q)[batch.converged], batch.q[batch.converged])


def test_an_endless_joint_stays_in_the_turn_of_its_start(tmp_path: Path) -> None:
    robot = made_arm(tmp_path, "CCCCCC", seed=2)
    solver = load_solver(robot)
    q = random_postures(robot, np.random.default_rng(1), 20)
    turns = 2.0 * np.pi * np.random.default_rng(2).integers(-30, 30, (20, 6))
    for posture, start in zip(q, q + turns, strict=True):
        solution = solver.solve(robot.forward(posture), start + 0.01)
        assert solution.converged
        np.testing.assert_allclose(solution.q, start, atol=1e-4)


def test_an_arm_of_one_joint_says_how_far_it_is_from_what_it_cannot_do(tmp_path: Path) -> None:
    robot = made_arm(tmp_path, "R")
    solver = load_solver(robot)
    T = robot.forward([0.4])
    np.testing.assert_allclose(solver.solve(T).q, [0.4], atol=1e-5)
    T[:3, 3] += (0.0, 0.0, 0.05)
    solution = solver.solve(T, [0.4])
    assert not solution.converged
    assert 0.0 < solution.position_error <= 0.0501
    assert len(solver.solve_all(robot.forward([0.4]))) == 1


def test_a_chain_of_more_joints_than_the_solver_takes_is_refused_by_name(tmp_path: Path) -> None:
    assert load_solver(made_arm(tmp_path, "R" * 40)).robot.n == 40
    with pytest.raises(RobotError, match=r"64 joints, .* at most 63"):
        load_solver(made_arm(tmp_path, "R" * 64))


LONGER = [pytest.param(kinds, marks=pytest.mark.slow) for kinds in ("R", "RHR", "CCCCCC", "RRRSRRRRRRRR")]


@pytest.mark.parametrize("kinds", ["P", "HRPSRH", *LONGER])
def test_seeds_of_any_chain_can_be_trained(kinds: str, tmp_path: Path) -> None:
    learning = pytest.importorskip("vision_ik.learning")
    robot = made_arm(tmp_path, kinds, seed=6)
    recipe = learning.Recipe.for_budget(0.2)
    trained = learning.train(robot, out=tmp_path, recipe=recipe, threads=1)
    assert 0.0 <= trained.evaluation.first_shot <= 1.0
    solver = load_solver(robot, trained.weights)  # refuses weights that hold NaN
    assert solver.learned
    assert solver.solve(robot.forward(robot.home + 0.05 * (robot.upper > robot.lower)), robot.home).converged
