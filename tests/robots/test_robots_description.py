"""URDF files that cannot be used: each gets one typed error with cause and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from urdf_text import LIMIT, joint, robot, two_joints, write

from vision_ik.errors import RobotError
from vision_ik.robots import load_robot
from vision_ik.robots.chain import DEFAULT_ACCELERATION, DEFAULT_JERK, DEFAULT_VELOCITY

THREE = ("base", "middle", "tip")


def _second(**changes: object) -> str:
    return two_joints(joint("j2", "middle", "tip", **changes))  # pyright: ignore[reportArgumentType]


BROKEN = {
    "malformed": ("<robot><link", "not well-formed XML"),
    "empty": ("", "not well-formed XML"),
    "binary": ("\x00\x01\x02", "not well-formed XML"),
    "another_format": ("<sdf><model/></sdf>", "root element is <sdf>"),
    "xacro": (
        '<robot xmlns:xacro="http://ros.org/wiki/xacro"><xacro:property name="a" value="1"/></robot>',
        "xacro macros",
    ),
    "no_links": ("<robot name='arm'/>", "has no links"),
    "nothing_moves": (robot(joint("f", "base", "tip", kind="fixed"), links=("base", "tip")), "Nothing moves"),
    "mimic": (_second(inside=LIMIT + '<mimic joint="j1"/>'), "'j2'.* mimics 'j1'"),
    "planar": (_second(kind="planar"), "'j2'.* is planar"),
    "floating": (_second(kind="floating"), "'j2'.* is floating"),
    "unknown_kind": (_second(kind="screw"), "'j2' the unknown type 'screw'"),
    "no_limits": (_second(inside=""), "'j2'.* has no position limits"),
    "half_limits": (_second(inside='<limit lower="-1" velocity="1"/>'), "'j2'.* has no position limits"),
    "no_velocity": (_second(inside='<limit lower="-1" upper="1"/>'), "'j2'.* has no velocity limit"),
    "zero_velocity": (_second(inside='<limit lower="-1" upper="1" velocity="0"/>'), "'j2'.* could never move"),
    "reversed_limits": (_second(inside='<limit lower="1" upper="-1" velocity="1"/>'), "'j2'.* lower limit 1 above"),
    "limits_nobody_set": (_second(inside='<limit lower="0" upper="0" effort="0" velocity="0"/>'), "'j2'.* never move"),
    "all_joints_held": (two_joints().replace('lower="-2"', 'lower="2"'), "Nothing moves"),
    "endless_limits": (_second(inside='<limit lower="-inf" upper="inf" velocity="1"/>'), "'j2' lower=\"-inf\""),
    "zero_axis": (_second(axis=(0, 0, 0)), "'j2' an axis of length zero"),
    "short_axis": (two_joints().replace('"0.0 0.0 1.0"', '"0 1"', 1), "'j1' xyz=\"0 1\"; that must be 3"),
    "nan_origin": (_second(xyz=(0, float("nan"), 0)), "'j2' xyz=\"0.0 nan 0.0\""),
    "infinite_origin": (_second(rpy=(0, 0, float("inf"))), "'j2' rpy="),
    "words_for_numbers": (two_joints().replace('upper="2"', 'upper="much"', 1), "'j1' upper=\"much\""),
    "no_child": (two_joints().replace('<child link="tip"/>', ""), "without name, parent or child"),
    "unknown_link": (two_joints().replace('<child link="tip"/>', '<child link="hand"/>'), "link 'hand' that does not"),
    "twin_links": (two_joints().replace('name="tip"', 'name="base"'), "two links named 'base'"),
    "twin_joints": (two_joints().replace('name="j2"', 'name="j1"'), "two joints named 'j1'"),
    "nameless_link": (two_joints().replace('<link name="tip"/>', "<link/>"), "link without a name"),
    "two_parents": (
        robot(joint("a", "base", "tip"), joint("b", "middle", "tip"), joint("c", "base", "middle"), links=THREE),
        "hangs on both 'a' and 'b'",
    ),
    "ring": (robot(joint("a", "base", "tip"), joint("b", "tip", "base"), links=("base", "tip")), "form a cycle"),
    "ring_beside": (
        robot(joint("a", "middle", "tip"), joint("b", "tip", "middle"), links=THREE),
        "middle, tip form a cycle",
    ),
    "two_roots": (robot(joint("a", "base", "tip"), links=THREE), "several root links .base, middle"),
    "negative_radius": (
        two_joints().replace(
            '<link name="tip"/>',
            '<link name="tip"><collision><geometry><sphere radius="-1"/></geometry></collision></link>',
        ),
        "shape of negative size",
    ),
    "no_radius": (
        two_joints().replace(
            '<link name="tip"/>',
            '<link name="tip"><collision><geometry><sphere/></geometry></collision></link>',
        ),
        "link 'tip' no radius",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_urdf_gets_one_error_that_names_cause_and_remedy(case: str, tmp_path: Path) -> None:
    text, cause = BROKEN[case]
    path = write(tmp_path, text)
    with pytest.raises(RobotError, match=cause) as caught:
        load_robot(path)
    assert caught.value.remedy.endswith(".")
    assert caught.value.facts["path"] == path


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RobotError, match=r"Could not read nowhere.arm\.urdf: No such file"):
        load_robot("nowhere/arm.urdf")


def test_a_folder_is_no_urdf(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="directory"):
        load_robot(tmp_path)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RobotError, match="one of: panda, fr3"):
        load_robot("pander")


def test_several_leaves_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    text = robot(
        joint("j1", "base", "hand"), joint("f1", "hand", "left"), joint("f2", "hand", "right"),
        links=("base", "hand", "left", "right"),
    )  # fmt: skip
    path = write(tmp_path, text)
    with pytest.raises(RobotError, match=r"could end at left, right\. Say which with tip= .--tip on") as caught:
        load_robot(path)
    assert caught.value.facts["leaves"] == ("left", "right")
    assert load_robot(path, tip="right").joint_names == ("j1", "f2")
    assert load_robot(path, tip="hand").joint_names == ("j1",)
    assert load_robot(path, base="hand", tip="left").joint_names == ("f1",)


@pytest.mark.parametrize("ends", [{"base": "elbow"}, {"tip": "elbow"}])
def test_a_link_that_is_not_there_is_answered_with_those_that_are(ends: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(RobotError, match=r"no link 'elbow'\. Its links are: base, middle, tip"):
        load_robot(write(tmp_path, two_joints()), **ends)


def test_no_chain_leads_upward(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match="No chain leads from 'tip' down to 'base'"):
        load_robot(write(tmp_path, two_joints()), base="tip", tip="base")


def test_a_mimic_joint_off_the_chain_does_no_harm_and_is_held_at_zero(tmp_path: Path) -> None:
    held = '<limit lower="0.5" upper="1" velocity="1"/><mimic joint="j1"/>'
    text = robot(
        joint("j1", "base", "hand"), joint("f", "hand", "finger", kind="prismatic", inside=held),
        links=("base", "hand", "finger"),
    )  # fmt: skip
    model = load_robot(write(tmp_path, text), tip="hand")
    T_hand_finger = np.linalg.inv(model.link_transforms([0.0])["hand"]) @ model.link_transforms([0.0])["finger"]
    np.testing.assert_allclose(T_hand_finger[:3, 3], (0.0, 0.0, 0.3 + 0.5), atol=1e-15)


def test_what_a_urdf_cannot_say_is_a_stated_default(tmp_path: Path) -> None:
    text = two_joints(joint("j2", "middle", "tip", kind="continuous", inside=""))
    model = load_robot(write(tmp_path, text))
    np.testing.assert_array_equal(model.velocity, (1.5, DEFAULT_VELOCITY))
    np.testing.assert_array_equal(model.acceleration, (DEFAULT_ACCELERATION,) * 2)
    np.testing.assert_array_equal(model.jerk, (DEFAULT_JERK,) * 2)
    np.testing.assert_array_equal(model.lower, (-2.0, -np.inf))


@pytest.mark.parametrize(
    ("lower", "upper", "home"), [(-1.0, 2.0, 0.5), (0.0, 12.0, np.pi), (-12.0, -8.0, -8.0), (4.0, 5.0, 4.0)]
)
def test_home_of_a_foreign_arm_is_the_middle_within_half_a_turn(
    lower: float, upper: float, home: float, tmp_path: Path
) -> None:
    text = _second(inside=f'<limit lower="{lower}" upper="{upper}" velocity="1"/>')
    assert load_robot(write(tmp_path, text)).home[1] == home


def test_a_joint_with_equal_limits_stays_in_the_chain(tmp_path: Path) -> None:
    model = load_robot(write(tmp_path, _second(inside='<limit lower="0.7" upper="0.7" velocity="1"/>')))
    assert model.joint_names == ("j1", "j2")
    assert (model.lower[1], model.upper[1], model.home[1]) == (0.7, 0.7, 0.7)


def test_where_nothing_moves_the_joints_that_do_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, two_joints(joint("j2", "middle", "tip", kind="fixed")))
    with pytest.raises(RobotError, match=r"'middle' and 'tip'.* joints lie between them.* j1 \(base to middle\)\.$"):
        load_robot(path, base="middle", tip="tip")


def test_an_axis_of_any_length_is_a_direction(tmp_path: Path) -> None:
    long = load_robot(write(tmp_path, _second(axis=(0, 3, 4))))
    unit = load_robot(write(tmp_path, _second(axis=(0, 0.6, 0.8))))
    assert long.hash == unit.hash


def test_without_an_axis_a_joint_turns_about_x(tmp_path: Path) -> None:
    model = load_robot(write(tmp_path, _second(axis=None)))
    np.testing.assert_allclose(model.jacobian([0.0, 0.0])[3:, 1], (1.0, 0.0, 0.0), atol=1e-15)
