"""Which cameras are plugged in, and what they can do."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from vision_ik.cameras import depthai, realsense
from vision_ik.cameras.modes import CameraInfo, CameraMode
from vision_ik.cameras.pictures import quiet_opencv
from vision_ik.cameras.sdk import is_sdk_there, load_sdk
from vision_ik.cameras.v4l2 import list_v4l2
from vision_ik.errors import MissingDependencyError

_PROBED = 8
"""Indices that are tried where the system keeps no list that can be read."""
_COMMON_SIZES = ((640, 480), (1280, 720), (1920, 1080), (3840, 2160))
"""[px] Tried there, to see which are granted."""


def list_cameras(devices: Path = Path("/dev")) -> list[CameraInfo]:
    """Return the cameras of this machine: webcams first, then those whose makers' packages are installed.

    On Linux webcams are asked without starting them. Elsewhere each index is opened for a moment.

    Args:
        devices: Folder of the ``video*`` files on Linux.
    """
    webcams = list_v4l2(devices) if platform.system() == "Linux" else list(_probed())
    return [*webcams, *_realsense(), *_depthai()]


def _probed() -> Iterator[CameraInfo]:
    for index in range(_PROBED):
        with quiet_opencv():
            capture = cv2.VideoCapture(index)
            try:
                if capture.isOpened():
                    modes = dict.fromkeys(_try_sizes(capture))
                    yield CameraInfo(
                        source=str(index),
                        name=f"camera {index}",
                        back_end=capture.getBackendName(),
                        modes=tuple(modes),
                    )
            finally:
                capture.release()


def _try_sizes(capture: cv2.VideoCapture) -> Iterator[CameraMode]:
    """Give the mode the camera starts with, then those it answers common sizes with."""
    yield from _mode(capture)
    for width, height in _COMMON_SIZES:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        yield from _mode(capture)


def _mode(capture: cv2.VideoCapture) -> Iterator[CameraMode]:
    keys = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
    width, height, rate = (capture.get(key) for key in keys)
    if min(width, height) > 0:
        rates = (rate,) if rate > 0 else ()
        yield CameraMode(width=round(width), height=round(height), pixel_format="", rates=rates)


def _realsense() -> Iterator[CameraInfo]:
    rs = _installed("pyrealsense2", "realsense", "A RealSense camera")
    if rs is None:
        return
    for serial, model in realsense.list_devices(rs):
        yield CameraInfo(
            source=f"realsense:{serial}",
            name=model,
            back_end="RealSense",
            modes=tuple(
                CameraMode(width=width, height=height, pixel_format="BGR", rates=rates)
                for (width, height), rates in realsense.list_sizes(rs, serial).items()
            ),
        )


def _depthai() -> Iterator[CameraInfo]:
    os.environ.setdefault("DEPTHAI_LEVEL", "off")  # read as it is loaded; our sentences say what is wrong
    dai = _installed("depthai", "depthai", "An OAK camera")
    if dai is None:
        return
    for device, address in depthai.list_devices(dai):
        yield CameraInfo(source=f"depthai:{device}", name=f"OAK at {address}", back_end="DepthAI")


def _installed(module: str, extra: str, device: str) -> Any | None:
    """Return a maker's package, None when it is missing or broken: its cameras are then seen as webcams at most."""
    if not is_sdk_there(module):
        return None
    try:
        return load_sdk(module, extra=extra, device=device)
    except MissingDependencyError:
        return None
