"""From light to grey levels: exposure, blur, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.types import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """What a real sensor does to an ideal picture, and when."""

    rate_hz: float = 30.0
    exposure_s: float = 0.008
    """[s] Over which motion blurs the picture when ``blur_samples`` is above 1."""
    latency_s: float = 0.05
    """[s] From the middle of the exposure until the frame can be read."""
    gain: float = 1.0
    """Brightness; above 1 the lights clip."""
    noise: float = 1.5
    """Standard deviation of the grey levels."""
    blur_px: float = 0.4
    """[px] Sigma of the lens' Gaussian blur; 0 is perfectly sharp."""
    blur_samples: int = 1
    """Pictures averaged over the exposure; each costs a rendering where something moves."""
    readout_s: float = 0.0
    """[s] Between the first and the last row of a rolling shutter; 0 is a global one."""
    drop_rate: float = 0.0
    """Share of frames that never arrive."""

    def __post_init__(self) -> None:
        for name in ("rate_hz", "gain"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}.")
        for name in ("exposure_s", "latency_s", "noise", "blur_px", "readout_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}.")
        if self.blur_samples < 1:
            raise ValueError(f"blur_samples must be at least 1, not {self.blur_samples}.")
        if not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate must be in [0, 1), not {self.drop_rate}.")
        if self.latency_s < 0.5 * (self.exposure_s + self.readout_s):
            raise ValueError(
                "latency_s must be at least half of exposure_s + readout_s: a frame cannot arrive before it ends."
            )


def expose(light: NDArray[np.float32], sensor: Sensor, seed: int) -> Image:
    """Return the picture (H, W, 3) uint8 of ideal grey levels ``light`` (H, W, 3), noise drawn from ``seed``."""
    if sensor.blur_px > 0:
        side = 2 * max(1, round(2.5 * sensor.blur_px)) + 1
        light = cv2.GaussianBlur(light, (side, side), sensor.blur_px, borderType=cv2.BORDER_REPLICATE).astype(
            np.float32, copy=False
        )
    image = np.empty(light.shape, dtype=np.uint8)
    _digitise(light, sensor.gain, sensor.noise, np.uint64(seed & 0xFFFFFFFFFFFFFFFF), image)
    return image


@njit(cache=True, nogil=True)
def _digitise(light: NDArray[np.float32], gain: float, sigma: float, seed: np.uint64, image: Image) -> None:
    """Add grey noise (the same in all channels, as after demosaicing a grey scene) and round.

    The noise of a pixel is the sum of four 16-bit words of a counter-based generator
    (splitmix64: Steele, Lea, Flood, 2014): normal within 2 % up to 2.5 sigma, 2 ns a pixel.
    """
    height, width = light.shape[:2]
    scale = np.float32(sigma / (65536.0 * np.sqrt(1.0 / 3.0)))
    g = np.float32(gain)
    offset = np.float32(2.0 * 65535.0)
    state = seed
    for y in range(height):
        for x in range(width):
            n = np.float32(0.5)
            if sigma > 0.0:
                state += np.uint64(0x9E3779B97F4A7C15)
                z = state
                z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                z = z ^ (z >> np.uint64(31))
                words = (
                    (z & np.uint64(0xFFFF))
                    + ((z >> np.uint64(16)) & np.uint64(0xFFFF))
                    + ((z >> np.uint64(32)) & np.uint64(0xFFFF))
                    + (z >> np.uint64(48))
                )
                n += (np.float32(words) - offset) * scale
            for c in range(3):
                image[y, x, c] = np.uint8(min(max(light[y, x, c] * g + n, np.float32(0.0)), np.float32(255.0)))
