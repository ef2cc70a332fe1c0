"""The demo in simulation: a camera whose place is unknown, an arm, a board, a tag."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import numpy as np

from calibration import AutomaticCalibration, Observer, Sighting, calibrate_automatically
from sim import Motion, Scene, Viewer, load_scene
from vision_ik import __version__
from vision_ik.arms import JointLimits
from vision_ik.cli import console
from vision_ik.cli.demo import Options
from vision_ik.cli.demo_truth import TruthLog
from vision_ik.cli.following import Trace, follow
from vision_ik.cli.main import EXIT_OK
from vision_ik.cli.recorder import RunRecorder
from vision_ik.cli.setting import workspace_of
from vision_ik.cli.tally import Tally
from vision_ik.control import ServoSettings, ServoStep, move_to, servo
from vision_ik.errors import ArmError, ConfigError
from vision_ik.files import claimed_folder
from vision_ik.ik import load_solver
from vision_ik.rig import Rig, save_rig
from vision_ik.robots import load_robot
from vision_ik.tags import TagDetector, TagFollower
from vision_ik.transforms import Transform
from vision_ik.types import Image
from vision_ik.view import LiveWindow, OverlayStatus, draw_overlay

_ARM_NOISE = {"noise_mm": 0.3, "noise_deg": 0.05}
"""How far the true flange is off the encoders, per axis: a typical cobot."""
_TRACK_SECONDS = 20.0
_REST_SECONDS = 3.5
_REST_SHIFTS = ((-0.05, 0.06, 0.03), (0.04, -0.08, -0.02), (0.0, 0.02, 0.06))
"""[m] Where the tag is put to rest, from the middle of its path."""
_SIGHTING_PICTURES = 4
"""Pictures of the video for which a calibration view stands still."""
_TAG_SHIFTS = ((0.0, 0.0, 0.0), (0.05, 0.0, 0.1), (0.1, 0.0, 0.15), (0.15, 0.0, 0.2), (0.1, 0.0, 0.3), (-0.1, 0.0, 0.1))
"""[m] Tried in turn, until this arm reaches the whole path of the tag."""
_LAPSE_S = 0.3
"""[s] Between two pictures of the calibration's time lapse."""


def _check_robot(name: str) -> None:
    robot = load_robot(name)
    if robot.n < 6:
        raise ConfigError(
            f"{name} has {robot.n} joints, but showing a board from all sides and touching a tag takes 6.",
            "Choose an arm with at least 6 joints: `vision-ik robots` lists them.",
            robot=name,
        )


@dataclass(slots=True, kw_only=True)
class DemoOutcome:
    """All that the demo measured, for its report."""

    calibration: AutomaticCalibration
    T_true: Transform
    """Where the camera truly is, in the base frame."""
    calibration_s: float
    """[s] Wall time; likewise below."""
    tracking_s: float
    moving: TruthLog
    resting: list[TruthLog]
    tally: Tally
    trace: Trace
    run_s: float
    """[s] Simulated time of the tracking part."""
    last_picture: Image
    rig: Rig


def run_simulated(options: Options, *, window: bool) -> int:
    """Run all parts in the simulation; return the exit code."""
    from vision_ik.cli.demo_report import present

    _check_robot(options.robot)
    with claimed_folder(options.out):
        with ExitStack() as stack:
            robot = {"name": options.robot, **_ARM_NOISE}
            scene = stack.enter_context(load_scene("tabletop", seed=options.seed, robot=robot))
            stages = stack.enter_context(console.Stages())
            recorder = stack.enter_context(
                RunRecorder(
                    options.out,
                    robot=scene.robot,
                    rig=scene.blank_rig(),
                    name="demo",
                    third_person=_viewer(scene).capture,
                    fps=15.0,
                    every=2,
                )
            )
            demo = _Demo(scene, options, recorder, LiveWindow("vision-ik demo") if window else None)
            try:
                outcome = demo.run(stages)
            except WindowClosedError:
                stages.say(f"The window was closed; the video so far is in {options.out}/.")
                return EXIT_OK
        return present(outcome, scene, options)


class WindowClosedError(Exception):
    """The person closed the window: the demo ends early, and that is no fault."""


class _Demo:
    """The parts in their order; each leaves what the next one needs."""

    def __init__(self, scene: Scene, options: Options, recorder: RunRecorder, window: LiveWindow | None) -> None:
        self._scene = scene
        self._options = options
        self._recorder = recorder
        self._window = window
        self._motion = _reachable_motion(scene)
        self._tally, self._trace = Tally(), Trace()

    def run(self, stages: console.Stages) -> DemoOutcome:
        """Calibrate, follow the moving tag, go to the tag at rest."""
        scene = self._scene
        begin = time.perf_counter()
        with stages.stage("calibrate: where is the camera?", total=self._options.views) as stage:
            calibration = self._calibrate(stage)
            result = calibration.result
            stage.update(f"± {1000 * result.sigma_translation:.2f} mm, {np.rad2deg(result.sigma_rotation):.3f} deg")
        rig = self._save(calibration)
        gc.freeze()  # what is loaded stays: the collector need not walk it again and again while the loop runs
        calibrated = time.perf_counter()
        start = scene.world.now()
        with stages.stage("follow the moving tag") as stage:
            moving = self._follow(rig, self._options.seconds or _TRACK_SECONDS, stage)
        resting: list[TruthLog] = []
        with stages.stage("go to tags at rest", total=len(_REST_SHIFTS)) as stage:
            for i, shift in enumerate(_REST_SHIFTS):
                self._rest_tag(shift)
                resting.append(self._follow(rig, _REST_SECONDS, stage))
                stage.update(completed=i + 1)
        picture = self._recorder.picture
        return DemoOutcome(
            calibration=calibration,
            T_true=scene.true_rig().T_base_camera(Transform.identity()),
            calibration_s=calibrated - begin,
            tracking_s=time.perf_counter() - calibrated,
            moving=moving,
            resting=resting,
            tally=self._tally,
            trace=self._trace,
            run_s=scene.world.now() - start,
            last_picture=np.zeros((2, 2, 3), np.uint8) if picture is None else picture,
            rig=rig,
        )

    # -- calibration ------------------------------------------------------------

    def _calibrate(self, stage: console.Stage) -> AutomaticCalibration:
        scene, board = self._scene, self._scene.board
        if board is None:
            raise ValueError("The demo's scene has a board.")
        self._take_tag()
        scene.mount_board()
        lapse = _TimeLapse(scene, self._recorder, self._window)
        observer = Observer(
            scene.arm,
            scene.camera,
            board,
            scene.robot,
            clock=scene.world,
            speed=0.5,
            on_sighting=lapse.sighting,
            on_tick=lapse.tick,
        )

        def progress(doing: str, done: int, _wanted: int) -> None:
            lapse.doing = doing if not done else f"{doing}: {done} of {self._options.views}"
            stage.update(doing, completed=done)

        calibration = calibrate_automatically(
            observer,
            load_solver(scene.robot),
            n=self._options.views,
            seed=self._options.seed,
            on_progress=progress,
        )
        limits = JointLimits.of(scene.robot)
        move_to(scene.arm, scene.robot.home, limits=limits, clock=scene.world, speed_scale=0.5)
        scene.remove_board()
        self._put_tag(self._motion)
        return calibration

    def _save(self, calibration: AutomaticCalibration) -> Rig:
        """Keep the calibrated rig as a person would: what follows knows no more than this file."""
        result = calibration.result
        rig = replace(
            self._scene.blank_rig(),
            T_mount_camera=result.T_mount_camera,
            camera_covariance=result.covariance,
            provenance={
                "made_by": f"vision-ik {__version__} demo",
                "made_on": date.today().isoformat(),
                "views": str(result.used_views),
            },
        )
        save_rig(rig, self._options.out / "rig")
        return rig

    # -- following ----------------------------------------------------------------

    def _rest_tag(self, shift: tuple[float, float, float]) -> None:
        self._take_tag()
        self._put_tag(_shifted(self._motion.T_world_centre, shift))

    def _take_tag(self) -> None:
        self._scene.world.detach(f"tag {self._scene.tag_id}")

    def _put_tag(self, pose: Transform | Motion) -> None:
        tag = self._scene.file.tags[0]
        self._scene.world.attach_tag(tag.tag_id, tag.size_m, "world", pose, family=tag.family)

    def _follow(self, rig: Rig, seconds: float, stage: console.Stage) -> TruthLog:
        scene, log = self._scene, TruthLog()
        self._recorder.rig = rig

        def on_step(_step: ServoStep) -> None:
            log.add(scene.world, rig)

        goes_on = follow(
            servo(
                scene.camera,
                scene.arm,
                rig=rig,
                solver=load_solver(scene.robot, T_flange_tool=rig.T_flange_tool),
                detector=TagFollower(TagDetector(rig.tag_family)),
                robot=scene.robot,
                clock=scene.world,
                settings=ServoSettings(tag_id=scene.tag_id, workspace=workspace_of(rig, scene.robot)),
            ),
            robot=scene.robot,
            T_flange_tool=rig.T_flange_tool,
            tally=self._tally,
            trace=self._trace,
            recorder=self._recorder,
            stage=stage,
            window=self._window,
            until=scene.world.now() + seconds,
            on_step=on_step,
        )
        if not goes_on:
            raise WindowClosedError
        if self._tally.stop is not None:
            raise ArmError(f"The arm was stopped. {self._tally.stop.reason}", self._tally.stop.remedy)
        scene.arm.resume()
        return log


class _TimeLapse:
    """Pictures of the calibration for the video: a few while the arm moves, one for each view."""

    def __init__(self, scene: Scene, recorder: RunRecorder, window: LiveWindow | None) -> None:
        self.doing = ""
        self._scene = scene
        self._recorder = recorder
        self._window = window
        self._next = 0.0

    def tick(self) -> None:
        """Take a picture if it is time."""
        now = self._scene.world.now()
        frame = self._scene.camera.read(timeout=0.0) if now >= self._next else None
        if frame is not None:
            self._next = now + _LAPSE_S
            self._show(partial(draw_overlay, frame.image, intrinsics=frame.intrinsics, status=self._status(now)))

    def sighting(self, sighting: Sighting) -> None:
        """Show what was seen from a posture, for a moment."""
        points = None if sighting.detection is None else sighting.detection.points_image
        frame = sighting.frame
        status = self._status(frame.timestamp)
        for _ in range(_SIGHTING_PICTURES):
            self._show(partial(draw_overlay, frame.image, intrinsics=frame.intrinsics, points=points, status=status))

    def _status(self, now: float) -> OverlayStatus:
        return OverlayStatus(state="calibrating", reason=self.doing, level="waiting", timestamp=now)

    def _show(self, draw: Callable[[], Image]) -> None:
        self._recorder.show(draw)
        picture = self._recorder.picture
        if self._window is not None and picture is not None and not self._window.show(picture):
            raise WindowClosedError


def _reachable_motion(scene: Scene) -> Motion:
    """Return the scene's motion of the tag, moved to where this arm reaches all of it.

    Raises:
        ConfigError: There is no such place among those tried.
    """
    motion, robot, rig = scene.tag_motion(), scene.robot, scene.true_rig()
    if motion is None:
        raise ConfigError(f"The tag of the scene {scene.name} does not move.", "Give it a motion.")
    solver = load_solver(robot, T_flange_tool=rig.T_flange_tool)
    T_base_world = scene.file.T_world_base.inv()
    for shift in _TAG_SHIFTS:
        moved = replace(motion, T_world_centre=_shifted(motion.T_world_centre, shift))
        path = [moved.pose(t) for t in np.linspace(0.0, moved.ramp_s + moved.period_s, 24)]
        rests = [_shifted(moved.T_world_centre, rest) for rest in _REST_SHIFTS]
        goals = np.stack([(T_base_world @ T_world_tag @ rig.T_tag_target).matrix for T_world_tag in [*path, *rests]])
        if solver.solve_batch(goals).converged.all():
            return moved
    raise ConfigError(
        f"The {robot.name} does not reach the demo's tag in any of {len(_TAG_SHIFTS)} places.",
        "Choose another arm: `vision-ik robots` lists them.",
        robot=robot.name,
    )


def _shifted(T_world_tag: Transform, shift: tuple[float, float, float]) -> Transform:
    return Transform.from_parts(T_world_tag.rotation, T_world_tag.translation + np.array(shift))


def _viewer(scene: Scene) -> Viewer:
    rig = scene.true_rig()
    T_world_camera = scene.file.T_world_base @ rig.T_base_camera(Transform.identity())
    return Viewer(scene.world, scenery=scene.scenery, camera=(scene.camera.intrinsics, T_world_camera, "world"))
