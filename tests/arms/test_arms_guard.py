"""The last guard: whatever is commanded, the set-points keep the limits and end at rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_ik.arms import GuardSettings, JointLimits, SetpointGuard
from vision_ik.types import Floats

LIMITS = JointLimits(
    names=("a", "b"),
    lower=np.array([-1.0, -np.inf]),
    upper=np.array([0.5, np.inf]),
    velocity=np.array([2.0, 1.0]),
    acceleration=np.array([10.0, 5.0]),
    jerk=np.array([100.0, 100.0]),
)
PERIOD = 0.01
NO_RAMP = GuardSettings(soft_start_s=0.0, position_margin=0.0)


def stream(
    guard: SetpointGuard, commands: list[tuple[Floats, Floats]], *, dt: float = PERIOD, t: float = 0.0
) -> Floats:
    """Return the set-points (N, 2) that come of commands sent every ``dt`` after ``t``."""
    return np.array([guard.limit(q, dq, t + (k + 1) * dt)[0] for k, (q, dq) in enumerate(commands)])


def assert_limits_kept(q: Floats, dt: float = PERIOD) -> None:
    v = np.diff(q, axis=0) / dt
    a = np.diff(v, axis=0) / dt
    assert (np.abs(v) <= LIMITS.velocity * (1 + 1e-6)).all()
    assert (np.abs(a) <= LIMITS.acceleration * (1 + 1e-6)).all()
    assert (q >= LIMITS.lower).all()
    assert (q <= LIMITS.upper).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), hold=st.integers(1, 60), dt=st.sampled_from([0.004, 0.01, 0.02]))
def test_random_commands_never_exceed_a_limit(seed: int, hold: int, dt: float) -> None:
    rng = np.random.default_rng(seed)
    guard = SetpointGuard(LIMITS, NO_RAMP)
    guard.start(np.zeros(2), 0.0)
    commands: list[tuple[Floats, Floats]] = []
    for _ in range(12):
        q, dq = rng.uniform(-2, 2, 2), rng.normal(0, 3, 2) * rng.integers(0, 2)
        commands += [(q + dq * dt * k, dq) for k in range(hold)]
    q = stream(guard, commands, dt=dt)
    assert_limits_kept(np.vstack([np.zeros((2, 2)), q]), dt)


def test_a_command_within_the_limits_passes_unchanged() -> None:
    guard = SetpointGuard(LIMITS, NO_RAMP)
    guard.start(np.zeros(2), 0.0)
    for k in range(1, 300):
        t = k * PERIOD
        q = 0.1 * np.array([np.sin(t) ** 2, np.sin(2 * t) ** 2])
        dq = 0.1 * np.array([np.sin(2 * t), 2 * np.sin(4 * t)])
        sent, rate, reasons = guard.limit(q, dq, t)
        assert reasons == ()
        assert np.array_equal(sent, q)
        assert np.allclose(rate, dq)


def test_a_far_goal_is_reached_without_overshoot() -> None:
    guard = SetpointGuard(LIMITS, NO_RAMP)
    guard.start(np.zeros(2), 0.0)
    goal = np.array([0.4, -3.0])
    q = stream(guard, [(goal, np.zeros(2))] * 600)
    assert np.allclose(q[-1], goal, atol=1e-9)
    assert q[:, 0].max() <= 0.4 + 1e-9
    assert q[:, 1].min() >= -3.0 - 1e-9


def test_a_command_beyond_a_position_limit_ends_at_the_limit_and_says_so() -> None:
    guard = SetpointGuard(LIMITS, GuardSettings(soft_start_s=0.0, position_margin=0.02))
    guard.start(np.zeros(2), 0.0)
    for k in range(300):
        _, _, reasons = guard.limit(np.array([3.0, 0.0]), np.zeros(2), (k + 1) * PERIOD)
        assert "position" in reasons
    assert guard.at(10.0)[0][0] == pytest.approx(0.48)


def test_the_speed_ramps_up_after_a_start() -> None:
    guard = SetpointGuard(LIMITS, GuardSettings(soft_start_s=1.0, soft_start_speed=0.1))
    guard.start(np.zeros(2), 0.0)
    q = stream(guard, [(np.array([0.0, 5.0]), np.zeros(2))] * 200)
    v = np.diff(q[:, 1]) / PERIOD
    t = (np.arange(len(v)) + 2) * PERIOD
    assert (v <= np.minimum(1.0, 0.1 + 0.9 * t) + 1e-9).all()
    assert v[150:].max() == pytest.approx(1.0)


def test_without_commands_the_set_point_coasts_then_brakes_at_the_limit() -> None:
    guard = SetpointGuard(LIMITS, NO_RAMP)
    guard.start(np.zeros(2), 0.0)
    n = 60
    for k in range(1, n + 1):  # accelerate joint b to 0.6 rad/s at 1 rad/s^2
        t = k * PERIOD
        guard.limit(np.array([0.0, 0.5 * t * t]), np.array([0.0, t]), t)
    end = n * PERIOD
    t = end + np.arange(100) * 0.005
    q = np.array([guard.at(x)[0] for x in t])
    dq = np.array([guard.at(x)[1] for x in t])
    coasting = t < end + NO_RAMP.watchdog_s
    assert np.allclose(dq[coasting, 1], 0.6)
    assert np.allclose(np.gradient(q[:, 1], t)[2:-2], dq[2:-2, 1], atol=5.0 * 0.005)
    assert np.abs(np.diff(dq[:, 1])).max() <= 5.0 * 0.005 + 1e-9
    assert dq[-1, 1] == 0.0
    assert guard.standstill() == pytest.approx(end + NO_RAMP.watchdog_s + 0.6 / 5.0)


def test_a_joint_that_coasts_toward_its_limit_brakes_before_it() -> None:
    guard = SetpointGuard(LIMITS, NO_RAMP)
    guard.start(np.zeros(2), 0.0)
    stream(guard, [(np.array([5.0, 0.0]), np.array([2.0, 0.0]))] * 32)
    q = np.array([guard.at(0.32 + x)[0][0] for x in np.arange(0.0, 1.0, 0.001)])
    assert q[0] < 0.5
    assert q.max() <= 0.5
    deceleration = -np.diff(q, 2) / 0.001**2
    assert deceleration.max() <= 10.0 * 1.01


def test_begin_stop_brakes_at_once() -> None:
    guard = SetpointGuard(LIMITS, NO_RAMP)
    guard.start(np.zeros(2), 0.0)
    stream(guard, [(np.array([0.0, 5.0]), np.array([0.0, 1.0]))] * 50)
    speed = guard.at(0.5)[1][1]
    guard.begin_stop(0.5)
    assert guard.standstill() == pytest.approx(0.5 + speed / 5.0)
    assert guard.at(0.5 + speed / 10.0)[1][1] == pytest.approx(speed / 2.0)


def test_a_late_command_does_not_let_the_set_point_jump() -> None:
    guard = SetpointGuard(LIMITS, NO_RAMP)
    guard.start(np.zeros(2), 0.0)
    before = stream(guard, [(np.array([0.0, 0.0]), np.zeros(2))] * 5)[-1]
    after, _, reasons = guard.limit(np.array([0.0, 3.0]), np.zeros(2), 10.0)
    assert reasons != ()
    longest = NO_RAMP.longest_interval
    assert after[1] - before[1] <= 5.0 * longest**2 + 1e-12


def test_two_commands_at_one_instant_do_not_move_the_set_point_twice() -> None:
    guard = SetpointGuard(LIMITS, NO_RAMP)
    guard.start(np.zeros(2), 0.0)
    first, _, _ = guard.limit(np.array([1e-4, 0.0]), np.zeros(2), PERIOD)
    second, _, reasons = guard.limit(np.array([0.3, 0.0]), np.zeros(2), PERIOD)
    assert np.array_equal(first, second)
    assert reasons == ("interval",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"velocity": np.array([1.0, 0.0])}, "positive"),
        ({"jerk": np.array([1.0, np.inf])}, "positive and finite"),
        ({"lower": np.array([9.0, 0.0])}, "above"),
        ({"upper": np.array([1.0])}, "one number"),
        ({"lower": np.array([np.nan, 0.0])}, "one number"),
    ],
)
def test_limits_that_make_no_sense_are_refused(change: dict[str, Floats], message: str) -> None:
    fields = {name: getattr(LIMITS, name) for name in ("lower", "upper", "velocity", "acceleration", "jerk")}
    with pytest.raises(ValueError, match=message):
        JointLimits(names=LIMITS.names, **{**fields, **change})


def test_a_joint_with_equal_limits_is_held_there() -> None:
    fields = {name: getattr(LIMITS, name).copy() for name in ("lower", "upper", "velocity", "acceleration", "jerk")}
    fields["lower"][1] = fields["upper"][1] = 0.3
    guard = SetpointGuard(JointLimits(names=LIMITS.names, **fields), GuardSettings())
    guard.start(np.array([0.0, 0.3]), 0.0)
    for k in range(1, 20):
        q, dq, _ = guard.limit(np.array([1e-3 * k, 0.3 + 0.01 * k]), np.ones(2), PERIOD * k)
        assert (q[1], dq[1]) == (0.3, 0.0)


def test_scaled_limits_keep_the_range() -> None:
    half = LIMITS.scaled(0.5)
    assert np.array_equal(half.velocity, 0.5 * LIMITS.velocity)
    assert np.array_equal(half.jerk, 0.5 * LIMITS.jerk)
    assert np.array_equal(half.lower, LIMITS.lower)
    with pytest.raises(ValueError, match="scale"):
        LIMITS.scaled(1.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"watchdog_s": 0.0},
        {"soft_start_speed": 0.0},
        {"soft_start_s": -1.0},
        {"longest_interval": 1.0},
        {"period": float("nan")},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GuardSettings(**wrong)
