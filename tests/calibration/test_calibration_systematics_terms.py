"""What a calibration may be systematically off by: each term's derivatives, and the arm between its reports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import BOARD, FISHEYE, LENS, detection, make_stage

from calibration import FlangeRecording, batch, views_from_stream
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.terms import ArmTerm, SightTerm
from calibration.lens.projection import lens_derivatives, project
from calibration.systematics.board_scale import BoardScale
from calibration.systematics.flatness import BoardBend
from calibration.systematics.lens import LensRefinement
from calibration.systematics.time_offset import RecordedTimeOffset, TimeOffset
from calibration.views.sights import visible_poses
from vision_ik.errors import CalibrationError
from vision_ik.types import CameraIntrinsics, Floats

SURE = replace(LENS, covariance=np.diag(np.square([3.0, 3.0, 4.0, 4.0, 0.02, 0.05, 1e-3, 1e-3, 0.1])))


def corners(lens: CameraIntrinsics = LENS) -> tuple[Corners, Floats]:
    """Return corners in three views, a little off, and the board's poses."""
    rng = np.random.default_rng(3)
    poses = visible_poses(BOARD, lens, 100, rng)[:3]
    seen = []
    for T in poses:
        uv, _ = project(BOARD.chess_corners @ T[:3, :3].T + T[:3, 3], lens)
        seen.append(detection(uv + rng.normal(size=uv.shape)))
    return Corners(seen, lens), poses


def pixels(seen: Corners, Ts_camera_board: Floats) -> Floats:
    return project(seen.points_camera(Ts_camera_board), seen.intrinsics)[0]


def moving(n: int = 200, rate: float = 100.0) -> tuple[Floats, Floats]:
    """Return times and poses of a flange that moves on a smooth curve."""
    times = np.arange(n) / rate
    phase = np.outer(times, [1.1, 0.7, 1.3, 0.9, 1.7, 0.5])
    return times, batch.exp(np.sin(phase) * [0.2, 0.15, 0.1, 0.4, 0.3, 0.5])


SIGHTS: list[tuple[SightTerm, CameraIntrinsics, list[float]]] = [
    (BoardScale(), LENS, [0.02]),
    (BoardBend.of(corners()[0]), LENS, [1e-3, -0.5e-3, 0.7e-3]),
    (LensRefinement.of(SURE), SURE, [0.5, -1.0, 0.3, 0.8, -0.2, 1.0, 0.1, -0.4, 0.6]),
    (LensRefinement.of(LENS), LENS, [0.1] * 9),
    (LensRefinement.of(FISHEYE), FISHEYE, [0.1] * 8),
]


@pytest.mark.parametrize(("term", "lens", "theta"), SIGHTS)
def test_derivatives_of_a_term_of_the_sight_are_those_of_the_pixels(
    term: SightTerm, lens: CameraIntrinsics, theta: list[float]
) -> None:
    told, poses = corners(lens)
    value = np.array(theta)
    assert len(term.sigma) == len(term.parameters) == len(value)
    np.testing.assert_array_equal(pixels(term.evidence(told, 0.0 * value), poses), pixels(told, poses))
    derivatives = term.derivatives(term.evidence(told, value), value, poses)
    for j, size in enumerate(np.where(np.isfinite(term.sigma), term.sigma, np.abs(value))):
        step = 1e-4 * size * np.eye(len(value))[j]
        ahead, behind = (pixels(term.evidence(told, value + s), poses) for s in (step, -step))
        slope = (ahead - behind) / (2.0 * step[j])
        np.testing.assert_allclose(derivatives[:, :, j], slope, rtol=1e-4, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("lens", [LENS, FISHEYE], ids=["pinhole", "fisheye"])
def test_derivatives_by_the_lens_come_in_the_order_of_its_parameters(lens: CameraIntrinsics) -> None:
    told, poses = corners(lens)
    points = told.points_camera(poses)
    longer = lens.K.copy()
    longer[0, 0] += 0.5
    slope = (project(points, replace(lens, K=longer))[0] - project(points, lens)[0]) / 0.5
    np.testing.assert_allclose(lens_derivatives(points, lens)[:, :, 0], slope, atol=1e-6)


def test_a_lens_of_guessed_focal_length_is_refined_along_what_is_unknown_of_it_alone() -> None:
    guess = CameraIntrinsics.from_field_of_view(640, 480)
    term = LensRefinement.of(guess)
    assert term.axes.shape == (9, 3)  # the focal lengths together, and the two of the centre
    moved = term.refined(guess, np.array([1.0, 1.0, 1.0]))
    assert moved.K[0, 0] / guess.K[0, 0] == pytest.approx(moved.K[1, 1] / guess.K[1, 1])
    np.testing.assert_array_equal(moved.distortion, guess.distortion)


def test_a_refined_lens_has_the_covariance_of_the_refinement() -> None:
    term = LensRefinement.of(SURE)
    lens = term.judged(SURE, np.eye(9))
    assert lens.covariance is not None
    assert SURE.covariance is not None
    np.testing.assert_allclose(lens.covariance, SURE.covariance, rtol=1e-9, atol=1e-12)


def test_an_arm_at_constant_twist_is_where_the_offset_puts_it() -> None:
    twist = np.array([[0.1, -0.2, 0.05, 0.3, 0.1, -0.4]])
    start = batch.exp(np.array([[0.3, 0.2, 0.1, 0.5, -0.2, 0.1]]))
    term = TimeOffset(start, twist)
    later = term.flanges(np.array([0.05]))
    np.testing.assert_allclose(later, start @ batch.exp(0.05 * twist))
    np.testing.assert_array_equal(term.select(np.array([False])).derivatives(np.array([0.0])), np.empty((0, 6, 1)))


def arm_terms() -> list[ArmTerm]:
    times, poses = moving()
    recording = FlangeRecording(times, poses)
    at = np.array([0.31, 0.78, 1.234])
    return [TimeOffset(recording.poses(at), recording.twists(at)), RecordedTimeOffset(recording, at)]


@pytest.mark.parametrize("term", arm_terms(), ids=["twist", "recording"])
def test_derivatives_by_the_offset_are_right_twists_of_the_flange(term: ArmTerm) -> None:
    theta, step = np.array([0.04]), 1e-5
    ahead, behind = term.flanges(theta + step), term.flanges(theta - step)
    slope = batch.log(batch.inverses(behind) @ ahead) / (2.0 * step)
    np.testing.assert_allclose(term.derivatives(theta)[:, :, 0], slope, atol=1e-6)


def test_a_recording_gives_the_poses_and_twists_between_its_reports() -> None:
    times, poses = moving(n=100, rate=50.0)
    recording = FlangeRecording(times, poses)
    fine, truth = moving(n=400, rate=200.0)
    middle = (fine > 0.2) & (fine < 1.7)
    np.testing.assert_allclose(recording.poses(fine[middle]), truth[middle], atol=2e-7)
    h = 0.005
    slope = batch.log(batch.inverses(truth[:-2]) @ truth[2:]) / (2.0 * h)
    np.testing.assert_allclose(recording.twists(fine[1:-1])[middle[1:-1]], slope[middle[1:-1]], atol=2e-4)
    assert not recording.twists([-1.0, 99.0]).any()


def test_pictures_outside_the_recording_give_no_view() -> None:
    times, poses = moving()
    recording = FlangeRecording(times, poses)
    seen = [replace(make_stage(np.random.default_rng(0), "eye_to_hand", 1).views[0].detection, timestamp=t)
            for t in (-0.01, 0.5, 1.98)]  # fmt: skip
    views = views_from_stream(seen, recording, time_offset=0.02)
    assert [view.name for view in views] == ["-0.010 s", "0.500 s"]
    np.testing.assert_allclose(views[1].flange.matrix, recording.poses([0.52])[0], atol=1e-12)


def test_a_recording_whose_times_do_not_increase_is_refused() -> None:
    times, poses = moving()
    with pytest.raises(CalibrationError, match="do not increase"):
        FlangeRecording(times[::-1], poses)
    with pytest.raises(CalibrationError, match="200 time stamps"):
        FlangeRecording(times, poses[1:])
