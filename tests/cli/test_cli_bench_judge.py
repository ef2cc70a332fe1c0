from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vision_ik.cli.benches._ik_extras import off_its_drawing
from vision_ik.cli.benches._ik_judge import Judge, make_judge, pose_distance
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.robots import RobotModel, list_robots, load_robot
from vision_ik.transforms import Transform


@pytest.fixture(scope="module")
def panda() -> RobotModel:
    return load_robot("panda")


@pytest.fixture(scope="module")
def judge(panda: RobotModel) -> Judge:
    return make_judge(panda)


def test_the_judge_accepts_the_posture_that_made_the_target(panda: RobotModel, judge: Judge) -> None:
    targets = Targets.draw(panda, 50)
    assert judge.solved(targets.q, targets.Ts).all()


@pytest.mark.parametrize(("metres", "accepted"), [(0.9e-6, True), (2e-6, False)])
def test_the_judge_rejects_two_micrometres_and_accepts_less_than_one(
    metres: float, accepted: bool, panda: RobotModel, judge: Judge
) -> None:
    targets = Targets.draw(panda, 20)
    off = targets.Ts.copy()
    off[:, 0, 3] += metres
    assert (judge.solved(targets.q, off) == accepted).all()


@pytest.mark.parametrize(("radians", "accepted"), [(0.9e-6, True), (2e-6, False)])
def test_the_judge_rejects_two_microradians_and_accepts_less_than_one(
    radians: float, accepted: bool, panda: RobotModel, judge: Judge
) -> None:
    targets = Targets.draw(panda, 20)
    turn = Transform.exp([0.0, 0.0, 0.0, 0.0, radians, 0.0]).matrix
    assert (judge.solved(targets.q, targets.Ts @ turn) == accepted).all()


def test_the_judge_rejects_a_right_pose_beyond_a_limit() -> None:
    robot = load_robot("ur5e")
    q = np.array([[0.3, -1.0, 1.0, -1.0, -1.0, 0.2], [0.3, -1.0, 1.0, -1.0, -1.0, 0.2]])
    q[1, 5] += 4.0 * np.pi  # the same pose, twice round
    assert make_judge(robot).solved(q, robot.forward(q)).tolist() == [True, False]


def test_the_judge_takes_no_answer_for_unsolved(panda: RobotModel, judge: Judge) -> None:
    targets = Targets.draw(panda, 3)
    q = targets.q.copy()
    q[1] = np.nan
    assert judge.solved(q, targets.Ts).tolist() == [True, False, True]


@pytest.mark.parametrize("name", list_robots())
def test_the_judges_fk_is_not_ours_and_agrees_on_every_arm(name: str) -> None:
    pytest.importorskip("pinocchio", reason="the independent FK is pinocchio's")
    robot = load_robot(name)
    judge = make_judge(robot)
    q = robot.random(np.random.default_rng(2), 5)
    assert judge.name == "pinocchio's FK"
    assert judge.forward != robot.forward
    np.testing.assert_allclose([judge.forward(one) for one in q], robot.forward(q), atol=1e-9)


def test_a_calibrated_arm_is_judged_by_its_own_chain(panda: RobotModel) -> None:
    robot = off_its_drawing(panda, seed=1)
    targets = Targets.draw(robot, 10)
    assert make_judge(robot, from_urdf=False).solved(targets.q, targets.Ts).all()
    assert not make_judge(robot).solved(targets.q, targets.Ts).any()


def test_a_calibrated_arm_is_off_by_as_much_as_is_said(panda: RobotModel) -> None:
    metres, radians = pose_distance(off_its_drawing(panda, seed=1).fixed, panda.fixed)
    np.testing.assert_allclose(metres, 0.3e-3, rtol=1e-9)
    np.testing.assert_allclose(radians, 1e-3, rtol=1e-6)


def test_without_pinocchio_the_judge_says_whose_fk_it_uses(panda: RobotModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pinocchio", None)
    assert "our own FK" in make_judge(panda).name


def test_the_first_targets_are_the_same_however_many_are_drawn(panda: RobotModel) -> None:
    few, many = Targets.draw(panda, 5), Targets.draw(panda, 50)
    np.testing.assert_array_equal(few.Ts, many.first(5).Ts)
    np.testing.assert_array_equal(few.starts, many.first(5).starts)
    assert not np.allclose(few.q, few.starts)


def test_the_slack_does_not_widen_the_limits_visibly(panda: RobotModel, judge: Judge) -> None:
    narrow = replace(panda, upper=panda.upper - 1e-6)
    q = np.tile(panda.home, (1, 1))
    q[0, 0] = panda.upper[0]
    assert judge.inside(q).all()
    assert not make_judge(narrow).inside(q).any()
