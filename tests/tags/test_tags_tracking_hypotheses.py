"""Trackers of far tags: planar solutions are weighed by all pictures, on corners drawn with known noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tags_scene import STRAIGHT, facing, pixels

from vision_ik.tags import TargetTracker, TrackerSettings, estimate_pose
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate, TagDetection, tag_corners

SIZE = 0.08
PERIOD = 1.0 / 30.0
FAR = facing(0.1, -0.05, 2.2, roll_deg=30.0, tilt_deg=25.0)
"""T_camera_tag of a tag of some 22 px, as doubtful as they come at a noise of 0.1 px."""


def seen(
    T_camera_tag: Transform, timestamp: float, rng: np.random.Generator, *, sigma: float, told: float | None = None
) -> PoseEstimate:
    """Return an estimate from noisy corners; ``told`` is the noise that the detection claims, None for nothing."""
    corners = pixels(tag_corners(SIZE), T_camera_tag, STRAIGHT) + rng.normal(0.0, sigma, (4, 2))
    covariance = None
    if told is not None:
        covariance = told**2 * (np.eye(8) + 0.05 * np.ones((8, 8)))  # edges tie the corners a little
    detection = TagDetection(tag_id=7, family="36h11", corners=corners, timestamp=timestamp, covariance=covariance)
    return estimate_pose(detection, SIZE, STRAIGHT)


def follow(
    tracker: TargetTracker,
    T_base_camera: Callable[[float], Transform],
    T_base_tag: Transform,
    *,
    frames: int,
    sigma: float = 0.1,
    told: float | None = 0.1,
    seed: int = 0,
) -> list[tuple[float, float] | None]:
    """Return the error (m, rad) of what is reported after each frame, None where nothing is."""
    rng = np.random.default_rng(seed)
    errors: list[tuple[float, float] | None] = []
    for k in range(frames):
        t = k * PERIOD
        camera = T_base_camera(t)
        tracker.update(seen(camera.inv() @ T_base_tag, t, rng, sigma=sigma, told=told), camera)
        target = tracker.predict(t)
        errors.append(None if target is None else target.T_base_target.distance_to(T_base_tag))
    return errors


def at_rest(_t: float) -> Transform:
    return Transform.identity()


def swaying(t: float) -> Transform:
    return Transform.from_translation((0.25 * np.sin(2.0 * t), 0.15 * np.sin(3.0 * t), 0.0))


@pytest.mark.parametrize("camera", [at_rest, swaying], ids=["camera at rest", "camera moving"])
def test_far_tags_are_never_reported_flipped(camera: Callable[[float], Transform]) -> None:
    flips_of_single_frames, reported = 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        for k in range(5):
            single = seen(FAR, k * PERIOD, rng, sigma=0.1, told=0.1)
            flips_of_single_frames += single.T_camera_tag.distance_to(FAR)[1] > 0.5
        errors = follow(TargetTracker(), camera, FAR, frames=50, seed=seed)
        reported += sum(error is not None for error in errors)
        assert all(error is None or error[1] < 0.5 for error in errors)
    assert flips_of_single_frames >= 3  # else the tags are not doubtful enough to prove anything
    assert reported > 0.5 * 12 * 50


def test_a_camera_that_moves_settles_the_doubt_sooner_than_one_that_rests() -> None:
    waits: list[int] = []
    for camera in (at_rest, swaying):
        waits.append(0)
        for seed in range(12):
            errors = follow(TargetTracker(), camera, FAR, frames=60, sigma=0.2, told=0.2, seed=seed)
            waits[-1] += next((k for k, error in enumerate(errors) if error is not None), 60)
    assert waits[1] < waits[0]


def test_a_tag_seen_nearly_from_the_front_is_tracked_within_its_stated_uncertainty() -> None:
    squares: list[float] = []
    front = facing(0.0, 0.0, 1.2, roll_deg=10.0, tilt_deg=10.0)
    for seed in range(10):
        tracker = TargetTracker(settings=TrackerSettings(corner_bias=0.0))
        follow(tracker, at_rest, front, frames=30, seed=seed)
        target = tracker.predict(29 * PERIOD)
        assert target is not None
        error = (target.T_base_target.inv() @ front).log()
        squares.append(float(error @ np.linalg.solve(target.covariance, error)) / 6.0)
    assert 0.3 < np.mean(squares) < 1.5


def test_the_noise_of_the_corners_is_learned_where_it_is_told_wrongly() -> None:
    squares: list[float] = []
    near = facing(0.0, 0.0, 0.6, roll_deg=10.0, tilt_deg=35.0)
    for seed in range(10):
        tracker = TargetTracker(settings=TrackerSettings(corner_bias=0.0))
        # Nothing is told, so that 0.3 px are assumed; a filter that believed this would be far too unsure.
        errors = follow(tracker, at_rest, near, frames=60, sigma=0.05, told=None, seed=seed)
        target = tracker.predict(59 * PERIOD)
        assert target is not None
        assert errors[-1] is not None
        error = (target.T_base_target.inv() @ near).log()
        squares.append(float(error @ np.linalg.solve(target.covariance, error)) / 6.0)
    assert 0.15 < np.mean(squares) < 1.5


def test_errors_that_are_the_same_in_each_frame_do_not_average_out_of_the_covariance() -> None:
    stated: list[Floats] = []
    for bias in (0.0, 0.05):
        tracker = TargetTracker(settings=TrackerSettings(corner_bias=bias))
        follow(tracker, at_rest, facing(0.1, -0.05, 1.6, roll_deg=30.0, tilt_deg=40.0), frames=90)
        target = tracker.predict(89 * PERIOD)
        assert target is not None
        stated.append(np.diag(target.covariance))
    assert (stated[1] > 1.2 * stated[0]).all()


def test_the_direction_a_tag_is_known_to_face_settles_the_doubt_at_once() -> None:
    rng = np.random.default_rng(1)
    known = TrackerSettings(facing=(FAR.rotation[0, 2], FAR.rotation[1, 2], FAR.rotation[2, 2]), facing_sigma=0.1)
    waits: list[list[bool]] = [[], []]
    for _ in range(10):
        estimate = seen(FAR, 0.0, rng, sigma=0.1, told=0.1)
        for settled, settings in zip(waits, (None, known), strict=True):
            tracker = TargetTracker(settings=settings)
            tracker.update(estimate, Transform.identity())
            settled.append(tracker.settled)
            target = tracker.predict(0.0)
            if settings is known:
                assert target is not None
                assert target.T_base_target.distance_to(FAR)[1] < 0.5
    assert all(waits[1])
    assert not all(waits[0])
