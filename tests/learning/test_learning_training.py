"""Training on a toy arm: it helps, it is repeatable, and it can be interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vision_ik.errors import WeightsError
from vision_ik.ik import load_solver
from vision_ik.ik.chain import make_chain
from vision_ik.learning import Progress, Recipe, sampling, train
from vision_ik.learning.labelling import refine_outputs
from vision_ik.learning.stages import STAGES
from vision_ik.robots import RobotModel, load_robot

TINY = Recipe(
    width=24,
    heads=6,
    judges=16,
    batch=256,
    cover_steps=150,
    settle_steps=60,
    judge_steps=80,
    judge_poses=2000,
    mined_poses=2000,
    rounds=2,
)

_JOINT = (
    '<joint name="j{k}" type="revolute"><parent link="l{k}"/><child link="l{c}"/><origin xyz="{xyz}" rpy="{rpy}"/>'
    '<axis xyz="0 0 1"/><limit lower="{lower}" upper="{upper}" velocity="2" effort="10"/></joint>'
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> RobotModel:
    """Return a turntable with a shoulder and an elbow: three joints, none of them redundant."""
    joints = (
        _JOINT.format(k=0, c=1, xyz="0 0 0.3", rpy="0 0 0", lower=-2.9, upper=2.9),
        _JOINT.format(k=1, c=2, xyz="0.1 0 0", rpy="1.5707963 0 0", lower=-2.5, upper=2.5),
        _JOINT.format(k=2, c=3, xyz="0.4 0 0", rpy="0 0 0", lower=-2.5, upper=2.5),
    )
    links = "".join(f'<link name="l{k}"/>' for k in range(5))
    tip = '<joint name="tip" type="fixed"><parent link="l3"/><child link="l4"/><origin xyz="0.3 0 0"/></joint>'
    path = tmp_path_factory.mktemp("toy") / "toy.urdf"
    path.write_text(f'<robot name="toy">{links}{"".join(joints)}{tip}</robot>', encoding="utf-8")
    return load_robot(path)


class InterruptedHereError(Exception):
    """Stands for Ctrl-C."""


class _Interrupting(list[Progress]):
    def __init__(self, parts: int) -> None:
        super().__init__()
        self._parts = parts

    def __call__(self, progress: Progress) -> None:
        self.append(progress)
        if len(self) == self._parts:
            raise InterruptedHereError


def test_training_raises_first_shot_success_and_the_weights_serve_the_solver(
    toy: RobotModel, tmp_path: Path, rng: np.random.Generator
) -> None:
    seen: list[Progress] = []
    trained = train(toy, out=tmp_path, recipe=TINY, on_progress=seen.append, command="vision-ik train toy.urdf")
    found = trained.evaluation
    assert found.first_shot > found.random_start + 0.1
    assert found.first_shot > 0.9
    assert [progress.stage for progress in seen] == [stage for stage in STAGES for _ in range(TINY.rounds)]
    assert seen[-1].fraction == pytest.approx(1.0)
    assert not list(tmp_path.glob("*.checkpoint"))
    assert trained.picture.read_bytes().startswith(b"\x89PNG")
    assert trained.picture.stat().st_size < 100_000
    solver = load_solver(toy, trained.weights)
    assert solver.learned
    assert solver.solve_batch(toy.forward(toy.random(rng, 100))).converged.all()


def test_an_interrupted_training_goes_on_to_the_same_weights(toy: RobotModel, tmp_path: Path) -> None:
    straight = train(toy, out=tmp_path / "straight", recipe=TINY)
    for parts in (1, 2, 1):  # within a stage, over the border of the next, and between two
        with pytest.raises(InterruptedHereError):
            train(toy, out=tmp_path / "broken", recipe=TINY, resume=True, on_progress=_Interrupting(parts))
    resumed = train(toy, out=tmp_path / "broken", recipe=TINY, resume=True, threads=1)
    assert resumed.weights.read_bytes() == straight.weights.read_bytes()


def test_another_seed_gives_other_weights(toy: RobotModel, tmp_path: Path) -> None:
    shorter = Recipe(**{**TINY.as_dict(), "cover_steps": 4, "settle_steps": 4, "judge_steps": 4})  # pyright: ignore[reportArgumentType]
    a, b = (train(toy, out=tmp_path / str(seed), recipe=shorter, seed=seed) for seed in (0, 1))
    assert a.weights.read_bytes() != b.weights.read_bytes()


def test_a_checkpoint_of_another_training_is_refused(toy: RobotModel, tmp_path: Path) -> None:
    with pytest.raises(InterruptedHereError):
        train(toy, out=tmp_path, recipe=TINY, on_progress=_Interrupting(1))
    with pytest.raises(WeightsError, match="seed differ"):
        train(toy, out=tmp_path, recipe=TINY, resume=True, seed=5)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half an archive"])
def test_a_corrupt_checkpoint_is_refused_with_a_remedy(toy: RobotModel, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "toy.checkpoint").write_bytes(content)
    with pytest.raises(WeightsError, match="Delete"):
        train(toy, out=tmp_path, recipe=TINY, resume=True)


def test_training_can_start_from_the_weights_of_another_arm(toy: RobotModel, tmp_path: Path) -> None:
    first = train(toy, out=tmp_path, recipe=TINY)
    short = replace(TINY, cover_steps=1, settle_steps=1, judge_steps=1, learning_rate=1e-9)
    longer = replace(toy, name="longer", upper=toy.upper + 0.05)
    again = train(longer, out=tmp_path, recipe=short, start=first.weights)
    assert again.evaluation.first_shot > 0.9
    with pytest.raises(WeightsError, match="another shape"):
        train(longer, out=tmp_path, recipe=replace(short, heads=5), start=first.weights)
    with pytest.raises(WeightsError, match="nowhere"):
        train(longer, out=tmp_path, recipe=short, start=tmp_path / "nowhere")


def test_training_leaves_the_thread_count_of_torch_alone(toy: RobotModel, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with pytest.raises(InterruptedHereError):
        train(toy, out=tmp_path, recipe=TINY, on_progress=_Interrupting(1))
    assert torch.get_num_threads() == before


def test_the_outer_joints_follow_exactly_from_the_middle_ones(toy: RobotModel) -> None:
    chain = make_chain(toy)
    assert sampling.has_symmetry(chain)
    poses = sampling.sample(chain, True, 500, np.random.default_rng(0))
    steps, reached = refine_outputs(chain, True, poses.q, poses.y)
    assert (steps == 1).all()
    np.testing.assert_allclose(reached, poses.y, atol=1e-5)


def test_turning_the_target_about_the_first_axis_changes_no_input_but_the_azimuth(toy: RobotModel) -> None:
    chain = make_chain(toy)
    q = np.array([[0.3, 0.5, -0.7], [1.1, 0.5, -0.7]])
    x = np.empty((2, 11), np.float32)
    sampling.write_features(chain, True, q, x)
    np.testing.assert_allclose(x[0, :9], x[1, :9], atol=1e-6)
    assert np.abs(x[0, 9:] - x[1, 9:]).max() > 0.1


def test_a_budget_scales_the_counts_and_must_be_positive() -> None:
    assert Recipe.for_budget(240.0).cover_steps == 2 * Recipe.for_budget(120.0).cover_steps
    for budget in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="budget"):
            Recipe.for_budget(budget)
