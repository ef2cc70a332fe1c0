"""Going to a posture without a camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vision_ik.arms import JointLimits
from vision_ik.clock import Clock
from vision_ik.control.trajectory import JointTrajectory
from vision_ik.errors import ArmError
from vision_ik.types import Arm, JointCommand, JointState


def move_to(
    arm: Arm,
    q: ArrayLike,
    *,
    limits: JointLimits,
    clock: Clock,
    speed_scale: float = 0.3,
    period: float = 0.01,
    tolerance: float = 1e-3,
    settle_s: float = 2.0,
) -> JointState:
    """Move an arm to a posture within its limits, all joints together, and wait until it is there.

    Args:
        arm: What moves.
        q: (n,) where to [rad].
        limits: Of its joints.
        clock: Of the arm.
        speed_scale: Share of velocity, acceleration and jerk limits, in (0, 1].
        period: Between set-points [s].
        tolerance: How near each joint must come [rad].
        settle_s: How long the arm may trail its last set-point [s].

    Returns:
        The state reached.

    Raises:
        ValueError: The posture has another length, is not finite, or is outside the limits.
        ArmError: The arm refuses, or does not get there.
    """
    goal = np.array(q, dtype=np.float64)
    if goal.shape != (limits.n,) or not np.isfinite(goal).all():
        raise ValueError(f"A posture of this arm is {limits.n} finite numbers, not {goal.tolist()}.")
    trajectory = JointTrajectory(limits.scaled(speed_scale))
    trajectory.reset(arm.read().q)
    reachable = trajectory.inside(goal)
    if np.abs(reachable - goal).max() > tolerance:
        worst = int(np.argmax(np.abs(reachable - goal)))
        raise ValueError(
            f"{goal[worst]:.3f} rad is outside the limits of joint {limits.names[worst]} "
            f"({limits.lower[worst]:.3f} to {limits.upper[worst]:.3f} rad)."
        )
    rest = np.zeros(limits.n)
    begin = tick = clock.now()
    deadline = np.inf
    while True:
        state = arm.read()
        there = np.abs(trajectory.q - reachable).max() < 1e-9 and trajectory.still
        if there and np.abs(state.q - reachable).max() <= tolerance:
            return state
        deadline = min(deadline, clock.now() + settle_s) if there else np.inf
        if clock.now() >= deadline:
            worst = int(np.argmax(np.abs(state.q - reachable)))
            raise ArmError(
                f"Joint {limits.names[worst]} is still {abs(state.q[worst] - reachable[worst]):.4f} rad from its goal "
                f"after {clock.now() - begin:.1f} s.",
                "Look for a collision or a brake, or allow a larger tolerance.",
                joint=limits.names[worst],
            )
        trajectory.step_to(reachable, rest, period)
        sent = arm.send(JointCommand(names=limits.names, q=trajectory.q, dq=trajectory.dq, timestamp=clock.now()))
        if sent.clipped_by:
            trajectory.reset(sent.q, sent.dq)
        tick += period
        clock.sleep_until(tick)
