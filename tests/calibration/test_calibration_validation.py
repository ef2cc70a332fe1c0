"""A calibration is judged by fresh views and by touches, and the verdict follows what is really wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, MOUNTS, Stage, make_stage

from calibration import (
    ArmNoise,
    CheckReport,
    HandEyeResult,
    HandEyeView,
    Tolerance,
    TouchTest,
    ValidationReport,
    calibrate_hand_eye,
    held_out_check,
    plan_touch_test,
    reprojection_overlay,
    seen_board,
)
from calibration.lens.projection import project
from calibration.validation.values import skipped
from calibration.views.information import Noise
from vision_ik.errors import CalibrationError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.rig import Mount
from vision_ik.transforms import Transform


def _calibrated(mount: Mount) -> tuple[Stage, HandEyeResult]:
    stage = make_stage(np.random.default_rng(3), mount, 20, pixel=0.3, translation=0.3e-3, rotation=1e-3)
    return stage, calibrate_hand_eye(stage.views[:12], intrinsics=LENS, mount=mount)


@pytest.mark.parametrize("mount", MOUNTS)
def test_fresh_views_of_a_sound_calibration_are_as_far_off_as_predicted(mount: Mount) -> None:
    stage, result = _calibrated(mount)
    report, views = held_out_check(
        result, stage.views[12:], intrinsics=LENS, tolerance=Tolerance(translation=5e-3, rotation=0.02)
    )
    assert report.passed is True
    assert report.consistent is True
    assert report.count == len(views) == 8
    assert 0.4 * report.sigma < report.error < 2.0 * report.sigma
    assert 2.0 < np.mean([view.chi_square for view in views]) < 14.0


def test_fresh_views_find_a_camera_that_was_moved() -> None:
    stage, result = _calibrated("eye_to_hand")
    moved = replace(result, T_mount_camera=Transform.from_translation([0.01, 0.0, 0.0]) @ result.T_mount_camera)
    report, _ = held_out_check(moved, stage.views[12:], intrinsics=LENS, tolerance=Tolerance(translation=5e-3))
    assert report.passed is False
    assert report.consistent is False
    assert report.error == pytest.approx(0.01, rel=0.3)


def test_views_whose_corners_err_together_are_predicted_as_far_off_as_they_are() -> None:
    rng = np.random.default_rng(3)
    stage = make_stage(rng, "eye_to_hand", 26, pixel=0.2, translation=0.1e-3, rotation=2e-4)
    views = [_bent_sight(view, rng) for view in stage.views]
    result = calibrate_hand_eye(views[:18], intrinsics=LENS)
    assert result.sight_sigma > 3.0 * result.pixel_sigma
    assert Noise.of(result).pixel == result.sight_sigma
    report, _ = held_out_check(result, views[18:], intrinsics=LENS)
    assert report.consistent is True
    assert 0.4 < report.error / report.sigma < 2.0


def _bent_sight(view: HandEyeView, rng: np.random.Generator) -> HandEyeView:
    """Return a view in which all corners are off together, as a blurred picture's are: smoothly, by about a pixel."""
    uv = view.detection.points_image
    smooth = np.column_stack([np.ones(len(uv)), (uv - uv.mean(axis=0)) / 100.0])
    moved = uv + smooth @ rng.normal(size=(3, 2))
    return replace(view, detection=replace(view.detection, points_image=moved))


def test_without_a_tolerance_there_is_no_verdict_and_without_views_no_check() -> None:
    stage, result = _calibrated("eye_in_hand")
    report, _ = held_out_check(result, stage.views[12:], intrinsics=LENS)
    assert report.passed is None
    nothing, views = held_out_check(result, [], intrinsics=LENS)
    assert nothing.skipped
    assert views == ()


def test_a_validation_fails_with_any_of_its_checks() -> None:
    stage, result = _calibrated("eye_in_hand")
    good, _ = held_out_check(result, stage.views[12:], intrinsics=LENS, tolerance=Tolerance(translation=1e-2))
    bad: CheckReport = replace(good, passed=False)
    none = skipped("depth", "The camera gives no depth.")
    assert ValidationReport(checks=(good, none)).passed is True
    assert ValidationReport(checks=(good, bad)).passed is False
    assert ValidationReport(checks=(none,)).passed is None
    assert "no depth" in ValidationReport(checks=(none,)).sentences[0]
    assert "error_mm" not in ValidationReport(checks=(none,)).as_facts()["checks"][0]


def test_the_overlay_marks_corners_where_they_are_seen_and_where_predicted() -> None:
    stage = make_stage(np.random.default_rng(0), "eye_in_hand", 1)
    detection = stage.views[0].detection
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    T_camera_board = (stage.views[0].flange @ stage.T_mount_camera).inv() @ stage.T_holder_board
    drawn = reprojection_overlay(image, T_camera_board, detection, LENS)
    assert drawn.shape == (960, 1280, 3)
    assert not image.any()
    uv, _ = project(T_camera_board.apply(detection.points_board), LENS)
    for x, y in np.rint(2 * (uv + 0.5) - 0.5).astype(int).tolist():
        assert drawn[y - 1 : y + 2, x - 1 : x + 2].any()


# -- touching ----------------------------------------------------------------------------


_TOOL = Transform.from_translation([0.0, 0.0, 0.12])
_BOARD_POSE = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [0.40, 0.10, 0.0])
_COVARIANCE = np.diag(np.repeat([0.5e-3, 1e-3], 3) ** 2)


@pytest.fixture(scope="module")
def solver() -> HybridSolver:
    """The arm with a pointer."""
    return load_solver("panda", T_flange_tool=_TOOL)


@pytest.fixture(scope="module")
def touch_test(solver: HybridSolver) -> TouchTest:
    """Five points of a board on the table."""
    return plan_touch_test(
        BOARD,
        _BOARD_POSE,
        solver,
        covariance=_COVARIANCE,
        arm_sigma=ArmNoise(translation=0.3e-3, rotation=1e-3),
        q_start=solver.robot.home,
    )


def test_the_tip_is_sent_above_points_far_apart_and_stops_before_them(
    touch_test: TouchTest, solver: HybridSolver
) -> None:
    assert [point.name for point in touch_test.points] == ["P1", "P2", "P3", "P4", "P5"]
    places = np.stack([point.p_board for point in touch_test.points])
    apart = np.linalg.norm(places[:, None] - places, axis=2) + np.eye(5)
    assert apart.min() > 0.25 * max(BOARD.size_m)
    for point in touch_test.points:
        reached = Transform(solver.robot.forward(point.way[-1])) @ _TOOL
        assert reached.distance_to(point.T_base_tool)[0] < 1e-5
        assert reached.translation[2] == pytest.approx(5e-3, abs=5e-4)
        np.testing.assert_allclose(
            (reached @ Transform.from_translation([0, 0, 5e-3])).translation, point.p_base, atol=1e-4
        )


def test_touches_are_judged_by_what_is_really_wrong(touch_test: TouchTest) -> None:
    reached = {point.name: point.T_base_tool for point in touch_test.points}
    exact = touch_test.truth(reached, _BOARD_POSE)
    assert max(float(np.abs(offset).max()) for offset in exact.values()) < 1e-9
    assert touch_test.judge(exact, Tolerance(translation=1e-3)).passed is True
    off = touch_test.truth(reached, Transform.from_translation([0.01, 0.0, 0.0]) @ _BOARD_POSE)
    report = touch_test.judge(off, Tolerance(translation=5e-3))
    assert report.error == pytest.approx(0.01)
    assert report.passed is False
    assert report.consistent is False
    assert "(-10.0, 0.0) mm" in report.sentence.replace("-0.0", "0.0")


def test_touches_measured_with_a_ruler_have_two_axes(touch_test: TouchTest) -> None:
    report = touch_test.judge({"P2": np.array([1e-3, 0.0]), "P4": np.array([0.0, 1e-3])})
    assert report.error == pytest.approx(1e-3)
    assert report.passed is None
    assert report.consistent is True
    with pytest.raises(CalibrationError, match="no point P9"):
        touch_test.judge({"P9": np.zeros(2)})
    assert touch_test.judge({}).skipped


def test_the_predicted_error_of_a_touch_is_that_of_drawn_boards(touch_test: TouchTest) -> None:
    rng = np.random.default_rng(0)
    reached = {point.name: point.T_base_tool for point in touch_test.points}
    errors: list[float] = []
    for _ in range(300):
        true = _BOARD_POSE @ Transform.exp(np.sqrt(np.diag(_COVARIANCE)) * rng.normal(size=6))
        errors += [float(np.linalg.norm(offset)) for offset in touch_test.truth(reached, true).values()]
    arm = np.sqrt(np.trace(touch_test.tip_covariance))
    predicted = touch_test.judge(touch_test.truth(reached, _BOARD_POSE)).sigma
    assert np.hypot(np.sqrt(np.mean(np.square(errors))), arm) == pytest.approx(predicted, rel=0.1)


def test_a_board_out_of_reach_is_refused(solver: HybridSolver) -> None:
    far = Transform.from_translation([3.0, 0.0, 0.0]) @ _BOARD_POSE
    with pytest.raises(CalibrationError, match="can reach only 0 points"):
        plan_touch_test(BOARD, far, solver, covariance=_COVARIANCE, q_start=solver.robot.home)


def test_a_seen_boards_covariance_holds_the_cameras() -> None:
    T_base_camera, T_camera_board = Transform.from_translation([0.0, 0.0, 1.0]), Transform.from_translation([0, 0, 0.8])
    camera = np.diag([0.0, 0.0, 0.0, 1e-6, 0.0, 0.0])
    pose, covariance = seen_board(T_base_camera, camera, T_camera_board, np.zeros((6, 6)))
    np.testing.assert_allclose(pose.translation, [0.0, 0.0, 1.8])
    assert np.sqrt(covariance[1, 1]) == pytest.approx(0.8e-3)  # a turn of 1 mrad at 0.8 m
