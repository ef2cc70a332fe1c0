"""Wishes for a camera on the command line."""

from __future__ import annotations

import pytest

from vision_ik.cameras import CameraSettings
from vision_ik.cli import run, setting
from vision_ik.cli.device_options import DeviceOptions
from vision_ik.cli.main import EXIT_ERROR, main
from vision_ik.errors import CameraNotFoundError, ConfigError


@pytest.mark.parametrize("verb", ["run 0", "demo --headless --camera 0"])
def test_the_wishes_of_a_run_or_demo_reach_the_camera_in_si_units(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[CameraSettings] = []

    def refuse(source: str, *, settings: CameraSettings, **_: object) -> object:
        given.append(settings)
        raise CameraNotFoundError(f"There is no camera {source}.", "Plug one in.")

    monkeypatch.setattr(setting, "open_camera", refuse)
    wishes = "--exposure-ms 8 --focus lock --frame-size 1280 720 --frame-rate 60 --pixel-format MJPG --patience-s 5"
    assert main([*verb.split(), *wishes.split()]) == EXIT_ERROR
    assert given == [
        CameraSettings(size=(1280, 720), rate=60.0, pixel_format="MJPG", exposure=0.008, focus="lock", patience=5.0)
    ]


def test_nothing_is_wished_by_default() -> None:
    assert DeviceOptions().settings() == CameraSettings()
    assert run.Options(source="0").device == DeviceOptions()


@pytest.mark.parametrize(
    "options", [DeviceOptions(exposure_ms=0.0), DeviceOptions(frame_size=(0, 1)), DeviceOptions(pixel_format="JPEG2")]
)
def test_wishes_that_make_no_sense_are_explained(options: DeviceOptions) -> None:
    with pytest.raises(ConfigError, match="vision-ik cameras SOURCE"):
        options.settings()
