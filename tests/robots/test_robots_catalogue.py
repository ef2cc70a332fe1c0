"""The shipped arms against the makers' tables and against other people's descriptions."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from urdf_text import write

from vision_ik.robots import RobotModel, catalogue, list_robots, load_robot
from vision_ik.types import Floats

EXACT = 1e-9
"""[m, 1]"""
NAMES = ("panda", "fr3", "ur5e", "ur10e", "iiwa14", "xarm6", "xarm7", "gen3", "so101")
TURN = math.pi / 2.0


def test_the_catalogue_holds_the_promised_arms() -> None:
    assert list_robots() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_arm_has_what_control_needs(name: str) -> None:
    robot, entry = load_robot(name), catalogue()[name]
    assert (robot.name, robot.base, robot.tip) == (name, entry.base, entry.tip)
    assert robot.urdf_path.name == f"{name}.urdf"
    np.testing.assert_array_equal(robot.acceleration, entry.acceleration)
    np.testing.assert_array_equal(robot.jerk, entry.jerk)
    margin = np.minimum(robot.home - robot.lower, robot.upper - robot.home)
    assert (margin > math.radians(5.0)).all(), "home too near to a limit"
    assert np.linalg.cond(robot.jacobian(robot.home)) < 50.0, "home too near to a singularity"
    assert robot.forward(robot.home)[2, 2] < -0.9, "the tool points down at home"
    assert entry.source
    assert entry.dynamics_source


@pytest.mark.parametrize("name", NAMES)
def test_no_posture_reaches_farther_than_the_maker_says(name: str, rng: np.random.Generator) -> None:
    """Makers measure reach to the wrist or the flange, so it bounds from below, the chain from above."""
    robot = load_robot(name)
    shoulder = robot.fixed[0][:3, 3]
    tip = robot.forward(robot.random(rng, 4000))[:, :3, 3]
    farthest = float(np.linalg.norm(tip - shoulder, axis=1).max())
    reach = catalogue()[name].reach
    assert 0.75 * reach < farthest < 1.65 * reach


@pytest.mark.parametrize("name", NAMES)
def test_each_urdf_cites_its_source_and_every_shape_has_a_colour(name: str) -> None:
    path = catalogue()[name].urdf_path
    text = path.read_text(encoding="utf-8")
    header = text.split("-->")[0].lower()
    assert "kinematics:" in header
    assert "limits:" in header
    root = ElementTree.fromstring(text)
    colours = {material.get("name") for material in root.findall("material")}
    used = {material.get("name") for material in root.findall("link/visual/material")}
    assert len(used) >= 2
    assert used <= colours
    for link in root.findall("link"):
        assert link.find("inertial") is not None, "PyBullet would give it 1 kg"
        assert len(link.findall("visual")) == len(link.findall("collision"))


@pytest.mark.parametrize("name", NAMES)
def test_inertias_are_those_of_a_body(name: str) -> None:
    root = ElementTree.parse(catalogue()[name].urdf_path).getroot()
    for inertia in root.findall("link/inertial/inertia"):
        xx, xy, xz, yy, yz, zz = (float(inertia.attrib[k]) for k in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz"))
        a, b, c = np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        assert a > 0.0
        assert a + b >= c * (1.0 - 1e-6), "triangle inequality of principal moments"


def test_part_of_an_arm_keeps_the_dynamics_of_its_joints() -> None:
    whole, part = load_robot("panda"), load_robot("panda", base="panda_link2", tip="panda_link5")
    assert part.joint_names == whole.joint_names[2:5]
    np.testing.assert_array_equal(part.acceleration, whole.acceleration[2:5])
    np.testing.assert_array_equal(part.home, whole.home[2:5])


def test_a_shipped_urdf_given_by_path_is_the_shipped_arm() -> None:
    np.testing.assert_array_equal(load_robot(catalogue()["panda"].urdf_path).jerk, load_robot("panda").jerk)


# -- makers' Denavit-Hartenberg tables ---------------------------------------------

Row = tuple[float, float, float, float]
"""alpha [rad], a [m], d [m], offset of theta [rad]."""

FRANKA: tuple[Row, ...] = (
    (0, 0, 0.333, 0), (-TURN, 0, 0, 0), (TURN, 0, 0.316, 0), (TURN, 0.0825, 0, 0),
    (-TURN, -0.0825, 0.384, 0), (TURN, 0, 0, 0), (TURN, 0.088, 0, 0), (0, 0, 0.107, 0),
)  # fmt: skip
"""Craig's convention; the last row is the flange."""

UPPER_ARM = math.atan(284.5 / 53.5)
STANDARD: dict[str, tuple[Row, ...]] = {
    "ur5e": (
        (TURN, 0, 0.1625, 0), (0, -0.425, 0, 0), (0, -0.3922, 0, 0),
        (TURN, 0, 0.1333, 0), (-TURN, 0, 0.0997, 0), (0, 0, 0.0996, 0),
    ),
    "ur10e": (
        (TURN, 0, 0.1807, 0), (0, -0.6127, 0, 0), (0, -0.57155, 0, 0),
        (TURN, 0, 0.17415, 0), (-TURN, 0, 0.11985, 0), (0, 0, 0.11655, 0),
    ),
    "iiwa14": (
        (-TURN, 0, 0.36, 0), (TURN, 0, 0, 0), (TURN, 0, 0.42, 0), (-TURN, 0, 0, 0),
        (-TURN, 0, 0.40, 0), (TURN, 0, 0, 0), (0, 0, 0.126, 0),
    ),
    "xarm6": (
        (-TURN, 0, 0.267, 0), (0, math.hypot(0.2845, 0.0535), 0, -UPPER_ARM), (-TURN, 0.0775, 0, UPPER_ARM),
        (TURN, 0, 0.3425, 0), (-TURN, 0.076, 0, 0), (0, 0, 0.097, 0),
    ),
    "xarm7": (
        (-TURN, 0, 0.267, 0), (TURN, 0, 0, 0), (TURN, 0.0525, 0.293, 0), (TURN, 0.0775, 0, 0),
        (TURN, 0, 0.3425, 0), (-TURN, 0.076, 0, 0), (0, 0, 0.097, 0),
    ),
    "gen3": (
        (TURN, 0, -(0.15643 + 0.12838), 0), (TURN, 0, -(0.005375 + 0.006375), math.pi),
        (TURN, 0, -(0.21038 + 0.21038), math.pi), (TURN, 0, -(0.006375 + 0.006375), math.pi),
        (TURN, 0, -(0.20843 + 0.10593), math.pi), (TURN, 0, -(0.00017505 + 0.00017505), math.pi),
        (math.pi, 0, -(0.10593 + 0.061525), math.pi),
    ),
}  # fmt: skip
"""Distal (standard) convention, as each maker publishes it."""
T_BASE_FIRST = {
    "ur5e": np.diag([-1.0, -1.0, 1.0, 1.0]),  # ROS turns base_link against the controller's base, REP 199
    "ur10e": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "gen3": np.diag([1.0, -1.0, -1.0, 1.0]),  # Kinova's table starts with a row alpha = pi
}


@pytest.mark.parametrize("name", ["panda", "fr3"])
def test_franka_arms_follow_the_makers_table(name: str, rng: np.random.Generator) -> None:
    robot = load_robot(name)
    for q in robot.random(rng, 20):
        T = np.eye(4)
        for (alpha, a, d, offset), theta in zip(FRANKA, [*q, 0.0], strict=True):
            T = T @ _turn_x(alpha) @ _shift(a, 0.0) @ _turn_z(theta + offset) @ _shift(0.0, d)
        np.testing.assert_allclose(robot.forward(q), T, atol=EXACT)


@pytest.mark.parametrize("name", STANDARD)
def test_other_arms_follow_their_makers_tables(name: str, rng: np.random.Generator) -> None:
    robot = load_robot(name)
    for q in robot.random(rng, 20):
        T = T_BASE_FIRST.get(name, np.eye(4))
        for (alpha, a, d, offset), theta in zip(STANDARD[name], q, strict=True):
            T = T @ _turn_z(theta + offset) @ _shift(a, d) @ _turn_x(alpha)
        np.testing.assert_allclose(robot.forward(q), T, atol=EXACT)


# -- other people's descriptions ---------------------------------------------------


def _package_file(package: str, path: str) -> Path:
    """Return a file of an optional package, or skip the test."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed (group `models`)")
    file = Path(spec.origin).parent / path
    if not file.exists():
        pytest.skip(f"this {package} has no {path}")
    return file


def _example(path: str) -> Path:
    """Return a URDF of example-robot-data, whose files lie outside any Python package."""
    spec = importlib.util.find_spec("cmeel")
    site = None if spec is None or spec.origin is None else Path(spec.origin).parents[1]
    file = (site or Path()) / "cmeel.prefix/share/example-robot-data/robots" / path
    if site is None or not file.exists():
        pytest.skip("example-robot-data is not installed (group `models`)")
    return file


def _exact_angles(text: str) -> str:
    """Return a URDF in which angles written as 1.5708 or 3.14159 are the right angles they stand for."""

    def mend(match: re.Match[str]) -> str:
        angles = [float(word) for word in match[1].split()]
        right = [round(angle / TURN) * TURN for angle in angles]
        return f'rpy="{" ".join(repr(r if abs(a - r) < 1e-5 else a) for a, r in zip(angles, right, strict=True))}"'

    return re.sub(r'rpy\s*=\s*"([^"]*)"', mend, text)


def _assert_same_chain(ours: RobotModel, theirs: RobotModel, T_tips: Floats | None = None) -> None:
    """Compare tip poses; ``T_tips`` leads from their tip to ours where the documents end at other frames."""
    q = ours.random(np.random.default_rng(1), 50)
    T_theirs = theirs.forward(q) if T_tips is None else theirs.forward(q) @ T_tips
    np.testing.assert_allclose(ours.forward(q), T_theirs, atol=EXACT)


def _assert_same_limits(ours: RobotModel, theirs: RobotModel, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(ours.lower, theirs.lower, atol=tolerance)
    np.testing.assert_allclose(ours.upper, theirs.upper, atol=tolerance)


@pytest.mark.parametrize("name", ["panda", "fr3"])
def test_franka_arms_equal_the_panda_of_example_robot_data(name: str) -> None:
    """Franka publishes one kinematic table for both arms; limits differ."""
    theirs = load_robot(_example("panda_description/urdf/panda.urdf"), tip="panda_link8")
    ours = load_robot(name)
    _assert_same_chain(ours, theirs)
    if name == "panda":
        _assert_same_limits(ours, theirs)
        np.testing.assert_allclose(ours.velocity, theirs.velocity)


def test_panda_equals_the_one_of_pybullet_data() -> None:
    """Kinematics only: that file's limits are the mechanical ones, wider than those of the controller."""
    theirs = load_robot(_package_file("pybullet_data", "franka_panda/panda.urdf"), tip="panda_link8")
    _assert_same_chain(load_robot("panda"), theirs)


def test_iiwa14_equals_the_one_of_pybullet_data() -> None:
    """That file ends at link 7; the flange lies 45 mm farther (KUKA: 126 mm from axis 6)."""
    theirs = load_robot(_package_file("pybullet_data", "kuka_iiwa/model.urdf"), tip="lbr_iiwa_link_7")
    _assert_same_chain(load_robot("iiwa14"), theirs, _shift(0.0, 0.045))
    _assert_same_limits(load_robot("iiwa14"), theirs)


def test_iiwa14_equals_the_one_of_rtb_data_but_for_a_slip_of_theirs(tmp_path: Path) -> None:
    """ROS-Industrial's file shifts axes 2 and 3 by 0.43624 mm and back at axis 4.

    KUKA's drawing and the description above have all axes meet in one line at zero, so the shift is
    theirs. Without it the chains are equal; with it they differ by at most its size twice over.
    """
    file = _package_file("rtbdata", "xacro/kuka_description/kuka_lbr_iiwa/urdf/lbr_iiwa_14_r820.urdf")
    text = file.read_text(encoding="utf-8")
    assert text.count("0.00043624") == 2
    straight = load_robot(write(tmp_path, text.replace("0.00043624", "0")), tip="tool0")
    _assert_same_chain(load_robot("iiwa14"), straight)
    _assert_same_limits(load_robot("iiwa14"), straight, tolerance=1e-3)
    np.testing.assert_allclose(load_robot("iiwa14").velocity, straight.velocity, atol=1e-3)
    q = straight.random(np.random.default_rng(1), 200)
    shift = load_robot(file, tip="tool0").forward(q)[:, :3, 3] - load_robot("iiwa14").forward(q)[:, :3, 3]
    assert 1e-4 < np.linalg.norm(shift, axis=1).max() < 2 * 0.00043624


def test_xarm6_equals_the_one_of_pybullet_data(tmp_path: Path) -> None:
    text = _package_file("pybullet_data", "xarm/xarm6_robot.urdf").read_text(encoding="utf-8")
    theirs = load_robot(write(tmp_path, _exact_angles(text)), base="link_base", tip="link6")
    _assert_same_chain(load_robot("xarm6"), theirs)
    _assert_same_limits(load_robot("xarm6"), theirs)


def test_xarm7_equals_the_one_of_example_robot_data(tmp_path: Path) -> None:
    text = _example("xarm_description/urdf/xarm7.urdf").read_text(encoding="utf-8")
    theirs = load_robot(write(tmp_path, _exact_angles(text)), base="link_base", tip="link_eef")
    _assert_same_chain(load_robot("xarm7"), theirs)
    _assert_same_limits(load_robot("xarm7"), theirs)


def test_so101_equals_the_one_of_example_robot_data(tmp_path: Path) -> None:
    """That file carries the crumbs of its CAD export: offsets of 1e-8 m, right angles with six digits."""
    text = _exact_angles(_example("so_arm_description/urdf/so101.urdf").read_text(encoding="utf-8"))
    theirs = load_robot(write(tmp_path, text.replace("-8.97657e-09", "0")), tip="gripper_frame_link")
    _assert_same_chain(load_robot("so101"), theirs)
    _assert_same_limits(load_robot("so101"), theirs)
    assert load_robot("so101").joint_names == theirs.joint_names


def _turn_z(angle: float) -> Floats:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def _turn_x(angle: float) -> Floats:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])


def _shift(x: float, z: float) -> Floats:
    T = np.eye(4)
    T[0, 3], T[2, 3] = x, z
    return T
