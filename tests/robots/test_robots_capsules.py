"""The arm's shape as capsules."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from urdf_text import joint, robot, write

from vision_ik.robots import Capsule, RobotModel, list_robots, load_robot
from vision_ik.robots.capsules import STAND_IN_RADIUS
from vision_ik.transforms import Transform
from vision_ik.types import Floats


def _arm(tmp_path: Path, shapes: str) -> RobotModel:
    """Return an arm whose first link has these shapes."""
    text = robot(f'<link name="base">{shapes}</link>', joint("j1", "base", "tip"), links=("tip",))
    return load_robot(write(tmp_path, text))


def _collision(shape: str, origin: str = "") -> str:
    return f"<collision>{origin}<geometry>{shape}</geometry></collision>"


def test_a_cylinder_with_two_spheres_is_one_capsule(tmp_path: Path) -> None:
    shapes = _collision('<cylinder radius="0.05" length="0.4"/>', '<origin xyz="0 0 0.2"/>')
    shapes += _collision('<sphere radius="0.05"/>') + _collision('<sphere radius="0.05"/>', '<origin xyz="0 0 0.4"/>')
    (capsule,) = _arm(tmp_path, shapes).capsules
    assert (capsule.link, capsule.radius, capsule.stand_in) == ("base", 0.05, False)
    np.testing.assert_allclose((capsule.p0, capsule.p1), ((0, 0, 0), (0, 0, 0.4)), atol=1e-15)


def test_equal_shapes_count_once_and_larger_ones_swallow_smaller_ones(tmp_path: Path) -> None:
    sphere = _collision('<sphere radius="0.05"/>')
    assert len(_arm(tmp_path, sphere + sphere).capsules) == 1
    (capsule,) = _arm(tmp_path, sphere + _collision('<sphere radius="0.06"/>')).capsules
    assert capsule.radius == 0.06


def test_the_capsule_of_a_box_lies_along_its_longest_edge_and_is_no_thicker_than_needed(tmp_path: Path) -> None:
    (capsule,) = _arm(tmp_path, _collision('<box size="0.3 1.0 0.4"/>')).capsules
    assert capsule.radius == pytest.approx(0.25)
    np.testing.assert_allclose((capsule.p0, capsule.p1), ((0, -0.5, 0), (0, 0.5, 0)))


def test_a_bullet_capsule_is_read_too(tmp_path: Path) -> None:
    (capsule,) = _arm(tmp_path, _collision('<capsule radius="0.03" length="0.2"/>')).capsules
    np.testing.assert_allclose((capsule.p0, capsule.p1), ((0, 0, -0.1), (0, 0, 0.1)))


@given(
    st.sampled_from(["cylinder", "box", "sphere"]),
    st.tuples(*[st.floats(0.01, 0.5)] * 3),
    st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    st.tuples(*[st.floats(-3.0, 3.0)] * 3),
)
def test_every_shape_lies_inside_its_capsule(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    size: tuple[float, float, float],
    xyz: tuple[float, float, float],
    rpy: tuple[float, float, float],
) -> None:
    elements = {
        "cylinder": f'<cylinder radius="{size[0]}" length="{size[1]}"/>',
        "box": f'<box size="{size[0]} {size[1]} {size[2]}"/>',
        "sphere": f'<sphere radius="{size[0]}"/>',
    }
    origin = f'<origin xyz="{xyz[0]} {xyz[1]} {xyz[2]}" rpy="{rpy[0]} {rpy[1]} {rpy[2]}"/>'
    arm = _arm(tmp_path_factory.mktemp("arm"), _collision(elements[kind], origin))
    (capsule,) = arm.capsules
    surface = Transform.from_xyz_rpy(xyz, rpy).apply(_surface(kind, size))
    assert max(_distance(point, capsule) for point in surface) <= capsule.radius + 1e-12


def _surface(kind: str, size: tuple[float, float, float]) -> Floats:
    """Return points on the shape that lie farthest out."""
    turns = np.linspace(0.0, 2.0 * np.pi, 24)
    circle = np.column_stack([np.cos(turns), np.sin(turns), np.zeros(24)])
    if kind == "cylinder":
        return np.concatenate([size[0] * circle + (0, 0, end * size[1] / 2) for end in (-1, 1)])
    if kind == "box":
        return np.array([[a, b, c] for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (-0.5, 0.5)]) * size
    return np.concatenate([size[0] * circle, size[0] * circle[:, [2, 0, 1]]])


def test_a_link_with_a_mesh_alone_gets_a_stick_that_says_so(tmp_path: Path) -> None:
    (capsule,) = _arm(tmp_path, '<visual><geometry><mesh filename="a.stl"/></geometry></visual>').capsules
    assert (capsule.stand_in, capsule.radius) == (True, STAND_IN_RADIUS)
    np.testing.assert_array_equal((capsule.p0, capsule.p1), ((0, 0, 0), (0, 0, 0.3)))


def test_a_mesh_beside_simple_shapes_is_left_out(tmp_path: Path) -> None:
    mesh = _collision('<mesh filename="a.stl"/>')
    (capsule,) = _arm(tmp_path, mesh + _collision('<sphere radius="0.1"/>')).capsules
    assert not capsule.stand_in


def test_links_without_shapes_have_no_capsules(tmp_path: Path) -> None:
    assert _arm(tmp_path, "").capsules == ()


def test_colours_come_from_the_visual_that_looks_alike(tmp_path: Path) -> None:
    red = '<material name="red"><color rgba="1 0 0 1"/></material>'
    blue = '<material name="blue"><color rgba="0 0 1 1"/></material>'
    small, large = '<geometry><sphere radius="0.1"/></geometry>', '<geometry><sphere radius="0.2"/></geometry>'
    shapes = f"<visual>{small}{red}</visual><visual>{large}{blue}</visual>"
    (capsule,) = _arm(tmp_path, shapes + f"<collision>{large}</collision>").capsules
    assert capsule.rgba == (0.0, 0.0, 1.0, 1.0)
    other = _collision('<box size="1 1 1"/>')
    assert _arm(tmp_path, shapes + other).capsules[0].rgba == (1.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("name", list_robots())
def test_shipped_arms_stand_on_the_table_in_two_colours(name: str) -> None:
    arm = load_robot(name)
    assert len({capsule.rgba for capsule in arm.capsules}) >= 2
    assert not any(capsule.stand_in for capsule in arm.capsules)
    ends = _ends_in_base(arm, arm.home)
    assert min(min(p0[2], p1[2]) - capsule.radius for capsule, p0, p1 in ends) > -1e-6


@pytest.mark.parametrize("name", list_robots())
def test_shipped_arms_have_no_gaps_and_do_not_touch_themselves_at_home(name: str) -> None:
    """Neighbouring links overlap at their joint; links further apart keep clear."""
    arm = load_robot(name)
    ends = _ends_in_base(arm, arm.home)
    order = {link: int(frame) for link, frame in zip(arm.links, arm.link_frames, strict=True)}
    gaps: dict[int, float] = {}
    for (a, *ends_a), (b, *ends_b) in combinations(ends, 2):
        apart = abs(order[a.link] - order[b.link])
        clearance = _segment_distance(*ends_a, *ends_b) - a.radius - b.radius
        if apart == 1:
            joint_number = min(order[a.link], order[b.link])
            gaps[joint_number] = min(clearance, gaps.get(joint_number, np.inf))
        elif apart > 2:
            assert clearance > 0.0, (a.link, b.link)
    assert max(gaps.values()) < 0.0, gaps


def _ends_in_base(arm: RobotModel, q: Floats) -> list[tuple[Capsule, Floats, Floats]]:
    Ts = arm.link_transforms(q)
    return [
        (c, Ts[c.link][:3, :3] @ c.p0 + Ts[c.link][:3, 3], Ts[c.link][:3, :3] @ c.p1 + Ts[c.link][:3, 3])
        for c in arm.capsules
    ]


def _distance(point: Floats, capsule: Capsule) -> float:
    return _segment_distance(point, point, capsule.p0, capsule.p1)


def _segment_distance(p0: Floats, p1: Floats, r0: Floats, r1: Floats) -> float:
    """Return the distance of two segments, by dense sampling and projection of one on the other."""
    points = p0 + np.linspace(0.0, 1.0, 201)[:, None] * (p1 - p0)
    along = r1 - r0
    length2 = float(along @ along)
    s = np.zeros(len(points)) if length2 == 0.0 else np.clip((points - r0) @ along / length2, 0.0, 1.0)
    return float(np.linalg.norm(points - r0 - s[:, None] * along, axis=1).min())
