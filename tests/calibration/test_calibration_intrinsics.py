"""Lens calibration: truth, honesty, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from calibration_stage import BOARD, FISHEYE, LENS, detection

from calibration import calibrate_intrinsics
from calibration.lens.fit import parameters
from calibration.lens.projection import project
from calibration.views.sights import visible_poses
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats

SIZE = (640, 480)


def views(
    rng: np.random.Generator, n: int, *, lens: CameraIntrinsics = LENS, pixel: float = 0.0
) -> list[BoardDetection]:
    """Return views of the board in random poses."""
    return [see(T, lens, pixel, rng) for T in visible_poses(BOARD, lens, 40 * n, rng)[:n]]


def see(T: Floats, lens: CameraIntrinsics, pixel: float, rng: np.random.Generator) -> BoardDetection:
    """Return the corners of the board at T_camera_board (4, 4)."""
    uv, _ = project(BOARD.chess_corners @ T[:3, :3].T + T[:3, 3], lens)
    return detection(uv + pixel * rng.normal(size=uv.shape))


@pytest.mark.parametrize("lens", [LENS, FISHEYE], ids=["pinhole", "fisheye"])
def test_exact_corners_give_the_exact_lens(lens: CameraIntrinsics, rng: np.random.Generator) -> None:
    result = calibrate_intrinsics(views(rng, 12, lens=lens), image_size=SIZE, model=lens.model)
    np.testing.assert_allclose(result.intrinsics.K, lens.K, atol=0.1)
    np.testing.assert_allclose(result.intrinsics.distortion[:2], lens.distortion[:2], atol=5e-3)
    assert result.rms < 1e-3


def test_stated_uncertainty_covers_the_truth() -> None:
    normalised: list[float] = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        result = calibrate_intrinsics(views(rng, 14, pixel=0.2), image_size=SIZE)
        error = parameters(result.intrinsics) - parameters(LENS)
        covariance = result.intrinsics.covariance
        assert covariance is not None
        normalised.append(float(error @ np.linalg.solve(covariance, error)) / len(error))
        assert result.held_out_rms >= 0.95 * result.rms
        assert result.rms == pytest.approx(0.2 * np.sqrt(2.0), rel=0.15)
    assert np.mean(normalised) < 1.6


def test_a_bent_board_widens_the_uncertainty() -> None:
    """Corners of a view that err together fool the usual standard deviations."""
    rng = np.random.default_rng(1)
    honest, bent = [], []
    for T in visible_poses(BOARD, LENS, 600, rng)[:14]:
        honest.append(see(T, LENS, 0.1, rng))
        warp = 0.001 * rng.normal() * np.sin(np.pi * BOARD.chess_corners[:, 0] / BOARD.size_m[0])
        points = BOARD.chess_corners + np.column_stack([np.zeros((len(warp), 2)), warp])
        uv, _ = project(points @ T[:3, :3].T + T[:3, 3], LENS)
        bent.append(detection(uv + 0.1 * rng.normal(size=uv.shape)))
    plain = calibrate_intrinsics(honest, image_size=SIZE)
    fooled = calibrate_intrinsics(bent, image_size=SIZE)
    assert fooled.inflation > 1.3
    assert fooled.focal_sigma > 2.0 * plain.focal_sigma


def test_blurred_and_repeated_views_are_left_out_by_number(rng: np.random.Generator) -> None:
    seen = views(rng, 12, pixel=0.1)
    seen[4] = detection(seen[4].points_image + 3.0 * rng.normal(size=seen[4].points_image.shape))
    seen.append(seen[2])
    result = calibrate_intrinsics(seen, image_size=SIZE)
    assert [i for i, view in enumerate(result.views) if not view.used] == [4, 12]
    assert "repeats view 2" in result.views[12].reason
    assert any("View 4" in warning for warning in result.warnings)


def test_too_few_views_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(CalibrationError, match="Only 3 of 3 views"):
        calibrate_intrinsics(views(rng, 3), image_size=SIZE)


def test_views_without_tilt_leave_the_focal_length_open(rng: np.random.Generator) -> None:
    facing = np.diag([1.0, -1.0, -1.0, 1.0])
    seen: list[BoardDetection] = []
    for _ in range(8):
        T = facing.copy()
        T[:3, 3] = (rng.uniform(-0.15, -0.05), rng.uniform(0.0, 0.15), 0.5)
        seen.append(see(T, LENS, 0.3, rng))
    with pytest.raises(CalibrationError, match="tilted"):
        calibrate_intrinsics(seen, image_size=SIZE)


def test_corners_outside_the_picture_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(CalibrationError, match="outside a picture of 320x240"):
        calibrate_intrinsics(views(rng, 6), image_size=(320, 240))


def test_little_coverage_is_said(rng: np.random.Generator) -> None:
    result = calibrate_intrinsics(views(rng, 6, pixel=0.02), image_size=SIZE)
    assert result.coverage < 0.6
    assert any("Only 6 views" in warning for warning in result.warnings)
    assert any("cover" in warning for warning in result.warnings)
