"""Other marker detectors as they come, in the convention of :class:`vision_ik.types.TagDetection`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
import pyapriltags

from vision_ik.types import CameraIntrinsics, Floats, Image

Found: TypeAlias = list[tuple[int, Floats]]
"""Id and corners (4, 2) [px] of each marker."""

_DICTIONARIES = {
    "36h11": "DICT_APRILTAG_36H11",
    "25h9": "DICT_APRILTAG_25H9",
    "16h5": "DICT_APRILTAG_16H5",
    **{f"{n}x{n}_{count}": f"DICT_{n}X{n}_{count}" for n in (4, 5, 6, 7) for count in (50, 100, 250, 1000)},
}
_APRILTAG_SHIFT = 0.44
"""[px] By which CORNER_REFINE_APRILTAG reports both coordinates too large."""


@contextmanager
def one_thread() -> Generator[None]:
    """Keep OpenCV to the calling thread, so that the time of that thread is all that a call costs."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def opencv_detector(family: str, refinement: int = cv2.aruco.CORNER_REFINE_NONE) -> Callable[[Image], Found]:
    """Return OpenCV's detector with default settings but for the corner refinement.

    Its AprilTag dictionaries hold the patterns turned by 180 degrees against the image sets.
    """
    name = _DICTIONARIES[family]
    number = getattr(cv2.aruco, name, None)
    if number is None:
        number = getattr(cv2.aruco, name.replace("H", "h"))
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = refinement
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(number), parameters)
    turns = 2 if "APRILTAG" in name else 0
    shift = _APRILTAG_SHIFT if refinement == cv2.aruco.CORNER_REFINE_APRILTAG else 0.0

    def detect(gray: Image) -> Found:
        corners, ids, _ = detector.detectMarkers(gray)
        if not len(corners):
            return []
        return [
            (int(i), np.roll(np.asarray(quad, dtype=np.float64).reshape(4, 2), turns, axis=0) - shift)
            for i, quad in zip(np.ravel(ids), corners, strict=True)
        ]

    return detect


@lru_cache(maxsize=8)
def _kept(family: str) -> Any:
    """Return one detector of the AprilTag library; kept, as its destructor crashes."""
    return pyapriltags.Detector(families=f"tag{family}", nthreads=1, quad_decimate=1.0)


def apriltag_detector(family: str) -> Callable[[Image], Found]:
    """Return the AprilTag library as pyapriltags wraps it, at full resolution, with its default settings."""

    def detect(gray: Image) -> Found:
        return [
            (int(tag.tag_id), np.asarray(tag.corners, dtype=np.float64)[::-1] - 0.5)
            for tag in _kept(family).detect(gray)
        ]

    return detect


def apriltag_pose(gray: Image, family: str, size_m: float, lens: CameraIntrinsics) -> dict[int, tuple[Floats, Floats]]:
    """Return rotation (3, 3) and translation (3,) [m] of each tag as the AprilTag library estimates them.

    Its tag frame has y down and z into the tag; both are turned into ours. Lenses with distortion it does not know.
    """
    K = lens.K
    # The library's pixel centres lie at (0.5, 0.5).
    parameters = [K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5]
    found = _kept(family).detect(gray, estimate_tag_pose=True, camera_params=parameters, tag_size=size_m)
    flip = np.diag([1.0, -1.0, -1.0])
    return {int(tag.tag_id): (np.asarray(tag.pose_R) @ flip, np.asarray(tag.pose_t).ravel()) for tag in found}


def opencv_pose(corners: Floats, size_m: float, lens: CameraIntrinsics) -> tuple[Floats, Floats] | None:
    """Return rotation and translation [m] by SOLVEPNP_IPPE_SQUARE, as OpenCV's tutorials do; None when it fails."""
    half = 0.5 * size_m
    square = np.array([[-half, half, 0], [half, half, 0], [half, -half, 0], [-half, -half, 0]], dtype=np.float64)
    good, rvec, tvec = cv2.solvePnP(
        square, np.ascontiguousarray(corners), lens.K, lens.distortion, flags=cv2.SOLVEPNP_IPPE_SQUARE
    )
    return (
        (np.asarray(cv2.Rodrigues(rvec)[0], dtype=np.float64), np.asarray(tvec, dtype=np.float64).ravel())
        if good
        else None
    )
