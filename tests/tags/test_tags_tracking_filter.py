"""The filter's compiled algebra, against textbook formulas and numeric derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from tags_scene import BARREL, facing, pixels

from vision_ik.tags.projection import pack_lens, project
from vision_ik.tags.tracking.pose_filter import (
    N,
    add_noise,
    advance,
    correct,
    exp_so3,
    linearise,
    offset,
    shift,
    turn_between,
)
from vision_ik.transforms import Transform, exp_rotation
from vision_ik.types import Floats, tag_corners


def state(rng: np.random.Generator) -> tuple[Floats, Floats]:
    return rng.normal(0.0, 0.5, 15), exp_rotation(rng.normal(0.0, 1.0, 3))


def covariance(rng: np.random.Generator, size: int, scale: float) -> Floats:
    A = rng.normal(0.0, scale, (size, size))
    return A @ A.T + 0.1 * scale**2 * np.eye(size)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.3, 3.0, np.pi - 1e-7])
def test_turns_are_recovered(angle: float) -> None:
    w = angle * np.array([0.6, -0.48, 0.64])
    A, B, found = exp_rotation(np.array([0.3, 1.0, -0.2])), np.empty((3, 3)), np.empty(3)
    exp_so3(w, B)
    assert np.allclose(B, exp_rotation(w), atol=1e-14)
    turn_between(A, A @ B, found)
    assert np.allclose(found, w, atol=1e-7)


def test_an_error_leads_from_one_state_to_the_other() -> None:
    rng = np.random.default_rng(0)
    (x, R), (x1, R1) = state(rng), state(rng)
    error = np.empty(N)
    offset(x, R, x1, R1, error)
    shift(x, R, error)
    assert np.allclose(x, x1)
    assert np.allclose(R, R1)


@pytest.mark.parametrize(("dt", "decay_s"), [(0.03, 0.5), (0.5, 1e9), (1e-5, 1.0)])
def test_the_covariance_moves_as_the_state_does(dt: float, decay_s: float) -> None:
    rng = np.random.default_rng(1)
    x, R = state(rng)
    P, h = covariance(rng, N, 0.1), 1e-6
    moved_x, moved_R, moved_P = x.copy(), R.copy(), P.copy()
    advance(moved_x, moved_R, moved_P, dt, decay_s)
    F = np.empty((N, N))
    for k in range(N):
        xk, Rk, step = x.copy(), R.copy(), np.zeros(N)
        step[k] = h
        shift(xk, Rk, step)
        advance(xk, Rk, np.zeros((N, N)), dt, decay_s)
        offset(moved_x, moved_R, xk, Rk, step)
        F[:, k] = step / h
    # The turn's own derivative by the rate is taken to first order in the angle turned by.
    angle = dt * float(np.linalg.norm(x[6:9])) + dt**2 * float(np.linalg.norm(x[12:]))
    assert np.allclose(moved_P, F @ P @ F.T, atol=2e-6 + 0.2 * dt * angle)


def test_accelerations_decay_and_add_up() -> None:
    x, R = np.zeros(15), np.eye(3)
    x[9] = 2.0
    for _ in range(1000):
        advance(x, R, np.zeros((N, N)), 2e-3, 0.5)
    e = np.exp(-2.0 / 0.5)
    assert x[9] == pytest.approx(2.0 * e)
    assert x[3] == pytest.approx(2.0 * 0.5 * (1.0 - e))
    assert x[0] == pytest.approx(2.0 * 0.5 * (2.0 - 0.5 * (1.0 - e)))


def test_noise_over_two_steps_is_that_over_one() -> None:
    densities = np.array([[1e-4, 2e-4], [0.3, 0.2], [0.5, 0.1]])
    once, twice = np.zeros((N, N)), np.zeros((N, N))
    add_noise(once, 0.2, densities, 1.0)
    for _ in range(2):
        advance(np.zeros(15), np.eye(3), twice, 0.1, 1e9)
        add_noise(twice, 0.1, densities, 1.0)
    assert np.allclose(once, twice, rtol=1e-6)


def test_a_correction_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(2)
    x, R = state(rng)
    P = covariance(rng, N, 0.1)
    J, r = rng.normal(0.0, 1.0, (8, 6)), rng.normal(0.0, 0.1, 8)
    noise = covariance(rng, 8, 0.2)
    W = np.linalg.inv(noise)
    H = np.zeros((8, N))
    H[:, :6] = J
    S = H @ P @ H.T + noise
    K = P @ H.T @ np.linalg.inv(S)
    expected_x, expected_R = x.copy(), R.copy()
    shift(expected_x, expected_R, K @ r)
    found_P = P.copy()
    p, at_R = x[:3].copy(), R.copy()
    distance, log_det = correct(x, R, found_P, p, at_R, J.T @ W @ J, J.T @ W @ r, float(r @ W @ r))
    assert np.allclose(x, expected_x)
    assert np.allclose(R, expected_R)
    assert np.allclose(found_P, P - K @ S @ K.T)
    assert distance == pytest.approx(float(r @ np.linalg.solve(S, r)))
    assert log_det == pytest.approx(float(np.linalg.slogdet(S)[1] - np.linalg.slogdet(noise)[1]))


def test_the_quadratic_form_of_a_picture_is_that_of_its_projection() -> None:
    rng = np.random.default_rng(3)
    T_base_camera = Transform.from_xyz_rpy((0.3, -0.2, 0.5), (0.4, 0.2, -0.7))
    T_camera_tag = facing(0.05, 0.02, 0.7, roll_deg=20.0, tilt_deg=30.0)
    T_base_tag = T_base_camera @ T_camera_tag
    points = tag_corners(0.08)
    seen = pixels(points, T_camera_tag, BARREL) + rng.normal(0.0, 0.3, (4, 2))
    W = np.asarray(np.linalg.inv(covariance(rng, 8, 0.3)), dtype=np.float64)
    information, slope = np.empty((6, 6)), np.empty(6)
    T_camera_base = T_base_camera.inv()
    misfit = linearise(
        np.array(T_base_tag.translation),
        np.array(T_base_tag.rotation),
        np.array(T_camera_base.rotation),
        np.array(T_camera_base.translation),
        points,
        seen,
        W,
        pack_lens(BARREL),
        information,
        slope,
    )
    uv, J = project(points, T_camera_tag, BARREL)
    to_tag = np.eye(6)
    to_tag[:3, :3] = T_base_tag.rotation.T  # the filter's translation error is along the base axes
    J, r = J.reshape(8, 6) @ to_tag, (seen - uv).ravel()
    assert misfit == pytest.approx(float(r @ W @ r))
    assert np.allclose(information, J.T @ W @ J)
    assert np.allclose(slope, J.T @ W @ r)
