"""The vector layouts against the plain kernels they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ik_arms import made_arm
from numba import njit

from vision_ik.ik import lane_labels, load_solver, solo_net
from vision_ik.ik.chain import Chain, make_chain
from vision_ik.ik.kernels import refine
from vision_ik.ik.lane_net import make_lane_net
from vision_ik.ik.lane_refine import refine_many
from vision_ik.ik.lanes import LANES, arctan2, sincos
from vision_ik.ik.search import unwind
from vision_ik.ik.seeds import FEATURES, Net, complete, evaluate, features
from vision_ik.robots import load_robot
from vision_ik.types import Floats

ITERATIONS, TOLERANCE = 30, 1e-6


@njit
def _sincos(x: Floats, sine: Floats, cosine: Floats) -> None:
    for k in range(x.shape[0]):
        sine[k], cosine[k] = sincos(x[k])


@njit
def _arctan2(y: Floats, x: Floats, angle: Floats) -> None:
    for k in range(x.shape[0]):
        angle[k] = arctan2(y[k], x[k])


def test_sine_and_cosine_are_those_of_numpy_over_many_turns() -> None:
    x = np.array([*np.linspace(-20.0, 20.0, 20_001), *(0.25 * np.pi * k for k in range(-12, 13))])
    sine, cosine = np.empty_like(x), np.empty_like(x)
    _sincos(x, sine, cosine)
    np.testing.assert_allclose(sine, np.sin(x), atol=1e-15)
    np.testing.assert_allclose(cosine, np.cos(x), atol=1e-15)


def test_the_arc_tangent_is_good_in_all_quadrants_and_on_the_axes() -> None:
    angle = np.array([*np.linspace(-np.pi, np.pi, 10_001)[1:-1], 0.0, 0.5 * np.pi, -0.5 * np.pi, np.pi])
    radius: Floats = 10.0 ** np.linspace(-6.0, 3.0, len(angle))
    found = np.empty_like(angle)
    _arctan2(radius * np.sin(angle), radius * np.cos(angle), found)
    np.testing.assert_allclose(np.cos(found), np.cos(angle), atol=5e-8)
    np.testing.assert_allclose(np.sin(found), np.sin(angle), atol=5e-8)


def _refined(chain: Chain, Ts: Floats, seeds: Floats) -> tuple[Floats, Floats, Floats]:
    q, errors = seeds.copy(), np.empty((len(seeds), 2))
    done, steps = np.empty(len(seeds), np.bool_), np.empty(len(seeds), np.int64)
    refine_many(chain, Ts, q, len(seeds) // len(Ts), ITERATIONS, TOLERANCE, TOLERANCE, done, steps, errors)
    return q, np.column_stack([done, steps]).astype(np.float64), errors


@pytest.mark.parametrize("name", ["panda", "ur5e", "gen3", "so101", "PRRPRR"])
def test_lanes_refine_like_the_plain_kernel(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    robot = made_arm(tmp_path, name) if name.isupper() else load_robot(name)
    chain = make_chain(robot)
    Ts, seeds = robot.forward(robot.random(rng, 100)), robot.random(rng, 300)
    q, outcome, errors = _refined(chain, Ts, seeds)
    agree = 0
    for k in range(len(seeds)):
        plain = seeds[k].copy()
        done, steps, m, rad = refine(
            chain.fixed, chain.prismatic, chain.lower, chain.upper, Ts[k // 3], plain, ITERATIONS, TOLERANCE, TOLERANCE
        )
        agree += done == bool(outcome[k, 0])
        if done and outcome[k, 0]:
            assert steps == outcome[k, 1]
            np.testing.assert_allclose(q[k], plain, atol=1e-5)
            assert abs(errors[k, 0] - m) < 1e-8
            assert abs(errors[k, 1] - rad) < 1e-8
    assert agree >= 298  # near singularities rounding may decide
    assert (q >= chain.lower).all()
    assert (q <= chain.upper).all()


def test_a_lane_does_not_depend_on_its_neighbours(rng: np.random.Generator) -> None:
    robot = load_robot("panda")
    chain = make_chain(robot)
    Ts, seeds = robot.forward(robot.random(rng, 60)), robot.random(rng, 60)
    together = _refined(chain, Ts, seeds)
    for size in (1, LANES - 1, LANES + 1):
        alone = _refined(chain, Ts[:size], seeds[:size])
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a, b[:size])


def _plain(chain: Chain, net: Net, T: Floats) -> tuple[Floats, Floats, Floats]:
    """Return log-odds, outputs and postures of all heads from the plain forward pass."""
    heads = net.rank.shape[1]
    M, x = np.empty((3, 4)), np.empty(FEATURES, np.float32)
    outputs = np.empty((heads, net.heads.shape[1] // heads), np.float32)
    logits, q = np.empty(heads, np.float32), np.empty((heads, len(chain.lower)))
    features(chain, net.symmetric, T, M, x)
    evaluate(net, x, outputs, logits)
    for head in range(heads):
        complete(chain, net.symmetric, M, outputs[head], q[head])
    return logits.astype(np.float64), outputs.astype(np.float64), q


@pytest.mark.parametrize("name", ["panda", "ur5e", "so101"])
def test_the_network_is_the_same_in_every_layout(name: str, rng: np.random.Generator) -> None:
    solver = load_solver(name)
    chain, net, robot = solver.chain, solver.net, solver.robot
    postures = robot.random(rng, 50)  # a whole group of lanes, and part of one
    Ts, heads = np.empty((50, 4, 4)), net.rank.shape[1]
    logits, seeds = np.empty((50, heads)), np.empty((50, heads, robot.n))
    lane_labels.head_seeds(chain, make_lane_net(net), postures, Ts, logits, seeds)
    solo = solo_net.make_solo_net(net)
    width = solo.judge.shape[1] * solo_net.DEEP - solo_net.INPUTS
    for k in range(50):
        odds, outputs, q = _plain(chain, net, robot.forward(postures[k]))
        np.testing.assert_allclose(logits[k], odds, atol=2e-3)
        for head in range(heads):
            turned = seeds[k, head].copy()
            unwind(chain, turned, q[head])
            np.testing.assert_allclose(turned, q[head], atol=2e-3)
        known = np.zeros(solo_net.INPUTS + width, np.float32)
        features(chain, net.symmetric, robot.forward(postures[k]), np.empty((3, 4)), known)
        alone = np.empty(solo.rank.shape[0] * solo_net.WIDE, np.float32)
        proposed = np.empty(solo.heads.shape[0] * solo_net.WIDE, np.float32)
        judged = np.empty(solo.judge.shape[0] * solo_net.WIDE, np.float32)
        solo_net.evaluate(solo, known, np.empty(width, np.float32), judged, alone, proposed)
        np.testing.assert_allclose(alone[:heads], odds, atol=2e-3)
        np.testing.assert_allclose(proposed[: outputs.size], outputs.ravel(), atol=1e-3)
