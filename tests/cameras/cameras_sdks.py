"""Stand-ins for the makers' packages: the calls that are used, with the names, units and failures of the real ones.

Checked against pyrealsense2 2.59 and the type stubs of depthai 3.12.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RsOptions:
    """Options of a sensor: exposure in 100 us, clamped to its range."""

    def __init__(self) -> None:
        self.values = {"exposure": 156.0, "auto": 1.0, "gain": 64.0, "white": 4600.0, "auto_white": 1.0}

    def supports(self, option: str) -> bool:
        return option in self.values

    def get_option(self, option: str) -> float:
        return self.values[option]

    def get_option_range(self, option: str) -> SimpleNamespace:
        low, high = {"exposure": (1.0, 10000.0), "gain": (0.0, 128.0), "white": (2800.0, 6500.0)}[option]
        return SimpleNamespace(min=low, max=high, step=1.0, default=low)

    def set_option(self, option: str, value: float) -> None:
        if option in self.values and not (option == "exposure" and self.values["auto"] == 1.0):
            self.values[option] = value
            return
        raise RuntimeError(f"failed to set {option}")


class RsDevice:
    def __init__(self, serial: str, name: str) -> None:
        self.info = {"serial": serial, "name": name}
        self.options = RsOptions()

    def supports(self, info: str) -> bool:
        return info in self.info

    def get_info(self, info: str) -> str:
        return self.info[info]

    def query_sensors(self) -> list[SimpleNamespace]:
        modes = [(640, 480, 60, "bgr8"), (1280, 720, 15, "bgr8"), (1280, 720, 30, "bgr8"), (1920, 1080, 30, "yuyv")]
        profiles = [
            SimpleNamespace(
                stream_type=lambda: "colour",
                format=lambda kind=kind: kind,
                fps=lambda rate=rate: rate,
                as_video_stream_profile=lambda w=w, h=h: SimpleNamespace(width=lambda: w, height=lambda: h),
            )
            for w, h, rate, kind in modes
        ]
        return [SimpleNamespace(get_stream_profiles=lambda: profiles)]

    def first_color_sensor(self) -> RsOptions:
        if "D405" in self.info["name"]:
            raise RuntimeError("Could not find requested sensor type!")
        return self.options

    def first_depth_sensor(self) -> RsOptions:
        return self.options


class RsFrame:
    """A colour or depth frame; falsy when it is missing, as in the SDK."""

    def __init__(self, data: NDArray[np.generic] | None, number: int, rs: FakeRealSense) -> None:
        self.data, self.number, self.rs = data, number, rs
        self.timestamp = 1e3 * (time.time() - rs.transfer_age)

    def __bool__(self) -> bool:
        return self.data is not None

    def get_data(self) -> NDArray[np.generic] | None:
        return self.data

    def get_frame_number(self) -> int:
        return self.number

    def get_units(self) -> float:
        return self.rs.depth_unit

    def get_timestamp(self) -> float:
        return self.timestamp

    def get_frame_timestamp_domain(self) -> str:
        return self.rs.domain

    def supports_frame_metadata(self, kind: str) -> bool:
        return self.rs.has_metadata

    def get_frame_metadata(self, kind: str) -> int:
        return {"frame_timestamp": 5_000_000 + self.rs.exposure_us // 2, "sensor_timestamp": 5_000_000}[kind]


class RsFrameSet:
    def __init__(self, colour: RsFrame, depth: RsFrame) -> None:
        self.colour, self.depth = colour, depth

    def get_color_frame(self) -> RsFrame:
        return self.colour

    def get_depth_frame(self) -> RsFrame:
        return self.depth


class RsConfig:
    def __init__(self) -> None:
        self.serial = ""
        self.streams: dict[str, tuple[int, int, str, int]] = {}

    def enable_device(self, serial: str) -> None:
        self.serial = serial

    def enable_stream(self, stream: str, width: int, height: int, kind: str, rate: int) -> None:
        self.streams[stream] = (width, height, kind, rate)


class RsPipeline:
    def __init__(self, rs: FakeRealSense) -> None:
        self.rs = rs
        self.running = False
        self.config: RsConfig | None = None

    def start(self, config: RsConfig) -> SimpleNamespace:
        width, height, _, rate = config.streams["colour"]
        if (width, height) not in ((0, 0), self.rs.size) or rate not in (0, 30):
            raise RuntimeError("Couldn't resolve requests")
        self.running, self.config = True, config
        self.rs.started.append(config)
        stream = SimpleNamespace(get_intrinsics=lambda: self.rs.intrinsics, fps=lambda: 30)
        profile = SimpleNamespace(as_video_stream_profile=lambda: stream)
        device = next(d for d in self.rs.devices if d.info["serial"] == config.serial)
        return SimpleNamespace(get_stream=lambda kind: profile, get_device=lambda: device)  # pyright: ignore

    def wait_for_frames(self, timeout_ms: int) -> RsFrameSet:
        if self.rs.unplugged:
            raise RuntimeError(f"Frame didn't arrive within {timeout_ms}")
        time.sleep(0.001)
        number = next(self.rs.numbers)
        width, height = self.rs.size
        colour = np.full((height, width, 3), number % 256, dtype=np.uint8)
        depth = np.full((height // 2, width // 2), 2000, dtype=np.uint16)  # not aligned yet
        return RsFrameSet(RsFrame(colour, number, self.rs), RsFrame(depth, number, self.rs))

    def stop(self) -> None:
        if not self.running:
            raise RuntimeError("stop() cannot be called before start()")
        self.running = False


class RsAlign:
    def __init__(self, rs: FakeRealSense) -> None:
        self.rs = rs

    def process(self, frames: RsFrameSet) -> RsFrameSet:
        width, height = self.rs.size
        aligned = np.full((height, width), 2000, dtype=np.uint16)
        aligned[0, 0] = 0
        return RsFrameSet(frames.colour, RsFrame(aligned, frames.colour.number, self.rs))


class FakeRealSense:
    """Stands in for the module pyrealsense2."""

    stream = SimpleNamespace(color="colour", depth="depth")
    format = SimpleNamespace(bgr8="bgr8", z16="z16")
    option = SimpleNamespace(
        exposure="exposure",
        enable_auto_exposure="auto",
        gain="gain",
        white_balance="white",
        enable_auto_white_balance="auto_white",
    )
    camera_info = SimpleNamespace(serial_number="serial", name="name")
    timestamp_domain = SimpleNamespace(hardware_clock="hardware", system_time="system", global_time="global")
    frame_metadata_value = SimpleNamespace(frame_timestamp="frame_timestamp", sensor_timestamp="sensor_timestamp")

    def __init__(self, *devices: tuple[str, str]) -> None:
        self.devices = [RsDevice(*device) for device in devices]
        self.size = (64, 48)
        self.intrinsics = SimpleNamespace(
            width=64, height=48, fx=60.0, fy=61.0, ppx=31.0, ppy=24.0, coeffs=[0.0] * 5,
            model=SimpleNamespace(name="inverse_brown_conrady"),
        )  # fmt: skip
        self.numbers: Iterator[int] = iter(range(1, 10**9))
        self.started: list[RsConfig] = []
        self.unplugged = False
        self.depth_unit = 0.0005
        self.domain = "global"
        self.transfer_age = 0.0
        self.has_metadata = True
        self.exposure_us = 10_000
        self.config = RsConfig

    def context(self) -> SimpleNamespace:
        return SimpleNamespace(query_devices=lambda: self.devices)

    def pipeline(self) -> RsPipeline:
        return RsPipeline(self)

    def align(self, stream: str) -> RsAlign:
        assert stream == "colour"
        return RsAlign(self)


class DaiControl:
    """Collects commands; each method is one of the SDK's."""

    def __init__(self) -> None:
        self.commands: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., DaiControl]:
        if not name.startswith("set"):
            raise AttributeError(name)

        def take(*values: object) -> DaiControl:
            self.commands.append((name, *values))
            return self

        return take


class DaiPort:
    """An input or output of a node."""

    def __init__(self, name: str, dai: FakeDepthai) -> None:
        self.name, self.dai = name, dai

    def link(self, other: DaiPort) -> None:
        self.dai.links.append((self.name, other.name))

    def createOutputQueue(self, maxSize: int = 16, blocking: bool = False) -> SimpleNamespace:
        assert not blocking
        self.dai.queue_of = self.name
        return SimpleNamespace(get=self.dai.next_message)

    def createInputQueue(self) -> SimpleNamespace:
        return SimpleNamespace(send=self.dai.sent.append)


class DaiNode:
    def __init__(self, kind: str, dai: FakeDepthai) -> None:
        self.kind, self.dai = kind, dai
        self.initialControl = dai.initial
        self.inputs = {name: DaiPort(f"{kind}.{name}", dai) for name in ("colour", "depth")}

    def __getattr__(self, name: str) -> Any:
        if name in ("left", "right", "depth", "inputAlignTo", "input", "outputAligned", "out", "inputControl"):
            return DaiPort(f"{self.kind}.{name}", self.dai)
        raise AttributeError(name)

    def build(self, socket: str) -> DaiNode:
        self.kind = f"Camera {socket}"
        return self

    def requestOutput(
        self, size: tuple[int, int], type: str = "", *, fps: float, enableUndistortion: bool = False
    ) -> DaiPort:
        self.dai.requested.append((self.kind, size, type, fps, enableUndistortion))
        return DaiPort(self.kind, self.dai)

    def setSyncThreshold(self, threshold: timedelta) -> None:
        assert threshold > timedelta(0)


class DaiDevice:
    def __init__(self, info: SimpleNamespace) -> None:
        dai = info.dai
        if info.name not in dai.found:
            raise RuntimeError("Cannot find any device with given deviceInfo")
        self.dai, self.id, self.closed = dai, info.name, False
        dai.open.append(self)

    def getDeviceId(self) -> str:
        return self.id

    def getCameraSensorNames(self) -> dict[str, str]:
        return self.dai.sensors

    def getPlatform(self) -> str:
        return self.dai.platform

    def close(self) -> None:
        self.closed = True


class QueueException(Exception):  # noqa: N818 # the SDK's name
    """What a queue of an unplugged camera raises; no RuntimeError."""


class FakeDepthai:
    """Stands in for the module depthai, generation 3."""

    MessageQueue = SimpleNamespace(QueueException=QueueException)

    CameraBoardSocket = SimpleNamespace(CAM_A="A", CAM_B="B", CAM_C="C")
    CameraExposureOffset = SimpleNamespace(MIDDLE="middle")
    CameraModel = SimpleNamespace(Perspective="Perspective", Fisheye="Fisheye", Equirectangular="Equirectangular")
    ImgFrame = SimpleNamespace(Type=SimpleNamespace(BGR888i="BGR888i"))
    Platform = SimpleNamespace(RVC2="RVC2", RVC4="RVC4")
    node = SimpleNamespace(Camera="Camera", StereoDepth="StereoDepth", ImageAlign="ImageAlign", Sync="Sync")
    CameraControl = DaiControl

    def __init__(self, *found: str) -> None:
        self.found = list(found)
        self.sensors = {"A": "IMX378", "B": "OV9282", "C": "OV9282"}
        self.platform = "RVC2"
        self.initial = DaiControl()
        self.links: list[tuple[str, str]] = []
        self.requested: list[tuple[object, ...]] = []
        self.sent: list[DaiControl] = []
        self.open: list[DaiDevice] = []
        self.queue_of = ""
        self.size = (64, 48)
        self.distortion: list[float] = []
        self.model = "Perspective"
        self.matrix = [[50.0, 0.0, 32.0], [0.0, 51.0, 23.0], [0.0, 0.0, 1.0]]
        self.exposure_s = 0.01
        self.frame_age = 0.0
        self.silent = False
        self.unplugged = False
        self.numbers = iter(range(1, 10**9))
        self.Device: Any = DaiDevice
        self.Device.getAllAvailableDevices = lambda: [
            SimpleNamespace(getDeviceId=lambda name=name: name, name=f"1.{k}") for k, name in enumerate(self.found)
        ]
        self.Pipeline: Any = lambda device: SimpleNamespace(  # pyright: ignore
            create=self._create, start=lambda: None, stop=self._stop
        )
        self.Pipeline.getDefaultDevice = None
        self.Clock = SimpleNamespace(now=lambda: timedelta(seconds=time.monotonic()))

    def DeviceInfo(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, dai=self)

    def _create(self, kind: str) -> DaiNode:
        return DaiNode(kind, self)

    def _stop(self) -> None:
        if self.unplugged:
            raise RuntimeError("Communication exception")

    def next_message(self, timeout: timedelta) -> object | None:
        if self.unplugged:
            raise QueueException("MessageQueue was closed")
        if self.silent:
            return None
        time.sleep(0.001)
        width, height = self.size
        colour = self._frame(np.full((height, width, 3), next(self.numbers) % 256, dtype=np.uint8))
        depth = np.full((height, width), 1500, dtype=np.uint16)
        depth[0, 0] = 0
        return {"colour": colour, "depth": self._frame(depth)} if self.queue_of == "Sync.out" else colour

    def _frame(self, data: NDArray[np.generic]) -> SimpleNamespace:
        taken = timedelta(seconds=time.monotonic() - self.frame_age)
        transformation = SimpleNamespace(
            getSize=lambda: self.size,
            getIntrinsicMatrix=lambda: self.matrix,
            getDistortionCoefficients=lambda: self.distortion,
            getDistortionModel=lambda: self.model,
        )
        return SimpleNamespace(
            getTimestamp=lambda offset: taken if offset == "middle" else math.nan,  # pyright: ignore
            getCvFrame=lambda: data,
            getFrame=lambda: data,
            getTransformation=lambda: transformation,
            getExposureTime=lambda: timedelta(seconds=self.exposure_s),
            getLensPosition=lambda: 120,
            getColorTemperature=lambda: 5000,
        )
