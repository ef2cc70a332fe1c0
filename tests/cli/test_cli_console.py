from __future__ import annotations

import io
import json
import sys

import pytest
from rich.console import Console
from rich.text import Text

from vision_ik.cli import console
from vision_ik.cli.console import Stages


def test_what_is_for_people_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("hello [red] there")
    console.warn("careful")
    console.error("Broken.", "Mend it.")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hello [red] there\nwarning: careful\nerror: Broken.\n  help: Mend it.\n"


def test_without_a_terminal_there_are_no_escape_codes_and_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages() as stages:
        with stages.stage("Calibrate", total=3) as stage:
            for i in range(3):
                stage.update(f"view {i + 1} of 3", completed=i + 1)
        stages.say("a remark")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "· Calibrate"
    assert lines[1].startswith("✓ Calibrate: view 3 of 3 (")
    assert lines[2] == "a remark"


def test_a_stage_that_raises_is_marked_and_the_error_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with Stages() as stages, stages.stage("Follow"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "✗ Follow" in capsys.readouterr().err


def test_a_long_stage_reports_its_progress_as_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with Stages() as stages, stages.stage("Train", total=100) as stage:
        for second in range(1, 26):
            now[0] = float(second)
            stage.update(f"epoch {second}", completed=second)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:3] == ["  Train 10%: epoch 10", "  Train 20%: epoch 20"]
    assert lines[3] == "✓ Train: epoch 25 (25.0 s)"


def test_on_a_terminal_finished_stages_stay_with_their_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None, _environ={"TERM": "xterm"})
    monkeypatch.setattr(console, "people", lambda: terminal)

    def work() -> None:
        with Stages() as stages:
            with stages.stage("Calibrate [sic]", total=2) as stage:
                stage.update("two views", completed=2)
            stages.say("a remark")
            with stages.stage("Follow") as stage:
                stage.update("tag [7]")
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    last = screen.getvalue().split("\x1b[2K")[-1]
    assert "✓ Calibrate [sic]" in last
    assert "two views" in last
    assert "✗ Follow" in last
    assert "tag [7]" in last
    assert "a remark" in screen.getvalue()


def test_json_is_read_by_every_parser_and_keeps_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    console.write_json({"a": [1.5, float("nan"), float("-inf")], "µ": ("x", None, True), 7: {"b": sys.maxsize}})

    def no_constant(name: str) -> None:
        raise AssertionError(name)

    out = capsys.readouterr().out
    read = json.loads(out, parse_constant=no_constant)
    assert read == {"a": [1.5, None, None], "µ": ["x", None, True], "7": {"b": sys.maxsize}}
    assert "µ" in out


def test_a_table_puts_numbers_flush_right_and_keeps_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["time [s]", "1.5"], ["long", Text("1000.25", style="red")]]
    console.results().print(console.table(["what", "value"], rows, title="Figures", right={"value"}))
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    first = next(line for line in lines if "time [s]" in line)
    second = next(line for line in lines if "long" in line)
    assert first.rstrip().endswith("1.5")
    assert len(first.rstrip()) == len(second.rstrip())
    assert "\x1b" not in captured.out
    assert captured.err == ""


def test_a_wide_table_is_not_cut_where_nothing_wraps(capsys: pytest.CaptureFixture[str]) -> None:
    console.results().print(console.table(["note"], [["word " * 28]]))
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) > 120
