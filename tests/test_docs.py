"""The documentation is true: its Python runs, its commands run, its files load, its links lead somewhere."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from vision_ik.cli import bench
from vision_ik.cli.main import VERBS, load_verb, main
from vision_ik.rig import load_rig

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW_VERBS = {"bench", "demo", "train"}
"""Minutes each: run with -m slow; otherwise their arguments are checked."""
_SHELLS = {"bash", "console", "sh", "shell"}


@dataclass(frozen=True, kw_only=True)
class _Block:
    language: str
    marks: frozenset[str]
    """What stands after the language: ``no-run`` for what needs hardware."""
    line: int
    """Of its first line of text, from 1."""
    text: str


def _blocks(page: Path) -> Iterator[_Block]:
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\S*)([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(3)) + 1
        yield _Block(language=match[1], marks=frozenset(match[2].split()), line=line, text=match[3])


def _commands(page: Path, *, runnable: bool = False) -> list[str]:
    """Return the command lines of a page, prompts and continuations removed; ``runnable``: without ``no-run``."""
    commands: list[str] = []
    for block in _blocks(page):
        if block.language not in _SHELLS or (runnable and "no-run" in block.marks):
            continue
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        commands += [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return commands


def _words(command: str) -> list[str]:
    """Return the words of the first program of a line; those of ``vision-ik`` without its folder."""
    words: list[str] = []
    for word in shlex.split(command, comments=True):
        if word in {"|", ">", "2>", "&&", ";"}:
            break
        words.append(word)
    return [Path(words[0]).name, *words[1:]] if words else []


def _each(program: str) -> list[object]:
    return [
        pytest.param(words, id=f"{page.name}: {' '.join(words)}")
        for page in PAGES
        for words in map(_words, _commands(page))
        if words and words[0] == program
    ]


def _examples() -> Iterator[list[str]]:
    """Return the words of each example of the help texts; what follows two spaces explains it."""
    for verb in VERBS:
        module = load_verb(verb)
        commands = cast("Mapping[str, type]", module.COMMANDS) if hasattr(module, "COMMANDS") else {"": module.Options}
        for options in commands.values():
            lines = re.findall(r"^ +(vision-ik .*)", inspect.getdoc(options) or "", re.MULTILINE)
            yield from (_words(re.split(r" {2,}", line)[0]) for line in lines)


def _do_nothing(options: object) -> int:
    return 0


def _page_name(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=_page_name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    # Each block stands on its own line numbers, so that a traceback points into the page.
    script: list[str] = []
    for block in _blocks(page):
        if block.language == "python" and "no-run" not in block.marks:
            script += [""] * (block.line - 1 - len(script)) + block.text.splitlines()
    path = tmp_path / f"{page.stem}.py"
    path.write_text("\n".join(script), encoding="utf-8")
    run = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("page", PAGES, ids=_page_name)
def test_python_that_needs_hardware_at_least_names_what_exists(page: Path) -> None:
    for block in _blocks(page):
        if block.language == "python" and "no-run" in block.marks:
            compile(block.text, f"{page.name}:{block.line}", "exec")
            names = sorted(set(re.findall(r"\bvik\.(\w+)", block.text)))
            code = "import vision_ik as vik\n" + "\n".join(f"vik.{name}" for name in names)
            subprocess.run([sys.executable, "-c", code], check=True)


_EXAMPLES = [pytest.param(words, id=f"help: {' '.join(words)}") for words in _examples()]


def test_the_help_of_every_verb_shows_examples() -> None:
    assert {words[1] for words in _examples()} == set(VERBS)


@pytest.mark.parametrize("words", [*_each("vision-ik"), *_EXAMPLES])
def test_the_arguments_of_every_command_are_understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def take(options: object) -> int:
        given.append(options)
        return 0

    for verb in VERBS:
        if verb in words:
            monkeypatch.setattr(load_verb(verb), "run", take)
    try:
        code = main(words[1:])
    except SystemExit as leaving:  # --help
        code = leaving.code
    assert code == 0
    for options in given:
        if isinstance(options, bench.Options):  # its names are checked when it runs
            assert set(options.names) <= set(bench.available())


def _run_commands(commands: list[str], folder: Path) -> None:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    for command in commands:
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{command}\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}"


def _runnable(page: Path) -> list[str]:
    return [line for line in _commands(page, runnable=True) if _words(line)[:1] == ["vision-ik"]]


@pytest.mark.parametrize("page", PAGES, ids=_page_name)
def test_the_commands_of_a_page_run_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    _run_commands([line for line in _runnable(page) if not SLOW_VERBS & set(_words(line))], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=_page_name)
def test_all_commands_of_a_page_run_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    _run_commands(_runnable(page), tmp_path)


@pytest.mark.parametrize("words", _each("make"))
def test_every_make_line_names_a_target_and_passes_arguments_that_are_understood(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    asked = [word for word in words[1:] if "=" not in word]
    assert asked
    assert set(asked) <= targets
    options = [word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")]
    for verb in {"demo", "bench"} & set(asked):
        monkeypatch.setattr(load_verb(verb), "run", _do_nothing)
        assert main([verb, *shlex.split(" ".join(options))]) == 0


def test_the_makefile_has_the_targets_people_expect() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"setup", "demo", "test", "bench", "docs"} <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


def test_only_blocks_about_a_device_are_exempt_from_running() -> None:
    device = re.compile(r"--camera \d|\b(run|record|calibrate \S+|tags learn) \d|open_camera\(\d|https?://|rtsp://")
    for page in PAGES:
        for block in _blocks(page):
            if "no-run" in block.marks:
                assert device.search(block.text), f"{page.name}:{block.line} needs no hardware, so it must run"


def test_the_rig_and_lens_files_of_the_conventions_load(tmp_path: Path) -> None:
    for block in _blocks(ROOT / "docs" / "conventions.md"):
        if match := re.match(r"# (rig\.toml|camera\.yaml)\n", block.text):
            (tmp_path / match[1]).write_text(block.text, encoding="utf-8")
    rig = load_rig(tmp_path)
    assert rig.robot == "panda"
    assert rig.T_mount_camera is not None
    assert rig.T_mount_camera.apply([0.0, 0.0, 0.8])[2] == pytest.approx(0.0)  # looks straight down at the table
    assert (rig.tag_size(7), rig.tag_size(0)) == (0.06, 0.04)
    assert "desk" in rig.boards
    assert rig.intrinsics is not None
    assert not rig.intrinsics.approximate


@pytest.mark.parametrize("page", PAGES, ids=_page_name)
def test_every_link_to_a_file_of_the_project_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for target in targets:
        file, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        linked = (page.parent / file) if file else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name} links to {target}"
