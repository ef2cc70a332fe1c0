"""What `vision-ik calibrate all --auto` checks beside fresh views: depth of the arm, and touches in a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from calibration import (
    CheckReport,
    HandEyeResult,
    HandEyeView,
    Observer,
    Sighting,
    Surface,
    Tolerance,
    ValidationReport,
    arm_surfaces,
    depth_check,
    held_out_check,
    plan_touch_test,
    reprojection_overlay,
    seen_board,
)
from calibration.hand_eye.chain import ChainState, camera_board
from calibration.hand_eye.turned_boards import counted_as_expected
from calibration.validation.surfaces import plate
from calibration.validation.values import skipped
from calibration.views.moving import Mover
from calibration.views.sights import outline
from calibration.wizard import Wizard
from sim.meshes import robot_meshes
from vision_ik.errors import CalibrationError, VisionIkError
from vision_ik.files import write_atomic
from vision_ik.ik import load_solver
from vision_ik.tags import estimate_board_pose
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats

if TYPE_CHECKING:
    from sim import Scene

_POINTER = Transform.from_translation([0.0, 0.0, 0.12])
"""Of a simulated arm without a tool."""
_SHORTEST_TOOL = 0.05
"""[m]"""
_TABLE_PLACE = (0.42, 0.0)
"""[m] Where the middle of the board is laid on a simulated table, before the base."""


def further_checks(
    wizard: Wizard, observe: Observer, last: Sighting | None, floor: float, scene: Scene | None
) -> ValidationReport | None:
    """Return what can be checked beside the wizard's own views; None where it knows no result.

    Args:
        wizard: That has computed where the camera is.
        observe: Arm, camera and board.
        last: The last picture taken, with depth if the camera gives any.
        floor: Height of the table in the base frame [m].
        scene: The simulation, which knows the truth; None for a real arm.
    """
    result = wizard.hand_eye_result
    lens = None if result is None else result.intrinsics or wizard.lens
    if result is None or lens is None:
        return None
    most_mm, most_deg = wizard.setting("tolerance_mm"), wizard.setting("tolerance_deg")
    tolerance = Tolerance(
        translation=None if most_mm is None else 1e-3 * most_mm,
        rotation=None if most_deg is None else float(np.deg2rad(most_deg)),
    )
    views, _ = held_out_check(result, wizard.posed_views("checks"), intrinsics=lens, tolerance=tolerance)
    checks = [views, _depth(observe, result, lens, last, tolerance, scene)]
    if last is not None:
        _draw(wizard, result, lens, last)
    if scene is not None:
        checks.append(_touch(observe, result, lens, floor, tolerance, scene))
    return ValidationReport(checks=tuple(checks))


def _depth(
    observe: Observer,
    result: HandEyeResult,
    lens: CameraIntrinsics,
    last: Sighting | None,
    tolerance: Tolerance,
    scene: Scene | None,
) -> CheckReport:
    """Compare the arm's model with the depth in the last picture."""
    if last is None:
        return skipped("depth", "No picture was taken in this run.")
    shapes = None if scene is None else _shapes(scene)
    to_hand = result.mount == "eye_to_hand"
    T_base_camera = result.T_mount_camera if to_hand else last.T_base_flange @ result.T_mount_camera
    T_base_board = last.T_base_flange @ result.T_holder_board if to_hand else result.T_holder_board
    board = plate("board", T_base_board.apply(outline(observe.board)))
    report, _ = depth_check(
        last.frame,
        arm_surfaces(observe.robot, last.q, shapes),
        T_base_camera,
        intrinsics=lens,
        tolerance=Tolerance(translation=tolerance.translation),
        camera_covariance=result.covariance if to_hand else None,
        hiding=[board],
    )
    return report


def _shapes(scene: Scene) -> dict[str, Surface]:
    """Return what the simulated links look like, in their frames."""
    return {
        link: Surface(
            name=link, vertices=np.asarray(mesh.vertices, dtype=np.float64), triangles=mesh.triangles.astype(np.int64)
        )
        for link, mesh in robot_meshes(scene.robot).items()
    }


def _touch(
    observe: Observer,
    result: HandEyeResult,
    lens: CameraIntrinsics,
    floor: float,
    tolerance: Tolerance,
    scene: Scene,
) -> CheckReport:
    """Let the simulated tip go to points of the board, and compare with where they truly are."""
    told = scene.T_flange_tool
    tool = told if float(np.linalg.norm(told.translation)) > _SHORTEST_TOOL else _POINTER
    solver = load_solver(scene.robot, T_flange_tool=tool)
    try:
        if result.mount == "eye_in_hand":
            T_base_board, covariance = result.T_holder_board, result.joint_covariance[6:, 6:]
        else:
            T_base_board, covariance = _board_on_table(observe, result, lens, floor, scene)
        test = plan_touch_test(
            observe.board,
            T_base_board,
            solver,
            covariance=covariance,
            arm_sigma=result.arm_sigma,
            q_start=observe.arm.read().q,
            floor=floor,
        )
        mover = Mover(arm=observe.arm, robot=scene.robot, clock=scene.world)
        reached: dict[str, Transform] = {}
        for point in test.points:
            mover.go(point.way)
            reached[point.name] = scene.world.T_base_flange() @ tool
            mover.go(point.back)
    except VisionIkError as error:
        return skipped("touch test", error.cause)
    T_world_board = scene.world.T_world_target("board")
    truth = test.truth(reached, scene.file.T_world_base.inv() @ T_world_board)
    return test.judge(truth, Tolerance(translation=tolerance.translation))


def _board_on_table(
    observe: Observer, result: HandEyeResult, lens: CameraIntrinsics, floor: float, scene: Scene
) -> tuple[Transform, Floats]:
    """Lay the board on the table, look at it, and return where the calibration says it lies, with covariance."""
    width, height = observe.board.size_m
    x, y = _TABLE_PLACE
    scene.remove_board()
    T_base_board = Transform.from_translation([x - 0.5 * width, y - 0.5 * height, floor + 1e-3])
    scene.world.attach_board(observe.board, "world", scene.file.T_world_base @ T_base_board)
    sighting = observe(scene.robot.home)
    seen = None if sighting.detection is None else estimate_board_pose(sighting.detection, lens)
    if seen is None:
        raise CalibrationError("The camera does not see the board on the table.", "Choose another scene.")
    shared = np.zeros((6, 6)) if seen.lens_covariance is None else seen.lens_covariance
    return seen_board(result.T_mount_camera, result.covariance, seen.T_camera_tag, seen.covariance + shared)


def _draw(wizard: Wizard, result: HandEyeResult, lens: CameraIntrinsics, last: Sighting) -> None:
    """Put a picture beside the views that shows corners as seen and as predicted."""
    state = ChainState(result.T_mount_camera.matrix, result.T_holder_board.matrix, np.eye(4)[None])
    expected = camera_board(state, last.T_base_flange.matrix[None], result.mount)[0]
    seen = last.detection
    if seen is not None:
        seen = counted_as_expected(seen, wizard.evidence.board, expected, lens)
        view = HandEyeView(T_base_flange=last.T_base_flange, detection=seen)
        seen = result.corrected([view])[0].detection
    drawn = reprojection_overlay(last.frame.image, expected, seen, lens)
    write_atomic(wizard.folder / "overlay.png", cv2.imencode(".png", drawn)[1].tobytes())
