"""Parse the command line, run one verb, and turn what happens into an exit code."""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Annotated, NoReturn, Union, cast

import tyro

from vision_ik import __version__
from vision_ik.cli import console
from vision_ik.errors import MissingDependencyError, VisionIkError

VERBS: dict[str, str] = {
    "demo": "Run the whole story: calibrate a simulated camera, then follow a moving tag.",
    "run": "Drive an arm toward the tags seen in a webcam, video, picture, stream or simulation.",
    "calibrate": "Find out where the camera is (hand-eye), its lens (camera), the tool, the arm; export and import.",
    "train": "Train the learned IK seeds of one arm.",
    "tags": "Print tags and boards, check them on pictures, or learn a bundle of tags from a film.",
    "bench": "Measure the figures in the docs on this machine.",
    "robots": "List the arms that ship with this package, or describe one.",
    "cameras": "List the cameras of this machine and their modes, or describe one.",
    "doctor": "Check libraries, cameras and files, and say how to mend what is wrong.",
}
"""Each verb is the module ``vision_ik.cli.NAME``."""

EXIT_OK = 0
EXIT_FOUND = 1
"""The verb ran and what it checked is not in order (doctor, bench --strict)."""
EXIT_ERROR = 2
"""A VisionIkError: the cause and the remedy are on stderr."""
EXIT_USAGE = 64
"""The command line makes no sense (sysexits.h)."""
EXIT_BUG = 70
"""Something nobody foresaw (sysexits.h)."""
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143

_DESCRIPTION = """Vision-guided inverse kinematics: from a seen marker to a moved arm.

Start with `vision-ik demo`. `vision-ik VERB --help` explains one verb.

Everywhere:
  --debug      show the traceback of an error
  --version    print the version

Exit codes:
  0    done
  1    done, and a check found something that is not in order
  2    an error; the cause and the remedy are on stderr
  64   a mistake on the command line
  70   a bug in vision-ik
  130  interrupted (143: terminated, 141: the reader of stdout has left)"""

_PAGE_WIDTH = 100
"""[columns] Longer lines are hard to read."""
_INDENT = "  "
_MARKERS = (
    tyro.conf.DisallowNone,
    tyro.conf.PositionalMetavarFromFieldName,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.HelptextFromCommentsOff,
)
_COMPLETION = ("--tyro-print-completion", "--tyro-write-completion")


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised as an exception so that arms are stopped and files closed on the way out."""


@dataclass(frozen=True, kw_only=True)
class _NotLoaded:
    """Stand in for the options of a verb that was not asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``vision-ik`` and return its exit code.

    Args:
        arguments: Words after the program's name; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with _termination_as_exception():
            if words == ["--version"]:
                sys.stdout.write(f"vision-ik {__version__}\n")
                return _flushed(EXIT_OK)
            return _flushed(_run_verb(words or ["--help"]))
    except BrokenPipeError:
        return _silence_stdout()
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
        console.error("Terminated." if terminated else "Interrupted.")
        _tell_notes(error)
        return EXIT_TERMINATED if terminated else EXIT_INTERRUPTED
    except VisionIkError as error:
        _tell_notes(error)
        return _explained(error.cause, error.remedy, debug=debug)
    except ImportError as error:
        return _explained(
            f"A library could not be loaded: {error}.", "Run `vision-ik doctor` to see what to install.", debug=debug
        )
    except Exception as error:  # the outermost border: everything becomes a sentence and a code
        _explained(
            f"This is a bug in vision-ik: {type(error).__name__}: {error}",
            "Please report it with the output of the same command with --debug.",
            debug=debug,
        )
        return EXIT_BUG


def load_verb(verb: str) -> ModuleType:
    """Import the module of a verb.

    Raises:
        MissingDependencyError: This installation lacks the verb.
    """
    name = f"{__package__}.{verb}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingDependencyError(
            f"This installation has no verb {verb!r}.", "Install a complete vision-ik.", verb=verb
        ) from error


def _run_verb(words: list[str]) -> int:
    """Parse ``words``, of which the first that is no option names the verb, and run it.

    Only the verb asked for is imported; completion scripts need them all.
    """
    wants_all = any(word.startswith(_COMPLETION) for word in words)
    verb = next((word for word in words if not word.startswith("-")), "")
    modules = {name: load_verb(name) for name in VERBS if wants_all or name == verb}
    options = _parse(words, modules)
    run = cast("Callable[[object], int]", modules[verb].run)
    return run(options)


def _parse(words: list[str], modules: Mapping[str, ModuleType]) -> object:
    """Return the options of the verb in ``words``.

    Raises:
        SystemExit: Help was printed (0), or a mistake was explained (64).
    """
    choices = tuple(_choice(name, modules.get(name), words) for name in VERBS)
    try:
        return tyro.cli(
            cast("type[object]", Union[choices]),  # noqa: UP007 # made at run time
            prog="vision-ik",
            description=_page(_DESCRIPTION),
            args=words,
            config=_MARKERS,
        )
    except SystemExit as leaving:
        raise SystemExit(EXIT_USAGE if leaving.code else EXIT_OK) from None


def _choice(name: str, module: ModuleType | None, words: Sequence[str]) -> object:
    """Return the sub-command of one verb, with sub-commands of its own where the module has COMMANDS."""
    if module is None:
        return _subcommand(name, _NotLoaded, VERBS[name])
    if not hasattr(module, "COMMANDS"):
        return _subcommand(name, module.Options, _page(inspect.getdoc(module.Options) or ""))
    choices: list[object] = []
    for key, options in cast("Mapping[str, type]", module.COMMANDS).items():
        text = inspect.getdoc(options) or ""
        # A list of commands has room for one line each, the page of one command for all it says.
        choices.append(_subcommand(key, options, _page(text) if key in words else text.partition("\n")[0]))
    return _subcommand(name, Union[tuple(choices)], VERBS[name])  # noqa: UP007 # made at run time


def _subcommand(name: str, options: object, description: str) -> object:
    return Annotated[options, tyro.conf.subcommand(name=name, description=description)]


def _page(text: str) -> str:
    """Return text wrapped for the terminal; indented lines (examples) stay as they are.

    tyro joins lines that start with a letter, wraps nothing, and doubles empty lines before others: so
    every line is indented, and an empty one holds a space without width.
    """
    width = min(shutil.get_terminal_size().columns, _PAGE_WIDTH) - len(_INDENT)
    blocks = [
        block if "\n " in block or block.startswith(" ") else textwrap.fill(block, width)
        for block in text.split("\n\n")
    ]
    return textwrap.indent("\n\u200b\n".join(blocks), _INDENT)


@contextmanager
def _termination_as_exception() -> Generator[None]:
    """Let SIGTERM unwind the stack like Ctrl-C does, where signals can be handled (the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell_notes(error: BaseException) -> None:
    """Print what those who cleaned up have to say, such as where an unfinished video is."""
    for note in getattr(error, "__notes__", ()):
        console.say(str(note))


def _explained(cause: str, remedy: str, *, debug: bool) -> int:
    """Print one sentence of cause and one of remedy, under the traceback when debugging."""
    if debug:
        traceback.print_exc()
    console.error(cause, remedy)
    return EXIT_ERROR


def _flushed(code: int) -> int:
    """Flush results while a closed pipe can still be handled, and pass the exit code on."""
    sys.stdout.flush()
    return code


def _silence_stdout() -> int:
    """Point stdout to nowhere after its reader has left, so that the interpreter's last flush stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE


if __name__ == "__main__":
    sys.exit(main())
