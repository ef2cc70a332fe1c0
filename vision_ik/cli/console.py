"""What people see in the terminal: lines, tables and the progress of stages.

All of it goes to stderr, except what a verb was asked for: ``results()`` is stdout. Colours
and moving displays appear on terminals only; elsewhere each event is one plain line.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self, cast

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from vision_ik.errors import ConfigError
from vision_ik.kernel_cache import are_kernels_cached

_PIPE_WIDTH = 160
"""[columns] Where nothing wraps lines, tables may be this wide."""
_PLAIN_INTERVAL = 10.0
"""[s] Between two progress lines of one stage where the display cannot move."""

Outcome = Literal["running", "done", "failed"]
_MARKS: dict[Outcome, tuple[str, str]] = {"running": ("·", "cyan"), "done": ("✓", "green"), "failed": ("✗", "red")}


def people() -> Console:
    """Return the console for people: stderr."""
    return _console(stderr=True)


def results() -> Console:
    """Return the console for what was asked for: stdout."""
    return _console(stderr=False)


def say(text: str, *, style: str = "") -> None:
    """Print a line for people."""
    people().print(Text(text, style=style), soft_wrap=True)


def say_if_compiling() -> None:
    """Say why the first run takes its time, where the solver's kernels were never compiled."""
    if not are_kernels_cached():
        say("Compiling kernels: this takes a few minutes, in the first run only.")


def warn(text: str) -> None:
    """Print a warning for people."""
    people().print(Text.assemble(("warning: ", "bold yellow"), text), soft_wrap=True)


def error(cause: str, remedy: str = "") -> None:
    """Print what is wrong, and on the next line what to do about it."""
    people().print(Text.assemble(("error: ", "bold red"), cause), soft_wrap=True)
    if remedy:
        people().print(Text.assemble(("  help: ", "bold cyan"), remedy), soft_wrap=True)


def ask(text: str, *, default: str = "") -> str:
    """Return the line that a person types, or the default where it is empty.

    Raises:
        ConfigError: There is nobody to answer: the input has ended.
    """
    shown = f" [{default}]" if default else ""
    people().print(Text.assemble(text, (shown, "dim"), (" > ", "bold cyan")), end="", soft_wrap=True)
    try:
        line = sys.stdin.readline()
    except OSError:  # a terminal that belongs to somebody else
        line = ""
    if not line:
        people().print()
        raise ConfigError(
            "Nobody answers: the input has ended.",
            "Run it in a terminal, or say everything in options, such as --auto or --from.",
        )
    return line.strip() or default


def write_json(value: object) -> None:
    """Print ``value`` as JSON on stdout."""
    sys.stdout.write(to_json(value))


def to_json(value: object) -> str:
    """Return ``value`` as JSON that every parser reads: numbers that are not finite become null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, title: str = "", right: Collection[str] = ()
) -> Table:
    """Return a table ready to print.

    Args:
        columns: Headings.
        rows: Cells, as many in each row as there are columns; a Text brings its own style.
        title: Above the table.
        right: Headings of the columns that are flush right (numbers).
    """
    made = Table(
        title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, header_style="bold"
    )
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made


class Stage:
    """One step of a longer job; made by ``Stages.stage``."""

    def __init__(self, display: Progress | None, task: TaskID, name: str, total: float | None) -> None:
        self._display = display
        self._task = task
        self._name = name
        self._total = total
        self.failed = False
        """Set it to mark the stage as failed although nothing was raised."""
        self._note = ""
        self._started = self._printed = time.monotonic()

    def update(self, note: str | None = None, *, completed: float | None = None, total: float | None = None) -> None:
        """Show how far the stage is.

        Args:
            note: What is going on now, short; the last one stays when the stage is done.
            completed: Units done.
            total: Units to do, when it became known or changed.
        """
        self._note = self._note if note is None else note
        self._total = self._total if total is None else total
        if self._display is not None:
            self._display.update(self._task, completed=completed, total=total, note=self._note)
        elif time.monotonic() - self._printed >= _PLAIN_INTERVAL:
            self._printed = time.monotonic()
            share = "" if completed is None or not self._total else f" {completed / self._total:.0%}"
            say(f"  {self._name}{share}: {self._note}")

    def finish(self, outcome: Outcome) -> None:
        """Freeze the stage's line with its outcome and duration."""
        if self._display is not None:
            total = self._display.tasks[self._task].total or 1.0
            completed = total if outcome == "done" else None
            self._display.update(self._task, completed=completed, total=total, outcome=outcome)
            self._display.stop_task(self._task)
            return
        mark, _ = _MARKS[outcome]
        seconds = time.monotonic() - self._started
        say(f"{mark} {self._name}" + (f": {self._note}" if self._note else "") + f" ({seconds:.1f} s)")


class Stages:
    """The stages of a longer job, each on a line with a spinner, a note and its time.

    Use as a context manager::

        with Stages() as stages:
            with stages.stage("Calibrate", total=15) as stage:
                stage.update("view 3 of 15", completed=3)
    """

    def __init__(self) -> None:
        console = people()
        self._display: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._display = Progress(
                _MarkColumn(),
                TextColumn("{task.description}", markup=False),
                _StageBar(bar_width=18, complete_style="cyan", finished_style="green", pulse_style="cyan"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", style="dim", markup=False),
                console=console,
                refresh_per_second=8,
            )

    def __enter__(self) -> Self:
        if self._display is not None:
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.stop()

    @contextmanager
    def stage(self, name: str, *, total: float | None = None) -> Generator[Stage]:
        """Run one stage; leaving it by an exception marks it as failed.

        Args:
            name: A few words.
            total: Units to do; None shows a pulse.
        """
        task = TaskID(0)
        if self._display is not None:
            task = self._display.add_task(name, total=total, note="", outcome="running")
        else:
            say(f"{_MARKS['running'][0]} {name}")
        stage = Stage(self._display, task, name, total)
        outcome: Outcome = "failed"
        try:
            yield stage
            outcome = "failed" if stage.failed else "done"
        finally:
            stage.finish(outcome)

    def say(self, text: str, *, style: str = "") -> None:
        """Print a line above the moving display."""
        if self._display is not None:
            self._display.console.print(Text(text, style=style), soft_wrap=True)
        else:
            say(text, style=style)


class _MarkColumn(ProgressColumn):
    """A spinner that ends as a tick or a cross."""

    max_refresh = None

    def __init__(self) -> None:
        super().__init__()
        self._spinner = Spinner("dots", style="cyan")

    def render(self, task: Task) -> Text:
        outcome = cast("Outcome", task.fields["outcome"])
        if outcome == "running":
            return cast("Text", self._spinner.render(task.get_time()))
        mark, style = _MARKS[outcome]
        return Text(mark, style=style)


class _StageBar(BarColumn):
    """A bar that stands still once its stage has ended."""

    def render(self, task: Task) -> Any:
        if task.fields["outcome"] == "running":
            return super().render(task)
        return Text(" " * (self.bar_width or 0))


class _Console(Console):
    """A console that leaves a closed pipe to `main`, which knows its exit code."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    console = _Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = _Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=_PIPE_WIDTH)
    return console


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("Sequence[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
