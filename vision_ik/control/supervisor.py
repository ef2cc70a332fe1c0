"""The one place that decides whether the arm may move, and says why not.

Not safety-rated: it runs on an ordinary computer and guards against mistakes and faults of
this program and its sensors. People near the arm need the arm's own safety functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from vision_ik.control.settings import ServoSettings
from vision_ik.errors import VisionIkError
from vision_ik.types import Floats, IkSolution, JointState

CLOCK_TOLERANCE = 0.05
"""[s] A joint state may be stamped so far ahead: clocks of two machines never agree."""


class Mode(Enum):
    """What the loop does."""

    IDLE = "idle"
    """No target seen yet; the arm stands."""
    TRACKING = "tracking"
    COASTING = "coasting"
    """The target is hidden for a moment; the arm follows its prediction."""
    HOLDING = "holding"
    """Brought to a stop within the limits; goes on by itself when the reason is gone."""
    STOPPED = "stopped"
    """Brought to a stop within the limits; only `ServoLoop.resume` or a new loop goes on."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Verdict:
    """The supervisor's word on one tick."""

    mode: Mode
    reason: str = ""
    """One sentence: what, and how much. Empty while all is well."""
    remedy: str = ""
    """One sentence: what to do."""
    facts: Mapping[str, object] = field(default_factory=dict[str, object])
    error: Exception | None = None
    """What was raised, where something was."""

    @property
    def moving(self) -> bool:
        """Whether the arm may go on toward the target."""
        return self.mode in (Mode.TRACKING, Mode.COASTING)


class Supervisor:
    """Judges each tick; a stop latches, a hold ends with its reason.

    Args:
        settings: The bounds.
        joint_names: For the sentences.
    """

    def __init__(self, settings: ServoSettings, joint_names: Sequence[str]) -> None:
        self.settings = settings
        self._names = tuple(joint_names)
        self._stop: Verdict | None = None

    @property
    def stopped(self) -> Verdict | None:
        """The verdict that stopped the loop, or None."""
        return self._stop

    def stop(
        self, reason: str, remedy: str, *, facts: Mapping[str, object] | None = None, error: Exception | None = None
    ) -> Verdict:
        """Stop, on request or because of a fault; the first reason is kept."""
        if self._stop is None:
            self._stop = Verdict(mode=Mode.STOPPED, reason=reason, remedy=remedy, facts=facts or {}, error=error)
        return self._stop

    def stop_for(self, error: Exception, source: str) -> Verdict:
        """Stop because ``source`` ("camera", "arm", "detector", ...) raised ``error``."""
        if isinstance(error, VisionIkError):
            return self.stop(error.cause, error.remedy, facts={**error.facts, "source": source}, error=error)
        cause = f"The {source} raised {type(error).__name__}: {error}."
        return self.stop(cause, f"Mend the {source}.", facts={"source": source}, error=error)

    def resume(self) -> None:
        """Forget the stop; see `ServoLoop.resume`."""
        self._stop = None

    def judge_state(self, now: float, state: JointState, setpoint: Floats) -> Verdict | None:
        """Return why the arm's own state forbids motion, or None.

        Args:
            now: [s]
            state: Newest of the arm.
            setpoint: (n,) that the arm should be near [rad].
        """
        if self._stop is not None:
            return self._stop
        error = np.abs(state.q - setpoint)
        worst = int(np.argmax(error))
        if error[worst] > self.settings.max_tracking_error:
            return self.stop(
                f"Joint {self._names[worst]} is {error[worst]:.3f} rad from its set-point; "
                f"at most {self.settings.max_tracking_error:.3f} rad is allowed.",
                "Look for a collision, a brake or a lost connection, then start anew.",
                facts={"joint": self._names[worst], "tracking_error": float(error[worst])},
            )
        return self._judge_age(now - state.timestamp)

    def judge_target(self, now: float, last_seen: float, why_unseen: VisionIkError | None) -> Verdict | None:
        """Return why the newest sight of the target forbids motion, or None.

        Args:
            now: [s]
            last_seen: When the target was last seen [s]; -inf for never.
            why_unseen: What keeps seen tags from being used, if anything.
        """
        if last_seen == -np.inf:
            if why_unseen is not None:
                return Verdict(
                    mode=Mode.IDLE, reason=why_unseen.cause, remedy=why_unseen.remedy, facts=why_unseen.facts
                )
            return Verdict(
                mode=Mode.IDLE,
                reason="No target has been seen yet.",
                remedy="Bring the tag into view; check its family, size and lighting.",
            )
        age = now - last_seen
        if age > self.settings.max_data_age:
            return _hold(
                f"The target was last seen {_ms(age)} ago; at most {_ms(self.settings.max_data_age)} is allowed.",
                "Bring the tag back into view; motion goes on by itself.",
                data_age=age,
            )
        return None

    def judge_goal(self, now: float, last_seen: float, p_base: Floats, solution: IkSolution) -> Verdict:
        """Return whether the arm may go where the solver says.

        Args:
            now: [s]
            last_seen: When the target was last seen [s].
            p_base: (3,) where the tool shall go [m].
            solution: For it.
        """
        outside = self._outside(p_base, "The target")
        if outside is not None:
            return outside
        s = self.settings
        reason = remedy = ""
        if not solution.converged:
            reason = (
                f"The target is out of reach ({solution.status.name.lower()}): the closest posture is "
                f"{1000 * solution.position_error:.1f} mm and {np.rad2deg(solution.rotation_error):.1f} deg away."
            )
            remedy = "Bring the tag closer to the arm or turn it, or change T_tag_target in the rig."
            if solution.position_error > s.near_position or solution.rotation_error > s.near_rotation:
                return _hold(
                    reason,
                    remedy,
                    position_error=solution.position_error,
                    rotation_error=solution.rotation_error,
                )
        age = now - last_seen
        if age > s.coasting_after:
            reason = reason or f"The target was last seen {_ms(age)} ago; the arm follows its prediction."
            return Verdict(mode=Mode.COASTING, reason=reason, remedy=remedy, facts={"data_age": age})
        return Verdict(mode=Mode.TRACKING, reason=reason, remedy=remedy)

    def judge_tool(self, p_before: Floats, p_after: Floats) -> Verdict | None:
        """Return a hold when a step would take the tool (further) out of the workspace, or None.

        Args:
            p_before: (3,) tool of the present set-point in the base frame [m].
            p_after: (3,) tool of the next one [m].
        """
        box = self.settings.workspace
        if box is None or np.abs(box.excess(p_after)).sum() <= np.abs(box.excess(p_before)).sum():
            return None
        return self._outside(p_after, "The way to the target")

    def _judge_age(self, age: float) -> Verdict | None:
        """Return a hold when a joint state's age [s] is too high, or not that of a state of this clock."""
        if -CLOCK_TOLERANCE <= age <= self.settings.max_state_age:
            return None
        if age > self.settings.max_state_age:
            return _hold(
                f"The newest joint state is {_ms(age)} old; at most {_ms(self.settings.max_state_age)} is allowed.",
                "Check the connection to the arm; motion goes on with the next fresh state.",
                state_age=age,
            )
        when = f"{_ms(-age)} in the future" if np.isfinite(age) else "at no finite time"
        return _hold(
            f"The newest joint state is stamped {when}, so nobody knows how old it is.",
            "Let the arm stamp its states on the clock of the loop; motion goes on with the next fresh state.",
            state_age=age,
        )

    def _outside(self, p_base: Floats, what: str) -> Verdict | None:
        box = self.settings.workspace
        excess = np.zeros(3) if box is None else box.excess(p_base)
        axis = int(np.argmax(np.abs(excess)))
        if excess[axis] == 0.0:
            return None
        return _hold(
            f"{what} leaves the workspace by {1000 * abs(excess[axis]):.1f} mm along {'xyz'[axis]}.",
            "Bring the tag back inside, or widen the workspace in the settings.",
            axis="xyz"[axis],
            excess=float(excess[axis]),
        )


def _hold(reason: str, remedy: str, **facts: object) -> Verdict:
    return Verdict(mode=Mode.HOLDING, reason=reason, remedy=remedy, facts=facts)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
