"""Adapter for OpenCV's marker detector (class API of 4.10 and later)."""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.tags.dictionaries import MarkerDictionary
from vision_ik.types import Floats, Image

_BORDER_ERRORS = 0.2
"""Share of white cells accepted in the black border; OpenCV's 0.35 reads markers into clutter."""


class ArucoBackend:
    """Finds the markers of one dictionary in grey images.

    OpenCV's defaults miss dim and low-contrast markers, so a second, relaxed pass runs on
    frames in which the first found nothing. ``useAruco3Detection`` stays off (it skips
    the corner refinement). Corners come unrefined, for :func:`refine_corners` to move:
    OpenCV's own refinements are off by 0.2 px (SUBPIX) and 0.44 px (APRILTAG).

    Args:
        dictionary: Upright patterns.
        max_hamming: Most wrong bits to correct.
    """

    def __init__(self, dictionary: MarkerDictionary, max_hamming: int) -> None:
        markers = dictionary.opencv(max_hamming)
        self._passes = [cv2.aruco.ArucoDetector(markers, parameters) for parameters in (_strict(), _relaxed())]

    def detect(self, gray: Image) -> list[tuple[int, Floats]]:
        """Return id and rough corners (4, 2) of each marker found, in the order of :class:`TagDetection`."""
        for detector in self._passes:
            corners, ids, _ = detector.detectMarkers(gray)
            if len(corners):
                return [
                    (int(i), np.asarray(quad, dtype=np.float64).reshape(4, 2))
                    for i, quad in zip(np.ravel(ids), corners, strict=True)
                ]
        return []


def find_quads(gray: Image) -> list[Floats]:
    """Return the (4, 2) corners of dark quads in a grey image, clockwise, whatever is inside them."""
    nothing = np.zeros((1, 3, 3), dtype=np.uint8)  # a dictionary that matches no marker rejects every candidate
    parameters = _relaxed()
    # The edge of the paper and that of the marker lie close together; keep both candidates.
    parameters.minMarkerDistanceRate = 0.005
    parameters.minGroupDistance = 0.005
    dictionary = cv2.aruco.Dictionary(cv2.aruco.Dictionary.getByteListFromBits(nothing[0]), 3, 0)
    detector = cv2.aruco.ArucoDetector(dictionary, parameters)
    _, _, rejected = detector.detectMarkers(gray)
    return [np.asarray(quad, dtype=np.float64).reshape(4, 2) for quad in rejected]


def _strict() -> cv2.aruco.DetectorParameters:
    parameters = cv2.aruco.DetectorParameters()
    parameters.errorCorrectionRate = 1.0  # the dictionary says how many bits, not a share of them
    parameters.maxErroneousBitsInBorderRate = _BORDER_ERRORS
    return parameters


def _relaxed() -> cv2.aruco.DetectorParameters:
    parameters = _strict()
    parameters.minOtsuStdDev = 1.5
    parameters.adaptiveThreshConstant = 3
    parameters.adaptiveThreshWinSizeMax = 43
    return parameters
