"""The simulated arm follows, stops, and keeps the contract of arms."""

import numpy as np
import pytest

from sim import BulletArm, World, load_scene
from vision_ik.arms import open_arm
from vision_ik.robots import load_robot
from vision_ik.testing.arm_contract import arm_contract
from vision_ik.testing.contract import Check
from vision_ik.types import JointCommand

PANDA = load_robot("panda")


def make_arm() -> BulletArm:
    return BulletArm(World(), PANDA, q=PANDA.home)


@pytest.mark.parametrize("check", arm_contract(make_arm), ids=str)
def test_the_simulated_arm_keeps_the_contract(check: Check):
    check()


@pytest.mark.parametrize("name", ["panda", "ur5e", "so101"])
def test_the_tip_follows_slow_set_points_to_a_tenth_of_a_millimetre(name: str):
    robot = load_robot(name)
    with World() as world, BulletArm(world, robot) as arm:
        amplitude, rate = 0.08, 2.0 * np.pi / 6.0
        worst = 0.0
        for _ in range(400):
            t = world.now()
            ramp = min(1.0, t / 2.0)
            q = robot.home + ramp * amplitude * np.sin(rate * t)
            dq = ramp * amplitude * rate * np.cos(rate * t) + (amplitude * np.sin(rate * t) / 2.0 if t < 2.0 else 0.0)
            sent = arm.send(JointCommand(names=arm.joint_names, q=q, dq=np.full(robot.n, dq), timestamp=t))
            world.sleep_until(t + 0.002)
            gap = robot.forward(arm.read().q)[:3, 3] - robot.forward(sent.q + sent.dq * 0.002)[:3, 3]
            worst = max(worst, float(np.linalg.norm(gap)))
            world.sleep_until(t + 0.01)
    assert worst < 1e-4


def test_the_arm_stops_by_itself_when_commands_cease():
    with World() as world, BulletArm(world, PANDA) as arm:
        for k in range(50):
            t = world.now()
            q = PANDA.home + 0.1 * (0.01 * k)
            arm.send(JointCommand(names=arm.joint_names, q=q, dq=np.full(7, 0.1), timestamp=t))
            world.sleep_until(t + 0.01)
        assert np.abs(arm.read().dq).max() > 0.05
        world.sleep_until(world.now() + 0.6)
        state = arm.read()
        assert np.abs(state.dq).max() < 1e-6
        assert (state.q < PANDA.home + 0.12).all()


def test_a_closed_arm_leaves_the_world_running_and_is_driven_no_more():
    with World() as world:
        arm = BulletArm(world, PANDA)
        assert len(world.arm.before_step) == 1
        arm.close()
        assert world.arm.before_step == []
        world.sleep_until(0.1)
        np.testing.assert_allclose(world.q(), PANDA.home, atol=1e-9)


def test_the_entry_point_joins_the_world_of_the_camera():
    with load_scene("tabletop", seed=5) as scene:
        arm = open_arm("sim:tabletop", clock=scene.world)
        assert isinstance(arm, BulletArm)
        assert arm.world is scene.world
        arm.close()
    alone = open_arm("sim:empty", robot="ur5e")
    assert isinstance(alone, BulletArm)
    assert alone.robot.name == "ur5e"
    alone.close()
    alone.world.close()
