"""A live window, where there is a screen for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

from vision_ik.errors import MissingDependencyError
from vision_ik.types import Image

_CONNECT_TIMEOUT = 0.5
"""[s] A display that takes longer to answer is of no use for video."""
_PROBE_TIMEOUT = 20.0
"""[s] For a first window, on a slow machine."""
_X_PORT = 6000
_X_SOCKETS = Path("/", "tmp", ".X11-unix")
"""Fixed by the X server, whatever TMPDIR says."""


def has_display() -> bool:
    """Return whether a display answers that OpenCV's window can use.

    ``imshow`` without one aborts the whole process, so this asks the server itself:
    a stale ``DISPLAY`` is no display.
    """
    if sys.platform != "linux":
        return True
    if _answers(_x11_address(os.environ.get("DISPLAY", ""))):
        return True
    # OpenCV's Qt speaks X11 only; its GTK also Wayland.
    return not cv2.currentUIFramework().startswith("QT") and _answers(_wayland_address())


class LiveWindow:
    """Show pictures as they come; q, Escape or the window's cross quit, space freezes the picture.

    Raises:
        MissingDependencyError: There is no display, or this OpenCV cannot open windows.
    """

    def __init__(self, title: str = "vision-ik") -> None:
        if not has_display():
            raise MissingDependencyError(
                "There is no display to open a window on.", "Run without a window, or set DISPLAY (ssh -X)."
            )
        if not cv2.currentUIFramework():
            raise MissingDependencyError(
                "This OpenCV is built without windows.",
                "Uninstall opencv-python-headless and install opencv-python.",
            )
        _probe()
        self._title = title
        self._paused = False
        self._opened = False

    @property
    def paused(self) -> bool:
        """Whether the person asked for a pause; sources that wait for their reader may hold still."""
        return self._paused

    def show(self, image: Image) -> bool:
        """Show a (H, W, 3) BGR picture unless paused, and return False once the person wants to quit."""
        if not self._opened:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._opened = True
        elif cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return False
        if not self._paused:
            cv2.imshow(self._title, image)
        key = cv2.waitKey(1) & 0xFF
        if key == ord(" "):
            self._paused = not self._paused
        return key not in (ord("q"), 27)

    def close(self) -> None:
        """Close the window."""
        if self._opened and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 0:
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
        self._opened = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _probe() -> None:
    """Open a window in a process of its own: a missing X library would abort this one."""
    program = "import cv2; cv2.namedWindow('vision-ik'); cv2.waitKey(1)"
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=_PROBE_TIMEOUT, check=False)
        failed = done.returncode != 0
    except (OSError, subprocess.TimeoutExpired):
        failed = True
    if failed:
        raise MissingDependencyError(
            "OpenCV could not open a window on this display.",
            "Run without a window, or: apt-get install libgl1 libxcb-cursor0 libxkbcommon-x11-0.",
        )


def _x11_address(display: str) -> str | tuple[str, int] | None:
    """Return where the X server of ``[host]:number[.screen]`` listens."""
    host, colon, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if not colon or not number.isdigit():
        return None
    if host in ("", "unix"):
        return str(_X_SOCKETS / f"X{number}")
    return host, _X_PORT + int(number)


def _wayland_address() -> str | None:
    name = os.environ.get("WAYLAND_DISPLAY", "")
    return str(Path(os.environ.get("XDG_RUNTIME_DIR", "")) / name) if name else None


def _answers(address: str | tuple[str, int] | None) -> bool:
    if address is None:
        return False
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_TIMEOUT)
        try:
            client.connect(address)
        except OSError:
            return False
    return True
