"""The arm model: kinematics laws, limits, values that cannot change."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import urdf_text
from hypothesis import given
from hypothesis import strategies as st
from urdf_text import joint, two_joints, write

from vision_ik.robots import RobotModel, list_robots, load_robot
from vision_ik.transforms import log_rotation
from vision_ik.types import Floats

ROBOTS = {name: load_robot(name) for name in list_robots()}
robots = st.sampled_from(sorted(ROBOTS)).map(ROBOTS.__getitem__)
shares = st.lists(st.floats(0.0, 1.0), min_size=7, max_size=7)


def _posture(robot: RobotModel, share: list[float]) -> Floats:
    return robot.sample_lower + np.array(share[: robot.n]) * (robot.sample_upper - robot.sample_lower)


def _turn_z(angle: float) -> Floats:
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return T


@pytest.fixture
def sliding(tmp_path: Path) -> RobotModel:
    """Return an arm with a prismatic joint along an odd axis between two revolute ones."""
    text = urdf_text.robot(
        joint("j1", "base", "a", axis=(0, 1, 0), rpy=(0.1, 0.2, 0.3)),
        joint("j2", "a", "b", kind="prismatic", axis=(1, -2, 0.5), xyz=(0.1, 0.0, 0.2)),
        joint("j3", "b", "tip", axis=(0, 0, -1), xyz=(0.0, 0.2, 0.0)),
        links=("base", "a", "b", "tip"),
    )
    return load_robot(write(tmp_path, text))


@given(robots, shares)
def test_the_tip_is_the_product_of_fixed_transforms_and_turns_about_z(robot: RobotModel, share: list[float]) -> None:
    q = _posture(robot, share)
    T_base_tip = robot.fixed[0]
    for i, angle in enumerate(q):
        T_base_tip = T_base_tip @ _turn_z(angle) @ robot.fixed[i + 1]
    np.testing.assert_allclose(robot.forward(q), T_base_tip, atol=1e-14)


@given(robots, shares)
def test_every_pose_is_rigid(robot: RobotModel, share: list[float]) -> None:
    T = robot.forward(_posture(robot, share))
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-14)
    assert np.linalg.det(T[:3, :3]) > 0.0
    np.testing.assert_array_equal(T[3], (0.0, 0.0, 0.0, 1.0))


@given(robots, shares)
def test_the_jacobian_is_the_derivative_of_the_pose(robot: RobotModel, share: list[float]) -> None:
    _assert_is_derivative(robot, _posture(robot, share))


def test_the_jacobian_of_a_sliding_joint_is_the_derivative_too(sliding: RobotModel, rng: np.random.Generator) -> None:
    for q in sliding.random(rng, 10):
        _assert_is_derivative(sliding, q)
    np.testing.assert_array_equal(sliding.jacobian(sliding.home)[3:, 1], np.zeros(3))


def _assert_is_derivative(robot: RobotModel, q: Floats) -> None:
    J = robot.jacobian(q)
    step = 1e-5
    for i in range(robot.n):
        ahead, behind = q.copy(), q.copy()
        ahead[i] += step
        behind[i] -= step
        T_ahead, T_behind = robot.forward(ahead), robot.forward(behind)
        v = (T_ahead[:3, 3] - T_behind[:3, 3]) / (2 * step)
        w = log_rotation(T_ahead[:3, :3] @ T_behind[:3, :3].T) / (2 * step)
        np.testing.assert_allclose(J[:, i], np.concatenate([v, w]), atol=1e-8)


def test_a_batch_equals_its_postures_one_by_one(rng: np.random.Generator) -> None:
    for robot in ROBOTS.values():
        q = robot.random(rng, 20)
        np.testing.assert_array_equal(robot.forward(q), np.stack([robot.forward(one) for one in q]))
        np.testing.assert_array_equal(robot.jacobian(q), np.stack([robot.jacobian(one) for one in q]))


def test_strided_float32_and_list_postures_are_accepted() -> None:
    robot = ROBOTS["ur5e"]
    wide = np.zeros((4, 12))
    wide[:, ::2] = robot.home
    np.testing.assert_array_equal(robot.forward(wide[:, ::2])[0], robot.forward(robot.home.tolist()))
    np.testing.assert_allclose(robot.forward(robot.home.astype(np.float32)), robot.forward(robot.home), atol=1e-6)


def test_an_empty_batch_gives_no_poses() -> None:
    robot = ROBOTS["panda"]
    assert robot.forward(np.empty((0, 7))).shape == (0, 4, 4)
    assert robot.jacobian(np.empty((0, 7))).shape == (0, 6, 7)


def test_a_joint_that_is_not_a_number_gives_no_pose() -> None:
    robot = ROBOTS["panda"]
    q = robot.home.copy()
    q[3] = np.nan
    assert np.isnan(robot.forward(q)[:3, 3]).all()
    assert np.isnan(robot.jacobian(q)[:3, 0]).any()


@pytest.mark.parametrize("shape", [(6,), (3, 6), (1, 1, 7), ()])
def test_postures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="has 7 joints"):
        ROBOTS["panda"].forward(np.zeros(shape))


def test_link_frames_follow_the_chain(rng: np.random.Generator) -> None:
    for robot in ROBOTS.values():
        q = robot.random(rng)
        Ts_base_link = robot.link_transforms(q)
        np.testing.assert_allclose(Ts_base_link[robot.tip], robot.forward(q), atol=1e-14)
        np.testing.assert_array_equal(Ts_base_link[robot.base], np.eye(4))


def test_link_frames_take_one_posture_only() -> None:
    with pytest.raises(ValueError, match="one posture"):
        ROBOTS["panda"].link_transforms(np.zeros((2, 7)))


def test_the_universal_robots_base_frame_is_half_a_turn_away() -> None:
    T_base_controller = ROBOTS["ur5e"].link_transforms(ROBOTS["ur5e"].home)["base"]
    np.testing.assert_allclose(T_base_controller, _turn_z(np.pi), atol=1e-15)


def test_clipping_and_sampling_stay_within_limits(rng: np.random.Generator) -> None:
    for robot in ROBOTS.values():
        q = robot.random(rng, 100)
        assert q.shape == (100, robot.n)
        assert ((q >= robot.sample_lower) & (q <= robot.sample_upper)).all()
        np.testing.assert_array_equal(robot.clip(q), q)
        assert np.isfinite(robot.clip(np.full(robot.n, 1e3))[np.isfinite(robot.upper)]).all()
    np.testing.assert_array_equal(ROBOTS["panda"].clip(np.full(7, 100.0)), ROBOTS["panda"].upper)


def test_continuous_joints_have_no_limits_but_a_finite_sampling_range() -> None:
    gen3 = ROBOTS["gen3"]
    assert np.isinf(gen3.lower[[0, 2, 4, 6]]).all()
    assert np.isinf(gen3.upper[[0, 2, 4, 6]]).all()
    np.testing.assert_array_equal(gen3.sample_lower[[0, 2, 4, 6]], -np.pi)
    np.testing.assert_array_equal(gen3.sample_upper[[0, 2, 4, 6]], np.pi)


def test_no_array_of_a_model_can_be_written_to() -> None:
    robot = ROBOTS["panda"]
    for field in dataclasses.fields(robot):
        value = getattr(robot, field.name)
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable, field.name
    assert not robot.capsules[0].p0.flags.writeable
    with pytest.raises(dataclasses.FrozenInstanceError):
        robot.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_pickled_model_is_the_same_and_still_cannot_be_written_to() -> None:
    robot = ROBOTS["gen3"]
    copy = pickle.loads(pickle.dumps(robot))
    assert (copy.hash, copy.joint_names, copy.urdf_path) == (robot.hash, robot.joint_names, robot.urdf_path)
    np.testing.assert_array_equal(copy.upper, robot.upper)
    assert not copy.fixed.flags.writeable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"home": np.full(7, 9.0)}, "inside the limits"),
        ({"velocity": np.zeros(7)}, "velocity must be positive"),
        ({"lower": np.full(7, 9.0)}, "above the upper"),
        ({"upper": np.full(7, np.inf)}, "two finite limits"),
        ({"lower": np.full(7, -np.inf), "upper": np.full(7, np.inf), "prismatic": np.ones(7, bool)}, "two finite"),
        ({"lower": np.full(7, np.nan)}, "NaN"),
        ({"jerk": np.ones(6)}, "jerk must have shape"),
        ({"prismatic": np.zeros(6, dtype=bool)}, "prismatic must have shape"),
    ],
)
def test_a_model_that_makes_no_sense_cannot_be_built(changes: dict[str, Floats], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ROBOTS["panda"], **changes)


def test_the_hash_depends_on_offsets_limits_and_kinds_alone(tmp_path: Path) -> None:
    plain = load_robot(write(tmp_path, two_joints())).hash
    spaced = two_joints().replace("><", ">\n\n  <").replace("0.3", "0.30000")
    renamed = two_joints().replace("j1", "shoulder").replace("tip", "flange").replace("name='arm'", "name='other'")
    assert len(plain) == 16
    assert load_robot(write(tmp_path, spaced, "other name.urdf")).hash == plain
    assert load_robot(write(tmp_path, renamed)).hash == plain
    assert load_robot(write(tmp_path, two_joints().replace('velocity="1.5"', 'velocity="2"'))).hash == plain
    crumbs = two_joints().replace('xyz="0.0 0.0 0.3"', 'xyz="-1e-13 0.0 0.3"')
    assert crumbs != two_joints()
    assert load_robot(write(tmp_path, crumbs)).hash == plain
    for change in (("0.3", "0.3000001"), ('upper="2"', 'upper="2.0001"'), ("revolute", "prismatic"), ("1.0", "-1.0")):
        changed = two_joints().replace(change[0], change[1], 1)
        assert load_robot(write(tmp_path, changed)).hash != plain, change


def test_the_hashes_of_the_catalogue_all_differ() -> None:
    assert len({robot.hash for robot in ROBOTS.values()}) == len(ROBOTS)


def test_loading_an_arm_does_not_import_numba() -> None:
    code = "import sys; from vision_ik.robots import load_robot; load_robot('panda'); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_joint_with_equal_limits_is_held_there(rng: np.random.Generator) -> None:
    robot = ROBOTS["panda"]
    at = robot.home[2] + 0.3
    lower, upper, home = robot.lower.copy(), robot.upper.copy(), robot.home.copy()
    lower[2] = upper[2] = home[2] = at
    held = dataclasses.replace(robot, lower=lower, upper=upper, home=home)
    assert (held.random(rng, 50)[:, 2] == at).all()
    assert held.clip(robot.home)[2] == at
    assert held.hash != robot.hash
