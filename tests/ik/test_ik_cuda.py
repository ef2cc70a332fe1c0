"""Batches on CUDA, on Warp's CPU device: the same kernels, compiled for one core."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ik_arms import made_arm, random_postures
from numpy.typing import NDArray

from vision_ik.errors import MissingDependencyError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.ik.cuda import CudaBatch
from vision_ik.ik.kernels import refine
from vision_ik.ik.search import unwind
from vision_ik.ik.seeds import FEATURES, NO_NET, complete, evaluate, features
from vision_ik.robots import RobotModel
from vision_ik.types import Floats, IkStatus

needs_warp = pytest.mark.skipif(
    importlib.util.find_spec("warp") is None, reason='Warp is not installed: pip install "vision-ik[cuda]".'
)


def batch_of(solver: HybridSolver, device: str = "cpu", chunk: int = 1000) -> CudaBatch:
    return CudaBatch(solver.chain, solver.net, solver.settings, device, chunk=chunk)


@pytest.fixture(scope="module")
def panda() -> HybridSolver:
    return load_solver("panda")


def assert_solved(robot: RobotModel, Ts: Floats, q: Floats, status: NDArray[np.int64]) -> None:
    """Check by our own FK that every solution claimed is one, inside the limits to the last bit."""
    solved = status == IkStatus.CONVERGED
    assert (q >= robot.lower).all()
    assert (q <= robot.upper).all()
    reached = robot.forward(q[solved])
    assert np.linalg.norm(reached[:, :3, 3] - Ts[solved][:, :3, 3], axis=1).max() <= 1.001e-6
    E = np.swapaxes(reached[:, :3, :3], 1, 2) @ Ts[solved][:, :3, :3]
    sines = 0.5 * np.stack([E[:, 2, 1] - E[:, 1, 2], E[:, 0, 2] - E[:, 2, 0], E[:, 1, 0] - E[:, 0, 1]])
    assert np.linalg.norm(sines, axis=0).max() <= 1.001e-6
    assert np.trace(E, axis1=1, axis2=2).min() > 2.9


@needs_warp
@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_as_many_targets_are_solved_as_on_the_cpu_and_as_exactly(name: str, rng: np.random.Generator) -> None:
    solver = load_solver(name)
    robot = solver.robot
    Ts, starts = robot.forward(robot.random(rng, 2000)), robot.random(rng, 2000)
    q, status, errors, steps = batch_of(solver).solve(Ts, starts)
    reference = solver.solve_batch(Ts, starts)
    assert (status == IkStatus.CONVERGED).sum() >= reference.converged.sum() - 1
    assert_solved(robot, Ts, q, status)
    assert errors[status == IkStatus.CONVERGED].max() <= 1e-6
    assert np.linalg.norm(q - starts, axis=1).mean() < 1.01 * np.linalg.norm(reference.q - starts, axis=1).mean()
    assert np.median(steps) <= np.median(reference.iterations) + 1


@needs_warp
@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_the_network_proposes_what_it_proposes_on_the_cpu(name: str, rng: np.random.Generator) -> None:
    solver = load_solver(name)
    chain, net, home = solver.chain, solver.net, solver.robot.home
    unrefined = solver.settings._replace(iterations=0, heads=1, restarts=0)
    Ts = solver.robot.forward(solver.robot.random(rng, 200))
    q, *_ = CudaBatch(chain, net, unrefined, "cpu").solve(Ts, home=home)
    heads = net.rank.shape[1]
    outputs = np.empty((heads, net.heads.shape[1] // heads), np.float32)
    logits, x, M = np.empty(heads, np.float32), np.empty(FEATURES, np.float32), np.empty((3, 4))
    expected = np.empty(q.shape)
    for T, posture in zip(Ts, expected, strict=True):
        features(chain, net.symmetric, T, M, x)
        evaluate(net, x, outputs, logits)
        complete(chain, net.symmetric, M, outputs[int(np.argmax(logits))], posture)
        unwind(chain, posture, home)
    same = np.abs(q - expected).max(axis=1) < 1e-3
    # Elsewhere home happens to be closer to the target, or float32 falls off the other side of a limit.
    assert same.mean() > 0.9


@needs_warp
def test_a_single_seed_converges_as_often_as_on_the_cpu(panda: HybridSolver, rng: np.random.Generator) -> None:
    chain, robot = panda.chain, panda.robot
    Ts, starts = robot.forward(robot.random(rng, 500)), robot.random(rng, 500)
    alone = panda.settings._replace(restarts=0)
    _, status, _, steps = CudaBatch(chain, NO_NET, alone, "cpu").solve(Ts, starts)
    reference = [
        refine(chain.fixed, chain.prismatic, chain.lower, chain.upper, T, start.copy(), alone.iterations, 1e-6, 1e-6)
        for T, start in zip(Ts, starts, strict=True)
    ]
    # Half of random starts do; a step that handles limits worse loses several percent.
    both = np.array([done for done, *_ in reference])
    assert abs((status == IkStatus.CONVERGED).mean() - both.mean()) < 0.02
    assert ((status == IkStatus.CONVERGED) == both).mean() > 0.95
    assert np.median(steps[both]) <= np.median([taken for done, taken, *_ in reference if done]) + 1


@needs_warp
@pytest.mark.parametrize("kinds", ["RRRPRRR", "PRRRRR", "CCCCCC"])
def test_chains_with_sliding_and_endless_joints_are_solved_without_a_network(
    kinds: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    solver = load_solver(made_arm(tmp_path, kinds))
    Ts = solver.robot.forward(random_postures(solver.robot, rng, 60))
    q, status, *_ = batch_of(solver).solve(Ts)
    assert (status == IkStatus.CONVERGED).mean() >= solver.solve_batch(Ts).converged.mean() - 0.02
    assert_solved(solver.robot, Ts, q, status)


@needs_warp
def test_an_arm_with_limits_on_all_sides_keeps_them_to_the_last_bit(panda: HybridSolver) -> None:
    robot = panda.robot
    tight = replace(robot, lower=robot.home - 0.05, upper=robot.home + 0.05)
    rng = np.random.default_rng(0)
    Ts = np.concatenate([tight.forward(tight.random(rng, 20)), robot.forward(robot.home + 0.2)[None]])
    q, status, *_ = batch_of(load_solver(tight, learned=False)).solve(Ts, robot.home)
    assert_solved(tight, Ts, q, status)
    assert (status[:-1] == IkStatus.CONVERGED).all()
    assert status[-1] == IkStatus.LIMITED


@needs_warp
def test_invalid_targets_and_starts_are_flagged_and_harm_no_neighbour(panda: HybridSolver) -> None:
    robot = panda.robot
    good = robot.forward(robot.home)
    Ts = np.repeat(good[None], 8, axis=0)
    Ts[1, 0, 0] = np.nan
    Ts[2, 0, 3] = np.inf
    Ts[3, :3, :3] *= 1.001
    Ts[4, :3, 0] *= -1.0
    Ts[5, 3, 3] = 2.0
    starts = np.repeat(robot.home[None], 8, axis=0)
    starts[6, 2] = np.nan
    q, status, errors, steps = batch_of(panda).solve(Ts, starts)
    invalid = np.isin(np.arange(8), [1, 2, 3, 4, 5, 6])
    assert ((status == IkStatus.INVALID) == invalid).all()
    assert np.isnan(q[invalid]).all()
    assert np.isnan(errors[invalid]).all()
    assert (steps[invalid] == 0).all()
    assert (status[~invalid] == IkStatus.CONVERGED).all()
    np.testing.assert_array_equal(panda.solve_batch(Ts, starts).status, status)


@needs_warp
def test_a_start_that_is_there_already_stays_as_it_is(panda: HybridSolver, rng: np.random.Generator) -> None:
    robot = panda.robot
    starts = robot.random(rng, 20)
    q, status, _, steps = batch_of(panda).solve(robot.forward(starts), starts)
    assert (status == IkStatus.CONVERGED).all()
    assert (steps == 0).all()
    np.testing.assert_array_equal(q, starts)


@needs_warp
def test_a_start_near_the_target_keeps_its_posture(panda: HybridSolver, rng: np.random.Generator) -> None:
    robot = panda.robot
    middle = 0.5 * (robot.lower + robot.upper)
    starts = middle + 0.6 * (robot.random(rng, 200) - middle)
    q, *_ = batch_of(panda).solve(robot.forward(starts + rng.uniform(-0.02, 0.02, starts.shape)), starts)
    reference = panda.solve_batch(robot.forward(starts), starts)
    assert reference.converged.all()
    assert np.median(np.abs(q - starts).max(axis=1)) < 0.05


@needs_warp
def test_what_is_out_of_reach_gets_the_closest_posture_and_the_reason(panda: HybridSolver) -> None:
    robot = panda.robot
    Ts = np.repeat(robot.forward(robot.home)[None], 3, axis=0)
    Ts[1, :3, 3] += (3.0, 1.0, 0.5)
    q, status, errors, _ = batch_of(panda).solve(Ts, robot.home)
    assert status.tolist() == [IkStatus.CONVERGED, IkStatus.UNREACHABLE, IkStatus.CONVERGED]
    closest = panda.solve(Ts[1], robot.home)
    assert errors[1, 0] == pytest.approx(np.linalg.norm(robot.forward(q[1])[:3, 3] - Ts[1, :3, 3]), abs=1e-6)
    assert errors[1, 0] <= closest.position_error + 0.02


@needs_warp
@pytest.mark.parametrize("count", [0, 1, 7, 33])
def test_chunks_of_any_size_give_the_same_answers(count: int, panda: HybridSolver) -> None:
    rng = np.random.default_rng(1)
    robot = panda.robot
    Ts, starts = robot.forward(robot.random(rng, 33)), robot.random(rng, 33)
    Ts[5, :3, 3] += 5.0  # one that goes through all rounds
    whole = batch_of(panda).solve(Ts, starts)
    parts = batch_of(panda, chunk=5).solve(Ts[:count], starts[:count])
    for all_of_them, some in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(all_of_them[:count], some)


@needs_warp
def test_arrays_on_the_device_are_taken_and_given_without_a_copy(panda: HybridSolver, rng: np.random.Generator) -> None:
    robot, batch = panda.robot, batch_of(panda, chunk=20)
    Ts, starts = robot.forward(robot.random(rng, 50)), robot.random(rng, 50)
    q, status, errors, steps = batch.solve(Ts, starts)
    solutions = batch.solve_on_device(Ts, starts)  # NumPy speaks DLPack too
    np.testing.assert_array_equal(np.from_dlpack(solutions.q), q)
    np.testing.assert_array_equal(np.from_dlpack(solutions.status), status)
    np.testing.assert_array_equal(np.from_dlpack(solutions.errors), errors)
    np.testing.assert_array_equal(np.from_dlpack(solutions.steps), steps)
    one_start = batch.solve_on_device(Ts, robot.home.copy())
    np.testing.assert_array_equal(np.from_dlpack(one_start.q), batch.solve(Ts, robot.home)[0])


@needs_warp
def test_a_strided_array_on_the_device_gives_what_a_whole_one_gives(
    panda: HybridSolver, rng: np.random.Generator
) -> None:
    warp, batch = importlib.import_module("warp"), batch_of(panda)
    Ts = panda.robot.forward(panda.robot.random(rng, 2000))
    wide = np.zeros((2000, 2, 4, 4))
    wide[:, 0] = Ts
    strided = warp.array(wide, dtype=warp.float64, device="cpu")[:, 0]
    assert not strided.is_contiguous
    q = np.from_dlpack(batch.solve_on_device(strided, home=panda.robot.home).q)
    np.testing.assert_array_equal(q, batch.solve(Ts, home=panda.robot.home)[0])


@needs_warp
def test_arrays_that_do_not_fit_are_refused(panda: HybridSolver) -> None:
    batch, Ts = batch_of(panda), np.eye(4)[None]
    with pytest.raises(ValueError, match="Targets must have shape"):
        batch.solve(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="q_start must have shape"):
        batch.solve(Ts, np.zeros(6))
    with pytest.raises(ValueError, match="Targets must have shape"):
        batch.solve_on_device(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="float64"):
        batch.solve_on_device(Ts.astype(np.float32))
    with pytest.raises(ValueError, match="1 or 1 rows"):
        batch.solve_on_device(Ts, np.zeros((2, 7)))
    with pytest.raises(ValueError, match="chunk"):
        batch_of(panda, chunk=0)


@needs_warp
def test_a_machine_without_cuda_says_so(panda: HybridSolver) -> None:
    batch_of(panda)
    if importlib.import_module("warp").is_cuda_available():
        pytest.skip("This machine has CUDA.")
    with pytest.raises(MissingDependencyError, match="no CUDA device"):
        batch_of(panda, device="cuda")


def test_without_warp_the_remedy_is_named(panda: HybridSolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(MissingDependencyError, match=r"vision-ik\[cuda\]"):
        CudaBatch(panda.chain, NO_NET, panda.settings, "cpu")


@pytest.mark.slow
@needs_warp
def test_the_kernels_compile_for_cuda_where_there_is_no_gpu(panda: HybridSolver, tmp_path: Path) -> None:
    batch_of(panda)  # starts Warp
    warp = importlib.import_module("warp")
    kernels = importlib.import_module("vision_ik.ik.cuda_kernels").kernels_of(panda.robot.n)
    shape, _ = importlib.import_module("vision_ik.ik.cuda_network").lay_out(panda.net, panda.robot.n)
    propose = importlib.import_module("vision_ik.ik.cuda_seeds").propose_kernel(shape)
    for kernel in (kernels.attempt, kernels.gather, propose):
        (file,) = warp.compile_aot_module(kernel.module, arch=75, module_dir=tmp_path, use_ptx=True)
        assert ".entry" in file.read_text(encoding="utf-8")


@pytest.mark.gpu
@needs_warp
def test_cuda_solves_what_the_cpu_solves(panda: HybridSolver, rng: np.random.Generator) -> None:
    robot = panda.robot
    Ts, starts = robot.forward(robot.random(rng, 100_000)), robot.random(rng, 100_000)
    q, status, *_ = batch_of(panda, device="cuda", chunk=1 << 16).solve(Ts, starts)
    assert (status == IkStatus.CONVERGED).mean() >= 0.9999
    assert_solved(robot, Ts, q, status)
