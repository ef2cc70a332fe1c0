"""The closed loop on a virtual clock stops within the limits when it must, and refuses what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from control_stage import FAST, T_BASE_TAG, SmallSolver, Stage, fastest, figure_eight, modes

from vision_ik.arms import JointLimits
from vision_ik.control import Mode, ServoLoop, ServoStep, WorkspaceBox, servo
from vision_ik.errors import ArmError, ConfigError
from vision_ik.testing import FakeArm, VirtualClock, blank_frame
from vision_ik.transforms import Transform
from vision_ik.types import Frame, JointCommand, TagDetection


@pytest.mark.parametrize("age", [0.1, 0.25])
def test_stale_data_brings_the_arm_to_rest_within_the_limits_and_in_time(age: float) -> None:
    stage = Stage(figure_eight, hidden=lambda t: t > 13.0)
    steps = stage.run(6.0, replace(FAST, max_data_age=age, coasting_after=0.08))
    last_seen = max(step.poses[0].timestamp for step in steps if step.poses)
    holding = [step for step in steps if step.verdict.mode is Mode.HOLDING]
    assert holding[0].timestamp - last_seen <= age + 0.01 + 1e-6
    assert "last seen" in holding[0].verdict.reason
    assert holding[0].verdict.remedy
    still = [step.timestamp for step in holding if step.command is not None and np.abs(step.command.dq).max() < 1e-9]
    assert still[0] - holding[0].timestamp < 0.15
    stage.assert_limits_kept(steps)


def test_an_unplugged_camera_stops_the_arm_and_ends_the_loop_with_the_reason() -> None:
    stage = Stage(figure_eight, fail_at=13.005)
    steps = stage.run(10.0)
    assert modes(steps)[-1] is Mode.STOPPED
    assert "unplugged" in steps[-1].verdict.reason
    assert steps[-1].verdict.facts["source"] == "camera"
    first = next(step for step in steps if step.verdict.mode is Mode.STOPPED)
    assert steps[-1].timestamp - first.timestamp < 0.2
    assert steps[-1].command is not None
    assert np.abs(steps[-1].command.dq).max() < 1e-9
    assert stage.arm.stopped
    stage.assert_limits_kept(steps)


@pytest.mark.parametrize(("fault", "words"), [("nan", "not finite"), ("disconnect", "connection")])
def test_a_faulty_arm_ends_the_loop_with_the_reason(fault: str, words: str) -> None:
    stage = Stage(figure_eight)

    def break_down(elapsed: float) -> None:
        if elapsed > 2.0:
            stage.arm.fault = "nan" if fault == "nan" else "disconnect"

    steps = stage.run(5.0, before=break_down)
    assert steps[-1].verdict.mode is Mode.STOPPED
    assert words in steps[-1].verdict.reason
    assert steps[-1].command is None
    assert stage.clock.now() < 12.5


def test_an_arm_that_does_not_follow_stops_the_loop() -> None:
    stage = Stage()

    def jam(elapsed: float) -> None:
        if elapsed > 1.0:
            stage.arm.fault = "stuck"

    steps = stage.run(5.0, before=jam)
    assert steps[-1].verdict.mode is Mode.STOPPED
    assert "from its set-point" in steps[-1].verdict.reason
    assert float(str(steps[-1].verdict.facts["tracking_error"])) > 0.2


@pytest.mark.parametrize("timestamp", [np.nan, np.inf, 99.0])
def test_a_joint_state_of_a_wrong_time_holds_and_spoils_nothing(timestamp: float) -> None:
    stage = Stage()
    loop = ServoLoop(rig=stage.rig, solver=SmallSolver(stage.robot), robot=stage.robot, detector=stage.detector)
    lens = stage.camera.intrinsics
    wrong = replace(stage.arm.read(), timestamp=timestamp)
    step = loop.tick(stage.clock.now(), wrong, blank_frame(stage.clock.now(), 0, lens))
    assert step.verdict.mode is Mode.HOLDING
    for k in range(1, 5):
        now = stage.clock.advance(0.01)
        step = loop.tick(now, stage.arm.read(), blank_frame(now, k, lens))
    assert step.verdict.mode is Mode.TRACKING


def test_a_stopped_loop_can_be_resumed_and_starts_softly_where_the_arm_stands() -> None:
    stage = Stage()
    loop = ServoLoop(rig=stage.rig, solver=SmallSolver(stage.robot), robot=stage.robot, detector=stage.detector)
    lens = stage.camera.intrinsics
    for k in range(60):
        now = stage.clock.advance(0.01)
        loop.sent(stage.arm.send(loop_command(loop, stage, now, blank_frame(now, k, lens))))
    loop.supervisor.stop("A button was pressed.", "Release it.")
    while not loop.still:
        now = stage.clock.advance(0.01)
        loop.sent(stage.arm.send(loop_command(loop, stage, now, None)))
    loop.resume()
    stood = stage.arm.read().q
    now = stage.clock.advance(0.01)
    step = loop.tick(now, stage.arm.read(), blank_frame(now, 99, lens))
    assert step.verdict.mode is Mode.TRACKING
    assert step.command is not None
    assert np.abs(step.command.q - stood).max() < 1e-3


def loop_command(loop: ServoLoop, stage: Stage, now: float, frame: Frame | None) -> JointCommand:
    command = loop.tick(now, stage.arm.read(), frame).command
    assert command is not None
    return command


def test_a_target_outside_the_workspace_is_not_approached() -> None:
    box = WorkspaceBox(lower=np.array([0.2, -0.5, 0.0]), upper=np.array([0.4, 0.5, 0.8]))
    stage = Stage()
    steps = stage.run(1.5, replace(FAST, workspace=box))
    assert modes(steps) == [Mode.IDLE, Mode.HOLDING]
    assert "along x" in steps[-1].verdict.reason
    assert fastest(stage, steps) == 0.0


def test_a_target_that_leaves_the_workspace_is_left_alone_at_its_border() -> None:
    box = WorkspaceBox(lower=np.array([0.2, -0.5, 0.0]), upper=np.array([0.5, 0.5, 0.8]))
    stage = Stage(lambda t: Transform.from_translation((0.05 * max(0.0, t - 13.0), 0.0, 0.0)) @ T_BASE_TAG)
    steps = stage.run(6.0, replace(FAST, workspace=box))
    assert modes(steps)[-1] is Mode.HOLDING
    farthest = max(stage.robot.forward(step.command.q)[0, 3] for step in steps if step.command is not None)
    assert 0.49 < farthest < 0.505
    stage.assert_limits_kept(steps)


def test_an_unreachable_target_is_held_with_the_distance() -> None:
    stage = Stage()
    stage.rig = replace(stage.rig, T_tag_target=Transform.from_translation((0.0, 0.0, 3.0)))
    steps = stage.run(1.0, FAST)
    assert modes(steps)[-1] is Mode.HOLDING
    assert "out of reach" in steps[-1].verdict.reason
    assert fastest(stage, steps) == 0.0


def test_an_exception_in_the_callers_detector_stops_the_arm_first_and_is_raised_then() -> None:
    class Crashing:
        def __init__(self, stage: Stage) -> None:
            self.inner = stage.detector

        def detect(self, frame: Frame) -> list[TagDetection]:
            if frame.timestamp > 11.0:
                raise KeyError("a bug of the caller")
            return self.inner.detect(frame)

    stage = Stage(figure_eight)
    steps: list[ServoStep] = []
    loop = servo(
        stage.camera,
        stage.arm,
        rig=stage.rig,
        solver=SmallSolver(stage.robot),
        detector=Crashing(stage),
        clock=stage.clock,
    )
    with pytest.raises(KeyError, match="bug of the caller"):
        steps.extend(loop)  # what came before the error is kept
    assert steps[-1].verdict.mode is Mode.STOPPED
    assert "KeyError" in steps[-1].verdict.reason
    assert stage.arm.stopped
    assert np.abs(stage.arm.written[-1][2]).max() < 1e-9
    stage.assert_limits_kept(steps)


def test_leaving_the_loop_early_stops_the_arm() -> None:
    stage = Stage()
    stage.run(1.0, FAST)
    assert stage.arm.stopped
    assert np.abs(stage.arm.written[-1][2]).max() == 0.0


def refuse_hash(stage: Stage) -> None:
    stage.rig = replace(stage.rig, robot_hash="0123456789abcdef")


def refuse_uncalibrated(stage: Stage) -> None:
    stage.rig = replace(stage.rig, T_mount_camera=None)


@pytest.mark.parametrize(("spoil", "words"), [(refuse_hash, "calibrated with"), (refuse_uncalibrated, "camera")])
def test_a_rig_that_does_not_fit_is_refused_before_anything_moves(spoil: Callable[[Stage], None], words: str) -> None:
    stage = Stage()
    spoil(stage)
    with pytest.raises(ConfigError, match=words):
        stage.run(1.0)
    assert stage.arm.written == []


def test_a_solver_for_another_tool_is_refused() -> None:
    class WithTool(SmallSolver):
        T_flange_tool = Transform.from_translation((0.0, 0.0, 0.2))

    stage = Stage()
    with pytest.raises(ConfigError, match="another tool"):
        stage.run(1.0, solver=WithTool(stage.robot))


def test_an_arm_with_other_joints_is_refused() -> None:
    stage = Stage()
    limits = replace(JointLimits.of(stage.robot), names=tuple("abcdefg"))
    arm = FakeArm(limits, clock=VirtualClock(), q=stage.robot.home)
    with pytest.raises(ArmError, match="panda_joint1"):
        servo(stage.camera, arm, rig=stage.rig, solver=SmallSolver(stage.robot))
