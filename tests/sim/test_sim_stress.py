"""Pictures under bad conditions are what they say, and their truth is true."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from sim.stress import CONDITIONS, Conditions, Shot, clutter, lens_for, random_pose, random_shot, shoot
from sim.targets import PAPER, tag_texture
from vision_ik.types import Floats, tag_corners


def grey(shot: Shot) -> Floats:
    return shot.frame.image[:, :, 0].astype(np.float64)


def shot_under(conditions: Conditions, seed: int = 5) -> Shot:
    return random_shot("4x4_50", conditions, seed, tilt_deg=(0.0, 20.0), edge_px=(100.0, 110.0))


def on_border(shot: Shot, inward: float) -> Floats:
    """Return points (80, 2) [px] on squares around the tag's centre; ``inward`` 0.97 lies on its black border."""
    (corners,) = shot.corners.values()
    centre = corners.mean(axis=0)
    square = centre + inward * (corners - centre)
    t = np.linspace(0.0, 1.0, 20, endpoint=False)[:, None]
    return np.concatenate([a + t * (b - a) for a, b in zip(square, np.roll(square, -1, axis=0), strict=True)])


def sampled(shot: Shot, points: Floats) -> Floats:
    columns, rows = np.rint(points).astype(int).T
    return grey(shot)[rows, columns]


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_same_seed_gives_the_same_picture_under_every_condition(name: str) -> None:
    first, second = (random_shot("36h11", CONDITIONS[name], 3) for _ in range(2))
    assert np.array_equal(first.frame.image, second.frame.image)
    assert not np.array_equal(first.frame.image, random_shot("36h11", CONDITIONS[name], 4).frame.image)


def test_the_true_corners_enclose_the_black_border() -> None:
    shot = shot_under(Conditions())
    assert sampled(shot, on_border(shot, 0.95)).max() < 40.0
    assert sampled(shot, on_border(shot, 1.08)).min() > 200.0


def test_every_true_corner_lies_in_the_picture() -> None:
    rng = np.random.default_rng(0)
    lens = lens_for(320, 240, 300.0)
    for _ in range(50):
        T = random_pose(rng, lens, 0.1, edge_px=(30.0, 100.0), tilt_deg=(0.0, 70.0))
        normal = T.rotation[:, 2]
        sight = T.translation / np.linalg.norm(T.translation)
        assert np.arccos(-normal @ sight) <= np.deg2rad(70.0) + 1e-9
        uv = (lens.K @ T.apply(np.array([[-0.05, 0.05, 0], [0.05, -0.05, 0]])).T).T
        uv = uv[:, :2] / uv[:, 2:]
        assert (uv > 0.0).all()
        assert (uv < [320.0, 240.0]).all()


def test_a_target_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="fits a picture"):
        random_pose(np.random.default_rng(0), lens_for(100, 100), 0.1, edge_px=(300.0, 400.0))


def test_motion_blur_keeps_the_middle_of_the_tag_where_it_was() -> None:
    sharp, smeared = shot_under(Conditions()), shot_under(Conditions(motion_px=12.0))
    assert np.abs(grey(sharp) - grey(smeared)).max() > 60.0
    white = np.full((480, 640), PAPER, np.float32)
    size = 0.1
    texture, T = (
        tag_texture("4x4_50", 3, size, size / 8),
        random_pose(np.random.default_rng(1), lens_for(), size, edge_px=(100.0, 110.0)),
    )
    centroids = []
    for length in (0.0, 12.0):
        shot = shoot(
            texture, {3: tag_corners(size)}, T, lens_for(), Conditions(motion_px=length), seed=0, background=white
        )
        darkness = PAPER - grey(shot)
        rows, columns = np.mgrid[:480, :640]
        centroids.append([(darkness * rows).sum() / darkness.sum(), (darkness * columns).sum() / darkness.sum()])
    assert np.abs(np.subtract(*centroids)).max() < 0.02


def test_noise_has_the_stated_standard_deviation() -> None:
    quiet, noisy = shot_under(Conditions()), shot_under(Conditions(noise=6.0))
    inside = (grey(quiet) > 30.0) & (grey(quiet) < 220.0)
    assert np.std((grey(noisy) - grey(quiet))[inside]) == pytest.approx(6.0, rel=0.05)


def test_low_contrast_fades_the_print_alone() -> None:
    full, faded = shot_under(Conditions()), shot_under(Conditions(contrast=0.1))
    black, white = sampled(faded, on_border(faded, 0.95)), sampled(faded, on_border(faded, 1.08))
    assert white.mean() - black.mean() == pytest.approx(
        0.1 * (sampled(full, on_border(full, 1.08)).mean() - sampled(full, on_border(full, 0.95)).mean()), rel=0.15
    )


def test_a_shadow_darkens_one_side_and_crosses_the_tag() -> None:
    full, shaded = shot_under(Conditions()), shot_under(Conditions(shadow=0.4))
    ratio = (grey(shaded) / np.maximum(grey(full), 1.0))[grey(full) > 50.0]
    assert np.mean(np.abs(ratio - 0.4) < 0.03) + np.mean(np.abs(ratio - 1.0) < 0.03) > 0.95
    on_tag = sampled(shaded, on_border(shaded, 1.08)) / sampled(full, on_border(full, 1.08))
    assert on_tag.min() < 0.5
    assert on_tag.max() > 0.9


def test_a_cover_hides_the_stated_share_of_the_tag() -> None:
    for seed in range(10):
        shot = shot_under(Conditions(cover=(0.10, 0.22)), seed)
        assert 0.09 <= shot.covered <= 0.23
        (corners,) = shot.corners.values()
        clear = shot_under(Conditions(), seed)
        mask = np.zeros(grey(shot).shape, np.uint8)
        cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 1)
        changed = np.abs(grey(shot) - grey(clear))[mask > 0] > 5.0
        assert changed.mean() == pytest.approx(shot.covered, abs=0.03)


def test_dim_light_scales_the_whole_picture() -> None:
    full, dim = shot_under(Conditions()), shot_under(Conditions(light=0.1))
    assert np.abs(grey(dim) - 0.1 * grey(full)).max() <= 1.0


def test_clutter_holds_edges_and_flat_areas() -> None:
    picture = clutter(320, 240, np.random.default_rng(2))
    steps = np.abs(np.diff(picture, axis=1))
    assert picture.shape == (240, 320)
    assert np.mean(steps > 30.0) > 0.001
    assert np.mean(steps < 3.0) > 0.8


def test_conditions_can_be_combined() -> None:
    both = replace(CONDITIONS["hard shadow"], noise=0.0, cover=(0.2, 0.2))
    assert shot_under(both).covered == pytest.approx(0.2, abs=0.02)
