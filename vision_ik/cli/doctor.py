"""Say whether this machine can run everything, and how to mend what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.text import Text

from vision_ik.cli import checks, console, libraries
from vision_ik.cli.checks import Check, Status
from vision_ik.cli.main import EXIT_FOUND, EXIT_OK

_STYLES: dict[Status, tuple[str, str]] = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red")}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check libraries, cameras, weights and disk, and say how to mend what is wrong.

    Nothing is changed. Exits with 1 when something has failed; warnings do not count.

    Examples:
      vision-ik doctor
      vision-ik doctor --json
    """

    json: bool = False
    """Print the checks as JSON."""


def run(options: Options) -> int:
    """Run all checks; 1 when any failed."""
    with console.Stages() as stages, stages.stage("Look at this machine"):
        found = _look()
    verdict = checks.worst(found)
    if options.json:
        console.write_json({"status": verdict, "checks": [asdict(check) for check in found]})
    else:
        _print(found)
    return EXIT_FOUND if verdict == "fail" else EXIT_OK


def _look() -> list[Check]:
    """Return every check, the most basic first."""
    return [
        checks.check_python(),
        *libraries.check_libraries(),
        checks.check_numba_cache(),
        checks.check_weights(),
        checks.check_threads(),
        checks.check_disk(),
        checks.check_display(),
        *checks.check_cameras(),
    ]


def _print(found: Sequence[Check]) -> None:
    rows: list[Sequence[str | Text]] = []
    for check in found:
        mark, style = _STYLES[check.status]
        remedy = Text(f"\n→ {check.remedy}", style="cyan") if check.remedy else Text("")
        rows.append([Text(mark, style=style), check.name, Text.assemble(check.detail, remedy)])
    console.results().print(console.table(["", "what", "found"], rows))
    failed = sum(check.status == "fail" for check in found)
    warned = sum(check.status == "warn" for check in found)
    summary = "All is well." if not failed + warned else f"{failed} failed, {warned} to look at."
    console.results().print(Text(summary, style="bold red" if failed else "bold"))
