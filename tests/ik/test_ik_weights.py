"""Weights on disk: what is shipped works, and what is broken or foreign is refused with a remedy."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit
import torch
from scipy.stats import binom

from vision_ik.errors import WeightsError
from vision_ik.ik import load_solver
from vision_ik.ik.chain import make_chain
from vision_ik.ik.network import SeedNetwork
from vision_ik.ik.seeds import FEATURES, Net, evaluate
from vision_ik.ik.weights_file import SHIPPED, find_shipped, load_weights, read_card, save_weights
from vision_ik.learning import sampling
from vision_ik.learning.labelling import first_shot
from vision_ik.robots import RobotModel, list_robots, load_robot

NAN = float("nan")


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


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = path.with_suffix(".toml")
    values = tomllib.loads(card.read_text(encoding="utf-8"))
    change(values)
    card.write_text(tomlkit.dumps(values), encoding="utf-8")


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


_EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a link moved": (lambda card: card["fixed"][3][0].__setitem__(3, 0.1), "disagree"),
    "a limit moved": (lambda card: card["upper"].__setitem__(2, 1.0), "disagree"),
    "another kind of joint": (lambda card: card["prismatic"].__setitem__(0, True), "disagree"),
    "another hash": (lambda card: card.update(robot_hash="0" * 16), "disagree"),
    "a limit from lower to upper": (lambda card: card["upper"].insert(0, card["lower"].pop()), "lower of length 5"),
    "one name less": (lambda card: card["joints"].pop(), "5 names in joints"),
    "one kind less": (lambda card: card["prismatic"].pop(), "prismatic of length 5"),
    "one transform less": (lambda card: card["fixed"].pop(), "fixed of length 6"),
    "a limit that is nan": (lambda card: card["lower"].__setitem__(0, NAN), "lower that is not a list of numbers"),
    "a limit that is a word": (lambda card: card["upper"].__setitem__(0, "x"), "upper that is not"),
    "a limit no double holds": (lambda card: card["upper"].__setitem__(0, 10**400), "upper that is not"),
    "limits swapped": (lambda card: card.update(lower=card["upper"], upper=card["lower"]), "describes no chain"),
    "a transform of words": (lambda card: card["fixed"].__setitem__(0, ["a"]), "fixed that is not"),
    "a transform of three rows": (lambda card: card["fixed"][0].pop(), "fixed that is not"),
    "another last row": (lambda card: card["fixed"][0][3].__setitem__(0, 0.5), "fixed that is not"),
    "infinitely far": (lambda card: card["fixed"][0][0].__setitem__(3, float("inf")), "fixed that is not"),
    "kinds as numbers": (lambda card: card.update(prismatic=[0] * 6), "prismatic that is not"),
    "names as numbers": (lambda card: card.update(joints=[1] * 6), "joints that is not"),
    "symmetric in words": (lambda card: card.update(symmetric="yes"), "symmetric that is not true or false"),
    "no symmetric": (lambda card: card.pop("symmetric"), "no symmetric"),
    "no chain": (lambda card: card.pop("fixed"), "no fixed"),
    "metrics in words": (lambda card: card.update(metrics="good"), "metrics that is not a table"),
    "a share in words": (lambda card: card["metrics"].update(first_shot="x"), "metrics.first_shot"),
    "a share in per cent": (lambda card: card["metrics"].update(random_start=85.0), "metrics.random_start"),
}


@pytest.mark.parametrize("edit", _EDITS)
def test_an_edited_card_is_refused_and_the_field_is_named(edit: str, tmp_path: Path, robot: RobotModel) -> None:
    path = saved(tmp_path, robot)
    change, words = _EDITS[edit]
    edited(path, change)
    with pytest.raises(WeightsError, match=words) as caught:
        load_solver(robot, path)
    assert caught.value.remedy.endswith(".")


@pytest.mark.parametrize("key", ["metrics", "first_shot"])
def test_a_card_without_figures_is_taken_and_they_are_nan(key: str, tmp_path: Path, robot: RobotModel) -> None:
    path = saved(tmp_path, robot)
    edited(path, lambda card: (card if key == "metrics" else card["metrics"]).pop(key))
    solver = load_solver(robot, path)
    assert solver.learned
    assert solver.seeds is not None
    assert solver.seeds.exact
    assert np.isnan(solver.seeds.first_shot_nominal)
    assert str(solver.seeds) == "trained for ur5e: not measured yet"


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
def test_shipped_weights_solve_at_the_first_shot_what_their_cards_say(name: str) -> None:
    robot = load_robot(name)
    path = find_shipped(robot)
    assert path is not None
    assert path.stat().st_size < 2_000_000
    net = load_weights(path, robot)
    q = sampling.sample(make_chain(robot), net.symmetric, 2000, np.random.default_rng(1234)).q
    steps = first_shot(make_chain(robot), net, q)
    on_card = read_card(path)["metrics"]["first_shot"]
    assert on_card >= (0.997 if robot.n >= 6 else 0.99)
    # A sample of this size misses more often than this once in 10,000 times.
    assert (steps == 0).sum() <= binom.ppf(0.9999, len(q), 1.0 - on_card)
    assert steps[steps > 0].mean() < 3.0
    assert np.percentile(steps[steps > 0], 99) <= 6


def test_each_shipped_card_says_how_its_weights_were_made_and_what_they_do() -> None:
    cards = sorted(SHIPPED.glob("*.toml"))
    assert {card.stem for card in cards} == set(list_robots())
    for card in cards:
        values = tomllib.loads(card.read_text(encoding="utf-8"))
        assert values["recipe"]["command"].startswith(f"vision-ik train {card.stem}")
        assert values["metrics"]["targets"] >= 20_000
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
