"""Noise levels of a calibration: found, at rest, and no surer than the views make them."""

from __future__ import annotations

import numpy as np
import pytest
from calibration_stage import LENS, MOUNTS, Stage, make_stage
from scipy.stats import chi2

from calibration import ArmNoise, calibrate_hand_eye, calibrate_hand_eye_poses, closed_form_hand_eye
from calibration.hand_eye.board_pose import all_board_poses
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.joint_fit import fit
from calibration.hand_eye.noise_levels import Variances, estimate_variances
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Floats

ARM = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))
START = Variances(0.3**2, 0.5e-3**2, float(np.deg2rad(0.1)) ** 2)
ALL = (True, True, True)


def cobot_stage(seed: int, mount: Mount, n: int) -> Stage:
    rng = np.random.default_rng(seed)
    return make_stage(rng, mount, n, pixel=0.3, translation=ARM.translation, rotation=ARM.rotation)


def normalised_error(found: Transform, covariance: Floats, stage: Stage) -> float:
    twist = (found.inv() @ stage.T_mount_camera).log()
    return float(twist @ np.linalg.solve(covariance, twist))


@pytest.mark.parametrize(("seed", "n"), [(8, 12), (3, 40)])
def test_levels_come_to_rest_where_the_arm_is_far_better_than_the_pictures(seed: int, n: int) -> None:
    translation = 0.05e-3 if n == 12 else 0.0
    stage = make_stage(np.random.default_rng(seed), "eye_in_hand", n, pixel=0.5, translation=translation)
    evidence = Corners([view.detection for view in stage.views], LENS)
    flanges = np.stack([view.flange.matrix for view in stage.views])
    X, Y = stage.T_mount_camera.matrix, stage.T_holder_board.matrix
    model = fit(evidence, flanges, stage.mount, X=X, Y=Y, start=START, free=ALL).model
    levels = [START]
    for _ in range(12):
        levels.append(estimate_variances(model, levels[-1], ALL))
    np.testing.assert_allclose(levels[-1].as_array(), levels[-2].as_array(), rtol=2e-3)


@pytest.mark.parametrize("told", [True, False], ids=["with covariances", "without"])
@pytest.mark.parametrize("mount", MOUNTS)
def test_pose_pairs_reach_the_least_error_possible(mount: Mount, told: bool) -> None:
    ours, closed, honesty = [], [], []
    for seed in range(25):
        stage = cobot_stage(seed, mount, 12)
        detections = [view.detection for view in stage.views]
        boards = all_board_poses(detections, LENS)[:, 0]
        # Left twists of the camera's frame become right ones of the board's.
        covariances = Corners(detections, LENS).linearise(boards).covariance * 0.3**2
        back = np.stack([Transform(T).inv().adjoint() for T in boards])
        result = calibrate_hand_eye_poses(
            np.stack([view.flange.matrix for view in stage.views]),
            boards,
            mount=mount,
            covariances=back @ covariances @ np.swapaxes(back, 1, 2) if told else None,
        )
        start = closed_form_hand_eye(stage.views, intrinsics=LENS, mount=mount)
        ours.append(result.T_mount_camera.distance_to(stage.T_mount_camera)[0])
        closed.append(start.distance_to(stage.T_mount_camera)[0])
        honesty.append(normalised_error(result.T_mount_camera, result.covariance, stage) / 6.0)
    assert 0.65 < np.mean(honesty) < 1.4
    assert np.mean(np.square(ours)) < 0.3 * np.mean(np.square(closed))


@pytest.mark.parametrize("mount", MOUNTS)
def test_the_stated_region_holds_the_truth_where_few_views_tell_the_noise(mount: Mount) -> None:
    held = []
    for seed in range(60):
        stage = cobot_stage(seed, mount, 6)
        result = calibrate_hand_eye(stage.views, intrinsics=LENS, mount=mount, systematics=())
        held.append(normalised_error(result.T_mount_camera, result.covariance, stage) < chi2.ppf(0.95, 6))
    assert np.mean(held) >= 0.9
