"""An arm written as URDF reads back as the same arm, to us and to others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from urdf_text import LIMIT, joint, two_joints, write
from urdf_text import robot as urdf_robot

from vision_ik.errors import RobotError
from vision_ik.ik import load_solver
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.robots import RobotModel, list_robots, load_robot, save_urdf
from vision_ik.robots.urdf_from_model import rpy_of
from vision_ik.transforms import Transform

EXACT = 1e-9
"""[m, 1]"""


def off_its_drawing(robot: RobotModel, rng: np.random.Generator) -> RobotModel:
    """Return the arm with every constant transform off by half a millimetre and a milliradian."""
    twists = rng.normal(size=(robot.n + 1, 6)) * np.repeat([0.5e-3, 1e-3], 3)
    fixed = np.stack([F @ Transform.exp(xi).matrix for F, xi in zip(robot.fixed, twists, strict=True)])
    return replace(robot, name=f"{robot.name}_calibrated", fixed=fixed)


def assert_same(read: RobotModel, robot: RobotModel) -> None:
    np.testing.assert_allclose(read.fixed, robot.fixed, rtol=0.0, atol=EXACT)
    for name in ("lower", "upper", "velocity", "acceleration", "jerk", "home", "prismatic"):
        np.testing.assert_array_equal(getattr(read, name), getattr(robot, name), err_msg=name)
    assert (read.name, read.base, read.tip, read.joint_names) == (robot.name, robot.base, robot.tip, robot.joint_names)
    assert read.hash == robot.hash
    assert set(read.links) == set(robot.links)
    assert sorted((c.link, c.radius) for c in read.capsules) == sorted((c.link, c.radius) for c in robot.capsules)


@pytest.mark.parametrize("name", list_robots())
@pytest.mark.parametrize("from_file", [True, False], ids=["from its file", "from the model alone"])
def test_every_arm_of_the_catalogue_reads_back(
    name: str, from_file: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    robot = off_its_drawing(load_robot(name), rng)
    if not from_file:
        robot = replace(robot, urdf_path=tmp_path / "gone.urdf")
    file = save_urdf(robot, tmp_path / f"{name}.urdf")
    assert ("Kinematics:" in file.read_text(encoding="utf-8")) == from_file, "the maker's sources stand in a comment"
    read = load_robot(file)
    assert_same(read, robot)
    q = robot.random(rng, 20)
    np.testing.assert_allclose(read.forward(q), robot.forward(q), rtol=0.0, atol=EXACT)


@pytest.mark.parametrize("from_file", [True, False], ids=["from its file", "from the model alone"])
def test_pinocchio_reads_what_was_written(from_file: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    pin = pytest.importorskip("pinocchio")
    robot = off_its_drawing(load_robot("ur5e"), rng)
    if not from_file:
        robot = replace(robot, urdf_path=tmp_path / "gone.urdf")
    model = pin.buildModelFromUrdf(str(save_urdf(robot, tmp_path / "arm.urdf")))
    data = model.createData()
    for q in robot.random(rng, 5):
        pin.framesForwardKinematics(model, data, q)
        tip = data.oMf[model.getFrameId(robot.tip)].homogeneous
        np.testing.assert_allclose(tip, robot.forward(q), rtol=0.0, atol=EXACT)


def test_comments_meshes_and_layout_stay_as_their_author_left_them(tmp_path: Path) -> None:
    mesh = '<visual>\n  <geometry><mesh filename="meshes/a.stl"  scale="1 1 1"/></geometry></visual>'
    text = urdf_robot(
        "<!-- drawn by hand > on paper -->",
        f'<link name="base">{mesh}</link>',
        joint("j1", "base", "middle"),
        joint("j2", "middle", "tip"),
        links=("middle", "tip"),
    )
    (tmp_path / "arm").mkdir()
    robot = load_robot(write(tmp_path / "arm", text))
    fixed = robot.fixed.copy()
    fixed[1, 0, 3] += 1e-3
    file = save_urdf(replace(robot, fixed=fixed), tmp_path / "rig" / "calibrated.urdf", note="calibrated -- today")
    written = file.read_text()
    assert "<!-- drawn by hand > on paper -->" in written
    assert "calibrated - - today" in written
    assert 'filename="../arm/meshes/a.stl"  scale="1 1 1"' in written
    second = text[text.index('<joint name="j2"') :]
    assert second.replace('xyz="0.0 0.0 0.3"', 'xyz="0.001 0.0 0.3"') in written, "only one origin has changed"


def test_a_written_arm_can_be_written_again(tmp_path: Path, rng: np.random.Generator) -> None:
    robot = off_its_drawing(load_robot("ur5e"), rng)
    first = load_robot(save_urdf(robot, tmp_path / "a.urdf"))
    home = 0.9 * first.home
    again = save_urdf(replace(first, home=home), tmp_path / "b.urdf")
    assert again.read_text().count("<vision_ik") == 1
    np.testing.assert_array_equal(load_robot(again).home, home)


def test_changed_limits_are_written(tmp_path: Path) -> None:
    text = urdf_robot(
        joint("j1", "base", "middle"),
        joint("j2", "middle", "end", kind="continuous", inside=""),
        joint("j3", "end", "tip", kind="prismatic", inside=LIMIT),
        links=("base", "middle", "end", "tip"),
    )
    robot = load_robot(write(tmp_path, text))
    assert np.isinf(robot.upper[1])
    narrow = replace(robot, lower=np.array([-1.0, -2.5, -0.1]), upper=np.array([1.5, 2.5, 0.2]), home=np.zeros(3))
    assert_same(load_robot(save_urdf(narrow, tmp_path / "narrow.urdf")), narrow)
    endless = replace(narrow, lower=robot.lower, upper=robot.upper, velocity=3.0 * robot.velocity)
    assert_same(load_robot(save_urdf(endless, tmp_path / "endless.urdf")), endless)


def test_a_chain_its_file_cannot_express_is_written_from_the_model(tmp_path: Path) -> None:
    robot = load_robot(write(tmp_path, two_joints()))
    fixed = robot.fixed.copy()
    fixed[-1, 2, 3] = 0.1  # behind the last joint the file has no origin that could hold it
    longer = replace(robot, fixed=fixed)
    read = load_robot(save_urdf(longer, tmp_path / "longer.urdf"))
    np.testing.assert_allclose(read.fixed, longer.fixed, rtol=0.0, atol=EXACT)


def test_a_chain_that_is_not_rigid_is_refused(tmp_path: Path) -> None:
    robot = load_robot("ur5e")
    fixed = robot.fixed.copy()
    fixed[2, 0, 0] = 1.1
    with pytest.raises(RobotError, match="reads back differently"):
        save_urdf(replace(robot, fixed=fixed), tmp_path / "arm.urdf")
    assert not (tmp_path / "arm.urdf").exists()


def test_a_rig_can_name_a_written_arm_and_the_solver_has_the_seeds_of_the_nominal_one(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    robot = off_its_drawing(load_robot("ur5e"), rng)
    file = save_urdf(robot, tmp_path / "ur5e_calibrated.urdf")
    save_rig(Rig(robot=str(file), robot_hash=robot.hash), tmp_path)
    rig = load_rig(tmp_path)
    solver = load_solver(rig.robot, base=rig.base, tip=rig.tip)
    assert solver.robot.hash == rig.robot_hash
    assert solver.seeds is not None
    assert solver.seeds.trained_for == "ur5e"
    assert solver.seeds.used
    assert solver.seeds.first_shot_measured > 0.98


def test_a_wrong_element_of_ours_is_named(tmp_path: Path) -> None:
    text = two_joints().replace(
        "<link", '<vision_ik base="base" tip="tip" home="1" acceleration="1" jerk="1"/><link', 1
    )
    with pytest.raises(RobotError, match="<vision_ik>"):
        load_robot(write(tmp_path, text))


@pytest.mark.parametrize("pitch", [0.0, 0.3, np.pi / 2, -np.pi / 2, np.pi / 2 - 1e-9, np.pi / 2 - 1e-13])
def test_angles_hold_near_the_gimbal_lock(pitch: float) -> None:
    R = Transform.from_xyz_rpy(np.zeros(3), [0.4, pitch, -1.2]).rotation
    np.testing.assert_allclose(Transform.from_xyz_rpy(np.zeros(3), rpy_of(R)).rotation, R, rtol=0.0, atol=1e-15)
