"""The files of poses: repeatable, resumable, checked."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vision_ik.robots import load_robot

_SCRIPT = Path(__file__).parents[2] / "datasets" / "ik_poses" / "prepare.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_ik_poses", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(script: ModuleType, out: Path, count: int, kind: str = "uniform") -> Path:
    return script.prepare(load_robot("ur5e"), kind=kind, count=count, seed=3, out=out, shard=40)


def test_shards_hold_the_poses_of_their_joints_and_repeat(script: ModuleType, tmp_path: Path) -> None:
    a, b = _write(script, tmp_path / "a", 100), _write(script, tmp_path / "b", 100)
    assert [path.name for path in sorted(a.parent.glob("*.npz"))] == ["00000.npz", "00001.npz", "00002.npz"]
    assert a.read_bytes() == b.read_bytes()
    robot = load_robot("ur5e")
    with np.load(a.parent / "00002.npz") as shard:
        assert shard["q"].shape == (20, 6)
        np.testing.assert_array_equal(shard["T_base_tip"], robot.forward(shard["q"]))
    assert json.loads(a.read_text(encoding="utf-8"))["robot_hash"] == robot.hash


def test_a_longer_run_keeps_the_whole_shards_and_mends_the_broken_one(script: ModuleType, tmp_path: Path) -> None:
    manifest = _write(script, tmp_path, 80)
    kept, broken = (manifest.parent / name for name in ("00000.npz", "00001.npz"))
    before, whole = kept.stat().st_mtime_ns, broken.read_bytes()
    broken.write_bytes(whole[:-1])
    assert script.verify(manifest) == ["00001.npz has changed"]
    assert _write(script, tmp_path, 120) == manifest
    assert kept.stat().st_mtime_ns == before
    assert broken.read_bytes() == whole
    assert script.verify(manifest) == []
    (manifest.parent / "00002.npz").unlink()
    assert script.verify(manifest) == ["00002.npz is missing"]


def test_verifying_from_the_command_line_tells_by_its_exit_status(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prepare.py", "ur5e", "--kind", "limits", "--count", "50", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*words, "--verify"])
    assert script.main() == 1
    monkeypatch.setattr(sys, "argv", words)
    assert script.main() == 0
    monkeypatch.setattr(sys, "argv", [*words, "--verify"])
    assert script.main() == 0
    assert "holds" in capsys.readouterr().out
