"""The arm is drawn where it is, cheaply, and whatever moved is drawn anew."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sim import Solid, Viewer, World, load_scene, look_at, render_view
from sim.layers import Painter
from sim.lens import project, ray_table
from sim.meshes import box_mesh, capsule_mesh, robot_meshes
from sim.solids import TracedMesh, trace
from vision_ik.robots import RobotModel, load_robot
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics

LENS = CameraIntrinsics.from_field_of_view(320, 240, np.deg2rad(55.0))
VIEW = look_at((1.3, -0.8, 0.7), (0.2, 0.0, 0.35))
UR5E, PANDA = load_robot("ur5e"), load_robot("panda")


@pytest.mark.parametrize("robot", [PANDA, UR5E], ids=["panda", "ur5e"])
def test_each_link_is_seen_at_its_true_distance(robot: RobotModel):
    with World() as world:
        world.add_robot(robot)
        painting = Painter(world, LENS).paint(lambda _: VIEW, 0.0)
        bare = Painter(World(), LENS).paint(lambda _: VIEW, 0.0)
    Ts_base_link = robot.link_transforms(robot.home)
    seen = 0
    for capsule in robot.capsules:
        middle = (VIEW.inv() @ Transform(Ts_base_link[capsule.link])).apply(0.5 * (capsule.p0 + capsule.p1))
        ((u, v),) = project(middle, LENS).round().astype(int)
        if 0 <= u < 320 and 0 <= v < 240:
            gap = np.linalg.norm(middle) - painting.distance[v, u]
            # The surface lies before the axis, and nothing but the arm is there.
            assert painting.distance[v, u] < bare.distance[v, u]
            assert gap > -0.06
            seen += gap < 0.25
    assert seen >= 5


def test_coarse_tracing_gives_the_picture_of_full_tracing():
    mesh = TracedMesh(robot_meshes(PANDA)["panda_link5"])
    ball = TracedMesh(capsule_mesh((0, 0, 0), (0, 0, 0.2), 0.06, (0.2, 0.4, 0.8)))
    T_camera_link = Transform.from_xyz_rpy((0.0, 0.1, 0.9), (1.0, 0.5, 0.2)).matrix
    bodies = [(mesh, T_camera_link), (ball, Transform.from_translation((0.1, 0.0, 1.0)).matrix)]
    rays = ray_table(LENS)
    coarse, full = (trace(bodies, Transform.identity(), rays, coarse=c) for c in (True, False))
    assert full.alpha.sum() > 4000
    assert np.abs(coarse.alpha - full.alpha).sum() < 0.002 * full.alpha.sum()
    inside = (coarse.alpha == 1) & (full.alpha == 1)
    assert np.abs(coarse.distance[inside] - full.distance[inside]).mean() < 3e-4
    difference = np.abs(coarse.colour - full.colour)[inside]
    assert difference.mean() < 0.5
    assert np.percentile(difference, 99) < 8.0


def test_outlines_are_smooth():
    wall = TracedMesh(box_mesh((0.4, 0.4, 0.01), (0.9, 0.9, 0.9)))
    T = Transform.from_xyz_rpy((0.0, 0.0, 1.0), (0.0, 0.0, 0.1)).matrix
    rays = ray_table(LENS)
    layer = trace([(wall, T)], Transform.identity(), rays, coarse=True)
    partial = (layer.alpha > 0) & (layer.alpha < 1)
    f = LENS.K[0, 0]
    area = (0.4 * f / 0.995) ** 2
    assert partial.sum() > 200
    assert layer.alpha.sum() == pytest.approx(area, rel=0.004)


def test_a_still_world_is_not_traced_again_and_a_moved_arm_is(monkeypatch: pytest.MonkeyPatch):
    calls: list[int] = []
    cast = TracedMesh.cast

    def counted(mesh: TracedMesh, rays: NDArray[np.float32]) -> object:
        calls.append(len(rays))
        return cast(mesh, rays)

    monkeypatch.setattr(TracedMesh, "cast", counted)
    with World() as world:
        body = world.add_robot(UR5E)
        painter = Painter(world, LENS)
        first = painter.paint(lambda _: VIEW, 0.0)
        assert calls
        calls.clear()
        world.sleep_until(0.1)
        again = painter.paint(lambda _: VIEW, 0.1)
        assert not calls
        np.testing.assert_array_equal(first.light, again.light)
        body.set_target(UR5E.home + 0.1, np.zeros(6), 0.1)
        world.sleep_until(0.2)
        moved = painter.paint(lambda _: VIEW, 0.2)
        assert calls
        assert np.abs(moved.light - first.light).max() > 50


def test_a_body_that_is_exchanged_is_drawn_anew():
    with World() as world:
        world.add_robot(UR5E)
        painter = Painter(world, LENS)
        small = Solid(mesh=box_mesh((0.05, 0.05, 0.05), (0.9, 0.1, 0.1)), parent="flange")
        big = Solid(mesh=box_mesh((0.2, 0.2, 0.2), (0.1, 0.1, 0.9)), parent="flange")
        world.add_solid(small)
        one = painter.paint(lambda _: VIEW, 0.0).light
        world.remove_solid(small)
        world.add_solid(big)
        other = painter.paint(lambda _: VIEW, 0.0).light
        assert (np.abs(one - other).max(axis=2) > 30).sum() > 300


def test_the_arm_throws_a_shadow_on_the_table():
    with World() as empty, World() as world:
        world.add_robot(PANDA)
        bare = Painter(empty, LENS).paint(lambda _: VIEW, 0.0)
        painting = Painter(world, LENS).paint(lambda _: VIEW, 0.0)
    # Where the arm itself is not in the way, the table is darker at some places and brighter nowhere.
    table = np.isfinite(bare.distance) & (painting.distance == bare.distance)
    table = cv2.erode(table.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # without soft outlines
    change = (painting.light - bare.light)[..., 1][table]
    assert change.max() < 1.0
    assert (change < -15).sum() > 200


def test_the_view_from_outside_shows_the_camera_of_the_scene():
    with load_scene("tabletop") as scene:
        plain = render_view(scene.world)
        assert plain.shape == (480, 640, 3)
        camera = (scene.camera.intrinsics, scene.camera.T_parent_camera, scene.camera.parent)
        shown = Viewer(scene.world, camera=camera).render()
        assert (np.abs(shown.astype(int) - plain).max(axis=2) > 20).sum() > 300


def test_look_at_puts_its_goal_on_the_optical_axis_and_the_sky_up():
    T_world_camera = look_at((1.0, 2.0, 3.0), (0.2, -0.1, 0.4))
    goal = T_world_camera.inv().apply((0.2, -0.1, 0.4))
    np.testing.assert_allclose(goal[:2], 0.0, atol=1e-12)
    assert goal[2] > 0
    assert T_world_camera.rotation[2, 1] < 0  # picture's down is the world's down
    assert abs(T_world_camera.rotation[2, 0]) < 1e-12
    down = look_at((0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
    np.testing.assert_allclose(down.rotation[:, 2], [0, 0, -1], atol=1e-12)
    with pytest.raises(ValueError, match="differ"):
        look_at((1.0, 0.0, 0.0), (1.0, 0.0, 0.0))
