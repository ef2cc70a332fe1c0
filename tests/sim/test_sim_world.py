"""The world is a clock, keeps its truths, and leaves other worlds alone."""

import subprocess
import sys

import numpy as np
import pytest

from sim import FlangeNoise, Motion, World
from vision_ik.clock import Clock
from vision_ik.errors import ArmError, MissingDependencyError
from vision_ik.robots import load_robot
from vision_ik.transforms import Transform
from vision_ik.types import CharucoBoard

PANDA = load_robot("panda")
BOARD = CharucoBoard(columns=7, rows=5, square_m=0.03, marker_m=0.022)


def test_time_moves_exactly_as_told_and_never_back():
    with World() as world:
        assert isinstance(world, Clock)
        world.sleep_until(0.0123456)
        assert world.now() == 0.0123456
        world.sleep_until(0.005)
        assert world.now() == 0.0123456


def test_a_thousand_short_sleeps_step_the_physics_as_often_as_one_long_one():
    def run(stops: list[float]) -> np.ndarray:
        with World() as world:
            body = world.add_robot(PANDA)
            body.set_target(PANDA.home, np.full(7, 0.3), 0.0)
            for stop in stops:
                world.sleep_until(stop)
            return body.q

    np.testing.assert_array_equal(run([0.04]), run(np.linspace(0.0, 0.04, 1001).tolist()))


def test_two_worlds_do_not_interfere():
    with World() as one, World() as other:
        body, still = one.add_robot(PANDA), other.add_robot(PANDA)
        body.set_target(PANDA.home + 0.02, np.zeros(7), 0.0)
        for t in np.arange(0.0, 0.1, 0.01).tolist():
            one.sleep_until(t)
        assert other.now() == 0.0
        other.sleep_until(0.1)
        np.testing.assert_allclose(still.q, PANDA.home, atol=1e-9)
        np.testing.assert_allclose(body.q, PANDA.home + 0.02, atol=1e-4)


def test_closing_a_world_frees_its_client_so_that_hundreds_can_follow():
    import pybullet

    def next_client() -> int:
        probe = pybullet.connect(pybullet.DIRECT)  # PyBullet gives out the lowest free number, of about a thousand
        pybullet.disconnect(probe)
        return probe

    before = next_client()
    world = World()
    assert next_client() != before
    world.close()
    for _ in range(20):
        with World() as world:
            world.add_robot(PANDA)
        world.close()
    assert next_client() == before
    with pytest.raises(ArmError, match="closed"):
        world.sleep_until(1.0)


def test_joint_positions_of_the_past_are_interpolated_and_old_ones_forgotten():
    with World() as world:
        body = world.add_robot(PANDA)
        for t in np.arange(0.0, 4.0, 0.01).tolist():
            body.set_target(PANDA.home + 0.1 * t, np.full(7, 0.1), t)
            world.sleep_until(t + 0.01)
        np.testing.assert_allclose(world.q(2.0004), PANDA.home + 0.20004, atol=2e-5)
        np.testing.assert_allclose(world.q(), PANDA.home + 0.1 * world.now(), atol=2e-5)
        with pytest.raises(ValueError, match="forgotten"):
            world.q(0.5)


def test_a_board_on_the_flange_goes_where_the_flange_goes_until_it_is_detached():
    T_world_base = Transform.from_xyz_rpy((0.1, -0.2, 0.3), (0.0, 0.0, 0.5))
    T_flange_board = Transform.from_xyz_rpy((0.0, 0.01, 0.05), (0.1, 0.2, 0.3))
    with World() as world:
        world.add_robot(PANDA, T_world_base)
        world.attach_board(BOARD, "flange", T_flange_board)
        expected = T_world_base @ Transform(PANDA.forward(PANDA.home)) @ T_flange_board
        assert world.T_world_target("board").distance_to(expected)[0] < 1e-9
        with pytest.raises(ValueError, match="attached already"):
            world.attach_board(BOARD, "flange")
        world.sleep_until(0.1)
        world.detach("board")
        assert [p.name for p in world.placements(0.05)] == ["board"]
        assert world.placements() == []
        with pytest.raises(ValueError, match="Nothing named 'board'"):
            world.T_world_target("board")


def test_the_true_pose_of_a_moving_tag_is_its_motion():
    motion = Motion(T_world_centre=Transform.from_translation((0.5, 0, 0.2)), shape="circle", width_m=0.2, height_m=0.2)
    with World() as world:
        world.attach_tag(3, 0.08, "world", motion)
        world.sleep_until(1.5)
        assert world.T_world_tag() == motion.pose(1.5)
        assert world.T_world_tag(0.7, tag_id=3) == motion.pose(0.7)
        with pytest.raises(ValueError, match="tag_id"):
            world.T_world_tag(tag_id=4)
        with pytest.raises(ValueError, match="world can move"):
            world.attach_tag(5, 0.08, "flange", motion)


def test_arm_noise_moves_the_flange_but_not_the_encoders():
    noise = FlangeNoise(7, translation_m=3e-4, rotation_rad=9e-4, seed=4)
    with World() as world:
        world.add_robot(PANDA, flange_noise=noise)
        np.testing.assert_allclose(world.q(), PANDA.home, atol=1e-12)
        T_encoder_true = Transform(PANDA.forward(PANDA.home)).inv() @ world.T_base_flange()
        np.testing.assert_allclose(T_encoder_true.log(), noise.twist(PANDA.home), atol=1e-12)


def test_arm_noise_has_the_stated_size_is_repeatable_and_smooth(rng: np.random.Generator):
    qs = PANDA.random(rng, 400)
    twists = np.stack([FlangeNoise(7, translation_m=3e-4, rotation_rad=9e-4, seed=1).twist(q) for q in qs])
    # 400 independent draws give a standard deviation to 3.5 % (one sigma).
    np.testing.assert_allclose(twists.std(axis=0), np.repeat([3e-4, 9e-4], 3), rtol=0.15)
    correlation = np.corrcoef(twists[:-1, 0], twists[1:, 0])[0, 1]
    assert abs(correlation) < 0.2
    noise = FlangeNoise(7, seed=1)
    assert np.abs(noise.twist(qs[0] + 1e-4) - noise.twist(qs[0])).max() < 5e-6
    assert not np.allclose(FlangeNoise(7, seed=2).twist(qs[0]), noise.twist(qs[0]))


def test_a_world_holds_one_arm():
    with World() as world:
        with pytest.raises(ArmError, match="no arm"):
            world.q()
        world.add_robot(PANDA)
        with pytest.raises(ValueError, match="already has an arm"):
            world.add_robot(PANDA)


def test_without_pybullet_a_world_names_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pybullet", None)
    with pytest.raises(MissingDependencyError, match=r"Python 3\.11"):
        World()


def test_importing_the_room_loads_neither_pybullet_nor_open3d_and_says_nothing():
    code = "import sim, sys; sys.exit(any(m in sys.modules for m in ('pybullet', 'open3d', 'torch')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_making_a_world_prints_nothing():
    code = "import sim; sim.World().close()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
