"""Markers' corners as quads in the picture: sizes, distances, points on the print."""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.types import Floats

_UNIT_SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)


def longest_edge(corners: Floats) -> float:
    """Return the longest edge [px] of a quad (4, 2)."""
    return float(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).max())


def least_width(corners: Floats) -> float:
    """Return about how wide [px] a quad (4, 2) is where it is narrowest."""
    (ax, ay), (bx, by) = corners[2] - corners[0], corners[3] - corners[1]
    return 0.5 * abs(float(ax * by - ay * bx)) / longest_edge(corners)


def apart(a: Floats, b: Floats) -> float:
    """Return the distance [px] of the middles of two quads."""
    return float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))


def on_print(corners: Floats, points: Floats) -> Floats:
    """Return where points (N, 2) of the unit square lie (N, 2), by the homography onto a quad."""
    H = cv2.getPerspectiveTransform(_UNIT_SQUARE, corners.astype(np.float32))
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ H.T
    return homogeneous[:, :2] / homogeneous[:, 2:]
