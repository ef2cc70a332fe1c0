"""Every alternative to the shipped seeds trains, and what it proposes can be refined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vision_ik.errors import MissingDependencyError
from vision_ik.ik.chain import Chain, make_chain
from vision_ik.learning import sampling
from vision_ik.learning.designs.catalogue import IDEAS, PARTS, REFERENCE, SIZES, fit
from vision_ik.learning.designs.design import Design, Task, outputs_of, symmetric
from vision_ik.learning.designs.heads import HeadsFit
from vision_ik.learning.designs.kinematics import TorchChain, poses_of
from vision_ik.learning.designs.measure import measure, refine_all
from vision_ik.robots import load_robot

_ALL = {design.name: design for design in (*PARTS, *IDEAS, *SIZES)}


@pytest.fixture(scope="module")
def chain() -> Chain:
    """Return the Panda: seven joints, and the symmetry."""
    return make_chain(load_robot("panda"))


@pytest.fixture(scope="module")
def task(chain: Chain) -> Task:
    """Return a task of no budget: one step a stage."""
    return Task(chain=chain, symmetric=True, budget_s=0.0)


def _small(design: Design) -> Design:
    return replace(design, width=min(design.width, 16), heads=min(design.heads, 4), batch=16)


@pytest.mark.parametrize("name", _ALL)
def test_a_design_trains_and_its_proposals_refine_inside_the_limits(name: str, task: Task, chain: Chain) -> None:
    design = _small(_ALL[name])
    try:
        fitted = fit(design, task)
    except MissingDependencyError as error:
        pytest.skip(error.cause)
    inner = symmetric(design, task)
    rng = np.random.default_rng(3)
    poses = sampling.sample(chain, inner, 6, rng)
    for _, one in fitted:
        proposals = one.propose(poses, rng)
        assert proposals.outputs.shape == (*proposals.scores.shape, outputs_of(design, task))
        assert np.isfinite(proposals.outputs).all()
        assert np.isfinite(proposals.scores).all()
        assert one.weights > 0
        _, _, reached = refine_all(chain, inner, poses.q, proposals.outputs)
        assert (np.abs(reached) <= 1.0 + 1e-5).all()


def test_a_short_training_beats_random_starts_by_far(chain: Chain) -> None:
    # Six random starts of ten fail on this arm.
    task = Task(chain=chain, symmetric=True, budget_s=2.5)
    ((_, fitted),) = fit(replace(REFERENCE, width=32, heads=8, batch=512), task)
    found = measure(task, fitted, True, targets=1000)
    assert found.first_shot > 0.6
    assert found.any_proposal >= found.first_shot - 0.05
    assert found.least_error_mm <= found.error_mm


def test_torch_completes_a_posture_as_the_kernels_do_and_one_step_brings_it_closer(chain: Chain) -> None:
    rng = np.random.default_rng(5)
    poses = sampling.sample(chain, True, 200, rng)
    targets, kinematics = poses_of(chain, poses.q), TorchChain(chain)
    exact = kinematics.posture(torch.from_numpy(poses.y), targets, True)
    np.testing.assert_allclose(exact.numpy(), poses.q, atol=2e-4)
    near = torch.from_numpy((poses.q + rng.normal(0.0, 0.02, poses.q.shape)).astype(np.float32))
    before, after = (kinematics.refined(near, targets, steps).norm(dim=1) for steps in (0, 1))
    assert float(after.median()) < 0.1 * float(before.median())


def test_the_error_of_torch_kinematics_has_the_slope_its_jacobian_says(chain: Chain) -> None:
    q = sampling.sample(chain, False, 5, np.random.default_rng(8)).q
    kinematics = TorchChain(chain)
    at = torch.from_numpy(q.astype(np.float32))
    targets = poses_of(chain, q + 0.2)
    _, J = kinematics.error(at, targets)
    for i in range(kinematics.n):
        step = torch.zeros(kinematics.n)
        step[i] = 1e-2
        apart = kinematics.error(at + step, targets)[0][:, :3] - kinematics.error(at - step, targets)[0][:, :3]
        np.testing.assert_allclose((-apart / 2e-2).numpy(), J[:, :3, i].numpy(), atol=2e-3)


def test_only_an_arm_of_seven_joints_is_conditioned_on_its_elbow() -> None:
    chain = make_chain(load_robot("ur5e"))
    with pytest.raises(ValueError, match="seven joints"):
        HeadsFit(replace(REFERENCE, condition="elbow"), Task(chain=chain, symmetric=True, budget_s=0.0))
