"""The wizard's check: what is kept of a result on disk predicts further views as the result itself does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import LENS, MOUNTS, detection, make_stage

from calibration import HandEyeView, calibrate_hand_eye, held_out_check
from calibration.lens.projection import project
from calibration.wizard.checking import check_result
from calibration.wizard.results import hand_eye_facts, parse_hand_eye
from vision_ik.rig import Mount
from vision_ik.transforms import Transform

_FRESH = 16
_PLACE = np.array([0.06, 0.04, 0.0])
_TAG = np.array([[0.0, 0.0, 0.0], [0.04, 0.0, 0.0], [0.04, 0.04, 0.0], [0.0, 0.04, 0.0]])


def _views(mount: Mount, seed: int) -> list[HandEyeView]:
    """Return views of one small tag, of which a single picture hardly tells which way it tilts."""
    rng = np.random.default_rng(seed)
    stage = make_stage(rng, mount, 22)
    views: list[HandEyeView] = []
    for view in stage.views:
        T_mount_holder = view.flange if mount == "eye_to_hand" else view.flange.inv()
        T_camera_board = stage.T_mount_camera.inv() @ T_mount_holder @ stage.T_holder_board
        uv, _ = project(T_camera_board.apply(_TAG + _PLACE), LENS)
        noisy = view.flange @ Transform.exp(np.repeat([0.5e-3, 1e-3], 3) * rng.normal(size=6))
        seen = detection(uv + 0.2 * rng.normal(size=uv.shape), _TAG)
        views.append(HandEyeView(T_base_flange=noisy, detection=seen))
    return views


@pytest.mark.parametrize("mount", MOUNTS)
def test_of_two_mirrored_poses_the_one_that_is_turned_as_expected_is_compared(mount: Mount) -> None:
    for seed in range(3):
        views = _views(mount, seed)
        result = calibrate_hand_eye(views[:_FRESH], intrinsics=LENS, mount=mount)
        bounds = {"tolerance_mm": 10.0, "tolerance_deg": 6.0}
        check = check_result(hand_eye_facts(result, LENS), views[_FRESH:], LENS, **bounds)
        assert check["error_deg"] < 6.0
        assert check["passed"] is True


def test_a_result_from_disk_puts_views_right_as_the_one_in_memory() -> None:
    stage = make_stage(np.random.default_rng(5), "eye_to_hand", 24, pixel=0.3, translation=0.2e-3, rotation=5e-4)
    views = [
        replace(v, detection=replace(v.detection, points_board=v.detection.points_board / 1.024)) for v in stage.views
    ]
    result = calibrate_hand_eye(views[:_FRESH], intrinsics=LENS)
    facts = json.loads(json.dumps(hand_eye_facts(result, LENS)))
    assert [estimate.name for estimate in parse_hand_eye(facts).terms] == ["board scale"]
    check = check_result(facts, views[_FRESH:], LENS, tolerance_mm=5.0, tolerance_deg=None)
    report, _ = held_out_check(result, views[_FRESH:], intrinsics=LENS)
    assert check["error_mm"] == pytest.approx(1e3 * report.error, rel=1e-6)
    assert check["expected_mm"] == pytest.approx(1e3 * report.sigma, rel=1e-6)
    assert check["passed"] is True
    assert check["consistent"] is True
