"""Adapter for the AprilTag library (pyapriltags)."""

from __future__ import annotations

import atexit
import threading
from typing import Any

import numpy as np
import pyapriltags

from vision_ik.types import Image, TagDetection

_SHARPENING = 0.25
"""The library's own default; the wrapper cuts it to 0 by converting it to an integer."""

_detectors: dict[tuple[str, float], tuple[Any, threading.Lock]] = {}
"""Kept for the life of the process: the wrapper's destructor crashes."""


def detect_apriltags(
    gray: Image, family: str, apriltag_name: str, timestamp: float, *, decimate: float = 1.0
) -> list[TagDetection]:
    """Return the AprilTags in a grey image; corners in the convention of :class:`TagDetection`.

    The library puts the centre of the top-left pixel at (0.5, 0.5) and starts at the
    bottom-left corner going counter-clockwise; both are turned into ours here.
    """
    detector, lock = _shared_detector(apriltag_name, decimate)
    with lock:
        found = detector.detect(gray)
    return [
        TagDetection(
            tag_id=int(tag.tag_id),
            family=family,
            corners=np.asarray(tag.corners, dtype=np.float64)[::-1] - 0.5,
            timestamp=timestamp,
            hamming=int(tag.hamming),
            margin=float(tag.decision_margin),
        )
        for tag in found
    ]


def _shared_detector(apriltag_name: str, decimate: float) -> tuple[Any, threading.Lock]:
    key = (apriltag_name, decimate)
    if key not in _detectors:
        detector = pyapriltags.Detector(families=apriltag_name, nthreads=1, quad_decimate=decimate, refine_edges=1)
        detector.tag_detector_ptr.contents.decode_sharpening = _SHARPENING  # pyright: ignore[reportOptionalMemberAccess]
        _detectors[key] = (detector, threading.Lock())
    return _detectors[key]


@atexit.register
def _forget_detectors() -> None:
    """Disarm the crashing destructors before the interpreter runs them."""
    for detector, _ in _detectors.values():
        detector.tag_detector_ptr = None
