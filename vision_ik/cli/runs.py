"""The three kinds of run: over stills, over a film or live source, over a simulated scene."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vision_ik.cameras.images import IMAGE_SUFFIXES
from vision_ik.cli.console import Stage, Stages
from vision_ik.cli.following import Trace, follow
from vision_ik.cli.recorder import RunRecorder
from vision_ik.cli.run import Options
from vision_ik.cli.setting import Setting
from vision_ik.cli.stills import HeldFrame
from vision_ik.cli.tally import Tally
from vision_ik.control import ServoStep, servo
from vision_ik.errors import FrameReadError
from vision_ik.tags import TagFollower
from vision_ik.types import Camera, Frame, PoseEstimate
from vision_ik.view import LiveWindow

_STILL_RATE = 10.0
"""Frames per second at which a still picture is shown to the loop."""
_SIM_SECONDS = 20.0
"""[s] A simulation has no end of its own."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run left in memory, for its report."""

    tally: Tally = field(default_factory=Tally)
    trace: Trace = field(default_factory=Trace)
    wall_s: float = 0.0
    """[s] Wall time of the loop."""
    run_s: float = 0.0
    """[s] The same on the clock of the run."""
    faults: list[FrameReadError] = field(default_factory=list[FrameReadError])
    """Pictures that could not be read."""


def drive(setting: Setting, options: Options, stages: Stages, window: LiveWindow | None) -> Outcome:
    """Run the loop over the source that the options name.

    Raises:
        VisionIkError: The source cannot be used, or nothing can be written.
    """
    runner = _Runner(setting, options, window)
    begin, start = time.perf_counter(), setting.world.now()
    with setting.open() as camera:
        if is_still(options.source):
            runner.over_stills(camera, stages)
        else:
            runner.over_film(camera, stages)
        setting.tell(camera)
    runner.outcome.wall_s = time.perf_counter() - begin
    runner.outcome.run_s = setting.world.now() - start
    return runner.outcome


def is_still(source: str) -> bool:
    """Return whether a source is a picture or a folder of pictures."""
    path = Path(source)
    return path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES


class _Runner:
    """Runs the loop over frames of any origin, with one recorder for all of them."""

    def __init__(self, setting: Setting, options: Options, window: LiveWindow | None) -> None:
        self.outcome = Outcome()
        self._setting = setting
        self._options = options
        self._window = window

    def over_stills(self, camera: Camera, stages: Stages) -> None:
        """Hold each picture before the arm, once for each tag in it.

        Pictures of a folder share no camera: without a rig, each is placed anew by its first tag.
        """
        with ExitStack() as stack:
            recorder: RunRecorder | None = None
            while (frame := self._next_still(camera)) is not None:
                poses = self._setting.poses(frame)
                if self._setting.virtual:
                    self._setting.place(next(iter(self._wanted(poses)), None))
                if recorder is None:
                    recorder = stack.enter_context(self._recorder(_STILL_RATE))
                recorder.rig = self._setting.rig
                ids = list(dict.fromkeys(pose.tag_id for pose in self._wanted(poses))) or [self._options.tag]
                with stages.stage(f"picture {frame.index + 1}", total=len(ids)) as stage:
                    for done, tag_id in enumerate(ids):
                        stage.update(completed=done)
                        duration, clock = self._options.hold_s, self._setting.clock
                        held = HeldFrame(frame, duration=duration, rate=_STILL_RATE, clock=clock)
                        if not self._loop(held, tag_id, recorder, stage):
                            return

    def _next_still(self, camera: Camera) -> Frame | None:
        """Return the next picture that can be read; what is wrong with the others is kept."""
        while not camera.ended:
            try:
                return camera.read(timeout=1.0)
            except FrameReadError as error:
                self.outcome.faults.append(error)
        return None

    def over_film(self, camera: Camera, stages: Stages) -> None:
        """Follow the tag through a video, a stream or a simulation."""
        if self._setting.virtual:
            with stages.stage("look for the first tag") as stage:
                self._setting.place(self._first_sighting(camera, stage))
        with self._recorder(self._setting.rate) as recorder, stages.stage("follow the tag") as stage:
            self._loop(camera, self._options.tag, recorder, stage)

    def _first_sighting(self, camera: Camera, stage: Stage) -> PoseEstimate | None:
        """Return the first pose of a wanted tag: of a film read ahead to its end, of a live source when it comes."""
        with ExitStack() as stack:
            ahead = camera if camera.live else stack.enter_context(self._setting.open(clocked=False))
            while not ahead.ended:
                frame = ahead.read(timeout=1.0)
                if frame is None:
                    stage.update(_trouble(ahead))
                    continue
                stage.update(f"frame {frame.index}: no tag yet")
                found = self._wanted(self._setting.poses(frame))
                if found:
                    stage.update(f"tag {found[0].tag_id} in frame {frame.index}")
                    return found[0]
                if self._window is not None and not self._window.show(frame.image):
                    break
            return None

    def _wanted(self, poses: list[PoseEstimate]) -> list[PoseEstimate]:
        return [pose for pose in poses if self._options.tag in (None, pose.tag_id)]

    def _recorder(self, rate: float) -> RunRecorder:
        return RunRecorder(
            self._options.out,
            robot=self._setting.robot,
            rig=self._setting.rig,
            third_person=self._setting.third_person,
            fps=rate,
        )

    def _loop(self, camera: Camera, tag_id: int | None, recorder: RunRecorder, stage: Stage) -> bool:
        """Servo over one camera; return False when the person closed the window."""
        setting, outcome = self._setting, self.outcome
        start = setting.clock.now()
        setting.arm.resume()

        def on_step(step: ServoStep) -> None:
            self._show_tag(step)
            stage.update(_trouble(camera))

        return follow(
            servo(
                camera,
                setting.arm,
                rig=setting.rig,
                solver=setting.solver,
                detector=TagFollower(setting.detector),
                robot=setting.robot,
                clock=setting.clock,
                settings=replace(setting.settings, tag_id=tag_id),
            ),
            robot=setting.robot,
            T_flange_tool=setting.rig.T_flange_tool,
            tally=outcome.tally,
            trace=outcome.trace,
            recorder=recorder,
            stage=stage,
            window=self._window,
            until=start + self._duration,
            on_step=on_step,
        )

    @property
    def _duration(self) -> float:
        if self._options.seconds is not None:
            return self._options.seconds
        return _SIM_SECONDS if self._options.source.startswith("sim:") else np.inf

    def _show_tag(self, step: ServoStep) -> None:
        """Put what was seen into the third-person picture (a simulation shows its own tags)."""
        if self._setting.simulated or step.target is None or step.frame is None:
            return
        tag_id = int(step.target.name.removeprefix("tag "))
        T_base_tag = step.target.T_base_target @ self._setting.rig.T_tag_target.inv()
        self._setting.show_tag(tag_id, T_base_tag)


def _trouble(camera: Camera) -> str | None:
    """Return why a live camera gives no frames, None while it does (and for cameras that do not tell)."""
    return getattr(camera, "trouble", "") or None
