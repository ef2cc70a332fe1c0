"""What a calibration found beside the camera's place reaches everything that compares further views with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import LENS, MOUNTS, Stage, make_stage

from calibration import HandEyeResult, HandEyeView, calibrate_hand_eye, held_out_check, recalibrate
from calibration.arm.link_errors import ArmPrior, LinkErrors
from calibration.arm.link_term import LinkTerm
from calibration.hand_eye.correcting import corrected
from calibration.hand_eye.terms import Term, TermEstimate
from calibration.systematics.board_scale import BoardScale
from calibration.systematics.flatness import BoardBend
from calibration.systematics.time_offset import FlangeRecording, RecordedTimeOffset
from vision_ik.rig import Mount
from vision_ik.robots import load_robot
from vision_ik.transforms import Transform

_SCALE = 0.024
_LATE = 0.05
_FRESH = 20


def _stage(mount: Mount) -> Stage:
    return make_stage(np.random.default_rng(5), mount, 28, pixel=0.3, translation=0.2e-3, rotation=5e-4)


def _on_a_larger_board(stage: Stage) -> list[HandEyeView]:
    """Return the views of a board that was told too small."""
    return [
        replace(v, detection=replace(v.detection, points_board=v.detection.points_board / (1.0 + _SCALE)))
        for v in stage.views
    ]


def _on_a_late_clock(stage: Stage) -> list[HandEyeView]:
    """Return the views of a moving arm whose poses are those of an earlier moment."""
    rng = np.random.default_rng(6)
    twists = [np.concatenate([0.1 * rng.normal(size=3), 0.3 * rng.normal(size=3)]) for _ in stage.views]
    return [
        replace(v, T_base_flange=v.flange @ Transform.exp(-_LATE * twist), twist=twist)
        for v, twist in zip(stage.views, twists, strict=True)
    ]


def _holds(result: HandEyeResult, views: list[HandEyeView], stage: Stage) -> None:
    """Fail unless fresh views agree with a calibration, and three of them put it right after nothing moved."""
    report, _ = held_out_check(result, views[_FRESH:], intrinsics=LENS)
    assert report.consistent is True
    assert report.error < 2.0 * report.sigma
    again = recalibrate(result, views[_FRESH : _FRESH + 3], intrinsics=LENS).result
    off = (again.T_mount_camera.inv() @ stage.T_mount_camera).log()
    assert off @ np.linalg.solve(again.covariance, off) < 20.0
    report, _ = held_out_check(again, views[_FRESH:], intrinsics=LENS)
    assert report.consistent is True


@pytest.mark.parametrize("mount", MOUNTS)
def test_fresh_views_of_a_board_of_another_size_than_told_agree(mount: Mount) -> None:
    stage = _stage(mount)
    views = _on_a_larger_board(stage)
    result = calibrate_hand_eye(views[:_FRESH], intrinsics=LENS, mount=mount)
    assert [estimate.name for estimate in result.terms] == ["board scale"]
    _holds(result, views, stage)


def test_fresh_views_of_a_clock_that_is_off_agree() -> None:
    stage = _stage("eye_to_hand")
    views = _on_a_late_clock(stage)
    result = calibrate_hand_eye(views[:_FRESH], intrinsics=LENS)
    assert result.time_offset == pytest.approx(_LATE, abs=5e-3)
    _holds(result, views, stage)


def test_views_are_put_right_by_the_terms_in_their_order_and_pictures_stay() -> None:
    view = _stage("eye_to_hand").views[0]
    bend = BoardBend(np.zeros(3), 0.1)
    found = [_estimate(BoardScale(), [0.01]), _estimate(bend, [1e-3, 0.0, 0.0])]
    [right] = corrected(found, [view], LENS)
    told, points = view.detection.points_board, right.detection.points_board
    np.testing.assert_allclose(points[:, :2], 1.01 * told[:, :2])
    np.testing.assert_allclose(points[:, 2], 1e-3 * (1.01 * told[:, 0] / 0.1) ** 2, atol=1e-12)
    np.testing.assert_array_equal(right.detection.points_image, view.detection.points_image)
    np.testing.assert_array_equal(right.flange.matrix, view.flange.matrix)


def test_a_time_offset_moves_further_views_on_along_their_own_twists_and_leaves_those_at_rest() -> None:
    still, moving = _stage("eye_to_hand").views[:2]
    moving = replace(moving, twist=[0.1, 0.0, 0.0, 0.0, 0.0, 0.2])
    recording = FlangeRecording(np.arange(5.0), np.tile(np.eye(4), (5, 1, 1)))
    found = [_estimate(RecordedTimeOffset(recording, np.zeros(3)), [0.05])]
    there = corrected(found, [still, moving], None)
    np.testing.assert_allclose(there[0].flange.matrix, still.flange.matrix)
    expected = moving.flange @ Transform.exp(0.05 * np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.2]))
    np.testing.assert_allclose(there[1].flange.matrix, expected.matrix)


def test_an_arm_with_errors_has_the_flange_of_further_views_elsewhere_where_their_joints_are_known() -> None:
    robot = load_robot("ur5e")
    errors = LinkErrors.of(robot)
    theta = np.full(errors.count, 1e-3)
    term = LinkTerm(errors=errors, q=np.zeros((4, robot.n)), prior=ArmPrior())
    view = replace(_stage("eye_to_hand").views[0], T_base_flange=robot.forward(robot.home), q=robot.home)
    [right] = corrected([_estimate(term, theta)], [view], None)
    np.testing.assert_allclose(right.flange.matrix, replace(robot, fixed=errors.fixed(theta)).forward(robot.home))
    [untold] = corrected([_estimate(term, theta)], [replace(view, q=None)], None)
    np.testing.assert_array_equal(untold.flange.matrix, view.flange.matrix)


def _estimate(term: Term, theta: object) -> TermEstimate:
    values = np.asarray(theta, dtype=np.float64)
    zeros = np.zeros((len(values), len(values)))
    return TermEstimate(name=term.name, parameters=term.parameters, theta=values, covariance=zeros, term=term)
