"""Rare poses are rare, gradients are gradients, labels are what the solver's steps do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vision_ik.ik.chain import Chain, make_chain
from vision_ik.ik.kernels import refine
from vision_ik.ik.network import SeedNetwork, activate
from vision_ik.ik.seeds import Floats32, complete, evaluate, features
from vision_ik.learning import map_workspace, pulls, sampling
from vision_ik.learning.labelling import first_shot, label_heads
from vision_ik.robots import RobotModel, load_robot
from vision_ik.types import Floats


@pytest.fixture(scope="module")
def robot() -> RobotModel:
    return load_robot("panda")


@pytest.fixture(scope="module")
def chain(robot: RobotModel) -> Chain:
    return make_chain(robot)


@pytest.fixture(scope="module")
def network(robot: RobotModel) -> SeedNetwork:
    return SeedNetwork(outputs=robot.n - 2, symmetric=True, width=24, layers=1, heads=6, judges=16)


def _measures(robot: RobotModel, chain: Chain, q: Floats) -> dict[str, float]:
    """Return the medians over ``q`` (N, n) of what the kinds of rare postures go by."""
    p = robot.forward(q)[:, :3, 3] - (robot.forward(q)[:, :3, :3] @ robot.fixed[-1][:3, :3].T) @ robot.fixed[-1][:3, 3]
    p = p - robot.fixed[0][:3, 3]
    J = robot.jacobian(q)
    J[:, :3] /= chain.reach
    span = robot.upper - robot.lower
    return {
        "limits": float(np.median((np.minimum(q - robot.lower, robot.upper - q) / span).min(axis=1))),
        "singular": float(np.median(np.linalg.det(J @ J.transpose(0, 2, 1)))),
        "edge": -float(np.median(np.linalg.norm(p, axis=1))),
        "axis": float(np.median(np.linalg.norm(p[:, :2], axis=1))),
    }


@pytest.mark.parametrize("kind", sampling.RARE)
def test_a_rare_posture_is_extreme_in_what_it_is_named_for(
    robot: RobotModel, chain: Chain, kind: str, rng: np.random.Generator
) -> None:
    plain = _measures(robot, chain, robot.random(rng, 2000))
    q = sampling.rare(chain, kind, 500, rng)
    assert ((q >= robot.lower) & (q <= robot.upper)).all()
    extreme = _measures(robot, chain, q)
    assert extreme[kind] < plain[kind] - 0.15 * abs(plain[kind])
    assert kind != "limits" or extreme["limits"] < 0.01


def test_an_unknown_kind_of_posture_is_named(chain: Chain, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="limits, singular, edge, axis"):
        sampling.rare(chain, "odd", 1, rng)


def test_neighbours_of_failures_are_near_and_inside_the_limits(
    robot: RobotModel, chain: Chain, rng: np.random.Generator
) -> None:
    q = robot.random(rng, 1000)
    moved = sampling.perturb(chain, q, rng)
    assert ((moved >= robot.lower) & (moved <= robot.upper)).all()
    distance = np.abs(moved - q).max(axis=1)
    assert distance.min() > 0.0
    assert np.median(distance) < 0.1


def test_labels_are_those_of_the_solvers_own_steps(
    robot: RobotModel, chain: Chain, network: SeedNetwork, rng: np.random.Generator
) -> None:
    net, q = network.to_net(), robot.random(rng, 60)
    labels, best = label_heads(chain, net, q, threads=2), first_shot(chain, net, q)
    expected = np.zeros_like(labels)
    M, x = np.empty((3, 4)), np.empty(11, np.float32)
    outputs, logits, trial = np.empty((6, 5), np.float32), np.empty(6, np.float32), np.empty(7)
    for k, T in enumerate(robot.forward(q)):
        features(chain, True, T, M, x)
        evaluate(net, x, outputs, logits)
        for head in range(6):
            complete(chain, True, M, outputs[head], trial)
            done, steps, _, _ = refine(chain.fixed, chain.prismatic, chain.lower, chain.upper, T, trial, 30, 1e-6, 1e-6)
            expected[k, head] = max(steps, 1) if done else 0
        assert best[k] == labels[k, np.argmax(logits)]
    assert (labels > 0).any()
    assert (labels == expected).mean() > 0.99  # lanes round differently: a few chaotic seeds may part


def test_the_pulls_on_the_heads_are_the_gradient_of_their_loss(chain: Chain, rng: np.random.Generator) -> None:
    half, turn = pulls.scales(chain, True)
    outputs = rng.uniform(-1.5, 1.5, (40, 6 * 5)).astype(np.float32)
    wanted, reached = (rng.uniform(-1.0, 1.0, (40, 5)).astype(np.float32) for _ in range(2))
    chosen, steps = rng.integers(6, size=40), rng.integers(2, size=40).astype(np.int8)
    gradient = np.empty_like(outputs)
    for others in (0.0, 0.05):
        loss = pulls.pull_nearest(outputs, wanted, half, turn, others, gradient)
        loss += pulls.pull_chosen(outputs, chosen, steps, reached, half, turn, gradient)
        x = torch.from_numpy(outputs).requires_grad_()
        squared = _squared(x.view(40, 6, 5), torch.from_numpy(wanted)[:, None], half, turn)
        rows = torch.arange(40)
        moved = _squared(x.view(40, 6, 5)[rows, torch.from_numpy(chosen)], torch.from_numpy(reached), half, turn)
        kept = (moved * torch.from_numpy(steps)).mean()
        nearest = squared.min(dim=1)[0].mean()
        ((1.0 - others) * nearest + others * squared.mean() + kept).backward()
        assert x.grad is not None
        np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-3, atol=1e-5)
        assert loss == pytest.approx(float((nearest + kept).detach()), rel=1e-4)


def _squared(a: torch.Tensor, b: torch.Tensor, half: Floats32, turn: Floats32) -> torch.Tensor:
    d, whole = (a - b) * torch.from_numpy(half), torch.from_numpy(turn)
    return ((d - whole * torch.round(d / whole).detach()) ** 2).sum(dim=-1)


def test_the_compiled_activation_has_the_slope_of_its_value() -> None:
    h = torch.linspace(-6.0, 6.0, 101, dtype=torch.float32).requires_grad_()
    same = h.detach().clone().requires_grad_()
    activate(h).sum().backward()
    value = 0.5 * same * (1.0 + same * torch.rsqrt(same * same + 1.0))
    value.sum().backward()
    torch.testing.assert_close(activate(h), value)
    assert h.grad is not None
    torch.testing.assert_close(h.grad, same.grad)


def test_the_map_says_nothing_where_no_posture_leads(robot: RobotModel, network: SeedNetwork) -> None:
    found = map_workspace(robot, network.to_net(), candidates=20_000)
    assert found.first_shot.shape == (len(found.radius) - 1, len(found.height) - 1)
    assert np.isnan(found.first_shot[-1, 0])  # far out and far down at once
    card = found.as_dict()
    known = found.first_shot[np.isfinite(found.first_shot)]
    assert card["cells"] == len(known) > 20
    assert card["first_shot_worst_cell"] == pytest.approx(known.min(), abs=1e-5)
