"""Several tags at once: each keeps its track, also where two share an id."""

from __future__ import annotations

import numpy as np
import pytest
from tags_scene import STRAIGHT, facing, pixels

from vision_ik.tags import UpdateOutcome, estimate_pose
from vision_ik.tags.tracking.trackers import TargetTrackers
from vision_ik.transforms import Transform
from vision_ik.types import PoseEstimate, TagDetection, tag_corners

PERIOD = 1.0 / 30.0
SIGMA = np.array([1e-3, 1e-3, 2e-3, 5e-3, 5e-3, 2e-3])
LEFT, RIGHT = Transform.from_translation((-0.2, 0.0, 1.0)), Transform.from_translation((0.2, 0.0, 1.0))


def seen(tag_id: int, T_camera_tag: Transform, t: float) -> PoseEstimate:
    return PoseEstimate(
        tag_id=tag_id, timestamp=t, T_camera_tag=T_camera_tag, covariance=np.diag(SIGMA**2), reprojection_error=0.2
    )


def crossing(t: float) -> tuple[Transform, Transform]:
    """Return two poses that change places within two seconds, 6 cm past each other."""
    x = 0.2 - 0.2 * t
    return Transform.from_translation((-x, 0.03, 1.0)), Transform.from_translation((x, -0.03, 1.0))


def test_tags_of_several_ids_are_tracked_and_named() -> None:
    trackers = TargetTrackers(T_tag_target={7: Transform.from_translation((0.0, 0.0, 0.1))})
    for k in range(10):
        trackers.update([seen(9, RIGHT, k * PERIOD), seen(7, LEFT, k * PERIOD)], Transform.identity())
    targets = trackers.predict(10 * PERIOD)
    assert [target.name for target in targets] == ["tag 7", "tag 9"]
    assert np.allclose(targets[0].T_base_target.translation, (-0.2, 0.0, 1.1), atol=1e-3)
    assert np.allclose(targets[1].T_base_target.translation, (0.2, 0.0, 1.0), atol=1e-3)


def test_two_tags_with_one_id_that_pass_each_other_keep_their_tracks() -> None:
    trackers = TargetTrackers()
    rng = np.random.default_rng(0)
    for k in range(60):
        t = k * PERIOD
        estimates = [seen(7, T @ Transform.exp(rng.normal(0.0, SIGMA)), t) for T in crossing(t)]
        trackers.update(estimates if rng.random() < 0.5 else estimates[::-1], Transform.identity())
    t = 59 * PERIOD
    first, second = (tracker.predict(t) for tracker in trackers.of(7))
    assert first is not None
    assert second is not None
    places = {
        target.T_base_target.distance_to(T)[0] < 0.01 for target, T in zip((first, second), crossing(t), strict=True)
    }
    swapped = {
        target.T_base_target.distance_to(T)[0] < 0.01 for target, T in zip((second, first), crossing(t), strict=True)
    }
    assert {True} in (places, swapped)
    # Each went on steadily: had they swapped or merged, one would have turned round at the crossing.
    assert abs(first.twist[0]) == pytest.approx(0.2, abs=0.03)
    assert first.twist[0] * second.twist[0] < 0.0
    assert first.T_base_target.translation[0] * first.twist[0] > 0.0
    assert {first.name, second.name} == {"tag 7", "tag 7 #2"}


def test_one_of_two_tags_with_one_id_may_be_hidden_for_a_while() -> None:
    trackers = TargetTrackers()
    for k in range(30):
        hidden = 10 <= k < 20
        trackers.update([seen(7, T, k * PERIOD) for T in ((RIGHT,) if hidden else (LEFT, RIGHT))], Transform.identity())
        for tracker, T in zip(trackers.of(7), (LEFT, RIGHT), strict=False):
            target = tracker.predict(k * PERIOD)
            assert target is not None
            assert target.T_base_target.distance_to(T)[0] < 1e-3
    assert len(trackers.of(7)) == 2


@pytest.mark.parametrize("seed", range(8))
def test_a_tag_is_not_reported_where_its_namesake_is_after_it_was_covered(seed: int) -> None:
    def estimates(t: float, *places: float) -> list[PoseEstimate]:
        found: list[PoseEstimate] = []
        for x in places:
            corners = pixels(tag_corners(0.08), facing(x, 0.0, 0.6, tilt_deg=33), STRAIGHT)
            corners += rng.normal(0.0, 0.1, (4, 2))
            detection = TagDetection(tag_id=7, family="36h11", corners=corners, timestamp=t)
            found.append(estimate_pose(detection, 0.08, STRAIGHT))
        return found

    rng = np.random.default_rng(seed)
    trackers = TargetTrackers()
    for k in range(60):
        t = k * PERIOD
        trackers.update(estimates(t, *((0.0, 0.2) if k < 20 else (0.2,))), Transform.identity())
        first = trackers.predict(t)[0].T_base_target.translation[0] if trackers.predict(t) else np.nan
        assert not abs(first - 0.2) < 0.05 or len(trackers.predict(t)) == 1, "one tag is reported as two"
    (target,) = trackers.predict(59 * PERIOD)
    assert target.T_base_target.translation[0] == pytest.approx(0.2, abs=0.01)


def test_a_stream_that_begins_anew_begins_both_tags_anew() -> None:
    trackers = TargetTrackers()
    for start in (100.0, 0.0):
        for k in range(10):
            t = start + k * PERIOD
            trackers.update([seen(7, LEFT, t), seen(7, RIGHT, t)], Transform.identity())
        assert len(trackers.predict(start + 10 * PERIOD)) == 2
    assert len(trackers.of(7)) == 2


def test_a_tag_that_is_detected_twice_stays_one() -> None:
    trackers = TargetTrackers()
    near = LEFT @ Transform.from_translation((1e-3, 0.0, 0.0))
    trackers.update([seen(7, LEFT, 0.0)], Transform.identity())
    for k in range(1, 10):
        outcomes = trackers.update([seen(7, LEFT, k * PERIOD), seen(7, near, k * PERIOD)], Transform.identity())
        assert UpdateOutcome.IGNORED in outcomes
    assert len(trackers.of(7)) == 1


def test_a_stray_detection_with_a_tracked_id_is_not_believed_at_once() -> None:
    trackers = TargetTrackers()
    for k in range(10):
        stray = [seen(7, RIGHT, k * PERIOD)] if k == 5 else []
        trackers.update([seen(7, LEFT, k * PERIOD), *stray], Transform.identity())
    assert [target.name for target in trackers.predict(9 * PERIOD)] == ["tag 7"]


def test_a_tag_that_is_put_elsewhere_is_taken_up_there() -> None:
    trackers = TargetTrackers()
    for k in range(20):
        trackers.update([seen(7, LEFT if k < 10 else RIGHT, k * PERIOD)], Transform.identity())
    (target,) = trackers.predict(19 * PERIOD)
    assert target.T_base_target.distance_to(RIGHT)[0] < 1e-3


def test_reset_forgets_every_target() -> None:
    trackers = TargetTrackers()
    trackers.update([seen(7, LEFT, 0.0), seen(7, RIGHT, 0.0)], Transform.identity())
    trackers.reset()
    assert trackers.predict(0.0) == []
    assert trackers.of(7) == []
