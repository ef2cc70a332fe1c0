"""Scenes load, take overrides, and name the key when something is wrong."""

from pathlib import Path

import numpy as np
import pytest

from sim import SimCamera, World, list_scenes, load_scene
from sim.scene_file import parse_scene, read_scene
from vision_ik.cameras import open_camera
from vision_ik.errors import ConfigError
from vision_ik.ik import load_solver
from vision_ik.transforms import Transform


def test_the_scenes_of_the_design_ship():
    assert {"tabletop", "eye_in_hand", "calibration_board", "empty"} <= set(list_scenes())


@pytest.mark.parametrize("name", ["tabletop", "eye_in_hand", "calibration_board", "empty"])
def test_a_shipped_scene_loads_with_a_rig_that_tells_the_truth(name: str):
    with load_scene(name) as scene:
        rig = scene.true_rig()
        assert rig.robot_hash == scene.robot.hash
        assert scene.blank_rig().T_mount_camera is None
        if scene.has_camera:
            T_base_camera = rig.T_base_camera(scene.world.T_base_flange())
            assert T_base_camera.distance_to(scene.camera.true_T_base_camera())[0] < 1e-9
        else:
            with pytest.raises(ConfigError, match="no camera"):
                _ = scene.camera


@pytest.mark.parametrize("robot", ["panda", "ur5e"])
def test_the_tool_reaches_the_tag_all_along_its_path(robot: str):
    with load_scene("tabletop", robot=robot) as scene:
        solver = load_solver(scene.robot, T_flange_tool=scene.T_flange_tool)
        motion, q = scene.tag_motion(), scene.world.q()
        assert motion is not None
        for t in np.linspace(0.0, 12.0, 25).tolist():
            solution = solver.solve(motion.pose(t) @ scene.T_tag_target, q_start=q)
            assert solution.converged
            q = solution.q


def test_the_tag_to_follow_is_in_view_all_along_its_path():
    with load_scene("tabletop") as scene:
        motion = scene.tag_motion()
        assert motion is not None
        T_camera_world = scene.camera.T_world_camera().inv()
        for t in np.linspace(0.0, 12.0, 25).tolist():
            T_camera_tag = T_camera_world @ motion.pose(t)
            uvw = scene.camera.intrinsics.K @ T_camera_tag.translation
            assert 80 < uvw[0] / uvw[2] < 560
            assert 80 < uvw[1] / uvw[2] < 400
            assert T_camera_tag.rotation[2, 2] < -0.6  # faces the camera within 53 degrees


def test_the_board_is_bolted_on_and_taken_off():
    with load_scene("tabletop") as scene:
        assert [p.name for p in scene.world.placements()] == ["tag 0"]
        scene.mount_board()
        assert "board" in [p.name for p in scene.world.placements()]
        scene.remove_board()
        scene.mount_board()


def test_overrides_lie_over_the_file_key_by_key():
    with load_scene("tabletop", seed=7, robot="ur5e", camera={"noise": 0.0}) as scene:
        assert scene.robot.name == "ur5e"
        assert scene.world.seed == 7
        assert scene.camera.sensor.noise == 0.0
        assert scene.camera.sensor.latency_s == 0.05


def test_a_scene_file_of_ones_own_loads(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('[robot]\nname = "ur5e"\ntranslation = [0.1, 0.0, 0.0]\nrpy_deg = [0, 0, 90]\n')
    with load_scene(str(file)) as scene:
        assert scene.name == "mine"
        expected = Transform.from_xyz_rpy((0.1, 0, 0), (0, 0, np.pi / 2))
        assert scene.world.arm.T_world_base.distance_to(expected)[0] < 1e-12


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"robott": {}}, "robott"),
        ({"robot": {"name": "nonesuch"}}, "robot.name"),
        ({"robot": {"q": [0.0, 1.0]}}, "robot.q"),
        ({"robot": 3}, "robot"),
        ({"camera": {"latency_s": -1.0}}, "camera"),
        ({"camera": {"focal_px": "long"}}, "camera"),
        ({"camera": {"parent": "ceiling"}}, "camera.parent"),
        ({"camera": {"look_at": [0.0, 0.0]}}, "camera"),
        ({"camera": {"lens": 1}}, "lens"),
        ({"tags": [{"id": 0}]}, "size_mm"),
        ({"tags": [{"id": 0, "size_mm": -5}]}, r"tags\[0\].size_mm"),
        ({"tags": [{"id": 0, "size_mm": 80, "motion": {"shape": "spiral"}}]}, r"tags\[0\].motion"),
        ({"tags": [{"id": 0, "size_mm": 80, "rpy_deg": [0, 0, 0], "rotation_xyzw": [0, 0, 0, 1]}]}, r"tags\[0\]"),
        ({"tags": 5}, "tags"),
        ({"board": {"kind": "dots"}}, "board.kind"),
        ({"board": {"marker_m": 0.5}}, "board"),
        ({"rig": {"T_flange_tool": {"translation": [0, 0, float("nan")]}}}, "rig.T_flange_tool"),
        ({"table": {"height": 1.0}}, "table"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_a_malformed_scene_is_refused_with_the_key_that_is_wrong(overrides: dict[str, object], key: str):
    name, data = read_scene("tabletop")
    with pytest.raises(ConfigError, match=key):
        parse_scene(name, data, overrides)


def test_a_missing_scene_names_those_that_exist(tmp_path: Path):
    with pytest.raises(ConfigError, match="tabletop"):
        load_scene("kitchen")
    broken = tmp_path / "broken.toml"
    broken.write_text("[robot\n")
    with pytest.raises(ConfigError, match="not TOML"):
        load_scene(str(broken))


def test_the_entry_point_opens_the_camera_of_a_scene():
    with open_camera("sim:tabletop") as camera:
        assert isinstance(camera, SimCamera)
        assert isinstance(camera.world, World)
        camera.world.close()
