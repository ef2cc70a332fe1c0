"""The files of poses: repeatable, resumable, checked."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
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


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["prepare.py", *words])
    try:
        return script.main()
    except SystemExit as ended:  # argparse
        return ended.code if isinstance(ended.code, int) else 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nobody"], "one of: panda"),
        (["nobody", "--verify"], "one of: panda"),
        (["ur5e", "--seed", "-1"], "--seed: '-1' is no whole number of at least 0"),
        (["ur5e", "--count", "0"], "--count: '0' is no whole number of at least 1"),
        (["ur5e", "--count", "-5"], "--count: '-5' is no"),
        (["ur5e", "--count", "many"], "--count: 'many' is no"),
    ],
    ids=lambda value: "",
)
def test_what_cannot_be_done_is_told_and_nothing_is_written(
    words: list[str],
    told: str,
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(script, monkeypatch, *words, "--out", str(tmp_path / "data")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert not (tmp_path / "data").exists()


def test_a_count_or_seed_that_makes_no_sense_is_refused_in_python_too(script: ModuleType, tmp_path: Path) -> None:
    for count, seed in ((0, 0), (-1, 0), (10, -1)):
        with pytest.raises(ValueError, match="at least"):
            script.prepare(load_robot("ur5e"), kind="uniform", count=count, seed=seed, out=tmp_path)
    assert not list(tmp_path.iterdir())


_BREAKS: dict[str, tuple[Callable[[str], str], str]] = {
    "truncated": (lambda text: text[:-20], "is not JSON"),
    "a list": (lambda text: "[]", "has no robot"),
    "empty": (lambda text: "{}", "has no robot"),
    "another key": (lambda text: text.replace('"shards"', '"shreds"'), "has no shards"),
    "another sum": (lambda text: text.replace('"sha256"', '"md5"'), "has no sha256 for shard 0"),
    "a number in quotes": (lambda text: text.replace('"count": 50', '"count": "50"'), "has no count"),
    "no UTF-8": (lambda text: text + "\udcff", "is not JSON"),
}


@pytest.mark.parametrize("broken", _BREAKS)
def test_a_manifest_that_is_none_is_told_with_a_remedy_and_left_alone(
    broken: str,
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("ur5e", "--count", "50", "--out", str(tmp_path))
    assert run(script, monkeypatch, *words) == 0
    manifest = Path(capsys.readouterr().out.strip())
    change, told = _BREAKS[broken]
    text = change(manifest.read_text(encoding="utf-8"))
    manifest.write_bytes(text.encode("utf-8", "surrogateescape"))
    for extra, status in (((), 2), (("--verify",), 1)):
        assert run(script, monkeypatch, *words, *extra) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert told in err
        assert "Delete it" in err
    assert manifest.read_bytes() == text.encode("utf-8", "surrogateescape")
