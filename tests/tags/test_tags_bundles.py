"""Bundles: found as a whole, in space and through any of their tags, and learned from views alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tags_bundles import LENS, SIZE, around, cube, detection, sheet, sighted
from tags_scene import STRAIGHT, facing, frame_of, tag_view

from vision_ik.errors import CalibrationError
from vision_ik.tags import estimate_board_pose
from vision_ik.tags.boards.bundle_learning import LearnedBundle, learn_bundle
from vision_ik.tags.boards.bundles import consistent_tags, corner_sigmas
from vision_ik.tags.boards.detection import detect_board
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, TagBundle, TagDetection

CUBE, SHEET = cube(), sheet()


def test_two_tags_at_an_angle_are_found_in_one_picture_and_have_one_pose() -> None:
    T_camera_bundle = facing(0.0, 0.0, 0.3, tilt_deg=20)
    T_bundle_second = Transform.from_xyz_rpy((0.055, 0.0, -0.01), (0.0, 0.5, 0.2))
    bundle = TagBundle.of([(3, Transform.identity(), SIZE), (8, T_bundle_second, 0.03)])
    left = tag_view("36h11", 3, SIZE, T_camera_bundle, STRAIGHT)
    right = tag_view("36h11", 8, 0.03, T_camera_bundle @ T_bundle_second, STRAIGHT)
    found = detect_board(frame_of(np.where(right != 150, right, left), noise=1.0), bundle)
    assert found is not None
    assert found.tag_ids == (3, 8)
    assert found.layout is bundle
    pose = estimate_board_pose(found, STRAIGHT)
    assert pose is not None
    distance, angle = pose.T_camera_tag.distance_to(T_camera_bundle)
    assert distance < 5e-4
    assert angle < 5e-3


@pytest.mark.parametrize("bundle", [CUBE, SHEET], ids=["cube", "sheet"])
def test_a_loose_tag_with_an_id_of_the_bundle_is_left_out(bundle: TagBundle, rng: np.random.Generator) -> None:
    for _ in range(20):
        T_camera_bundle = around(bundle, rng)
        seen = sighted(bundle, T_camera_bundle, rng)
        if len(seen) < 3:
            continue
        loose = detection(seen[0].tag_id, seen[0].corners + np.array([40.0, 25.0]))
        assert consistent_tags([loose, *seen], bundle, LENS) == seen
        assert consistent_tags([loose, *seen[1:]], bundle, LENS) == seen[1:]


def test_corners_that_were_not_measured_weigh_little_beside_those_that_were() -> None:
    corners = np.array([[20.0, 20], [60, 20], [60, 60], [20, 60]])
    sure = replace(detection(0, corners), covariance=np.eye(8) * 0.01)
    assert corner_sigmas([detection(0, corners), detection(1, corners)]) is None
    mixed = corner_sigmas([sure, detection(1, corners)])
    assert mixed is not None
    np.testing.assert_allclose(mixed, [0.1] * 4 + [1.0] * 4)


def test_a_bundle_is_not_found_where_none_of_its_tags_is() -> None:
    assert detect_board(frame_of(np.full((240, 320), 150.0)), CUBE) is None


def views_of(
    bundle: TagBundle, count: int, rng: np.random.Generator, *, noise: float = 0.1
) -> list[list[TagDetection]]:
    return [sighted(bundle, around(bundle, rng), rng, noise=noise) for _ in range(count)]


def errors(learned: LearnedBundle, truth: TagBundle) -> tuple[float, float, list[float]]:
    """Return the worst errors [m], [rad], and the normalised squared error of each tag but the reference."""
    T_reference_bundle = truth.Ts_bundle_tag[learned.reference].inv()
    worst, nees = np.zeros(2), list[float]()
    for tag_id, T in learned.bundle.Ts_bundle_tag.items():
        T_reference_tag = T_reference_bundle @ truth.Ts_bundle_tag[tag_id]
        worst = np.maximum(worst, T.distance_to(T_reference_tag))
        if tag_id != learned.reference:
            e = (T.inv() @ T_reference_tag).log()
            nees.append(float(e @ np.linalg.solve(learned.covariances[tag_id], e)) / 6.0)
    return float(worst[0]), float(worst[1]), nees


@pytest.mark.parametrize("truth", [CUBE, SHEET], ids=["cube", "sheet"])
def test_a_bundle_is_learned_as_well_as_its_covariance_says(truth: TagBundle) -> None:
    nees: list[float] = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        learned = learn_bundle(views_of(truth, 60, rng), SIZE, LENS)
        assert set(learned.bundle.markers) == set(truth.markers)
        distance, angle, normalised = errors(learned, truth)
        assert distance < 2e-4
        assert angle < 5e-3
        nees += normalised
        assert learned.rms_px == pytest.approx(0.1, rel=0.3)
        assert not learned.left_out
    assert 0.6 < np.mean(nees) < 1.5  # chi-square over 150 and more degrees of freedom, some of them shared


def test_misread_tags_and_doubled_ids_do_not_spoil_what_is_learned(rng: np.random.Generator) -> None:
    views = views_of(CUBE, 80, rng)
    for k, view in enumerate(views):
        if k % 4 == 0 and view:
            view[0] = detection(view[0].tag_id, view[0].corners + rng.normal(size=2) * 15.0)
        if k % 5 == 0:
            view.append(detection(1, np.array([[20.0, 20], [60, 20], [60, 60], [20, 60]])))
    distance, angle, _ = errors(learn_bundle(views, SIZE, LENS), CUBE)
    assert distance < 3e-4
    assert angle < 1e-2


def test_tags_that_cannot_be_learned_are_left_out_with_the_reason(rng: np.random.Generator) -> None:
    views: list[list[TagDetection]] = []
    for k in range(60):
        T_camera_bundle = around(CUBE, rng)
        view = sighted(CUBE, T_camera_bundle, rng)
        alone = detection(20, np.array([[20.0, 20], [60, 20], [60, 60], [20, 60]]))
        loose = TagBundle.of([(30, Transform.exp(rng.normal(size=6) * (0.01, 0.01, 0.01, 0.3, 0.3, 0.3)), SIZE)])
        views.append([*view, *sighted(loose, T_camera_bundle, rng), detection(40, alone.corners + 300.0)])
        views.append([alone])
        if k < 2:
            views[-1].append(detection(50, alone.corners + np.array([200.0, 0.0])))
    sizes = dict.fromkeys([*CUBE.markers, 20, 30, 50], SIZE)
    learned = learn_bundle(views, sizes, LENS)
    assert set(learned.bundle.markers) == set(CUBE.markers)
    assert learned.reference == 0
    assert "no size" in learned.left_out[40]
    assert "30" in learned.left_out[30]
    assert "20" in learned.left_out[20]
    assert errors(learned, CUBE)[0] < 3e-4


def test_the_reference_may_be_chosen_and_is_the_frame(rng: np.random.Generator) -> None:
    learned = learn_bundle(views_of(CUBE, 60, rng), SIZE, LENS, reference=3)
    assert learned.reference == 3
    assert learned.bundle.Ts_bundle_tag[3].distance_to(Transform.identity()) == pytest.approx((0, 0), abs=1e-12)
    assert not learned.covariances[3].any()
    assert errors(learned, CUBE)[0] < 2e-4


def test_views_that_connect_no_tags_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(CalibrationError, match="No two tags") as caught:
        learn_bundle([view[:1] for view in views_of(CUBE, 30, rng)], SIZE, LENS)
    assert "two tags or more" in caught.value.remedy
    with pytest.raises(CalibrationError, match="Tag 9"):
        learn_bundle(views_of(CUBE, 30, rng), SIZE, LENS, reference=9)
    with pytest.raises(ValueError, match="positive and finite"):
        learn_bundle(views_of(CUBE, 30, rng), float("nan"), LENS)


def test_all_corners_of_a_cube_give_a_better_pose_than_its_best_tag(rng: np.random.Generator) -> None:
    together: list[float] = []
    for _ in range(40):
        T = around(CUBE, rng)
        seen = consistent_tags(sighted(CUBE, T, rng, noise=0.3), CUBE, LENS)
        if len(seen) < 2:
            continue
        found = BoardDetection(
            points_board=np.concatenate([CUBE.markers[d.tag_id] for d in seen]),
            points_image=np.concatenate([d.corners for d in seen]),
            timestamp=0.0,
        )
        pose = estimate_board_pose(found, LENS)
        assert pose is not None
        together.append(pose.T_camera_tag.distance_to(T)[0])
    assert len(together) > 20
    assert max(together) < 3e-3  # no flips: the faces fix each other's tilt


def test_an_id_that_two_tags_of_the_body_have_is_named(rng: np.random.Generator) -> None:
    def with_twin(view: list[TagDetection], tag_id: int) -> list[TagDetection]:
        return [*view, *(detection(tag_id, d.corners + 90.0) for d in view if d.tag_id == tag_id)]

    views = views_of(CUBE, 40, rng)
    learned = learn_bundle([with_twin(view, 3) for view in views], SIZE, LENS)
    assert 3 not in learned.bundle.sizes
    assert "Tag 3 was seen more than once in" in learned.left_out[3]
    one = max(views, key=len)
    twin = one[0].tag_id
    with pytest.raises(CalibrationError, match=f"more than once in a picture: {twin}\\.") as caught:
        learn_bundle([with_twin(one, twin)], SIZE, LENS)
    assert "an id of its own" in caught.value.remedy
    assert caught.value.facts["doubled"] == [twin]
