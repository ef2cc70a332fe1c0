from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vision_ik.cli.benches import Level, _ik_ablation, _ik_batch, _ik_extras, _ik_paths, ik, ik_tasks
from vision_ik.cli.benches._ik_ablation import best_ranked
from vision_ik.cli.benches._ik_judge import make_judge
from vision_ik.cli.benches._ik_restarts import refine_batch
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.learning.labelling import first_shot
from vision_ik.robots import RobotModel
from vision_ik.types import Floats, IkSolution, IkStatus


@pytest.fixture(scope="module")
def ablation() -> _ik_ablation.Ablation:
    """Return the ablation of the UR5e on few targets."""
    return _ik_ablation.compare("ur5e", count=60, table_size=2000)


# -- seeds ------------------------------------------------------------------------------------------------------------


def test_first_shots_of_the_network_are_those_that_training_counts() -> None:
    solver = load_solver("panda")
    targets = Targets.draw(solver.robot, 2000)
    q, done = refine_batch(solver.chain, solver.settings, targets.Ts, best_ranked(solver, targets.Ts))
    counted = first_shot(solver.chain, solver.net, targets.q) > 0
    assert (counted != (done > 0.0)).sum() <= 2
    np.testing.assert_array_equal(make_judge(solver.robot).solved(q, targets.Ts), done > 0.0)


def test_a_table_tells_what_looking_up_costs(ablation: _ik_ablation.Ablation) -> None:
    assert 0.0 < ablation.table.seeding_us < ablation.table.calls.mean
    assert f"{ablation.table.seeding_us:.1f} us" in str(ablation.rows()[1][-1])
    assert ablation.random.seeding_us == 0.0


def test_the_defaults_must_follow_the_table(ablation: _ik_ablation.Ablation) -> None:
    assert ablation.network is not None
    cheap = replace(ablation.network.calls, times=np.full_like(ablation.random.calls.times, 1e-3))
    winning = replace(ablation, network=replace(ablation.network, calls=cheap))
    losing = replace(ablation, network=replace(ablation.network, calls=replace(cheap, times=1e6 + cheap.times)))
    good, bad = ik.defaults([winning]), ik.defaults([winning, losing])
    assert (good.value, good.met) == (1, True)
    assert (bad.value, bad.unit, bad.met) == (1, "of 2", False)
    assert "ur5e (uses its network)" in bad.note


# -- batches ----------------------------------------------------------------------------------------------------------


def test_batches_are_judged_and_each_thread_has_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = load_solver("ur5e").robot
    judge = make_judge(robot)
    figures = _ik_batch.figures(robot, judge, Level.QUICK)
    rates = {figure.name: figure for figure in figures}
    assert "16,384 targets" in rates["ur5e: batched, 2 threads"].note
    assert rates["ur5e: batched with starts, 1 thread"].met is None
    assert rates["ur5e: solved in batches"].value == 100.0
    assert rates["ur5e: solved in batches"].met
    peer = rates["ur5e: batched, EAIK, 1 thread"]
    if importlib.util.find_spec("eaik") is None:
        assert "skipped" in peer.note
    else:
        assert peer.value > 1000.0
    solve_batch = HybridSolver.solve_batch

    def wrong(self: HybridSolver, *args: Any) -> Any:
        found = solve_batch(self, *args)
        q = found.q.copy()
        q[::10] += 1e-3
        return replace(found, q=q)

    monkeypatch.setattr(HybridSolver, "solve_batch", wrong)
    figures = _ik_batch.figures(robot, judge, Level.QUICK)
    rates = {figure.name: figure for figure in figures}
    assert 89.0 < rates["ur5e: solved in batches"].value < 91.0
    assert not rates["ur5e: solved in batches"].met


# -- nearest ----------------------------------------------------------------------------------------------------------


def test_a_target_that_nobody_solves_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    class Peer:
        def solve(self, *args: Any, **options: Any) -> list[Any]:
            return []

    def peer(robot: RobotModel) -> Peer:
        return Peer()

    monkeypatch.setattr(ik_tasks, "_peer", peer)
    solve, count = HybridSolver.solve, 0

    def sometimes(self: HybridSolver, *args: Any, **options: Any) -> IkSolution:
        nonlocal count
        count += 1
        found = solve(self, *args, **options)
        return found if count % 2 else replace(found, status=IkStatus.UNREACHABLE)

    monkeypatch.setattr(HybridSolver, "solve", sometimes)
    figure = ik_tasks.nearest("ur5e", 10)
    assert (figure.value, figure.met) == (100.0, True)
    assert "5 left out" in figure.note
    count = 0

    def home(robot: RobotModel, *what: Any) -> Floats:
        return robot.home[None]

    monkeypatch.setattr(ik_tasks, "_inside", home)
    figure = ik_tasks.nearest("ur5e", 10)
    assert "0 left out" in figure.note
    assert figure.value <= 50.0
    assert not figure.met


# -- paths ------------------------------------------------------------------------------------------------------------


def test_the_solver_follows_a_path_without_leaps() -> None:
    figure, _ = _ik_paths.paths(("ur5e",), 1)
    assert isinstance(figure, ik.Figure)
    assert figure.met


def test_a_leap_to_another_branch_is_avoidable(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = load_solver("ur5e")
    motion = _ik_paths.smooth_motion(solver.robot, np.random.default_rng(5))[:40]
    solve, count = HybridSolver.solve, 0

    def leap(self: HybridSolver, *args: Any) -> IkSolution:
        nonlocal count
        count += 1
        return self.solve_all(*args)[-1] if count == 20 else solve(self, *args)

    monkeypatch.setattr(HybridSolver, "solve", leap)
    course = _ik_paths.Course()
    _ik_paths.follow(solver, motion, course)
    assert (course.leaps, course.avoidable, course.missed) == (1, 1, 0)
    assert course.largest > 1.0 > 0.1 > course.possible


def test_a_target_that_is_not_reached_fails_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    solve = HybridSolver.solve
    monkeypatch.setattr(_ik_paths, "_STEPS", 20)

    def miss(self: HybridSolver, *args: Any) -> IkSolution:
        return replace(solve(self, *args), status=IkStatus.UNREACHABLE)

    monkeypatch.setattr(HybridSolver, "solve", miss)
    figure, _ = _ik_paths.paths(("ur5e",), 1)
    assert isinstance(figure, ik.Figure)
    assert figure.value == 0
    assert figure.met is False
    assert "19 targets not reached" in figure.note


def test_minimum_norm_steps_arrive_where_the_motion_does() -> None:
    robot = load_solver("panda").robot
    motion = _ik_paths.smooth_motion(robot, np.random.default_rng(5))
    found = _ik_paths.track(robot, motion[10], motion[11], motion[10])
    assert found is not None
    assert np.abs(found - motion[10]).max() < 0.02


# -- training ---------------------------------------------------------------------------------------------------------


def test_training_too_long_or_too_little_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ik_extras, "_TRAINING_S", 0.0)
    monkeypatch.setattr(_ik_extras, "_NEW_ARM_FIRST_SHOT", 0.0)
    first, solved = _ik_extras.train_new_arm(budget_s=0.2, count=500)
    assert 0.0 < first.value <= 100.0
    assert first.met is False
    assert solved.value > 99.0
