"""What all that looks at pictures needs: brightness, and a credible outline."""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.types import Floats, Image

_MIN_SIDE = 5.0
"""[px] Shortest edge of a credible marker."""


def to_gray(image: Image) -> Image:
    """Return the (H, W) brightness of a BGR picture."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def is_convex_quad(corners: Floats) -> bool:
    """Return whether (4, 2) corners [px] run clockwise in the picture around a convex quad of credible size."""
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    turning = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return bool((turning > 0).all() and np.linalg.norm(edges, axis=1).min() >= _MIN_SIDE)
