"""The list of cameras: what drivers say, in words people and `open_camera` understand."""

from __future__ import annotations

import errno
import os
import platform
import struct
import sys
from pathlib import Path
from typing import TypeVar

import cv2
import pytest
from cameras_sdks import FakeDepthai, FakeRealSense
from cameras_webcams import FakeCapture

from vision_ik.cameras.listing import list_cameras
from vision_ik.cameras.modes import CameraControl, CameraMode
from vision_ik.cameras.v4l2 import (
    ENUM_FMT,
    ENUM_FRAMEINTERVALS,
    ENUM_FRAMESIZES,
    QUERYCAP,
    QUERYCTRL,
    list_v4l2,
)

Entry = TypeVar("Entry")
SIZES = {QUERYCAP: 104, ENUM_FMT: 64, ENUM_FRAMESIZES: 44, ENUM_FRAMEINTERVALS: 52, QUERYCTRL: 68}
"""[bytes] Of the kernel's structures on 64-bit Linux, as its compiler lays them out."""
YUYV, MJPG = (int.from_bytes(name, "little") for name in (b"YUYV", b"MJPG"))


class Kernel:
    """Answers like the video driver of one webcam; writes into the buffer at the kernel's offsets."""

    capabilities = 0x84A00001
    device_capabilities = 0x04200001
    stepwise = False

    def __call__(self, handle: int, request: int, buffer: bytearray) -> int:
        assert len(buffer) == SIZES[request]
        assert (request >> 16) & 0x3FFF == len(buffer)  # the size is part of the request
        if request == QUERYCAP:
            buffer[16:27] = b"Good Webcam"
            struct.pack_into("=II", buffer, 84, self.capabilities, self.device_capabilities)
        elif request == ENUM_FMT:
            self._format(buffer)
        elif request == ENUM_FRAMESIZES:
            self._size(buffer)
        elif request == ENUM_FRAMEINTERVALS:
            self._interval(buffer)
        else:
            self._control(buffer)
        return 0

    def _format(self, buffer: bytearray) -> None:
        index, kind = struct.unpack_from("=II", buffer)
        assert kind == 1
        struct.pack_into("=I", buffer, 44, self._entry((YUYV, MJPG), index))

    def _size(self, buffer: bytearray) -> None:
        index, code = struct.unpack_from("=II", buffer)
        if self.stepwise:
            self._entry((0,), index)
            struct.pack_into("=I6I", buffer, 8, 3, 32, 1296, 2, 32, 972, 2)
            return
        size = self._entry({YUYV: ((640, 480),), MJPG: ((1280, 720), (640, 480))}[code], index)
        struct.pack_into("=III", buffer, 8, 1, *size)

    def _interval(self, buffer: bytearray) -> None:
        index, _, width, _ = struct.unpack_from("=IIII", buffer)
        intervals = ((1, 30), (1001, 30000)) if width == 1280 else ((1, 15), (1, 30))
        struct.pack_into("=III", buffer, 16, 1, *self._entry(intervals, index))

    def _control(self, buffer: bytearray) -> None:
        (number,) = struct.unpack_from("=I", buffer)
        known = {0x9A0902: (3, 2047, 0), 0x980913: (0, 255, 0), 0x9A090A: (0, 250, 1)}
        if number not in known:
            raise OSError(errno.EINVAL, "Invalid argument")
        low, high, flags = known[number]
        struct.pack_into("=iiiiI", buffer, 40, low, high, 1, low, flags)

    @staticmethod
    def _entry(entries: tuple[Entry, ...], index: int) -> Entry:
        if index >= len(entries):
            raise OSError(errno.EINVAL, "Invalid argument")
        return entries[index]


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    for name in ("video10", "video2", "video", "vbi0"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_webcam_is_listed_with_its_modes_and_controls(devices: Path) -> None:
    first, second = list_v4l2(devices, Kernel())
    assert (first.source, second.source) == ("2", "10")
    assert (first.name, first.back_end, first.trouble) == ("Good Webcam", "V4L2", "")
    assert first.modes == (
        CameraMode(width=640, height=480, pixel_format="YUYV", rates=(30.0, 15.0)),
        CameraMode(width=1280, height=720, pixel_format="MJPG", rates=(30.0, 29.97)),
        CameraMode(width=640, height=480, pixel_format="MJPG", rates=(30.0, 15.0)),
    )
    assert first.controls == (  # the focus is switched off by the driver
        CameraControl(name="exposure", least=3e-4, most=0.2047, unit="s"),
        CameraControl(name="gain", least=0.0, most=255.0),
    )


def test_a_device_that_takes_any_size_is_listed_with_common_ones_and_its_largest(devices: Path) -> None:
    kernel = Kernel()
    kernel.stepwise = True
    camera = list_v4l2(devices, kernel)[0]
    assert [(mode.width, mode.height) for mode in camera.modes[:3]] == [(640, 480), (1280, 720), (1296, 972)]


def test_devices_that_carry_metadata_are_no_cameras(devices: Path) -> None:
    kernel = Kernel()
    kernel.device_capabilities = 0x04A00000
    assert list_v4l2(devices, kernel) == []


def test_an_older_driver_without_capabilities_of_the_device_is_listed(devices: Path) -> None:
    kernel = Kernel()
    kernel.capabilities, kernel.device_capabilities = 0x04000001, 0
    assert len(list_v4l2(devices, kernel)) == 2


def test_what_is_no_video_device_says_so(devices: Path) -> None:
    cameras = list_v4l2(devices)  # plain files, asked by the system's own ioctl
    assert [camera.trouble.endswith("is no video device.") for camera in cameras] == [True, True]


def test_a_camera_one_may_not_open_says_how_to_get_permission(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    assert all("usermod" in camera.trouble for camera in list_v4l2(devices, Kernel()))


@pytest.fixture
def no_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> bool:
        return False

    monkeypatch.setattr("vision_ik.cameras.listing.is_sdk_there", missing)


@pytest.mark.usefixtures("no_sdks")
def test_a_machine_without_cameras_has_an_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert list_cameras(tmp_path) == []


@pytest.mark.usefixtures("no_sdks")
def test_elsewhere_indices_are_tried_quietly_and_closed_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made: list[FakeCapture] = []

    def capture(index: int) -> FakeCapture:
        made.append(FakeCapture(index))
        return made[-1]

    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(cv2, "VideoCapture", capture)
    (camera,) = list_cameras()
    assert (camera.source, camera.modes) == (
        "0",
        (CameraMode(width=64, height=48, pixel_format="", rates=(30.0,)),),
    )
    assert not any(device.open for device in made)
    assert capfd.readouterr().err == ""


def test_depth_cameras_are_listed_where_their_packages_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rs, dai = FakeRealSense(("111", "Intel RealSense D455")), FakeDepthai("OAK1")
    monkeypatch.setitem(sys.modules, "pyrealsense2", rs)  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(sys.modules, "depthai", dai)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr("vision_ik.cameras.listing.is_sdk_there", lambda module: True)  # pyright: ignore
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    real, oak = list_cameras(tmp_path)
    assert (real.source, real.name, oak.source) == ("realsense:111", "Intel RealSense D455", "depthai:OAK1")
    assert real.modes == (
        CameraMode(width=1280, height=720, pixel_format="BGR", rates=(30.0, 15.0)),
        CameraMode(width=640, height=480, pixel_format="BGR", rates=(60.0,)),
    )


def test_a_broken_package_hides_its_cameras_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    monkeypatch.setitem(sys.modules, "depthai", None)
    monkeypatch.setattr("vision_ik.cameras.listing.is_sdk_there", lambda module: True)  # pyright: ignore
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert list_cameras(tmp_path) == []
