"""Jerk-limited set-points toward a goal that moves, recomputed at every tick.

The time-optimal profile is Ruckig's (Berscheid, Kroeger, "Jerk-limited real-time trajectory
generation with arbitrary target states", RSS 2021). It is planned in the frame that moves with
the goal: there the goal stands still, so the arm intercepts it instead of running after the
place where it was.
"""

from __future__ import annotations

import numpy as np
import ruckig
from numpy.typing import NDArray

from vision_ik.arms import JointLimits
from vision_ik.types import Floats

_FEED_FORWARD_SHARE = 0.9
"""Of the velocity limit that a goal may use up; the rest is left for catching up with it."""


class JointTrajectory:
    """The state (q, dq, ddq) of the set-point, stepped within velocity, acceleration, jerk and position limits.

    Before a step is taken, the stop that would follow it is computed; if that stop left the
    position limits, the joint takes the stop of the step before, which is known to stay inside.

    Args:
        limits: To be kept; already scaled.
        margin: [rad] Kept from the position limits.
    """

    def __init__(self, limits: JointLimits, *, margin: float = 2e-3) -> None:
        self.limits = limits
        self._lower, self._upper = limits.inside(margin)
        n = limits.n
        self._otg = ruckig.Ruckig(n)
        self._profile = ruckig.Trajectory(n)
        self._input = ruckig.InputParameter(n)
        self._input.max_acceleration = limits.acceleration.tolist()
        self._input.max_jerk = limits.jerk.tolist()
        self._input.target_position = [0.0] * n
        self._input.target_velocity = [0.0] * n
        self._input.target_acceleration = [0.0] * n
        self.reset(np.zeros(n))

    def reset(self, q: Floats, dq: Floats | None = None) -> None:
        """Begin anew at ``q`` (n,), moving with ``dq`` (n,), without acceleration.

        A posture outside the position limits widens them to itself: the arm may come back, not go further out.
        """
        n = self.limits.n
        self.q = np.array(q, dtype=np.float64)
        self.dq = np.zeros(n) if dq is None else np.array(dq, dtype=np.float64)
        self.ddq = np.zeros(n)
        self._low = np.minimum(self._lower, self.q)
        self._high = np.maximum(self._upper, self.q)

    @property
    def still(self) -> bool:
        """Whether the set-point stands."""
        return bool(np.abs(self.dq).max() < 1e-9 and np.abs(self.ddq).max() < 1e-6)

    def inside(self, q: Floats) -> Floats:
        """Return ``q`` (n,) brought inside the position limits [rad]."""
        return np.clip(q, self._low, self._high)

    def step_to(self, q_goal: Floats, dq_goal: Floats, dt: float, *, speed: float = 1.0) -> None:
        """Move for ``dt`` [s] toward a goal that is at ``q_goal`` (n,) then and moves with ``dq_goal`` (n,).

        Args:
            q_goal: Where the goal is after ``dt`` [rad]; brought inside the limits.
            dq_goal: Its velocity [rad/s].
            dt: Time since the last step [s].
            speed: Share of the velocity limit in (0, 1].
        """
        v_max = self.limits.velocity * speed
        q_goal = self.inside(q_goal)
        dq_goal = np.clip(dq_goal, -_FEED_FORWARD_SHARE * v_max, _FEED_FORWARD_SHARE * v_max)
        into_limit = ((q_goal >= self._high) & (dq_goal > 0)) | ((q_goal <= self._low) & (dq_goal < 0))
        dq_goal = np.where(into_limit, 0.0, dq_goal)
        before = q_goal - dq_goal * dt
        if not self._plan_motion(self.q - before, self.dq - dq_goal, v_max, dq_goal):
            self.step_to_rest(dt)
            return
        q, dq, ddq = self._after(dt)
        q, dq = q + q_goal, dq + dq_goal
        unsafe = self._leaves_limits(q, dq, ddq)
        if unsafe.any():
            q_stop, dq_stop, ddq_stop = self._stopping(dt)
            q, dq, ddq = (np.where(unsafe, stop, go) for stop, go in ((q_stop, q), (dq_stop, dq), (ddq_stop, ddq)))
        self.q, self.dq, self.ddq = q, dq, ddq

    def step_to_rest(self, dt: float) -> None:
        """Move for ``dt`` [s] on the fastest stop within the limits."""
        self.q, self.dq, self.ddq = self._stopping(dt)

    def stopping_time(self) -> float:
        """Return how long the fastest stop takes from here [s]."""
        self._plan_stop(self.dq, self.ddq)
        return float(self._profile.duration)

    def _stopping(self, dt: float) -> tuple[Floats, Floats, Floats]:
        self._plan_stop(self.dq, self.ddq)
        way, dq, ddq = self._after(dt)
        return self.q + way, dq, ddq

    def _leaves_limits(self, q: Floats, dq: Floats, ddq: Floats) -> NDArray[np.bool_]:
        """Return (n,) whether the stop from this state would leave the position limits."""
        self._plan_stop(dq, ddq)
        ends = np.array([(bound.min, bound.max) for bound in self._profile.position_extrema])
        return (q + ends[:, 0] < self._low - 1e-9) | (q + ends[:, 1] > self._high + 1e-9)

    def _plan_motion(self, q: Floats, dq: Floats, v_max: Floats, dq_frame: Floats) -> bool:
        """Plan to rest at zero, in the frame that moves with ``dq_frame``; tell whether a profile exists."""
        self._describe(q, dq, self.ddq, v_max, dq_frame)
        self._input.control_interface = ruckig.ControlInterface.Position
        # Together if possible; Ruckig finds no common duration for some states near the limits.
        for synchronization in (ruckig.Synchronization.Time, ruckig.Synchronization.No):
            self._input.synchronization = synchronization
            try:
                self._otg.calculate(self._input, self._profile)
            except ruckig.RuckigError:
                continue
            return True
        return False

    def _plan_stop(self, dq: Floats, ddq: Floats) -> None:
        """Plan the way to standstill; each joint brakes as fast as it can."""
        # From zero: Ruckig counts position 0 among the extrema of every velocity profile.
        zero = np.zeros(self.limits.n)
        self._describe(zero, dq, ddq, self.limits.velocity, zero)
        self._input.control_interface = ruckig.ControlInterface.Velocity
        self._input.synchronization = ruckig.Synchronization.No
        self._otg.calculate(self._input, self._profile)

    def _describe(self, q: Floats, dq: Floats, ddq: Floats, v_max: Floats, dq_frame: Floats) -> None:
        self._input.current_position = q.tolist()
        self._input.current_velocity = dq.tolist()
        self._input.current_acceleration = ddq.tolist()
        self._input.max_velocity = (v_max - dq_frame).tolist()
        self._input.min_velocity = (-v_max - dq_frame).tolist()

    def _after(self, dt: float) -> tuple[Floats, Floats, Floats]:
        q, dq, ddq = self._profile.at_time(dt)
        return np.array(q), np.array(dq), np.array(ddq)
