"""Adapter for OpenCV's marker detector (class API of 4.10 and later)."""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.tags.dictionaries import MarkerDictionary
from vision_ik.types import Floats, Image


class ArucoBackend:
    """Finds the markers of one dictionary in grey images.

    OpenCV's defaults miss dim and low-contrast markers, so a second, relaxed pass runs on
    frames in which the first found nothing. ``useAruco3Detection`` stays off (it skips
    the corner refinement). Corners come unrefined, for :func:`refine_corners` to move:
    OpenCV's own refinements are off by 0.2 px (SUBPIX) and 0.44 px (APRILTAG).

    Args:
        dictionary: Upright patterns.
    """

    def __init__(self, dictionary: MarkerDictionary) -> None:
        strict = cv2.aruco.DetectorParameters()
        relaxed = cv2.aruco.DetectorParameters()
        relaxed.minOtsuStdDev = 1.5
        relaxed.adaptiveThreshConstant = 3
        relaxed.adaptiveThreshWinSizeMax = 43
        self._passes = [cv2.aruco.ArucoDetector(dictionary.opencv, p) for p in (strict, relaxed)]

    def detect(self, gray: Image) -> list[tuple[int, Floats]]:
        """Return id and rough corners (4, 2) of each marker found, in the order of :class:`TagDetection`."""
        for detector in self._passes:
            corners, ids, _ = detector.detectMarkers(gray)
            if ids is not None and len(ids):
                return [
                    (int(i), np.asarray(quad, dtype=np.float64).reshape(4, 2))
                    for i, quad in zip(np.ravel(ids), corners, strict=True)
                ]
        return []
