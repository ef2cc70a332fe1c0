"""Three views put a calibration right, say how sure that is, and contradict a board that moved."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, MOUNTS, Stage, detection, make_stage

from calibration import (
    ArmNoise,
    DriftState,
    DriftStatus,
    HandEyeResult,
    HandEyeView,
    Prior,
    calibrate_hand_eye,
    recalibrate,
)
from calibration.drift.explaining import Moved
from calibration.lens.projection import project
from calibration.views.sights import visible_poses
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount, Rig
from vision_ik.transforms import Transform

ARM = ArmNoise(translation=0.3e-3, rotation=float(np.deg2rad(0.05)))
BUMP = np.array([4e-3, -6e-3, 3e-3, 0.006, 0.004, -0.008])


@cache
def before(mount: Mount, seed: int) -> tuple[Stage, HandEyeResult]:
    stage = make_stage(
        np.random.default_rng(seed), mount, 12, pixel=0.3, translation=ARM.translation, rotation=ARM.rotation
    )
    return stage, calibrate_hand_eye(stage.views, intrinsics=LENS, mount=mount)


def views_after(stage: Stage, seed: int, *, n: int = 3, board: Transform | None = None) -> list[HandEyeView]:
    """Return views with the camera bumped, and the board at another place of its holder if one is given."""
    rng = np.random.default_rng((seed, 1))
    X, Y = stage.T_mount_camera @ Transform.exp(BUMP), stage.T_holder_board if board is None else board
    views: list[HandEyeView] = []
    for matrix in visible_poses(BOARD, LENS, 60 * n, rng)[:n]:
        T_mount_holder = X @ Transform(matrix) @ Y.inv()
        flange = T_mount_holder if stage.mount == "eye_to_hand" else T_mount_holder.inv()
        sigma = np.repeat([ARM.translation, ARM.rotation], 3)
        uv, _ = project(Transform(matrix).apply(BOARD.chess_corners), LENS)
        seen = detection(uv + 0.3 * rng.normal(size=uv.shape))
        views.append(HandEyeView(T_base_flange=flange @ Transform.exp(sigma * rng.normal(size=6)), detection=seen))
    return views


@pytest.mark.parametrize("mount", MOUNTS)
def test_three_views_find_the_camera_again_with_a_sigma_that_holds(mount: Mount) -> None:
    honesty: list[float] = []
    for seed in range(8):
        stage, old = before(mount, seed)
        done = recalibrate(old, views_after(stage, seed), intrinsics=LENS)
        truth = stage.T_mount_camera @ Transform.exp(BUMP)
        off = (done.result.T_mount_camera.inv() @ truth).log()
        honesty.append(float(off @ np.linalg.solve(done.result.covariance, off)) / 6.0)
        assert done.sigma_after.translation < 3e-3 < done.sigma_before.translation
        assert np.linalg.norm(done.twist[:3]) == pytest.approx(np.linalg.norm(BUMP[:3]), abs=6e-3)
        assert "3 views" in done.sentence
    assert 0.4 < np.mean(honesty) < 2.0


def test_what_the_monitor_saw_narrows_it_down() -> None:
    stage, old = before("eye_to_hand", 0)
    drift = DriftStatus(
        state=DriftState.WARNING,
        time=0.0,
        level=1.0,
        sentence="",
        moved=Moved.CAMERA,
        translation=float(np.linalg.norm(BUMP[:3])),
        rotation=float(np.linalg.norm(BUMP[3:])),
        shift=BUMP,
        shift_covariance=1e-8 * np.eye(6),
    )
    views = views_after(stage, 0, n=1)
    told, untold = (recalibrate(old, views, intrinsics=LENS, drift=d) for d in (drift, None))
    assert told.sigma_before.translation < 0.5 * untold.sigma_before.translation
    assert told.sigma_after.translation < untold.sigma_after.translation


def test_a_camera_that_is_said_not_to_have_moved_stays_where_it_was() -> None:
    stage, old = before("eye_to_hand", 0)
    nowhere = ArmNoise(translation=1e-7, rotation=1e-7)
    sure = replace(old, joint_covariance=1e-4 * old.joint_covariance)
    done = recalibrate(sure, stage.views[:3], intrinsics=LENS, may_have_moved=nowhere)
    assert done.result.T_mount_camera.distance_to(old.T_mount_camera)[0] < 2e-5


def test_a_board_that_moved_too_is_found_out() -> None:
    stage, old = before("eye_to_hand", 1)
    elsewhere = stage.T_holder_board @ Transform.exp([0.01, 0.0, 0.0, 0.0, 0.05, 0.0])
    with pytest.raises(CalibrationError, match="the board was moved too"):
        recalibrate(old, views_after(stage, 1, board=elsewhere), intrinsics=LENS)


def test_one_view_of_another_moment_is_named() -> None:
    stage, old = before("eye_in_hand", 2)
    views = views_after(stage, 2)
    views[1] = replace(views[1], T_base_flange=views[1].flange @ Transform.from_translation([0, 0, 0.02]), name="odd")
    with pytest.raises(CalibrationError, match="contradicts"):
        recalibrate(old, views, intrinsics=LENS)


def test_a_rig_alone_needs_more_views_and_gives_less() -> None:
    stage, old = before("eye_to_hand", 3)
    rig = Rig(robot="panda", mount="eye_to_hand", T_mount_camera=old.T_mount_camera, camera_covariance=old.covariance)
    prior = Prior.of_rig(rig)
    with pytest.raises(CalibrationError, match="at least 3"):
        recalibrate(prior, views_after(stage, 3, n=2), intrinsics=LENS)
    done = recalibrate(prior, views_after(stage, 3, n=6), intrinsics=LENS)
    assert done.result.T_mount_camera.distance_to(stage.T_mount_camera @ Transform.exp(BUMP))[0] < 6e-3
    full = recalibrate(old, views_after(stage, 3, n=6), intrinsics=LENS)
    assert full.sigma_after.translation < done.sigma_after.translation
