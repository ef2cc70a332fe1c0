"""`vision-ik calibrate tool`: touches of one point, from a file or one by one, become the tool of the rig."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from calibration_photos import LENS

from calibration.wizard import Answers, Command, Do, Step, Touch, Wizard
from vision_ik.cli import calibrate_by_hand
from vision_ik.cli.main import EXIT_ERROR, EXIT_FOUND, EXIT_OK, main
from vision_ik.ik import load_solver
from vision_ik.rig import Rig, load_rig, save_rig
from vision_ik.robots import load_robot
from vision_ik.transforms import Transform
from vision_ik.types import Floats, JointState

TIP = np.array([0.02, -0.01, 0.13])
POINT = np.array([0.45, 0.05, 0.2])
_TILTS = [(0, 0, 0), (0.5, 0, 0.3), (-0.5, 0, 0), (0, 0.5, -0.4), (0, -0.5, 0), (0.4, 0.4, 0.8), (-0.4, 0.3, -0.8)]


def _touches(noise: float = 2e-4) -> list[Transform]:
    """Return poses of the flange with the tip on the point, each off by a little."""
    rng = np.random.default_rng(3)
    down = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), np.zeros(3))
    poses: list[Transform] = []
    for tilt in _TILTS:
        R = (down @ Transform.exp([0, 0, 0, *tilt])).rotation
        poses.append(Transform.from_parts(R, POINT - R @ TIP + noise * rng.normal(size=3)))
    return poses


def _file(folder: Path, entries: list[dict[str, object]]) -> Path:
    file = folder / "touches.json"
    file.write_text(json.dumps({"touches": entries}))
    return file


def test_touches_in_a_file_become_the_tool_and_can_be_taken_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Transform.from_parts(np.diag([-1.0, -1.0, 1.0]), [0, 0, 0.1])
    camera = Transform.from_translation([1, 0, 1])
    save_rig(Rig(robot="panda", T_flange_tool=old, T_mount_camera=camera, intrinsics=LENS), tmp_path / "rig")
    before = (tmp_path / "rig" / "rig.toml").read_bytes()
    file = _file(tmp_path, [{"T_base_flange": T.matrix.tolist()} for T in _touches()])
    words = ["calibrate", "tool", "--rig", str(tmp_path / "rig")]
    assert main([*words, "--from", str(file), "--json"]) == EXIT_OK
    said = json.loads(capsys.readouterr().out)
    rig = load_rig(tmp_path / "rig")
    np.testing.assert_allclose(rig.T_flange_tool.translation, TIP, atol=3e-4)
    np.testing.assert_allclose(rig.T_flange_tool.rotation, old.rotation, atol=1e-12)
    assert rig.T_mount_camera is not None
    assert rig.T_mount_camera.distance_to(camera) == (0.0, 0.0)
    assert (said["used"], rig.provenance["tool"]["views"]) == (7, 7)
    assert 0.01 < said["sigma_mm"] < 0.5
    assert main([*words, "--undo"]) == EXIT_OK
    assert (tmp_path / "rig" / "rig.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no list of touches"),
        ('{"views": []}', "is no list of touches: 'touches'"),
        ('{"touches": [{"q": [1, 2]}]}', "touch 1: q has 2 joints, and panda has 7"),
        ('{"touches": [{}]}', "touch 1: it has neither T_base_flange nor q"),
        ('{"touches": [{"T_base_flange": [[1, 2], [3, 4]]}]}', "touch 1"),
        ('{"touches": []}', "touch"),
    ],
)
def test_touches_that_cannot_be_are_refused(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "touches.json"
    file.write_text(content)
    words = ["calibrate", "tool", "--rig", str(tmp_path / "rig"), "--robot", "panda", "--from"]
    assert main([*words, str(file)]) == EXIT_ERROR
    assert said in " ".join(capsys.readouterr().err.split())
    assert main([*words, str(tmp_path / "nowhere.json")]) == EXIT_ERROR
    assert "Could not read" in capsys.readouterr().err


def test_an_arm_is_asked_where_it_is_at_each_touch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    solver, robot = load_solver("panda"), load_robot("panda")
    joints: list[Floats] = []
    for T in _touches():
        solution = solver.solve(T @ solver.T_flange_tool, robot.home)
        assert solution.converged
        joints.append(solution.q)
    standing = iter(joints)

    def read() -> JointState:
        return JointState(names=tuple(robot.joint_names), q=next(standing), dq=np.zeros(robot.n), timestamp=0.0)

    class _Arm(SimpleNamespace):
        def __enter__(self) -> _Arm:
            return self

        def __exit__(self, *_: object) -> None: ...

    def open_fake(*_: object, **__: object) -> _Arm:
        return _Arm(read=read)

    monkeypatch.setattr(calibrate_by_hand, "open_arm", open_fake)
    lines = iter(["\n", "\n", "\n", "\n", "q\n", *["\n"] * 3])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(readline=lambda: next(lines)))
    words = ["calibrate", "tool", "--rig", str(tmp_path), "--robot", "panda", "--arm", "fake:panda", "--touches", "7"]
    assert main(words) == EXIT_FOUND
    assert main(words) == EXIT_OK
    said = " ".join(capsys.readouterr().err.split())
    assert "Going on: 4 touches were made before" in said
    assert "the tip is known to" in said
    np.testing.assert_allclose(load_rig(tmp_path).T_flange_tool.translation, TIP, atol=5e-4)
    assert len(json.loads((tmp_path / "calibration" / "touches" / "touches.json").read_text())["touches"]) == 7


def test_touches_are_kept_undone_and_made_old_by_another_arm(tmp_path: Path) -> None:
    with Wizard(tmp_path, goal="tool") as wizard:
        wizard.handle(Answers({"robot": "panda", "touches": 7}))
        for T in _touches():
            wizard.handle(Touch(T_base_flange=T))
        view = wizard.handle(Do(Command.UNDO))
        assert (view.step, view.done, view.wants) == (Step.TOUCHES, 6, "touch")
    with Wizard(tmp_path, goal="tool") as wizard:
        view = wizard.handle(Touch(T_base_flange=_touches()[-1]))
        assert (view.step, view.command) == (Step.TOOL, Command.FIT_TOOL)
        view = wizard.handle(Do(Command.FIT_TOOL))
        assert view.results["tool"]["sigma_mm"] < 0.5
        view = wizard.handle(Answers({"robot": "ur5e"}))
        assert {step.step for step in view.steps if step.status == "stale"} == {Step.TOUCHES, Step.TOOL}
