"""Workcells from TOML: robot, camera, targets and how they stand, by name or path."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np

from sim.arm import BulletArm
from sim.camera import SimCamera
from sim.meshes import Mesh, box_mesh, capsule_mesh, join, moved
from sim.motion import Motion
from sim.scene_file import SceneFile, parse_scene, read_scene
from sim.scenery import Scenery
from sim.solids import Solid
from sim.world import World
from vision_ik.arms import GuardSettings
from vision_ik.clock import Clock
from vision_ik.errors import ConfigError
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Board


class Scene:
    """A workcell ready to run: world, arm, camera, targets. Close it, or use it in a ``with`` block.

    Args:
        file: What the TOML says.
    """

    def __init__(self, file: SceneFile) -> None:
        self.name = file.name
        self.file = file
        self.world = World(seed=file.seed)
        self.robot: RobotModel = file.robot
        self.scenery: Scenery = file.scenery
        self.world.add_robot(file.robot, file.T_world_base, q=file.q, flange_noise=file.flange_noise())
        self.board: Board | None = file.board
        self.T_flange_tool = file.T_flange_tool
        self.T_tag_target = file.T_tag_target
        self._arm: BulletArm | None = None
        self._camera: SimCamera | None = None
        self._board_solids: list[Solid] = []
        self._pointer: Solid | None = None
        self._show_pointer()
        for tag in file.tags:
            self.world.attach_tag(tag.tag_id, tag.size_m, tag.parent, tag.pose, family=tag.family)
        if file.board is not None and file.board_mounted:
            self.mount_board()

    @property
    def arm(self) -> BulletArm:
        """The arm behind its guard."""
        if self._arm is None:
            self._arm = BulletArm(self.world)
        return self._arm

    @property
    def has_camera(self) -> bool:
        """Whether the scene has a camera."""
        return self.file.camera is not None

    @property
    def camera(self) -> SimCamera:
        """The camera.

        Raises:
            ConfigError: The scene has none.
        """
        camera = self.file.camera
        if camera is None:
            raise ConfigError(f"The scene {self.name} has no camera.", "Choose another, or add a [camera] table.")
        if self._camera is None:
            self._camera = SimCamera(
                self.world,
                camera.intrinsics,
                camera.T_parent_camera,
                camera.parent,
                sensor=camera.sensor,
                scenery=self.scenery,
                depth=camera.depth,
                frames=camera.frames,
            )
        return self._camera

    @property
    def tag_id(self) -> int:
        """Id of the first tag: the one to follow.

        Raises:
            ConfigError: The scene has none.
        """
        if not self.file.tags:
            raise ConfigError(f"The scene {self.name} has no tag.", "Choose another, or add a [[tags]] table.")
        return self.file.tags[0].tag_id

    def tag_motion(self) -> Motion | None:
        """Return how the first tag moves, or None when it stands."""
        pose = self.file.tags[0].pose if self.file.tags else None
        return pose if isinstance(pose, Motion) else None

    def true_rig(self) -> Rig:
        """Return the rig as it truly is, camera pose included: what a perfect calibration would find."""
        camera = self.file.camera
        T_mount_camera = None
        if camera is not None:
            T_base_world = self.file.T_world_base.inv()
            T_mount_camera = (
                camera.T_parent_camera if camera.parent == "flange" else T_base_world @ camera.T_parent_camera
            )
        return self._rig(T_mount_camera)

    def blank_rig(self) -> Rig:
        """Return what a person would know before any calibration: everything but where the camera is."""
        return self._rig(None)

    def mount_board(self) -> None:
        """Bolt the board to where the scene says, in place of the pointer when that is the flange.

        Raises:
            ConfigError: The scene has no board.
        """
        board = self.board
        if board is None:
            raise ConfigError(f"The scene {self.name} has no board.", "Choose another, or add a [board] table.")
        parent, T_parent_board = self.file.board_parent, self.file.T_parent_board
        self.world.attach_board(board, parent, T_parent_board)
        if parent == "flange":
            self._hide_pointer()
            self._board_solids = [_board_holder(board, T_parent_board)]
            for solid in self._board_solids:
                self.world.add_solid(solid)

    def remove_board(self) -> None:
        """Take the board off again."""
        self.world.detach("board")
        for solid in self._board_solids:
            self.world.remove_solid(solid)
        self._board_solids = []
        self._show_pointer()

    def close(self) -> None:
        """Stop the arm and end the world."""
        if self._arm is not None:
            self._arm.close()
        if self._camera is not None:
            self._camera.close()
        self.world.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rig(self, T_mount_camera: Transform | None) -> Rig:
        camera = self.file.camera
        sizes = {tag.tag_id: tag.size_m for tag in self.file.tags}
        return Rig(
            robot=self.robot.name,
            robot_hash=self.robot.hash,
            mount="eye_in_hand" if camera is not None and camera.parent == "flange" else "eye_to_hand",
            T_mount_camera=T_mount_camera,
            T_flange_tool=self.T_flange_tool,
            T_tag_target=self.T_tag_target,
            tag_family=self.file.tags[0].family if self.file.tags else "36h11",
            tag_sizes=sizes,
            boards={} if self.board is None else {"board": self.board},
            intrinsics=None if camera is None else camera.intrinsics,
            provenance={"origin": f"simulated scene {self.name}"},
        )

    def _show_pointer(self) -> None:
        length = float(self.T_flange_tool.translation[2])
        if self._pointer is None and length > 0.03:
            self._pointer = Solid(mesh=_pointer_mesh(self.T_flange_tool), parent="flange")
            self.world.add_solid(self._pointer)

    def _hide_pointer(self) -> None:
        if self._pointer is not None:
            self.world.remove_solid(self._pointer)
            self._pointer = None


def load_scene(name_or_path: str, **overrides: object) -> Scene:
    """Build a scene that ships (``tabletop``, ``eye_in_hand``, ``calibration_board``, ``empty``) or from a TOML file.

    Args:
        name_or_path: Name, or path ending in ``.toml``.
        **overrides: Laid over the file's tables, e.g. ``seed=3, robot="ur5e", camera={"noise": 0.0}``.

    Raises:
        ConfigError: There is no such scene, or a key is malformed; the sentence names it.
        MissingDependencyError: PyBullet is not installed.
    """
    name, data = read_scene(name_or_path)
    return Scene(parse_scene(name, data, overrides))


def open_scene_camera(address: str) -> SimCamera:
    """Open the camera of a scene (entry point ``vision_ik.cameras: sim``); its ``world`` is the clock of the run."""
    return load_scene(address or "tabletop").camera


def open_scene_arm(
    address: str, *, clock: Clock | None = None, settings: GuardSettings | None = None, **overrides: object
) -> BulletArm:
    """Open the arm of a scene (entry point ``vision_ik.arms: sim``).

    Args:
        address: Name or path of the scene; ignored when ``clock`` is a `World` that has an arm.
        clock: The world of the camera, so that both are in one; another clock gives the arm a world of its own.
        settings: Of the guard.
        **overrides: As for `load_scene`.
    """
    if isinstance(clock, World) and clock.has_arm:
        return BulletArm(clock, settings=settings)
    return BulletArm(load_scene(address or "empty", **overrides).world, settings=settings)


def _pointer_mesh(T_flange_tool: Transform) -> Mesh:
    tip = T_flange_tool.translation
    length = float(np.linalg.norm(tip))
    axis = tip / length
    steel, dark = (0.75, 0.76, 0.78), (0.18, 0.19, 0.21)
    return join(
        [
            capsule_mesh((0.0, 0.0, 0.004), axis * 0.03, 0.03, dark),
            capsule_mesh(axis * 0.03, axis * (length - 0.012), 0.009, steel),
            capsule_mesh(axis * (length - 0.02), axis * (length - 0.004), 0.004, (0.9, 0.35, 0.1)),
        ]
    )


def _board_holder(board: Board, T_flange_board: Transform) -> Solid:
    """Return a thin plate 6 mm behind the paper, on a short rod from the flange."""
    width, height = board.size_m
    plate = box_mesh((width + 0.04, height + 0.04, 0.006), (0.30, 0.32, 0.36))
    T_board_plate = Transform.from_translation((0.5 * width, 0.5 * height, -0.009))
    thickness = 0.016
    rod_end = (T_flange_board @ Transform.from_translation((0.5 * width, 0.5 * height, -0.008 - thickness))).translation
    rod = capsule_mesh((0.0, 0.0, 0.0), rod_end, thickness, (0.18, 0.19, 0.21))
    return Solid(mesh=join([moved(plate, (T_flange_board @ T_board_plate).matrix), rod]), parent="flange")
