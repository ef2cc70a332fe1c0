"""A world tied to real time."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("pybullet", reason="PyBullet has no wheel for this Python")

from sim import World
from sim.pacing import PacedClock


def test_waiting_takes_as_long_as_it_says_and_brings_the_world_along() -> None:
    with World() as world:
        world.sleep_until(3.0)
        clock = PacedClock(world)
        start, begin = clock.now(), time.monotonic()
        assert start == pytest.approx(3.0, abs=0.05)
        clock.sleep_until(start + 0.15)
        assert time.monotonic() - begin >= 0.15
        assert start + 0.15 <= world.now() <= clock.now()


def test_a_late_wait_catches_up_with_real_time() -> None:
    with World() as world:
        clock = PacedClock(world)
        time.sleep(0.1)
        clock.sleep_until(0.02)
        assert world.now() >= 0.1
