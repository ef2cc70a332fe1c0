"""Compiled kernels do not outlive the sources they were made from."""

import os
from pathlib import Path

import pytest

from vision_ik.cli import console
from vision_ik.kernel_cache import drop_stale_kernels

SOURCES = {
    "vision_ik/__init__.py": "",
    "vision_ik/maths.py": "x = 1\n",
    "vision_ik/ik/__init__.py": "",
    "vision_ik/ik/kernels.py": "from vision_ik.maths import x\n",
    "vision_ik/ik/alone.py": "import numpy\n",
    "calibration/__init__.py": "from vision_ik.ik import (\n    kernels,\n)\n",
    "sim/layers.py": "from calibration import anything\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        compile_again(tmp_path, name)
    return tmp_path


def compile_again(checkout: Path, name: str) -> None:
    folder = checkout / Path(name).parent / "__pycache__"
    folder.mkdir(exist_ok=True)
    for kind in ("1.nbc", "nbi"):
        (folder / f"{Path(name).stem}.step-12.py311.{kind}").write_text("code")


def cached(checkout: Path) -> set[str]:
    return {
        f"{path.parent.parent.relative_to(checkout)}/{path.name.split('.')[0]}.py" for path in checkout.rglob("*.nb?")
    }


def test_kernels_of_unknown_age_are_removed_once(checkout: Path) -> None:
    assert drop_stale_kernels(checkout)
    assert cached(checkout) == set()
    compile_again(checkout, "sim/layers.py")
    assert drop_stale_kernels(checkout) == []
    assert cached(checkout) == {"sim/layers.py"}


@pytest.mark.parametrize("change", ["edit", "touch", "remove"])
def test_a_change_removes_the_kernels_of_all_that_import_from_there(checkout: Path, change: str) -> None:
    drop_stale_kernels(checkout)
    for name in SOURCES:
        compile_again(checkout, name)
    source = checkout / "vision_ik/maths.py"
    if change == "edit":
        source.write_text("x = 10\n")
    elif change == "touch":
        os.utime(source, (1, 1))
    else:
        source.unlink()
    stale = drop_stale_kernels(checkout)
    assert stale == ["calibration", "sim.layers", "vision_ik.ik.kernels", "vision_ik.maths"]
    assert cached(checkout) == {"vision_ik/__init__.py", "vision_ik/ik/__init__.py", "vision_ik/ik/alone.py"}


def test_a_module_that_appears_counts_as_changed(checkout: Path) -> None:
    drop_stale_kernels(checkout)
    (checkout / "sim/more.py").write_text("")
    assert drop_stale_kernels(checkout) == ["sim.more"]


def test_a_damaged_note_makes_everything_stale(checkout: Path) -> None:
    drop_stale_kernels(checkout)
    compile_again(checkout, "vision_ik/maths.py")
    (checkout / "vision_ik/__pycache__/kernels.json").write_text("[1, 2")
    assert "vision_ik.maths" in drop_stale_kernels(checkout)
    assert cached(checkout) == set()


def test_a_folder_that_cannot_be_written_to_is_left_alone(tmp_path: Path) -> None:
    for package in ("vision_ik", "calibration", "sim"):
        (tmp_path / package).mkdir()
    (tmp_path / "sim/a.py").write_text("")
    (tmp_path / "vision_ik/__pycache__").write_text("a file where the folder should be")
    assert drop_stale_kernels(tmp_path) == []


def test_compiling_is_announced_only_where_nothing_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    console.say_if_compiling()
    assert "Compiling kernels" in capsys.readouterr().err
    (tmp_path / "ik_0123").mkdir()
    (tmp_path / "ik_0123" / "single.step-12.py311.nbi").write_text("code")
    console.say_if_compiling()
    assert capsys.readouterr().err == ""
