"""What a run needs, put together: world, arm, clock, rig, solver, detector."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sim import BulletArm, Motion, SimCamera, Viewer, World, load_scene, look_at
from sim.pacing import PacedClock
from vision_ik.cameras import is_live_source, load_any_intrinsics, open_camera
from vision_ik.cli import console
from vision_ik.cli.device_options import DeviceOptions
from vision_ik.cli.virtual_rig import approach_from_front, first_tag_pose, place_first_tag, reach_of
from vision_ik.clock import Clock
from vision_ik.control import ServoSettings, WorkspaceBox
from vision_ik.errors import InvalidPoseError, TagError
from vision_ik.ik import HybridSolver, load_solver
from vision_ik.rig import Rig, load_rig
from vision_ik.robots import RobotModel, load_robot
from vision_ik.tags import TagDetector, estimate_pose
from vision_ik.transforms import Transform
from vision_ik.types import Camera, CameraIntrinsics, Frame, Image, PoseEstimate

if TYPE_CHECKING:
    from vision_ik.cli.run import Options

_FROM_BEHIND = look_at((-0.7, -1.65, 1.15), (0.3, 0.0, 0.38))
"""T_world_camera of the third-person picture of an arm that reaches forward to a tag facing it."""
STANDOFF_M = 0.1
"""[m] The tool stops so far before a tag when nothing else is said."""
ASSUMED_SIZE_M = 0.05
"""[m] Edge of a tag that nobody measured."""


@dataclass(slots=True, kw_only=True)
class Setting:
    """The parts of one run."""

    world: World
    clock: Clock
    """The world itself, or tied to real time for a live source."""
    source: str
    fov: float
    """[rad] Assumed horizontal field of view of an unknown lens."""
    lens: CameraIntrinsics | None
    robot: RobotModel
    arm: BulletArm
    rig: Rig
    solver: HybridSolver
    detector: TagDetector
    settings: ServoSettings
    virtual: bool = False
    """Whether the camera's place is made up from the first sighting."""
    camera: SimCamera | None = None
    """The scene's own, in a simulation."""
    device: DeviceOptions = field(default_factory=DeviceOptions)
    """Wishes for a live camera."""
    rate: float = 30.0
    """[1/s] Of the video to write."""
    assumptions: list[str] = field(default_factory=list[str])
    """What nobody told and was assumed, as sentences; empty when everything is known."""
    _shown: list[Transform] = field(default_factory=lambda: [Transform.identity()])
    _told: set[str] = field(default_factory=set[str])
    _viewer: Viewer | None = None
    _ghost: str = ""

    @property
    def simulated(self) -> bool:
        """Whether the pictures come from the simulation as well."""
        return self.camera is not None

    def open(self, *, clocked: bool = True) -> Camera:
        """Open the source; a lens that had to be assumed is noted.

        Args:
            clocked: False reads a film as fast as it goes, to look ahead.

        Raises:
            CameraError: The source cannot be used.
        """
        if self.camera is not None:
            return self.camera
        camera = open_camera(
            self.source,
            intrinsics=self.lens,
            fov=self.fov,
            clock=self.clock if clocked else None,
            settings=self.device.settings(),
        )
        self.tell(camera)
        if camera.intrinsics.approximate and camera.intrinsics.distortion.any():
            self._assume("The lens is known by its maker's word alone, whose model is uncertain.")
        elif camera.intrinsics.approximate:
            self._assume(
                f"The lens is not known: {np.rad2deg(self.fov):.0f} degrees of horizontal field of view, no distortion."
            )
        return camera

    def tell(self, camera: Camera) -> None:
        """Print what a camera says of itself and did not say before: some is known only after a while."""
        for sentence in (*getattr(camera, "mismatches", ()), *getattr(camera, "remarks", ())):
            if sentence not in self._told:
                self._told.add(sentence)
                console.warn(sentence)

    def _assume(self, sentence: str) -> None:
        if sentence not in self.assumptions:
            self.assumptions.append(sentence)
            self.rig = mark_approximate(self.rig, self.assumptions)

    def place(self, first: PoseEstimate | None) -> None:
        """Place the camera of a virtual rig by its first sighting (None: somewhere, nothing was seen)."""
        if first is None:
            T_base_camera = first_tag_pose(reach_of(self.robot)) @ Transform.from_translation((0.0, 0.0, 0.5))
            self.rig = replace(self.rig, T_mount_camera=T_base_camera)
        else:
            self.rig = place_first_tag(self.rig, first, reach_of(self.robot))

    def poses(self, frame: Frame) -> list[PoseEstimate]:
        """Return the poses of the tags in a frame, those of unknown size left out."""
        found: list[PoseEstimate] = []
        for detection in self.detector.detect(frame):
            try:
                size = self.rig.tag_size(detection.tag_id)
                found.append(estimate_pose(detection, size, frame.intrinsics))
            except (TagError, InvalidPoseError):
                continue  # the loop itself tells why, once it runs
        return found

    def third_person(self) -> Callable[[], Image]:
        """Keep the arm and the tag where it was last seen; return what draws them."""
        if self._viewer is None:
            self._viewer = Viewer(self.world, None if self.simulated else _FROM_BEHIND)
        return self._viewer.capture()

    def show_tag(self, tag_id: int, T_base_tag: Transform) -> None:
        """Show a tag in the third-person picture."""
        self._shown[0] = T_base_tag
        name = f"tag {tag_id}"
        if name != self._ghost:
            if self._ghost:
                self.world.detach(self._ghost)
            self.world.attach_tag(
                tag_id,
                self.rig.tag_size(tag_id),
                "world",
                _Seen(T_world_centre=T_base_tag, places=self._shown),
                family=self.rig.tag_family,
            )
            self._ghost = name


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Seen(Motion):
    """A tag that is where it was last seen."""

    places: Sequence[Transform]

    def pose(self, t: float) -> Transform:
        """Return the last place, whatever the time."""
        del t
        return self.places[0]


@contextmanager
def open_setting(options: Options) -> Generator[Setting]:
    """Build the parts of a run over pictures from outside: a simulated arm follows what they show.

    Raises:
        VisionIkError: The rig, robot, lens or tag family cannot be used.
    """
    rig, assumptions = _rig(options)
    robot = load_robot(rig.robot, options.base or rig.base, options.tip or rig.tip)
    given = None if options.intrinsics is None else _lens(options.intrinsics, options.source)
    with ExitStack() as stack:
        world = stack.enter_context(World())
        arm = stack.enter_context(BulletArm(world, robot))
        yield Setting(
            world=world,
            clock=PacedClock(world) if is_live_source(options.source) else world,
            source=options.source,
            fov=float(np.deg2rad(options.fov_deg)),
            lens=given or rig.intrinsics,
            robot=robot,
            arm=arm,
            rig=rig,
            solver=load_solver(robot, T_flange_tool=rig.T_flange_tool),
            detector=TagDetector(rig.tag_family),
            settings=ServoSettings(speed_scale=options.speed, max_data_age=0.4, workspace=workspace_of(rig, robot)),
            virtual=rig.T_mount_camera is None,
            device=options.device,
            assumptions=assumptions,
        )


@contextmanager
def open_scene_setting(options: Options) -> Generator[Setting]:
    """Build the parts of a run in a simulated scene, whose camera's place is known.

    Raises:
        VisionIkError: The scene is unknown or malformed.
    """
    overrides = {} if options.robot is None else {"robot": options.robot}
    with load_scene(options.source.removeprefix("sim:"), **overrides) as scene:
        rig = scene.true_rig() if options.rig is None else load_rig(options.rig)
        if options.standoff_mm is not None:
            rig = replace(rig, T_tag_target=approach_from_front(options.standoff_mm / 1000.0))
        yield Setting(
            world=scene.world,
            clock=scene.world,
            source=options.source,
            fov=0.0,
            lens=None,
            robot=scene.robot,
            arm=scene.arm,
            rig=rig,
            solver=load_solver(scene.robot, T_flange_tool=rig.T_flange_tool),
            detector=TagDetector(rig.tag_family),
            settings=ServoSettings(speed_scale=options.speed, workspace=workspace_of(rig, scene.robot)),
            camera=scene.camera,
        )


def workspace_of(rig: Rig, robot: RobotModel) -> WorkspaceBox:
    """Return where the tool may be: what the rig says, or above the plane the base stands on, within reach."""
    if rig.workspace is not None:
        return WorkspaceBox(lower=rig.workspace[0], upper=rig.workspace[1])
    far = reach_of(robot) + float(np.linalg.norm(rig.T_flange_tool.translation))
    return WorkspaceBox(lower=np.array([-far, -far, 0.0]), upper=np.array([far, far, 1.5 * far]))


def mark_approximate(rig: Rig, assumptions: Sequence[str]) -> Rig:
    """Return the rig with its assumptions written into it, where every output reads them."""
    if not assumptions:
        return rig
    return replace(rig, provenance={**rig.provenance, "approximate": " ".join(assumptions)})


def _rig(options: Options) -> tuple[Rig, list[str]]:
    assumptions: list[str] = []
    if options.rig is not None:
        rig = load_rig(options.rig)
        if options.size_mm is not None:
            rig = replace(rig, default_tag_size=options.size_mm / 1000.0)
    else:
        size = ASSUMED_SIZE_M if options.size_mm is None else options.size_mm / 1000.0
        if options.size_mm is None:
            assumptions.append(f"The tags' size is not known: {1000 * size:g} mm.")
        rig = Rig(
            robot="panda",
            default_tag_size=size,
            T_tag_target=approach_from_front(STANDOFF_M),
        )
    if options.robot is not None:
        rig = replace(rig, robot=options.robot)
    if options.family is not None:
        rig = replace(rig, tag_family=options.family)
    if options.standoff_mm is not None:
        rig = replace(rig, T_tag_target=approach_from_front(options.standoff_mm / 1000.0))
    if rig.T_mount_camera is None:
        assumptions.append("The camera's place is not known: the first seen tag was put within reach of the arm.")
    return mark_approximate(rig, assumptions), assumptions


def _lens(file: Path, source: str) -> CameraIntrinsics:
    """Read a lens file; where it does not say for which size of picture, it is that of the source."""
    if file.suffix.lower() in {".yml", ".yaml", ".xml"} and not is_live_source(source):
        with open_camera(source) as camera:
            return load_any_intrinsics(file, size=(camera.intrinsics.width, camera.intrinsics.height))
    return load_any_intrinsics(file)
