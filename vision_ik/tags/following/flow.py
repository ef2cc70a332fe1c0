"""Optical flow of a marker's corners of cells from one picture to the next.

Pyramidal Lucas-Kanade (Bouguet, "Pyramidal implementation of the Lucas Kanade feature tracker", 2000), forwards
and backwards (Kalal, Mikolajczyk, Matas, "Forward-backward error", ICPR 2010). It bridges motions larger than a
cell, over which edges would be mistaken for their neighbours; it is not trusted beyond that, so it cannot drift.
"""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.types import Floats, Image

_WINDOW = (13, 13)
"""[px]"""
_LEVELS = 3
"""Of the pyramid above the picture: motions of up to 8 windows."""
_RETURN_PX = 1.0
"""[px] Farthest that a point may end from where it started, tracked there and back."""
_AGREE_PX = 2.0
"""[px] Farthest that a point may lie from where the others say."""
_LEAST_POINTS = 6
_TERMINATION = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.03)


def flow_motion(before: Image, after: Image, points: Floats, guess: Floats) -> Floats | None:
    """Return the affine motion (2, 3) of points from one picture to the next, None when too few agree.

    Between two frames a small plane moves almost affinely; what is left the fit of the print finds.

    Args:
        before: Picture in which the points are known.
        after: Next picture, of the same size.
        points: (N, 2) [px] of ``before``.
        guess: (N, 2) [px] of ``after``, where they are expected.
    """
    if len(points) < _LEAST_POINTS:
        return None
    start = points.astype(np.float32).reshape(-1, 1, 2)
    expected = guess.astype(np.float32).reshape(-1, 1, 2)
    there, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        start,
        expected.copy(),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=_TERMINATION,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    back, returned, _ = cv2.calcOpticalFlowPyrLK(
        after,
        before,
        there,
        start.copy(),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=_TERMINATION,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    good = (status.ravel() > 0) & (returned.ravel() > 0)
    good &= np.linalg.norm((back - start).reshape(-1, 2), axis=1) < _RETURN_PX
    if good.sum() < _LEAST_POINTS:
        return None
    motion, agreeing = cv2.estimateAffine2D(
        start[good], there[good], method=cv2.RANSAC, ransacReprojThreshold=_AGREE_PX
    )
    if int(agreeing.sum()) < _LEAST_POINTS:  # none agree where there is no motion
        return None
    return np.asarray(motion, dtype=np.float64)
