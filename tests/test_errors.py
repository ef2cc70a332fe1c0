"""The error tree: drawn as it is, each leaf documented, each error with cause, remedy and facts."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
from pathlib import Path

import pytest

import vision_ik.errors
from vision_ik.errors import VisionIkError

_LEAVES = sorted(
    (item for _, item in inspect.getmembers(vision_ik.errors, inspect.isclass)), key=lambda item: item.__name__
)


def _drawn_parents() -> dict[str, str]:
    """Read parent names from the tree in the module's docstring."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (vision_ik.errors.__doc__ or "").splitlines():
        if match := re.match(r"^    ((?:[│ ]   )*)(?:[├└]── )?(\w+Error)\b", line):
            depth = 0 if "──" not in line else len(match[1]) // 4 + 1
            path[depth:] = [match[2]]
            if depth:
                parents[match[2]] = path[depth - 1]
    return parents


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    real = {
        leaf.__name__: next(base.__name__ for base in leaf.__bases__ if issubclass(base, VisionIkError))
        for leaf in _LEAVES
        if leaf is not VisionIkError
    }
    assert _drawn_parents() == real


@pytest.mark.parametrize("leaf", _LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_error_says_when_it_is_raised(leaf: type[VisionIkError]) -> None:
    assert "__doc__" in vars(leaf)
    assert (leaf.__doc__ or "").strip().endswith((".", "``facts``."))


@pytest.mark.parametrize("leaf", _LEAVES, ids=lambda leaf: leaf.__name__)
def test_an_error_reads_as_cause_then_remedy_and_keeps_its_facts(leaf: type[VisionIkError]) -> None:
    error = leaf("Tag 7 has no size. ", "Add it to rig.toml. ", tag_id=7, known=(0, 1))
    assert str(error) == "Tag 7 has no size. Add it to rig.toml."
    assert error.cause.strip() == "Tag 7 has no size."
    assert error.remedy.strip() == "Add it to rig.toml."
    assert error.facts == {"tag_id": 7, "known": (0, 1)}


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(vision_ik.errors.RobotError("No chain.", "Name base and tip.", base="a")))
    assert isinstance(error, vision_ik.errors.RobotError)
    assert (error.cause, error.remedy, error.facts) == ("No chain.", "Name base and tip.", {"base": "a"})


def test_an_invalid_pose_is_also_a_value_error_and_a_missing_package_also_an_import_error() -> None:
    assert issubclass(vision_ik.errors.InvalidPoseError, ValueError)
    assert issubclass(vision_ik.errors.MissingDependencyError, ImportError)


_PACKAGES = [Path(vision_ik.__file__).parent.parent / name for name in ("vision_ik", "calibration", "sim")]
_MODULES = [path for package in _PACKAGES for path in sorted(package.rglob("*.py"))]
_NAMES = {leaf.__name__ for leaf in _LEAVES}


def _raised(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NAMES
    ]


def test_every_error_in_the_code_is_given_a_cause_and_a_remedy() -> None:
    lacking = [
        f"{path.name}:{call.lineno}"
        for path in _MODULES
        for call in _raised(path)
        if len(call.args) < 2 and not any(isinstance(argument, ast.Starred) for argument in call.args)
    ]
    assert lacking == []


def test_literal_causes_and_remedies_are_sentences() -> None:
    wrong: list[str] = []
    for path in _MODULES:
        for call in _raised(path):
            for argument in call.args[:2]:
                text = argument.value if isinstance(argument, ast.Constant) else None
                if isinstance(text, str) and not text.rstrip().endswith((".", "?")):
                    wrong.append(f"{path.name}:{call.lineno}: {text!r}")
    assert wrong == []


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_handler_catches_everything_or_does_nothing(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{path}:{node.lineno}: bare except"
            assert not all(isinstance(line, ast.Pass) for line in node.body), f"{path}:{node.lineno}: swallowed"
