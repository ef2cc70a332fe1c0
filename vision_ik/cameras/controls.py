"""Settings of webcams through OpenCV: written, read back, and each refusal put into a sentence.

OpenCV passes numbers through to the driver, so what they mean depends on the back end
(its sources ``cap_v4l.cpp``, ``cap_dshow.cpp``, ``cap_msmf.cpp``):

- V4L2: exposure in 0.1 ms; automatic exposure 1 = off, 3 = on (aperture priority), some drivers 0 = on.
- DirectShow, Media Foundation: exposure as a power of two [s]; writing a value switches its automatic off.
  DirectShow has no switch to turn automatic exposure on again, and reads automatic focus as flags (1 on, 2 off).
- AVFoundation: none of these settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2

from vision_ik.cameras.settings import CameraSettings, Mode

_CLOSE = 0.01
"""Share by which a granted number may differ from the wish: drivers round rates to fractions."""
_V4L2_UNIT = 1e-4
"""[s] V4L2_CID_EXPOSURE_ABSOLUTE counts 100 us."""
_POWERS_OF_TWO = ("DSHOW", "MSMF")
"""Back ends that count exposure in powers of two [s]."""
_UNKNOWN = (-1.0, 0.0)
"""What OpenCV answers for a property that it cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Automatic:
    """A setting that the camera can choose by itself."""

    name: str
    value: int
    """OpenCV's key of the value."""
    switch: int
    """OpenCV's key of its automatic."""
    off: tuple[float, ...] = (0.0,)
    """Numbers that mean off, the usual one first."""
    on: tuple[float, ...] = (1.0,)


_FOCUS = _Automatic(name="focus", value=cv2.CAP_PROP_FOCUS, switch=cv2.CAP_PROP_AUTOFOCUS)
_WHITE_BALANCE = _Automatic(name="white balance", value=cv2.CAP_PROP_WB_TEMPERATURE, switch=cv2.CAP_PROP_AUTO_WB)
_EXPOSURE = _Automatic(name="exposure", value=cv2.CAP_PROP_EXPOSURE, switch=cv2.CAP_PROP_AUTO_EXPOSURE)
_EXPOSURE_V4L2 = _Automatic(
    name="exposure", value=cv2.CAP_PROP_EXPOSURE, switch=cv2.CAP_PROP_AUTO_EXPOSURE, off=(1.0,), on=(3.0, 0.0)
)
_FOCUS_DSHOW = _Automatic(name="focus", value=cv2.CAP_PROP_FOCUS, switch=cv2.CAP_PROP_AUTOFOCUS, off=(0.0, 2.0))


class WebcamControls:
    """Applies settings to an open webcam and tells what was granted.

    Args:
        capture: Open device.
        name: For the sentences.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str) -> None:
        self._capture = capture
        self._name = name
        self._back_end = capture.getBackendName()
        self._writing_stops = self._back_end in _POWERS_OF_TWO
        self.mismatches: list[str] = []
        self.exposure: float | None = None
        """[s] Exposure time where it is fixed and could be read back."""

    def apply_stream(self, settings: CameraSettings) -> None:
        """Set pixel format, size and rate, in the order in which none undoes another."""
        # Enough to fill one while the other is read; the thread that reads drains them, so none gets old.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 2.0)
        if settings.pixel_format is not None:
            self._capture.set(cv2.CAP_PROP_FOURCC, float(_packed(settings.pixel_format)))
        wishes = [] if settings.size is None else [
            (cv2.CAP_PROP_FRAME_WIDTH, float(settings.size[0]), "width"),
            (cv2.CAP_PROP_FRAME_HEIGHT, float(settings.size[1]), "height"),
        ]  # fmt: skip
        if settings.rate is not None:
            wishes.append((cv2.CAP_PROP_FPS, float(settings.rate), "rate"))
        written = {key: self._capture.set(key, wish) for key, wish, _ in wishes}
        for key, wish, name in wishes:
            self._compare(name, wish, self._capture.get(key), written=written[key])
        if settings.pixel_format is not None:
            given = _unpacked(self._capture.get(cv2.CAP_PROP_FOURCC))
            if given != settings.pixel_format:
                found = f"gives {given}" if given else "does not tell its pixel format"
                self.mismatches.append(f"{self._name} {found} instead of {settings.pixel_format}.")

    def apply_picture(self, settings: CameraSettings) -> None:
        """Set exposure, gain, focus and white balance; ``lock`` takes what the camera has chosen by now."""
        exposure = _EXPOSURE_V4L2 if self._back_end == "V4L2" else _EXPOSURE
        if settings.exposure is None:
            # Whoever fixed it before us, its time is known.
            fixed = self._back_end == "V4L2" and self._capture.get(exposure.switch) in exposure.off
            given = self._capture.get(exposure.value) if fixed else None
        else:
            given = self._apply(exposure, settings.exposure, self._exposure_number, self._exposure_time, unit=" s")
        seconds = 0.0 if given is None else self._exposure_time(given)
        self.exposure = seconds if seconds > 0 else None
        if settings.gain is not None:
            written = self._capture.set(cv2.CAP_PROP_GAIN, settings.gain)
            self._compare("gain", settings.gain, self._capture.get(cv2.CAP_PROP_GAIN), written=written)
        self._apply(_FOCUS_DSHOW if self._back_end == "DSHOW" else _FOCUS, settings.focus)
        self._apply(_WHITE_BALANCE, settings.white_balance)

    def _apply(
        self,
        setting: _Automatic,
        wish: float | Mode | None,
        encode: Callable[[float], float] = float,
        decode: Callable[[float], float] = float,
        *,
        unit: str = "",
    ) -> float | None:
        """Set a value or its automatic; return the driver's number that now holds, None where it is not fixed."""
        if wish is None:
            return None
        if wish == "auto":
            if not self._switch(setting, setting.on):
                self.mismatches.append(f"{self._name} refuses automatic {setting.name}.")
            return None
        before = self._capture.get(setting.value)
        value = before if isinstance(wish, str) else encode(wish)
        switched = self._switch(setting, setting.off)
        written = self._capture.set(setting.value, value)
        # On back ends without a switch, writing a value is what turns the automatic off.
        if not (switched or (written and self._writing_stops)):
            known = written or before not in _UNKNOWN
            reason = f"keeps its automatic {setting.name}" if known else f"offers no control of its {setting.name}"
            self.mismatches.append(f"{self._name} {reason}.")
            return None
        given = self._capture.get(setting.value)
        wanted = decode(before) if isinstance(wish, str) else wish
        self._compare(setting.name, wanted, decode(given), unit=unit, written=written)
        return given

    def _switch(self, setting: _Automatic, numbers: tuple[float, ...]) -> bool:
        """Turn an automatic on or off; return whether it then says so."""
        return any(
            self._capture.set(setting.switch, number) and self._capture.get(setting.switch) in numbers
            for number in numbers
        )

    def _compare(self, name: str, wish: float, given: float, *, unit: str = "", written: bool = True) -> None:
        """Add a sentence when what is given is not what was wished."""
        if given in _UNKNOWN and given != wish and not written:
            self.mismatches.append(f"{self._name} offers no control of its {name}; {wish:g}{unit} was asked for.")
        elif abs(given - wish) > _CLOSE * abs(wish):
            self.mismatches.append(f"{self._name} gives {name} {given:g}{unit} instead of {wish:g}{unit}.")

    def _exposure_number(self, seconds: float) -> float:
        if self._back_end in _POWERS_OF_TWO:
            return float(round(math.log2(seconds)))
        return max(round(seconds / _V4L2_UNIT), 1.0)

    def _exposure_time(self, number: float) -> float:
        """Return the exposure time [s] that a number means to this back end."""
        if self._back_end in _POWERS_OF_TWO:
            return float(2.0**number)
        return number * _V4L2_UNIT if number > 0 else number


def _packed(pixel_format: str) -> int:
    return sum(ord(letter) << (8 * place) for place, letter in enumerate(pixel_format))


def _unpacked(number: float) -> str:
    """Return the four characters in a number of OpenCV, or nothing where it is no such number."""
    code = int(number)
    letters = "".join(chr(code >> (8 * place) & 0xFF) for place in range(4)) if code > 0 else ""
    return letters if letters.isascii() and letters.isprintable() else ""
