"""Set-points are jerk-limited, intercept what moves, and never cross a position limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_ik.arms import JointLimits
from vision_ik.control import JointTrajectory, move_to
from vision_ik.errors import ArmError
from vision_ik.testing import FakeArm, VirtualClock
from vision_ik.types import Floats

N = 3
PERIOD = 0.01
# The range excludes zero on one joint: an extremum of "position 0" would be a foreign one.
LIMITS = JointLimits(
    names=("a", "b", "c"),
    lower=np.array([-2.0, -1.0, -np.inf]),
    upper=np.array([-0.5, 1.0, np.inf]),
    velocity=np.array([2.0, 1.0, 3.0]),
    acceleration=np.array([10.0, 5.0, 15.0]),
    jerk=np.array([300.0, 200.0, 5000.0]),
)
START = np.array([-1.0, 0.0, 0.0])


def assert_limits_kept(q: Floats) -> None:
    q = np.vstack([q[:1]] * 3 + [q])
    for order, limit in enumerate((LIMITS.velocity, LIMITS.acceleration, LIMITS.jerk), start=1):
        derivative = np.abs(np.diff(q, order, axis=0)) / PERIOD**order
        assert (derivative <= limit * (1 + 1e-6)).all(), f"derivative {order}"
    assert (q >= LIMITS.lower).all()
    assert (q <= LIMITS.upper).all()


def begin() -> JointTrajectory:
    trajectory = JointTrajectory(LIMITS)
    trajectory.reset(START)
    return trajectory


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), hold=st.integers(1, 40))
def test_random_moving_goals_and_stops_never_exceed_a_limit(seed: int, hold: int) -> None:
    rng = np.random.default_rng(seed)
    trajectory = begin()
    q = [trajectory.q]
    for _ in range(12):
        goal, rate = START + rng.uniform(-2.5, 2.5, N), rng.normal(0.0, 2.0, N) * rng.integers(0, 2)
        stop, speed = rng.random() < 0.25, rng.uniform(0.1, 1.0)
        for k in range(hold):
            if stop:
                trajectory.step_to_rest(PERIOD)
            else:
                jitter = rng.normal(0.0, 1e-3, N)
                trajectory.step_to(goal + rate * PERIOD * k + jitter, rate, PERIOD, speed=speed)
            q.append(trajectory.q)
    assert_limits_kept(np.array(q))


def test_a_goal_is_reached_exactly_and_at_rest() -> None:
    trajectory = begin()
    goal = np.array([-1.9, 0.9, 4.0])
    for _ in range(400):
        trajectory.step_to(goal, np.zeros(N), PERIOD)
    assert np.allclose(trajectory.q, goal, atol=1e-9)
    assert trajectory.still


def test_a_goal_that_moves_steadily_is_intercepted_and_then_met_without_lag() -> None:
    trajectory = begin()
    rate = np.array([0.1, -0.2, 0.5])
    errors: list[float] = []
    for k in range(1, 301):
        goal = START + np.array([-0.5, 0.5, 1.0]) + rate * PERIOD * k
        trajectory.step_to(goal, rate, PERIOD)
        errors.append(float(np.abs(trajectory.q - goal).max()))
    assert errors[-1] < 1e-9
    assert errors[150] < 1e-9


def test_a_goal_that_runs_into_a_limit_is_left_in_time() -> None:
    trajectory = begin()
    rate = np.array([0.0, 0.8, 0.0])
    q = [trajectory.q]
    for k in range(1, 300):
        trajectory.step_to(START + rate * PERIOD * k, rate, PERIOD)
        q.append(trajectory.q)
    assert_limits_kept(np.array(q))
    assert trajectory.q[1] == pytest.approx(1.0 - 2e-3, abs=1e-6)


def test_joints_arrive_together() -> None:
    trajectory = begin()
    goal = START + np.array([0.02, 0.9, 0.3])
    arrival = np.full(N, np.inf)
    for k in range(400):
        trajectory.step_to(goal, np.zeros(N), PERIOD)
        arrived = np.abs(trajectory.q - goal) < 1e-6
        arrival = np.where(arrived & np.isinf(arrival), k, arrival)
    assert np.ptp(arrival) <= 8


def test_a_lower_speed_slows_the_way() -> None:
    trajectory = begin()
    fastest = 0.0
    for _ in range(100):
        trajectory.step_to(START + 0.5, np.zeros(N), PERIOD, speed=0.2)
        fastest = max(fastest, float((np.abs(trajectory.dq) / LIMITS.velocity).max()))
    assert fastest == pytest.approx(0.2, abs=1e-6)


def test_the_fastest_stop_takes_as_long_as_it_says() -> None:
    trajectory = begin()
    for _ in range(30):
        trajectory.step_to(START + np.array([-0.9, 0.9, 5.0]), np.zeros(N), PERIOD)
    steps = int(np.ceil(trajectory.stopping_time() / PERIOD))
    for k in range(steps):
        assert k == 0 or not trajectory.still
        trajectory.step_to_rest(PERIOD)
    assert trajectory.still


def test_a_posture_outside_the_limits_may_only_come_back() -> None:
    trajectory = JointTrajectory(LIMITS)
    trajectory.reset(np.array([-0.45, 0.0, 0.0]))
    trajectory.step_to(np.array([0.0, 0.0, 0.0]), np.zeros(N), PERIOD)
    assert trajectory.q[0] <= -0.45 + 1e-12
    for _ in range(200):
        trajectory.step_to(np.array([-0.8, 0.0, 0.0]), np.zeros(N), PERIOD)
    assert trajectory.q[0] == pytest.approx(-0.8)


def test_a_joint_with_equal_limits_stays_where_it_is_held() -> None:
    held = JointLimits(
        names=LIMITS.names,
        lower=np.array([-2.0, 0.0, -np.inf]),
        upper=np.array([-0.5, 0.0, np.inf]),
        velocity=LIMITS.velocity,
        acceleration=LIMITS.acceleration,
        jerk=LIMITS.jerk,
    )
    trajectory = JointTrajectory(held)
    trajectory.reset(START)
    for _ in range(400):
        trajectory.step_to(np.array([-1.8, 0.5, 2.0]), np.zeros(N), PERIOD)
        assert abs(trajectory.q[1]) < 1e-12
    assert np.allclose(trajectory.q, (-1.8, 0.0, 2.0), atol=1e-9)


def test_move_to_arrives_within_the_limits() -> None:
    clock = VirtualClock()
    arm = FakeArm(LIMITS, clock=clock, q=START)
    goal = np.array([-1.8, 0.7, 2.0])
    state = move_to(arm, goal, limits=LIMITS, clock=clock, speed_scale=0.5)
    assert np.allclose(state.q, goal, atol=1e-3)
    assert_limits_kept(np.array([q for _, q, _ in arm.written]))


def test_move_to_refuses_a_posture_outside_the_limits_and_names_the_joint() -> None:
    clock = VirtualClock()
    arm = FakeArm(LIMITS, clock=clock, q=START)
    with pytest.raises(ValueError, match="joint b"):
        move_to(arm, [-1.0, 1.5, 0.0], limits=LIMITS, clock=clock)
    with pytest.raises(ValueError, match="finite"):
        move_to(arm, [-1.0, np.nan, 0.0], limits=LIMITS, clock=clock)
    assert arm.written == []


def test_move_to_tells_when_the_arm_does_not_get_there() -> None:
    clock = VirtualClock()
    arm = FakeArm(LIMITS, clock=clock, q=START)
    arm.fault = "stuck"
    with pytest.raises(ArmError, match="still"):
        move_to(arm, START + 0.2, limits=LIMITS, clock=clock)
