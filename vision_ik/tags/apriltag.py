"""Adapter for the AprilTag library (pyapriltags)."""

from __future__ import annotations

import atexit
import ctypes
import threading
from typing import Any

import numpy as np
import pyapriltags

from vision_ik.types import Image, TagDetection

_SHARPENING = 0.25
"""The library's own default; the wrapper cuts it to 0 by converting it to an integer."""
_CONTRAST = 30
"""Grey levels between black and white that the first pass asks for. The library's 5 lets sensor
noise open a segment at every pixel: 33 ms instead of 1 ms at 640x480 with a noise of 3 levels."""
_LEAST_CONTRAST = 5
"""The second pass, on frames in which the first found nothing, goes down to this."""
_CONTRAST_OVER_NOISE = 7.0
"""The range over the library's tiles is 5 to 6 times the noise; below this, noise is segmented."""


class _QuadSettings(ctypes.Structure):
    """The library's quad settings, which the wrapper leaves out of its structure."""

    _fields_ = (
        ("min_cluster_pixels", ctypes.c_int),
        ("max_nmaxima", ctypes.c_int),
        ("critical_rad", ctypes.c_float),
        ("cos_critical_rad", ctypes.c_float),
        ("max_line_fit_mse", ctypes.c_float),
        ("min_white_black_diff", ctypes.c_int),
        ("deglitch", ctypes.c_int),
    )
    OFFSET = 28
    """[bytes] From the start of the detector, in the versions 3.x."""


class _Shared:
    """One detector of the library, used by one thread at a time and never destroyed."""

    def __init__(self, apriltag_name: str, decimate: float) -> None:
        self.lock = threading.Lock()
        self.detector: Any = pyapriltags.Detector(families=apriltag_name, nthreads=1, quad_decimate=decimate)
        detector_struct = self.detector.tag_detector_ptr.contents
        detector_struct.decode_sharpening = _SHARPENING
        settings = _QuadSettings.from_address(ctypes.addressof(detector_struct) + _QuadSettings.OFFSET)
        # Another layout of the structure would show other defaults here; then they stay as they are.
        known = (settings.min_cluster_pixels, settings.max_nmaxima, settings.min_white_black_diff, settings.deglitch)
        self.settings = settings if known == (5, 10, _LEAST_CONTRAST, 0) and settings.max_line_fit_mse == 10.0 else None

    def detect(self, gray: Image) -> list[Any]:
        """Return the library's detections of a strict pass, else of a pass as faint as the noise allows."""
        with self.lock:
            if self.settings is None:
                return self.detector.detect(gray)
            self.settings.min_white_black_diff = _CONTRAST
            found = self.detector.detect(gray)
            faint = max(_LEAST_CONTRAST, int(_CONTRAST_OVER_NOISE * noise_level(gray)))
            if not found and faint < _CONTRAST:
                self.settings.min_white_black_diff = faint
                found = self.detector.detect(gray)
            return found


_detectors: dict[tuple[str, float], _Shared] = {}
"""Kept for the life of the process: the wrapper's destructor crashes."""
_registry_lock = threading.Lock()


def detect_apriltags(
    gray: Image, family: str, apriltag_name: str, timestamp: float, *, decimate: float = 1.0
) -> list[TagDetection]:
    """Return the AprilTags in a grey image; corners in the convention of :class:`TagDetection`.

    The library puts the centre of the top-left pixel at (0.5, 0.5) and starts at the
    bottom-left corner going counter-clockwise; both are turned into ours here.
    """
    with _registry_lock:
        shared = _detectors.get((apriltag_name, decimate))
        if shared is None:
            shared = _detectors[apriltag_name, decimate] = _Shared(apriltag_name, decimate)
    return [
        TagDetection(
            tag_id=int(tag.tag_id),
            family=family,
            corners=np.asarray(tag.corners, dtype=np.float64)[::-1] - 0.5,
            timestamp=timestamp,
            hamming=int(tag.hamming),
            margin=float(tag.decision_margin),
        )
        for tag in shared.detect(gray)
    ]


def noise_level(gray: Image) -> float:
    """Return the standard deviation of the pixel noise in grey levels, from differences of neighbours.

    Their median is set by flat areas, so edges and tags do not count.
    """
    rows = gray[::4].astype(np.int16)
    return 1.4826 * float(np.median(np.abs(rows[:, 1:] - rows[:, :-1]))) / np.sqrt(2.0)


@atexit.register
def _disarm_destructors() -> None:  # pyright: ignore[reportUnusedFunction]
    """Keep the interpreter from running the wrapper's destructors as it leaves."""
    for shared in _detectors.values():
        shared.detector.tag_detector_ptr = None
