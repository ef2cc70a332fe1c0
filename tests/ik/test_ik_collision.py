"""Whether an arm touches itself."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_ik.errors import RobotError
from vision_ik.ik import collision_kernels as kernels
from vision_ik.ik import load_solver
from vision_ik.ik.collision import CollisionModel
from vision_ik.ik.collision_matrix import Reason
from vision_ik.robots import RobotModel, list_robots, load_robot
from vision_ik.types import Floats

coordinates = st.floats(-1.0, 1.0)
points = st.tuples(coordinates, coordinates, coordinates).map(np.array)
FOLDED = {
    "panda": [0.0, -1.7, 0.0, -3.0, 0.0, 0.2, 0.0],
    "fr3": [0.0, 1.7, 0.0, -3.0, 0.0, 2.5, 0.0],
    "ur5e": [0.0, -1.57, 2.8, 0.0, 1.57, 0.0],
    "ur10e": [0.0, -1.57, 2.9, 0.0, 1.57, 0.0],
    "iiwa14": [0.0, 2.0, 0.0, -2.05, 0.0, -2.0, 0.0],
    "xarm6": [0.0, 2.0, -0.1, 0.2, 2.1, 0.0],
    "so101": [0.0, -1.7, 1.6, 1.6, 0.0],
}
"""Hand to base or shoulder, wrist into upper arm. The meshes of the real arm meet too where there are any."""


@pytest.fixture(scope="module")
def panda() -> CollisionModel:
    return CollisionModel.from_robot(load_robot("panda"))


# -- distances of capsules ------------------------------------------------------


def _placed(p0: Floats, p1: Floats, q0: Floats, q1: Floats) -> Floats:
    return np.array([[*(p0 + p1) / 2, *(p1 - p0) / 2], [*(q0 + q1) / 2, *(q1 - q0) / 2]])


def _searched(placed: Floats) -> float:
    """Return the distance of two axes by projecting a fine grid of the first on the second."""
    (c, h), (d, k) = ((row[:3], row[3:]) for row in placed)
    grid = np.linspace(-1.0, 1.0, 4001)[:, None]
    on_first = c + grid * h
    length2 = float(k @ k)
    t = np.zeros(len(grid)) if length2 < 1e-30 else np.clip((on_first - d) @ k / length2, -1.0, 1.0)
    return float(np.linalg.norm(on_first - d - t[:, None] * k, axis=1).min())


@given(points, points, points, points)
def test_no_two_points_of_the_axes_are_nearer(p0: Floats, p1: Floats, q0: Floats, q1: Floats) -> None:
    placed = _placed(p0, p1, q0, q1)
    squared, s, t = kernels.axis_distance(placed, 0, 1)
    found = np.sqrt(squared)
    assert found <= _searched(placed) + 1e-12
    assert -1.0 <= s <= 1.0
    assert -1.0 <= t <= 1.0
    gap = placed[0, :3] + s * placed[0, 3:] - placed[1, :3] - t * placed[1, 3:]
    assert np.linalg.norm(gap) == pytest.approx(found, abs=1e-15)


@given(points, points, points, st.floats(-1.5, 1.5), st.sampled_from([0.0, 1e-15, 1e-12, 1e-9, 1e-8, 1e-7, 1e-5]))
@settings(max_examples=300)
def test_axes_that_are_nearly_parallel_keep_their_distance(
    p0: Floats, along: Floats, across: Floats, shift: float, tilt: float
) -> None:
    """Nearly parallel axes are where the textbook's determinant is all rounding."""
    placed = _placed(p0, p0 + along, p0 + across + shift * along, p0 + across + (shift + 1.0) * along + tilt * across)
    squared, _, _ = kernels.axis_distance(placed, 0, 1)
    assert np.sqrt(squared) <= _searched(placed) + 1e-12


def test_points_and_axes_that_cross_are_no_special_cases() -> None:
    point, far = np.zeros(3), np.array([0.0, 3.0, 4.0])
    assert kernels.axis_distance(_placed(point, point, far, far), 0, 1)[0] == pytest.approx(25.0)
    ends = np.array([1.0, 0, 0]), np.array([-1.0, 0, 0])
    assert kernels.axis_distance(_placed(*ends, far, far), 0, 1)[0] == pytest.approx(25.0)
    assert kernels.axis_distance(_placed(far, far, *ends), 0, 1)[0] == pytest.approx(25.0)
    crossing = np.array([0.0, 1, 0]), np.array([0.0, -2, 0])
    assert kernels.axis_distance(_placed(*ends, *crossing), 0, 1)[0] == pytest.approx(0.0, abs=1e-30)
    inside = np.array([0.5, 0, 0]), np.array([3.0, 0, 0])
    assert kernels.axis_distance(_placed(*ends, *inside), 0, 1)[0] == pytest.approx(0.0, abs=1e-30)


def test_coal_agrees_on_ten_thousand_pairs_of_capsules(rng: np.random.Generator) -> None:
    coal: Any = pytest.importorskip("coal")
    found, expected = np.empty(10_000), np.empty(10_000)
    for k in range(len(found)):
        ends = rng.uniform(-1.0, 1.0, (2, 2, 3))
        ends[:, 1] = ends[:, 0] + (ends[:, 1] - ends[:, 0]) * rng.choice([1e-3, 0.3, 1.0], (2, 1))
        radii = rng.uniform(0.01, 0.3, 2)
        squared, _, _ = kernels.axis_distance(_placed(*ends[0], *ends[1]), 0, 1)
        found[k] = np.sqrt(squared) - radii.sum()
        shapes = [coal.Capsule(r, float(np.linalg.norm(b - a))) for (a, b), r in zip(ends, radii, strict=True)]
        poses = [coal.Transform3s(_turned_to(b - a), 0.5 * (a + b)) for a, b in ends]
        expected[k] = coal.distance(
            shapes[0], poses[0], shapes[1], poses[1], coal.DistanceRequest(), coal.DistanceResult()
        )
    np.testing.assert_allclose(found, expected, atol=1e-9)


def _turned_to(axis: Floats) -> Floats:
    """Return a rotation whose z column lies along ``axis``."""
    z = axis / np.linalg.norm(axis)
    x = np.cross(z, np.eye(3)[np.argmin(np.abs(z))])
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z]).astype(np.float64)


# -- the model of an arm --------------------------------------------------------


@pytest.mark.parametrize("name", list_robots())
def test_distances_are_those_of_every_checked_pair_in_the_base_frame(name: str, rng: np.random.Generator) -> None:
    """Also against link transforms: the model works in the frames behind the joints."""
    model = CollisionModel.from_robot(load_robot(name))
    postures = model.robot.random(rng, 30)
    found = model.distance_batch(postures)
    by_links = {frozenset((model.links[i], model.links[j])) for i, j in model.pairs}
    for q, distance in zip(postures, found, strict=True):
        expected = min(_pair_distances(model, q).values())
        assert distance == pytest.approx(expected, abs=1e-12)
        one = model.distance(q)
        assert one.distance == distance
        assert frozenset(one.links) in by_links
        # The points lie on the surfaces, and as far apart as the distance says.
        assert np.linalg.norm(one.points[1] - one.points[0]) == pytest.approx(abs(distance), abs=1e-9)
        assert model.collides(q) == (distance < 0.0)
    np.testing.assert_array_equal(model.collides_batch(postures), found < 0.0)


def _pair_distances(model: CollisionModel, q: Floats) -> dict[tuple[int, int], float]:
    """Return the distance of each checked pair, from the capsules of the robot and its link transforms."""
    robot = model.robot
    frame = dict(zip(robot.links, robot.link_frames.tolist(), strict=True))
    capsules = sorted(robot.capsules, key=lambda capsule: frame[capsule.link])
    Ts = robot.link_transforms(q)
    ends = [[Ts[c.link][:3, :3] @ p + Ts[c.link][:3, 3] for p in (c.p0, c.p1)] for c in capsules]
    return {
        (i, j): float(np.sqrt(kernels.axis_distance(_placed(*ends[i], *ends[j]), 0, 1)[0]))
        - capsules[i].radius
        - capsules[j].radius
        for i, j in model.pairs.tolist()
    }


@pytest.mark.parametrize("name", list_robots())
def test_pairs_left_out_as_never_touching_never_touch(name: str, rng: np.random.Generator) -> None:
    model = CollisionModel.from_robot(load_robot(name))
    never = np.array([pair for pair, reason in model.reasons.items() if reason == Reason.NEVER]).reshape(-1, 2)
    judged = _with_pairs(model, never)
    assert judged.distance_batch(_corners_and_random(model.robot, rng)).min(initial=np.inf) >= 0.0


def _corners_and_random(robot: RobotModel, rng: np.random.Generator) -> Floats:
    lower, upper = robot.sample_lower, robot.sample_upper
    corners = np.where(rng.random((2000, robot.n)) < 0.5, lower, upper)
    return np.concatenate([corners, robot.random(rng, 8000)])


def _with_pairs(model: CollisionModel, pairs: Floats) -> CollisionModel:
    return replace(model, pairs=np.ascontiguousarray(pairs, dtype=np.int64))


@pytest.mark.parametrize("name", list_robots())
def test_shipped_arms_are_clear_at_home_and_around_it(name: str, rng: np.random.Generator) -> None:
    robot = load_robot(name)
    model = CollisionModel.from_robot(robot)
    assert not model.approximate
    assert Reason.HOME not in model.reasons.values()
    around = robot.clip(robot.home + rng.uniform(-0.2, 0.2, (500, robot.n)))
    assert not model.collides_batch(around).any()
    assert model.distance(robot.home).distance > 0.01


@pytest.mark.parametrize("name", FOLDED)
def test_postures_in_which_the_real_arm_meets_itself_collide(name: str) -> None:
    model = CollisionModel.from_robot(load_robot(name))
    found = model.distance(FOLDED[name])
    assert found.distance < -0.01, found
    assert model.collides(FOLDED[name])


@pytest.mark.parametrize("name", ["panda", "fr3"])
def test_work_in_front_of_the_arm_is_clear(name: str) -> None:
    """With thick capsules these flagged the flange against the forearm at every raised wrist."""
    model = CollisionModel.from_robot(load_robot(name))
    postures = [[0.0, 0.3, 0.0, -1.8, 0.0, wrist, 0.8] for wrist in np.linspace(0.6, 3.7, 50)]
    assert not model.collides_batch(postures).any()


def test_the_model_is_the_same_each_time(panda: CollisionModel) -> None:
    again = CollisionModel.from_robot(load_robot("panda"))
    copied = pickle.loads(pickle.dumps(panda))
    for other in (again, copied):
        assert other.reasons == panda.reasons
        for a, b in zip(panda.arrays[:3], other.arrays[:3], strict=True):
            np.testing.assert_array_equal(a, b)
            assert not b.flags.writeable


# -- the matrix -----------------------------------------------------------------


def _sticks(folder: Path, *, radius: float = 0.02, limit: float = 3.0, bare: tuple[int, ...] = ()) -> RobotModel:
    """Return a planar arm of four equal sticks [m]; link and flange behind each joint are rigid."""
    text = ['<robot name="sticks">']
    shape = (
        '<collision><origin xyz="0.15 0 0" rpy="0 1.5707963267948966 0"/><geometry>'
        f'<capsule radius="{radius}" length="0.28"/></geometry></collision>'
    )
    for k in range(4):
        text.append(
            f'<link name="l{k}">{"" if k in bare else shape}</link><link name="f{k}"/>'
            f'<joint name="w{k}" type="fixed"><parent link="l{k}"/><child link="f{k}"/><origin xyz="0.3 0 0"/></joint>'
        )
    text += [
        f'<joint name="j{k}" type="revolute"><parent link="f{k}"/><child link="l{k + 1}"/><axis xyz="0 0 1"/>'
        f'<limit lower="-{limit}" upper="{limit}" velocity="1" effort="1"/></joint>'
        for k in range(3)
    ]
    path = folder / "sticks.urdf"
    path.write_text("".join([*text, "</robot>"]), encoding="utf-8")
    return load_robot(path, tip="f3")


def test_links_joined_through_fixed_joints_are_neighbours_and_others_are_checked(tmp_path: Path) -> None:
    model = CollisionModel.from_robot(_sticks(tmp_path))
    assert {(model.links[i], model.links[j]): reason for (i, j), reason in model.reasons.items()} == {
        ("l0", "l1"): Reason.ADJACENT,
        ("l1", "l2"): Reason.ADJACENT,
        ("l2", "l3"): Reason.ADJACENT,
        ("l0", "l2"): Reason.CHECKED,
        ("l1", "l3"): Reason.CHECKED,
        ("l0", "l3"): Reason.CHECKED,
    }
    assert not model.collides(np.zeros(3))
    # A square closes: the last stick lies on the first.
    assert model.collides(np.full(3, np.pi / 2.0))
    assert model.distance(np.full(3, np.pi / 2.0)).links == ("l0", "l3")


def test_sticks_that_bend_little_never_touch(tmp_path: Path) -> None:
    """Limits decide: the same arm with short ranges has nothing to check."""
    model = CollisionModel.from_robot(_sticks(tmp_path, limit=0.5))
    assert set(model.reasons.values()) == {Reason.ADJACENT, Reason.NEVER}
    nothing = model.distance(np.zeros(3))
    assert (nothing.distance, nothing.links) == (np.inf, ("", ""))
    assert np.isnan(nothing.points).all()
    assert not model.collides(np.zeros(3))


def test_capsules_that_always_overlap_are_left_out(tmp_path: Path) -> None:
    model = CollisionModel.from_robot(_sticks(tmp_path, radius=0.5))
    assert Reason.ALWAYS in model.reasons.values()
    assert len(model.pairs) == 0


def test_a_link_that_moves_without_a_shape_is_named_and_a_bare_base_or_flange_is_not(tmp_path: Path) -> None:
    assert CollisionModel.from_robot(_sticks(tmp_path, bare=(0,))).unbounded == ()
    robot = _sticks(tmp_path, bare=(1, 3))
    model = CollisionModel.from_robot(robot)
    assert model.approximate
    assert model.unbounded == ("l1", "l3")
    held = replace(robot, lower=np.array([0.0, -3.0, -3.0]), upper=np.array([0.0, 3.0, 3.0]))
    assert CollisionModel.from_robot(held).unbounded == ("l3",)


def test_self_collision_of_an_arm_without_any_shape_is_refused_not_ignored(tmp_path: Path) -> None:
    robot = _sticks(tmp_path, bare=(0, 1, 2, 3))
    with pytest.raises(RobotError, match="l1, l2, l3") as caught:
        load_solver(robot, self_collision=True)
    assert caught.value.facts["links"] == ("l1", "l2", "l3")
    assert not CollisionModel.from_robot(robot).collides(np.zeros(3))


@pytest.mark.parametrize("name", list_robots())
def test_the_shape_of_every_shipped_arm_is_known(name: str) -> None:
    assert CollisionModel.from_whole_robot(load_robot(name)).unbounded == ()


def test_a_model_says_what_it_is_in_a_line(panda: CollisionModel) -> None:
    assert repr(panda).startswith("CollisionModel(robot='panda', capsules=")
    assert len(repr(panda)) < 120


def test_a_margin_counts_as_touching(tmp_path: Path) -> None:
    robot = _sticks(tmp_path)
    q = np.array([np.pi / 2.0, np.pi / 2.0, 0.0])
    distance = CollisionModel.from_robot(robot).distance(q).distance
    assert distance > 0.0
    assert CollisionModel.from_robot(robot, margin=distance + 1e-6).collides(q)
    assert not CollisionModel.from_robot(robot, margin=distance - 1e-6).collides(q)


def test_pairs_can_be_left_out_by_name_and_by_srdf(tmp_path: Path) -> None:
    robot, square = _sticks(tmp_path), np.full(3, np.pi / 2.0)
    named = CollisionModel.from_robot(robot, disabled=[("l3", "l0")])
    assert not named.collides(square)
    srdf = tmp_path / "sticks.srdf"
    srdf.write_text(
        '<robot name="sticks"><disable_collisions link1="l0" link2="l3" reason="User"/>'
        '<disable_collisions link1="l0" link2="gripper" reason="Never"/></robot>'
    )
    read = CollisionModel.from_robot(robot, disabled=srdf)
    assert read.reasons == named.reasons
    assert Reason.DISABLED in read.reasons.values()
    assert "l0  l3  disabled" in read.matrix()


@pytest.mark.parametrize("text", ["<urdf/>", "<robot", '<robot><disable_collisions link1="a"/></robot>'])
def test_files_that_are_no_srdf_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.srdf"
    path.write_text(text)
    with pytest.raises(RobotError):
        CollisionModel.from_robot(_sticks(tmp_path), disabled=path)


def test_wrong_names_files_and_numbers_are_refused(tmp_path: Path, panda: CollisionModel) -> None:
    with pytest.raises(RobotError, match="no link 'elbow'"):
        CollisionModel.from_robot(panda.robot, disabled=[("elbow", "panda_link0")])
    with pytest.raises(RobotError, match="Could not read"):
        CollisionModel.from_robot(panda.robot, disabled=tmp_path / "missing.srdf")
    with pytest.raises(ValueError, match="margin"):
        CollisionModel.from_robot(panda.robot, margin=float("nan"))
    for wrong in (np.zeros(6), np.zeros((2, 7))):
        with pytest.raises(ValueError, match="shape"):
            panda.collides(wrong)
    with pytest.raises(ValueError, match="finite"):
        panda.distance(np.full(7, np.nan))
    assert panda.collides_batch([]).shape == (0,)


def test_compiled_code_counts_a_posture_that_is_not_a_number_as_a_collision(panda: CollisionModel) -> None:
    q = np.array(panda.robot.home)
    assert not kernels.posture_collides(panda.arrays, panda.robot.fixed, panda.robot.prismatic, q)
    q[2] = np.nan
    assert kernels.posture_collides(panda.arrays, panda.robot.fixed, panda.robot.prismatic, q)
