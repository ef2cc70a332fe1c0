"""Depth cameras through stand-ins of their makers' packages: aligned metres, factory lenses, honest stamps."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from cameras_sdks import FakeDepthai, FakeRealSense

from vision_ik.cameras import CameraSettings, open_camera
from vision_ik.cameras.live import LiveCamera
from vision_ik.cameras.realsense import open_device
from vision_ik.errors import CameraError, CameraNotFoundError, FrameReadError, MissingDependencyError
from vision_ik.testing import camera_contract
from vision_ik.types import CameraIntrinsics, Frame

D435, D455 = ("111", "Intel RealSense D435I"), ("222", "Intel RealSense D455")
CLAUSES = len(camera_contract(lambda: open_camera("never opened")))


@pytest.fixture
def rs(monkeypatch: pytest.MonkeyPatch) -> FakeRealSense:
    fake = FakeRealSense(D435, D455)
    monkeypatch.setitem(sys.modules, "pyrealsense2", fake)  # pyright: ignore[reportArgumentType]
    return fake


@pytest.fixture
def dai(monkeypatch: pytest.MonkeyPatch) -> FakeDepthai:
    fake = FakeDepthai("OAK1", "OAK2")
    monkeypatch.setitem(sys.modules, "depthai", fake)  # pyright: ignore[reportArgumentType]
    return fake


def opened(source: str, **settings: object) -> LiveCamera:
    camera = open_camera(source, settings=CameraSettings(**settings))  # pyright: ignore[reportArgumentType]
    assert isinstance(camera, LiveCamera)
    return camera


def must_read(camera: LiveCamera) -> Frame:
    frame = camera.read(5.0)
    assert frame is not None
    return frame


@pytest.mark.usefixtures("rs", "dai")
@pytest.mark.parametrize("clause", range(CLAUSES))
@pytest.mark.parametrize("source", ["realsense:", "depthai:"])
def test_a_depth_camera_keeps_the_camera_contract(source: str, clause: int) -> None:
    camera_contract(lambda: open_camera(source))[clause]()


def test_realsense_gives_aligned_depth_in_metres(rs: FakeRealSense) -> None:
    with opened("realsense:") as camera:
        frame = must_read(camera)
    assert frame.image.shape == (48, 64, 3)
    assert frame.depth is not None
    assert frame.depth.shape == (48, 64)
    assert np.isnan(frame.depth[0, 0])
    assert frame.depth[1, 1] == pytest.approx(2000 * rs.depth_unit)


def test_without_depth_realsense_does_not_measure_it(rs: FakeRealSense) -> None:
    with opened("realsense:", depth=False) as camera:
        assert must_read(camera).depth is None
    assert set(rs.started[0].streams) == {"colour"}


def test_realsense_is_chosen_by_its_serial_number(rs: FakeRealSense) -> None:
    with opened("realsense:222") as camera:
        assert rs.started[0].serial == "222"
        assert camera.shutter == "global"
        assert camera.remarks == ()
    with opened("realsense:") as camera:
        assert camera.shutter == "rolling"
        assert camera.remarks == ("realsense: exposes row after row: what moves is sheared.",)
    with pytest.raises(CameraNotFoundError, match="no RealSense camera with the serial number 333") as caught:
        open_camera("realsense:333")
    assert "111, 222" in caught.value.remedy
    rs.devices.clear()
    with pytest.raises(CameraNotFoundError, match="no RealSense camera here"):
        open_camera("realsense:")


def test_a_realsense_that_was_unplugged_is_not_replaced_by_another(rs: FakeRealSense) -> None:
    with opened("realsense:") as camera:
        must_read(camera)
        first = rs.devices.pop(0)
        rs.unplugged = True
        until = time.monotonic() + 5.0
        while not camera.trouble:
            assert time.monotonic() < until
            time.sleep(0.005)
        rs.unplugged = False
        assert camera.read(0.4) is None or len(rs.started) == 1
        rs.devices.append(first)
        while camera.read(0.05) is None:
            assert time.monotonic() < until + 5.0
    assert [config.serial for config in rs.started] == ["111", "111"]


@pytest.mark.parametrize(
    ("model", "coefficients", "lens", "approximate"),
    [
        ("none", [0.0] * 5, "pinhole", False),
        ("brown_conrady", [0.1, -0.05, 0.001, 0.002, 0.01], "pinhole", False),
        ("inverse_brown_conrady", [0.0] * 5, "pinhole", False),
        ("inverse_brown_conrady", [0.1, -0.05, 0.001, 0.002, 0.01], "pinhole", True),
        ("modified_brown_conrady", [0.1, -0.05, 0.001, 0.002, 0.01], "pinhole", True),
        ("kannala_brandt4", [0.1, -0.05, 0.001, 0.002, 0.0], "fisheye", False),
    ],
)
def test_the_factory_lens_of_realsense_is_taken_for_what_it_says(
    rs: FakeRealSense, model: str, coefficients: list[float], lens: str, approximate: bool
) -> None:
    rs.intrinsics.model, rs.intrinsics.coeffs = SimpleNamespace(name=model), coefficients
    with opened("realsense:222") as camera:
        found = camera.intrinsics
        doubted = any("uncertain lens model" in remark for remark in camera.remarks)
    np.testing.assert_array_equal(found.K, [[60, 0, 31], [0, 61, 24], [0, 0, 1]])
    np.testing.assert_array_equal(found.distortion, coefficients[: 4 if lens == "fisheye" else 5])
    assert (found.model, found.approximate, doubted) == (lens, approximate, approximate)


def test_a_lens_model_we_do_not_have_is_named_unless_a_lens_is_given(rs: FakeRealSense) -> None:
    rs.intrinsics.model, rs.intrinsics.coeffs = SimpleNamespace(name="ftheta"), [0.9, 0.0, 0.0, 0.0, 0.0]
    with pytest.raises(CameraError, match="model ftheta, which is not supported"):
        open_camera("realsense:")
    lens = CameraIntrinsics.from_field_of_view(64, 48)
    with open_camera("realsense:", intrinsics=lens) as camera:
        assert camera.intrinsics is lens


def test_a_factory_lens_that_is_no_lens_is_named(rs: FakeRealSense) -> None:
    rs.intrinsics.fx = float("nan")
    with pytest.raises(CameraError, match="factory intrinsics that are no lens"):
        open_camera("realsense:")


@pytest.mark.parametrize(
    ("domain", "metadata", "age"), [("global", True, 0.105), ("system", False, 0.1), ("hardware", True, 0.0)]
)
def test_realsense_stamps_the_middle_of_the_exposure(
    rs: FakeRealSense, domain: str, metadata: bool, age: float
) -> None:
    rs.domain, rs.has_metadata, rs.transfer_age = domain, metadata, 0.1
    with opened("realsense:") as camera:
        frame = must_read(camera)
        now = time.monotonic()
    assert age <= now - frame.timestamp < age + 2.0
    grabbed = open_device("", CameraSettings()).grab().age
    assert age <= grabbed < age + 2.0
    assert (grabbed == 0.0) is (age == 0.0)


def test_realsense_takes_settings_and_reads_them_back(rs: FakeRealSense) -> None:
    with opened(
        "realsense:222", exposure=0.005, gain=200.0, white_balance="lock", size=(640, 480), rate=25.0, focus=3.0
    ) as camera:
        assert camera.mismatches == (
            "realsense:222 gives 64x48 instead of 640x480.",
            "realsense:222 gives rate 30 instead of 25.",
            "realsense:222 gives gain 128 instead of 200.",
            "realsense:222 offers no control of its focus.",
        )
    values = rs.devices[1].options.values
    assert (values["auto"], values["exposure"], values["auto_white"], values["white"]) == (0.0, 50.0, 0.0, 4600.0)


def test_the_stereo_module_counts_exposure_in_microseconds(rs: FakeRealSense) -> None:
    rs.devices[0].info["name"] = "Intel RealSense D405"
    with opened("realsense:111", exposure=0.005):
        assert rs.devices[0].options.values["exposure"] == pytest.approx(5000.0)


def test_a_realsense_that_stops_is_named(rs: FakeRealSense) -> None:
    with opened("realsense:", patience=0.0) as camera:
        must_read(camera)
        rs.unplugged = True
        with pytest.raises(FrameReadError, match=r"realsense:111 stopped giving frames: Frame didn't arrive"):
            list(iter(lambda: camera.read(5.0), None))


def test_a_frame_that_comes_twice_is_given_once(rs: FakeRealSense) -> None:
    rs.numbers = iter([5, 5, 5, 6, 6, 7])
    device = open_device("", CameraSettings())
    assert [int(device.grab().image[0, 0, 0]) for _ in range(3)] == [5, 6, 7]


def test_depthai_gives_aligned_depth_in_metres_and_straight_pictures(dai: FakeDepthai) -> None:
    dai.distortion = [0.1] * 14  # of the sensor; the camera takes it out
    with opened("depthai:") as camera:
        frame = must_read(camera)
        assert camera.shutter == "rolling"
    assert frame.depth is not None
    assert np.isnan(frame.depth[0, 0])
    assert frame.depth[1, 1] == pytest.approx(1.5)
    np.testing.assert_array_equal(camera.intrinsics.K, dai.matrix)
    assert not camera.intrinsics.distortion.any()
    assert not camera.intrinsics.approximate
    assert dai.requested[0] == ("Camera A", (1280, 720), "BGR888i", 30.0, True)
    assert ("Camera A", "StereoDepth.inputAlignTo") in dai.links
    assert ("StereoDepth.depth", "Sync.depth") in dai.links
    assert dai.open[0].closed


def test_the_newer_platform_aligns_depth_in_a_node_of_its_own(dai: FakeDepthai) -> None:
    dai.platform = "RVC4"
    with opened("depthai:OAK2"):
        assert dai.open[0].id == "OAK2"
    assert ("StereoDepth.depth", "ImageAlign.input") in dai.links
    assert ("Camera A", "ImageAlign.inputAlignTo") in dai.links
    assert ("ImageAlign.outputAligned", "Sync.depth") in dai.links


@pytest.mark.parametrize(
    ("model", "distortion", "lens"),
    [("Perspective", [0.01 * k for k in range(1, 15)], "pinhole"), ("Fisheye", [0.1, 0.01, 0.0, 0.0], "fisheye")],
)
def test_without_depth_the_picture_keeps_its_distortion(
    dai: FakeDepthai, model: str, distortion: list[float], lens: str
) -> None:
    dai.model, dai.distortion = model, distortion
    with opened("depthai:", depth=False) as camera:
        assert must_read(camera).depth is None
        np.testing.assert_array_equal(camera.intrinsics.distortion, distortion)
        assert camera.intrinsics.model == lens
    assert dai.requested == [("Camera A", (1280, 720), "BGR888i", 30.0, False)]
    dai.model = "Equirectangular"
    with pytest.raises(CameraError, match="model Equirectangular, which is not supported"):
        opened("depthai:", depth=False)


def test_a_camera_without_a_pair_says_that_it_has_no_depth(dai: FakeDepthai) -> None:
    del dai.sensors["C"]
    with opened("depthai:") as camera:
        assert must_read(camera).depth is None
        assert camera.mismatches == ("depthai:OAK1 has no pair of cameras for depth.",)


def test_depthai_stamps_the_middle_of_the_exposure(dai: FakeDepthai) -> None:
    dai.frame_age = 0.2
    with opened("depthai:") as camera:
        frame = must_read(camera)
        assert 0.2 <= time.monotonic() - frame.timestamp < 2.0


def test_depthai_takes_settings_and_compares_what_the_pictures_tell(dai: FakeDepthai) -> None:
    with opened("depthai:", exposure=0.002, gain=300.0, focus="lock", white_balance="lock") as camera:
        assert camera.mismatches == ("depthai:OAK1 gives exposure 0.01 s instead of 0.002 s.",)
    (name, duration, iso), *others = dai.initial.commands
    assert (name, iso, others) == ("setManualExposure", 300, [])
    assert getattr(duration, "total_seconds")() == 0.002  # noqa: B009 # an object to the type checker
    assert dai.sent[0].commands == [("setAutoWhiteBalanceLock", True), ("setManualFocus", 120)]


def test_depthai_that_falls_silent_or_is_missing_is_named(dai: FakeDepthai) -> None:
    with opened("depthai:", patience=0.0) as camera:
        must_read(camera)
        dai.silent = True
        with pytest.raises(FrameReadError, match="depthai:OAK1 stopped giving frames: nothing came"):
            list(iter(lambda: camera.read(5.0), None))
    with pytest.raises(CameraNotFoundError, match="OAK camera OAK9 cannot be opened"):
        open_camera("depthai:OAK9")
    dai.found.clear()
    with pytest.raises(CameraNotFoundError, match="no OAK camera here"):
        open_camera("depthai:")


def test_an_oak_that_was_unplugged_comes_back(dai: FakeDepthai) -> None:
    with opened("depthai:") as camera:
        must_read(camera)
        dai.unplugged = True
        until = time.monotonic() + 5.0
        while "stopped giving frames: MessageQueue was closed" not in camera.trouble:
            assert time.monotonic() < until
            time.sleep(0.005)
        dai.unplugged = False
        camera.read(0.0)
        while camera.read(0.05) is None:
            assert time.monotonic() < until + 5.0
    assert [device.id for device in dai.open] == ["OAK1", "OAK1"]
    assert all(device.closed for device in dai.open)


def test_an_older_generation_of_depthai_is_named(dai: FakeDepthai, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDepthai, "node", SimpleNamespace(ColorCamera="ColorCamera"))
    with pytest.raises(CameraError, match="older than generation 3"):
        open_camera("depthai:")


@pytest.mark.parametrize(("source", "package"), [("realsense:", "pyrealsense2"), ("depthai:", "depthai")])
def test_a_missing_package_names_its_extra(source: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=f"needs the package {package}, which is not installed") as caught:
        open_camera(source)
    assert f"vision-ik[{source.removesuffix(':')}]" in caught.value.remedy
