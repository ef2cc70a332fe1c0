"""The doubles keep the contracts they stand in for; and the contracts notice who does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vision_ik.arms import GuardSettings, JointLimits
from vision_ik.errors import ArmError, CameraError, FrameReadError
from vision_ik.tags import TagDetector
from vision_ik.testing import (
    Check,
    FakeArm,
    FakeCamera,
    VirtualClock,
    arm_contract,
    blank_frame,
    camera_contract,
    detector_contract,
)
from vision_ik.types import Floats, Frame, Image, JointCommand

LIMITS = JointLimits(
    names=("a", "b", "c"),
    lower=np.array([-1.0, -2.0, -np.inf]),
    upper=np.array([1.0, 0.5, np.inf]),
    velocity=np.array([2.0, 1.0, 3.0]),
    acceleration=np.array([10.0, 5.0, 10.0]),
    jerk=np.array([100.0, 100.0, 100.0]),
)


def fake_arm(lag: float = 0.0) -> FakeArm:
    return FakeArm(LIMITS, clock=VirtualClock(5.0), lag=lag)


def live_camera() -> FakeCamera:
    return FakeCamera(lambda _t, _k: np.zeros((48, 64, 3), dtype=np.uint8), clock=VirtualClock(), latency=0.05)


def file_camera() -> FakeCamera:
    return FakeCamera([blank_frame(0.1 * k, k) for k in range(5)], clock=VirtualClock())


@pytest.mark.parametrize("check", arm_contract(fake_arm), ids=str)
def test_the_exact_fake_arm_keeps_the_contract(check: Check) -> None:
    check()


@pytest.mark.parametrize("check", arm_contract(lambda: fake_arm(lag=0.05)), ids=str)
def test_the_lagging_fake_arm_keeps_the_contract(check: Check) -> None:
    check()


@pytest.mark.parametrize("check", camera_contract(live_camera), ids=str)
def test_the_live_fake_camera_keeps_the_contract(check: Check) -> None:
    check()


@pytest.mark.parametrize("check", camera_contract(file_camera), ids=str)
def test_the_fake_file_keeps_the_contract(check: Check) -> None:
    check()


@pytest.mark.parametrize("check", detector_contract(lambda: TagDetector(family="36h11")), ids=str)
def test_the_tag_detector_keeps_the_contract(check: Check) -> None:
    check()


def broken(checks: list[Check]) -> set[str]:
    """Return the sentences of the checks that fail."""
    failed: set[str] = set()
    for check in checks:
        try:
            check()
        except AssertionError:
            failed.add(check.sentence)
    return failed


def test_an_arm_that_ignores_its_stop_is_found_out() -> None:
    class Runaway(FakeArm):
        def stop(self) -> None:
            """Do nothing."""

    sentences = broken(arm_contract(lambda: Runaway(LIMITS, clock=VirtualClock())))
    assert any(sentence.startswith("stop ends the motion") for sentence in sentences)


def test_an_arm_that_reports_another_command_than_it_sent_is_found_out() -> None:
    class Liar(FakeArm):
        def send(self, command: JointCommand) -> JointCommand:
            super().send(command)
            return command

    sentences = broken(arm_contract(lambda: Liar(LIMITS, clock=VirtualClock())))
    assert any(sentence.startswith("send returns") for sentence in sentences)


def test_an_arm_without_a_clock_in_its_states_is_found_out() -> None:
    class Timeless(FakeArm):
        def _read_raw(self) -> tuple[Floats, Floats, float]:
            q, dq, _ = super()._read_raw()
            return q, dq, 0.0

    sentences = broken(arm_contract(lambda: Timeless(LIMITS, clock=VirtualClock(5.0))))
    assert any(sentence.startswith("States are stamped") for sentence in sentences)


def test_a_camera_whose_time_stands_still_is_found_out() -> None:
    def make() -> FakeCamera:
        return FakeCamera([blank_frame(1.0, k) for k in range(5)], clock=VirtualClock())

    assert broken(camera_contract(make)) == {"Timestamps and indices increase strictly."}


def test_depth_that_is_not_in_metres_is_found_out() -> None:
    def make(value: float) -> list[Frame]:
        frames = [blank_frame(float(k), k) for k in range(5)]
        return [replace(f, depth=np.full(f.image.shape[:2], value, dtype=np.float32)) for f in frames]

    for value, sound in ((1.5, True), (float("nan"), True), (1500.0, False), (0.0, False)):
        found = broken(camera_contract(lambda v=value: FakeCamera(make(v), clock=VirtualClock())))
        assert found == (set() if sound else {"Depth, where there is some, is in metres."})


def test_a_live_fake_camera_delivers_late_and_drops_what_is_not_read() -> None:
    clock = VirtualClock()
    camera = FakeCamera(lambda _t, _k: np.zeros((48, 64, 3), dtype=np.uint8), clock=clock, rate=10.0, latency=0.25)
    clock.sleep_until(0.2)
    assert camera.read(timeout=0.0) is None
    clock.sleep_until(0.5)
    frame = camera.read(timeout=0.0)
    assert frame is not None
    assert frame.index == 2
    assert frame.timestamp == pytest.approx(0.2)


def test_waiting_for_a_live_fake_camera_moves_the_clock_to_the_frame() -> None:
    clock = VirtualClock()
    dropped = {1, 2}

    def render(_t: float, index: int) -> Image | None:
        return None if index in dropped else np.zeros((48, 64, 3), dtype=np.uint8)

    camera = FakeCamera(render, clock=clock, rate=10.0)
    first, second = camera.read(1.0), camera.read(1.0)
    assert first is not None
    assert second is not None
    assert (first.index, second.index) == (0, 3)
    assert clock.now() == pytest.approx(0.3)


def test_an_unplugged_fake_camera_raises_from_then_on() -> None:
    clock = VirtualClock()
    camera = FakeCamera(lambda _t, _k: np.zeros((48, 64, 3), dtype=np.uint8), clock=clock, fail_at=0.5)
    assert camera.read() is not None
    clock.sleep_until(0.5)
    with pytest.raises(FrameReadError, match="unplugged"):
        camera.read()
    camera.close()
    with pytest.raises(CameraError):
        camera.read()


@pytest.mark.parametrize(("fault", "message"), [("nan", "not finite"), ("disconnect", "connection")])
def test_faults_of_the_fake_arm_are_arm_errors(fault: str, message: str) -> None:
    arm = fake_arm()
    arm.fault = "nan" if fault == "nan" else "disconnect"
    with pytest.raises(ArmError, match=message):
        arm.read()


def test_a_lagging_fake_arm_approaches_exponentially() -> None:
    arm = FakeArm(LIMITS, clock=VirtualClock(), lag=0.1, settings=GuardSettings(soft_start_s=0.0))
    clock = arm.clock
    q = arm.read().q
    goal = q + 1e-4
    arm.send(JointCommand(names=arm.joint_names, q=goal, dq=np.zeros(3), timestamp=0.0))
    clock.sleep_until(0.1)
    assert np.allclose(goal - arm.read().q, 1e-4 * np.exp(-1.0), rtol=1e-6)
