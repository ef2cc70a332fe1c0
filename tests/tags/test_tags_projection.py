"""Every lens model, held against OpenCV; and its inverse, exact or absent."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tags_scene import facing

from vision_ik.tags.projection import bearings, project, project_rays, undistort
from vision_ik.transforms import Transform, log_rotation
from vision_ik.types import CameraIntrinsics, Floats

_RATIONAL = (0.21, -0.15, 0.0007, 0.0012, 0.02, 0.34, -0.08, 0.01)
_PRISM = (0.01, -0.003, 0.002, 0.004)
COEFFICIENTS: dict[str, tuple[float, ...]] = {
    "0": (),
    "4": (-0.28, 0.09, 0.001, -0.0005),
    "5": (-0.28, 0.12, 0.0011, -0.0008, -0.03),
    "8": _RATIONAL,
    "12": (*_RATIONAL, *_PRISM),
    "14": (*_RATIONAL, *_PRISM, 0.03, -0.05),
    "fisheye": (0.02, -0.012, 0.004, -0.001),
}


def lens_of(name: str, *, focal: float = 450.0) -> CameraIntrinsics:
    return CameraIntrinsics(
        K=np.array([[focal, 0, 321.0], [0, 1.01 * focal, 238.0], [0, 0, 1]]),
        distortion=np.array(COEFFICIENTS[name]),
        width=640,
        height=480,
        model="fisheye" if name == "fisheye" else "pinhole",
    )


def grid(lens: CameraIntrinsics, margin: float = 0.0) -> Floats:
    xs, ys = np.linspace(-margin, lens.width - 1 + margin, 65), np.linspace(-margin, lens.height - 1 + margin, 49)
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def folding(k1: float) -> CameraIntrinsics:
    """A barrel lens whose picture folds back at the radius sqrt(-1 / (3 k1))."""
    K = np.array([[200.0, 0, 160], [0, 200, 120], [0, 0, 1]])
    return CameraIntrinsics(K=K, distortion=np.array([k1, 0, 0, 0]), width=320, height=240)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_points_and_their_derivatives_are_those_of_opencv(name: str) -> None:
    lens, T = lens_of(name), facing(0.03, -0.05, 0.9, roll_deg=40, tilt_deg=35)
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (50, 3))
    uv, J = project(points, T, lens)
    rvec, tvec, distortion = log_rotation(T.rotation), np.array(T.translation), np.array(lens.distortion)
    if name == "fisheye":
        wanted, by_all = cv2.fisheye.projectPoints(points[:, None], rvec, tvec, np.array(lens.K), distortion)
        by_translation = by_all[:, 11:14]
    else:
        wanted, by_all = cv2.projectPoints(points[:, None], rvec, tvec, np.array(lens.K), distortion)
        by_translation = by_all[:, 3:6]
    np.testing.assert_allclose(uv, wanted.reshape(-1, 2), atol=1e-10)
    np.testing.assert_allclose(J[:, :, :3], by_translation.reshape(-1, 2, 3) @ T.rotation, atol=1e-9)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_every_pixel_of_the_picture_has_its_exact_ray(name: str) -> None:
    lens = lens_of(name)
    np.testing.assert_allclose(project_rays(undistort(grid(lens), lens), lens), grid(lens), atol=2e-9)


@pytest.mark.parametrize("k1", [-0.1, -0.3, -0.6])
def test_beyond_the_fold_of_a_strong_lens_there_is_no_ray_and_before_it_is_exact(k1: float) -> None:
    lens = folding(k1)
    pixels = grid(lens, margin=400.0)
    rays = undistort(pixels, lens)
    reach = np.sqrt(-1.0 / (3.0 * k1))
    rim = lens.K[0, 0] * reach * (1.0 + k1 * reach**2)
    from_centre = np.linalg.norm(pixels - lens.K[:2, 2], axis=1)
    inside, outside = from_centre < 0.999 * rim, from_centre > 1.001 * rim
    assert np.isfinite(rays[inside]).all()
    assert np.isnan(rays[outside]).all()
    assert inside.any()
    assert outside.any()
    np.testing.assert_allclose(project_rays(rays[inside], lens), pixels[inside], atol=1e-7)
    assert np.linalg.norm(rays[inside], axis=1).max() <= reach


def test_a_fisheye_sees_beside_and_behind_itself() -> None:
    lens = lens_of("fisheye", focal=150.0)
    directions = np.array([[np.sin(a), 0.0, np.cos(a)] for a in np.deg2rad([1.0, 60, 89, 91, 105])])
    uv, _ = project(directions, Transform.identity(), lens)
    np.testing.assert_allclose(bearings(uv, lens), directions, atol=1e-9)
    assert np.isnan(undistort(uv, lens)[3:]).all()  # x/z says nothing there
    assert np.isfinite(undistort(uv, lens)[:3]).all()


def test_a_skewed_camera_matrix_is_believed() -> None:
    K = np.array([[400.0, 30.0, 160], [0, 400, 120], [0, 0, 1]])
    lens = CameraIntrinsics(K=K, distortion=np.array([-0.1, 0.02, 0, 0, 0]), width=320, height=240)
    straight = CameraIntrinsics(K=K, width=320, height=240)
    point = np.array([[0.1, 0.2, 1.0]])
    np.testing.assert_allclose(project(point, Transform.identity(), straight)[0][0], (K @ point[0])[:2])
    np.testing.assert_allclose(project_rays(undistort(grid(lens), lens), lens), grid(lens), atol=2e-9)
