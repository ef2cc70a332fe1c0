"""The verb ``vision-ik robots``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from urdf_text import joint, robot, two_joints, write

from vision_ik.cli.benches import Level, kinematics
from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main
from vision_ik.robots import list_robots, load_robot


def test_the_list_names_every_arm_with_its_chain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots"]) == EXIT_OK
    printed = capsys.readouterr().out
    for name in list_robots():
        assert name in printed
    assert "panda_link0 → panda_link8" in printed


def test_the_list_as_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", "--json"]) == EXIT_OK
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(list_robots())
    assert all(row["hash"] == load_robot(row["name"]).hash for row in rows)
    assert all(row["source"] and row["dynamics_source"] and row["reach"] > 0 for row in rows)


def test_one_arm_is_described_in_degrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", "gen3"]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "128.9°" in printed
    assert "∞" in printed
    assert load_robot("gen3").hash in printed


def test_one_arm_as_json_has_si_units_and_null_for_no_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", "gen3", "--json"]) == EXIT_OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["joints"][0]["upper"] is None
    assert facts["joints"][1]["upper"] == pytest.approx(load_robot("gen3").upper[1])
    assert facts["joints"][0]["kind"] == "continuous"


def test_a_urdf_can_be_looked_at_with_millimetres_for_sliding_joints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, two_joints().replace("revolute", "prismatic", 1))
    assert main(["robots", str(path), "--tip", "tip"]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "2000.0 mm" in printed
    assert "defaults" in printed


def test_the_list_tells_how_good_learned_seeds_are_and_since_when(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", "--json"]) == EXIT_OK
    seeds = {row["name"]: row["seeds"] for row in json.loads(capsys.readouterr().out)}["panda"]
    assert seeds["exact"]
    assert main(["robots"]) == EXIT_OK
    printed = capsys.readouterr().out
    assert f"{seeds['first_shot']:.2%}" in printed
    assert seeds["date"] in printed


def test_seeds_of_one_arm_are_described_with_the_figures_of_their_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", "ur5e"]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "trained for ur5e" in printed
    assert "from one random posture" in printed
    assert "ur5e.safetensors" in printed


def test_seeds_of_a_variant_are_measured_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = load_robot("panda").urdf_path.read_text(encoding="utf-8").replace('0.316 0"', '0.317 0"')
    path = write(tmp_path, text)
    assert main(["robots", str(path), "--tip", "panda_link8"]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "trained for panda, of which this arm is a variant" in printed
    assert f"vision-ik train {path} --tip panda_link8" in printed
    assert main(["robots", str(path), "--tip", "panda_link8", "--json"]) == EXIT_OK
    seeds = json.loads(capsys.readouterr().out)["seeds"]
    assert not seeds["exact"]
    assert 0.97 < seeds["first_shot_here"] <= 1.0


def test_an_arm_without_seeds_gets_the_command_that_trains_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, two_joints())
    assert main(["robots", str(path), "--base", "base", "--tip", "middle"]) == EXIT_OK
    assert f"vision-ik train {path} --base base --tip middle" in capsys.readouterr().out


def test_the_remedy_for_a_branching_urdf_fits_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    branching = robot(
        joint("j1", "base", "hand"), joint("f1", "hand", "left"), joint("f2", "hand", "right"),
        links=("base", "hand", "left", "right"),
    )  # fmt: skip
    assert main(["robots", str(write(tmp_path, branching))]) == EXIT_ERROR
    assert "--tip" in capsys.readouterr().err


def test_an_unknown_arm_is_one_sentence_and_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robots", "pander"]) == EXIT_ERROR
    streams = capsys.readouterr()
    assert "No arm is called 'pander'" in streams.err
    assert streams.out == ""


def test_the_bench_of_kinematics_agrees_with_pinocchio() -> None:
    pytest.importorskip("pinocchio")
    figures = {figure.name: figure for figure in kinematics.run(level=Level.QUICK)}
    assert figures["largest disagreement with pinocchio"].met
    assert all(figure.value > 0.0 for figure in figures.values())
