"""Run the benches and print their figures beside what was asked of them."""

from __future__ import annotations

import importlib
import math
import pkgutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, cast

import tyro
from rich.text import Text

from vision_ik.cli import benches, console
from vision_ik.cli.benches import Cell, Figure, Level, Table
from vision_ik.cli.main import EXIT_ERROR, EXIT_FOUND, EXIT_OK
from vision_ik.errors import ConfigError, VisionIkError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the figures in the docs on this machine.

    The figures go to stdout, as a table or with --json as JSON; progress goes to stderr.
    A target that is missed fails the command only with --strict.

    Examples:
      vision-ik bench                          all of them
      vision-ik bench ik camera --quick        two, with fewer samples
      vision-ik bench ik --full                with all targets, for the docs
      vision-ik bench --json > figures.json
      vision-ik bench --list
    """

    names: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME ...]", help_behavior_hint="(default: all)")]
    ] = ()
    """Benches to run."""
    list: bool = False
    """Name the benches and what they measure, and stop."""
    quick: bool = False
    """Use fewer samples: rougher figures in seconds instead of minutes."""
    full: bool = False
    """Use the counts that the figures in the docs stand for: an hour or more."""
    json: bool = False
    """Print JSON instead of tables."""
    out: Path | None = None
    """Write the same JSON to this file; it is replaced only when all is measured."""
    strict: bool = False
    """Exit with 1 when a target is missed."""

    def __post_init__(self) -> None:
        if self.quick and self.full:
            raise ValueError("Choose --quick or --full, not both.")

    @property
    def level(self) -> Level:
        """How much is measured."""
        if self.quick:
            return Level.QUICK
        return Level.FULL if self.full else Level.NORMAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one bench gave."""

    name: str
    title: str
    duration: float
    """[s]"""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    error: str = ""
    """Why there are no figures; empty when there are."""


def run(options: Options) -> int:
    """Run the benches asked for; 0 when all ran, 1 for a missed target with --strict, 2 when one broke."""
    names = _chosen(options.names)
    if options.list:
        rows = [[name, cast("str", _load(name).TITLE)] for name in names]
        console.results().print(console.table(["bench", "measures"], rows))
        return EXIT_OK
    outcomes = _measure(names, options.level)
    document = _document(outcomes, options.level)
    if options.out is not None:
        from vision_ik.files import write_atomic

        write_atomic(options.out, console.to_json(document))
    if options.json:
        console.write_json(document)
    else:
        for outcome in outcomes:
            _print(outcome)
        console.results().print(Text(_machine_line(options.level), style="dim"), soft_wrap=True)
    broken = [outcome.name for outcome in outcomes if outcome.error]
    missed = any(figure.met is False for outcome in outcomes for figure in outcome.figures)
    if broken:
        console.error(f"No figures from: {', '.join(broken)}.", "Run one of them alone with --debug to see why.")
        return EXIT_ERROR
    return EXIT_FOUND if missed and options.strict else EXIT_OK


def available() -> list[str]:
    """Return the names of the benches, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(benches.__path__) if not module.name.startswith("_"))


def _chosen(names: Sequence[str]) -> list[str]:
    known = available()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"There is no bench called {', '.join(unknown)}.",
            f"There are: {', '.join(known) or 'none'}.",
            names=unknown,
        )
    return list(names) or known


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{benches.__name__}.{name}")


def _measure(names: Sequence[str], level: Level) -> list[Outcome]:
    """Run the benches in order; one that breaks alone ends the program, beside others it is only noted."""
    outcomes: list[Outcome] = []
    with console.Stages() as stages:
        for name in names:
            start, title = time.perf_counter(), name
            try:
                with stages.stage(name) as stage:
                    module = _load(name)
                    title = cast("str", module.TITLE)
                    found = _figures(module, level, stage)
            except Exception as error:  # the other benches' figures must not be lost
                if len(names) == 1:
                    raise
                reason = str(error) if isinstance(error, VisionIkError) else f"{type(error).__name__}: {error}"
                outcomes.append(
                    Outcome(name=name, title=title, duration=time.perf_counter() - start, error=reason or repr(error))
                )
            else:
                outcomes.append(
                    Outcome(
                        name=name,
                        title=title,
                        duration=time.perf_counter() - start,
                        figures=[item for item in found if isinstance(item, Figure)],
                        tables=[item for item in found if isinstance(item, Table)],
                    )
                )
    return outcomes


def _figures(module: ModuleType, level: Level, stage: console.Stage) -> Sequence[Figure | Table]:
    """Run one bench, while its stage shows what it is at."""
    title = cast("str", module.TITLE)
    bench = cast("Callable[..., Sequence[Figure | Table]]", module.run)
    stage.update(title)
    token = benches.listener.set(lambda what: stage.update(f"{title}: {what}"))
    try:
        return bench(level=level)
    finally:
        benches.listener.reset(token)
        stage.update(title)


def _document(outcomes: Sequence[Outcome], level: Level) -> dict[str, object]:
    from vision_ik.view.machine import environment

    return {"machine": environment(), "level": str(level), "benches": [asdict(outcome) for outcome in outcomes]}


def _print(outcome: Outcome) -> None:
    heading = f"{outcome.title} ({outcome.name}, {outcome.duration:.1f} s)"
    if outcome.error:
        console.results().print(
            Text.assemble((f"\n{heading}\n", "bold"), (f"  {outcome.error}", "red")), soft_wrap=True
        )
        return
    rows = [
        [figure.name, _number(figure.value), figure.unit, figure.target, _verdict(figure.met), Text(figure.note, "dim")]
        for figure in outcome.figures
    ]
    columns = ["what", "value", "unit", "target", "met", "note"]
    if rows or not outcome.tables:
        console.results().print(console.table(columns, rows, title=heading, right={"value"}))
    else:
        console.results().print(Text(f"\n{heading}", "bold"), soft_wrap=True)
    for table in outcome.tables:
        _print_table(table)


def _print_table(table: Table) -> None:
    numbers = {
        heading for k, heading in enumerate(table.columns) if any(isinstance(row[k], int | float) for row in table.rows)
    }
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    console.results().print(console.table(table.columns, rows, title=table.name, right=numbers))
    if table.note:
        console.results().print(Text(f"  {table.note}", style="dim"), soft_wrap=True)


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return "" if math.isnan(cell) else _number(cell)


def _number(value: float) -> str:
    """Return whole numbers as they are and others with four significant digits, more where nines count."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    if 99.0 < value < 100.0:
        return f"{value:.6g}"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"


def _verdict(met: bool | None) -> Text:
    if met is None:
        return Text("")
    return Text("yes", style="green") if met else Text("no", style="bold red")


def _machine_line(level: Level) -> str:
    from vision_ik.view.machine import environment

    facts = environment()
    libraries = ", ".join(f"{name} {facts[name]}" for name in ("numpy", "numba", "opencv-python", "torch"))
    line = f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, {libraries}, {facts['date']}"
    return line + level.pick(quick=", quick: rough figures", normal="", full=", full")
