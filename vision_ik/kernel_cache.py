"""Keeping compiled kernels as new as their sources.

numba caches a compiled function until its own file changes. A function of another file that was inlined
into it may change unnoticed, and the old code then reads the new data: wrong numbers, or a crash. Sources
change under an installation only in a checkout, so only a checkout is looked after (a few ms an import).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias, cast

_PACKAGES = ("vision_ik", "calibration", "sim")
_STAMP = "kernels.json"
_KERNEL = "single.*.nbi"
"""Index of a kernel that every solver needs."""
_IMPORT = re.compile(rf"^from ((?:{'|'.join(_PACKAGES)})[\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)

_Source: TypeAlias = tuple[int, int, list[str]]
"""Time [ns], size, and the modules it imports from."""


def drop_stale_kernels(checkout: Path) -> list[str]:
    """Remove the cached kernels of all modules that changed, or import from one that did, since the last call.

    Returns:
        Those modules, sorted. Where the folders cannot be written to, nothing is done.
    """
    stamp = checkout / _PACKAGES[0] / "__pycache__" / _STAMP
    before = _read(stamp)
    now = {name: _source(path, before.get(name)) for name, path in _modules(checkout)}
    changed = {name for name in now.keys() | before.keys() if now.get(name) != before.get(name)}
    if not changed:
        return []
    stale = _importers(changed, now)
    try:
        for name in stale:
            path = checkout / name.replace(".", "/")
            home = path if path.is_dir() else path.parent
            for kernel in (home / "__pycache__").glob(f"{'__init__' if path.is_dir() else path.name}.*.nb[ic]"):
                kernel.unlink(missing_ok=True)
        stamp.parent.mkdir(exist_ok=True)
        temporary = stamp.with_name(f"{_STAMP}.{os.getpid()}")
        temporary.write_text(json.dumps(now), encoding="utf-8")
        temporary.replace(stamp)
    except OSError:
        return []
    return sorted(stale)


def are_kernels_cached() -> bool:
    """Return whether the solver's kernels were compiled before, in one of the places where numba keeps them."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    personal = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "numba"
    places = [Path(named)] if named else [Path(__file__).parent / "ik" / "__pycache__", personal]
    return any(next(place.glob(f"{inside}{_KERNEL}"), None) for place in places for inside in ("", "*/"))


def _read(stamp: Path) -> dict[str, _Source]:
    try:
        known = cast("dict[str, list[int | list[str]]]", json.loads(stamp.read_text(encoding="utf-8")))
        return {name: cast("_Source", tuple(source)) for name, source in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # the first import since the checkout was made, or cleaned


def _modules(checkout: Path) -> Iterator[tuple[str, str]]:
    """Return name and path of each module."""
    for package in _PACKAGES:
        for path in _walk(str(checkout / package)):
            name = os.path.relpath(path, checkout).removesuffix(".py").removesuffix(f"{os.sep}__init__")
            yield name.replace(os.sep, "."), path


def _walk(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry.path
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)


def _source(path: str, before: _Source | None) -> _Source:
    status = os.stat(path)  # noqa: PTH116  a Path for each file would double the time
    if before is not None and before[:2] == (status.st_mtime_ns, status.st_size):
        return before
    imports: set[str] = set()
    for module, names in _IMPORT.findall(Path(path).read_text(encoding="utf-8")):
        imports.add(module)
        imports.update(f"{module}.{name}" for name in re.findall(r"\w+", names))
    return status.st_mtime_ns, status.st_size, sorted(imports)


def _importers(changed: Iterable[str], sources: Mapping[str, _Source]) -> set[str]:
    """Return the changed modules and all that import from them, directly or not."""
    importers: dict[str, list[str]] = {}
    for name, (_, _, imports) in sources.items():
        for imported in imports:
            importers.setdefault(imported, []).append(name)
    found, queue = set(changed), list(changed)
    while queue:
        for name in importers.get(queue.pop(), []):
            if name not in found:
                found.add(name)
                queue.append(name)
    return found
