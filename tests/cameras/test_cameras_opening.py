"""Which source a name means, and what a wrong one is told."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from vision_ik.cameras import is_live_source, open_camera, opening
from vision_ik.clock import VirtualClock
from vision_ik.errors import CameraError, CameraNotFoundError
from vision_ik.testing import FakeCamera, blank_frame
from vision_ik.types import CameraIntrinsics


def make_fake(rest: str) -> FakeCamera:
    """Open the camera registered as ``fake:SECONDS``."""
    return FakeCamera([blank_frame(float(rest))], clock=VirtualClock())


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("fake", f"{__name__}:make_fake", opening.ENTRY_POINT_GROUP)

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point] if group == "vision_ik.cameras" else []

    monkeypatch.setattr(opening, "entry_points", entry_points)


@pytest.mark.usefixtures("registered")
def test_a_registered_scheme_opens_its_camera_with_what_follows_the_colon() -> None:
    with open_camera("fake:12.5") as camera:
        frame = camera.read()
    assert frame is not None
    assert frame.timestamp == 12.5


@pytest.mark.usefixtures("registered")
def test_given_intrinsics_replace_those_of_a_registered_camera() -> None:
    lens = CameraIntrinsics.from_field_of_view(64, 48, 1.0)
    with open_camera("fake:1", intrinsics=lens) as camera:
        frame = camera.read()
        assert frame is not None
        assert frame.intrinsics is camera.intrinsics is lens
        assert camera.ended
        assert not camera.live
    with pytest.raises(CameraError, match="no resized version"):
        open_camera("fake:1", intrinsics=CameraIntrinsics.from_field_of_view(64, 20))


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("source", ["nothing.mp4", "other:thing", "", "no/such/folder/"])
def test_an_unknown_source_lists_what_could_be_given(source: str) -> None:
    with pytest.raises(CameraNotFoundError, match=r"no file, folder or camera") as caught:
        open_camera(source)
    assert "fake:..." in caught.value.remedy


def test_an_existing_file_is_no_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b.mp4").write_bytes(b"junk")
    with pytest.raises(CameraError, match=r"a:b\.mp4 cannot be read as a video"):
        open_camera("a:b.mp4")


@pytest.mark.parametrize("source", [True, 1.5, None])
def test_a_source_of_another_type_is_refused(source: object) -> None:
    with pytest.raises(TypeError, match="index, a path or an address"):
        open_camera(source)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("source", "live"),
    [
        ("0", True),
        (" 12 ", True),
        ("/dev/video2", True),
        ("/dev/v4l/by-id/usb-Good_Webcam-video-index0", True),
        ("rtsp://camera/stream", True),
        ("realsense:", True),
        ("depthai:14442C10", True),
        ("clip.mp4", False),
        ("sim:tabletop", False),
        ("/dev/shm/clip.mp4", False),
        ("", False),
    ],
)
def test_what_runs_by_itself_is_known_without_opening_it(source: str, live: bool) -> None:
    assert is_live_source(source) is live


def test_a_file_named_like_a_depth_camera_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "realsense:").write_bytes(b"junk")
    assert not is_live_source("realsense:")
    with pytest.raises(CameraError, match="cannot be read as a video"):
        open_camera("realsense:")
