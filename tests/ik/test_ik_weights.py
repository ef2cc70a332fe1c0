"""Weights on disk: what is shipped works, and what is broken or foreign is refused with a remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from vision_ik.errors import WeightsError
from vision_ik.ik import load_solver
from vision_ik.ik.chain import make_chain
from vision_ik.ik.network import SeedNetwork
from vision_ik.ik.seeds import FEATURES, Net, evaluate
from vision_ik.ik.weights_file import SHIPPED, find_shipped, load_weights, read_card, save_weights
from vision_ik.learning import sampling
from vision_ik.learning.labelling import first_shot
from vision_ik.robots import RobotModel, list_robots, load_robot


@pytest.fixture(scope="module")
def robot() -> RobotModel:
    return load_robot("ur5e")


def small_network(robot: RobotModel) -> SeedNetwork:
    return SeedNetwork(outputs=robot.n - 2, symmetric=True, width=19, layers=1, heads=5, judges=9, seed=1)


def saved(folder: Path, robot: RobotModel, net: Net | None = None) -> Path:
    net = small_network(robot).to_net() if net is None else net
    return save_weights(folder / "w.safetensors", net, robot, recipe={"seed": 1}, metrics={"first_shot": 0.5})[0]


def replace_in_card(path: Path, old: str, new: str) -> None:
    card = path.with_suffix(".toml")
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_the_compiled_forward_pass_gives_what_torch_gives(layers: int, robot: RobotModel) -> None:
    network = SeedNetwork(outputs=4, symmetric=True, width=37, layers=layers, heads=6, judges=10, seed=layers)
    net = network.to_net()
    x = sampling.sample(make_chain(robot), True, 200, np.random.default_rng(0)).x
    with torch.no_grad():
        outputs, logits = (tensor.numpy() for tensor in network(torch.from_numpy(x)))
    found, ranked = np.empty((6, 4), np.float32), np.empty(6, np.float32)
    for k in range(len(x)):
        evaluate(net, x[k], found, ranked)
        np.testing.assert_allclose(found, outputs[k], atol=1e-6)
        np.testing.assert_allclose(ranked, logits[k], atol=1e-6)


def test_saved_weights_come_back_bit_for_bit(tmp_path: Path, robot: RobotModel) -> None:
    net = small_network(robot).to_net()
    found = load_weights(saved(tmp_path, robot, net), robot)
    for name in ("first", "hidden", "judge", "rank", "heads"):
        np.testing.assert_array_equal(getattr(found, name), getattr(net, name))
    assert found.symmetric
    card = read_card(tmp_path / "w.safetensors")
    assert card["robot_hash"] == robot.hash
    assert tuple(card["joints"]) == robot.joint_names


@pytest.mark.parametrize("place", [0, 7, 100, -1])
def test_a_changed_byte_is_noticed(place: int, tmp_path: Path, robot: RobotModel) -> None:
    path = saved(tmp_path, robot)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="checksum"):
        load_weights(path, robot)


def test_a_truncated_file_is_refused_by_the_solver_with_a_remedy(tmp_path: Path, robot: RobotModel) -> None:
    path = saved(tmp_path, robot)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="vision-ik train"):
        load_solver(robot, path)


def test_a_missing_file_or_card_is_refused(tmp_path: Path, robot: RobotModel) -> None:
    path = saved(tmp_path, robot)
    path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(path, robot)
    path.with_suffix(".toml").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(path, robot)


def test_a_card_that_is_no_card_is_refused(tmp_path: Path, robot: RobotModel) -> None:
    path = saved(tmp_path, robot)
    replace_in_card(path, "format = 1", "format = 99")
    with pytest.raises(WeightsError, match="format 99"):
        load_weights(path, robot)
    path.with_suffix(".toml").write_bytes(b"\xff\xfe = [")
    with pytest.raises(WeightsError, match="TOML"):
        load_weights(path, robot)


def test_weights_of_another_arm_are_refused(tmp_path: Path, robot: RobotModel) -> None:
    path = saved(tmp_path, robot)
    with pytest.raises(WeightsError, match="6 joints instead of 7") as caught:
        load_solver("panda", path)
    assert caught.value.facts["trained_for"] == robot.hash


def test_weights_that_hold_nan_are_refused_although_their_checksum_is_right(tmp_path: Path, robot: RobotModel) -> None:
    net = small_network(robot).to_net()
    net.rank[0, 0] = np.nan
    with pytest.raises(WeightsError, match="NaN"):
        load_weights(saved(tmp_path, robot, net), robot)


def test_tensors_that_do_not_fit_together_are_refused(tmp_path: Path, robot: RobotModel) -> None:
    net = small_network(robot).to_net()
    for broken in (
        net._replace(heads=net.heads[:, :-1]),
        net._replace(first=np.zeros((FEATURES + 2, 19), np.float32)),
        net._replace(rank=np.zeros((10, 0), np.float32)),
        net._replace(symmetric=False),
    ):
        with pytest.raises(WeightsError, match="fit together"):
            load_weights(saved(tmp_path, robot, broken), robot)
    with pytest.raises(WeightsError, match="other tensors"):
        load_weights(saved(tmp_path, robot, net._replace(first=net.first[0])), robot)


@pytest.mark.parametrize("name", list_robots())
def test_shipped_weights_solve_99_of_100_targets_at_the_first_shot(name: str) -> None:
    robot = load_robot(name)
    path = find_shipped(robot)
    assert path is not None
    assert path.stat().st_size < 2_000_000
    net = load_weights(path, robot)
    q = sampling.sample(make_chain(robot), net.symmetric, 2000, np.random.default_rng(1234)).q
    steps = first_shot(make_chain(robot), net, q)
    assert (steps > 0).mean() >= 0.99
    assert steps[steps > 0].mean() < 3.0
    assert np.percentile(steps[steps > 0], 99) <= 6


def test_each_shipped_card_says_how_its_weights_were_made_and_what_they_do() -> None:
    cards = sorted(SHIPPED.glob("*.toml"))
    assert {card.stem for card in cards} == set(list_robots())
    for card in cards:
        values = tomllib.loads(card.read_text(encoding="utf-8"))
        assert values["recipe"]["command"].startswith(f"vision-ik train {card.stem}")
        assert values["metrics"]["first_shot"] >= 0.97
        assert values["metrics"]["date"]
        assert values["metrics"]["machine"]


def test_the_solver_finds_the_shipped_weights_whatever_the_arm_is_called() -> None:
    from dataclasses import replace

    robot = load_robot("panda")
    assert load_solver(robot).learned
    assert not load_solver(robot, learned=False).learned
    assert load_solver(replace(robot, name="renamed")).learned


def test_a_network_that_gains_little_over_random_postures_is_left_out_unless_asked_for() -> None:
    usual = load_solver("gen3")  # 98 % of its targets are solved from any posture
    assert not usual.learned
    assert usual.seeds is not None
    assert not usual.seeds.used
    assert "left out" in str(usual.seeds)
    assert load_solver("gen3", weights=usual.seeds.path).learned
    assert all(load_solver(name).learned for name in ("panda", "ur5e", "so101"))
