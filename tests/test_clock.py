"""One time line for a run: it never goes back, and a virtual one moves only when told."""

from __future__ import annotations

import time

import pytest

from vision_ik.clock import Clock, MonotonicClock, VirtualClock


@pytest.mark.parametrize("clock", [MonotonicClock(), VirtualClock()], ids=lambda clock: type(clock).__name__)
def test_every_clock_reaches_the_time_it_sleeps_until_and_never_goes_back(clock: Clock) -> None:
    assert isinstance(clock, Clock)
    start = clock.now()
    clock.sleep_until(start + 0.002)
    reached = clock.now()
    assert reached >= start + 0.002
    clock.sleep_until(start - 1.0)
    assert clock.now() >= reached


def test_the_monotonic_clock_is_the_one_of_the_machine() -> None:
    before = time.monotonic()
    assert before <= MonotonicClock().now() <= time.monotonic()


def test_the_virtual_clock_moves_only_when_told_and_exactly() -> None:
    clock = VirtualClock(10.0)
    assert clock.now() == clock.now() == 10.0
    clock.sleep_until(10.5)
    assert clock.now() == 10.5
    clock.sleep_until(3.0)
    assert clock.now() == 10.5
    assert clock.advance(0.25) == clock.now() == 10.75
    assert clock.advance(0.0) == 10.75


@pytest.mark.parametrize("duration", [-1e-9, float("nan")])
def test_the_virtual_clock_refuses_to_go_back(duration: float) -> None:
    clock = VirtualClock()
    with pytest.raises(ValueError, match="cannot move"):
        clock.advance(duration)
    assert clock.now() == 0.0
