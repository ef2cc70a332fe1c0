"""What every driver inherits: refusals, watchdog, stop, the context manager."""

from __future__ import annotations

import numpy as np
import pytest

from vision_ik.arms import GuardSettings, JointLimits, open_arm
from vision_ik.errors import ArmError
from vision_ik.testing import FakeArm, VirtualClock
from vision_ik.types import Floats, JointCommand

LIMITS = JointLimits(
    names=("a", "b"),
    lower=np.array([-1.0, -1.0]),
    upper=np.array([1.0, 1.0]),
    velocity=np.array([2.0, 1.0]),
    acceleration=np.array([10.0, 5.0]),
    jerk=np.array([100.0, 100.0]),
)


def make_arm(q: Floats | None = None, **options: float) -> tuple[FakeArm, VirtualClock]:
    clock = VirtualClock(3.0)
    return FakeArm(LIMITS, clock=clock, q=q, settings=GuardSettings(**options)), clock


def command(arm: FakeArm, q: Floats, dq: Floats | None = None) -> JointCommand:
    return JointCommand(names=arm.joint_names, q=q, dq=np.zeros(2) if dq is None else dq, timestamp=arm.clock.now())


def drive(arm: FakeArm, clock: VirtualClock, seconds: float, speed: float = 0.3) -> None:
    """Move joint a at a constant speed, accelerating at 2 rad/s^2."""
    q, v = np.array(arm.read().q), 0.0
    for _ in range(round(seconds / 0.01)):
        clock.advance(0.01)
        v = min(speed, v + 0.02)
        q = q + np.array([v * 0.01, 0.0])
        arm.send(command(arm, q, np.array([v, 0.0])))


def test_a_far_first_command_is_refused_with_joint_and_distance() -> None:
    arm, _ = make_arm()
    with pytest.raises(ArmError, match="joint b") as caught:
        arm.send(command(arm, np.array([0.0, 0.5])))
    assert caught.value.facts["joint"] == "b"
    assert arm.written == []


def test_the_next_command_after_a_refusal_may_pass() -> None:
    arm, _ = make_arm()
    with pytest.raises(ArmError):
        arm.send(command(arm, np.array([0.0, 0.5])))
    arm.send(command(arm, np.array([0.0, 0.0])))
    assert len(arm.written) == 1


def test_joints_in_another_order_are_refused() -> None:
    arm, _ = make_arm()
    with pytest.raises(ArmError, match="joints b, a"):
        arm.send(JointCommand(names=("b", "a"), q=np.zeros(2), dq=np.zeros(2), timestamp=0.0))


def test_a_posture_that_is_not_finite_is_an_arm_error_that_names_the_joints() -> None:
    arm, _ = make_arm()
    arm.fault = "nan"
    with pytest.raises(ArmError, match="a, b"):
        arm.read()


def test_the_watchdog_brakes_when_only_read_is_called() -> None:
    arm, clock = make_arm()
    drive(arm, clock, 0.5)
    for _ in range(60):
        clock.advance(0.01)
        arm.read()
    t = np.array([t for t, _, _ in arm.written])
    q = np.array([q[0] for _, q, _ in arm.written])
    assert t[-1] - t[49] <= 0.2 + 0.3 / 10.0 + 0.011
    # The limits hold over the whole way, the jump from the last command to the braking set-point aside.
    v = np.diff(q) / np.diff(t)
    assert v.max() <= 0.3 + 1e-9
    assert np.array_equal(arm.read().q, arm.written[-1][1])
    clock.advance(1.0)
    last = len(arm.written)
    arm.tick()
    assert len(arm.written) == last


def test_after_the_watchdog_the_next_command_starts_softly() -> None:
    arm, clock = make_arm(soft_start_s=1.0, soft_start_speed=0.1)
    drive(arm, clock, 1.5)
    for _ in range(60):
        clock.advance(0.01)
        arm.tick()
    clock.advance(0.01)
    sent = arm.send(command(arm, arm.read().q + np.array([0.05, 0.0])))
    assert "soft start" in sent.clipped_by


def test_stop_brakes_within_the_limits_and_returns_at_rest() -> None:
    arm, clock = make_arm()
    drive(arm, clock, 0.5)
    begin = clock.now()
    arm.stop()
    assert clock.now() - begin <= 0.3 / 10.0 + 0.011
    assert arm.written[-1][2][0] == 0.0
    q = np.array([q[0] for _, q, _ in arm.written[45:]])
    t = np.array([t for t, _, _ in arm.written[45:]])
    v = np.diff(q) / np.diff(t)
    assert (np.diff(v) >= -10.0 * 0.01 - 1e-6).all()
    assert v.max() <= 0.3 + 1e-9


def test_stop_latches_until_resume() -> None:
    arm, clock = make_arm()
    drive(arm, clock, 0.1)
    arm.stop()
    arm.stop()
    assert arm.stopped
    with pytest.raises(ArmError, match="resume"):
        arm.send(command(arm, arm.read().q))
    arm.resume()
    assert arm.send(command(arm, arm.read().q)).clipped_by == ()


def test_stop_without_motion_moves_nothing() -> None:
    arm, clock = make_arm()
    arm.stop()
    assert arm.written == []
    assert clock.now() == 3.0


def test_the_arm_stops_even_when_the_block_is_left_by_an_error() -> None:
    arm, clock = make_arm()

    def fly() -> None:
        with arm:
            drive(arm, clock, 0.5)
            raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="own"):
        fly()
    assert arm.written[-1][2][0] == 0.0
    with pytest.raises(ArmError, match="closed"):
        arm.read()


def test_a_lost_connection_while_stopping_is_told_and_the_arm_stays_stopped() -> None:
    arm, clock = make_arm()
    drive(arm, clock, 0.5)
    arm.fault = "disconnect"
    with pytest.raises(ArmError, match="connection"):
        arm.stop()
    assert arm.stopped


def test_an_arm_outside_its_limits_may_come_back_but_not_go_further() -> None:
    arm, clock = make_arm(q=np.array([1.05, 0.0]))
    outward, inward = np.array([1.06, 0.0]), np.array([0.98, 0.0])
    for _ in range(100):
        clock.advance(0.01)
        arm.send(command(arm, outward))
    assert max(q[0] for _, q, _ in arm.written) <= 1.05
    for _ in range(100):
        clock.advance(0.01)
        arm.send(command(arm, inward))
    assert arm.read().q[0] == pytest.approx(0.98)
    q = np.array([q[0] for _, q, _ in arm.written])
    assert np.abs(np.diff(q)).max() <= 2.0 * 0.01


def test_a_joint_that_sags_is_not_told_to_sag_further() -> None:
    class Sagging(FakeArm):
        def _read_raw(self) -> tuple[Floats, Floats, float]:
            q, dq, t = super()._read_raw()
            return q - 0.02, dq, t

    clock = VirtualClock()
    arm = Sagging(LIMITS, clock=clock)
    held = np.array([0.05, 0.05])
    for _ in range(100):
        clock.advance(0.01)
        arm.send(command(arm, held))
    clock.advance(1.0)
    arm.read()  # the watchdog has ended the stream
    clock.advance(0.01)
    assert np.allclose(arm.send(command(arm, held)).q, held)


def test_an_unknown_driver_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ArmError, match="nosuch:thing"):
        open_arm("nosuch:thing")
