"""The tip of a tool from touches of one point: exact, as sure as stated, and honest about poor touches."""

from __future__ import annotations

import numpy as np
import pytest
from calibration_touches import COBOT, POINT, TIP, touches

from calibration import ArmNoise, calibrate_tool_tip, orient_tool, suggest_touch
from vision_ik.errors import CalibrationError
from vision_ik.transforms import Transform


def test_exact_touches_give_the_exact_tip_and_point() -> None:
    result = calibrate_tool_tip(touches(np.random.default_rng(0), 6))
    np.testing.assert_allclose(result.tip, TIP, atol=1e-9)
    np.testing.assert_allclose(result.point, POINT, atol=1e-9)
    assert result.used == 6
    assert not result.warnings


def test_the_covariance_says_how_wrong_the_tip_is() -> None:
    scores: list[float] = []
    errors: list[float] = []
    for seed in range(60):
        result = calibrate_tool_tip(touches(np.random.default_rng(seed), 8, COBOT))
        error = result.tip - TIP
        scores.append(float(error @ np.linalg.solve(result.tip_covariance, error)) / 3.0)
        errors.append(float(np.linalg.norm(error)))
    assert 0.6 < np.mean(scores) < 1.5
    assert np.sqrt(np.mean(np.square(errors))) < 0.6e-3


def test_noise_of_rotation_counts_with_the_length_of_the_tool() -> None:
    noise = ArmNoise(translation=0.01e-3, rotation=np.deg2rad(0.3))
    short, long = (
        calibrate_tool_tip(touches(np.random.default_rng(3), 10, tip=np.array([0.0, 0.0, z])), arm_sigma=noise)
        for z in (0.1, 0.4)
    )
    assert long.sigma_translation == pytest.approx(4.0 * short.sigma_translation, rel=0.1)
    assert short.sigma_translation > 20.0 * noise.translation


def test_given_noise_is_not_estimated() -> None:
    noise = ArmNoise(translation=1e-3, rotation=1e-3)
    result = calibrate_tool_tip(touches(np.random.default_rng(1), 8, COBOT), arm_sigma=noise)
    assert not result.noise_estimated
    assert result.arm_sigma.translation == pytest.approx(1e-3)
    assert result.sigma_translation > calibrate_tool_tip(touches(np.random.default_rng(1), 8, COBOT)).sigma_translation


@pytest.mark.parametrize("missed_mm", [3.0, 20.0])
def test_a_bad_touch_is_named_and_left_out(missed_mm: float) -> None:
    rng = np.random.default_rng(5)
    Ts = touches(rng, 8, COBOT)
    away = rng.normal(size=3)
    Ts[4] = Transform.from_translation(1e-3 * missed_mm * away / np.linalg.norm(away)) @ Ts[4]
    result = calibrate_tool_tip(Ts, names=[f"t{i}" for i in range(8)])
    bad = [touch for touch in result.touches if not touch.used]
    assert [touch.name for touch in bad] == ["t4"]
    assert "misses the point of the others" in bad[0].reason
    without = calibrate_tool_tip(Ts[:4] + Ts[5:])
    np.testing.assert_allclose(result.tip, without.tip, atol=1e-6)


def test_a_run_of_bad_touches_points_to_a_point_that_moved() -> None:
    Ts = touches(np.random.default_rng(6), 10, COBOT)
    moved = [Transform.from_translation([0.02, 0.0, 0.0]) @ T for T in Ts[7:]]
    result = calibrate_tool_tip(Ts[:7] + moved)
    assert [touch.used for touch in result.touches] == [True] * 7 + [False] * 3
    assert any("moved" in warning for warning in result.warnings)


def test_touches_repeated_exactly_count_once() -> None:
    Ts = touches(np.random.default_rng(7), 6, COBOT)
    result = calibrate_tool_tip([*Ts, Ts[2]])
    assert not result.touches[6].used
    assert "repeats" in result.touches[6].reason
    np.testing.assert_allclose(result.tip, calibrate_tool_tip(Ts).tip, atol=1e-9)


def test_too_few_touches_are_refused() -> None:
    with pytest.raises(CalibrationError, match="Only 2 different touches"):
        calibrate_tool_tip(touches(np.random.default_rng(0), 2))
    with pytest.raises(CalibrationError, match="Only 0"):
        calibrate_tool_tip([])


def test_touches_about_one_axis_are_refused_and_the_blind_direction_is_named() -> None:
    with pytest.raises(CalibrationError, match=r"about one axis only: along the flange's z axis") as refused:
        calibrate_tool_tip(touches(np.random.default_rng(0), 8, COBOT, tilt_deg=0.0))
    assert float(str(refused.value.facts["predicted_sigma"])) > 0.05


def test_touches_all_alike_are_refused() -> None:
    with pytest.raises(CalibrationError, match="degrees at most"):
        calibrate_tool_tip(touches(np.random.default_rng(0), 8, COBOT, tilt_deg=0.5, turn_deg=0.5))


def test_small_tilts_are_warned_about_with_the_predicted_sigma() -> None:
    result = calibrate_tool_tip(touches(np.random.default_rng(0), 8, COBOT, tilt_deg=10.0))
    assert any("along the flange's z axis the tip is known to" in warning for warning in result.warnings)
    assert result.tip_covariance[2, 2] > 4.0 * result.tip_covariance[0, 0]


def test_inverse_poses_are_refused_for_the_tool_they_would_make() -> None:
    with pytest.raises(CalibrationError, match=r"510 mm from the flange.* the inverse.*invert each pose"):
        calibrate_tool_tip([T.inv() for T in touches(np.random.default_rng(0), 8, COBOT)])


def test_a_tool_longer_than_usual_is_believed_where_the_point_is_out_of_its_reach() -> None:
    long = np.array([0.05, 0.0, 0.45])
    result = calibrate_tool_tip(touches(np.random.default_rng(0), 8, COBOT, tip=long))
    assert np.linalg.norm(result.tip - long) < 5e-3
    assert not result.warnings


def test_poses_that_share_no_point_are_refused() -> None:
    rng = np.random.default_rng(0)
    Ts = [T @ Transform.exp(0.5 * rng.normal(size=6)) for T in touches(rng, 8)]
    with pytest.raises(CalibrationError, match="share no point"):
        calibrate_tool_tip(Ts)


def test_millimetres_are_named() -> None:
    Ts = [Transform.from_parts(T.rotation, 1000.0 * T.translation) for T in touches(np.random.default_rng(0), 8)]
    with pytest.raises(CalibrationError, match="millimetres"):
        calibrate_tool_tip(Ts)


def test_the_suggested_touch_makes_the_tip_surer_than_a_random_one() -> None:
    rng = np.random.default_rng(2)
    Ts = touches(rng, 4, tilt_deg=15.0)
    suggested = suggest_touch(Ts, tip=TIP, point=POINT)
    assert suggested is not None
    np.testing.assert_allclose(suggested.T_base_flange.apply(TIP), POINT, atol=1e-9)
    assert suggested.sigma_after < suggested.sigma_before
    noise = ArmNoise(translation=0.3e-3, rotation=1e-3)

    def sigma(more: Transform) -> float:
        return calibrate_tool_tip([*Ts, more], arm_sigma=noise).sigma_translation

    others = [sigma(T) for T in touches(rng, 10, tilt_deg=40.0)]
    assert sigma(suggested.T_base_flange) < min(others)


def test_no_touch_is_suggested_where_none_can_be_reached() -> None:
    assert suggest_touch(touches(np.random.default_rng(0), 1), accept=lambda _: False) is None


def test_the_axis_of_a_tool_goes_through_its_points() -> None:
    z = np.array([0.1, -0.2, 1.0]) / np.linalg.norm([0.1, -0.2, 1.0])
    scores: list[float] = []
    for seed in range(0, 60, 2):
        tip = calibrate_tool_tip(touches(np.random.default_rng(seed), 8, COBOT))
        behind = calibrate_tool_tip(touches(np.random.default_rng(seed + 1), 8, COBOT, tip=TIP - 0.08 * z))
        tool = orient_tool(tip, [behind])
        off = np.cross(tool.T_flange_tool.rotation[:, 2], z) @ tool.T_flange_tool.rotation[:, :2]
        scores.append(float(off @ np.linalg.solve(tool.covariance[3:5, 3:5], off)) / 2.0)
        assert tool.T_flange_tool.rotation[:, 2] @ z > 0.999
    assert 0.5 < np.mean(scores) < 1.8


def test_points_too_near_to_each_other_give_no_axis() -> None:
    tip = calibrate_tool_tip(touches(np.random.default_rng(0), 8, COBOT))
    near = calibrate_tool_tip(touches(np.random.default_rng(1), 8, COBOT, tip=TIP - [0.0, 0.0, 1e-3]))
    with pytest.raises(CalibrationError, match="mm apart"):
        orient_tool(tip, [near])
