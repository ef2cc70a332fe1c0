"""A tool found by a tag on it, and a target shown by moving the tool there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import LENS, MOUNTS

from calibration import ArmNoise, HandEyeView, Showing, calibrate_tool_tag, teach_target
from calibration.lens.projection import project
from calibration.views.sights import visible_poses
from vision_ik.errors import CalibrationError, ConfigError
from vision_ik.rig import Mount, Rig
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, Floats, PoseEstimate, TagGridBoard

_GRID = TagGridBoard(columns=1, rows=1, tag_m=0.05, gap_m=0.01)
_CORNERS = 0.025 * np.array([[-1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [-1.0, -1.0, 0.0]])
T_FLANGE_TAG = Transform.from_translation([0.03, -0.02, 0.12]) @ Transform.exp([0, 0, 0, 0.3, -0.2, 0.4])
T_TOOL_TAG = Transform.from_translation([0.0, 0.03, -0.05]) @ Transform.exp([0, 0, 0, 0.0, 0.5, 0.1])
CAMERA_SIGMA = np.repeat([0.6e-3, 1e-3], 3)


def _views(
    rng: np.random.Generator, n: int, mount: Mount, *, pixel: float = 0.0, arm: tuple[float, float] = (0.0, 0.0)
) -> tuple[Transform, list[HandEyeView]]:
    """Return T_mount_camera and views of the tag on the tool."""
    T_mount_camera = Transform.from_translation([0.8, 0.1, 0.6]) @ Transform.exp([0, 0, 0, 1.0, -1.2, 0.3])
    sigma = np.repeat(arm, 3)
    Ts_camera_tag = visible_poses(_GRID, LENS, 40 * n, rng, (0.25, 0.4))[:n]
    views: list[HandEyeView] = []
    for matrix in Ts_camera_tag:
        T_camera_tag = Transform(matrix) @ Transform.from_translation([0.025, 0.025, 0.0])
        if mount == "eye_in_hand":
            T_mount_camera = T_FLANGE_TAG @ Transform(Ts_camera_tag[0]).inv()
            T_camera_tag, flange = Transform(Ts_camera_tag[0]), Transform.exp(rng.normal(size=6))
        else:
            flange = T_mount_camera @ T_camera_tag @ T_FLANGE_TAG.inv()
        uv, _ = project(T_camera_tag.apply(_CORNERS), LENS)
        seen = BoardDetection(points_board=_CORNERS, points_image=uv + pixel * rng.normal(size=uv.shape), timestamp=0.0)
        views.append(HandEyeView(T_base_flange=flange @ Transform.exp(sigma * rng.normal(size=6)), detection=seen))
    return T_mount_camera, views


@pytest.mark.parametrize("mount", MOUNTS)
def test_exact_views_give_the_exact_tool(mount: Mount) -> None:
    T_mount_camera, views = _views(np.random.default_rng(0), 4, mount)
    result = calibrate_tool_tag(
        views, intrinsics=LENS, T_mount_camera=T_mount_camera, mount=mount, T_tool_tag=T_TOOL_TAG
    )
    np.testing.assert_allclose(result.T_flange_tool.matrix, (T_FLANGE_TAG @ T_TOOL_TAG.inv()).matrix, atol=1e-6)


def test_the_covariance_holds_the_cameras() -> None:
    scores: list[float] = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        T_mount_camera, views = _views(rng, 8, "eye_to_hand", pixel=0.3, arm=(0.3e-3, 1e-3))
        believed = T_mount_camera @ Transform.exp(CAMERA_SIGMA * rng.normal(size=6))
        result = calibrate_tool_tag(
            views,
            intrinsics=LENS,
            T_mount_camera=believed,
            mount="eye_to_hand",
            camera_covariance=np.diag(CAMERA_SIGMA**2),
            T_tool_tag=T_TOOL_TAG,
        )
        error = (result.T_flange_tool.inv() @ T_FLANGE_TAG @ T_TOOL_TAG.inv()).log()
        scores.append(float(error @ np.linalg.solve(result.covariance, error)) / 6.0)
    assert 0.5 < np.mean(scores) < 1.6


def test_a_view_that_contradicts_the_others_is_named() -> None:
    T_mount_camera, views = _views(np.random.default_rng(4), 7, "eye_to_hand", pixel=0.2, arm=(0.2e-3, 5e-4))
    away = Transform.exp([0.01, 0.0, 0.0, 0.0, 0.05, 0.0])
    views[3] = replace(views[3], T_base_flange=views[3].flange @ away, name="moved")
    result = calibrate_tool_tag(
        views, intrinsics=LENS, T_mount_camera=T_mount_camera, mount="eye_to_hand", camera_covariance=np.eye(6) * 1e-8
    )
    assert [touch.name for touch in result.touches if not touch.used] == ["moved"]
    assert result.T_flange_tool.distance_to(T_FLANGE_TAG)[0] < 1.5e-3


def test_no_view_is_refused_and_an_exact_camera_is_said() -> None:
    T_mount_camera, views = _views(np.random.default_rng(0), 3, "eye_to_hand")
    with pytest.raises(CalibrationError, match="no view"):
        calibrate_tool_tag([], intrinsics=LENS, T_mount_camera=T_mount_camera, mount="eye_to_hand")
    result = calibrate_tool_tag(views, intrinsics=LENS, T_mount_camera=T_mount_camera, mount="eye_to_hand")
    assert any("taken as exact" in warning for warning in result.warnings)


# -- showing a target --------------------------------------------------------------------


_T_MOUNT_CAMERA = Transform.from_translation([0.1, 0.0, 0.5]) @ Transform.exp([0, 0, 0, 2.0, 0.3, 0.1])
_T_TAG_TARGET = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [0.01, 0.02, 0.05])
_T_FLANGE_TOOL = Transform.from_translation([0.0, 0.01, 0.12]) @ Transform.exp([0, 0, 0, 0.1, 0.0, 0.2])


def _rig(mount: Mount, covariance: Floats | None = None) -> Rig:
    return Rig(
        robot="panda",
        mount=mount,
        T_mount_camera=_T_MOUNT_CAMERA,
        camera_covariance=covariance,
        T_flange_tool=_T_FLANGE_TOOL,
    )


def _showing(rig: Rig, rng: np.random.Generator, noise: float = 0.0, covariance: Floats | None = None) -> Showing:
    flange_seen, T_base_tag = Transform.exp(rng.normal(size=6)), Transform.exp(rng.normal(size=6))
    T_camera_tag = rig.T_base_camera(flange_seen).inv() @ T_base_tag
    C = 1e-12 * np.eye(6) if covariance is None else covariance
    blur = Transform.exp(noise * np.linalg.cholesky(C) @ rng.normal(size=6))
    sighting = PoseEstimate(
        tag_id=3, timestamp=0.0, T_camera_tag=T_camera_tag @ blur, covariance=C, reprojection_error=0.1
    )
    at_goal = T_base_tag @ _T_TAG_TARGET @ rig.T_flange_tool.inv()
    return Showing(sighting=sighting, T_base_flange=at_goal, T_base_flange_sighting=flange_seen)


@pytest.mark.parametrize("mount", MOUNTS)
def test_showing_the_tool_where_to_go_gives_the_target(mount: Mount) -> None:
    rig, rng = _rig(mount), np.random.default_rng(0)
    result = teach_target(rig, [_showing(rig, rng), _showing(rig, rng)])
    np.testing.assert_allclose(result.T_tag_target.matrix, _T_TAG_TARGET.matrix, atol=1e-9)
    assert result.spread < 1e-9
    before = teach_target(rig, [_showing(rig, rng)], standoff=0.03)
    np.testing.assert_allclose(before.T_tag_target.translation, [0.01, 0.02, 0.08], atol=1e-9)


def test_the_targets_covariance_holds_what_the_tag_was_off_by() -> None:
    rig, rng = _rig("eye_to_hand"), np.random.default_rng(1)
    covariance = np.diag(np.repeat([1e-3, 5e-3], 3) ** 2)
    scores: list[float] = []
    for _ in range(200):
        none = ArmNoise(translation=1e-9, rotation=1e-9)
        result = teach_target(rig, [_showing(rig, rng, 1.0, covariance)], arm_sigma=none)
        error = (result.T_tag_target.inv() @ _T_TAG_TARGET).log()
        scores.append(float(error @ np.linalg.solve(result.covariance, error)) / 6.0)
    assert 0.85 < np.mean(scores) < 1.15


def test_what_the_camera_is_off_by_does_not_average_out() -> None:
    covariance = np.diag(np.repeat([1e-3, 2e-3], 3) ** 2)
    rig, rng = _rig("eye_to_hand", covariance), np.random.default_rng(2)
    showings = [_showing(rig, rng) for _ in range(8)]
    assert teach_target(rig, showings).sigma_translation > 1e-3 * np.sqrt(3.0)


def test_a_camera_on_the_flange_needs_to_know_from_where_it_saw_the_tag() -> None:
    rig = _rig("eye_in_hand")
    showing = replace(_showing(rig, np.random.default_rng(0)), T_base_flange_sighting=None)
    with pytest.raises(ConfigError, match="nobody said where it was"):
        teach_target(rig, [showing])
