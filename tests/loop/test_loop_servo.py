"""The whole loop, pixels to joints, in simulation: where the tool truly is against where it truly should be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from sim import Motion, Scene, load_scene
from vision_ik.control import Mode, ServoSettings, ServoStep, servo
from vision_ik.ik import load_solver
from vision_ik.rig import Rig
from vision_ik.tags import TagDetector
from vision_ik.transforms import Transform
from vision_ik.types import Floats

CAMERA = {"noise": 4.0, "blur_px": 0.6}
FAST = ServoSettings(soft_start_s=0.5, tag_id=0)


def follow(
    scene: Scene, rig: Rig, seconds: float, *, truth: bool = True, on_step: Callable[[], None] = lambda: None
) -> tuple[list[ServoStep], Floats]:
    """Run the loop; return its steps and the true errors (N, 2) of the tool [m, rad]."""
    steps: list[ServoStep] = []
    errors: list[tuple[float, float]] = []
    begin = scene.world.now()
    loop = servo(
        scene.camera,
        scene.arm,
        rig=rig,
        solver=load_solver(scene.robot, T_flange_tool=rig.T_flange_tool),
        detector=TagDetector(rig.tag_family),
        settings=FAST,
    )
    with closing(loop):
        for step in loop:
            steps.append(step)
            on_step()
            if truth:
                T_world_tool = scene.world.T_world_flange() @ rig.T_flange_tool
                errors.append((scene.world.T_world_tag(tag_id=0) @ rig.T_tag_target).distance_to(T_world_tool))
            if scene.world.now() - begin > seconds:
                break
    return steps, np.array(errors)


def put_tag(scene: Scene, pose: Transform | Motion) -> None:
    tag = scene.file.tags[0]
    scene.world.detach(f"tag {tag.tag_id}")
    scene.world.attach_tag(tag.tag_id, tag.size_m, "world", pose, family=tag.family)


def centre_of(scene: Scene) -> Transform:
    motion = scene.tag_motion()
    assert motion is not None
    return motion.T_world_centre


def test_the_tool_truly_reaches_a_still_tag() -> None:
    with load_scene("tabletop", camera=CAMERA) as scene:
        put_tag(scene, centre_of(scene) @ Transform.from_translation((0.05, -0.03, 0.02)))
        steps, errors = follow(scene, scene.true_rig(), 3.0)
    m, rad = np.median(errors[-50:], axis=0)
    assert m < 0.5e-3
    assert rad < np.deg2rad(0.2)
    assert all(step.command is None or step.command.clipped_by == () for step in steps)


def test_the_tool_truly_follows_a_moving_tag() -> None:
    with load_scene("tabletop", camera=CAMERA) as scene:
        path = Motion(
            T_world_centre=centre_of(scene), shape="figure8", width_m=0.08, height_m=0.04, period_s=4.0, ramp_s=1.0
        )
        put_tag(scene, path)
        steps, errors = follow(scene, scene.true_rig(), 4.5)
    late = np.array([step.timestamp for step in steps]) > 2.8
    assert np.sqrt(np.mean(errors[late, 0] ** 2)) < 2e-3


def test_a_camera_on_the_flange_finds_the_same_place() -> None:
    with load_scene("eye_in_hand", camera=CAMERA) as scene:
        _, errors = follow(scene, scene.true_rig(), 3.5)
    m, rad = np.median(errors[-50:], axis=0)
    assert m < 1e-3
    assert rad < np.deg2rad(0.3)


def test_a_wrong_camera_pose_shows_in_the_true_error() -> None:
    """The errors above are measured against the truth, not against what the loop believes."""
    with load_scene("tabletop", camera=CAMERA) as scene:
        put_tag(scene, centre_of(scene))
        rig = scene.true_rig()
        assert rig.T_mount_camera is not None
        T_base_shifted = Transform.from_translation((0.0, 0.01, 0.0)) @ rig.T_mount_camera
        _, errors = follow(scene, replace(rig, T_mount_camera=T_base_shifted), 2.5)
    assert np.median(errors[-50:, 0]) == pytest.approx(0.01, abs=1e-3)


def test_a_tag_that_is_taken_away_leaves_the_arm_standing() -> None:
    with load_scene("tabletop", camera=CAMERA) as scene:
        gone = scene.world.now() + 1.0

        def take_away() -> None:
            if scene.world.now() > gone and "tag 0" in {placement.name for placement in scene.world.placements()}:
                scene.world.detach("tag 0")

        steps = follow(scene, scene.true_rig(), 2.0, truth=False, on_step=take_away)[0]
        q = scene.world.q()
        scene.world.sleep_until(scene.world.now() + 0.3)
        assert np.abs(scene.world.q() - q).max() < 1e-3
    modes = [step.verdict.mode for step in steps]
    assert Mode.TRACKING in modes
    assert modes[-1] is Mode.HOLDING
    last_seen = max(step.poses[0].timestamp for step in steps if step.poses)
    holding = next(step.timestamp for step in steps if step.verdict.mode is Mode.HOLDING)
    assert holding - last_seen <= FAST.max_data_age + FAST.period + 1e-6
