"""Webcams written for the tests: drivers with their quirks behind the face of cv2.VideoCapture."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
from cameras_media import flat_image
from numpy.typing import NDArray


class FakeCapture:
    """A webcam that knows one size; subclasses have controls."""

    back_end = "V4L2"

    def __init__(self, index: int) -> None:
        self.index = index
        self.frames = 3.0
        self.open = index == 0
        self.stamp = 0.0
        self.values: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: 64.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 48.0,
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
        }
        self.written: list[tuple[int, float]] = []
        self.pictures: list[NDArray[np.generic]] = []

    def isOpened(self) -> bool:
        return self.open

    def getBackendName(self) -> str:
        return self.back_end

    def set(self, key: int, value: float) -> bool:
        self.written.append((key, value))
        return False

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC:
            return self.stamp * 1e3
        return self.values.get(key, -1.0)

    def read(self) -> tuple[bool, NDArray[np.generic] | None]:
        self.frames -= 1
        if self.frames < 0:
            return False, None
        return True, self.pictures.pop(0) if self.pictures else flat_image(self.brightness())

    def brightness(self) -> int:
        return 9

    def release(self) -> None:
        self.open = False


class UvcCapture(FakeCapture):
    """A webcam with all controls under V4L2: exposure in 0.1 ms, automatic exposure 1 = off and 3 = on."""

    honest = True
    """Whether the exposure it tells is the one it uses; some tell their default while the automatic is on."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.frames = math.inf
        self.values |= {
            cv2.CAP_PROP_AUTO_EXPOSURE: 3.0,
            cv2.CAP_PROP_EXPOSURE: 100.0,
            cv2.CAP_PROP_AUTOFOCUS: 1.0,
            cv2.CAP_PROP_FOCUS: 40.0,
            cv2.CAP_PROP_AUTO_WB: 1.0,
            cv2.CAP_PROP_WB_TEMPERATURE: 4600.0,
            cv2.CAP_PROP_GAIN: 20.0,
        }
        self.stamp = time.monotonic()

    def set(self, key: int, value: float) -> bool:
        super().set(key, value)
        if key == cv2.CAP_PROP_AUTO_EXPOSURE and value not in (1.0, 3.0):
            return False
        locked_by = {
            cv2.CAP_PROP_EXPOSURE: (cv2.CAP_PROP_AUTO_EXPOSURE, 1.0),
            cv2.CAP_PROP_FOCUS: (cv2.CAP_PROP_AUTOFOCUS, 0.0),
            cv2.CAP_PROP_WB_TEMPERATURE: (cv2.CAP_PROP_AUTO_WB, 0.0),
        }
        switch, off = locked_by.get(key, (-1, 0.0))
        if switch >= 0 and self.values[switch] != off:
            return False
        limits = {cv2.CAP_PROP_EXPOSURE: (3.0, 2047.0), cv2.CAP_PROP_GAIN: (0.0, 100.0)}
        low, high = limits.get(key, (-math.inf, math.inf))
        self.values[key] = min(max(value, low), high)
        return True

    def brightness(self) -> int:
        if self.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 3.0:
            return 100
        return 100 if self.honest else 30


class DshowCapture(FakeCapture):
    """A webcam under DirectShow: exposure as a power of two, no switch for it, focus flags 1 and 2."""

    back_end = "DSHOW"

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.frames = math.inf
        self.values |= {cv2.CAP_PROP_EXPOSURE: -5.0, cv2.CAP_PROP_AUTOFOCUS: 1.0, cv2.CAP_PROP_FOCUS: 40.0}
        self.automatic = True

    def set(self, key: int, value: float) -> bool:
        super().set(key, value)
        if key == cv2.CAP_PROP_AUTO_EXPOSURE or key not in self.values:
            return False
        if key == cv2.CAP_PROP_EXPOSURE:
            self.automatic = False
        if key == cv2.CAP_PROP_AUTOFOCUS:
            value = 1.0 if value == 1.0 else 2.0
        self.values[key] = value
        return True


class AppleCapture(FakeCapture):
    """A webcam under AVFoundation: no controls at all."""

    back_end = "AVFOUNDATION"

    def get(self, key: int) -> float:
        return self.values.get(key, 0.0)
