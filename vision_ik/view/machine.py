"""Which machine and which versions made a result; nothing that names a person or a place."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = ("numpy", "scipy", "numba", "opencv-python", "pyapriltags", "torch", "open3d", "pybullet")
"""Those whose version can change a figure."""


def environment() -> dict[str, str]:
    """Return facts about the machine and the installation by name, for people to read.

    The host, the user and every path are left out, so that a report can be published as it is.
    """
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "vision-ik": _version("vision-ik"),
        "cpu": cpu_model(),
        "cores": str(usable_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
    }
    return facts | {name: _version(name) for name in PACKAGES}


def cpu_model() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next(names, "") or platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return on how many cores this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
