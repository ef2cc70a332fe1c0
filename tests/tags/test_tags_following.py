"""Markers are followed through what detectors cannot read, and never where they are not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import cv2
import numpy as np
import pytest
from tags_scene import facing

from sim.stress import Conditions, Ellipse, clutter, lens_for, shoot
from sim.targets import tag_texture
from vision_ik.tags import SearchResult, TagDetector, TagFollower, render_marker
from vision_ik.tags.following.follower import FollowSettings
from vision_ik.tags.following.windows import cut
from vision_ik.types import CameraIntrinsics, Detector, Floats, Frame, TagDetection, tag_corners

SIZE = 0.1
LENS = lens_for(320, 240, 300.0)
BARREL = CameraIntrinsics(K=LENS.K, distortion=np.array([-0.28, 0.09, 0.001, -0.0005, 0.0]), width=320, height=240)
FAMILY, TAG = "4x4_50", 7


@dataclass(frozen=True, kw_only=True)
class Seen:
    frame: Frame
    truth: Floats


def film(
    count: int,
    *,
    moving: float = 1.0,
    cover_speed: float = 0.0,
    covered_from: int = 3,
    distance_px: float = 46.0,
    lens: CameraIntrinsics = LENS,
    tag_id: int = TAG,
    x: float = 0.0,
) -> Iterator[Seen]:
    """Yield pictures of a tag that moves while something that lies over a part of its rim slides along."""
    texture = tag_texture(FAMILY, tag_id, SIZE, 0.025)
    background = clutter(lens.width, lens.height, np.random.default_rng(1))
    for k in range(count):
        t = k / 30.0
        T_camera_tag = facing(
            x + 0.05 * moving * np.sin(2.0 * t), 0.01, 0.45, roll_deg=20.0 + 25.0 * moving * t, tilt_deg=25.0
        )
        middle = T_camera_tag.apply(np.zeros((1, 3)))[0]
        uv = lens.K[:2, :2] @ (middle[:2] / middle[2]) + lens.K[:2, 2]
        angle = 0.6 + cover_speed * t
        centre = uv + distance_px * np.array([np.cos(angle), np.sin(angle)])
        cover = Ellipse(centre=centre, radii=(34.0, 26.0), angle=angle) if k >= covered_from else None
        shot = shoot(
            texture,
            {tag_id: tag_corners(SIZE)},
            T_camera_tag,
            lens,
            Conditions(noise=2.0),
            seed=k,
            timestamp=t,
            index=k,
            background=background,
            cover=cover,
        )
        yield Seen(frame=shot.frame, truth=shot.corners[tag_id])


def error(detection: TagDetection, truth: Floats) -> float:
    return float(np.abs(detection.corners - truth).max())


class Counting:
    """A detector that counts the pixels it looks at."""

    def __init__(self) -> None:
        self.inner = TagDetector(FAMILY)
        self.pixels: list[int] = []
        self.expected: list[int] = []

    def follower(self, settings: FollowSettings | None = None) -> TagFollower:
        follower = TagFollower(self.inner, settings=settings)
        search = self.inner.search

        def counted(
            frame: Frame, *, expected: Mapping[int, Floats] | None = None, **how: Unpack[SearchArguments]
        ) -> SearchResult:
            result = search(frame, expected=expected, **how)
            self.pixels.append(result.pixels)
            self.expected += expected or ()
            return result

        self.inner.search = counted  # pyright: ignore[reportAttributeAccessIssue]
        return follower


class SearchArguments(TypedDict, total=False):
    """What else a search is told."""

    rim: float
    regions_only: bool
    turn: int | None


def empty(k: int) -> Frame:
    """Return a noisy picture without a marker."""
    rng = np.random.default_rng(k)
    gray = clutter(LENS.width, LENS.height, np.random.default_rng(1))
    noisy = np.clip(gray + rng.normal(size=gray.shape) * 3.0, 0.0, 255.0).astype(np.uint8)
    return Frame(image=np.repeat(noisy[:, :, None], 3, axis=2), timestamp=k / 30.0, index=k, intrinsics=LENS)


def test_a_follower_is_a_detector() -> None:
    assert isinstance(TagFollower(TagDetector(FAMILY)), Detector)


@pytest.mark.parametrize("lens", [LENS, BARREL], ids=["straight", "barrel"])
@pytest.mark.parametrize(("moving", "cover_speed"), [(1.0, 0.0), (0.0, 2.0), (1.0, -2.0)])
def test_a_marker_is_followed_while_its_rim_is_covered(
    lens: CameraIntrinsics, moving: float, cover_speed: float
) -> None:
    follower = TagFollower(TagDetector(FAMILY))
    carried = 0
    for seen in film(14, moving=moving, cover_speed=cover_speed, lens=lens):
        (found,) = follower.detect(seen.frame)
        assert error(found, seen.truth) < 0.3
        assert found.covariance is not None
        carried += found.tracked
    assert carried >= 10


def test_hidden_corners_are_less_certain_and_the_covariance_covers_the_error() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    misses: list[float] = []
    for seen in film(20, cover_speed=1.0, distance_px=44.0):
        (found,) = follower.detect(seen.frame)
        assert found.covariance is not None
        if found.tracked:
            e = (found.corners - seen.truth).ravel()
            misses.append(float(e @ np.linalg.solve(found.covariance, e)) / 8.0)
            spread = np.diag(found.covariance).reshape(4, 2).sum(axis=1)
            assert spread.max() > 1.5 * spread.min()
    assert len(misses) > 10
    assert 0.1 < np.mean(misses) < 2.0


def test_what_is_wholly_covered_is_not_reported() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    for seen in film(12, distance_px=0.0, moving=0.0):
        found = follower.detect(seen.frame)
        assert len(found) == (1 if seen.frame.index < 3 else 0)


def test_a_hand_that_takes_the_marker_away_leaves_nothing_behind() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    background = clutter(LENS.width, LENS.height, np.random.default_rng(1))
    empty = cv2.cvtColor(background.astype(np.uint8), cv2.COLOR_GRAY2BGR)
    for seen in film(8):
        assert len(follower.detect(seen.frame)) == 1
    gone = Frame(image=np.asarray(empty, dtype=np.uint8), timestamp=1.0, index=99, intrinsics=LENS)
    assert follower.detect(gone) == []


def test_a_marker_swapped_for_another_is_not_reported_under_its_old_id() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    for seen in film(4, moving=0.0, covered_from=99):
        follower.detect(seen.frame)
    (other,) = [s for s in film(5, moving=0.0, covered_from=99, tag_id=TAG + 1) if s.frame.index == 4]
    assert [d.tag_id for d in follower.detect(other.frame)] == [TAG + 1]


def test_followed_frames_show_the_detector_nothing() -> None:
    counting = Counting()
    follower = counting.follower(FollowSettings(look_every=6))
    for seen in film(14, covered_from=99):
        assert len(follower.detect(seen.frame)) == 1
    assert counting.pixels == [320 * 240] * 2, "one look in the first frame, one after six others"


def test_a_marker_that_jumps_is_found_again_at_once() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    for seen in film(4, moving=0.0, covered_from=99):
        follower.detect(seen.frame)
    (jumped,) = [s for s in film(5, moving=0.0, covered_from=99, x=0.1) if s.frame.index == 4]
    (found,) = follower.detect(jumped.frame)
    assert error(found, jumped.truth) < 0.2
    assert not found.tracked


def test_a_blurred_marker_that_moves_up_and_left_is_followed() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    found = 0
    for k in range(12):
        image = np.full((240, 320, 3), 200, dtype=np.uint8)
        marker = render_marker(FAMILY, TAG, cell_px=5)
        x, y = 200 - 5 * k, 160 - 4 * k
        image[y : y + len(marker), x : x + len(marker)] = marker[:, :, None]
        blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), 2.2), dtype=np.uint8)
        detections = follower.detect(Frame(image=blurred, timestamp=k / 30.0, index=k, intrinsics=LENS))
        truth = np.array([[x, y], [x + 29, y], [x + 29, y + 29], [x, y + 29]], dtype=np.float64)
        assert all(error(d, truth) < 3.0 for d in detections)
        found += len(detections)
    assert found >= 6


def test_what_is_cut_out_beyond_the_picture_repeats_its_rim() -> None:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    image[0, 0], image[3, 5] = 100, 200
    assert (cut(image, (-9, -7, -4, -5)).gray == np.full((2, 5), 100)).all()
    assert (cut(image, (20, 30, 22, 33)).gray == np.full((3, 2), 200)).all()
    across = cut(image, (-2, -1, 8, 5))
    assert across.gray.shape == (6, 10)
    assert across.gray[0, 0] == across.gray[1, 2] == 100
    assert across.gray[5, 9] == across.gray[4, 7] == 200


def test_a_lost_marker_is_searched_for_by_its_id_around_its_place() -> None:
    counting = Counting()
    follower = counting.follower()
    for seen in film(4, moving=0.0, covered_from=99):
        follower.detect(seen.frame)
    (jumped,) = [s for s in film(5, moving=0.0, covered_from=99, x=0.02) if s.frame.index == 4]
    counting.pixels.clear()
    (found,) = follower.detect(jumped.frame)
    assert error(found, jumped.truth) < 0.2
    if counting.pixels:  # flow may have led there
        assert counting.expected == [TAG]
        assert sum(counting.pixels) < jumped.frame.image[:, :, 0].size


def test_frames_without_markers_share_one_ladder() -> None:
    counting = Counting()
    follower = counting.follower()
    for k in range(13):
        assert follower.detect(empty(k)) == []
    first, *later = counting.pixels
    assert len(later) == 12, "every frame is looked at"
    assert max(later) < 0.8 * first
    assert np.mean(later) < 0.4 * first


def test_frames_after_the_loss_of_all_markers_cost_little() -> None:
    counting = Counting()
    follower = counting.follower()
    for seen in film(4, moving=0.0, covered_from=99):
        follower.detect(seen.frame)
    costs: list[int] = []
    for k in range(4, 40):
        counting.pixels.clear()
        assert follower.detect(empty(k)) == []
        costs.append(sum(counting.pixels))
    whole = TagDetector(FAMILY).search(empty(40)).pixels
    assert costs[0] < 1.5 * whole, "around the marker's place with every rung, the whole picture with two"
    assert max(costs[1:]) < whole
    assert np.mean(costs) < 0.5 * whole


def test_a_faint_marker_that_appears_is_found_within_one_ladder() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    blank = np.full((240, 320, 3), 40, dtype=np.uint8)
    for k in range(5):
        assert follower.detect(Frame(image=blank, timestamp=k / 30.0, index=k, intrinsics=LENS)) == []
    (seen,) = film(1, covered_from=99)
    faint = np.clip(seen.frame.image * 0.06 + 20.0, 0.0, 255.0).astype(np.uint8)
    assert TagDetector(FAMILY).search(replace(seen.frame, image=faint)).passes > 2, "too easy for this test"
    found = [follower.detect(replace(seen.frame, image=faint, timestamp=k / 30.0, index=k)) for k in range(5, 5 + 7)]
    assert any(found)


def test_a_new_marker_with_corrected_bits_is_believed_when_it_is_seen_twice() -> None:
    def corrected(seen: Collection[int]) -> list[list[int]]:
        detector = TagDetector(FAMILY)
        corners = np.array([[60.0, 60.0], [100.0, 60.0], [100.0, 100.0], [60.0, 100.0]])

        def search(frame: Frame, **_: object) -> SearchResult:
            there = [TagDetection(tag_id=9, family=FAMILY, corners=corners, timestamp=frame.timestamp, hamming=1)]
            found = there if frame.index in seen else []
            return SearchResult(detections=found, passes=1, pixels=1, complete=bool(found))

        detector.search = search  # pyright: ignore[reportAttributeAccessIssue]
        follower = TagFollower(detector)
        return [[d.tag_id for d in follower.detect(empty(k))] for k in range(6)]

    assert corrected([0]) == [[]] * 6
    assert corrected([2]) == [[]] * 6
    assert corrected([2, 3]) == [[], [], [], [9], [], []]


def test_two_markers_with_one_id_stay_apart() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    pairs = zip(film(10, moving=0.3, x=-0.1), film(10, moving=0.3, x=0.1, covered_from=99), strict=True)
    for left, right in pairs:
        image = np.concatenate([left.frame.image[:, :160], right.frame.image[:, 160:]], axis=1)
        found = follower.detect(replace(left.frame, image=image))
        assert len(found) == 2
        by_x = sorted(found, key=lambda d: float(d.corners[0, 0]))
        assert error(by_x[0], left.truth) < 0.3
        assert error(by_x[1], right.truth) < 0.3


def test_time_that_goes_back_and_other_picture_sizes_begin_anew() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    frames = [seen.frame for seen in film(6)]
    for frame in frames:
        follower.detect(frame)
    assert follower.detect(frames[3]) == [], "the cover hides the marker from a follower that starts here"
    for frame in frames:
        follower.detect(frame)
    small = np.ascontiguousarray(frames[-1].image[:200])
    cut = replace(frames[-1], image=small, intrinsics=LENS.part(0.0, 0.0, 320, 200), timestamp=9.0)
    assert follower.detect(cut) == []


def test_markers_that_are_gone_are_forgotten() -> None:
    counting = Counting()
    follower = counting.follower(FollowSettings(keep_s=0.2))
    frames = list(film(3, covered_from=99))
    for seen in frames:
        follower.detect(seen.frame)
    blank = np.full_like(frames[0].frame.image, 128)
    for k in range(30):
        frame = Frame(image=blank, timestamp=1.0 + k / 30.0, index=k, intrinsics=LENS)
        assert follower.detect(frame) == []
    assert not follower.followed


def test_the_same_frames_give_the_same_results() -> None:
    frames = [seen.frame for seen in film(10, cover_speed=1.0)]
    runs = [
        [d.corners for frame in frames for d in follower.detect(frame)]
        for follower in (TagFollower(TagDetector(FAMILY)), TagFollower(TagDetector(FAMILY)))
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="Looks every 0 frames"):
        FollowSettings(look_every=0)


def test_nothing_is_made_of_pictures_without_markers() -> None:
    follower = TagFollower(TagDetector(FAMILY))
    lens = LENS.part(0.0, 0.0, 3, 3)
    tiny = Frame(image=np.zeros((3, 3, 3), np.uint8), timestamp=0.0, index=0, intrinsics=lens)
    assert follower.detect(tiny) == []
