"""Lens, chain and batch arithmetic against independent computations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from calibration_stage import FISHEYE, LENS, MOUNTS
from numpy.testing import assert_allclose

from calibration import batch
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.lens.projection import normalise, project
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats


def twists(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(size=(n, 6)) * np.repeat([0.5, 1.0], 3)


def test_stacked_arithmetic_agrees_with_the_transform_class(rng: np.random.Generator) -> None:
    xi = np.vstack([twists(rng, 20), 1e-7 * twists(rng, 5), np.zeros((1, 6))])
    Ts = batch.exp(xi)
    for twist, T in zip(xi, Ts, strict=True):
        assert_allclose(T, Transform.exp(twist).matrix, atol=1e-14)
    for T, inverse, Ad, back in zip(Ts, batch.inverses(Ts), batch.adjoints(Ts), batch.log(Ts), strict=True):
        assert_allclose(inverse, Transform(T).inv().matrix, atol=1e-14)
        assert_allclose(Ad, Transform(T).adjoint(), atol=1e-14)
        assert_allclose(back, Transform(T).log(), atol=1e-12)


@pytest.mark.parametrize("lens", [LENS, FISHEYE], ids=["pinhole", "fisheye"])
def test_projection_has_the_derivative_it_states_and_an_inverse(
    lens: CameraIntrinsics, rng: np.random.Generator
) -> None:
    points = rng.normal(size=(30, 3)) * (0.2, 0.15, 0.1) + (0.0, 0.0, 1.0)
    uv, by_point = project(points, lens)
    h = 1e-6
    numeric = np.stack(
        [(project(points + d, lens)[0] - project(points - d, lens)[0]) / (2 * h) for d in h * np.eye(3)], axis=-1
    )
    assert_allclose(by_point, numeric, rtol=1e-5, atol=1e-4)
    assert_allclose(normalise(uv, lens), points[:, :2] / points[:, 2:], atol=1e-3)


def test_projection_is_opencvs(rng: np.random.Generator) -> None:
    points = rng.normal(size=(10, 3)) * 0.2 + (0.0, 0.0, 1.0)
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), LENS.K, LENS.distortion)
    assert_allclose(project(points, LENS)[0], expected.reshape(-1, 2), atol=1e-9)


@pytest.mark.parametrize("mount", MOUNTS)
def test_chain_derivatives_agree_with_differences(mount: Mount, rng: np.random.Generator) -> None:
    flanges = batch.exp(twists(rng, 4))
    X, Y = batch.exp(twists(rng, 2))
    state = ChainState(X, Y, batch.exp(0.01 * twists(rng, 4)))
    by_state, by_arm = derivatives(state, flanges, mount)
    at = camera_board(state, flanges, mount)
    h = 1e-6
    for k in range(12):
        step = h * np.eye(12)[k]
        moved = camera_board(state.moved(step[:6], step[6:], np.zeros((4, 6))), flanges, mount)
        assert_allclose(batch.log(moved @ batch.inverses(at)) / h, by_state[:, :, k], atol=1e-5)
    for k in range(6):
        moved = camera_board(state.moved(np.zeros(6), np.zeros(6), h * np.tile(np.eye(6)[k], (4, 1))), flanges, mount)
        assert_allclose(batch.log(moved @ batch.inverses(at)) / h, by_arm[:, :, k], atol=1e-5)


def test_chain_reads_as_the_frames_say(rng: np.random.Generator) -> None:
    T_base_flange, T_base_camera, T_flange_board = (Transform.exp(xi) for xi in twists(rng, 3))
    state = ChainState(T_base_camera.matrix, T_flange_board.matrix, np.eye(4)[None])
    expected = T_base_camera.inv() @ T_base_flange @ T_flange_board
    assert_allclose(camera_board(state, T_base_flange.matrix[None], "eye_to_hand")[0], expected.matrix, atol=1e-12)
    T_flange_camera, T_base_board = T_base_camera, T_flange_board
    expected = T_flange_camera.inv() @ T_base_flange.inv() @ T_base_board
    assert_allclose(camera_board(state, T_base_flange.matrix[None], "eye_in_hand")[0], expected.matrix, atol=1e-12)
