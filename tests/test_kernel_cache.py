"""Compiled kernels do not outlive the sources they were made from."""

import os
from pathlib import Path

import pytest

from vision_ik.kernel_cache import drop_stale_kernels


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for package in ("vision_ik/ik", "calibration", "sim"):
        folder = tmp_path / package
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "kernels.py").write_text("x = 1\n")
        (folder / "__pycache__" / "kernels.nbi").write_text("old")
    return tmp_path


def cached(checkout: Path) -> list[Path]:
    return list(checkout.rglob("*.nb?"))


def test_kernels_of_unknown_age_are_removed_once(checkout: Path) -> None:
    assert drop_stale_kernels(checkout)
    assert cached(checkout) == []
    (checkout / "sim/__pycache__/kernels.nbc").write_text("new")
    assert not drop_stale_kernels(checkout)
    assert len(cached(checkout)) == 1


@pytest.mark.parametrize("change", ["edit", "add", "remove", "touch"])
def test_any_change_of_a_source_removes_the_kernels_of_all_packages(checkout: Path, change: str) -> None:
    drop_stale_kernels(checkout)
    (checkout / "sim/__pycache__/kernels.nbc").write_text("new")
    source = checkout / "vision_ik/ik/kernels.py"
    if change == "edit":
        source.write_text("x = 10\n")
    elif change == "add":
        (checkout / "calibration/more.py").write_text("")
    elif change == "remove":
        source.unlink()
    else:
        os.utime(source, (1, 1))
    assert drop_stale_kernels(checkout)
    assert cached(checkout) == []


def test_a_folder_that_cannot_be_written_to_is_left_alone(checkout: Path) -> None:
    (checkout / "vision_ik/__pycache__").write_text("a file where the folder should be")
    assert not drop_stale_kernels(checkout)
