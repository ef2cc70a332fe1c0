"""The arm's depth against its model: a displaced camera is found, and blind directions are said."""

from __future__ import annotations

import numpy as np
import pytest

from calibration import Surface, Tolerance, arm_surfaces, depth_check, link_surfaces
from calibration.lens.projection import normalise
from calibration.validation.depth import _scene, _tensor  # pyright: ignore[reportPrivateUsage]
from calibration.validation.surfaces import plate
from vision_ik.robots import load_robot
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, Frame

pytest.importorskip("open3d", reason="needs Open3D")

_LENS = CameraIntrinsics(
    K=np.array([[300.0, 0.0, 159.5], [0.0, 300.0, 119.5], [0.0, 0.0, 1.0]]),
    distortion=np.array([-0.08, 0.03, 0.0, 0.0, 0.0]),
    width=320,
    height=240,
)


def _camera_at(place: Floats, look_at: Floats) -> Transform:
    z = (look_at - place) / np.linalg.norm(look_at - place)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    return Transform.from_parts(np.column_stack([x, np.cross(z, x), z]), place)


_T_BASE_CAMERA = _camera_at(np.array([1.1, -0.5, 0.8]), np.array([0.3, 0.0, 0.4]))


def _frame(surfaces: list[Surface], *, noise: float = 0.0, depth: bool = True) -> Frame:
    """Return what a depth camera sees of the surfaces."""
    columns, rows = np.meshgrid(np.arange(320.0), np.arange(240.0))
    xy = normalise(np.column_stack([columns.ravel(), rows.ravel()]), _LENS)
    rays = np.column_stack([xy, np.ones(len(xy))]) @ _T_BASE_CAMERA.rotation.T
    cast = np.concatenate([np.broadcast_to(_T_BASE_CAMERA.translation, rays.shape), rays], axis=1)
    seen = _scene(surfaces).cast_rays(_tensor(cast))["t_hit"].numpy().reshape(240, 320).astype(np.float64)
    seen[~np.isfinite(seen)] = np.nan
    blurred = seen + noise * np.random.default_rng(0).normal(size=seen.shape) * seen**2
    return Frame(
        image=np.zeros((240, 320, 3), dtype=np.uint8),
        timestamp=0.0,
        index=0,
        intrinsics=_LENS,
        depth=blurred.astype(np.float32) if depth else None,
    )


@pytest.fixture(scope="module")
def arm() -> list[Surface]:
    """A UR5e in its home posture, in the base frame."""
    robot = load_robot("ur5e")
    return arm_surfaces(robot, robot.home)


def test_the_depth_of_an_arm_where_the_calibration_puts_it_passes(arm: list[Surface]) -> None:
    report, found = depth_check(_frame(arm, noise=2e-3), arm, _T_BASE_CAMERA, tolerance=Tolerance(translation=3e-3))
    assert report.passed is True
    assert found is not None
    assert found.residual < 3e-3
    assert report.error < 1e-3


def test_a_displaced_camera_is_found_with_its_sigma(arm: list[Surface]) -> None:
    frame = _frame(arm, noise=2e-3)
    true = np.array([4e-3, -2e-3, 2e-3, 0.005, 0.004, -0.005])
    report, found = depth_check(
        frame,
        arm,
        _T_BASE_CAMERA @ Transform.exp(-true),
        tolerance=Tolerance(translation=3e-3),
        camera_covariance=1e-8 * np.eye(6),
    )
    assert found is not None
    assert report.passed is False
    assert report.consistent is False
    error = found.twist - true
    assert np.linalg.norm(error[:3]) < 1.5e-3
    assert np.rad2deg(np.linalg.norm(error[3:])) < 0.1
    assert error @ np.linalg.solve(found.covariance, error) < 24.0
    assert found.residual < found.residual_before


def test_a_flat_plate_alone_does_not_tell_movements_along_itself(arm: list[Surface]) -> None:
    middle = np.array([0.3, 0.0, 0.4])
    x, y = _T_BASE_CAMERA.rotation[:, 0], _T_BASE_CAMERA.rotation[:, 1]
    sheet = plate("sheet", np.stack([middle + 0.2 * (a * x + b * y) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]))
    slid = _T_BASE_CAMERA @ Transform.exp([0.01, 0.0, 3e-3, 0.0, 0.0, 0.0])
    report, found = depth_check(_frame([sheet]), [sheet], slid)
    assert found is not None
    assert {"a shift right", "a shift down", "a turn about the axis that points forward"} == set(found.blind)
    assert report.error == pytest.approx(3e-3, abs=0.3e-3)
    assert "do not tell" in report.sentence


def test_a_flat_plate_alone_passes_no_camera_that_it_does_not_see_slide() -> None:
    middle = np.array([0.3, 0.0, 0.4])
    x, y = _T_BASE_CAMERA.rotation[:, 0], _T_BASE_CAMERA.rotation[:, 1]
    sheet = plate("sheet", np.stack([middle + 0.2 * (a * x + b * y) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]))
    slid = _T_BASE_CAMERA @ Transform.exp([0.01, 0.0, 1e-3, 0.0, 0.0, 0.0])
    report, found = depth_check(_frame([sheet]), [sheet], slid, tolerance=Tolerance(translation=5e-3))
    assert found is not None
    assert not found.tells_shifts
    assert report.passed is None
    assert "too unsure" in report.sentence
    pushed = _T_BASE_CAMERA @ Transform.exp([0.0, 0.0, 8e-3, 0.0, 0.0, 0.0])
    assert depth_check(_frame([sheet]), [sheet], pushed, tolerance=Tolerance(translation=5e-3))[0].passed is False


def test_a_turn_that_the_cameras_covariance_explains_is_consistent_at_the_arms_distance(arm: list[Surface]) -> None:
    frame = _frame(arm, noise=2e-3)
    turned = _T_BASE_CAMERA @ Transform.exp([0.0, 0.0, 0.0, 0.004, -0.006, 0.003])
    told = {
        turn: depth_check(frame, arm, turned, camera_covariance=np.diag(np.square(np.repeat([1e-4, turn], 3))))[0]
        for turn in (5e-3, 1e-4)
    }
    assert told[5e-3].error > 5e-3
    assert told[5e-3].consistent is True
    assert told[1e-4].consistent is False


def test_a_point_nearest_to_the_pole_of_a_round_cap_is_no_harm(arm: list[Surface]) -> None:
    far = _T_BASE_CAMERA @ Transform.exp([0.0, 0.0, 0.0, -0.012, 0.018, -0.009])
    report, found = depth_check(_frame(arm, noise=2e-3), arm, far, tolerance=Tolerance(translation=5e-3))
    assert found is not None
    assert report.passed is False
    assert np.linalg.norm(found.twist[3:] - [0.012, -0.018, 0.009]) < 2e-3


def test_what_cannot_be_looked_at_is_said(arm: list[Surface]) -> None:
    assert "no depth" in depth_check(_frame(arm, depth=False), arm, _T_BASE_CAMERA)[0].skipped
    assert "no shape" in depth_check(_frame(arm), [], _T_BASE_CAMERA)[0].skipped
    away = _T_BASE_CAMERA @ Transform.exp([0.0, 0.0, 0.0, 0.0, 3.0, 0.0])
    assert "out of the picture" in depth_check(_frame(arm), arm, away)[0].skipped


def test_an_arms_surfaces_are_its_capsules_where_it_has_no_meshes() -> None:
    robot = load_robot("ur5e")
    surfaces = link_surfaces(robot)
    for capsule in robot.capsules:
        vertices = surfaces[capsule.link].vertices
        axis = capsule.p1 - capsule.p0
        share = np.clip((vertices - capsule.p0) @ axis / max(float(axis @ axis), 1e-12), 0.0, 1.0)
        gap = np.linalg.norm(vertices - capsule.p0 - share[:, None] * axis, axis=1)
        assert np.isclose(gap, capsule.radius, atol=1e-6).sum() > 100
