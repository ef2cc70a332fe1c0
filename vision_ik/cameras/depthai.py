"""Luxonis OAK cameras (``depthai:`` or ``depthai:ID``), through the extra ``[depthai]`` (generation 3 of the SDK).

With depth, the camera gives colour without distortion, to which it aligns the depth. Without depth it gives the
picture as the sensor sees it, with the factory's distortion: better for markers, whose corners are not resampled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from vision_ik.cameras.base import Depth
from vision_ik.cameras.depth_files import to_metres
from vision_ik.cameras.live import NumberedGrabber, Shot, Shutter
from vision_ik.cameras.pictures import to_bgr
from vision_ik.cameras.sdk import load_sdk
from vision_ik.cameras.settings import CameraSettings
from vision_ik.errors import CameraError, CameraNotFoundError, FrameReadError
from vision_ik.types import CameraIntrinsics

_SIZE, _RATE = (1280, 720), 30.0
"""Of the colour picture when nothing is wished; wide screens use the whole sensor."""
_STEREO_SIZE = (640, 400)
"""[px] Of the pair that depth is computed from: all OAK stereo sensors give it."""
_READ_TIMEOUT = 3.0
"""[s] A camera silent for longer is gone."""
_MAX_AGE = 5.0
"""[s] An older stamp is on another clock."""
_SETTLING_PICTURES = 30
"""Taken before something is locked or compared: about a second, in which the camera follows."""
_MILLIMETRE = 1e-3
"""[m] Unit of the depth."""
_DEFAULT_ISO = 400
"""Sensitivity beside a fixed exposure when no gain is wished."""
_GLOBAL = ("OV9282", "OV9782", "AR0234", "OG02B10")
_ROLLING = ("IMX", "OV13850", "OV13855", "LCM48", "OV5647")
"""Shutters by sensor (the makers' data sheets)."""


def open_device(serial: str, settings: CameraSettings) -> Oak:
    """Open an OAK camera; the first one found when ``serial`` (an id or an IP address) is empty.

    Raises:
        MissingDependencyError: depthai is not installed.
        CameraNotFoundError: There is no such camera.
        CameraError: It cannot be started, or the installed SDK is older than generation 3.
    """
    dai = load_sdk("depthai", extra="depthai", device="An OAK camera")
    if not hasattr(dai.node, "Camera") or not hasattr(dai.Pipeline, "getDefaultDevice"):
        raise CameraError(
            f"The installed depthai {getattr(dai, '__version__', '')} is older than generation 3.",
            "Update it: pip install -U 'vision-ik[depthai]'.",
        )
    return Oak(dai, serial, settings)


class Oak(NumberedGrabber):
    """One OAK camera; see `open_device`.

    Args:
        dai: The package depthai.
        serial: Id or address; empty takes the first camera.
        settings: Wishes.
    """

    def __init__(self, dai: Any, serial: str, settings: CameraSettings) -> None:
        self._dai = dai
        self._faults = _faults(dai)
        self._device = _connect(dai, serial)
        try:
            self.serial = str(self._device.getDeviceId())
            self._name = f"depthai:{self.serial}"
            self._mismatches: list[str] = []
            self._transformation: Any = None
            self._pipeline = dai.Pipeline(self._device)
            self._build(settings)
            self._pipeline.start()
            self._settle(settings)
        except self._faults as error:
            self._device.close()
            raise CameraError(
                f"depthai:{serial} could not be started: {error}.",
                "Close other programs that use it, and plug it into a USB 3 port.",
                source=serial,
            ) from error
        except BaseException:
            self._device.close()
            raise
        self.mismatches = tuple(self._mismatches)

    @property
    def intrinsics(self) -> CameraIntrinsics | None:
        """The factory's for the pictures as they are given, scaled and cropped by the camera.

        Raises:
            CameraError: The factory describes the lens by a model that is not supported.
        """
        if self._transformation is None:
            return None
        return to_intrinsics(self._dai, self._transformation, self._name, straightened=self._depth)

    def grab(self) -> Shot:
        """Return the next colour picture with its depth."""
        colour, measured = self._next()
        stamp = colour.getTimestamp(self._dai.CameraExposureOffset.MIDDLE)
        age = (self._dai.Clock.now() - stamp).total_seconds()
        depth: Depth | None = None
        if measured is not None:
            depth = to_metres(np.asarray(measured.getFrame()), _MILLIMETRE)
        image = to_bgr(np.array(colour.getCvFrame()), self._name)
        return Shot(image=image, age=age if 0.0 <= age < _MAX_AGE else 0.0, depth=depth)

    def release(self) -> None:
        """Stop the camera."""
        with contextlib.suppress(*self._faults):  # an unplugged one has stopped
            self._pipeline.stop()
        self._device.close()

    def _build(self, settings: CameraSettings) -> None:
        """Wire the camera's nodes up."""
        dai = self._dai
        socket = dai.CameraBoardSocket.CAM_A
        sensors = self._device.getCameraSensorNames()
        if socket not in sensors:
            raise CameraError(f"{self._name} has no colour camera.", "Use another camera.", source=self._name)
        self.shutter = _shutter(str(sensors[socket]))
        size, rate = settings.size or _SIZE, settings.rate or _RATE
        pair = [dai.CameraBoardSocket.CAM_B, dai.CameraBoardSocket.CAM_C]
        stereo = settings.depth and all(other in sensors for other in pair)
        if settings.depth and not stereo:
            self._mismatches.append(f"{self._name} has no pair of cameras for depth.")
        if settings.pixel_format is not None:
            self._mismatches.append(f"{self._name} chooses its pixel format itself.")
        self._camera = self._pipeline.create(dai.node.Camera).build(socket)
        self._wish_controls(settings)
        colour = self._camera.requestOutput(size, dai.ImgFrame.Type.BGR888i, fps=rate, enableUndistortion=stereo)
        self._depth = stereo
        if not stereo:
            self._queue = colour.createOutputQueue(maxSize=1, blocking=False)
        else:
            sync = self._pipeline.create(dai.node.Sync)
            sync.setSyncThreshold(timedelta(seconds=0.5 / rate))
            colour.link(sync.inputs["colour"])
            self._aligned_depth(colour, pair, rate).link(sync.inputs["depth"])
            self._queue = sync.out.createOutputQueue(maxSize=1, blocking=False)
        self._commands = self._camera.inputControl.createInputQueue()

    def _aligned_depth(self, colour: Any, pair: list[Any], rate: float) -> Any:
        """Return the output of the depth aligned to colour; where that is done depends on the platform."""
        dai = self._dai
        stereo = self._pipeline.create(dai.node.StereoDepth)
        for socket, side in zip(pair, (stereo.left, stereo.right), strict=True):
            self._pipeline.create(dai.node.Camera).build(socket).requestOutput(_STEREO_SIZE, fps=rate).link(side)
        if self._device.getPlatform() == dai.Platform.RVC4:
            align = self._pipeline.create(dai.node.ImageAlign)
            stereo.depth.link(align.input)
            colour.link(align.inputAlignTo)
            return align.outputAligned
        colour.link(stereo.inputAlignTo)
        return stereo.depth

    def _wish_controls(self, settings: CameraSettings) -> None:
        """Ask for fixed values from the start."""
        control = self._camera.initialControl
        if isinstance(settings.exposure, (int, float)):
            iso = round(_DEFAULT_ISO if settings.gain is None else settings.gain)
            control.setManualExposure(timedelta(seconds=settings.exposure), iso)
        elif settings.gain is not None:
            self._mismatches.append(f"{self._name} takes a gain (ISO) with a fixed exposure only.")
        if isinstance(settings.focus, (int, float)):
            control.setManualFocus(round(settings.focus))
        if isinstance(settings.white_balance, (int, float)):
            control.setManualWhiteBalance(round(settings.white_balance))

    def _settle(self, settings: CameraSettings) -> None:
        """Let the camera follow the wishes, lock what is to be locked, and compare what the pictures tell."""
        kinds: list[tuple[str, Any, Callable[[Any], float], str]] = [
            ("exposure", settings.exposure, lambda frame: frame.getExposureTime().total_seconds(), " s"),
            ("focus", settings.focus, lambda frame: float(frame.getLensPosition()), ""),
            ("white balance", settings.white_balance, lambda frame: float(frame.getColorTemperature()), ""),
        ]
        frame, _ = self._next()
        if all(wish in (None, "auto") for _, wish, _, _ in kinds):
            return
        for _ in range(_SETTLING_PICTURES):
            frame, _ = self._next()
        control = self._dai.CameraControl()
        if settings.exposure == "lock":
            control.setAutoExposureLock(True)
        if settings.white_balance == "lock":
            control.setAutoWhiteBalanceLock(True)
        if settings.focus == "lock":
            control.setManualFocus(frame.getLensPosition())
        if settings.locks:
            self._commands.send(control)
        for name, wish, read, unit in kinds:
            given = read(frame)
            if isinstance(wish, (int, float)) and abs(given - wish) > 0.01 * abs(wish):
                self._mismatches.append(f"{self._name} gives {name} {given:g}{unit} instead of {wish:g}{unit}.")

    def _next(self) -> tuple[Any, Any]:
        """Return the next colour frame and the depth aligned to it."""
        try:
            message = self._queue.get(timedelta(seconds=_READ_TIMEOUT))
        except self._faults as error:
            raise self._gone(str(error)) from error
        if message is None:
            raise self._gone(f"nothing came for {_READ_TIMEOUT:g} s")
        colour, measured = (message["colour"], message["depth"]) if self._depth else (message, None)
        self._transformation = colour.getTransformation()
        return colour, measured

    def _gone(self, reason: str) -> FrameReadError:
        return FrameReadError(
            f"{self._name} stopped giving frames: {reason}.",
            "Check its cable and plug it in again.",
            source=self._name,
        )


def list_devices(dai: Any) -> list[tuple[str, str]]:
    """Return id and address of each camera that answers."""
    return [(str(info.getDeviceId()), str(info.name)) for info in dai.Device.getAllAvailableDevices()]


def to_intrinsics(dai: Any, transformation: Any, source: str, *, straightened: bool = False) -> CameraIntrinsics:
    """Return the lens of a picture as the camera describes it: OpenCV's pinhole with 14 coefficients, or fisheye.

    Args:
        dai: The package depthai.
        transformation: ``depthai.ImgTransformation`` of a picture.
        source: For the message.
        straightened: Whether the camera has taken the distortion out of the picture.

    Raises:
        CameraError: Another lens model, or numbers that are no lens.
    """
    model = transformation.getDistortionModel()
    coefficients = np.array([float(c) for c in transformation.getDistortionCoefficients()])
    width, height = transformation.getSize()
    bent = bool(coefficients.any()) and not straightened
    fisheye = bent and model == dai.CameraModel.Fisheye
    if bent and not fisheye and model != dai.CameraModel.Perspective:
        raise CameraError(
            f"{source} describes its lens by the model {getattr(model, 'name', model)}, which is not supported.",
            "Calibrate its lens and pass the intrinsics.",
            source=source,
        )
    if not bent:
        coefficients = np.zeros(5)
    elif fisheye:
        coefficients = coefficients[:4]
    try:
        return CameraIntrinsics(
            K=np.array(transformation.getIntrinsicMatrix(), dtype=np.float64),
            distortion=coefficients,
            width=int(width),
            height=int(height),
            model="fisheye" if fisheye else "pinhole",
        )
    except ValueError as error:
        raise CameraError(
            f"{source} has factory intrinsics that are no lens: {error}",
            "Calibrate its lens and pass the intrinsics.",
            source=source,
        ) from error


def _faults(dai: Any) -> tuple[type[Exception], ...]:
    """Return what the SDK raises: a queue of a camera that was unplugged has an exception of its own."""
    return RuntimeError, dai.MessageQueue.QueueException


def _connect(dai: Any, serial: str) -> Any:
    found = [str(info.getDeviceId()) for info in dai.Device.getAllAvailableDevices()]
    if not serial and not found:
        raise CameraNotFoundError("There is no OAK camera here.", "Plug one into a USB 3 port.", serial=serial)
    try:
        return dai.Device(dai.DeviceInfo(serial or found[0]))
    except _faults(dai) as error:
        known = f"Those found: {', '.join(found)}." if found else "Plug it into a USB 3 port, or check the network."
        raise CameraNotFoundError(
            f"The OAK camera {serial or found[0]} cannot be opened: {error}.", known, serial=serial
        ) from error


def _shutter(sensor: str) -> Shutter:
    if sensor.startswith(_GLOBAL):
        return "global"
    return "rolling" if sensor.startswith(_ROLLING) else "unknown"
