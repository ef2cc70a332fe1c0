"""What a user of the solver relies on."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from ik_arms import made_arm, random_postures

from vision_ik.errors import InvalidPoseError
from vision_ik.ik import HybridSolver, IkTask, load_solver
from vision_ik.ik.objective import NAMES
from vision_ik.robots import load_robot
from vision_ik.testing import ik_solver_contract
from vision_ik.transforms import Transform
from vision_ik.types import Floats, IkStatus


@pytest.fixture(scope="module")
def panda() -> HybridSolver:
    return load_solver("panda")


@pytest.fixture(scope="module")
def ur5e() -> HybridSolver:
    return load_solver("ur5e")


def test_a_solver_says_what_it_is_in_a_line(panda: HybridSolver) -> None:
    assert repr(panda) == (
        "HybridSolver(robot='panda', learned=True, tolerance_m=1e-06, tolerance_rad=1e-06, threads=1, "
        "self_collision=False)"
    )


def test_the_help_of_solve_lists_every_objective() -> None:
    assert all(f'``"{name}"``' in (HybridSolver.solve.__doc__ or "") for name in NAMES)


def distance(robot_T: Floats, T: Floats) -> tuple[float, float]:
    return Transform(robot_T).distance_to(Transform(T))


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_the_solver_keeps_its_contract(name: str, learned: bool) -> None:
    robot = load_robot(name)
    for check in ik_solver_contract(
        lambda: load_solver(robot, learned=learned), robot, position_tolerance=1.01e-6, rotation_tolerance=1.01e-6
    ):
        check()


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_random_reachable_targets_are_solved_to_a_micrometre_inside_the_limits(
    name: str, rng: np.random.Generator
) -> None:
    robot = load_robot(name)
    Ts = robot.forward(robot.random(rng, 2000))
    batch = load_solver(robot).solve_batch(Ts, robot.random(rng, 2000))
    assert batch.converged.mean() >= 0.999
    q = batch.q[batch.converged]
    assert (q >= robot.lower).all()
    assert (q <= robot.upper).all()
    reached = robot.forward(q)
    assert np.abs(reached[:, :3, 3] - Ts[batch.converged][:, :3, 3]).max() <= 1.0e-6
    assert np.abs(reached[:, :3, :3] - Ts[batch.converged][:, :3, :3]).max() <= 1.1e-6


@pytest.mark.parametrize("name", ["iiwa14", "gen3", "xarm6", "so101"])
def test_arms_without_weights_are_solved_by_restarts(name: str, rng: np.random.Generator) -> None:
    robot = load_robot(name)
    solver = load_solver(robot, learned=False)
    batch = solver.solve_batch(robot.forward(random_postures(robot, rng, 300)), random_postures(robot, rng, 300))
    assert batch.converged.mean() >= 0.99


@pytest.mark.parametrize(
    "kinds", ["R", "RR", "P", "RRR", "PPP", "RPR", "RRRR", "PRRRRR", "RRRPRRR", "CCCCCC", "R" * 12]
)
def test_any_chain_of_one_to_twelve_joints_is_solved(kinds: str, tmp_path: Path, rng: np.random.Generator) -> None:
    robot = made_arm(tmp_path, kinds)
    solver = load_solver(robot)
    batch = solver.solve_batch(robot.forward(random_postures(robot, rng, 100)))
    assert batch.converged.mean() >= 0.98


@pytest.mark.parametrize("name", ["panda", "ur5e", "so101"])
def test_a_target_out_of_reach_gives_the_closest_posture(name: str) -> None:
    robot = load_robot(name)
    solver = load_solver(robot)
    T = robot.forward(robot.home)
    T[:3, 3] += (3.0, 1.0, 0.5)
    solution = solver.solve(T, robot.home)
    assert solution.status == IkStatus.UNREACHABLE
    assert solution.position_error == pytest.approx(distance(robot.forward(solution.q), T)[0], abs=1e-9)
    assert (solution.q >= robot.lower).all()
    assert (solution.q <= robot.upper).all()
    assert solution.position_error < distance(robot.forward(robot.home), T)[0]


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_a_posture_beyond_a_joint_limit_is_told_as_limited(name: str) -> None:
    robot = load_robot(name)
    tight = replace(robot, lower=robot.home - 0.05, upper=robot.home + 0.05)
    solution = load_solver(tight).solve(robot.forward(robot.home + 0.2), robot.home)
    assert solution.status == IkStatus.LIMITED
    assert ((solution.q - tight.lower < 1e-9) | (tight.upper - solution.q < 1e-9)).any()


def test_an_arm_of_five_joints_reaches_what_it_can_and_says_what_it_cannot(rng: np.random.Generator) -> None:
    robot = load_robot("so101")
    solver = load_solver(robot)
    q = 0.5 * (robot.lower + robot.upper) + 0.1
    assert solver.solve(robot.forward(q), robot.home).converged
    T = Transform(robot.forward(q)) @ Transform.exp([0, 0, 0, 0.2, 0.2, 0.2])
    tilted = solver.solve(T, robot.home)
    assert not tilted.converged
    assert tilted.rotation_error < 0.36


def test_a_start_near_the_target_keeps_its_posture_along_a_path(panda: HybridSolver) -> None:
    q = panda.robot.home
    T_start = Transform(panda.robot.forward(q))
    largest = 0.0
    for t in np.linspace(0.0, 2.0 * np.pi, 200):
        T = Transform.from_translation((0.0, 0.15 * np.sin(t), 0.1 * np.sin(2.0 * t))) @ T_start
        solution = panda.solve(T, q)
        assert solution.converged
        assert solution.seed == "start"
        largest = max(largest, float(np.abs(solution.q - q).max()))
        q = solution.q
    assert largest < 0.05


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_an_arm_that_cannot_reach_its_target_keeps_its_posture(name: str, rng: np.random.Generator) -> None:
    solver = load_solver(name)
    T_start = Transform(solver.robot.forward(solver.robot.home))
    unreached = exchanged = 0
    for _ in range(6):
        q, direction = solver.robot.home, rng.normal(size=3)
        direction *= 1.2 / np.linalg.norm(direction)
        for t in np.linspace(0.0, 1.0, 200):
            solution = solver.solve(Transform.from_translation(t * direction) @ T_start, q)
            unreached += not solution.converged
            exchanged += not solution.converged and solution.seed != "start"
            q = solution.q
    assert unreached > 200
    assert exchanged <= 2


def test_joints_that_turn_more_than_once_stay_in_the_turn_of_the_start(ur5e: HybridSolver) -> None:
    q = np.array([0.5, -1.2, 1.5, -1.0, -1.5, 0.3])
    T = ur5e.robot.forward(q)
    q_far = q + 0.8 * np.array([-1, 1, 1, 1, 1, -1])  # too far for the start itself to be refined first
    for turns in ([0, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 1, -1]):
        turned = q + 2.0 * np.pi * np.array(turns)
        solution = ur5e.solve(T, q_far + 2.0 * np.pi * np.array(turns))
        assert np.abs(solution.q - turned).max() < 2.0 * np.pi - 2.0
        start = turned + 0.02
        np.testing.assert_allclose(ur5e.solve(T, start).q, turned, atol=1e-5)


def test_the_tool_is_what_reaches_the_target(rng: np.random.Generator) -> None:
    T_flange_tool = Transform.from_quaternion((0.02, -0.03, 0.15), (0.0, 0.6, 0.0, 0.8))
    solver = load_solver("panda", T_flange_tool=T_flange_tool)
    T_base_tool = Transform(solver.robot.forward(solver.robot.random(rng))) @ T_flange_tool
    solution = solver.solve(T_base_tool)
    assert solution.converged
    reached = Transform(solver.robot.forward(solution.q)) @ T_flange_tool
    assert max(reached.distance_to(T_base_tool)) < 2e-6


def test_a_batch_does_not_depend_on_its_size_or_threads_and_flags_what_is_invalid(
    panda: HybridSolver, rng: np.random.Generator
) -> None:
    count = 6000
    Ts = panda.robot.forward(panda.robot.random(rng, count))
    starts = panda.robot.random(rng, count)
    Ts[5, 0, 0] = np.nan
    Ts[6, :3, :3] *= 1.01
    starts[7, 2] = np.inf
    batch = panda.solve_batch(Ts, starts)
    threaded = load_solver("panda", threads=2).solve_batch(Ts, starts)
    np.testing.assert_array_equal(batch.q, threaded.q)
    np.testing.assert_array_equal(batch.status, threaded.status)
    assert (batch.status[5:8] == IkStatus.INVALID).all()
    assert np.isnan(batch.q[5:8]).all()
    assert np.delete(batch.converged, [5, 6, 7]).mean() > 0.999
    for part in (slice(300, 301), slice(300, 317), slice(4999, 5999)):
        again = panda.solve_batch(Ts[part], starts[part])
        np.testing.assert_array_equal(again.q, batch.q[part])
        np.testing.assert_array_equal(again.iterations, batch.iterations[part])


def test_a_batch_follows_near_starts_like_single_calls(panda: HybridSolver, rng: np.random.Generator) -> None:
    q = 0.9 * panda.robot.random(rng, 50)
    Ts, starts = panda.robot.forward(q), panda.robot.clip(q + 0.01)
    batch = panda.solve_batch(Ts, starts)
    for k in range(50):
        np.testing.assert_allclose(panda.solve(Ts[k], starts[k]).q, batch.q[k], atol=1e-9)


@pytest.mark.parametrize("name", ["panda", "gen3"])
@pytest.mark.parametrize("away", [1e15, 3e18, 1e20, 1e38, 1e155, 1e308])
def test_no_way_to_ask_for_a_target_beyond_all_numbers_hangs_or_invents_a_posture(name: str, away: float) -> None:
    solver = load_solver(name)
    robot = solver.robot
    T = robot.forward(robot.home)
    T[0, 3], T[1, 3] = away, -away
    asked = (
        solver.solve(T),
        solver.solve(T, robot.home),
        solver.solve(T, robot.home, objective="nearest"),
        solver.solve(T, robot.home, task=IkTask.position()),
    )
    for solution in asked:
        assert solution.status == IkStatus.UNREACHABLE
        assert ((solution.q >= robot.lower) & (solution.q <= robot.upper)).all()
    assert solver.solve_all(T) == []
    batch = solver.solve_batch(T[None])
    assert batch.status.tolist() == [IkStatus.UNREACHABLE]
    assert ((batch.q >= robot.lower) & (batch.q <= robot.upper)).all()


def test_after_warming_up_no_solve_of_a_whole_pose_compiles_anything() -> None:
    code = """
from numba.core.dispatcher import Dispatcher
import gc
import numpy as np
import vision_ik as vik

def compiled():
    return sum(len(d.signatures) for d in gc.get_objects() if isinstance(d, Dispatcher))

solver = vik.load_solver("ur5e", self_collision=True)
solver.warm_up()
before = compiled()
robot, rng = solver.robot, np.random.default_rng(0)
for q in robot.random(rng, 200):
    T = robot.forward(q)
    solver.solve(T)
    solver.solve(T, robot.random(rng))
    solver.solve(T, robot.clip(q + 0.01))
    T[:3, 3] *= 1.4
    solver.solve(T, q)
print(compiled() - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "0"


def test_a_batch_on_a_device_solves_what_the_solver_does(panda: HybridSolver, rng: np.random.Generator) -> None:
    pytest.importorskip("warp", reason="Warp (the extra cuda) is not installed")
    Ts = panda.robot.forward(panda.robot.random(rng, 200))
    q, status, _, _ = panda.on_device("cpu").solve(Ts, home=panda.robot.home)
    assert (status == IkStatus.CONVERGED).all()
    for T, posture in zip(Ts, q, strict=True):
        assert max(distance(panda.robot.forward(posture), T)) < 2e-6


def test_threads_sharing_one_solver_get_the_same_answers_as_one_thread(
    panda: HybridSolver, rng: np.random.Generator
) -> None:
    Ts = panda.robot.forward(panda.robot.random(rng, 200))
    alone = [panda.solve(T).q for T in Ts]
    with ThreadPoolExecutor(4) as pool:
        together = [solution.q for solution in pool.map(panda.solve, Ts)]
    np.testing.assert_array_equal(alone, together)


def test_the_same_call_gives_the_same_answer_restarts_included() -> None:
    robot = load_robot("panda")
    T = robot.forward(robot.home)
    T[:3, 3] += (0.6, 0.0, 0.0)
    first, second = (load_solver(robot, learned=False, seed=3).solve(T) for _ in range(2))
    assert first.seed == second.seed
    np.testing.assert_array_equal(first.q, second.q)


def test_all_branches_of_a_six_axis_arm_are_listed_once(ur5e: HybridSolver, rng: np.random.Generator) -> None:
    counts: list[int] = []
    for q in random_postures(ur5e.robot, rng, 30):
        T = ur5e.robot.forward(q)
        found = ur5e.solve_all(T, q)
        assert np.abs(found[0].q - q).max() < 1e-4
        for solution in found:
            assert max(distance(ur5e.robot.forward(solution.q), T)) < 2e-6
        Q = np.array([solution.q for solution in found])
        apart = np.abs((Q[:, None] - Q[None] + np.pi) % (2 * np.pi) - np.pi).max(axis=2)
        assert (apart[~np.eye(len(Q), dtype=bool)] > 1e-3).all()
        counts.append(len(found))
    # A six-axis arm of this kind has at most eight, in pairs.
    assert max(counts) == 8
    assert np.mean(np.array(counts) % 2 == 0) > 0.9


def test_samples_of_a_self_motion_are_listed_for_a_redundant_arm(panda: HybridSolver) -> None:
    assert len(panda.solve_all(panda.robot.forward(panda.robot.home))) > 5


def test_nothing_is_listed_for_a_target_out_of_reach(panda: HybridSolver) -> None:
    assert panda.solve_all(Transform.from_translation((9.0, 0.0, 0.0))) == []


def _scaled() -> Floats:
    return np.diag([1.0, 1.0, 1.001, 1.0])


@pytest.mark.parametrize(
    "target",
    [
        np.full((4, 4), np.nan),
        _scaled(),
        np.diag([1.0, 1.0, -1.0, 1.0]),
        np.diag([1.0, 1.0, 1.0, 2.0]),
        np.eye(3),
        [["a"]],
        np.zeros((4, 4)),
    ],
)
def test_a_target_that_is_no_pose_is_refused(panda: HybridSolver, target: object) -> None:
    with pytest.raises(InvalidPoseError):
        panda.solve(target)  # pyright: ignore[reportArgumentType]


def test_a_start_that_is_no_posture_is_refused(panda: HybridSolver) -> None:
    T = panda.robot.forward(panda.robot.home)
    with pytest.raises(ValueError, match="shape"):
        panda.solve(T, np.zeros(6))
    with pytest.raises(ValueError, match="finite"):
        panda.solve(T, np.full(7, np.nan))
    with pytest.raises(ValueError, match="finite"):
        panda.solve_all(T, np.full(7, np.nan))
    with pytest.raises(ValueError, match="shape"):
        panda.solve_batch([T], np.zeros((2, 7)))
    with pytest.raises(ValueError, match=r"\(N, 4, 4\)"):
        panda.solve_batch(T)


def test_a_start_outside_the_limits_is_moved_inside(panda: HybridSolver) -> None:
    solution = panda.solve(panda.robot.forward(panda.robot.home), np.full(7, 100.0))
    assert solution.converged
    assert (solution.q <= panda.robot.upper).all()


def test_a_pose_read_from_a_file_with_seven_digits_is_accepted(panda: HybridSolver) -> None:
    T = np.round(panda.robot.forward(panda.robot.home + 0.1), 7)
    assert panda.solve(T).converged


def test_an_empty_batch_is_answered_by_an_empty_batch(panda: HybridSolver) -> None:
    assert panda.solve_batch(np.zeros((0, 4, 4))).q.shape == (0, 7)
    assert panda.solve_batch([]).converged.shape == (0,)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="olerance"):
        load_solver("panda", tolerance_m=0.0)
    with pytest.raises(ValueError, match="threads"):
        load_solver("panda", threads=0)


def test_a_solver_cannot_be_changed_nor_its_answers(panda: HybridSolver) -> None:
    with pytest.raises(FrozenInstanceError):
        panda.threads = 2  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="read-only"):
        panda.solve(panda.robot.forward(panda.robot.home)).q[0] = 1.0


def test_solving_with_learned_seeds_needs_no_torch() -> None:
    code = (
        "import sys, vision_ik as vik; s = vik.load_solver('panda');"
        "assert s.learned and s.solve(s.robot.forward(s.robot.home)).converged;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
