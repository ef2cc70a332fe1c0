"""The list of cameras on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vision_ik.cameras import listing
from vision_ik.cameras.modes import CameraControl, CameraInfo, CameraMode
from vision_ik.cli.main import EXIT_ERROR, EXIT_OK, main

WEBCAM = CameraInfo(
    source="0",
    name="Good Webcam",
    back_end="V4L2",
    modes=(
        CameraMode(width=640, height=480, pixel_format="YUYV", rates=(30.0, 15.0)),
        CameraMode(width=1280, height=720, pixel_format="MJPG", rates=(29.97,)),
        CameraMode(width=640, height=480, pixel_format="MJPG", rates=(60.0,)),
    ),
    controls=(CameraControl(name="exposure", least=0.0003, most=0.2047, unit="s"),),
)
FORBIDDEN = CameraInfo(source="2", name="/dev/video2", back_end="V4L2", trouble="You may not open it.")

Plug = Callable[..., None]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    def use(*found: CameraInfo) -> None:
        monkeypatch.setattr(listing, "list_cameras", lambda: list(found))

    return use


def test_cameras_are_listed_with_sizes_rates_and_what_can_be_fixed(
    plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(WEBCAM, FORBIDDEN)
    assert main(["cameras"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "Good Webcam" in out
    assert "1280x720 at 29.97, 640x480 at 60" in out
    assert "exposure" in out
    assert "You may not open it." in out


def test_one_camera_is_shown_with_every_mode(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    plug(WEBCAM)
    assert main(["cameras", "0"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "YUYV" in out
    assert "30, 15" in out
    assert "exposure: 0.0003 to 0.2047 s" in out


def test_no_camera_is_said_plainly_and_is_no_error(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    plug()
    assert main(["cameras"]) == EXIT_OK
    assert capsys.readouterr().out == "There is no camera on this machine.\n"


def test_a_camera_that_is_not_there_is_an_error_with_those_that_are(
    plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(WEBCAM, FORBIDDEN)
    assert main(["cameras", "7"]) == EXIT_ERROR
    assert "Those found: 0, 2." in capsys.readouterr().err


def test_a_folder_is_no_camera_and_the_verb_that_reads_it_is_named(
    plug: Plug, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plug()
    assert main(["cameras", str(tmp_path)]) == EXIT_ERROR
    said = " ".join(capsys.readouterr().err.split())
    assert "is a folder, not a camera of this machine" in said
    assert f"vision-ik run {tmp_path}" in said


def test_json_holds_everything(plug: Plug, capsys: pytest.CaptureFixture[str]) -> None:
    plug(WEBCAM, FORBIDDEN)
    assert main(["cameras", "--json"]) == EXIT_OK
    first, second = json.loads(capsys.readouterr().out)
    assert first["modes"][1] == {"width": 1280, "height": 720, "pixel_format": "MJPG", "rates": [29.97]}
    assert second["trouble"] == "You may not open it."
    assert main(["cameras", "0", "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == first


def test_the_list_of_this_machine_can_be_made() -> None:
    assert main(["cameras"]) == EXIT_OK
