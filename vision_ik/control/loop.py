"""One control tick: what is known goes in, a command with its reasons comes out. No I/O, no waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from vision_ik.arms import JointLimits
from vision_ik.control.feed import JointHistory
from vision_ik.control.settings import ServoSettings
from vision_ik.control.sight import Sight
from vision_ik.control.supervisor import CLOCK_TOLERANCE, Mode, Supervisor, Verdict
from vision_ik.control.trajectory import JointTrajectory
from vision_ik.errors import ConfigError
from vision_ik.ik import HybridSolver
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import (
    Detector,
    Floats,
    Frame,
    IkSolution,
    IkSolver,
    JointCommand,
    JointState,
    PoseEstimate,
    TagDetection,
    Target,
)

_LONGEST_STEP = 0.04
"""[s] A tick that comes later than this steps the set-point no further; the arm's guard has braked by then."""
_BRANCH_CHANGE = 0.5
"""[rad] Between the solutions of two ticks; more is another posture of the arm, not a motion of the target."""
_DAMPING = 0.02
"""Of the pseudo-inverse that maps the target's twist to joint velocities [m, rad]; bounds them near singularities."""

_UNSETTLED = Verdict(
    mode=Mode.IDLE,
    reason="The target is seen, but two poses of it fit the pictures alike.",
    remedy="Bring the camera nearer or look at the tag from the side; a larger tag, or several on one body, helps too.",
)
"""Until the tracker can tell the planar solutions apart, an arm must not go to either."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ServoStep:
    """All that one control tick saw, decided and did."""

    timestamp: float
    """[s] Of the tick."""
    frame: Frame | None = None
    """The newest frame that came in with this tick."""
    detections: Sequence[TagDetection] = ()
    """In that frame."""
    poses: Sequence[PoseEstimate] = ()
    """Of the detected tags whose size is known."""
    target: Target | None = None
    """Where the tool shall be when this command takes effect."""
    solution: IkSolution | None = None
    command: JointCommand | None
    """What was sent, after the arm's guard; None when nothing could be sent."""
    state: JointState | None
    """The arm before the command; None when it could not be read."""
    verdict: Verdict
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    """[s] Wall time by stage: see, solve, limit, read, send."""


class ServoLoop:
    """The state of a servo between ticks: track, set-point, supervisor.

    Args:
        rig: Camera pose, tag sizes, T_tag_target.
        solver: For poses of the rig's tool.
        robot: Model of the arm.
        detector: Finds the tags.
        settings: All bounds.

    Raises:
        ConfigError: The rig has no camera pose, or was calibrated with another robot or tool.
    """

    def __init__(
        self,
        *,
        rig: Rig,
        solver: IkSolver,
        robot: RobotModel,
        detector: Detector,
        settings: ServoSettings | None = None,
    ) -> None:
        _require_matching(rig, solver, robot)
        self.settings = settings or ServoSettings()
        self.robot = robot
        self.supervisor = Supervisor(self.settings, robot.joint_names)
        self.sight = Sight(rig, detector, self.settings)
        self.trajectory = JointTrajectory(JointLimits.of(robot).scaled(self.settings.speed_scale))
        self._rig = rig
        self._solver = solver
        self._history = JointHistory()
        self._last_tick: float | None = None
        self._moving_since: float | None = None
        self._q_solved: Floats | None = None
        # Compiled code loads at its first call, which takes seconds: not while the arm moves.
        solver.solve(Transform(robot.forward(robot.home)) @ rig.T_flange_tool, q_start=robot.home)
        if isinstance(solver, HybridSolver):
            solver.warm_up()
        robot.jacobian(robot.home)

    @property
    def still(self) -> bool:
        """Whether the set-point stands."""
        return self.trajectory.still

    @property
    def arrived(self) -> bool:
        """Whether the set-point is where the solver wants it."""
        q = self._q_solved
        return q is not None and bool(np.abs(self.trajectory.inside(q) - self.trajectory.q).max() < 1e-4)

    def tick(
        self, now: float, state: JointState, frame: Frame | None = None, *, earlier: Sequence[Frame] = ()
    ) -> ServoStep:
        """Decide on one command.

        Args:
            now: Time of the tick [s].
            state: Newest of the arm.
            frame: The newest that came in since the last tick, if any.
            earlier: Frames that came in before it since the last tick, oldest first.

        Returns:
            The step; its command is a proposal until `sent` confirms it. Whatever the detector or the
            solver raises is in its verdict, which stops the arm.
        """
        dt = self._begin(now, state)
        if state.timestamp <= now + CLOCK_TOLERANCE:  # a later or no time would keep true ones out
            self._history.add(state)
        begin = perf_counter()
        detections, poses = self._see_all(frame, earlier)
        seen = perf_counter()
        target, solution, verdict = self._decide(now, state)
        solved = perf_counter()
        verdict = self._advance(now, dt, target, solution, verdict)
        limited = perf_counter()
        command = JointCommand(names=self.robot.joint_names, q=self.trajectory.q, dq=self.trajectory.dq, timestamp=now)
        return ServoStep(
            timestamp=now,
            frame=frame,
            detections=detections,
            poses=poses,
            target=target,
            solution=solution,
            command=command,
            state=state,
            verdict=verdict,
            timings={"see": seen - begin, "solve": solved - seen, "limit": limited - solved},
        )

    def resume(self) -> None:
        """Go on after a stop, softly, from where the arm then stands."""
        self.supervisor.resume()
        self._last_tick = self._moving_since = self._q_solved = None

    def sent(self, command: JointCommand) -> None:
        """Go on from what the arm's guard let through."""
        if command.clipped_by:
            self.trajectory.reset(command.q, command.dq)

    def _see_all(self, newest: Frame | None, earlier: Sequence[Frame]) -> tuple[list[TagDetection], list[PoseEstimate]]:
        """Take in frames; return what the newest shows."""
        detections: list[TagDetection] = []
        poses: list[PoseEstimate] = []
        if not self._history:  # no posture to look from
            return detections, poses
        try:
            for frame in (*earlier, newest) if newest is not None else earlier:
                T_base_flange = Transform(self.robot.forward(self._history.at(frame.timestamp)))
                detections, poses = self.sight.take(frame, self._rig.T_base_camera(T_base_flange))
        except Exception as error:  # the caller's own code: the arm is stopped, then the loop's end raises it
            self.supervisor.stop_for(error, "detector")
        return detections, poses

    def _begin(self, now: float, state: JointState) -> float:
        """Return the time to step [s]; start from the arm's posture after a gap."""
        last, self._last_tick = self._last_tick, now
        if last is None:
            self.trajectory.reset(state.q)
            return self.settings.period
        if now - last > _LONGEST_STEP:
            self.trajectory.reset(state.q, state.dq)
            return self.settings.period
        return now - last

    def _decide(self, now: float, state: JointState) -> tuple[Target | None, IkSolution | None, Verdict]:
        verdict = self.supervisor.judge_state(now, state, self.trajectory.q)
        target = self.sight.predict(now + self.settings.arm_latency)
        if verdict is not None:
            return target, None, verdict
        verdict = self.supervisor.judge_target(now, self.sight.last_seen, self.sight.trouble)
        if verdict is not None or target is None:
            return target, None, verdict or _UNSETTLED
        try:
            solution = self._solve(target)
        except Exception as error:  # as above
            return target, None, self.supervisor.stop_for(error, "solver")
        p_base = target.T_base_target.translation
        return target, solution, self.supervisor.judge_goal(now, self.sight.last_seen, p_base, solution)

    def _solve(self, target: Target) -> IkSolution:
        """Solve near the last solution while the target is followed: the set-point may still be far behind."""
        near = self.trajectory.q if self._q_solved is None else self._q_solved
        return self._solver.solve(target.T_base_target, q_start=near)

    def _advance(
        self, now: float, dt: float, target: Target | None, solution: IkSolution | None, verdict: Verdict
    ) -> Verdict:
        """Step the set-point as the verdict says; return the verdict with what this step adds."""
        if not verdict.moving or target is None or solution is None:
            self._moving_since = self._q_solved = None
            self.trajectory.step_to_rest(dt)
            return verdict
        if self._moving_since is None:
            self._moving_since = now
        before = self.trajectory.q, self.trajectory.dq, self.trajectory.ddq
        dq = self._feed_forward(target, solution)
        self.trajectory.step_to(solution.q, dq, dt, speed=self._soft_start(now))
        outside = self.supervisor.judge_tool(self._tool(before[0]), self._tool(self.trajectory.q))
        if outside is not None:
            self.trajectory.q, self.trajectory.dq, self.trajectory.ddq = before
            return self._advance(now, dt, None, None, outside)
        last, self._q_solved = self._q_solved, solution.q
        return self._explain_branch(verdict, last, solution.q)

    def _soft_start(self, now: float) -> float:
        s = self.settings
        if s.soft_start_s == 0.0 or self._moving_since is None:
            return 1.0
        return min(1.0, s.soft_start_speed + (1.0 - s.soft_start_speed) * (now - self._moving_since) / s.soft_start_s)

    def _feed_forward(self, target: Target, solution: IkSolution) -> Floats:
        """Return the joint velocities (n,) that carry the tool along with the target [rad/s].

        ``dq = J^T (J J^T + damping^2 I)^-1 twist``, both of the flange, in base axes.
        """
        if not solution.converged:
            return np.zeros(self.robot.n)
        twist_flange = self._rig.T_flange_tool.adjoint() @ target.twist
        R_base_flange = target.T_base_target.rotation @ self._rig.T_flange_tool.rotation.T
        twist_base = np.concatenate([R_base_flange @ twist_flange[:3], R_base_flange @ twist_flange[3:]])
        J = self.robot.jacobian(solution.q)
        return J.T @ np.linalg.solve(J @ J.T + _DAMPING**2 * np.eye(6), twist_base)

    def _tool(self, q: Floats) -> Floats:
        return (self.robot.forward(q) @ self._rig.T_flange_tool.matrix)[:3, 3]

    def _explain_branch(self, verdict: Verdict, last: Floats | None, q: Floats) -> Verdict:
        if last is None or verdict.reason:
            return verdict
        jump = np.abs(q - last)
        worst = int(np.argmax(jump))
        if jump[worst] < _BRANCH_CHANGE:
            return verdict
        joint = self.robot.joint_names[worst]
        return Verdict(
            mode=verdict.mode,
            reason=f"The arm changes its posture: joint {joint} turns by {jump[worst]:.2f} rad.",
            remedy="Nothing to do; it moves there within its limits.",
            facts={"joint": joint, "jump": float(jump[worst])},
        )


def _require_matching(rig: Rig, solver: IkSolver, robot: RobotModel) -> None:
    if rig.robot_hash and rig.robot_hash != robot.hash:
        raise ConfigError(
            f"The rig was calibrated with the arm model {rig.robot_hash}, but {robot.name} is {robot.hash}.",
            "Load the robot that the rig names, or calibrate again.",
            rig_hash=rig.robot_hash,
            robot_hash=robot.hash,
        )
    if rig.T_mount_camera is None:
        raise ConfigError("This rig does not know where its camera is.", "Run `vision-ik calibrate hand-eye` first.")
    T_solver = getattr(solver, "T_flange_tool", None)
    if isinstance(T_solver, Transform) and max(T_solver.distance_to(rig.T_flange_tool)) > 1e-6:
        raise ConfigError(
            "The solver was built for another tool than the rig's.",
            "Pass T_flange_tool=rig.T_flange_tool to load_solver.",
        )
