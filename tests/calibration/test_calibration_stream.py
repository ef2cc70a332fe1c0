"""Calibration from an arm in motion: the camera's place and the clocks' offset from pictures and a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from calibration_stage import BOARD, LENS, MOUNTS

from calibration import FlangeRecording, batch, calibrate_hand_eye_stream
from calibration.lens.projection import project
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, Floats


@dataclass(frozen=True)
class Stream:
    """Pictures stamped late, and the arm's recording."""

    T_mount_camera: Transform
    detections: list[BoardDetection]
    recording: FlangeRecording


def sights(times: Floats) -> Floats:
    """Return (N, 4, 4) Ts_camera_board of a board that sways before the camera, all of it in sight."""
    middle = BOARD.chess_corners.mean(axis=0)
    phase = np.sin(np.outer(times, [1.3, 1.7, 0.9, 1.1, 0.8, 1.9]) + np.arange(6.0))
    sway = batch.exp(phase * [0.04, 0.03, 0.06, 0.5, 0.45, 0.6])
    return Transform.from_translation([0.0, 0.0, 0.45]).matrix @ sway @ Transform.from_translation(-middle).matrix


def stream(mount: Mount, delay: float) -> Stream:
    rng = np.random.default_rng(5)
    X = Transform.from_translation([0.7, 0.1, 0.5]) @ Transform.exp(np.array([0.0, 0.0, 0.0, 0.4, -1.9, 0.6]))
    Y = Transform.from_translation([-0.1, -0.07, 0.03]) @ Transform.exp(np.array([0.0, 0.0, 0.0, 0.2, 0.1, -0.3]))

    def flanges(times: Floats) -> Floats:
        Ts_mount_holder = X.matrix @ sights(times) @ Y.inv().matrix
        return Ts_mount_holder if mount == "eye_to_hand" else batch.inverses(Ts_mount_holder)

    reports = np.arange(0.0, 30.0, 0.02)
    arm = batch.exp(rng.normal(size=(len(reports), 6)) * np.repeat([2e-5, 4e-5], 3))
    detections: list[BoardDetection] = []
    for time in np.linspace(1.0, 29.0, 30):
        T = sights(np.array([time]))[0]
        uv, _ = project(BOARD.chess_corners @ T[:3, :3].T + T[:3, 3], LENS)
        noisy = uv + 0.2 * rng.normal(size=uv.shape)
        detections.append(
            BoardDetection(points_board=BOARD.chess_corners, points_image=noisy, timestamp=float(time) + delay)
        )
    return Stream(X, detections, FlangeRecording(reports, flanges(reports) @ arm))


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("delay", [0.25, -0.12])
def test_a_stream_gives_the_camera_and_the_offset_of_its_clock(mount: Mount, delay: float) -> None:
    seen = stream(mount, delay)
    result = calibrate_hand_eye_stream(seen.detections, seen.recording, intrinsics=LENS, mount=mount)
    assert result.time_offset == pytest.approx(-delay, abs=1e-3)
    assert result.T_mount_camera.distance_to(seen.T_mount_camera)[0] < 1e-3
    told = result.systematics[0]
    assert told.name == "time offset"
    assert told.adopted
    assert told.striking
    assert told.sentence in result.warnings
    assert f"{abs(delay) * 1e3:.0f} ms {'late' if delay > 0 else 'early'}" in told.sentence


def test_a_stream_on_one_clock_is_said_to_be() -> None:
    seen = stream("eye_to_hand", 0.0)
    result = calibrate_hand_eye_stream(seen.detections, seen.recording, intrinsics=LENS, views=20)
    assert len(result.views) == 20
    assert abs(result.time_offset) < 1e-3
    assert "on one clock" in result.systematics[0].sentence
    assert not result.systematics[0].striking
    assert not result.warnings


def test_a_recording_of_another_time_is_refused() -> None:
    seen = stream("eye_to_hand", 100.0)
    with pytest.raises(CalibrationError, match="covers too few"):
        calibrate_hand_eye_stream(seen.detections, seen.recording, intrinsics=LENS)
