from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vision_ik.cli.benches import Level, _ik_ablation, _ik_extras, _ik_ours, _ik_rivals
from vision_ik.cli.benches._ik_judge import make_judge, pose_distance
from vision_ik.cli.benches._ik_new_arm import write_new_arm
from vision_ik.cli.benches._ik_peers import PEERS, runner, worker
from vision_ik.cli.benches._ik_peers.iterative import bounded_urdf
from vision_ik.cli.benches._ik_peers.peer import Peer, Solve, turned_inside
from vision_ik.cli.benches._ik_peers.runner import Measured, measure_peer
from vision_ik.cli.benches._ik_table import PoseTable
from vision_ik.cli.benches._ik_targets import Targets
from vision_ik.errors import MissingDependencyError, RobotError
from vision_ik.ik.kernels import LENGTH
from vision_ik.robots import RobotModel, load_robot
from vision_ik.types import Floats


def _cost(T: Floats, T_target: Floats) -> Floats:
    metres, radians = pose_distance(T, T_target)
    return (metres / LENGTH) ** 2 + radians**2


# -- seeds of a table -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["panda", "ur5e", "so101"])
def test_seeds_of_a_table_keep_the_limits_and_are_nearer_than_random_ones(name: str) -> None:
    robot = load_robot(name)
    targets = Targets.draw(robot, 200)
    seeds = PoseTable(robot, 20_000).look_up(targets.Ts)
    assert ((seeds >= robot.lower) & (seeds <= robot.upper)).all()
    near, far = (np.median(_cost(robot.forward(q), targets.Ts)) for q in (seeds, targets.starts))
    assert near < 0.05 * far


def test_a_larger_table_has_nearer_seeds() -> None:
    robot = load_robot("panda")
    targets = Targets.draw(robot, 200)
    small, large = (
        np.median(_cost(robot.forward(PoseTable(robot, size).look_up(targets.Ts)), targets.Ts))
        for size in (300, 30_000)
    )
    assert large < 0.5 * small


def test_a_table_gives_the_same_seeds_one_at_a_time() -> None:
    robot = load_robot("panda")
    table, targets = PoseTable(robot, 2000), Targets.draw(robot, 5)
    together = table.look_up(targets.Ts)
    np.testing.assert_array_equal(together, [table.look_up(T[None])[0] for T in targets.Ts])


# -- the tables -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ablation() -> _ik_ablation.Ablation:
    """Return the ablation of the UR5e on few targets."""
    return _ik_ablation.compare("ur5e", count=60, table_size=2000)


def test_the_ablation_solves_the_same_targets_with_every_kind_of_seed(ablation: _ik_ablation.Ablation) -> None:
    assert ablation.network is not None
    assert [seeds.solved for seeds in (ablation.random, ablation.table, ablation.network)] == [1.0, 1.0, 1.0]
    assert ablation.random.first_shot < ablation.table.first_shot <= ablation.network.first_shot
    table = _ik_ablation.to_table([ablation])
    assert [row[:2] for row in table.rows] == [
        ("ur5e", "random restarts"),
        ("ur5e", "table of 2,000"),
        ("ur5e", "network"),
    ]


def test_the_network_wins_only_by_less_time_and_no_fewer_solutions(ablation: _ik_ablation.Ablation) -> None:
    assert ablation.network is not None
    fast = replace(ablation.network, calls=replace(ablation.network.calls, times=0.5 * ablation.table.calls.times))
    slow = replace(ablation.network, calls=replace(ablation.network.calls, times=9.0 * ablation.random.calls.times))
    quick = replace(ablation.random, calls=replace(ablation.random.calls, times=2.0 * ablation.table.calls.times))
    assert replace(ablation, random=quick, network=fast).network_wins
    assert not replace(ablation, random=quick, network=replace(fast, solved=0.99)).network_wins
    losing = replace(ablation, network=slow)
    assert not losing.network_wins
    assert str(losing.rows()[-1][-1]).startswith("does not win: 0.")


def test_an_arm_without_weights_says_so(ablation: _ik_ablation.Ablation) -> None:
    without = replace(ablation, network=None, public=None)
    assert not without.network_wins
    assert without.rows()[-1][-1] == "no weights shipped"
    assert _ik_ours.figures(without, Level.QUICK)[0].note == "no weights shipped"


# -- peers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ur5e", "gen3"])
@pytest.mark.parametrize("peer", PEERS.values(), ids=lambda peer: peer.key)
def test_a_peer_solves_our_targets_or_says_why_not(peer: Peer, name: str) -> None:
    robot = load_robot(name)
    targets = Targets.draw(robot, 8)
    try:
        if (peer.key, name) == ("eaik", "gen3"):
            with pytest.raises(RobotError, match="6R"):
                peer.make(robot)
            return
        solve = peer.make(robot)
    except MissingDependencyError as error:
        pytest.skip(error.cause)
    answers = [solve(T, start) for T, start in zip(targets.Ts, targets.starts, strict=True)]
    found = np.array([np.full(robot.n, np.nan) if q is None else q for q in answers])
    answered = np.isfinite(found).all(axis=1)
    assert answered.sum() >= (3 if peer.key == "bullet" else 7)
    assert make_judge(robot).solved(found, targets.Ts)[answered].all()


def _peer(make: Callable[[RobotModel], Solve]) -> Peer:
    return Peer(key="odd", name="Odd", setting="", make=make)


def _job(folder: Path, arms: tuple[str, ...] = ("ur5e",)) -> worker.Job:
    return worker.Job(peer="odd", arms=arms, folder=str(folder), targets=3, many=0, quick_s=0.0, limit_s=60.0)


def test_a_peer_that_refuses_an_arm_leaves_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(robot: RobotModel) -> Solve:
        raise RobotError("Odd takes round arms only.", "Measure another arm.")

    monkeypatch.setitem(worker.PEERS, "odd", _peer(refuse))
    worker.main(_job(tmp_path))
    assert (tmp_path / "ur5e.txt").read_text(encoding="utf-8") == "Odd takes round arms only."


def test_a_peer_that_breaks_on_a_target_leaves_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def solve(T: Floats, start: Floats) -> Floats:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(worker.PEERS, "odd", _peer(lambda robot: solve))
    worker.main(_job(tmp_path))
    assert (tmp_path / "ur5e.txt").read_text(encoding="utf-8") == "ZeroDivisionError: division by zero"


def test_a_worker_keeps_missing_answers_apart_from_wrong_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def solve(T: Floats, start: Floats) -> Floats | None:
        return None if start[0] > 0.0 else start

    monkeypatch.setitem(worker.PEERS, "odd", _peer(lambda robot: solve))
    worker.main(_job(tmp_path))
    robot = load_robot("ur5e")
    with np.load(tmp_path / "ur5e.npz") as data:
        answers, times, ours = data["answers"], data["times"], data["ours"]
    missing = Targets.draw(robot, 3).starts[:, 0] > 0.0
    np.testing.assert_array_equal(np.isnan(answers).all(axis=1), missing)
    row = _ik_rivals.row(robot, make_judge(robot), "Odd", Measured(answers=answers, times=times, ours=ours))
    assert row[2] == 0.0
    assert row[-1] == f"{(~missing).sum()} answers refused by the judge"


def test_a_peer_that_takes_the_process_down_costs_its_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[str, ...]] = []

    def run(job: worker.Job) -> str:
        runs.append(job.arms)
        if "bad" in job.arms:
            (Path(job.folder) / "good.txt").write_text("refused", encoding="utf-8")
            return "crashed: SIGSEGV"
        (Path(job.folder) / "last.txt").write_text("refused", encoding="utf-8")
        return ""

    monkeypatch.setattr(runner, "_run", run)
    found = measure_peer("odd", ("good", "bad", "last"), targets=1, many=0, quick_s=0.0, limit_s=1.0)
    assert runs == [("good", "bad", "last"), ("last",)]
    assert {arm: outcome.trouble for arm, outcome in found.items()} == {
        "good": "refused",
        "bad": "crashed: SIGSEGV",
        "last": "refused",
    }


def test_a_crash_is_named_by_its_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.sys, "executable", _script(tmp_path, "kill -SEGV $$"))
    found = measure_peer("toolbox", ("ur5e",), targets=1, many=0, quick_s=0.0, limit_s=1.0)
    assert found["ur5e"].trouble == "crashed: SIGSEGV"
    monkeypatch.setattr(runner.sys, "executable", _script(tmp_path, "echo 'PanicException: no such joint' >&2; exit 3"))
    found = measure_peer("toolbox", ("ur5e",), targets=1, many=0, quick_s=0.0, limit_s=1.0)
    assert found["ur5e"].trouble == "ended: PanicException: no such joint"


def _script(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    assert os.access(path, os.X_OK)
    return str(path)


def test_a_worker_measures_a_peer_and_ours_in_its_own_process() -> None:
    if importlib.util.find_spec("pinocchio") is None:
        pytest.skip("pinocchio is not installed")
    measured = measure_peer("pinocchio", ("ur5e",), targets=5, many=0, quick_s=0.0, limit_s=30.0)["ur5e"]
    assert measured.trouble == ""
    assert len(measured.times) == len(measured.ours) == len(measured.answers) == 5
    robot = load_robot("ur5e")
    row = _ik_rivals.row(robot, make_judge(robot), "pinocchio", measured)
    assert row[2] == 100.0


def test_a_peer_in_trouble_has_a_row_that_says_so() -> None:
    robot = load_robot("ur5e")
    row = _ik_rivals.row(robot, make_judge(robot), "Odd", Measured.nothing("Odd is not installed."))
    assert row[:2] == ("ur5e", "Odd")
    assert row[-1] == "Odd is not installed."


def test_joints_turn_inside_by_whole_turns_only() -> None:
    robot = load_robot("panda")
    q = robot.home.copy()
    q[0] += 2.0 * np.pi
    np.testing.assert_allclose(turned_inside(robot, q), robot.home, atol=1e-12)
    np.testing.assert_array_equal(turned_inside(robot, robot.home), robot.home)


def test_continuous_joints_are_bounded_for_those_that_refuse_them(tmp_path: Path) -> None:
    gen3 = load_robot("gen3")
    bounded = load_robot(bounded_urdf(gen3, tmp_path), gen3.base, gen3.tip)
    assert np.isfinite(bounded.lower).all()
    np.testing.assert_allclose(bounded.fixed, gen3.fixed, atol=1e-15)


# -- beyond the catalogue ---------------------------------------------------------------------------------------------


def test_the_arm_nobody_has_seen_is_a_seven_joint_arm_of_plausible_reach(tmp_path: Path) -> None:
    robot = load_robot(write_new_arm(tmp_path))
    assert robot.n == 7
    reach = np.linalg.norm(robot.forward(robot.random(np.random.default_rng(0), 2000))[:, :3, 3], axis=1).max()
    assert 0.6 < reach < 1.6
    assert (robot.upper - robot.lower >= np.pi).all()
    # Every joint matters: at a random posture no singular value vanishes.
    assert np.linalg.svd(robot.jacobian(robot.random(np.random.default_rng(1))), compute_uv=False)[-1] > 1e-3


def test_training_waits_for_the_full_level() -> None:
    (figure,) = _ik_extras.training(Level.NORMAL)
    assert np.isnan(figure.value)
    assert "--full" in figure.note
