"""What every driver of an arm must keep: the conformance suite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from vision_ik.arms import GuardedArm
from vision_ik.errors import ArmError
from vision_ik.testing.contract import Check, require, require_raises
from vision_ik.types import Floats, JointCommand

_PERIOD = 0.01
"""[s] Between the commands of the suite."""


def arm_contract(
    make: Callable[[], GuardedArm], *, travel: float = 0.05, follow_tolerance: float = 0.01
) -> list[Check]:
    """Return the checks for a driver. They move each joint by at most ``travel``, slowly.

    Args:
        make: Opens a fresh arm, standing still, at least 0.2 rad inside its limits.
        travel: How far joints are moved [rad]; below the guard's start tolerance.
        follow_tolerance: How near a joint must come to its last set-point within a second [rad].
    """

    def state_is_complete() -> None:
        with make() as arm:
            state = arm.read()
            require(state.names == arm.joint_names, f"The state names {state.names}, the arm {arm.joint_names}.")
            require(len(state.q) == len(arm.joint_names), "The state has another number of joints.")
            require(bool(np.isfinite(state.q).all() and np.isfinite(state.dq).all()), "The state is not finite.")

    def state_is_stamped_on_the_clock() -> None:
        with make() as arm:
            last = -np.inf
            for _ in range(20):
                arm.clock.sleep_until(arm.clock.now() + _PERIOD)
                before = arm.clock.now()
                stamp = arm.read().timestamp
                require(before - 0.5 <= stamp <= arm.clock.now(), f"At {before:.3f} s the stamp was {stamp:.3f} s.")
                require(stamp >= last, f"The stamp went back from {last} to {stamp} s.")
                last = stamp
            first = arm.read().timestamp
            arm.clock.sleep_until(arm.clock.now() + 0.5)
            require(arm.read().timestamp > first, "The stamp stands still.")

    def small_motion_is_followed() -> None:
        with make() as arm:
            start = arm.read().q
            goal = start + travel * _inward(arm, start)
            _stream(arm, start, goal)
            for _ in range(100):
                _send(arm, goal)
            error = float(np.abs(arm.read().q - goal).max())
            require(error <= follow_tolerance, f"A joint is {error:.4f} rad from its set-point.")

    def send_returns_what_was_sent() -> None:
        with make() as arm:
            start = arm.read().q
            sent = [_send(arm, start)]
            # A step that no arm can take at once: it must come back slower, and say why.
            goal = start + travel * _inward(arm, start)
            sent += [_send(arm, goal) for _ in range(50)]
            require(sent[1].clipped_by != (), "A jump was not reported as clipped.")
            q = np.array([command.q for command in sent])
            t = np.array([command.timestamp for command in sent])[:, None]
            v = np.diff(q, axis=0) / np.diff(t, axis=0)
            a = np.diff(v, axis=0) / np.diff(t, axis=0)[1:]
            require(bool((np.abs(v) <= arm.limits.velocity * (1 + 1e-6)).all()), "A velocity limit was exceeded.")
            require(bool((np.abs(a) <= arm.limits.acceleration * 1.01).all()), "An acceleration limit was exceeded.")

    def a_far_first_command_is_refused() -> None:
        with make() as arm:
            start = arm.read().q
            far = start + 3.0 * arm.settings.start_tolerance * _inward(arm, start)
            require_raises(ArmError, lambda: _send(arm, far))
            require(float(np.abs(arm.read().q - start).max()) < 1e-3, "The arm moved.")

    def foreign_joints_are_refused() -> None:
        with make() as arm:
            q = arm.read().q
            names = tuple(f"not_{name}" for name in arm.joint_names)
            command = JointCommand(names=names, q=q, dq=np.zeros_like(q), timestamp=arm.clock.now())
            require_raises(ArmError, lambda: arm.send(command))

    def commands_that_cease_end_the_motion() -> None:
        with make() as arm:
            start = arm.read().q
            _stream(arm, start, start + 0.5 * travel * _inward(arm, start), final_speed=True)
            for _ in range(200):
                arm.clock.sleep_until(arm.clock.now() + _PERIOD)
                arm.tick()
            _require_still(arm)

    def stop_ends_the_motion_and_holds() -> None:
        with make() as arm:
            start = arm.read().q
            _stream(arm, start, start + 0.5 * travel * _inward(arm, start), final_speed=True)
            arm.stop()
            arm.stop()
            arm.clock.sleep_until(arm.clock.now() + 0.5)
            _require_still(arm)
            require_raises(ArmError, lambda: _send(arm, arm.read().q))
            arm.resume()
            _send(arm, arm.read().q)

    def leaving_the_block_closes_the_arm() -> None:
        with make() as arm:
            start = arm.read().q
            _stream(arm, start, start + 0.5 * travel * _inward(arm, start), final_speed=True)
        require(arm.stopped, "The arm was not stopped.")
        require_raises(ArmError, arm.read)
        arm.close()

    return [
        Check("The state has every joint, by name, and is finite.", state_is_complete),
        Check("States are stamped on the clock of the run, and do not go back.", state_is_stamped_on_the_clock),
        Check("A small slow motion is followed.", small_motion_is_followed),
        Check("send returns what was really sent, within the limits, with the reason.", send_returns_what_was_sent),
        Check("A first command far from the posture is refused.", a_far_first_command_is_refused),
        Check("A command for other joints is refused.", foreign_joints_are_refused),
        Check("When commands cease, the arm comes to a stop.", commands_that_cease_end_the_motion),
        Check("stop ends the motion and refuses commands until resume.", stop_ends_the_motion_and_holds),
        Check("Leaving the with block stops and closes the arm.", leaving_the_block_closes_the_arm),
    ]


def _inward(arm: GuardedArm, q: Floats) -> Floats:
    """Return (n,) the direction toward the middle of each joint's range: +1 or -1."""
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (arm.limits.lower + arm.limits.upper)
    return np.where(np.isfinite(middle) & (q > middle), -1.0, 1.0)


def _send(arm: GuardedArm, q: ArrayLike, dq: ArrayLike | None = None) -> JointCommand:
    """Wait one period and send."""
    arm.clock.sleep_until(arm.clock.now() + _PERIOD)
    q = np.asarray(q, dtype=np.float64)
    dq = np.zeros_like(q) if dq is None else np.asarray(dq, dtype=np.float64)
    return arm.send(JointCommand(names=arm.joint_names, q=q, dq=dq, timestamp=arm.clock.now()))


def _stream(arm: GuardedArm, start: Floats, goal: Floats, *, final_speed: bool = False) -> None:
    """Go from start to goal in 2 s, accelerating smoothly; leave the arm moving where asked."""
    steps = int(2.0 / _PERIOD)
    for k in range(steps + 1):
        s = k / steps
        share, rate = (s * s, 2.0 * s) if final_speed else (3 * s * s - 2 * s**3, 6 * s - 6 * s * s)
        _send(arm, start + share * (goal - start), rate * (goal - start) / 2.0)


def _require_still(arm: GuardedArm) -> None:
    before = arm.read().q
    arm.clock.sleep_until(arm.clock.now() + 0.3)
    moved = float(np.abs(arm.read().q - before).max())
    require(moved < 1e-3, f"A joint still moved by {moved:.4f} rad in 0.3 s.")
