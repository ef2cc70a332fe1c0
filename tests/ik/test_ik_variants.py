"""Seeds on calibrated arms: solutions stay exact, the loss is told, and foreign arms are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ik_arms import made_arm

from vision_ik.errors import WeightsError
from vision_ik.ik import load_solver
from vision_ik.ik.chain import make_chain
from vision_ik.ik.network import SeedNetwork
from vision_ik.ik.seeds import Net, complete, evaluate, features
from vision_ik.ik.variants import difference, distance, fit, is_exact
from vision_ik.ik.weights_file import SHIPPED, find_shipped, load_weights, save_weights
from vision_ik.robots import RobotModel, list_robots, load_robot
from vision_ik.transforms import Transform, exp_rotation
from vision_ik.types import Floats


def calibrated(robot: RobotModel, seed: int, *, metres: float = 3e-4, radians: float = 1e-3) -> RobotModel:
    """Return the arm as it may have been built: normal errors of each axis and each frame between joints."""
    rng = np.random.default_rng(seed)
    errors = [
        Transform.from_parts(exp_rotation(radians * rng.normal(size=3)), metres * rng.normal(size=3)).matrix
        for _ in robot.fixed
    ]
    return replace(robot, fixed=robot.fixed @ np.stack(errors))


def tiny_network(robot: RobotModel, *, symmetric: bool) -> Net:
    outputs = robot.n - 2 if symmetric else robot.n
    return SeedNetwork(outputs=outputs, symmetric=symmetric, width=16, layers=1, heads=5, judges=8, seed=1).to_net()


def proposals(robot: RobotModel, net: Net, T: Floats) -> tuple[Floats, Floats]:
    """Return the posture of each head (heads, n) before it is brought inside the limits, and the odds."""
    unlimited = make_chain(robot)._replace(lower=np.full(robot.n, -np.inf), upper=np.full(robot.n, np.inf))
    M, x = np.empty((3, 4)), np.empty(net.first.shape[0] - 1, np.float32)
    heads = net.rank.shape[1]
    outputs, logits = np.empty((heads, net.heads.shape[1] // heads), np.float32), np.empty(heads, np.float32)
    features(unlimited, net.symmetric, T, M, x)
    evaluate(net, x, outputs, logits)
    postures = np.empty((heads, robot.n))
    for head in range(heads):
        complete(unlimited, net.symmetric, M, outputs[head], postures[head])
    return postures, logits.astype(np.float64)


@pytest.mark.parametrize("seed", range(20))
def test_a_calibrated_panda_is_solved_as_exactly_as_the_nominal_one(seed: int) -> None:
    robot = calibrated(load_robot("panda"), seed)
    solver = load_solver(robot)
    seeds = solver.seeds
    assert seeds is not None
    assert (seeds.trained_for, seeds.exact, seeds.used) == ("panda", False, True)
    assert seeds.first_shot_measured >= seeds.first_shot_nominal - 0.015
    q = robot.random(np.random.default_rng((seed, 1)), 500)
    Ts = robot.forward(q)
    batch = solver.solve_batch(Ts)
    assert batch.converged.mean() >= 0.998
    reached = robot.forward(batch.q[batch.converged])
    assert np.linalg.norm(reached[:, :3, 3] - Ts[batch.converged][:, :3, 3], axis=1).max() <= 1.01e-6


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_the_loss_told_is_the_loss_there_is(name: str) -> None:
    robot = load_robot(name)
    far = calibrated(robot, 3, metres=4e-3, radians=1e-2)
    near, worse = load_solver(calibrated(robot, 3)).seeds, load_solver(far).seeds
    assert near is not None
    assert worse is not None
    assert worse.first_shot_measured < near.first_shot_measured - 0.005
    assert worse.first_shot_measured > 0.85
    assert f"variant: {worse.first_shot_measured:.1%}" in str(worse)


@pytest.mark.parametrize("name", list_robots())
def test_no_arm_of_the_catalogue_is_taken_for_one_of_another_shape(name: str) -> None:
    robot = load_robot(name)
    same = {other for other in list_robots() if not difference(load_robot(other), robot)}
    assert same == ({"panda", "fr3"} if name in ("panda", "fr3") else {name})


def test_the_nominal_arm_is_exact_whatever_stands_before_and_behind_it() -> None:
    robot = load_robot("panda")
    ends = robot.fixed.copy()
    ends[0] = Transform.exp([0.3, -0.2, 0.9, 0.4, 0.1, -2.0]).matrix
    ends[-1] = Transform.exp([0.0, 0.1, 0.2, 1.0, 0.0, 0.0]).matrix
    mounted = replace(robot, name="on a table", fixed=ends, base="table", tip="tool")
    solver = load_solver(mounted)
    assert solver.seeds is not None
    assert solver.seeds.exact
    assert solver.seeds.first_shot_measured == solver.seeds.first_shot_nominal
    assert load_solver(robot).seeds == replace(solver.seeds, trained_for="panda")


def test_the_distance_of_two_arms_does_not_depend_on_how_frames_are_laid_along_parallel_axes() -> None:
    robot = load_robot("ur5e")
    moved = robot.fixed.copy()
    slid = Transform.from_translation((0.0, 0.0, 0.7)).matrix  # the second and the third axis are parallel
    moved[1] = moved[1] @ slid
    moved[2] = np.linalg.inv(slid) @ moved[2]
    other = replace(robot, fixed=moved)
    assert max(distance(robot, other)) < 1e-7
    assert is_exact(robot, other)


def test_the_distance_is_that_of_the_last_joint() -> None:
    robot = load_robot("panda")
    fixed = robot.fixed.copy()
    fixed[6] = fixed[6] @ Transform.exp([0.003, 0.004, 0.0, 0.0, 0.0, 0.02]).matrix
    assert distance(robot, replace(robot, fixed=fixed)) == pytest.approx((0.005, 0.02), rel=1e-2)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_network_fitted_to_other_limits_proposes_the_same_postures(symmetric: bool) -> None:
    nominal = load_robot("gen3")
    change = np.where(np.isfinite(nominal.upper), 0.2, 0.0)
    robot = replace(nominal, lower=nominal.lower + change, upper=nominal.upper - 0.5 * change)
    net = tiny_network(nominal, symmetric=symmetric)
    fitted = fit(net, nominal, robot)
    for q in robot.random(np.random.default_rng(0), 10):
        T = robot.forward(q)
        for found, expected in zip(proposals(robot, fitted, T), proposals(nominal, net, T), strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-5)


def test_narrowed_limits_keep_the_network_and_are_kept() -> None:
    robot = load_robot("panda")
    narrow = replace(robot, lower=robot.lower + 0.2, upper=robot.upper - 0.2)
    solver = load_solver(narrow)
    assert solver.seeds is not None
    assert solver.learned
    assert solver.seeds.first_shot_measured > 0.95
    q = solver.solve_batch(narrow.forward(narrow.random(np.random.default_rng(0), 300))).q
    assert ((q >= narrow.lower) & (q <= narrow.upper)).all()


def test_a_network_no_better_than_random_postures_is_left_out_and_that_is_told(tmp_path: Path) -> None:
    robot = load_robot("panda")
    net = tiny_network(robot, symmetric=False)
    corner = np.zeros_like(net.heads)
    corner[-1] = 1.0  # every head proposes the upper limits
    path, _ = save_weights(
        tmp_path / "useless.safetensors",
        net._replace(heads=corner),
        robot,
        recipe={},
        metrics={"first_shot": 0.9},
    )
    solver = load_solver(calibrated(robot, 0), path)
    assert solver.seeds is not None
    assert not solver.seeds.used
    assert not solver.learned
    assert "left out" in str(solver.seeds)
    assert load_solver(robot, path).learned


def test_weights_of_another_arm_are_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    panda, arm = load_robot("panda"), made_arm(tmp_path, "RRRPRRR")
    path, _ = save_weights(
        tmp_path / "w.safetensors", tiny_network(arm, symmetric=False), arm, recipe={}, metrics={"first_shot": 0.5}
    )
    with pytest.raises(WeightsError, match="joint 4 slides, this one turns"):
        load_weights(path, panda)
    with pytest.raises(WeightsError, match=r"geometry is another: .* \d+ mm and \d+ deg"):
        load_solver("xarm6", SHIPPED / "ur5e.safetensors")
    with pytest.raises(WeightsError, match="6 joints instead of 7"):
        load_solver("panda", SHIPPED / "ur5e.safetensors")


def test_the_nearest_variant_is_found_among_arms_of_the_same_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("fr3", "panda", "gen3"):
        arm = load_robot(name)
        save_weights(
            folder / f"{name}.safetensors", tiny_network(arm, symmetric=True), arm, recipe={}, metrics={"first_shot": 0}
        )
    monkeypatch.setattr("vision_ik.ik.weights_file.SHIPPED", folder)
    for name in ("panda", "fr3", "gen3"):
        robot = load_robot(name)
        for arm in (robot, replace(robot, name="mine"), calibrated(robot, 1), replace(calibrated(robot, 2), name="x")):
            assert find_shipped(arm) == folder / f"{name}.safetensors"
    assert find_shipped(load_robot("xarm7")) is None


def test_a_card_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    robot = load_robot("panda")
    path, card = save_weights(
        tmp_path / "w.safetensors", tiny_network(robot, symmetric=True), robot, recipe={}, metrics={"first_shot": 0.5}
    )
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("0.333", "0.353"), encoding="utf-8")
    for arm in (robot, calibrated(robot, 0)):
        with pytest.raises(WeightsError, match="disagree"):
            load_solver(arm, path)


def test_a_card_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from vision_ik.ik import weights_file

    parsed: list[str] = []
    parse = weights_file.tomllib.loads

    def counting(text: str) -> dict[str, object]:
        parsed.append(text)
        return parse(text)

    weights_file._read_card.cache_clear()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(weights_file.tomllib, "loads", counting)
    load_solver("panda")
    load_solver("panda")
    assert len(parsed) == 1
