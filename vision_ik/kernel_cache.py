"""Keeping compiled kernels as new as their sources.

numba caches a compiled function until its own file changes. A function of another file that was inlined
into it may change unnoticed, and the old code then reads the new data: wrong numbers, or a crash. Sources
change under an installation only in a checkout, so only a checkout is looked after (2 to 6 ms an import).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

_PACKAGES = ("vision_ik", "calibration", "sim")
_STAMP = "kernels.stamp"


def drop_stale_kernels(checkout: Path) -> bool:
    """Remove all cached kernels of a checkout when any of its sources changed since they were made.

    Returns:
        Whether they were removed. Where the folders cannot be written to, nothing is.
    """
    stamp = checkout / _PACKAGES[0] / "__pycache__" / _STAMP
    sources, kernels = _files(checkout)
    now = hashlib.sha256(repr(sorted(sources)).encode()).hexdigest()
    try:
        if stamp.read_text(encoding="ascii") == now:
            return False
    except OSError:
        pass  # the first import since the checkout was made, or cleaned
    try:
        for kernel in kernels:
            Path(kernel).unlink(missing_ok=True)
        stamp.parent.mkdir(exist_ok=True)
        temporary = stamp.with_name(f"{_STAMP}.{os.getpid()}")
        temporary.write_text(now, encoding="ascii")
        temporary.replace(stamp)
    except OSError:
        return False
    return True


def _files(checkout: Path) -> tuple[list[tuple[str, int, int]], list[str]]:
    """Return path, time and size of each source, and the paths of the cached kernels."""
    sources: list[tuple[str, int, int]] = []
    kernels: list[str] = []
    for package in _PACKAGES:
        for entry in _walk(checkout / package):
            if entry.name.endswith(".py"):
                status = entry.stat()
                sources.append((os.path.relpath(entry.path, checkout), status.st_mtime_ns, status.st_size))
            elif entry.name.endswith((".nbi", ".nbc")):
                kernels.append(entry.path)
    return sources, kernels


def _walk(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            else:
                yield entry
