"""What people pass by mistake: refused with a reason, told by status, or put right; never a crash or a wrong answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ik_arms import made_arm
from numpy.typing import ArrayLike

from vision_ik.errors import InvalidPoseError, RobotError, VisionIkError, WeightsError
from vision_ik.ik import HybridSolver, IkTask, load_solver
from vision_ik.transforms import Transform
from vision_ik.types import Floats, IkStatus

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def panda() -> HybridSolver:
    return load_solver("panda")


@pytest.fixture(scope="module")
def reachable(panda: HybridSolver) -> Floats:
    return panda.robot.forward(panda.robot.home)


def with_entry(row: int, column: int, value: float) -> Floats:
    T = np.eye(4)
    T[row, column] = value
    return T


def with_rotation(R: ArrayLike) -> Floats:
    T = np.eye(4)
    T[:3, :3] = R
    return T


NO_POSES = {
    "nan": np.full((4, 4), NAN),
    "one_nan": with_entry(0, 3, NAN),
    "one_infinity": with_entry(1, 3, INF),
    "minus_infinity_in_the_rotation": with_entry(0, 0, -INF),
    "nan_in_the_last_row": with_entry(3, 3, NAN),
    "zeros": np.zeros((4, 4)),
    "mirrored": with_rotation(np.diag([1.0, 1.0, -1.0])),
    "point_reflection": with_rotation(-np.eye(3)),
    "scaled": with_rotation(1.001 * np.eye(3)),
    "sheared": with_rotation([[1.0, 0.01, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    "flat": with_rotation(np.diag([1.0, 1.0, 0.0])),
    "in_millimetres_of_rotation": with_rotation(1000.0 * np.eye(3)),
    "huge_rotation": with_rotation(1e200 * np.eye(3)),
    "homogeneous_scale": np.diag([1.0, 1.0, 1.0, 1000.0]),
    "transposed": np.array(Transform.from_translation((0.4, 0.0, 0.4)).matrix.T),
}


@pytest.mark.parametrize("name", NO_POSES)
def test_a_matrix_that_is_no_pose_is_refused_alone_and_marked_in_a_batch(
    name: str, panda: HybridSolver, reachable: Floats
) -> None:
    T = NO_POSES[name]
    for call in (panda.solve, panda.solve_all):
        with pytest.raises(InvalidPoseError) as caught:
            call(T)
        assert caught.value.remedy.endswith(".")
    batch = panda.solve_batch([reachable, T, reachable])
    assert batch.status.tolist() == [IkStatus.CONVERGED, IkStatus.INVALID, IkStatus.CONVERGED]
    assert np.isnan(batch.q[1]).all()
    assert np.isfinite(batch.q[[0, 2]]).all()
    assert not batch.converged[1]


@pytest.mark.parametrize(
    "target",
    [
        np.eye(3),
        np.eye(5),
        np.zeros((3, 4)),
        np.zeros((1, 4, 4)),
        np.zeros(16),
        1.0,
        None,
        "pose",
        [["a"]],
        [[1], [2, 3]],
        np.eye(4, dtype=np.complex128),
        list(np.eye(4, dtype=np.complex128)),
    ],
    ids=str,
)
def test_what_has_not_the_shape_of_a_pose_is_refused(target: object, panda: HybridSolver) -> None:
    for call in (panda.solve, panda.solve_all):
        with pytest.raises(InvalidPoseError, match="pose must"):
            call(target)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "targets",
    [np.eye(4), np.zeros((2, 3, 4)), np.zeros((2, 2, 4, 4)), np.zeros(5), 1.0],
    ids=lambda t: str(np.shape(t)),
)
def test_a_batch_of_another_shape_is_refused(targets: Floats, panda: HybridSolver) -> None:
    with pytest.raises(ValueError, match=r"\(N, 4, 4\)"):
        panda.solve_batch(targets)


def test_a_batch_of_complex_numbers_is_refused(panda: HybridSolver) -> None:
    for targets in (np.eye(4, dtype=np.complex128)[None], [np.eye(4, dtype=np.complex128)]):
        with pytest.raises(InvalidPoseError, match="not complex"):
            panda.solve_batch(targets)


@pytest.mark.parametrize("task", ["position", IkTask.position, IkTask, 3], ids=str)
def test_what_is_no_task_is_refused_and_the_presets_are_named(
    task: object, panda: HybridSolver, reachable: Floats
) -> None:
    options: dict[str, Any] = {"task": task}
    for call in (lambda: panda.solve(reachable, **options), lambda: panda.solve_batch([reachable], **options)):
        with pytest.raises(TypeError, match=r"IkTask\.position\(\).*IkTask\.pointing\(\)"):
            call()


def test_the_name_of_a_joint_alone_is_no_list_of_joints(panda: HybridSolver, reachable: Floats) -> None:
    with pytest.raises(ValueError, match="list of names or a mapping"):
        panda.solve(reachable, locked="panda_joint3")


@pytest.mark.parametrize("make", [IkTask.pose, IkTask.position, IkTask.free_roll, IkTask])
@pytest.mark.parametrize("tolerances", [0.01, (0.01, 0.01), "abc"], ids=str)
def test_tolerances_are_one_for_each_component(make: Callable[..., IkTask], tolerances: object) -> None:
    with pytest.raises(ValueError, match=r"tolerances must have \d entries, for x, y, z"):
        make(tolerances=tolerances)


def test_only_a_solution_can_be_explained(panda: HybridSolver, reachable: Floats) -> None:
    batch: Any = panda.solve_batch([reachable])
    with pytest.raises(TypeError, match="not IkBatch; solve that target"):
        panda.explain(batch)
    nothing: Any = None
    with pytest.raises(TypeError, match="IkSolution, as solve returns it, not NoneType"):
        panda.explain(nothing)


def test_any_layout_and_kind_of_number_is_taken(panda: HybridSolver, reachable: Floats) -> None:
    q = panda.solve(reachable).q
    wide = np.zeros((8, 8))
    wide[::2, ::2] = reachable
    frozen = reachable.copy()
    frozen.setflags(write=False)
    for same in (np.asfortranarray(reachable), wide[::2, ::2], frozen, reachable.tolist(), Transform(reachable)):
        np.testing.assert_allclose(panda.solve(same).q, q, atol=1e-12)
    turned = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 1], [0, 0, 0, 1]])  # integers
    assert panda.solve(turned).position_error > 0.0
    single = reachable.astype(np.float32)
    assert panda.solve(single).converged
    batch = panda.solve_batch(np.asfortranarray([reachable, reachable]))
    assert batch.converged.all()


@pytest.mark.parametrize("away", [100.0, -100.0, 1e6, 1e12])
def test_a_target_far_away_is_out_of_reach_and_the_arm_reaches_toward_it(away: float, panda: HybridSolver) -> None:
    T = np.eye(4)
    T[0, 3] = away
    for solution in (panda.solve(T), panda.solve(T, panda.robot.home)):
        assert solution.status == IkStatus.UNREACHABLE
        assert solution.position_error == pytest.approx(abs(away), rel=0.02)
        assert ((solution.q >= panda.robot.lower) & (solution.q <= panda.robot.upper)).all()
    assert panda.solve_batch([T]).status.tolist() == [IkStatus.UNREACHABLE]
    assert panda.solve_all(T) == []


@pytest.mark.parametrize("away", [1e155, 1e300])
def test_a_target_whose_distance_overflows_is_never_called_reached(away: float, panda: HybridSolver) -> None:
    T = Transform.from_translation((away, 0.0, 0.0)).matrix
    (status,) = panda.solve_batch([T]).status
    assert status in (IkStatus.UNREACHABLE, IkStatus.INVALID)
    try:
        solution = panda.solve(T, panda.robot.home)
    except InvalidPoseError:
        return
    assert solution.status == IkStatus.UNREACHABLE
    assert np.isfinite(solution.q).all()


@pytest.mark.parametrize("name", ["panda", "ur5e", "xarm6", "so101"])
def test_a_target_inside_the_base_is_told_and_the_error_is_true(name: str) -> None:
    solver = load_solver(name)
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    T[2, 3] = 0.02
    solution = solver.solve(T)
    if not solution.converged:
        assert solution.status in (IkStatus.UNREACHABLE, IkStatus.LIMITED, IkStatus.SINGULAR)
    m, rad = Transform(solver.robot.forward(solution.q)).distance_to(Transform(T))
    assert solution.position_error == pytest.approx(m, abs=1e-9)
    assert solution.rotation_error == pytest.approx(rad, abs=1e-6)


@pytest.mark.parametrize("start", [np.full(7, 100.0), np.full(7, -1e9), np.full(7, 1e300), np.array([9.0] + 6 * [0.0])])
def test_a_start_outside_the_limits_is_moved_inside(start: Floats, panda: HybridSolver, reachable: Floats) -> None:
    solution = panda.solve(reachable, start)
    assert solution.converged
    assert ((solution.q >= panda.robot.lower) & (solution.q <= panda.robot.upper)).all()
    assert panda.solve_batch([reachable], start).converged.all()
    assert len(panda.solve_all(reachable, start)) > 0


def test_a_huge_start_of_an_endless_joint_neither_hangs_nor_leaves_the_numbers(tmp_path: Path) -> None:
    robot = made_arm(tmp_path, "CCCCCC", seed=2)
    solver = load_solver(robot)
    T = robot.forward(np.full(6, 0.5))
    for start in (1e6, -1e6, 1e12):
        solution = solver.solve(T, np.full(6, start))
        assert np.isfinite(solution.q).all()
        assert np.isfinite(solver.solve_batch([T], np.full(6, start)).q).all()


@pytest.mark.parametrize("start", [np.full(7, NAN), np.array([INF] + 6 * [0.0]), np.full(7, -INF)], ids=str)
def test_a_start_that_is_not_finite_is_refused_alone_and_marked_in_a_batch(
    start: Floats, panda: HybridSolver, reachable: Floats
) -> None:
    for call in (panda.solve, panda.solve_all):
        with pytest.raises(ValueError, match="finite"):
            call(reachable, start)
    batch = panda.solve_batch([reachable, reachable], [start, panda.robot.home])
    assert batch.status.tolist() == [IkStatus.INVALID, IkStatus.CONVERGED]


@pytest.mark.parametrize("start", [np.zeros(6), np.zeros((1, 7)), np.zeros(0), 0.0], ids=lambda s: str(np.shape(s)))
def test_a_start_of_another_shape_is_refused(start: Floats, panda: HybridSolver, reachable: Floats) -> None:
    for call in (panda.solve, panda.solve_all):
        with pytest.raises(ValueError, match="q_start must"):
            call(reachable, start)


@pytest.mark.parametrize(
    "starts", [np.zeros(6), np.zeros((2, 7)), np.zeros((3, 6)), np.zeros((1, 1, 7))], ids=lambda s: str(s.shape)
)
def test_starts_that_do_not_fit_the_batch_are_refused(starts: Floats, panda: HybridSolver, reachable: Floats) -> None:
    with pytest.raises(ValueError, match="q_start must"):
        panda.solve_batch([reachable] * 3, starts)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_empty_batch_has_empty_answers(threads: int) -> None:
    solver = load_solver("panda", threads=threads)
    for targets in ([], np.zeros((0, 4, 4))):
        for start in (None, np.zeros(7), np.zeros((0, 7))):
            batch = solver.solve_batch(targets, start)
            assert batch.q.shape == (0, 7)
            shapes = {
                getattr(batch, name).shape for name in ("status", "position_error", "rotation_error", "iterations")
            }
            assert shapes == {(0,)}


def test_a_batch_of_nothing_but_rubbish_is_answered(panda: HybridSolver) -> None:
    batch = panda.solve_batch(np.full((500, 4, 4), NAN))
    assert (batch.status == IkStatus.INVALID).all()
    assert np.isnan(batch.q).all()


def test_what_is_passed_in_is_never_changed(panda: HybridSolver, reachable: Floats) -> None:
    T, start = reachable + 1e-9, np.full(7, 50.0)
    Ts, starts = np.stack([T, T]), np.stack([start, start])
    before = [array.copy() for array in (T, start, Ts, starts)]
    panda.solve(T, start)
    panda.solve_all(T, start)
    panda.solve_batch(Ts, starts)
    for array, kept in zip((T, start, Ts, starts), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"robot": "pander"}, RobotError, "one of: panda"),
        ({"robot": "nowhere/arm.urdf"}, RobotError, "Give the path"),
        ({"robot": "panda", "tip": "panda_hand"}, RobotError, "Its links are"),
        ({"robot": "panda", "weights": "nowhere.safetensors"}, WeightsError, "vision-ik train"),
        ({"robot": "panda", "weights": "nowhere.safetensors", "learned": False}, ValueError, "one or the other"),
        ({"robot": "panda", "tolerance_m": NAN}, ValueError, "at least 1e-12"),
        ({"robot": "panda", "tolerance_rad": -1.0}, ValueError, "at least 1e-12"),
        ({"robot": "panda", "restarts": -1}, ValueError, "must not be negative"),
        ({"robot": "panda", "threads": 0}, ValueError, "at least 1"),
        ({"robot": "panda", "T_flange_tool": np.zeros((4, 4))}, InvalidPoseError, "pose"),
        ({"robot": "panda", "T_flange_tool": np.eye(3)}, InvalidPoseError, "pose"),
    ],
    ids=lambda value: "",
)
def test_load_solver_refuses_what_makes_no_sense_and_says_what_would(
    options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        load_solver(**options)  # pyright: ignore[reportArgumentType]
    if isinstance(caught.value, VisionIkError):
        assert caught.value.remedy.endswith(".")


def test_a_model_has_its_chain_already(panda: HybridSolver) -> None:
    with pytest.raises(ValueError, match="panda_link0 to panda_link8"):
        load_solver(panda.robot, tip="panda_link7")
    assert load_solver("panda", base="panda_link0", tip="panda_link7").robot.tip == "panda_link7"


_MILLION = """
import resource, sys
import numpy as np
import vision_ik as vik
solver = vik.load_solver(sys.argv[1], threads=2)
rng, robot = np.random.default_rng(0), vik.load_robot(sys.argv[1])
Ts = robot.forward(robot.random(rng, 1000))
solver.solve_batch(Ts)  # compiled and loaded
Ts = robot.forward(robot.random(rng, 1_000_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
batch = solver.solve_batch(Ts)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, Ts.nbytes // 1024, batch.converged.mean())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_a_batch_of_a_million_needs_little_more_memory_than_its_targets_and_answers(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", _MILLION, name], check=True, capture_output=True, text=True)
    extra, targets, converged = (float(word) for word in done.stdout.split())
    assert extra < 2.0 * targets, f"{extra / 1024:.0f} MiB more than the {targets / 1024:.0f} MiB of the targets"
    assert converged >= 0.999
