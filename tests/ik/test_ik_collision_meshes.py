"""Capsules around the meshes of a URDF that has nothing simpler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vision_ik.errors import RobotError
from vision_ik.ik import load_solver
from vision_ik.ik.collision import CollisionModel
from vision_ik.ik.collision_meshes import Bound, bound_mesh, bound_points, find_mesh
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import Transform
from vision_ik.types import Floats

BOX = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
SIDES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
FACES = np.array([[side[0], side[k], side[k + 1]] for side in SIDES for k in (1, 2)])


def _elbow() -> tuple[Floats, NDArray[np.int64]]:
    """Return an L of two boxes [m]: 0.5 up and 0.5 to the side, 0.1 thick."""
    vertices = np.concatenate([BOX * (0.1, 0.1, 0.5), BOX * (0.5, 0.1, 0.1)])
    return vertices, np.concatenate([FACES, FACES + 8])


def _outside(bound: Bound, points: Floats) -> Floats:
    """Return how far points (N, 3) lie outside a capsule [m]."""
    along = bound.p1 - bound.p0
    s = np.clip((points - bound.p0) @ along / max(float(along @ along), 1e-30), 0.0, 1.0)
    return np.linalg.norm(points - bound.p0 - s[:, None] * along, axis=1) - bound.radius


@given(
    st.integers(0, 10_000),
    st.integers(4, 40),
    st.tuples(*[st.floats(0.0, 1.0)] * 3).filter(lambda spread: max(spread) > 1e-3),
)
@settings(max_examples=30, deadline=None)
def test_no_point_lies_outside_its_capsule(seed: int, count: int, spread: tuple[float, float, float]) -> None:
    """Flat and straight clouds too, which have no convex hull of volume."""
    points = np.random.default_rng(seed).normal(size=(count, 3)) * spread + (3.0, -2.0, 1.0)
    assert _outside(bound_points(points), points).max() <= 1e-12


def test_the_capsule_of_a_stick_is_no_thicker_than_needed() -> None:
    turns = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    ring = np.column_stack([0.05 * np.cos(turns), 0.05 * np.sin(turns), np.zeros(40)])
    T = Transform.from_xyz_rpy((1.0, 2.0, 3.0), (0.3, -1.0, 2.0))
    bound = bound_points(T.apply(np.concatenate([ring + np.array([0.0, 0.0, z]) for z in np.linspace(0.0, 0.6, 9)])))
    assert bound.radius < 0.053
    assert np.linalg.norm(bound.p1 - bound.p0) < 0.61


def test_an_elbow_gets_a_capsule_for_each_arm_and_every_triangle_stays_inside() -> None:
    vertices, triangles = _elbow()
    bounds = bound_mesh(vertices, triangles)
    assert len(bounds) >= 2
    assert sum(bound.volume for bound in bounds) < 0.5 * bound_points(vertices).volume
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), 200)
    surface = np.concatenate([weights @ vertices[triangle] for triangle in triangles])
    assert np.min([_outside(bound, surface) for bound in bounds], axis=0).max() <= 1e-12


# -- in a URDF ------------------------------------------------------------------


def _stl(path: Path, vertices: Floats, triangles: NDArray[np.int64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facets = "".join(
        "facet normal 0 0 0 outer loop\n"
        + "".join(f"vertex {x:.9f} {y:.9f} {z:.9f}\n" for x, y, z in vertices[triangle])
        + "endloop endfacet\n"
        for triangle in triangles
    )
    path.write_text(f"solid a\n{facets}endsolid a\n")


def _arm(folder: Path, filename: str, kind: str = "collision") -> RobotModel:
    """Return an arm whose third link is an elbow of millimetres, turned and moved in its link."""
    origin = '<origin xyz="0.1 0.2 0.3" rpy="0 0 1.5707963267948966"/>'
    mesh = f'<{kind}>{origin}<geometry><mesh filename="{filename}" scale="0.001 0.001 0.001"/></geometry></{kind}>'
    ball = '<collision><geometry><sphere radius="0.05"/></geometry></collision>'
    joints = "".join(
        f'<joint name="j{k}" type="revolute"><parent link="l{k}"/><child link="l{k + 1}"/><axis xyz="0 1 0"/>'
        '<limit lower="-3" upper="3" velocity="1" effort="1"/></joint>'
        for k in range(2)
    )
    path = folder / "robots" / "arm" / "urdf" / "arm.urdf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<robot name="a"><link name="l0">{ball}</link><link name="l1">{ball}</link><link name="l2">{mesh}</link>'
        f"{joints}</robot>"
    )
    return load_robot(path)


@pytest.mark.parametrize("kind", ["collision", "visual"])
@pytest.mark.parametrize(
    ("filename", "place"),
    [
        ("package://arm/meshes/elbow.stl", "robots/arm/meshes/elbow.stl"),
        ("../meshes/elbow.stl", "robots/arm/meshes/elbow.stl"),
    ],
)
def test_a_link_of_meshes_gets_capsules_around_them(tmp_path: Path, filename: str, place: str, kind: str) -> None:
    pytest.importorskip("open3d")
    vertices, triangles = _elbow()
    _stl(tmp_path / place, 1000.0 * vertices, triangles)
    robot = _arm(tmp_path, filename, kind)
    assert any(capsule.stand_in for capsule in robot.capsules)
    model = CollisionModel.from_robot(robot)
    assert not model.approximate
    frame = int(robot.link_frames[robot.links.index("l2")])
    T_frame_shape = (
        robot.Ts_frame_link[robot.links.index("l2")]
        @ Transform.from_xyz_rpy((0.1, 0.2, 0.3), (0.0, 0.0, np.pi / 2.0)).matrix
    )
    corners = vertices @ T_frame_shape[:3, :3].T + T_frame_shape[:3, 3]
    rows = np.flatnonzero(model.frames == frame)
    outside = [_outside(Bound(model.p0[k], model.p1[k], float(model.radius[k])), corners) for k in rows]
    assert len(rows) >= 2
    assert np.min(outside, axis=0).max() <= 1e-8


def test_a_mesh_that_is_missing_leaves_a_stick_and_says_so(tmp_path: Path) -> None:
    model = CollisionModel.from_robot(_arm(tmp_path, "package://arm/meshes/missing.stl"))
    assert model.approximate
    assert model.stand_in.tolist() == [False, False, True]
    assert model.unbounded == ("l2",)


def test_a_solver_refuses_to_guess_at_a_missing_mesh_unless_told_to(tmp_path: Path) -> None:
    robot = _arm(tmp_path, "package://arm/meshes/missing.stl")
    with pytest.raises(RobotError, match="of l2") as caught:
        load_solver(robot, self_collision=True)
    assert "CollisionModel.from_robot(robot)" in caught.value.remedy
    accepted = CollisionModel.from_robot(robot)
    assert load_solver(robot, self_collision=accepted).collision is accepted


def test_a_mesh_that_cannot_be_read_leaves_a_stick_and_says_so(tmp_path: Path) -> None:
    pytest.importorskip("open3d")
    robot = _arm(tmp_path, "meshes.dae")
    (robot.urdf_path.parent / "meshes.dae").write_text("<COLLADA/>")
    assert CollisionModel.from_robot(robot).approximate


def test_packages_are_also_looked_for_where_ros_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = tmp_path / "elsewhere" / "shapes" / "a.stl"
    _stl(mesh, *_elbow())
    urdf = tmp_path / "here" / "arm.urdf"
    assert find_mesh("package://shapes/a.stl", urdf) is None
    monkeypatch.setenv("ROS_PACKAGE_PATH", str(tmp_path / "elsewhere"))
    assert find_mesh("package://shapes/a.stl", urdf) == mesh
    assert find_mesh(f"file://{mesh}", urdf) == mesh
