"""Whether every library this project stands on loads, and which system package is missing if not."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

from vision_ik.cli.checks import Check
from vision_ik.view.machine import usable_cores

LIBRARIES: dict[str, tuple[str, str]] = {
    "numpy": ("numpy", "import numpy"),
    "scipy": ("scipy", "import scipy.optimize, scipy.spatial"),
    "numba": ("numba", "import numba"),
    "OpenCV": ("opencv-python", "import cv2; cv2.aruco.ArucoDetector"),
    "AprilTag": ("pyapriltags", "import pyapriltags"),
    "torch": ("torch", "import torch"),
    "Open3D": ("open3d", "import open3d"),
    "PyBullet": ("pybullet", "import pybullet"),
    "ruckig": ("ruckig", "import ruckig"),
    "safetensors": ("safetensors", "import safetensors.numpy"),
    "PyAV": ("av", "import av; av.codec.Codec('libx264', 'w')"),
    "matplotlib": ("matplotlib", "import matplotlib.figure"),
    "reportlab": ("reportlab", "import reportlab.pdfgen.canvas"),
}
"""What must work: name, package, and the program that shows it."""

APT_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libxcb.so.1": "libxcb1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libgomp.so.1": "libgomp1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
}
"""Debian package of each system library that a wheel may miss."""

_OPENCV_WHEELS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_IMPORT_TIMEOUT = 120.0
"""[s] A first import of torch from a slow disk takes a while."""


def check_libraries() -> list[Check]:
    """Check every library, as many at a time as there are cores."""
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        return [*pool.map(check_library, LIBRARIES), check_opencv_wheels()]


def check_library(name: str) -> Check:
    """Import a library in a process of its own, which it may take down with it (missing CPU instructions)."""
    package, program = LIBRARIES[name]
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return Check(name=name, status="fail", detail="not installed", remedy=f"pip install {package}")
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=_IMPORT_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return Check(
            name=name,
            status="fail",
            detail=f"{version}: import hangs",
            remedy=f"pip install --force-reinstall {package}",
        )
    if done.returncode == 0:
        return Check(name=name, status="ok", detail=version)
    return explain_import_failure(name, version, done.returncode, done.stderr)


def explain_import_failure(name: str, version: str, code: int, stderr: str) -> Check:
    """Return the check for a library whose import ended with ``code`` and this ``stderr``."""
    package = LIBRARIES[name][0]
    last = (stderr.strip().splitlines() or ["no message"])[-1]
    missing = re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object", stderr)
    if missing:
        library = missing.group(1)
        apt = APT_PACKAGES.get(library)
        remedy = f"apt-get install {apt}" if apt else f"Install the system package that holds {library}."
        return Check(name=name, status="fail", detail=f"{version}: {library} is missing", remedy=remedy)
    if code < 0:
        return Check(
            name=name,
            status="fail",
            detail=f"{version}: the import is killed by signal {-code}",
            remedy=f"This build may need another processor; try another version of {package}.",
        )
    return Check(
        name=name, status="fail", detail=f"{version}: {last}", remedy=f"pip install --force-reinstall {package}"
    )


def check_opencv_wheels() -> Check:
    """Check that no two wheels fill the same cv2 folder."""
    installed = [wheel for wheel in _OPENCV_WHEELS if _is_installed(wheel)]
    if len(installed) > 1:
        return Check(
            name="cv2 wheels",
            status="warn",
            detail=f"{' and '.join(installed)} write into the same folder",
            remedy=f"pip uninstall {' '.join(installed)}, then pip install opencv-python",
        )
    return Check(name="cv2 wheels", status="ok", detail=installed[0] if installed else "none")


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
