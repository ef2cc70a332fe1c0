"""All solutions, the one that is wanted, and the reason when there is none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ik_arms import random_postures

from vision_ik.ik import HybridSolver, IkTask, load_solver
from vision_ik.ik.collision import CollisionModel
from vision_ik.ik.objective import Objective, limit_margin, manipulability
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import Transform
from vision_ik.types import Floats, IkSolution, IkStatus


@pytest.fixture(scope="module")
def panda() -> HybridSolver:
    return load_solver("panda")


@pytest.fixture(scope="module")
def ur5e() -> HybridSolver:
    return load_solver("ur5e")


def planar(folder: Path, *, reach: tuple[float, ...] = (0.5, 0.5, 0.5), limit: float = 3.0) -> RobotModel:
    """Return an arm in a plane, a link of each length behind a joint; stretched along x at zero."""
    text = '<robot name="planar"><link name="l0"/>'
    for k in range(len(reach)):
        text += (
            f'<link name="l{k + 1}"/><joint name="j{k}" type="revolute"><parent link="l{k}"/><child link="l{k + 1}"/>'
            f'<origin xyz="{reach[k - 1] if k else 0.0} 0 0"/><axis xyz="0 0 1"/>'
            f'<limit lower="-{limit}" upper="{limit}" velocity="1" effort="1"/></joint>'
        )
    n = len(reach)
    text += (
        f'<link name="tip"/><joint name="end" type="fixed"><parent link="l{n}"/><child link="tip"/>'
        f'<origin xyz="{reach[-1]} 0 0"/></joint></robot>'
    )
    path = folder / "planar.urdf"
    path.write_text(text, encoding="utf-8")
    return load_robot(path)


def at(x: float, y: float = 0.0, turn: float = 0.0) -> Floats:
    return (Transform.from_translation((x, y, 0.0)) @ Transform.exp([0, 0, 0, 0, 0, turn])).matrix


def postures(solutions: list[IkSolution]) -> Floats:
    return np.array([solution.q for solution in solutions])


# -- all solutions ------------------------------------------------------------


def test_copies_by_whole_turns_are_listed_on_request_and_inside_the_limits(ur5e: HybridSolver) -> None:
    q = np.array([0.5, -1.2, 1.5, -1.0, -1.5, 0.3])
    T = ur5e.robot.forward(q)
    branches, copies = ur5e.solve_all(T, q), ur5e.solve_all(T, q, whole_turns=True)
    Q, turns = postures(copies), 2.0 * np.pi
    expected = 0
    for solution in branches:  # by counting
        fits = [
            sum(lower <= angle + turns * k <= upper for k in range(-3, 4))
            for angle, lower, upper in zip(solution.q, ur5e.robot.lower, ur5e.robot.upper, strict=True)
        ]
        expected += int(np.prod(fits))
    assert len(copies) == min(expected, 512)
    assert len(np.unique(Q.round(6), axis=0)) == len(copies)
    assert ((Q >= ur5e.robot.lower) & (Q <= ur5e.robot.upper)).all()
    assert np.abs(ur5e.robot.forward(Q) - T).max() < 2e-6
    assert (np.diff(np.linalg.norm(Q - q, axis=1)) >= -1e-9).all()
    assert len(ur5e.solve_all(T, q, whole_turns=True, most=10)) == 10
    np.testing.assert_array_equal(postures(ur5e.solve_all(T, q, whole_turns=True, most=10)), Q[:10])


def test_both_elbows_of_a_planar_arm_are_listed(tmp_path: Path) -> None:
    found = load_solver(planar(tmp_path)).solve_all(at(0.9, 0.3, 0.4))
    assert len(found) == 2
    assert np.sign(found[0].q[1]) == -np.sign(found[1].q[1])


def test_samples_cover_a_self_motion_evenly(panda: HybridSolver, rng: np.random.Generator) -> None:
    for q in panda.robot.random(rng, 3):
        T = panda.robot.forward(q)
        found = postures(panda.solve_all(T, q, most=512))
        for other in random_postures(panda.robot, rng, 20):
            solution = panda.solve(T, other)
            if solution.converged:
                apart = np.linalg.norm((found - solution.q + np.pi) % (2 * np.pi) - np.pi, axis=1)
                assert apart.min() < 0.6
        gaps = np.linalg.norm((found[:, None] - found[None] + np.pi) % (2 * np.pi) - np.pi, axis=2)
        assert gaps[~np.eye(len(found), dtype=bool)].min() > 0.1


def test_a_free_task_is_sampled_widely_and_no_more_than_asked(ur5e: HybridSolver) -> None:
    T = ur5e.robot.forward(ur5e.robot.home)
    found = ur5e.solve_all(T, task=IkTask.position())
    assert len(found) == 64
    assert len(ur5e.solve_all(T, task=IkTask.position(), most=7)) == 7
    Q = postures(found)
    np.testing.assert_allclose(ur5e.robot.forward(Q)[:, :3, 3], np.tile(T[:3, 3], (64, 1)), atol=1.1e-6)
    assert np.ptp(ur5e.robot.forward(Q)[:, 2, 2]) > 1.0


# -- the one that is wanted ---------------------------------------------------


@pytest.mark.parametrize("name", ["panda", "ur5e", "xarm6"])
def test_nothing_that_is_listed_is_nearer_than_the_nearest(name: str, rng: np.random.Generator) -> None:
    solver = load_solver(name)
    farther = 0
    for q in solver.robot.random(rng, 25):
        T, start = solver.robot.forward(q), solver.robot.random(rng)
        nearest = solver.solve(T, start, objective="nearest")
        listed = solver.solve_all(T, start, spacing=0.1, most=512, whole_turns=name == "ur5e")
        distances = np.linalg.norm(postures(listed) - start, axis=1)
        farther += float(np.linalg.norm(nearest.q - start)) > distances.min() + 2e-3
    assert farther <= (1 if name == "panda" else 0)


def test_the_nearest_lies_at_the_foot_of_a_self_motion(panda: HybridSolver, rng: np.random.Generator) -> None:
    robot = panda.robot
    for q in robot.clip(0.5 * random_postures(robot, rng, 10) + 0.5 * robot.home):
        start = q + rng.uniform(-0.1, 0.1, robot.n)
        solution = panda.solve(robot.forward(q), start, objective="nearest")
        direction = np.linalg.svd(robot.jacobian(solution.q))[2][-1]
        away = solution.q - start
        inside = (np.minimum(solution.q - robot.lower, robot.upper - solution.q) > 1e-6).all()
        assert not inside or abs(away @ direction) < 1e-2 * np.linalg.norm(away)


def test_weights_say_what_near_means(panda: HybridSolver, rng: np.random.Generator) -> None:
    weights = np.array([10.0, 1, 1, 1, 1, 1, 1])
    for q in panda.robot.random(rng, 10):
        T, start = panda.robot.forward(q), panda.robot.random(rng)
        plain = panda.solve(T, start, objective="nearest").q - start
        weighed = panda.solve(T, start, objective="nearest", joint_weights=weights).q - start
        assert np.linalg.norm(weights * weighed) <= np.linalg.norm(weights * plain) + 1e-3


def test_objectives_choose_the_best_of_what_there_is(panda: HybridSolver, rng: np.random.Generator) -> None:
    chain = panda.chain
    for q in panda.robot.random(rng, 3):
        T = panda.robot.forward(q)
        listed = postures(panda.solve_all(T, q))
        agile = panda.solve(T, q, objective="manipulability").q[None]
        assert manipulability(chain, agile)[0] >= manipulability(chain, listed).max() - 1e-9
        central = panda.solve(T, q, objective="limit_margin").q[None]
        assert limit_margin(chain, central)[0] >= limit_margin(chain, listed).max() - 1e-9
        high = panda.solve(T, q, objective=lambda posture: -float(posture[5])).q
        assert high[5] >= listed[:, 5].max() - 1e-9


def test_manipulability_is_the_product_of_the_singular_values(panda: HybridSolver, rng: np.random.Generator) -> None:
    q = panda.robot.random(rng, 5)
    expected = [np.prod(np.linalg.svd(J)[1]) for J in panda.robot.jacobian(q)]
    np.testing.assert_allclose(manipulability(panda.chain, q), expected, rtol=1e-9)


def test_an_objective_without_a_solution_gives_the_closest_posture_and_the_reason(panda: HybridSolver) -> None:
    for objective in ("nearest", "manipulability"):
        solution = panda.solve(Transform.from_translation((3.0, 0.0, 0.5)), objective=objective)
        assert solution.status == IkStatus.UNREACHABLE
        assert 2.0 < solution.position_error < 2.5
    with pytest.raises(ValueError, match="NaN"):
        panda.solve(panda.robot.forward(panda.robot.home), objective=lambda _: np.nan)


def test_an_objective_serves_a_batch_too(ur5e: HybridSolver, rng: np.random.Generator) -> None:
    Ts, starts = ur5e.robot.forward(ur5e.robot.random(rng, 10)), ur5e.robot.random(rng, 10)
    Ts[3] = np.nan
    batch = ur5e.solve_batch(Ts, starts, objective="nearest")
    assert batch.status[3] == IkStatus.INVALID
    for k in (0, 1, 9):
        np.testing.assert_array_equal(batch.q[k], ur5e.solve(Ts[k], starts[k], objective="nearest").q)


def test_choosing_is_the_same_each_time_and_in_every_thread(panda: HybridSolver, rng: np.random.Generator) -> None:
    Ts, start = panda.robot.forward(panda.robot.random(rng, 12)), panda.robot.home
    again = load_solver("panda")

    def nearest(T: Floats) -> Floats:
        return again.solve(T, start, objective="nearest").q

    alone = [panda.solve(T, start, objective="nearest").q for T in Ts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(nearest, Ts))
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(postures(panda.solve_all(Ts[0])), postures(again.solve_all(Ts[0])))


# -- paths --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gen3", "ur5e"])
def test_no_leap_is_made_where_a_solution_is_near(name: str) -> None:
    solver = load_solver(name)
    robot, rng = solver.robot, np.random.default_rng(2)
    lower, upper = np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi)
    t = np.linspace(0.0, 1.0, 400)[:, None]
    for _ in range(3):
        phase, size = rng.uniform(0.0, 2.0 * np.pi, robot.n), rng.uniform(0.1, 0.3, robot.n)
        motion = 0.5 * (lower + upper) + 0.5 * (upper - lower) * size * np.sin(np.pi * t + phase)
        q = motion[0]
        for T in robot.forward(motion[1:]):
            solution = solver.solve(T, q)
            assert solution.converged
            step = np.abs(solution.q - q).max()
            if step > 0.1:
                listed = postures(solver.solve_all(T, q, spacing=0.1, most=512))
                assert step < 2.0 * np.abs(listed - q).max(axis=1).min()
            q = solution.q


# -- reasons ------------------------------------------------------------------


def test_a_target_beyond_the_stretched_arm_is_unreachable(tmp_path: Path) -> None:
    solver = load_solver(planar(tmp_path))
    solution = solver.solve(at(1.6), np.array([0.5, -0.3, 0.2]))
    assert solution.status == IkStatus.UNREACHABLE
    assert "reach" in solver.explain(solution)


def test_a_target_in_a_hole_is_unreachable(tmp_path: Path) -> None:
    solver = load_solver(planar(tmp_path, reach=(0.8, 0.3, 0.1), limit=3.2))  # folded, the tip is 0.4 m away
    solution = solver.solve(at(0.2, 0.1), np.array([0.5, -0.3, 0.2]), task=IkTask.position())
    assert solution.status == IkStatus.UNREACHABLE
    assert solution.position_error == pytest.approx(0.4 - np.hypot(0.2, 0.1), abs=1e-3)


def test_a_joint_at_its_limit_is_named(tmp_path: Path) -> None:
    robot = planar(tmp_path)
    tight = replace(robot, upper=np.array([3.0, 0.5, 3.0]))
    solver = load_solver(tight)
    solution = solver.solve(robot.forward(np.array([0.2, 1.0, 0.3])), np.array([0.2, 0.4, 0.3]), locked=["j0", "j2"])
    assert solution.status == IkStatus.LIMITED
    assert solution.q[1] == 0.5
    assert "the upper limit of j1" in solver.explain(solution)


def test_a_stretched_arm_that_cannot_draw_in_is_singular(tmp_path: Path) -> None:
    robot = planar(tmp_path)
    stuck = load_solver(robot, restarts=0).solve(at(1.0), np.zeros(3), task=IkTask.pose())
    assert stuck.status == IkStatus.SINGULAR
    assert load_solver(robot).solve(at(1.0), np.zeros(3)).converged  # another seed gets there


@pytest.mark.parametrize("objective", ["near", "nearest", "limit_margin"])
def test_an_arm_with_every_joint_locked_is_told_so(objective: Objective, tmp_path: Path) -> None:
    robot = planar(tmp_path)
    solver, q = load_solver(robot), np.array([0.5, -0.3, 0.2])
    T = robot.forward(q)
    locked = list(robot.joint_names)
    assert solver.solve(T, q, locked=locked, objective=objective).converged
    moved = solver.solve(T, q + 0.1, locked=locked, objective=objective)
    assert not moved.converged
    np.testing.assert_array_equal(moved.q, q + 0.1)
    assert solver.explain(moved).startswith("All joints are locked")
    batch = solver.solve_batch([T], q + 0.1, locked=locked, objective=objective)
    assert (batch.status[0], batch.iterations[0]) == (moved.status, moved.iterations)
    assert "locked" not in solver.explain(solver.solve(at(1.6), q, locked=locked[:2]))


def test_what_is_missing_is_told_in_metres_from_one_metre_up(tmp_path: Path) -> None:
    solver = load_solver(planar(tmp_path))
    assert " 98.5 m and" in solver.explain(solver.solve(at(100.0)))
    assert " 100 mm and" in solver.explain(solver.solve(at(1.6), task=IkTask.position()))


def folded(robot: RobotModel, rng: np.random.Generator, count: int) -> tuple[CollisionModel, Floats]:
    model = CollisionModel.from_robot(robot)
    q = robot.random(rng, 3000)
    return model, q[model.collides_batch(q)][:count]


def test_postures_that_touch_themselves_are_not_given(rng: np.random.Generator) -> None:
    robot = load_robot("panda")
    model, touching = folded(robot, rng, 30)
    plain, careful = load_solver(robot), load_solver(robot, self_collision=True)
    avoided = 0
    for q in touching:
        T = robot.forward(q)
        assert model.collides(plain.solve(T, q).q)
        for options in ({}, {"objective": "nearest"}, {"task": IkTask.free_roll()}):
            solution = careful.solve(T, q, **options)  # pyright: ignore[reportArgumentType]
            assert model.collides(solution.q) == (solution.status == IkStatus.COLLISION)
            avoided += solution.converged
        assert not any(model.collides(solution.q) for solution in careful.solve_all(T, q))
    assert avoided > 30
    batch = careful.solve_batch(robot.forward(touching), touching)
    assert not model.collides_batch(batch.q[batch.converged]).any()


def test_a_target_that_only_colliding_postures_reach_is_told() -> None:
    robot = load_robot("ur5e")
    model, touching = folded(robot, np.random.default_rng(1), 200)
    careful, plain = load_solver(robot, self_collision=True), load_solver(robot)
    told = 0
    for q in touching:
        T = robot.forward(q)
        if model.collides_batch(postures(plain.solve_all(T, q))).all():
            solution = careful.solve(T, q)
            assert solution.status == IkStatus.COLLISION
            assert model.collides(solution.q)
            told_by = model.distance(solution.q).links
            assert all(link in careful.explain(solution) for link in told_by)
            assert "touches itself." in plain.explain(solution)
            assert careful.solve_all(T, q) == []
            told += 1
            if told == 3:
                return
    pytest.fail(f"only {told} such targets among {len(touching)}")
