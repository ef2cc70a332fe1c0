"""What ``vision-ik doctor`` looks at besides libraries; each check says what is wrong and how to mend it."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from vision_ik.errors import VisionIkError
from vision_ik.view.machine import cpu_model, usable_cores

Status = Literal["ok", "warn", "fail"]

_LITTLE_DISK, _NO_DISK = 1e9, 1e8
"""[bytes] Below the first a longer recording may not fit, below the second nothing will."""
_NO_PYBULLET_WHEELS = (3, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the diagnosis."""

    name: str
    status: Status
    detail: str
    remedy: str = ""
    """What to do; empty when nothing is to be done."""


def check_python() -> Check:
    """Check that this Python has PyBullet wheels."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info >= _NO_PYBULLET_WHEELS:
        return Check(
            name="Python",
            status="warn",
            detail=f"{version}: PyBullet has no wheels for it, so simulation and demo are missing",
            remedy="Make the environment with python3.11.",
        )
    return Check(name="Python", status="ok", detail=version)


def check_numba_cache() -> Check:
    """Check that compiled kernels can be kept, in one of the places numba tries."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    package = Path(str(resources.files("vision_ik")))
    personal = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    places = [Path(named)] if named else [package, personal]
    if any(_is_writable(place) for place in places):
        return Check(name="kernel cache", status="ok", detail="writable")
    return Check(
        name="kernel cache",
        status="warn",
        detail="not writable: the kernels are compiled anew at each start",
        remedy="Set NUMBA_CACHE_DIR to a folder you may write to.",
    )


def check_weights(folder: Path | None = None) -> Check:
    """Check that each set of weights is whole and belongs to the arm of today; the shipped ones by default."""
    try:
        from vision_ik.ik.weights_file import SHIPPED
    except ImportError as error:
        return Check(name="weights", status="warn", detail=f"unknown: {error}", remedy="Mend the libraries first.")
    files = (SHIPPED if folder is None else folder).glob("*.*")
    names = sorted({file.stem for file in files if file.suffix in (".safetensors", ".toml")})
    if not names:
        return Check(
            name="weights",
            status="warn",
            detail="no arm has learned seeds: IK starts from random postures",
            remedy="vision-ik train panda",
        )
    faults = [fault for name in names if (fault := _weights_fault((folder or SHIPPED) / f"{name}.safetensors"))]
    if faults:
        return Check(
            name="weights",
            status="fail",
            detail="\n".join(faults),
            remedy="Reinstall vision-ik, or train them again with `vision-ik train`.",
        )
    return Check(name="weights", status="ok", detail=_first_shots(folder or SHIPPED, names))


def check_threads() -> Check:
    """Check that libraries do not start more threads than there are cores."""
    cores = usable_cores()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    detail = f"{cores} cores, {cpu_model()}" + (f", OMP_NUM_THREADS={asked}" if asked else "")
    if asked.isdigit() and int(asked) > cores:
        return Check(
            name="threads",
            status="warn",
            detail=detail,
            remedy=f"Set OMP_NUM_THREADS to at most {cores}: more threads than cores slow each other down.",
        )
    return Check(name="threads", status="ok", detail=detail)


def check_disk() -> Check:
    """Check the free space where results are written."""
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / 1e9:.1f} GB free here"
    if free < _LITTLE_DISK:
        status: Status = "fail" if free < _NO_DISK else "warn"
        return Check(name="disk", status=status, detail=detail, remedy="Free some space, or run in another folder.")
    return Check(name="disk", status="ok", detail=detail)


def check_display() -> Check:
    """Say whether windows can be opened; none is fine."""
    try:
        from vision_ik.view.window import has_display
    except ImportError:
        return Check(name="display", status="warn", detail="unknown: no OpenCV", remedy="Mend the libraries first.")
    if has_display():
        return Check(name="display", status="ok", detail="there is one")
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return Check(
            name="display",
            status="warn",
            detail="DISPLAY is set, but nothing answers there: windows are left out",
            remedy="Unset DISPLAY, or start the display (ssh -X).",
        )
    return Check(name="display", status="ok", detail="none: windows are left out")


def check_cameras(devices: Path = Path("/dev"), facts: Path = Path("/sys/class/video4linux")) -> list[Check]:
    """Check that each video device may be opened; none is fine.

    Args:
        devices: Folder of the ``video*`` nodes.
        facts: Where Linux keeps the name of each.
    """
    nodes = sorted(devices.glob("video[0-9]*"), key=lambda node: int(re.sub(r"\D", "", node.name)))
    if not nodes:
        return [Check(name="cameras", status="ok", detail="none plugged in; the demo simulates one")]
    return [_check_camera(node, facts) for node in nodes]


def worst(checks: Sequence[Check]) -> Status:
    """Return the gravest status among the checks."""
    found = {check.status for check in checks}
    if "fail" in found:
        return "fail"
    return "warn" if "warn" in found else "ok"


def _check_camera(node: Path, facts: Path) -> Check:
    name = f"camera {re.sub(r'[^0-9]', '', node.name)}"
    described = facts / node.name / "name"
    detail = described.read_text(encoding="utf-8", errors="replace").strip() if described.is_file() else str(node)
    if not os.access(node, os.R_OK | os.W_OK):
        return Check(
            name=name,
            status="warn",
            detail=f"{detail}: no permission to open it",
            remedy="sudo usermod -aG video $USER, then log in again",
        )
    return Check(name=name, status="ok", detail=detail)


def _first_shots(folder: Path, names: Sequence[str]) -> str:
    """Return the names of the arms, each with the share of poses its seeds solve at the first shot."""
    from vision_ik.ik.weights_file import read_card

    shares = (read_card(folder / f"{name}.toml")["metrics"].get("first_shot") for name in names)
    found = (name if share is None else f"{name} {share:.1%}" for name, share in zip(names, shares, strict=True))
    return ", ".join(found) + " at the first shot"


def _weights_fault(weights: Path) -> str:
    """Return what is wrong with the weights of the arm they are named after, or nothing."""
    from vision_ik.ik.variants import is_exact
    from vision_ik.ik.weights_file import load_weights, trained_for
    from vision_ik.robots import load_robot

    try:
        robot = load_robot(weights.stem)
        load_weights(weights, robot)
        if not is_exact(trained_for(weights, robot), robot):
            return f"{weights.name} was trained for another geometry or other limits than {robot.name} has today."
    except VisionIkError as error:
        return error.cause
    return ""


def _is_writable(folder: Path) -> bool:
    """Return whether a file can be made in the folder, or in the nearest parent there is."""
    existing = next((place for place in (folder, *folder.parents) if place.is_dir()), None)
    try:
        with tempfile.TemporaryFile(dir=existing):
            return existing is not None
    except OSError:
        return False
