"""The tracker: noise averages out, motion is predicted, flips, gaps and old frames do no harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vision_ik.tags import TargetTracker, TrackerSettings, UpdateOutcome
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate, Target

T_BASE_CAMERA = Transform.from_xyz_rpy((0.8, 0.1, 0.9), (-2.4, 0.1, 1.5))
T_BASE_TAG = Transform.from_xyz_rpy((0.4, 0.0, 0.2), (0.3, 0.2, -0.4))
SIGMA = np.array([1e-3, 1e-3, 2e-3, 5e-3, 5e-3, 2e-3])
PERIOD = 1.0 / 30.0
FLIP = Transform.from_xyz_rpy((0.0, 0.0, 0.0), (0.9, 0.0, 0.0))
"""From the true pose to its mirrored planar solution."""


def seen(
    T_base_tag: Transform,
    timestamp: float,
    *,
    noise: Floats | None = None,
    flip: bool = False,
    errors: tuple[float, float] = (0.21, 0.8),
) -> PoseEstimate:
    """Return an estimate of a tag; ``flip`` puts the mirrored solution first, as if it fitted better."""
    T_camera_tag = T_BASE_CAMERA.inv() @ T_base_tag
    if noise is not None:
        T_camera_tag = T_camera_tag @ Transform.exp(noise)
    mirrored = T_camera_tag @ FLIP
    first, second = (mirrored, T_camera_tag) if flip else (T_camera_tag, mirrored)
    return PoseEstimate(
        tag_id=7,
        timestamp=timestamp,
        T_camera_tag=first,
        covariance=np.diag(SIGMA**2),
        reprojection_error=errors[0],
        alternative=second,
        alternative_error=errors[1],
        ambiguity=errors[0] / errors[1],
    )


def feed(
    tracker: TargetTracker,
    T_base_tag: Callable[[float], Transform],
    until: float,
    *,
    noisy: bool = False,
    seed: int = 0,
) -> None:
    """Show the tag at 30 Hz from 0 to ``until`` [s]."""
    rng = np.random.default_rng(seed)
    for t in np.arange(0.0, until + 1e-9, PERIOD):
        noise = rng.normal(0.0, SIGMA) if noisy else None
        tracker.update(seen(T_base_tag(float(t)), float(t), noise=noise), T_BASE_CAMERA)


def predicted(tracker: TargetTracker, timestamp: float) -> Target:
    target = tracker.predict(timestamp)
    assert target is not None
    return target


def line(t: float) -> Transform:
    """Straight in the base frame while turning about an oblique axis."""
    return Transform.from_parts(
        (T_BASE_TAG @ Transform.exp(t * np.array([0, 0, 0, 0.3, -0.2, 0.5]))).rotation,
        T_BASE_TAG.translation + t * np.array([0.1, -0.05, 0.02]),
    )


def test_noise_of_a_still_tag_averages_out() -> None:
    errors: list[tuple[float, float]] = []
    for seed in range(10):
        tracker = TargetTracker()
        feed(tracker, lambda _t: T_BASE_TAG, 2.0, noisy=True, seed=seed)
        errors.append(predicted(tracker, 2.0).T_base_target.distance_to(T_BASE_TAG))
    m, rad = np.sqrt(np.mean(np.square(errors), axis=0))
    # A single estimate is off by 2.4 mm and 7.3 mrad.
    assert m < 1.2e-3
    assert rad < 3.7e-3


def test_a_tag_that_moves_and_turns_is_predicted_ahead() -> None:
    tracker = TargetTracker()
    feed(tracker, line, 3.0)
    target = predicted(tracker, 3.2)
    m, rad = target.T_base_target.distance_to(line(3.2))
    assert m < 1e-4
    assert rad < 1e-4
    assert target.timestamp == pytest.approx(3.2)
    assert target.age == pytest.approx(0.2)


def test_the_twist_is_that_of_the_target_in_its_own_frame() -> None:
    T_tag_target = Transform.from_xyz_rpy((0.02, -0.05, 0.1), (3.0, 0.1, 0.5))
    tracker = TargetTracker(T_tag_target=T_tag_target)
    feed(tracker, line, 3.0)
    a, b = (predicted(tracker, t).T_base_target for t in (3.0, 3.001))
    assert np.allclose(predicted(tracker, 3.0).twist, (a.inv() @ b).log() / 1e-3, atol=1e-3)
    assert a.distance_to(line(3.0) @ T_tag_target)[0] < 1e-4


def test_the_stated_covariance_is_consistent_with_the_errors() -> None:
    squared: list[float] = []
    for seed in range(60):
        tracker = TargetTracker()
        feed(tracker, lambda _t: T_BASE_TAG, 1.0, noisy=True, seed=seed)
        target = predicted(tracker, 1.05)
        xi = (target.T_base_target.inv() @ T_BASE_TAG).log()
        squared.append(float(xi @ np.linalg.solve(target.covariance, xi)) / 6.0)
    # The motion model allows for motion that a still tag does not make: the statement is on the safe side.
    assert 0.1 < np.mean(squared) < 1.3


def test_the_error_of_the_camera_pose_does_not_average_out_of_the_covariance() -> None:
    camera = np.diag([2e-3, 2e-3, 2e-3, 5e-3, 5e-3, 5e-3]) ** 2
    with_camera, without = TargetTracker(camera_covariance=camera), TargetTracker()
    for tracker in (with_camera, without):
        feed(tracker, lambda _t: T_BASE_TAG, 2.0)
    T_tag_camera = T_BASE_TAG.inv() @ T_BASE_CAMERA
    added = predicted(with_camera, 2.0).covariance - predicted(without, 2.0).covariance
    Ad = T_tag_camera.adjoint()
    assert np.allclose(added, Ad @ camera @ Ad.T, rtol=1e-6, atol=1e-12)


def test_a_flipped_estimate_is_taken_by_its_other_solution() -> None:
    tracker = TargetTracker()
    feed(tracker, lambda _t: T_BASE_TAG, 0.5)
    outcome = tracker.update(seen(T_BASE_TAG, 0.55, flip=True), T_BASE_CAMERA)
    assert outcome is UpdateOutcome.FLIPPED
    assert predicted(tracker, 0.55).T_base_target.distance_to(T_BASE_TAG)[1] < 1e-3


def test_nothing_is_reported_while_either_solution_may_be_true() -> None:
    tracker = TargetTracker()
    tracker.update(seen(T_BASE_TAG, 0.0, flip=True, errors=(0.30, 0.31)), T_BASE_CAMERA)
    assert tracker.predict(0.0) is None
    assert not tracker.settled
    assert tracker.doubt_rad > 0.3
    for k in range(1, 10):
        tracker.update(seen(T_BASE_TAG, k * PERIOD, errors=(0.2, 0.4)), T_BASE_CAMERA)
    assert predicted(tracker, 0.3).T_base_target.distance_to(T_BASE_TAG)[1] < 1e-3


def test_a_track_on_the_mirrored_solution_is_put_right_by_the_pictures_that_follow() -> None:
    tracker = TargetTracker()
    # The mirrored pose stood there alone and beyond doubt; then the tag jumps to where its flip was.
    wrong = T_BASE_TAG @ FLIP
    feed(tracker, lambda _t: wrong, 0.5)
    for k in range(9):
        tracker.update(seen(T_BASE_TAG, 0.55 + k * PERIOD, errors=(0.05, 0.45)), T_BASE_CAMERA)
    assert predicted(tracker, 0.82).T_base_target.distance_to(T_BASE_TAG)[1] < 1e-2


def test_a_short_series_of_flips_does_not_move_the_target() -> None:
    tracker = TargetTracker()
    feed(tracker, lambda _t: T_BASE_TAG, 0.5)
    for k in range(3):
        tracker.update(seen(T_BASE_TAG, 0.55 + k * PERIOD, flip=True, errors=(0.21, 0.3)), T_BASE_CAMERA)
        assert predicted(tracker, 0.6).T_base_target.distance_to(T_BASE_TAG)[1] < 1e-2
    for k in range(3, 30):
        tracker.update(seen(T_BASE_TAG, 0.55 + k * PERIOD), T_BASE_CAMERA)
    assert predicted(tracker, 1.6).T_base_target.distance_to(T_BASE_TAG)[1] < 1e-3


def test_an_outlier_is_rejected_and_leaves_the_track_alone() -> None:
    tracker = TargetTracker()
    feed(tracker, lambda _t: T_BASE_TAG, 0.5)
    elsewhere = Transform.from_translation((0.1, 0.0, 0.0)) @ T_BASE_TAG
    assert tracker.update(seen(elsewhere, 0.55), T_BASE_CAMERA) is UpdateOutcome.REJECTED
    assert predicted(tracker, 0.55).T_base_target.distance_to(T_BASE_TAG)[0] < 1e-4
    assert tracker.last_seen == pytest.approx(0.5)


@pytest.mark.parametrize("jump_m", [0.1, 0.17, 0.24, 0.6])
def test_a_tag_that_was_put_elsewhere_is_taken_up_there_without_a_velocity(jump_m: float) -> None:
    tracker = TargetTracker()
    feed(tracker, lambda _t: T_BASE_TAG, 0.5)
    elsewhere = Transform.from_translation((jump_m, 0.0, 0.0)) @ T_BASE_TAG
    assert tracker.update(seen(elsewhere, 0.55), T_BASE_CAMERA) is UpdateOutcome.REJECTED
    assert tracker.update(seen(elsewhere, 0.55 + PERIOD), T_BASE_CAMERA) is UpdateOutcome.STARTED
    for k in range(2, 12):
        t = 0.55 + k * PERIOD
        assert tracker.update(seen(elsewhere, t), T_BASE_CAMERA) is UpdateOutcome.ACCEPTED
        assert predicted(tracker, t + 0.1).T_base_target.distance_to(elsewhere)[0] < 1e-3


@pytest.mark.parametrize("late", [0.0, -0.1])
def test_duplicates_and_frames_from_the_past_are_ignored(late: float) -> None:
    tracker = TargetTracker()
    feed(tracker, line, 1.0)
    newest = tracker.last_seen
    before = predicted(tracker, 1.1).T_base_target
    assert tracker.update(seen(T_BASE_TAG, newest + late), T_BASE_CAMERA) is UpdateOutcome.IGNORED
    assert predicted(tracker, 1.1).T_base_target == before


def test_a_gap_is_bridged_with_growing_uncertainty_and_age_until_the_track_is_lost() -> None:
    tracker = TargetTracker(settings=TrackerSettings(lost_after_s=1.0))
    feed(tracker, line, 1.0)
    targets = [predicted(tracker, t) for t in (1.1, 1.4, 1.9)]
    traces = [float(np.trace(target.covariance[:3, :3])) for target in targets]
    assert traces == sorted(traces)
    assert traces[2] > 10 * traces[0]
    assert [target.age for target in targets] == pytest.approx([0.1, 0.4, 0.9])
    assert targets[1].T_base_target.distance_to(line(1.4))[0] < 5e-3
    assert tracker.predict(2.1) is None


def test_a_lost_target_starts_anew_when_it_comes_back() -> None:
    tracker = TargetTracker()
    feed(tracker, lambda _t: T_BASE_TAG, 0.5)
    elsewhere = Transform.from_translation((0.3, 0.0, 0.0)) @ T_BASE_TAG
    assert tracker.update(seen(elsewhere, 3.0), T_BASE_CAMERA) is UpdateOutcome.STARTED
    assert predicted(tracker, 3.0).T_base_target.distance_to(elsewhere)[0] < 1e-9


def test_nothing_is_predicted_before_the_first_sight_and_after_a_reset() -> None:
    tracker = TargetTracker()
    assert tracker.predict(0.0) is None
    feed(tracker, lambda _t: T_BASE_TAG, 0.5)
    tracker.reset()
    assert tracker.predict(0.5) is None
    assert tracker.last_seen == -np.inf


@pytest.mark.parametrize("reset", [True, False])
def test_a_stream_that_begins_anew_is_followed_from_its_first_estimate(reset: bool) -> None:
    tracker = TargetTracker()
    for k in range(30):
        tracker.update(seen(T_BASE_TAG, 100.0 + k * PERIOD), T_BASE_CAMERA)
    if reset:
        tracker.reset()
    elsewhere = Transform.from_translation((0.3, 0.0, 0.0)) @ T_BASE_TAG
    outcomes = [tracker.update(seen(elsewhere, k * PERIOD), T_BASE_CAMERA) for k in range(3)]
    assert outcomes == [UpdateOutcome.STARTED, UpdateOutcome.ACCEPTED, UpdateOutcome.ACCEPTED]
    assert predicted(tracker, 0.1).T_base_target.distance_to(elsewhere)[0] < 1e-6


def test_a_reset_tracker_is_like_a_new_one() -> None:
    used, new = TargetTracker(), TargetTracker()
    lens = np.diag([1e-3, 1e-3, 4e-3, 2e-3, 2e-3, 1e-3]) ** 2
    rng = np.random.default_rng(0)
    for k in range(30):
        noise = rng.normal(0.0, 9.0 * SIGMA)
        estimate = replace(seen(T_BASE_TAG, k * PERIOD, noise=noise, errors=(3.0, 4.0)), lens_covariance=lens)
        used.update(estimate, T_BASE_CAMERA)
    used.reset()
    for tracker in (used, new):
        feed(tracker, line, 0.3, noisy=True, seed=1)
    assert np.array_equal(predicted(used, 0.4).covariance, predicted(new, 0.4).covariance)
    assert np.array_equal(predicted(used, 0.4).twist, predicted(new, 0.4).twist)


def test_a_tracker_refuses_estimates_of_another_tag() -> None:
    tracker = TargetTracker()
    tracker.update(seen(T_BASE_TAG, 0.0), T_BASE_CAMERA)
    with pytest.raises(ValueError, match="follows tag 7, not 8"):
        tracker.update(replace(seen(T_BASE_TAG, PERIOD), tag_id=8), T_BASE_CAMERA)
    tracker.reset()
    assert tracker.update(replace(seen(T_BASE_TAG, PERIOD), tag_id=8), T_BASE_CAMERA) is UpdateOutcome.STARTED


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rejections": 0}, "rejections must be at least 1"),
        ({"rejections": -1}, "rejections must be at least 1"),
        ({"corner_bias": -1.0}, "corner_bias must be finite and not negative"),
        ({"corner_bias": float("nan")}, "corner_bias must be finite"),
        ({"camera_lag": float("inf")}, "camera_lag must be finite"),
        ({"facing": (0.0, 0.0, 0.0)}, "facing must be a direction"),
        ({"facing": (0.0, float("nan"), 1.0)}, "facing must be a direction"),
        ({"gate": float("nan")}, "gate must be in"),
        ({"lost_after_s": float("nan")}, "lost_after_s must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrackerSettings(**wrong)


def test_the_past_is_answered_as_it_was_then() -> None:
    tracker = TargetTracker()
    feed(tracker, line, 1.0)
    before = predicted(tracker, 1.0)
    for k in range(1, 10):
        tracker.update(seen(line(1.0 + k * PERIOD), 1.0 + k * PERIOD), T_BASE_CAMERA)
    again = predicted(tracker, 1.0)
    assert again.timestamp == pytest.approx(1.0)
    assert again.T_base_target == before.T_base_target
    assert tracker.predict(-0.1) is None


def test_a_swinging_target_is_foretold_better_with_a_model_that_accelerates() -> None:
    def swing(t: float) -> Transform:
        return Transform.from_translation((0.1 * np.sin(4.0 * t), 0.0, 0.0)) @ T_BASE_TAG

    errors: list[float] = []
    plain = TrackerSettings()
    constant = tuple(model for model in plain.models if model.kind != "acceleration")
    for settings in (plain, replace(plain, models=constant)):
        tracker, squares = TargetTracker(settings=settings), list[float]()
        rng = np.random.default_rng(0)
        for t in np.arange(0.0, 4.0, PERIOD).tolist():
            tracker.update(seen(swing(t), t, noise=rng.normal(0.0, 0.3 * SIGMA)), T_BASE_CAMERA)
            squares.append(predicted(tracker, t + 0.1).T_base_target.distance_to(swing(t + 0.1))[0] ** 2)
        errors.append(float(np.sqrt(np.mean(squares[30:]))))
    assert errors[0] < 0.7 * errors[1]


def test_a_steady_tracker_of_a_still_tag_is_less_restless_than_a_responsive_one() -> None:
    speeds: list[float] = []
    for name in ("steady", "servo", "responsive"):
        tracker, squares = TargetTracker(settings=TrackerSettings.named(name)), list[float]()
        rng = np.random.default_rng(0)
        for t in np.arange(0.0, 4.0, PERIOD).tolist():
            tracker.update(seen(T_BASE_TAG, t, noise=rng.normal(0.0, SIGMA)), T_BASE_CAMERA)
            squares.append(float(np.sum(predicted(tracker, t).twist[:3] ** 2)))
        speeds.append(float(np.mean(squares[30:])))
    assert speeds == sorted(speeds)


def test_there_is_no_other_preset() -> None:
    with pytest.raises(ValueError, match="steady or responsive"):
        TrackerSettings.named("calm")  # pyright: ignore[reportArgumentType]


def test_the_uncertainty_of_the_lens_does_not_average_out_of_the_covariance() -> None:
    lens = np.diag([1e-3, 1e-3, 4e-3, 2e-3, 2e-3, 1e-3]) ** 2
    stated: list[Target] = []
    for covariance in (None, lens):
        tracker = TargetTracker()
        for k in range(60):
            estimate = replace(seen(T_BASE_TAG, k * PERIOD), lens_covariance=covariance)
            tracker.update(estimate, T_BASE_CAMERA)
        stated.append(predicted(tracker, 59 * PERIOD))
    assert np.allclose(stated[1].covariance - stated[0].covariance, lens, atol=1e-12)
