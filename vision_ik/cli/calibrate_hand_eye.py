"""``vision-ik calibrate hand-eye``: from a folder, or with an arm that moves by itself."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import calibration
from calibration import HandEyeResult, Observer, calibrate_automatically, calibrate_intrinsics, read_observations
from calibration.hand_eye.corners import better_corners
from sim import load_scene
from vision_ik.arms import open_arm
from vision_ik.cameras import load_any_intrinsics, open_camera
from vision_ik.cli import console
from vision_ik.cli.calibrate import HandEyeOptions
from vision_ik.cli.calibrate_report import present
from vision_ik.cli.calibrate_rig import (
    existing_rig,
    hint_at_tag_size,
    known_board,
    require_board,
    rig_and_robot,
    with_tag_size,
    write_hand_eye,
)
from vision_ik.cli.main import EXIT_OK
from vision_ik.clock import MonotonicClock
from vision_ik.errors import ConfigError
from vision_ik.ik import load_solver
from vision_ik.rig import Mount, Rig
from vision_ik.types import CameraIntrinsics


def calibrate_hand_eye(options: HandEyeOptions) -> int:
    """Calibrate, print the result, and write it into the rig."""
    if options.from_ is not None:
        return _from_files(options, options.from_)
    if not options.auto:
        raise ConfigError(
            "Views from a camera need an arm that moves by itself.",
            "Add --auto, or take pictures and poses yourself and give them with --from.",
        )
    if options.source.startswith("sim:"):
        return _simulated(options)
    return _real(options)


def _from_files(options: HandEyeOptions, path: Path) -> int:
    rig, robot = rig_and_robot(options)
    board = known_board(options, rig)
    with console.Stages() as stages:
        with stages.stage("Read the views") as stage:
            read = read_observations(path, board=board)
            stage.update(f"{len(read.views)} views")
        board = read.board or board
        for name in read.unseen:
            stages.say(f"The board was not found in {name}.")
        mount: Mount = options.mount or read.mount or rig.mount
        lens = _lens(options, rig)
        if lens is None:
            with stages.stage("Fit the lens to the same views") as stage:
                seen = [view.detection for view in read.views]
                fitted = calibrate_intrinsics(seen, image_size=read.image_size)
                if board is not None:
                    better = better_corners(seen, board, fitted.intrinsics)
                    fitted = calibrate_intrinsics(better, image_size=read.image_size)
                lens = fitted.intrinsics
                stage.update(f"focal {lens.K[0, 0]:.0f} ± {fitted.focal_sigma:.1f} px, rms {fitted.rms:.2f} px")
        elif (lens.width, lens.height) != read.image_size:
            lens = lens.scaled(*read.image_size)
        with stages.stage("Calibrate"):
            result = calibration.calibrate_hand_eye(read.views, intrinsics=lens, mount=mount, board=board)
    file = write_hand_eye(rig, options, result, lens, board, robot_hash=robot.hash, origin=str(path.resolve().name))
    present(result, file, as_json=options.json)
    for remark in read.remarks:
        console.warn(remark)
    hint_at_tag_size(rig)
    return EXIT_OK


def _simulated(options: HandEyeOptions) -> int:
    with load_scene(options.source.removeprefix("sim:") or "calibration_board") as scene:
        if scene.board is None:
            raise ConfigError(f"The scene {scene.name} has no board.", "Choose sim:calibration_board.")
        if not any(placement.name == "board" for placement in scene.world.placements()):
            scene.mount_board()
        truth = scene.true_rig()
        rig = existing_rig(options.rig) or scene.blank_rig()
        rig = with_tag_size(replace(rig, robot=scene.robot.name, base=None, tip=None), options)
        observe = Observer(scene.arm, scene.camera, scene.board, scene.robot, clock=scene.world, speed=options.speed)
        result = _drive(observe, options, truth.mount, floor=-float(scene.file.T_world_base.translation[2]))
        file = write_hand_eye(
            rig,
            options,
            result,
            scene.camera.intrinsics,
            scene.board,
            robot_hash=scene.robot.hash,
            origin=options.source,
        )
        present(result, file, as_json=options.json, truth=truth.T_mount_camera)
    return EXIT_OK


def _real(options: HandEyeOptions) -> int:
    if not options.arm or not options.yes:
        raise ConfigError(
            "The arm will move by itself.",
            "Name it with --arm, clear its surroundings, keep a hand on its stop, and agree with --yes.",
        )
    rig, robot = rig_and_robot(options)
    board = require_board(options, rig)
    lens = _lens(options, rig)
    if lens is None:
        raise ConfigError("The lens is unknown.", "Run `vision-ik calibrate camera` first, or give --intrinsics.")
    clock = MonotonicClock()
    with ExitStack() as stack:
        wishes = options.device.settings()
        camera = stack.enter_context(open_camera(options.source, intrinsics=lens, clock=clock, settings=wishes))
        arm = stack.enter_context(open_arm(options.arm, clock=clock))
        observe = Observer(arm, camera, board, robot, clock=clock, speed=options.speed)
        result = _drive(observe, options, options.mount or rig.mount, floor=options.floor_mm / 1000.0)
        lens = camera.intrinsics
    file = write_hand_eye(rig, options, result, lens, observe.board, robot_hash=robot.hash, origin=options.source)
    present(result, file, as_json=options.json)
    for remark in observe.remarks:
        console.warn(remark)
    hint_at_tag_size(rig)
    return EXIT_OK


def _drive(observe: Observer, options: HandEyeOptions, mount: Mount, *, floor: float) -> HandEyeResult:
    """Let the arm calibrate by itself, with a progress display."""
    solver = load_solver(observe.robot)
    with console.Stages() as stages, stages.stage("Calibrate", total=options.views) as stage:

        def tell(doing: str, done: int, wanted: int) -> None:
            stage.update(f"{doing}, {done} of {wanted} views", completed=done, total=wanted)

        return calibrate_automatically(
            observe, solver, mount=mount, n=options.views, floor=floor, on_progress=tell
        ).result


def _lens(options: HandEyeOptions, rig: Rig) -> CameraIntrinsics | None:
    return load_any_intrinsics(options.intrinsics) if options.intrinsics is not None else rig.intrinsics
