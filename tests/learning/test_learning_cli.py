"""`vision-ik train` on a URDF of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vision_ik.cli.main import main
from vision_ik.ik import load_solver
from vision_ik.robots import load_robot

_JOINT = (
    '<joint name="j{k}" type="revolute"><parent link="l{k}"/><child link="l{c}"/><origin xyz="0.2 0 0.1" rpy="{rpy}"/>'
    '<axis xyz="0 0 1"/><limit lower="-2" upper="2" velocity="2" effort="10"/></joint>'
)


@pytest.fixture
def urdf(tmp_path: Path) -> Path:
    links = "".join(f'<link name="l{k}"/>' for k in range(5))
    joints = "".join(_JOINT.format(k=k, c=k + 1, rpy="1.57 0 0" if k else "0 0 0") for k in range(4))
    path = tmp_path / "mine.urdf"
    path.write_text(f'<robot name="mine">{links}{joints}</robot>', encoding="utf-8")
    return path


def test_train_writes_weights_for_the_chain_asked_for(
    urdf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(urdf), "--base", "l0", "--tip", "l3", "--out", str(tmp_path / "out"), "--budget", "0.5"]
    assert main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    robot = load_robot(urdf, base="l0", tip="l3")
    solver = load_solver(robot, facts["weights"])
    assert solver.learned
    assert solver.solve(robot.forward(robot.home + 0.1)).converged
    card = Path(facts["card"]).read_text(encoding="utf-8")
    assert 'command = "vision-ik train mine.urdf --budget 0.5 --base l0 --tip l3"' in card
    assert str(tmp_path) not in card
    assert Path(facts["picture"]).is_file()
    assert 0.0 < facts["first_shot"] <= 1.0


def test_train_explains_an_arm_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "no_such_arm"]) == 2
    assert "no_such_arm" in capsys.readouterr().err
