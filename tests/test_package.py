"""What is installed: three packages and their data, a light front door, papers that agree with each other."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vision_ik

ROOT = Path(__file__).parent.parent
PACKAGES = ("calibration", "sim", "vision_ik")
HEAVY = ("cv2", "matplotlib", "numba", "open3d", "pybullet", "torch", "viser")
_PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_MADE = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", "*.egg-info")


def _run(code: str, folder: Path | None = None) -> str:
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel from a copy of the tree, data sets and tests included, and return what it holds."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for name in (*PACKAGES, "tests", "datasets", "docs"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, tree / name, ignore=_MADE)
    (tree / "datasets" / "one").mkdir(parents=True, exist_ok=True)
    (tree / "datasets" / "one" / "prepare.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(tree)]
    build = subprocess.run(command, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stdout[-2000:] + build.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_three_packages_and_nothing_else_at_the_top(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel} == {*PACKAGES, f"vision_ik-{vision_ik.__version__}.dist-info"}


def test_the_wheel_holds_every_file_of_the_packages_data_included(wheel: set[str]) -> None:
    in_tree = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".nbi", ".nbc"}
    }
    assert {name for name in wheel if name.split("/")[0] in PACKAGES} == in_tree


@pytest.mark.parametrize(
    "name",
    [
        "calibration/py.typed",
        "sim/py.typed",
        "vision_ik/py.typed",
        "sim/scenes/tabletop.toml",
        "sim/scenes/eye_in_hand.toml",
        "sim/scenes/calibration_board.toml",
        "vision_ik/ik/weights/panda.safetensors",
        "vision_ik/ik/weights/panda.toml",
        "vision_ik/ik/weights/ur5e.safetensors",
        "vision_ik/ik/weights/ur5e.toml",
        "vision_ik/robots/urdf/catalogue.toml",
        "vision_ik/robots/urdf/panda.urdf",
        "vision_ik/robots/urdf/so101.urdf",
        f"vision_ik-{vision_ik.__version__}.dist-info/licenses/LICENSE",
    ],
)
def test_the_wheel_holds_what_the_demo_needs(wheel: set[str], name: str) -> None:
    assert name in wheel


def test_importing_the_front_door_loads_nothing_heavy() -> None:
    loaded = _run(f"import sys, vision_ik; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]"


def test_values_and_conventions_load_nothing_heavy() -> None:
    names = "Transform, CameraIntrinsics, Frame, Rig, load_rig, VisionIkError"
    loaded = _run(f"import sys; from vision_ik import {names}; print([n for n in {HEAVY} if n in sys.modules])")
    assert loaded == "[]"


def test_everything_public_loads_where_torch_pybullet_and_open3d_are_not_installed() -> None:
    _run(
        "import sys\n"
        "for name in ('torch', 'pybullet', 'open3d', 'viser'): sys.modules[name] = None\n"
        "import vision_ik\n"
        "for name in vision_ik.__all__: getattr(vision_ik, name)"
    )


def test_the_export_list_is_sorted_and_every_name_resolves() -> None:
    assert list(vision_ik.__all__) == sorted(vision_ik.__all__)
    assert set(vision_ik.__all__) <= set(dir(vision_ik))
    for name in vision_ik.__all__:
        item = getattr(vision_ik, name)
        assert item.__name__ == name
        assert item.__doc__, f"{name} has no docstring"


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    tree = ast.parse(Path(vision_ik.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.asname
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(vision_ik.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'open_cammera'"):
        vision_ik.open_cammera  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue, reportUnusedExpression]


@pytest.mark.parametrize("group", ["vision_ik.cameras", "vision_ik.arms"])
def test_the_simulation_is_registered_as_camera_and_arm(group: str) -> None:
    declared = _PYPROJECT["project"]["entry-points"][group]
    assert "sim" in declared
    # From the root, like demo.py: a stale .egg-info there would hide what is installed.
    code = f"from importlib.metadata import entry_points as e; print({{p.name: p.value for p in e(group={group!r})}})"
    installed = ast.literal_eval(_run(code, ROOT))
    assert declared.items() <= installed.items(), "run make setup: the installed entry points are old"
    for point in entry_points(group=group):
        assert callable(point.load())


def test_the_command_line_is_registered() -> None:
    module, _, function = _PYPROJECT["project"]["scripts"]["vision-ik"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_every_room_has_its_place_in_the_layers() -> None:
    contract = _PYPROJECT["tool"]["importlinter"]["contracts"][0]
    placed = {name.strip(" ()") for layer in contract["layers"] for name in re.split(r"[|:]", layer)}
    to_come = {layer.strip("()") for layer in contract["layers"] if layer.startswith("(")}
    rooms = {
        f"vision_ik.{path.stem}"
        for path in (ROOT / "vision_ik").iterdir()
        if (path.suffix == ".py" and path.name != "__init__.py") or (path / "__init__.py").exists()
    }
    assert placed - rooms == {"calibration", "sim"} | (to_come - rooms)
    assert rooms <= placed


def test_the_papers_agree_on_the_version() -> None:
    version = _PYPROJECT["project"]["version"]
    assert vision_ik.__version__ == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    wanted = [*_PYPROJECT["project"]["dependencies"], *_PYPROJECT["dependency-groups"]["dev"]]
    for requirement in map(Requirement, wanted):
        version = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"
    # A local part (+cpu) would be found only where the wheel of that build lies.
    assert not [version for version in pins.values() if "+" in version]


def test_the_hooks_before_a_commit_download_nothing() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {source["repo"] for source in hooks["repos"]} == {"local"}


def test_the_data_folder_is_no_package() -> None:
    # Installed, it would overwrite another project's package of that name.
    assert not (ROOT / "datasets" / "__init__.py").exists()


_TEXT = {".py", ".md", ".toml", ".txt", ".sh", ".yaml", ".yml", ".cff", ".urdf", ".j2", ".json", ""}
_SKIPPED = {".git", ".venv", ".hypothesis", "__pycache__", "out", "build", "dist", "data"}
_FILES = [
    path
    for path in sorted(ROOT.rglob("*"))
    if path.is_file()
    and path.suffix in _TEXT
    and not any(part in _SKIPPED or part.endswith(("_cache", ".egg-info")) for part in path.relative_to(ROOT).parts)
]


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    absolute = re.compile(r"(?<![\w.~:/])/(?:home|root|Users|work|opt|mnt|tmp|private)/\w")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _FILES
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="ignore").splitlines(), 1)
        if absolute.search(line)
    ]
    assert found == []


def test_no_python_file_holds_more_than_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in _FILES
        if path.suffix == ".py"
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}
