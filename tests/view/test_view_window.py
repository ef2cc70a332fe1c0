from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from vision_ik.errors import MissingDependencyError
from vision_ik.view import LiveWindow, has_display, window


@pytest.fixture
def x_sockets(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Give a folder of our own where X servers would listen, short enough for a socket's name."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with tempfile.TemporaryDirectory(prefix="x") as folder:
        monkeypatch.setattr(window, "_X_SOCKETS", Path(folder))
        yield Path(folder)


def test_without_a_display_there_is_none(x_sockets: Path) -> None:
    assert not has_display()


@pytest.mark.parametrize("display", [":7", "unix:7", "localhost:", "nonsense", ":a"])
def test_a_display_that_does_not_answer_is_none(x_sockets: Path, monkeypatch: pytest.MonkeyPatch, display: str) -> None:
    (x_sockets / "X7").write_text("a stale file")
    monkeypatch.setenv("DISPLAY", display)
    assert not has_display()


@pytest.mark.parametrize("display", [":7", ":7.0", "unix:7"])
def test_a_display_that_answers_is_one(x_sockets: Path, monkeypatch: pytest.MonkeyPatch, display: str) -> None:
    monkeypatch.setenv("DISPLAY", display)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(x_sockets / "X7"))
        server.listen()
        assert has_display()


def test_a_window_without_display_is_one_error_with_a_remedy(x_sockets: Path) -> None:
    with pytest.raises(MissingDependencyError, match="no display") as raised:
        LiveWindow()
    assert raised.value.remedy


class FakeScreen:
    """Stand in for OpenCV's window functions."""

    WINDOW_NORMAL = WINDOW_KEEPRATIO = WND_PROP_VISIBLE = 0

    def __init__(self, keys: str) -> None:
        self.keys = list(keys)
        self.shown = 0
        self.visible = 1.0

    def namedWindow(self, *_: object) -> None: ...

    def resizeWindow(self, *_: object) -> None: ...

    def destroyWindow(self, *_: object) -> None:
        self.visible = -1.0

    def imshow(self, *_: object) -> None:
        self.shown += 1

    def waitKey(self, _: int) -> int:
        return ord(self.keys.pop(0)) if self.keys else -1

    def getWindowProperty(self, *_: object) -> float:
        return self.visible

    def currentUIFramework(self) -> str:
        return "FAKE"


def open_window(monkeypatch: pytest.MonkeyPatch, keys: str) -> tuple[LiveWindow, FakeScreen]:
    screen = FakeScreen(keys)
    monkeypatch.setattr(window, "cv2", screen)
    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window, "_probe", lambda: None)
    return LiveWindow(), screen


IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize("key", ["q", "\x1b"])
def test_q_and_escape_quit(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    live, _ = open_window(monkeypatch, "x" + key)
    assert live.show(IMAGE)
    assert not live.show(IMAGE)


def test_space_freezes_the_picture_and_lets_it_go_again(monkeypatch: pytest.MonkeyPatch) -> None:
    live, screen = open_window(monkeypatch, " xx x")
    paused: list[bool] = []
    for _ in range(5):
        assert live.show(IMAGE)
        paused.append(live.paused)
    assert paused == [True, True, True, False, False]
    assert screen.shown == 2


def test_closing_the_window_quits(monkeypatch: pytest.MonkeyPatch) -> None:
    live, screen = open_window(monkeypatch, "")
    with live:
        assert live.show(IMAGE)
        screen.visible = 0.0
        assert not live.show(IMAGE)
    assert screen.visible == -1.0


def test_a_build_without_windows_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window.cv2, "currentUIFramework", lambda: "")
    with pytest.raises(MissingDependencyError, match="without windows"):
        LiveWindow()


def test_a_display_that_kills_the_first_window_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        assert command[0] == sys.executable
        return subprocess.CompletedProcess(command, -6)

    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window.subprocess, "run", killed)
    with pytest.raises(MissingDependencyError, match="could not open a window"):
        LiveWindow()
