"""The refinement: pose error, one step with limits, and what a run of steps keeps."""

from __future__ import annotations

import numpy as np
import pytest
from ik_arms import random_postures
from scipy.optimize import lsq_linear

from vision_ik.ik import kernels
from vision_ik.ik.chain import make_chain
from vision_ik.robots import load_robot
from vision_ik.transforms import Transform, exp_rotation
from vision_ik.types import Floats


def pose_error(target: Transform, pose: Transform) -> Floats:
    e = np.empty(6)
    kernels.pose_error(target.matrix.copy(), pose.matrix.copy(), e)
    return e


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.1, 1.0, 3.0, np.pi - 1e-5, np.pi - 1e-9])
def test_the_rotation_error_turns_the_pose_onto_the_target(angle: float, rng: np.random.Generator) -> None:
    for _ in range(20):
        axis = rng.normal(size=3)
        w = angle * axis / np.linalg.norm(axis)
        pose = Transform.exp(rng.normal(size=6))
        target = Transform.from_parts(exp_rotation(w) @ pose.rotation, pose.translation + np.array([1.0, 2.0, 3.0]))
        e = pose_error(target, pose)
        np.testing.assert_allclose(e[:3], (1, 2, 3), atol=1e-12)
        np.testing.assert_allclose(exp_rotation(e[3:]) @ pose.rotation, target.rotation, atol=2e-7)
        assert np.linalg.norm(e[3:]) == pytest.approx(angle, abs=2e-7)


def test_half_a_turn_has_an_error_of_pi_about_the_right_axis() -> None:
    for axis in np.eye(3):
        e = pose_error(Transform.from_parts(exp_rotation(np.pi * axis), np.zeros(3)), Transform.identity())
        np.testing.assert_allclose(np.abs(e[3:]), np.pi * axis, atol=1e-7)


def test_solve6_agrees_with_numpy(rng: np.random.Generator) -> None:
    A = rng.normal(size=(6, 6))
    H, b, y = A @ A.T + 0.1 * np.eye(6), rng.normal(size=6), np.empty(6)
    expected = np.linalg.solve(H, b)
    kernels.solve6(H.copy(), b, y)
    np.testing.assert_allclose(y, expected, rtol=1e-9)


def test_a_step_inside_the_limits_is_the_damped_least_squares_step(rng: np.random.Generator) -> None:
    n, damping = 7, 0.05
    J, e, q = rng.normal(size=(6, n)), 0.1 * rng.normal(size=6), np.zeros(n)
    q_new = np.empty(n)
    kernels.step(J, e, q, np.full(n, -9.0), np.full(n, 9.0), damping, np.empty((8, 6)), q_new)
    np.testing.assert_allclose(q_new, np.linalg.solve(J.T @ J + damping * np.eye(n), J.T @ e), rtol=1e-9)


def test_a_step_at_the_limits_is_nearly_the_best_bounded_one_and_beats_clamping(rng: np.random.Generator) -> None:
    n, damping = 7, 1e-3
    best: list[float] = []
    for _ in range(200):
        J, e, q = rng.normal(size=(6, n)), 0.3 * rng.normal(size=6), rng.uniform(-1.0, 1.0, n)
        lower, upper = q - rng.uniform(0.0, 0.2, n), q + rng.uniform(0.0, 0.2, n)
        q_new = np.empty(n)
        kernels.step(J, e, q, lower, upper, damping, np.empty((8, 6)), q_new)
        assert (q_new >= lower).all()
        assert (q_new <= upper).all()
        A, b = np.vstack([J, np.sqrt(damping) * np.eye(n)]), np.concatenate([e, np.zeros(n)])

        bounded = lsq_linear(A, b, (lower - q, upper - q + 1e-15)).x
        clamped = np.clip(np.linalg.lstsq(A, b)[0].astype(np.float64), lower - q, upper - q).astype(np.float64)
        ours, clamp, ideal = (float(np.sum((A @ dq - b) ** 2)) for dq in (q_new - q, clamped, bounded))
        best.append((clamp - ours) / (clamp - ideal + 1e-12))
    # Of what the best bounded step gains over clamping, the active set keeps most.
    assert np.median(best) > 0.9


@pytest.mark.parametrize("steps", [1, 2, 4, 30])
def test_the_posture_never_leaves_the_limits_by_a_single_bit(steps: int, rng: np.random.Generator) -> None:
    robot = load_robot("panda")
    chain = make_chain(robot)
    targets = robot.forward(random_postures(robot, rng, 200))
    for T, q in zip(targets, random_postures(robot, rng, 200), strict=True):
        kernels.refine(chain.fixed, chain.prismatic, chain.lower, chain.upper, T, q, steps, 1e-6, 1e-6)
        assert (q >= robot.lower).all()
        assert (q <= robot.upper).all()


def test_convergence_near_the_target_is_quadratic(rng: np.random.Generator) -> None:
    robot = load_robot("panda")
    chain = make_chain(robot)
    q_true = robot.home + 0.1
    T = robot.forward(q_true)
    errors: list[float] = []
    for steps in (1, 2, 3):
        q = q_true + 0.03 * np.sign(rng.normal(size=robot.n))
        *_, m, rad = kernels.refine(chain.fixed, chain.prismatic, chain.lower, chain.upper, T, q, steps, 1e-15, 1e-15)
        errors.append(m + rad)
    assert errors[1] < 1e-1 * errors[0]
    assert errors[2] < 1e-2 * errors[1]
