"""The loop as a verb runs it: every step is counted, kept, shown, and may end the run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from vision_ik.cli.console import Stage
from vision_ik.cli.recorder import RunRecorder
from vision_ik.cli.tally import Tally
from vision_ik.control import Mode, ServoStep
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Floats
from vision_ik.view import LiveWindow


@dataclass(slots=True, kw_only=True)
class Trace:
    """Series of a run, one entry per control step."""

    times: list[float] = field(default_factory=list[float])
    """[s]"""
    q: list[Floats] = field(default_factory=list[Floats])
    """(n,) measured [rad]."""
    position_error: list[float] = field(default_factory=list[float])
    """[m] Of the tool from the tracked target; NaN without one."""
    rotation_error: list[float] = field(default_factory=list[float])
    """[rad]"""
    targets: list[Floats] = field(default_factory=list[Floats])
    """(3,) [m] in the base frame; NaN without one."""
    tools: list[Floats] = field(default_factory=list[Floats])
    """(3,) [m]"""
    names: list[str] = field(default_factory=list[str])
    """Of the target; empty without one."""
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    """The last reason given for each target while it was in view, empty while all is well."""


def follow(
    steps: Generator[ServoStep],
    *,
    robot: RobotModel,
    T_flange_tool: Transform,
    tally: Tally,
    trace: Trace,
    recorder: RunRecorder,
    stage: Stage,
    window: LiveWindow | None = None,
    until: float = np.inf,
    on_step: Callable[[ServoStep], None] | None = None,
) -> bool:
    """Run through the steps of a servo loop.

    Args:
        steps: From `vision_ik.control.servo`; ended early, the arm is stopped and wants `resume`.
        robot: The arm.
        T_flange_tool: Its tool.
        tally: Counts.
        trace: Series.
        recorder: Writes files.
        stage: Shows where the run is.
        window: Shows the newest picture.
        until: Time stamp [s] at which to end.
        on_step: Called with each step first.

    Returns:
        False when the person closed the window.
    """
    with closing(steps):
        for step in steps:
            if on_step is not None:
                on_step(step)
            tally.add(step)
            _trace(step, robot, T_flange_tool, trace)
            recorder.add(step)
            if step.frame is not None:
                error = trace.position_error[-1] if trace.position_error else np.nan
                told = step.verdict.reason or (f"{1000 * error:.1f} mm from the target" if np.isfinite(error) else "")
                stage.update(f"{step.verdict.mode.value}: {told}")
                if window is not None and recorder.picture is not None and not window.show(recorder.picture):
                    return False
            if step.verdict.mode is Mode.STOPPED:
                stage.failed = True
                stage.update(f"stopped: {step.verdict.reason}")
            if step.timestamp >= until:
                return True
    return True


def _trace(step: ServoStep, robot: RobotModel, T_flange_tool: Transform, trace: Trace) -> None:
    if step.state is None:
        return
    T_base_tool = Transform(robot.forward(step.state.q)) @ T_flange_tool
    trace.times.append(step.timestamp)
    trace.q.append(step.state.q)
    trace.tools.append(T_base_tool.translation)
    if step.target is None:
        metres = radians = np.nan
        trace.targets.append(np.full(3, np.nan))
        trace.names.append("")
    else:
        metres, radians = step.target.T_base_target.distance_to(T_base_tool)
        trace.targets.append(step.target.T_base_target.translation)
        trace.names.append(step.target.name)
        if step.frame is not None:
            trace.reasons[step.target.name] = step.verdict.reason
    trace.position_error.append(metres)
    trace.rotation_error.append(radians)
