"""The ladder finds what the first look misses, within its budget, and reads nothing into clutter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from tags_scene import STRAIGHT, facing, frame_of, pixels, tag_view

from vision_ik.tags import Budget, TagDetector, TemporalGate
from vision_ik.tags.detection.deblur import motion_path, without_motion
from vision_ik.tags.detection.detector import Backend
from vision_ik.types import CameraIntrinsics, Floats, Frame, TagDetection, tag_corners

SIZE = 0.05
T_CAMERA_TAG = facing(0.01, -0.005, 0.25, roll_deg=25, tilt_deg=25)
TRUTH = pixels(tag_corners(SIZE), T_CAMERA_TAG, STRAIGHT)
FAMILIES = ["36h11", "4x4_50"]


def plain(family: str = "36h11") -> Floats:
    """Return a picture of tag 3 in full light."""
    return tag_view(family, 3, SIZE, T_CAMERA_TAG, STRAIGHT)


def shaded(brightness: Floats) -> Floats:
    """Return the picture with a hard shadow over one side of the tag."""
    columns = np.arange(brightness.shape[1])
    return np.asarray(brightness * np.where(columns < TRUTH[:, 0].mean(), 0.3, 1.0), dtype=np.float64)


def smeared(brightness: Floats, path: tuple[float, float]) -> Floats:
    """Return the picture averaged over a straight path [px]."""
    along = np.linspace(-0.5, 0.5, 81)
    height, width = brightness.shape
    shifts = [np.array([[1, 0, t * path[0]], [0, 1, t * path[1]]], dtype=np.float32) for t in along]
    moved = [cv2.warpAffine(brightness, A, (width, height), borderMode=cv2.BORDER_REPLICATE) for A in shifts]
    return np.asarray(np.mean(moved, axis=0), dtype=np.float64)


def ids(detections: list[TagDetection]) -> list[int]:
    return [d.tag_id for d in detections]


def on_the_tag(found: list[TagDetection], tolerance: float) -> bool:
    return ids(found) == [3] and float(np.abs(found[0].corners - TRUTH).max()) < tolerance


@pytest.mark.parametrize("family", FAMILIES)
def test_tags_in_the_dark_in_haze_in_shadow_and_in_motion_are_found(family: str) -> None:
    detector = TagDetector(family)
    dark = frame_of(0.06 * plain(family), noise=1.5)
    faint = frame_of(128.0 + 0.1 * (plain(family) - 128.0), noise=1.5)
    shadow = frame_of(shaded(plain(family)), noise=1.5)
    motion = frame_of(smeared(plain(family), (11.0, 5.0)), noise=1.5)
    for frame in (dark, faint, shadow):
        assert on_the_tag(detector.detect(frame), 0.6)
    assert on_the_tag(detector.detect(motion), 1.5)


@pytest.mark.parametrize("backend", ["apriltag", "opencv"])
def test_the_libraries_climb_the_ladder_too(backend: Backend) -> None:
    frame = frame_of(shaded(plain()), noise=1.0)
    result = TagDetector("36h11", backend=backend).search(frame)
    assert on_the_tag(result.detections, 0.6)
    assert result.passes > 1


def test_the_path_of_a_smear_is_read_off_the_picture_and_undone() -> None:
    rng = np.random.default_rng(2)
    blocks = np.full((240, 320), 120.0)
    for left, top, right, bottom in rng.integers(0, 240, (40, 4)):
        blocks[min(top, bottom) : max(top, bottom), min(left, right) : max(left, right) + 20] = rng.uniform(30, 220)
    moved = frame_of(smeared(blocks, (9.0, -6.0)), noise=1.0).image[:, :, 0]
    path = motion_path(moved)
    assert path is not None
    truth = np.array([9.0, -6.0])
    assert min(np.linalg.norm(path - truth), np.linalg.norm(path + truth)) < 1.5
    still = without_motion(moved, truth, 1.0)
    # Edges are steps again: the noise is louder too, but the worst error at an edge is not.
    inside = slice(20, -20), slice(20, -20)
    before, after = (np.abs(picture[inside] - blocks[inside]) for picture in (moved, still))
    assert np.percentile(after, 99) < 0.7 * np.percentile(before, 99)


def test_an_expected_tag_costs_its_region_alone() -> None:
    frame = frame_of(plain(), noise=1.5)
    result = TagDetector().search(frame, expected={3: TRUTH + 4.0})
    assert (result.passes, result.complete) == (1, True)
    assert result.pixels < 0.4 * frame.image[:, :, 0].size
    assert on_the_tag(result.detections, 0.2)


def test_a_tag_that_is_not_where_it_was_expected_is_found_in_the_frame() -> None:
    frame = frame_of(plain(), noise=1.5)
    result = TagDetector().search(frame, expected={3: TRUTH + np.array([-120.0, 60.0])})
    assert on_the_tag(result.detections, 0.2)
    far_outside = TagDetector().search(frame, expected={3: TRUTH + 5000.0})
    assert on_the_tag(far_outside.detections, 0.2)


def test_the_search_goes_on_for_what_is_wanted_and_stops_where_nothing_is() -> None:
    bright = tag_view("36h11", 3, 0.03, facing(-0.06, 0, 0.25), STRAIGHT)
    dim = 128.0 + 0.08 * (tag_view("36h11", 8, 0.03, facing(0.06, 0, 0.25), STRAIGHT) - 128.0)
    frame = frame_of(np.where(np.arange(320)[None, :] < 160, bright, dim), noise=1.0)
    detector = TagDetector()
    assert ids(detector.detect(frame)) == [3]
    both = detector.search(frame, wanted=[3, 8])
    assert ids(both.detections) == [3, 8]
    assert both.complete
    missing = detector.search(frame, wanted=[3, 9])
    assert ids(missing.detections)[0] == 3
    assert not missing.complete


@pytest.mark.parametrize("budget", [Budget(passes=1, frames=100.0), Budget(passes=100, frames=0.1), Budget(frames=2.0)])
def test_an_empty_frame_costs_no_more_than_the_budget(budget: Budget) -> None:
    frame = frame_of(np.full((240, 320), 128.0), noise=2.0)
    result = TagDetector(budget=budget).search(frame)
    assert not result.detections
    assert not result.complete
    assert result.passes <= budget.passes
    assert result.pixels <= max(budget.frames, 1.0) * 240 * 320


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pass"):
        Budget(passes=0)
    with pytest.raises(ValueError, match="some pixels"):
        Budget(frames=float("nan"))


@pytest.mark.parametrize("corners", [np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_predicted_corners_that_are_none_are_refused(corners: Floats) -> None:
    with pytest.raises(ValueError, match="tag 5 must be"):
        TagDetector().search(frame_of(plain()), expected={5: corners})


def test_the_same_frame_gives_the_same_result_in_every_thread() -> None:
    frames = [
        frame_of(0.06 * plain(), noise=1.5),
        frame_of(shaded(plain()), noise=1.5),
        frame_of(smeared(plain(), (11.0, 5.0)), noise=1.5),
    ]
    detector = TagDetector()
    alone = [detector.search(frame) for frame in frames]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(detector.search, frames * 3))
    for k, result in enumerate(together):
        first = alone[k % 3]
        assert (result.passes, result.pixels) == (first.passes, first.pixels)
        np.testing.assert_array_equal(result.detections[0].corners, first.detections[0].corners)


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (4, 4), (7, 5), (16, 3), (48, 64)])
@pytest.mark.parametrize("backend", ["soft", "apriltag", "opencv"])
def test_scraps_of_a_picture_show_nothing_and_break_nothing(shape: tuple[int, int], backend: Backend) -> None:
    lens = CameraIntrinsics.from_field_of_view(shape[1], shape[0])
    rng = np.random.default_rng(0)
    detector = TagDetector(backend=backend, budget=Budget(frames=100.0))
    for image in (np.zeros((*shape, 3)), rng.integers(0, 256, (*shape, 3))):
        frame = Frame(image=image.astype(np.uint8), timestamp=0.0, index=0, intrinsics=lens)
        assert detector.search(frame, expected={1: np.array([[0, 0], [3, 0], [3, 3], [0, 3.0]])}).detections == []


def test_half_a_frame_shows_half_the_tags() -> None:
    """A transfer that broke off leaves the lower half grey: what is cut in two is not read."""
    top = tag_view("36h11", 3, 0.03, facing(-0.05, -0.04, 0.25), STRAIGHT)
    middle = tag_view("36h11", 7, 0.03, facing(0.05, 0.0, 0.25), STRAIGHT)
    scene = np.where(np.arange(320)[None, :] < 160, top, middle)
    assert ids(TagDetector().detect(frame_of(scene))) == [3, 7]
    scene[121:] = 128.0
    assert ids(TagDetector().search(frame_of(scene), wanted=[3, 7]).detections) == [3]


def test_a_mirrored_tag_is_not_read() -> None:
    for family in FAMILIES:
        mirrored = frame_of(plain(family)[:, ::-1].copy())
        assert TagDetector(family).detect(mirrored) == []


def test_detections_carry_the_covariance_of_their_corners() -> None:
    (quiet,) = TagDetector().detect(frame_of(plain(), noise=1.0))
    (noisy,) = TagDetector().detect(frame_of(plain(), noise=15.0))
    assert quiet.covariance is not None
    assert noisy.covariance is not None
    assert np.trace(noisy.covariance) > 4.0 * np.trace(quiet.covariance)


def test_a_corrected_newcomer_waits_for_a_second_frame() -> None:
    def seen(t: float, *, hamming: int, at: float = 0.0) -> list[TagDetection]:
        corners = TRUTH + at
        return [TagDetection(tag_id=3, family="36h11", corners=corners, timestamp=t, hamming=hamming)]

    gate = TemporalGate(memory_s=0.5)
    assert gate.pass_on(seen(0.0, hamming=1)) == []
    assert ids(gate.pass_on(seen(0.1, hamming=1, at=5.0))) == [3]
    assert gate.pass_on(seen(2.0, hamming=1)) == []  # forgotten in the meantime
    assert gate.pass_on(seen(2.1, hamming=1, at=500.0)) == []  # elsewhere: not the same
    assert ids(gate.pass_on(seen(2.2, hamming=0, at=90.0))) == [3]
    assert ids(TemporalGate().pass_on(seen(0.0, hamming=2), sure=[3])) == [3]


def test_the_gate_forgets_markers_that_are_gone() -> None:
    gate = TemporalGate(memory_s=0.5)
    for k in range(20):
        gate.pass_on([TagDetection(tag_id=k, family="36h11", corners=TRUTH, timestamp=0.1 * k)])
    assert gate.remembered == (14, 15, 16, 17, 18, 19)


def test_a_search_of_regions_only_does_not_look_elsewhere() -> None:
    frame = frame_of(plain())
    away = TRUTH + np.array([-120.0, 60.0])
    nothing = TagDetector().search(frame, expected={3: away}, regions_only=True)
    assert not nothing.detections
    assert not nothing.complete
    assert on_the_tag(TagDetector().search(frame, expected={3: away}, rim=200.0, regions_only=True).detections, 0.3)


def test_searches_in_turn_share_one_ladder() -> None:
    frame = frame_of(np.clip(plain() * 0.04 + 20.0, 0.0, 255.0))
    whole = TagDetector().search(frame)
    assert on_the_tag(whole.detections, 0.5)
    assert whole.passes > 2, "the picture is too easy for this test"
    shared = [TagDetector().search(frame, turn=k) for k in range(6)]
    assert max(result.passes for result in shared) == 2
    assert any(on_the_tag(result.detections, 0.5) for result in shared)
    assert not all(result.complete for result in shared)
