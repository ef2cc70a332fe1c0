"""The closed loop: camera to arm, on one clock."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from time import perf_counter
from typing import cast

from vision_ik.clock import Clock, MonotonicClock
from vision_ik.control.feed import FrameFeed
from vision_ik.control.loop import ServoLoop, ServoStep
from vision_ik.control.settings import ServoSettings
from vision_ik.control.supervisor import Mode, Verdict
from vision_ik.errors import ArmError, CameraError, VisionIkError
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel, load_robot
from vision_ik.tags import TagDetector, TagFollower
from vision_ik.types import Arm, Camera, Detector, Frame, IkSolver, JointState


def servo(
    camera: Camera,
    arm: Arm,
    *,
    rig: Rig,
    solver: IkSolver,
    detector: Detector | None = None,
    robot: RobotModel | None = None,
    clock: Clock | None = None,
    settings: ServoSettings | None = None,
    loop: ServoLoop | None = None,
) -> Generator[ServoStep]:
    """Let the tool follow the seen target; yield what each control tick saw, decided and did.

    Each tick polls the camera, predicts the target to the time the command takes effect, solves,
    limits, and sends. The loop ends when a finite source has ended and the arm stands, or when the
    supervisor stopped it and the arm stands. Leaving the ``for`` early stops the arm as well.

    Args:
        camera: Source of frames.
        arm: What moves.
        rig: How they stand to each other.
        solver: For poses of the rig's tool.
        detector: Finds the tags; by default a follower of the rig's family.
        robot: Model of the arm; by default the solver's, or the one the rig names.
        clock: Of camera and arm; by default the arm's, or else the machine's monotonic clock.
        settings: All bounds.
        loop: One made by the caller, to reach its supervisor; then rig, solver and settings are its own.

    Raises:
        ConfigError: The rig has no camera pose, or does not belong to this robot or tool.
        ArmError: The arm has other joints than the robot.
        Exception: Whatever a detector or solver of the caller raised, after the arm was stopped.
    """
    if loop is None:
        if robot is None:
            robot = cast("RobotModel | None", getattr(solver, "robot", None)) or load_robot(
                rig.robot, rig.base, rig.tip
            )
        detector = detector or TagFollower(TagDetector(family=rig.tag_family))
        loop = ServoLoop(rig=rig, solver=solver, robot=robot, detector=detector, settings=settings)
    if arm.joint_names != loop.robot.joint_names:
        raise ArmError(
            f"The arm has joints {', '.join(arm.joint_names)}, the robot {', '.join(loop.robot.joint_names)}.",
            "Load the robot that belongs to this arm.",
        )
    if clock is None:
        clock = cast("Clock | None", getattr(arm, "clock", None)) or MonotonicClock()
    return _run(FrameFeed(camera), arm, loop, clock)


def _run(feed: FrameFeed, arm: Arm, loop: ServoLoop, clock: Clock) -> Generator[ServoStep]:
    finished = False
    try:
        tick = clock.now()
        while not finished:
            step = _step(feed, arm, loop, clock.now())
            finished = _finished(feed, loop, step)
            if finished and step.verdict.mode is Mode.STOPPED:
                _stop(arm, loop)
            yield step
            if not finished:
                tick = max(tick + loop.settings.period, clock.now())
                clock.sleep_until(tick)
        error = None if loop.supervisor.stopped is None else loop.supervisor.stopped.error
        if error is not None and not isinstance(error, VisionIkError):
            raise error
    finally:
        if not finished:
            arm.stop()


def _step(feed: FrameFeed, arm: Arm, loop: ServoLoop, now: float) -> ServoStep:
    """Do one tick; what goes wrong becomes a stop with its reason."""
    supervisor = loop.supervisor
    begin = perf_counter()
    state: JointState | None = None
    try:
        state = arm.read()
    except ArmError as error:
        return _powerless(now, supervisor.stop_for(error, "arm"))
    frames = _frames(feed, loop, now)
    read = perf_counter()
    step = loop.tick(now, state, frames[-1] if frames else None, earlier=frames[:-1])
    proposed = step.command
    if proposed is None:
        return step
    ready = perf_counter()
    try:
        sent = arm.send(proposed)
    except ArmError as error:
        return _powerless(now, supervisor.stop_for(error, "arm"), state)
    loop.sent(sent)
    timings = {**step.timings, "read": read - begin, "send": perf_counter() - ready}
    return replace(step, command=sent, timings=timings)


def _frames(feed: FrameFeed, loop: ServoLoop, now: float) -> list[Frame]:
    if loop.supervisor.stopped is not None:
        return []  # the arm is coming to rest; a dead camera must not be asked again
    try:
        return feed.poll(now)
    except CameraError as error:
        loop.supervisor.stop_for(error, "camera")
        return []


def _powerless(now: float, verdict: Verdict, state: JointState | None = None) -> ServoStep:
    return ServoStep(timestamp=now, command=None, state=state, verdict=verdict)


def _finished(feed: FrameFeed, loop: ServoLoop, step: ServoStep) -> bool:
    if step.verdict.mode is Mode.STOPPED:
        return step.command is None or loop.still
    return feed.ended and loop.still and (not step.verdict.moving or loop.arrived)


def _stop(arm: Arm, loop: ServoLoop) -> None:
    """Latch the stop in the arm itself; an arm that cannot be reached has been reported already."""
    try:
        arm.stop()
    except ArmError as error:
        loop.supervisor.stop_for(error, "arm")
