"""Where a calibration starts, and how much of it may be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from calibration_stage import LENS, MOUNTS, Stage, detection, make_stage

from calibration import HandEyeView, batch, calibrate_hand_eye
from calibration.hand_eye.board_pose import all_board_poses
from calibration.hand_eye.chain import arm_poses
from calibration.hand_eye.consensus import Start, find_start
from calibration.hand_eye.evidence import Corners
from calibration.lens.projection import project
from vision_ik.cli.benches._hand_eye_cells import LENS as CELL_LENS
from vision_ik.cli.benches._hand_eye_cells import Cell, draw
from vision_ik.rig import Mount
from vision_ik.transforms import Transform


def cobot_stage(rng: np.random.Generator, mount: Mount, n: int) -> Stage:
    return make_stage(rng, mount, n, pixel=0.3, translation=0.3e-3, rotation=float(np.deg2rad(0.05)))


def start_of(views: list[HandEyeView], mount: Mount, *, seed: int = 0) -> Start:
    detections = [view.detection for view in views]
    candidates = all_board_poses(detections, LENS)
    corners = Corners(detections, LENS)
    spreads = np.full((*candidates.shape[:2], 6, 6), np.nan)
    for k in range(2):
        known = batch.posed(candidates[:, k])
        spreads[known, k] = 0.09 * corners.select(known).linearise(candidates[known, k]).covariance
    arms = arm_poses(np.stack([view.flange.matrix for view in views]), mount)
    return find_start(arms, candidates, spreads, corners.centres, np.random.default_rng(seed))


def exchanged(stage: Stage, bad: list[int], rng: np.random.Generator) -> list[HandEyeView]:
    """Return the views with poses that belong to no picture in place of the ``bad`` ones."""
    views = list(stage.views)
    for i in bad:
        anywhere = Transform.exp(rng.normal(size=6)) @ views[i].flange
        views[i] = HandEyeView(T_base_flange=anywhere, detection=views[i].detection)
    return views


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize(("views", "bad"), [(10, 3), (20, 8)])
def test_views_that_agree_are_found_among_others_that_do_not(mount: Mount, views: int, bad: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        stage = cobot_stage(rng, mount, views)
        chosen: list[int] = rng.permutation(views)[:bad].tolist()
        start = start_of(exchanged(stage, chosen, rng), mount)
        assert not start.agree[chosen].any()
        assert start.agree.sum() >= 0.6 * (views - bad)
        metres, angle = Transform(start.X).distance_to(stage.T_mount_camera)
        assert metres < 0.02
        assert angle < np.deg2rad(1.5)


def test_a_small_tag_may_stand_in_either_tilt() -> None:
    few = np.array([[-0.025, -0.025, 0.0], [0.025, -0.025, 0.0], [0.025, 0.025, 0.0], [-0.025, 0.025, 0.0]])
    rng = np.random.default_rng(3)
    stage = cobot_stage(rng, "eye_to_hand", 14)
    views: list[HandEyeView] = []
    for view in stage.views:
        arm = stage.T_mount_camera.inv() @ view.flange @ stage.T_holder_board
        uv = project(arm.apply(few), LENS)[0] + 0.3 * rng.normal(size=(4, 2))
        views.append(HandEyeView(T_base_flange=view.flange, detection=detection(uv, few)))
    metres, _ = Transform(start_of(views, "eye_to_hand").X).distance_to(stage.T_mount_camera)
    assert metres < 0.03


def test_the_noise_of_a_precise_arm_is_not_taken_for_that_of_a_usual_one() -> None:
    found = []
    for seed in range(12):
        trial = draw(Cell(mount="eye_in_hand", arm="industrial", views=10), seed)
        result = calibrate_hand_eye(trial.views, intrinsics=CELL_LENS, mount="eye_in_hand", systematics=())
        found.append((result.arm_sigma.translation, result.arm_sigma.rotation))
    translation, rotation = np.median(found, axis=0)
    assert translation < 0.15e-3
    assert rotation < np.deg2rad(0.03)


def test_a_few_bad_views_are_not_taken_for_all_being_paired_wrongly() -> None:
    trial = draw(Cell(mount="eye_to_hand", views=10, outliers=0.3), 44)
    result = calibrate_hand_eye(trial.views, intrinsics=CELL_LENS, mount="eye_to_hand")
    assert trial.error(result.T_mount_camera)[0] < 3.0 * trial.bound_m
