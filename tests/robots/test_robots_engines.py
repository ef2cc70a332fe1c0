"""Forward kinematics and Jacobian against engines that are not ours."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urdf_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from urdf_text import joint, write

from vision_ik.robots import RobotModel, list_robots, load_robot
from vision_ik.transforms import Transform
from vision_ik.types import Floats

EXACT = 1e-9
"""[m, rad, 1]"""

angles = st.floats(-3.1, 3.1)
lengths = st.floats(-1.0, 1.0)
axes = st.tuples(lengths, lengths, lengths).filter(lambda axis: np.linalg.norm(axis) > 0.05)
joints = st.tuples(
    st.sampled_from(["revolute", "prismatic", "continuous", "fixed"]), axes, axes, st.tuples(*[angles] * 3)
)


@pytest.fixture(scope="module")
def pin() -> Any:
    """Return pinocchio."""
    return pytest.importorskip("pinocchio")


@pytest.fixture(scope="module")
def bullet() -> Iterator[Any]:
    """Return a PyBullet client without display, which other tests' clients do not disturb."""
    pytest.importorskip("pybullet", reason="no PyBullet for this Python")
    client_of = pytest.importorskip("pybullet_utils.bullet_client")
    pybullet = importlib.import_module("pybullet")
    client = client_of.BulletClient(connection_mode=pybullet.DIRECT)
    yield client
    client.disconnect()


@pytest.mark.parametrize("name", list_robots())
def test_pinocchio_agrees_on_every_link_of_the_catalogue(name: str, pin: Any, rng: np.random.Generator) -> None:
    robot = load_robot(name)
    model, data = _pinocchio(pin, robot)
    for q in robot.random(rng, 20):
        pin.framesForwardKinematics(model, data, _configuration(robot, q))
        for link, T_base_link in robot.link_transforms(q).items():
            np.testing.assert_allclose(data.oMf[model.getFrameId(link)].homogeneous, T_base_link, atol=EXACT)


@pytest.mark.parametrize("name", list_robots())
def test_pinocchio_agrees_on_the_jacobian(name: str, pin: Any, rng: np.random.Generator) -> None:
    robot = load_robot(name)
    model, data = _pinocchio(pin, robot)
    frame = model.getFrameId(robot.tip)
    for q in robot.random(rng, 5):
        J = pin.computeFrameJacobian(
            model, data, _configuration(robot, q), frame, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        np.testing.assert_allclose(robot.jacobian(q), J, atol=EXACT)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(joints, min_size=1, max_size=6), st.data())
def test_pinocchio_agrees_on_any_chain(
    pin: Any, tmp_path: Path, chain: list[tuple[str, Any, Any, Any]], data: st.DataObject
) -> None:
    chain = [("revolute", (0.0, 0.0, -1.0), (0.1, 0.2, 0.3), (0.0, 0.0, 0.0)), *chain]
    elements = [
        joint(f"j{i}", f"l{i}", f"l{i + 1}", kind=kind, axis=axis, xyz=xyz, rpy=rpy)
        for i, (kind, axis, xyz, rpy) in enumerate(chain)
    ]
    text = urdf_text.robot(*elements, links=[f"l{i}" for i in range(len(chain) + 1)])
    robot = load_robot(write(tmp_path, text))
    q = np.array(data.draw(st.lists(st.floats(-2.0, 2.0), min_size=robot.n, max_size=robot.n)))
    model, working = _pinocchio(pin, robot)
    pin.framesForwardKinematics(model, working, _configuration(robot, q))
    for link, T_base_link in robot.link_transforms(q).items():
        np.testing.assert_allclose(working.oMf[model.getFrameId(link)].homogeneous, T_base_link, atol=EXACT)
    np.testing.assert_allclose(working.oMf[model.getFrameId(robot.tip)].homogeneous, robot.forward(q), atol=EXACT)


@pytest.mark.parametrize("lean", [1e-12, 1e-7, 1e-3, 0.1])
def test_pinocchio_agrees_on_axes_that_nearly_point_down(pin: Any, tmp_path: Path, lean: float) -> None:
    text = urdf_text.robot(
        joint("j0", "l0", "l1", axis=(0.7 * lean, lean, -1.0), xyz=(0.1, 0.2, 0.3)), links=["l0", "l1"]
    )
    robot = load_robot(write(tmp_path, text))
    q = np.array([1.0])
    model, working = _pinocchio(pin, robot)
    pin.framesForwardKinematics(model, working, _configuration(robot, q))
    np.testing.assert_allclose(working.oMf[model.getFrameId("l1")].homogeneous, robot.forward(q), atol=EXACT)


@pytest.mark.parametrize("name", list_robots())
def test_pybullet_agrees_on_the_tip(name: str, bullet: Any, rng: np.random.Generator) -> None:
    robot = load_robot(name)
    body, joint_index, link_index = _load_bullet(bullet, robot)
    for q in robot.random(rng, 20):
        for joint_name, position in zip(robot.joint_names, q, strict=True):
            bullet.resetJointState(body, joint_index[joint_name], position)
        state = bullet.getLinkState(body, link_index[robot.tip], computeForwardKinematics=1)
        # The state's frame of the link (items 4 and 5) went through single precision and is off by
        # 5e-8 m; the centre of mass (0, 1) did not. Its place in the link is given beside it (2, 3).
        T_base_mass = Transform.from_quaternion(state[0], state[1])
        T_link_mass = Transform.from_quaternion(state[2], state[3])
        np.testing.assert_allclose((T_base_mass @ T_link_mass.inv()).matrix, robot.forward(q), atol=EXACT)
    bullet.removeBody(body)


@pytest.mark.parametrize("name", list_robots())
def test_pybullet_reads_the_same_limits(name: str, bullet: Any) -> None:
    robot = load_robot(name)
    body, joint_index, _ = _load_bullet(bullet, robot)
    for i, joint_name in enumerate(robot.joint_names):
        facts = bullet.getJointInfo(body, joint_index[joint_name])
        if np.isfinite(robot.upper[i]):
            np.testing.assert_allclose(facts[8:10], (robot.lower[i], robot.upper[i]), rtol=1e-12)
        assert facts[11] == pytest.approx(robot.velocity[i], rel=1e-12)
        assert facts[10] > 0.0, "no torque: the simulated arm could not hold itself"
    bullet.removeBody(body)


@pytest.mark.parametrize("name", list_robots())
def test_the_simulated_arm_holds_its_home_against_gravity(name: str, bullet: Any) -> None:
    robot = load_robot(name)
    body, joint_index, _ = _load_bullet(bullet, robot)
    bullet.setGravity(0.0, 0.0, -9.81)
    motors = [joint_index[joint_name] for joint_name in robot.joint_names]
    torques = [bullet.getJointInfo(body, motor)[10] for motor in motors]
    for motor, position in zip(motors, robot.home, strict=True):
        bullet.resetJointState(body, motor, position)
    for _ in range(120):
        bullet.setJointMotorControlArray(
            body, motors, bullet.POSITION_CONTROL, targetPositions=robot.home.tolist(), forces=torques
        )
        bullet.stepSimulation()
    q = np.array([bullet.getJointState(body, motor)[0] for motor in motors])
    np.testing.assert_allclose(q, robot.home, atol=1e-3)
    bullet.removeBody(body)


def _pinocchio(pin: Any, robot: RobotModel) -> tuple[Any, Any]:
    model = pin.buildModelFromUrdf(str(robot.urdf_path))
    assert tuple(model.names)[1:] == robot.joint_names
    return model, model.createData()


def _configuration(robot: RobotModel, q: Floats) -> Floats:
    """Return ``q`` as pinocchio wants it: cosine and sine for a continuous joint."""
    parts = [
        [np.cos(x), np.sin(x)] if np.isinf(upper) and not slides else [x]
        for x, upper, slides in zip(q, robot.upper, robot.prismatic, strict=True)
    ]
    return np.concatenate(parts)


def _load_bullet(bullet: Any, robot: RobotModel) -> tuple[int, dict[str, int], dict[str, int]]:
    body = bullet.loadURDF(str(robot.urdf_path), useFixedBase=True)
    facts = [bullet.getJointInfo(body, i) for i in range(bullet.getNumJoints(body))]
    return body, {f[1].decode(): f[0] for f in facts}, {f[12].decode(): f[0] for f in facts}
