from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vision_ik.cli import checks, libraries
from vision_ik.cli.checks import Check
from vision_ik.cli.main import main


def parts_of(check: Check) -> tuple[str, str, str]:
    return check.status, check.detail, check.remedy


@pytest.fixture
def few_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at two small libraries only: importing them all takes seconds."""
    few = {"rich": ("rich", "import rich"), "PyYAML": ("pyyaml", "import yaml")}
    monkeypatch.setattr(libraries, "LIBRARIES", few)
    monkeypatch.setattr(checks, "check_weights", lambda: Check(name="weights", status="ok", detail="panda"))


@pytest.mark.usefixtures("few_libraries")
def test_a_machine_in_order_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in ("Python", "rich", "PyYAML", "cv2 wheels", "kernel cache", "weights", "threads", "disk", "display"):
        assert name in out


@pytest.mark.usefixtures("few_libraries")
def test_json_lists_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["status"] in ("ok", "warn")
    assert {"name", "status", "detail", "remedy"} == set(document["checks"][0])
    assert {check["status"] for check in document["checks"]} <= {"ok", "warn"}


@pytest.mark.usefixtures("few_libraries")
def test_one_failure_fails_the_diagnosis_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(libraries.LIBRARIES, "ghost", ("no-such-package", "import ghost"))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "not installed" in out
    assert "pip install no-such-package" in out
    assert "1 failed" in out


def test_every_library_checked_is_one_the_project_depends_on() -> None:
    from importlib.metadata import requires

    declared = {requirement.split(">=")[0].strip() for requirement in requires("vision-ik") or ()}
    assert {package for package, _ in libraries.LIBRARIES.values()} <= declared


def test_a_library_that_breaks_or_dies_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(libraries.LIBRARIES, "broken", ("rich", "raise ImportError('numpy.core is odd')"))
    monkeypatch.setitem(libraries.LIBRARIES, "killed", ("rich", "import os; os.kill(os.getpid(), 4)"))
    broken, killed = libraries.check_library("broken"), libraries.check_library("killed")
    assert broken.status == killed.status == "fail"
    assert "numpy.core is odd" in broken.detail
    assert "signal 4" in killed.detail
    assert broken.remedy
    assert killed.remedy


@pytest.mark.parametrize(
    ("library", "remedy"), [("libGL.so.1", "apt-get install libgl1"), ("libodd.so.3", "libodd.so.3")]
)
def test_a_missing_system_library_is_named_with_its_package(library: str, remedy: str) -> None:
    stderr = f"Traceback\nImportError: {library}: cannot open shared object file: No such file or directory\n"
    check = libraries.explain_import_failure("OpenCV", "4.14", 1, stderr)
    assert check.status == "fail"
    assert library in check.detail
    assert remedy in check.remedy


def test_a_silent_failure_is_still_a_sentence() -> None:
    assert "no message" in libraries.explain_import_failure("numba", "0.60", 1, "").detail


def install(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    def is_installed(name: str) -> bool:
        return name in packages

    monkeypatch.setattr(libraries, "_is_installed", is_installed)


def test_two_opencv_wheels_are_a_warning_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "opencv-python", "opencv-python-headless")
    check = libraries.check_opencv_wheels()
    assert check.status == "warn"
    assert "pip uninstall opencv-python opencv-python-headless" in check.remedy


def test_one_opencv_wheel_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "opencv-contrib-python")
    assert parts_of(libraries.check_opencv_wheels()) == ("ok", "opencv-contrib-python", "")


@pytest.mark.parametrize(("version", "status"), [((3, 11, 9), "ok"), ((3, 12, 0), "warn"), ((3, 13, 1), "warn")])
def test_a_python_without_pybullet_wheels_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], status: str
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert checks.check_python().status == status


def test_a_kernel_cache_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    assert checks.check_numba_cache().status == "ok"
    assert not (tmp_path / "new").exists()

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)
    check = checks.check_numba_cache()
    assert check.status == "warn"
    assert "NUMBA_CACHE_DIR" in check.remedy


@pytest.mark.parametrize(("free", "status"), [(5e9, "ok"), (5e8, "warn"), (5e7, "fail")])
def test_little_space_warns_and_none_fails(monkeypatch: pytest.MonkeyPatch, free: float, status: str) -> None:
    def usage(_: object) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert checks.check_disk().status == status


@pytest.mark.parametrize(("threads", "status"), [("", "ok"), ("1", "ok"), ("512", "warn"), ("many", "ok")])
def test_more_threads_than_cores_is_a_warning(monkeypatch: pytest.MonkeyPatch, threads: str, status: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert checks.check_threads().status == status


def test_no_display_is_fine_and_a_dead_one_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert checks.check_display().status == "ok"
    monkeypatch.setenv("DISPLAY", ":4711")
    assert checks.check_display().status == "warn"


def test_cameras_are_listed_by_name_and_forbidden_ones_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (0, 2, 10):
        (tmp_path / f"video{number}").write_text("")
        (tmp_path / "facts" / f"video{number}").mkdir(parents=True)
    (tmp_path / "facts" / "video2" / "name").write_text("Good Webcam\n")

    def may_open(path: Path, _: int) -> bool:
        return path.name != "video10"

    monkeypatch.setattr(os, "access", may_open)
    found = checks.check_cameras(tmp_path, tmp_path / "facts")
    assert [check.name for check in found] == ["camera 0", "camera 2", "camera 10"]
    assert [check.status for check in found] == ["ok", "ok", "warn"]
    assert found[1].detail == "Good Webcam"
    assert "video" in found[2].remedy


def test_no_camera_is_fine(tmp_path: Path) -> None:
    (check,) = checks.check_cameras(tmp_path)
    assert check.status == "ok"


def test_no_weights_are_a_warning_and_corrupt_ones_a_failure(tmp_path: Path) -> None:
    assert checks.check_weights(tmp_path).status == "warn"
    (tmp_path / "panda.toml").write_text("format = 1\nrobot_hash = 'of another arm'\n")
    (tmp_path / "ghost.safetensors").write_bytes(b"")
    check = checks.check_weights(tmp_path)
    assert check.status == "fail"
    assert "panda" in check.detail
    assert "ghost" in check.detail
    assert check.remedy


def test_the_worst_check_decides() -> None:
    ok, warn, fail = (Check(name="x", status=status, detail="") for status in ("ok", "warn", "fail"))
    assert checks.worst([ok, ok]) == "ok"
    assert checks.worst([ok, warn]) == "warn"
    assert checks.worst([warn, fail, ok]) == "fail"
