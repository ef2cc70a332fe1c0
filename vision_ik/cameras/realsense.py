"""RealSense depth cameras (``realsense:`` or ``realsense:SERIAL``), through the extra ``[realsense]``.

Colour comes with depth in metres aligned to it and with the factory's intrinsics. Their pixel (0, 0) is the centre
of the top-left pixel, as here.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from vision_ik.cameras.base import Depth
from vision_ik.cameras.depth_files import to_metres
from vision_ik.cameras.live import NumberedGrabber, Shot, Shutter
from vision_ik.cameras.pictures import to_bgr
from vision_ik.cameras.sdk import load_sdk
from vision_ik.cameras.settings import CameraSettings, Mode
from vision_ik.errors import CameraError, CameraNotFoundError, FrameReadError
from vision_ik.types import CameraIntrinsics

_READ_TIMEOUT = 3.0
"""[s] A camera silent for longer is gone."""
_MAX_AGE = 5.0
"""[s] An older stamp is on another clock."""
_SETTLING_PICTURES = 30
"""Taken before something is locked: about a second, in which automatics reach their value."""
_COLOUR_UNIT, _STEREO_UNIT = 1e-4, 1e-6
"""[s] Exposure of a colour sensor counts 100 us, that of a stereo module (which also gives colour on D405) 1 us."""
_GLOBAL = ("D405", "D455", "D456", "D457")
_ROLLING = ("D415", "D435", "L515")
"""Shutters of the colour sensors, by model (the makers' data sheets)."""
_BROWN = ("brown_conrady", "inverse_brown_conrady", "modified_brown_conrady")


def open_device(serial: str, settings: CameraSettings) -> RealSense:
    """Open a RealSense camera; the first one found when ``serial`` is empty.

    Raises:
        MissingDependencyError: pyrealsense2 is not installed.
        CameraNotFoundError: There is no such camera.
        CameraError: It cannot be started.
    """
    return RealSense(load_sdk("pyrealsense2", extra="realsense", device="A RealSense camera"), serial, settings)


class RealSense(NumberedGrabber):
    """One RealSense camera; see `open_device`.

    Args:
        rs: The package pyrealsense2.
        serial: Serial number; empty takes the first camera.
        settings: Wishes.
    """

    def __init__(self, rs: Any, serial: str, settings: CameraSettings) -> None:
        self._rs = rs
        device = _find(rs, serial)
        self.serial = str(device.get_info(rs.camera_info.serial_number))
        model = str(device.get_info(rs.camera_info.name))
        self._name = f"realsense:{self.serial}"
        self.shutter = _shutter(model)
        self._mismatches: list[str] = []
        self._last_number: int | None = None
        self._pipeline = rs.pipeline()
        self._align = rs.align(rs.stream.color) if settings.depth else None
        profile = self._start(settings)
        try:
            stream = profile.get_stream(rs.stream.color).as_video_stream_profile()
            self._factory = stream.get_intrinsics()
            self._compare_stream(settings, stream)
            self._apply(profile.get_device(), settings)
        except BaseException:
            self.release()
            raise
        self.mismatches = tuple(self._mismatches)

    @property
    def intrinsics(self) -> CameraIntrinsics:
        """The factory's; approximate where it cannot be told what they mean.

        Raises:
            CameraError: The factory describes the lens by a model that is not supported.
        """
        return to_intrinsics(self._factory, self._name)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What has to be known of the frames."""
        if not (_model(self._factory) in _BROWN[1:] and any(self._factory.coeffs)):
            return ()
        return (f"{self._name} has factory intrinsics of an uncertain lens model: calibrate its lens.",)

    def grab(self) -> Shot:
        """Return the next colour picture with its depth."""
        while True:
            frames = self._wait()
            frames = frames if self._align is None else self._align.process(frames)
            colour = frames.get_color_frame()
            # A set may come again with a new frame of the slower stream alone.
            if colour and colour.get_frame_number() != self._last_number:
                break
        self._last_number = colour.get_frame_number()
        age = self._age(colour)
        image = to_bgr(np.array(colour.get_data()), self._name)
        depth: Depth | None = None
        if self._align is not None and (measured := frames.get_depth_frame()):
            depth = to_metres(np.asarray(measured.get_data()), float(measured.get_units()))
        return Shot(image=image, age=age, depth=depth)

    def release(self) -> None:
        """Stop the camera."""
        with contextlib.suppress(RuntimeError):  # an unplugged one has stopped
            self._pipeline.stop()

    def _start(self, settings: CameraSettings) -> Any:
        """Start as wished, or else as the camera likes; what it then gives is compared."""
        rs = self._rs
        width, height = settings.size or (0, 0)
        rate = round(settings.rate or 0)
        faults: list[RuntimeError] = []
        for w, h, fps in dict.fromkeys([(width, height, rate), (width, height, 0), (0, 0, 0)]):
            config = rs.config()
            config.enable_device(self.serial)
            config.enable_stream(rs.stream.color, w, h, rs.format.bgr8, fps)
            if settings.depth:
                config.enable_stream(rs.stream.depth, 0, 0, rs.format.z16, fps)
            try:
                return self._pipeline.start(config)
            except RuntimeError as error:
                faults.append(error)
        raise CameraError(
            f"{self._name} could not be started: {faults[-1]}.",
            "Close other programs that use it, and plug it into a USB 3 port.",
            source=self._name,
        ) from faults[-1]

    def _compare_stream(self, settings: CameraSettings, stream: Any) -> None:
        given = (int(self._factory.width), int(self._factory.height))
        if settings.size is not None and given != settings.size:
            wish = f"{settings.size[0]}x{settings.size[1]}"
            self._mismatches.append(f"{self._name} gives {given[0]}x{given[1]} instead of {wish}.")
        if settings.rate is not None and stream.fps() != round(settings.rate):
            self._mismatches.append(f"{self._name} gives rate {stream.fps():g} instead of {settings.rate:g}.")
        if settings.pixel_format is not None:
            self._mismatches.append(f"{self._name} chooses its pixel format itself.")

    def _apply(self, device: Any, settings: CameraSettings) -> None:
        option = self._rs.option
        try:
            sensor, unit = device.first_color_sensor(), _COLOUR_UNIT
        except RuntimeError:  # D405: the stereo module gives the colour
            sensor, unit = device.first_depth_sensor(), _STEREO_UNIT
        controls = _Controls(sensor=sensor, name=self._name, mismatches=self._mismatches)
        if settings.locks:
            for _ in range(_SETTLING_PICTURES):
                self._wait()
        controls.set("exposure", option.exposure, settings.exposure, option.enable_auto_exposure, unit=unit)
        controls.set("gain", option.gain, settings.gain, None)
        controls.set(
            "white balance", option.white_balance, settings.white_balance, option.enable_auto_white_balance
        )  # fmt: skip
        if settings.focus is not None:
            self._mismatches.append(f"{self._name} offers no control of its focus.")

    def _wait(self) -> Any:
        try:
            return self._pipeline.wait_for_frames(round(1e3 * _READ_TIMEOUT))
        except RuntimeError as error:
            raise FrameReadError(
                f"{self._name} stopped giving frames: {error}.",
                "Check its cable and plug it in again.",
                source=self._name,
            ) from error

    def _age(self, colour: Any) -> float:
        """Return how long ago the middle of the exposure was [s]; 0 where the camera's clock cannot be related.

        The SDK relates the camera's clock to the wall clock ("global time") at the start of the transfer, and
        tells on the camera's own clock how long after the middle of the exposure that was.
        """
        if colour.get_frame_timestamp_domain() == self._rs.timestamp_domain.hardware_clock:
            return 0.0
        age = time.time() - 1e-3 * float(colour.get_timestamp())
        kinds = self._rs.frame_metadata_value
        if all(colour.supports_frame_metadata(kind) for kind in (kinds.frame_timestamp, kinds.sensor_timestamp)):
            transfer, middle = (
                colour.get_frame_metadata(kind) for kind in (kinds.frame_timestamp, kinds.sensor_timestamp)
            )  # fmt: skip
            age += 1e-6 * max(transfer - middle, 0)
        return age if 0.0 <= age < _MAX_AGE else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Controls:
    """Options of one sensor, written and read back."""

    sensor: Any
    name: str
    mismatches: list[str]

    def set(
        self, name: str, value: Any, wish: float | Mode | None, automatic: Any | None, *, unit: float = 1.0
    ) -> None:
        """Set an option, or what chooses it by itself, and add a sentence for what was not granted."""
        if wish is None:
            return
        if not self.sensor.supports(value) or (automatic is not None and not self.sensor.supports(automatic)):
            self.mismatches.append(f"{self.name} offers no control of its {name}.")
            return
        chosen = self.sensor.get_option(value)
        try:
            if automatic is not None:
                self.sensor.set_option(automatic, 1.0 if wish == "auto" else 0.0)
            if wish == "auto":
                return
            limits = self.sensor.get_option_range(value)
            wanted = chosen if isinstance(wish, str) else wish / unit
            self.sensor.set_option(value, min(max(wanted, limits.min), limits.max))
        except RuntimeError as error:
            self.mismatches.append(f"{self.name} refuses its {name}: {error}.")
            return
        given = self.sensor.get_option(value)
        if abs(given - wanted) > 0.01 * abs(wanted):
            suffix = "" if unit == 1.0 else " s"
            self.mismatches.append(
                f"{self.name} gives {name} {given * unit:g}{suffix} instead of {wanted * unit:g}{suffix}."
            )


def list_devices(rs: Any) -> list[tuple[str, str]]:
    """Return serial number and model of each camera that is plugged in."""
    info = rs.camera_info
    return [
        (str(device.get_info(info.serial_number)), str(device.get_info(info.name)))
        for device in rs.context().query_devices()
        if device.supports(info.serial_number)
    ]


def list_sizes(rs: Any, serial: str) -> dict[tuple[int, int], tuple[float, ...]]:
    """Return the sizes [px] that a camera gives colour in, largest first, each with its rates, fastest first."""
    sizes: dict[tuple[int, int], set[float]] = {}
    for sensor in _find(rs, serial).query_sensors():
        for profile in sensor.get_stream_profiles():
            if profile.stream_type() == rs.stream.color and profile.format() == rs.format.bgr8:
                video = profile.as_video_stream_profile()
                sizes.setdefault((video.width(), video.height()), set()).add(float(profile.fps()))
    return {size: tuple(sorted(sizes[size], reverse=True)) for size in sorted(sizes, reverse=True)}


def to_intrinsics(factory: Any, source: str) -> CameraIntrinsics:
    """Return the factory's intrinsics as ours.

    Brown-Conrady and Kannala-Brandt are OpenCV's pinhole and fisheye. What is labelled the inverse or modified
    Brown-Conrady model is projected by the SDK itself almost as Brown-Conrady (below 0.01 px for webcam-like
    lenses), while its label says the contrary: with coefficients other than 0 it is approximate.

    Args:
        factory: ``pyrealsense2.intrinsics``.
        source: For the message.

    Raises:
        CameraError: Another lens model, or numbers that are no lens.
    """
    model = _model(factory)
    coefficients = [float(c) for c in factory.coeffs]
    bent = any(coefficients)
    K = np.array([[factory.fx, 0.0, factory.ppx], [0.0, factory.fy, factory.ppy], [0.0, 0.0, 1.0]])
    if bent and model not in (*_BROWN, "kannala_brandt4", "none"):
        raise CameraError(
            f"{source} describes its lens by the model {model}, which is not supported.",
            "Calibrate its lens and pass the intrinsics.",
            source=source,
        )
    fisheye = model == "kannala_brandt4"
    try:
        return CameraIntrinsics(
            K=K,
            distortion=np.array(coefficients[:4] if fisheye else coefficients),
            width=int(factory.width),
            height=int(factory.height),
            model="fisheye" if fisheye else "pinhole",
            approximate=bent and model in _BROWN[1:],
        )
    except ValueError as error:
        raise CameraError(
            f"{source} has factory intrinsics that are no lens: {error}",
            "Calibrate its lens and pass the intrinsics.",
            source=source,
        ) from error


def _model(factory: Any) -> str:
    return str(getattr(factory.model, "name", factory.model)).rpartition(".")[2]


def _find(rs: Any, serial: str) -> Any:
    info = rs.camera_info
    devices = {
        str(device.get_info(info.serial_number)): device
        for device in rs.context().query_devices()
        if device.supports(info.serial_number)
    }
    if serial not in devices and (serial or not devices):
        found = f"Those found: {', '.join(devices)}." if devices else "Plug one into a USB 3 port."
        named = f"with the serial number {serial}" if serial else "here"
        raise CameraNotFoundError(f"There is no RealSense camera {named}.", found, serial=serial)
    return devices[serial] if serial else next(iter(devices.values()))


def _shutter(model: str) -> Shutter:
    if any(name in model for name in _GLOBAL):
        return "global"
    return "rolling" if any(name in model for name in _ROLLING) else "unknown"
