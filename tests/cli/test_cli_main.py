from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import tyro

from vision_ik import __version__
from vision_ik.cli import main as program
from vision_ik.cli.main import VERBS, main
from vision_ik.errors import ConfigError

HEAVY = {"cv2", "matplotlib", "numba", "open3d", "pybullet", "scipy", "torch", "av", "jinja2", "reportlab"}


@dataclass(frozen=True, kw_only=True)
class FakeOptions:
    """Do what a test asks for.

    More words about it.

    Examples:
      vision-ik demo --number 3
    """

    number: int = 1
    """How often."""
    name: tyro.conf.Positional[str] = "nobody"
    """Whom to greet."""

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("number must not be negative")


@dataclass(frozen=True, kw_only=True)
class OtherOptions:
    """Do something else."""

    size_mm: float
    """[mm]"""


Fake = Callable[[Callable[[object], int]], None]


def put_verb(monkeypatch: pytest.MonkeyPatch, **members: object) -> None:
    """Let every verb be a module with these members."""
    module = ModuleType("fake")
    vars(module).update(members)

    def load(_: str) -> ModuleType:
        return module

    monkeypatch.setattr(program, "load_verb", load)


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Let the verb demo run what a test wants."""

    def use(run: Callable[[object], int]) -> None:
        put_verb(monkeypatch, Options=FakeOptions, run=run)

    return use


def raising(error: BaseException) -> Callable[[object], int]:
    def run(_: object) -> int:
        raise error

    return run


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


def exit_code(*words: str) -> object:
    """Return how the program ends, by return or by the parser's exit."""
    try:
        return main(words)
    except SystemExit as leaving:
        return leaving.code


def test_help_and_version_load_no_heavy_library() -> None:
    code = f"""
import sys
from vision_ik.cli.main import main
for words in (["--version"], ["--help"]):
    try:
        main(words)
    except SystemExit as leaving:
        assert leaving.code == 0, leaving.code
print("loaded:", sorted({HEAVY!r} & set(sys.modules)))
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"vision-ik {__version__}\n")
    assert done.stdout.endswith("loaded: []\n")
    assert all(name in done.stdout for name in VERBS)


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(name, "--help") == 0
    page = capsys.readouterr().out
    assert f"usage: vision-ik {name}" in page
    assert "Examples:" in page or "subcommands" in page


@pytest.mark.parametrize("name", list(VERBS))
def test_the_help_of_a_verb_loads_no_heavy_library(name: str) -> None:
    code = f"""
import sys
from vision_ik.cli.main import main
try:
    main([{name!r}, "--help"])
except SystemExit as leaving:
    assert leaving.code == 0
print("loaded:", sorted({HEAVY - {"scipy"}!r} & set(sys.modules)))
"""
    assert python(code).stdout.endswith("loaded: []\n")


@pytest.mark.parametrize("command", ["camera", "hand-eye"])
def test_both_kinds_of_calibration_explain_themselves(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("calibrate", command, "--help") == 0
    assert f"usage: vision-ik calibrate {command}" in capsys.readouterr().out


def test_without_words_the_program_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code() == 0
    page = capsys.readouterr().out
    assert "Exit codes:" in page
    assert "--debug" in page


def test_options_reach_the_verb_and_its_result_is_the_exit_code(verb: Fake) -> None:
    seen: list[object] = []

    def run(options: object) -> int:
        seen.append(options)
        return 1

    verb(run)
    assert main(["demo", "--number", "3", "you"]) == 1
    assert seen == [FakeOptions(number=3, name="you")]


def test_help_shows_examples_and_field_docstrings(verb: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    verb(lambda _: 0)
    assert exit_code("demo", "--help") == 0
    page = capsys.readouterr().out
    for text in ("More words about it.", "    vision-ik demo --number 3", "How often.", "(default: 1)"):
        assert text in page


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["--nonsense"], ["demo", "--nonsense"], ["demo", "--number", "x"], ["demo", "--number", "-1"]],
)
def test_a_mistake_on_the_command_line_is_explained_and_ends_with_64(
    verb: Fake, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda _: 0)
    assert exit_code(*words) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err


def test_an_error_is_a_sentence_and_a_remedy_without_traceback(verb: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    verb(raising(ConfigError("Tag 7 has no [bold] size.", "Add it to rig.toml.")))
    assert main(["demo"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: Tag 7 has no [bold] size.\n  help: Add it to rig.toml.\n"
    assert captured.out == ""


def test_a_long_error_stays_on_one_line(verb: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    cause = "A path " + "that/is/long/" * 40 + " is missing."
    verb(raising(ConfigError(cause, "Make it.")))
    assert main(["demo"]) == 2
    assert f"error: {cause}\n" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--debug", "demo"], ["demo", "--debug"], ["demo", "--debug", "you"]])
def test_debug_shows_the_traceback_too(verb: Fake, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    verb(raising(ConfigError("Wrong.", "Mend it.")))
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: Wrong.\n  help: Mend it.\n")


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (KeyboardInterrupt(), 130, "Interrupted"),
        (RuntimeError("odd"), 70, "bug in vision-ik: RuntimeError: odd"),
        (ImportError("libGL.so.1: cannot open"), 2, "vision-ik doctor"),
    ],
    ids=["interrupt", "bug", "library"],
)
def test_every_end_has_its_code_and_a_word(
    verb: Fake, error: BaseException, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(raising(error))
    assert main(["demo"]) == code
    err = capsys.readouterr().err
    assert word in err
    assert "Traceback" not in err


def test_a_verb_that_is_not_there_is_one_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(VERBS, "fly", "Not built.")
    assert main(["fly"]) == 2
    assert "no verb 'fly'" in capsys.readouterr().err


def test_termination_unwinds_the_verb_so_that_arms_are_stopped(verb: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    stopped: list[bool] = []

    def run(_: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            stopped.append(True)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    verb(run)
    assert main(["demo"]) == 143
    assert stopped == [True]
    assert signal.getsignal(signal.SIGTERM) is before
    assert "Terminated" in capsys.readouterr().err


def test_a_reader_that_has_left_ends_the_program_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "vision_ik.cli.main", "--version"],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_verb_may_have_commands_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []

    def run(options: object) -> int:
        seen.append(options)
        return 0

    put_verb(monkeypatch, COMMANDS={"camera": FakeOptions, "hand-eye": OtherOptions}, run=run)
    assert main(["calibrate", "hand-eye", "--size-mm", "50"]) == 0
    assert main(["calibrate", "camera"]) == 0
    assert seen == [OtherOptions(size_mm=50.0), FakeOptions()]
    assert exit_code("calibrate", "--help") == 0
    listing = capsys.readouterr().out
    assert "Do something else." in listing
    assert "More words about it." not in listing
    assert exit_code("calibrate", "camera", "--help") == 0
    assert "More words about it." in capsys.readouterr().out


def test_completion_knows_every_verb(verb: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verb(lambda _: 0)
    assert exit_code("--tyro-print-completion", "bash") == 0
    script = capsys.readouterr().out
    assert all(name in script for name in VERBS)
    assert "--number" in script
