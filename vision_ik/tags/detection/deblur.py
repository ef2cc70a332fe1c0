"""Undoing the smear of motion during the exposure, blindly: the path from the picture itself, then its inverse.

A straight path of length L smears the picture with a box, whose two ends appear in the derivative
along the path as a positive and a negative copy of the scene, L apart. With the spectrum of the
scene whitened, its autocorrelation has a deep minimum at the vector of the path (the idea of
Yitzhaky and Kopeika, "Identification of blur parameters from motion blurred images", 1997, in two
dimensions, so that the direction need not be known). Wiener's filter then inverts the box.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.types import Floats, Image

_Plane = NDArray[np.float32]
_WHITENING = 0.01
"""Share of the mean power below which a frequency is noise and stays weak."""
_SHORTEST, _LONGEST = 4.0, 24.0
"""[px] Paths that are looked for; shorter ones spoil little, longer ones leave nothing to read."""
_DEPTH = 6.0
"""Of the minimum, in standard deviations of the autocorrelation around it."""
_NOISE_TO_SIGNAL = 0.004, 0.001
"""Of Wiener's filter: what it always has, and per grey level^2 of noise."""
_RIM = 16
"""[px] By which the picture is mirrored outwards before the transform, which takes it as periodic."""


def motion_path(gray: Image) -> Floats | None:
    """Return the path (2,) [px] of the picture during the exposure, sign unknown, or None where none is evident."""
    height, width = gray.shape
    if min(height, width) <= 2 * _LONGEST:
        return None
    picture = (gray - np.float32(gray.mean())) * _window(height, width)
    power = np.abs(np.fft.rfft2(picture)) ** 2
    white = power / (_WHITENING * power.mean() + power + np.float32(1e-9))
    m = int(_LONGEST)
    around = np.roll(np.fft.irfft2(white, s=(height, width)), (m, m), axis=(0, 1))[: 2 * m + 1, : 2 * m + 1]
    correlation = cv2.GaussianBlur(around.astype(np.float32), (0, 0), 0.8)
    y, x = np.mgrid[-m : m + 1, -m : m + 1]
    ring = (np.hypot(x, y) >= _SHORTEST) & (np.hypot(x, y) <= _LONGEST)
    values = correlation[ring]
    at = int(values.argmin())
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    if float(np.median(values) - values[at]) < _DEPTH * max(spread, 1e-12):
        return None
    return np.array([x[ring][at], y[ring][at]], dtype=np.float64)


def without_motion(gray: Image, path: Floats, noise: float) -> Image:
    """Return the picture as it would be had it stood still, for a straight path (2,) [px] at constant speed.

    The smear's transfer function is sinc(f . path); Wiener's filter is K / (K^2 + n) with the ratio n
    of the noise's power to the signal's.
    """
    height, width = gray.shape
    rows, columns = (cv2.getOptimalDFTSize(n + 2 * _RIM) for n in (height, width))
    below, right = rows - height - _RIM, columns - width - _RIM
    padded = cv2.copyMakeBorder(gray, _RIM, below, _RIM, right, cv2.BORDER_REFLECT).astype(np.float32)
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    K = np.sinc((fx * path[0] + fy * path[1]).astype(np.float32))
    always, per_noise = _NOISE_TO_SIGNAL
    sharp = np.fft.irfft2(
        np.fft.rfft2(padded) * (K / (K * K + np.float32(always + per_noise * noise**2))), s=padded.shape
    )
    return np.clip(np.rint(sharp[_RIM : _RIM + height, _RIM : _RIM + width]), 0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def _window(height: int, width: int) -> _Plane:
    return np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
