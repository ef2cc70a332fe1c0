"""Adapter for the AprilTag library (pyapriltags): its detections, and the dark quads it finds on the way."""

from __future__ import annotations

import atexit
import ctypes
import threading
from typing import Any

import numpy as np
import pyapriltags
from pyapriltags import apriltags

from vision_ik.tags.detection.aruco import find_quads
from vision_ik.types import Floats, Image, TagDetection

_SHARPENING = 0.25
"""The library's own default; the wrapper cuts it to 0 by converting it to an integer."""
_LEAST_CONTRAST = 5
"""The library's own default."""
_QUAD_BYTES = 56
"""Of the library's ``struct quad`` in the versions 3.x, which begins with four corners (x, y) in float32."""
_ANY_FAMILY = "tag36h11"
"""Its markers are dark quads on white, like those of every bordered family."""
_SMALLEST_PICTURE = 5
"""[px] Below 3 px the library crashes or hangs."""


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


class _Picture(ctypes.Structure):
    """The library's view of a grey picture that it only reads."""

    _fields_ = (
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("stride", ctypes.c_int32),
        ("buffer", ctypes.c_void_p),
    )


class _Shared:
    """One detector of the library, used by one thread at a time and never destroyed."""

    def __init__(self, apriltag_name: str) -> None:
        self.lock = threading.Lock()
        self.detector: Any = pyapriltags.Detector(families=apriltag_name, nthreads=1, quad_decimate=1.0)
        detector_struct = self.detector.tag_detector_ptr.contents
        detector_struct.decode_sharpening = _SHARPENING
        settings = _QuadSettings.from_address(ctypes.addressof(detector_struct) + _QuadSettings.OFFSET)
        # Another layout of the structure would show other defaults here; then they stay as they are.
        known = (settings.min_cluster_pixels, settings.max_nmaxima, settings.min_white_black_diff, settings.deglitch)
        self.settings = settings if known == (5, 10, _LEAST_CONTRAST, 0) and settings.max_line_fit_mse == 10.0 else None
        self._threshold: Any = getattr(self.detector.libc, "apriltag_quad_thresh", None) if self.settings else None
        if self._threshold is not None:
            self._threshold.restype = ctypes.POINTER(apriltags._ZArray)  # pyright: ignore[reportPrivateUsage]
            # The first detection builds what finding quads needs too.
            self.detector.detect(np.zeros((16, 16), dtype=np.uint8))

    def detect(self, gray: Image, contrast: int) -> list[Any]:
        """Return the library's detections whose edges have at least ``contrast`` grey levels."""
        with self.lock:
            if self.settings is not None:
                self.settings.min_white_black_diff = contrast
            return self.detector.detect(gray)

    def quads(self, gray: Image, contrast: int) -> Floats | None:
        """Return the dark quads (N, 4, 2), clockwise, pixel centres at +0.5; None where the library's layout is new."""
        if self._threshold is None or self.settings is None:
            return None
        picture = _Picture(gray.shape[1], gray.shape[0], gray.strides[0], gray.ctypes.data)
        with self.lock:
            self.settings.min_white_black_diff = contrast
            found = self._threshold(self.detector.tag_detector_ptr, ctypes.byref(picture))
            array = found.contents
            count, width = int(array.size), int(array.el_sz)
            quads = None
            if width == _QUAD_BYTES:
                raw = ctypes.string_at(array.data, count * width) if count else b""
                table = np.frombuffer(raw, dtype=np.uint8).reshape(count, width)
                quads = np.ascontiguousarray(table[:, :32]).view(np.float32).reshape(count, 4, 2).astype(np.float64)
            array.size = 0  # so that only the array itself is freed, by the library that allocated it
            self.detector.libc.apriltag_detections_destroy(found)
        return quads


_detectors: dict[str, _Shared] = {}
"""Kept for the life of the process: the wrapper's destructor crashes."""
_registry_lock = threading.Lock()


def _shared(apriltag_name: str) -> _Shared:
    with _registry_lock:
        if apriltag_name not in _detectors:
            _detectors[apriltag_name] = _Shared(apriltag_name)
        return _detectors[apriltag_name]


def dark_quads(gray: Image, contrast: int) -> Floats:
    """Return the corners (N, 4, 2) [px] of dark quads on lighter ground, clockwise in the picture.

    The library segments the picture where it steps by at least ``contrast`` grey levels and
    fits four lines to each closed outline (Wang and Olson, AprilTag 2, 2016, section III-B).
    Where this version of it cannot be asked for quads, OpenCV is.
    """
    if min(gray.shape) < _SMALLEST_PICTURE:
        return np.zeros((0, 4, 2))
    quads = _shared(_ANY_FAMILY).quads(np.ascontiguousarray(gray), contrast)
    if quads is None:
        found = find_quads(gray)
        return np.stack(found) if found else np.zeros((0, 4, 2))
    return quads - 0.5


def detect_apriltags(
    gray: Image, family: str, apriltag_name: str, timestamp: float, contrast: int
) -> list[TagDetection]:
    """Return the AprilTags in a grey image; corners in the convention of :class:`TagDetection`.

    The library puts the centre of the top-left pixel at (0.5, 0.5) and starts at the
    bottom-left corner going counter-clockwise; both are turned into ours here.
    """
    if min(gray.shape) < _SMALLEST_PICTURE:
        return []
    return [
        TagDetection(
            tag_id=int(tag.tag_id),
            family=family,
            corners=np.asarray(tag.corners, dtype=np.float64)[::-1] - 0.5,
            timestamp=timestamp,
            hamming=int(tag.hamming),
            margin=float(tag.decision_margin),
        )
        for tag in _shared(apriltag_name).detect(np.ascontiguousarray(gray), contrast)
    ]


@atexit.register
def _disarm_destructors() -> None:  # pyright: ignore[reportUnusedFunction]
    """Keep the interpreter from running the wrapper's destructors as it leaves."""
    for shared in _detectors.values():
        shared.detector.tag_detector_ptr = None
