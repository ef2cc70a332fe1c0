"""The last guard: set-points that an arm can follow, whatever the caller sends.

Pure arithmetic over (q, dq, t), without input or output, so that it can be tested exactly.
A command ``(q, dq)`` means: be at q, moving with dq. The guard keeps the *anchor*, the
last set-point it let through, and from it the set-point at any later time: it coasts with
the anchor's velocity until the watchdog expires, then decelerates to a stop. A new command
is limited against that motion:

- velocity: ``|v| <= v_max`` with v the mean velocity since the anchor,
- acceleration: ``|v - v_before| <= a_max dt``,
- position: ``v dt + v^2 / (2 a_max) <= room``, so that braking always ends before the limit
  (if it holds for one step, it holds after braking for any dt: ``(v - a dt) dt + (v - a dt)^2
  / (2 a) <= v^2 / (2 a)``).

A command that cannot be reached in one step is approached along the same braking parabola
relative to its dq, so that the set-point arrives without overshoot.
"""

from __future__ import annotations

import numpy as np

from vision_ik.arms.limits import GuardSettings, JointLimits
from vision_ik.types import Floats

_SLACK = 1e-6
"""Relative excess taken for rounding, not for a violation."""
_AT_REST = 1e-9
"""[rad/s] Left over by rounding at the end of a stop."""


class SetpointGuard:
    """Limits a stream of commands; see the module for the law it keeps.

    Args:
        limits: Position, velocity and acceleration limits (jerk is the trajectory generator's part).
        settings: Margins, watchdog, soft start.
    """

    def __init__(self, limits: JointLimits, settings: GuardSettings) -> None:
        self.limits = limits
        self.settings = settings
        self._lower, self._upper = limits.inside(settings.position_margin)
        self._acceleration = limits.acceleration
        self._q = np.zeros(limits.n)
        self._dq = np.zeros(limits.n)
        self._v = np.zeros(limits.n)
        self._coast_s = np.zeros(limits.n)
        self._t = 0.0
        self._ramp_from = 0.0

    @property
    def last_command(self) -> float:
        """Time of the anchor [s]."""
        return self._t

    def start(self, q: Floats, t: float) -> None:
        """Stand still at ``q`` at time ``t`` [s]; the speed limit ramps up from here."""
        self._ramp_from = t
        self._anchor(q, np.zeros(self.limits.n), np.zeros(self.limits.n), t, coast=0.0)

    def begin_stop(self, t: float) -> None:
        """Decelerate from the set-point at ``t`` [s] on."""
        q, dq = self.at(t)
        self._anchor(q, dq, dq, t, coast=0.0)

    def at(self, t: float) -> tuple[Floats, Floats]:
        """Return the set-point (q, dq), each (n,), at time ``t`` [s], if no further command comes."""
        elapsed = max(0.0, t - self._t)
        coasted = np.minimum(elapsed, self._coast_s)
        braking = np.minimum(elapsed - coasted, np.abs(self._dq) / self._acceleration)
        slowdown = np.sign(self._dq) * self._acceleration * braking
        q = self._q + self._dq * (coasted + braking) - 0.5 * slowdown * braking
        rate = self._dq - slowdown
        return self._within(q), np.where(np.abs(rate) < _AT_REST, 0.0, rate)

    def standstill(self) -> float:
        """Return the time [s] at which the set-point stands still if no further command comes."""
        moving = np.abs(self._dq) > 0
        return self._t + float(np.max(np.where(moving, self._coast_s + np.abs(self._dq) / self._acceleration, 0.0)))

    def limit(self, q: Floats, dq: Floats, t: float) -> tuple[Floats, Floats, tuple[str, ...]]:
        """Let a command through as far as the limits allow, and make it the new anchor.

        Returns:
            The set-point q and dq, each (n,), and what limited them.
        """
        dt = t - self._t
        if dt <= 0.0:
            changed = bool(np.abs(q - self._q).max() > 1e-9)
            return self._q, self._dq, ("interval",) if changed else ()
        q_before, v_before = self._q, self._v
        if dt > self.settings.longest_interval:
            dt = self.settings.longest_interval
            q_before, v_before = self.at(t - dt)
        reasons: list[str] = []
        goal = self._within(q)
        if (np.abs(goal - q) > 1e-9).any():
            reasons.append("position")
        ramp = self._ramp(t)
        v_max, dv_max = ramp * self.limits.velocity, self._acceleration * dt
        dq_goal = np.clip(dq, -v_max, v_max)

        v = (goal - q_before) / dt
        direct = v
        too_fast = np.abs(v) > v_max * (1 + _SLACK)
        too_hard = np.maximum(np.abs(v - v_before), np.abs(v - dq_goal)) > dv_max * (1 + _SLACK)
        if too_fast.any() or too_hard.any():
            error = goal - q_before - dq_goal * dt
            approach = dq_goal + np.sign(error) * self._braking_speed(np.abs(error), dt)
            v = np.where(too_fast | too_hard, np.clip(approach, -v_max, v_max), v)
        v = np.clip(
            v, -self._braking_speed(q_before - self._lower, dt), self._braking_speed(self._upper - q_before, dt)
        )
        # Acceleration has the last word; from an anchor made here the two never disagree.
        v = np.clip(v, v_before - dv_max, v_before + dv_max)
        if too_fast.any():
            reasons.append("velocity" if ramp == 1.0 else "soft start")
        if (np.abs(v - direct) > _SLACK * dv_max)[~too_fast].any() and not reasons:
            reasons.append("acceleration" if too_hard.any() else "position")
        reached = self._within(np.where(v == direct, goal, q_before + v * dt))
        self._anchor(reached, v, self._stoppable(np.clip(dq_goal, v - dv_max, v + dv_max), reached), t)
        return self._q, self._dq, tuple(reasons)

    def _anchor(self, q: Floats, v: Floats, dq: Floats, t: float, coast: float | None = None) -> None:
        self._q, self._v, self._dq, self._t = q, v, dq, t
        coast = self.settings.watchdog_s if coast is None else coast
        speed = np.abs(dq)
        room = np.where(dq > 0, self._upper - q, q - self._lower)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            until_limit = np.where(speed > _AT_REST, (room - speed**2 / (2 * self._acceleration)) / speed, coast)
        self._coast_s = np.clip(until_limit, 0.0, coast)

    def _braking_speed(self, room: Floats, dt: float) -> Floats:
        """Return the largest v with ``v dt + v^2 / (2 a) <= room``."""
        a = self._acceleration
        return a * (np.sqrt(dt * dt + 2.0 * np.maximum(room, 0.0) / a) - dt)

    def _stoppable(self, dq: Floats, q: Floats) -> Floats:
        """Return dq (n,) lowered to what can be braked before the position limits from ``q``."""
        twice = 2.0 * self._acceleration
        highest = np.sqrt(twice * np.maximum(self._upper - q, 0.0))
        lowest = -np.sqrt(twice * np.maximum(q - self._lower, 0.0))
        return np.clip(dq, lowest, highest)

    def _ramp(self, t: float) -> float:
        s = self.settings
        if s.soft_start_s == 0.0:
            return 1.0
        return min(1.0, s.soft_start_speed + (1.0 - s.soft_start_speed) * (t - self._ramp_from) / s.soft_start_s)

    def _within(self, q: Floats) -> Floats:
        return np.clip(q, self._lower, self._upper)
