"""Partial poses, locked and weighted joints, dead bands: what a task asks is reached, and nothing else is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ik_arms import random_postures

from vision_ik.ik import HybridSolver, IkTask, Rotation, load_solver
from vision_ik.ik.task import make_goal
from vision_ik.ik.task_kernels import linearise
from vision_ik.ik.task_search import complete_target
from vision_ik.robots import RobotModel
from vision_ik.robots.kernels import fk_jacobian
from vision_ik.transforms import Transform
from vision_ik.types import Floats, IkStatus

TASKS = {
    "pose": IkTask.pose(),
    "position": IkTask.position(),
    "free roll": IkTask.free_roll(),
    "pointing": IkTask.pointing(),
    "pointing from 20 cm": IkTask.pointing(distance=0.2),
    "height and tilt": IkTask(counts=(False, False, True, True, True, False)),
}


@pytest.fixture(scope="module", params=["panda", "ur5e"])
def solver(request: pytest.FixtureRequest) -> HybridSolver:
    return load_solver(request.param)


@pytest.fixture(scope="module")
def panda() -> HybridSolver:
    return load_solver("panda")


def angle(a: Floats, b: Floats) -> float:
    return float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


def left_of(task: IkTask, T: Floats, T_target: Floats) -> Floats:
    """Return the components (6,) of the error that count, from the definitions and nothing of the solver's."""
    gap, away = T_target[:3, 3] - T[:3, 3], np.zeros(6)
    if task.rotation == Rotation.AIM:
        away[2] = np.linalg.norm(gap) - (task.distance or 0.0)
        away[3] = angle(T[:3, 2], gap / np.linalg.norm(gap))
    else:
        away[:3] = T_target[:3, :3].T @ gap
        away[3:] = Transform(T_target @ np.linalg.inv(T)).log()[3:] @ T_target[:3, :3]
        if task.rotation == Rotation.SWING:
            away[3:] = angle(T[:3, 2], T_target[:3, 2]), 0.0, 0.0
    return np.where(task.counts, away, 0.0)


@pytest.mark.parametrize("name", TASKS)
def test_what_counts_is_reached_inside_the_limits(solver: HybridSolver, name: str, rng: np.random.Generator) -> None:
    task, robot = TASKS[name], solver.robot
    solved = 0
    for q in random_postures(robot, rng, 100):
        T = robot.forward(q)
        if task.rotation == Rotation.AIM:  # somewhere on the tool's axis, so that it can be aimed at from there
            T = T @ Transform.from_translation((0.0, 0.0, 0.2)).matrix
        solution = solver.solve(T, robot.random(rng), task=task)
        assert ((solution.q >= robot.lower) & (solution.q <= robot.upper)).all()
        if solution.converged:
            solved += 1
            np.testing.assert_allclose(left_of(task, robot.forward(solution.q), T), 0.0, atol=1.1e-6)
    assert solved >= 99


@pytest.mark.parametrize("name", ["pose", "position", "free roll", "height and tilt"])
def test_a_start_that_already_does_the_task_is_kept(panda: HybridSolver, name: str, rng: np.random.Generator) -> None:
    q = panda.robot.random(rng)
    T = Transform(panda.robot.forward(q))
    if name == "position":
        T = T @ Transform.exp([0, 0, 0, 1.0, -2.0, 0.5])
    elif name == "free roll":
        T = T @ Transform.exp([0, 0, 0, 0, 0, 2.0])
    elif name == "height and tilt":
        T = T @ Transform.exp([0.3, -0.2, 0, 0, 0, 0])
    solution = panda.solve(T, q, task=TASKS[name])
    assert solution.seed == "start"
    np.testing.assert_allclose(solution.q, q, atol=1e-5)


def test_a_free_roll_reaches_what_the_whole_pose_does_not() -> None:
    solver = load_solver("so101")  # five joints: roll about the gripper's axis is tied to the rest
    robot = solver.robot
    found = whole = 0
    rng = np.random.default_rng(4)
    for q in random_postures(robot, rng, 40):
        T = Transform(robot.forward(q)) @ Transform.exp([0, 0, 0, 0, 0, 1.5 + rng.uniform(0.0, 1.0)])
        whole += solver.solve(T, q).converged
        found += solver.solve(T, q, task=IkTask.free_roll()).converged
    assert whole < 20
    assert found == 40


def test_dead_bands_are_kept_and_used(solver: HybridSolver, rng: np.random.Generator) -> None:
    robot = solver.robot
    bands = np.array([0.02, 0.0, 0.05, 0.3, 0.0, 0.1])
    task, exact, moved, moved_exact = IkTask.pose(tolerances=bands.tolist()), 0, 0.0, 0.0
    for q in random_postures(robot, rng, 60):
        T = Transform(robot.forward(q)) @ Transform.exp(0.1 * rng.uniform(-1.0, 1.0, 6))
        solution, whole = solver.solve(T, q, task=task), solver.solve(T, q)
        if not (solution.converged and whole.converged):
            continue
        away = left_of(IkTask.pose(), robot.forward(solution.q), T.matrix)
        assert (np.abs(away) <= np.maximum(bands, 1.1e-6)).all()
        exact += np.abs(away).max() < 1e-5
        moved, moved_exact = moved + np.abs(solution.q - q).sum(), moved_exact + np.abs(whole.q - q).sum()
    assert exact <= 3  # nothing pulls to the middle of a band
    assert moved < moved_exact


def test_a_tolerated_error_reaches_beyond_the_stretched_arm(panda: HybridSolver) -> None:
    T = panda.robot.forward(panda.robot.home)
    far = T.copy()
    far[:3, 3] *= (0.86 + 0.3) / np.linalg.norm(far[:3, 3])
    assert not panda.solve(far, task=IkTask.position()).converged
    solution = panda.solve(far, task=IkTask.position(tolerances=(0.5, 0.5, 0.5)))
    assert solution.converged
    assert solution.position_error == 0.0


@pytest.mark.parametrize("objective", ["near", "nearest", "manipulability"])
def test_locked_joints_do_not_move(panda: HybridSolver, objective: str, rng: np.random.Generator) -> None:
    robot, solved = panda.robot, 0
    for q in robot.random(rng, 30):
        start = robot.random(rng)
        start[4] = q[4]
        solution = panda.solve(
            robot.forward(q),
            start,
            locked={"panda_joint3": q[2], "panda_joint5": None},
            task=IkTask.free_roll(),
            objective=objective,  # pyright: ignore[reportArgumentType]
        )
        assert solution.q[2] == q[2]
        assert solution.q[4] == q[4]
        solved += solution.converged
    assert solved >= 29


def test_locked_joints_hold_in_a_batch_and_in_a_listing(panda: HybridSolver, rng: np.random.Generator) -> None:
    robot, q = panda.robot, panda.robot.random(rng, 50)
    starts = robot.random(rng, 50)
    starts[:, 2] = q[:, 2]
    batch = panda.solve_batch(robot.forward(q), starts, locked=["panda_joint3"])
    assert batch.converged.mean() >= 0.98
    np.testing.assert_array_equal(batch.q[:, 2], q[:, 2])
    listed = panda.solve_all(robot.forward(q[0]), q[0], locked=["panda_joint3"])
    assert np.abs(listed[0].q - q[0]).max() < 1e-4
    assert {solution.q[2] for solution in listed} == {q[0, 2]}
    assert len(listed) <= 16  # six joints are left: branches, no continuum


def test_a_heavy_joint_moves_less(panda: HybridSolver) -> None:
    q = panda.robot.home
    T = Transform.from_translation((0.02, 0.05, -0.03)) @ Transform(panda.robot.forward(q))
    light = panda.solve(T, q)
    for heavy in ({"panda_joint1": 20.0}, [20.0, 1, 1, 1, 1, 1, 1]):
        solution = panda.solve(T, q, joint_weights=heavy)
        assert solution.converged
        assert abs(solution.q[0] - q[0]) < 0.2 * abs(light.q[0] - q[0])


def test_what_holds_a_task_back_is_told(panda: HybridSolver) -> None:
    robot = panda.robot
    everything = list(robot.joint_names)
    T = robot.forward(robot.home)
    held = panda.solve(Transform.from_translation((0.0, 0.0, 0.1)) @ Transform(T), robot.home, locked=everything)
    assert held.status == IkStatus.UNREACHABLE
    np.testing.assert_array_equal(held.q, robot.home)
    assert held.position_error == pytest.approx(0.1)
    assert panda.solve(T, robot.home, locked=everything).converged
    assert panda.solve(Transform.from_translation((5.0, 0, 0)), task=IkTask.position()).status == IkStatus.UNREACHABLE


def test_a_batch_of_tasks_gives_what_single_calls_give_also_over_threads(rng: np.random.Generator) -> None:
    alone, threaded = load_solver("panda"), load_solver("panda", threads=2)
    robot, task = alone.robot, IkTask.free_roll()
    Ts, starts = robot.forward(robot.random(rng, 3000)), robot.random(rng, 3000)
    Ts[5, 0, 0] = np.nan
    batch, other = alone.solve_batch(Ts, starts, task=task), threaded.solve_batch(Ts, starts, task=task)
    np.testing.assert_array_equal(batch.q, other.q)
    assert batch.status[5] == IkStatus.INVALID

    def solve(k: int) -> Floats:
        return alone.solve(Ts[k], starts[k], task=task).q

    with ThreadPoolExecutor(4) as pool:
        singles = list(pool.map(solve, range(10, 60)))
    np.testing.assert_array_equal(singles, batch.q[10:60])


@pytest.mark.parametrize("name", TASKS)
def test_rates_are_the_derivatives_of_errors(panda: HybridSolver, name: str, rng: np.random.Generator) -> None:
    chain, task, robot = panda.chain, TASKS[name], panda.robot
    goal = make_goal(robot, task)

    def error(q: Floats) -> tuple[Floats, Floats]:
        T, J, e = np.empty((4, 4)), np.empty((6, robot.n)), np.empty(6)
        fk_jacobian(chain.fixed, chain.prismatic, q, T, J)
        linearise(goal, target, T, J, e, 0.0, 0.0)
        return e, J

    for q in robot.random(rng, 5):
        T = Transform(robot.forward(q))
        # Alignments are linearised where they are met: aim along the axis, tilt by a hair.
        off = [0, 0, 0.3, 0, 0, 0.7] if task.rotation != Rotation.VECTOR else rng.normal(size=6)
        target = (T @ Transform.exp(off)).matrix
        e, J = error(q)
        numeric = np.empty_like(J)
        for i in range(robot.n):
            step = 1e-6 * np.eye(robot.n)[i]
            numeric[:, i] = (error(q - step)[0] - error(q + step)[0]) / 2e-6
        counted = np.array(task.counts) & ((np.abs(e) > 1e-9) | (task.rotation == Rotation.VECTOR))
        np.testing.assert_allclose(J[counted], numeric[counted], atol=1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_completed_targets_fulfil_their_task(panda: HybridSolver, name: str, rng: np.random.Generator) -> None:
    task = TASKS[name]
    goal, T = make_goal(panda.robot, task), np.empty((4, 4))
    for q, donor in zip(panda.robot.random(rng, 10), panda.robot.random(rng, 10), strict=True):
        target = panda.robot.forward(q)
        complete_target(goal, target, panda.robot.forward(donor), T)
        Transform(T)  # rigid
        np.testing.assert_allclose(left_of(task, T, target), 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"counts": (False,) * 6}, "At least one"),
        ({"counts": (True,) * 5}, "counts must have 6 entries"),
        ({"tolerances": (0.0, 0.0, -1.0, 0.0, 0.0, 0.0)}, "negative"),
        ({"tolerances": (np.inf,) * 6}, "finite"),
        ({"rotation": Rotation.SWING}, "rz"),
        ({"counts": (True, True, True, True, True, False), "rotation": Rotation.AIM}, "distance"),
        ({"distance": 0.3}, "AIM"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        IkTask(**fields)  # pyright: ignore[reportArgumentType]


def test_joints_that_make_no_sense_are_refused(panda: HybridSolver) -> None:
    T = panda.robot.forward(panda.robot.home)
    with pytest.raises(ValueError, match="no joint 'elbow'"):
        panda.solve(T, locked={"elbow": 0.0})
    with pytest.raises(ValueError, match="range"):
        panda.solve(T, locked={"panda_joint4": 1.0})
    with pytest.raises(ValueError, match="positive"):
        panda.solve(T, joint_weights=[0.0] * 7)
    with pytest.raises(ValueError, match="positive"):
        panda.solve(T, joint_weights=[1.0] * 6)
    with pytest.raises(ValueError, match="must have"):
        IkTask.position(tolerances=(0.1,))
    with pytest.raises(ValueError, match="No objective"):
        panda.solve(T, objective="fastest")  # pyright: ignore[reportArgumentType]


def test_one_task_is_one_goal(panda: HybridSolver) -> None:
    robot: RobotModel = panda.robot
    assert make_goal(robot, IkTask.position()) is make_goal(robot, IkTask.position())
    assert make_goal(robot, None, ["panda_joint1"]) is make_goal(robot, None, {"panda_joint1": None})
