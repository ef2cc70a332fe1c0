"""SE(3) for stacks of poses: the fit moves all views at once.

Same conventions as ``vision_ik.transforms``: twists are (v, w), matrices are (N, 4, 4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vision_ik.types import Floats

_FAR = -0.9
"""Cosine of an angle from which the axis is taken from the symmetric part of a rotation."""
_SMALL_ANGLE = 1e-4
"""[rad] Below this Taylor series of fourth order are exact in double precision."""


def skews(w: Floats) -> Floats:
    """Return the (..., 3, 3) matrices with ``skews(w) @ p == cross(w, p)``."""
    W = np.zeros((*w.shape[:-1], 3, 3))
    W[..., 0, 1], W[..., 0, 2], W[..., 1, 2] = -w[..., 2], w[..., 1], -w[..., 0]
    W[..., 1, 0], W[..., 2, 0], W[..., 2, 1] = w[..., 2], -w[..., 1], w[..., 0]
    return W


def exp(twists: Floats) -> Floats:
    """Return the (N, 4, 4) transforms of twists (N, 6)."""
    v, w = twists[:, :3], twists[:, 3:]
    angle = np.linalg.norm(w, axis=1)
    x = np.maximum(angle, _SMALL_ANGLE)
    x2 = angle * angle
    small = angle < _SMALL_ANGLE
    a = np.where(small, 1 - x2 / 6, np.sin(x) / x)
    b = np.where(small, 0.5 - x2 / 24, (1 - np.cos(x)) / (x * x))
    c = np.where(small, 1 / 6 - x2 / 120, (x - np.sin(x)) / x**3)
    W = skews(w)
    WW = W @ W
    matrices = np.tile(np.eye(4), (len(twists), 1, 1))
    matrices[:, :3, :3] += a[:, None, None] * W + b[:, None, None] * WW
    matrices[:, :3, 3] = v + ((b[:, None, None] * W + c[:, None, None] * WW) @ v[:, :, None])[:, :, 0]
    return matrices


def inverses(matrices: Floats) -> Floats:
    """Return the (N, 4, 4) inverses of rigid transforms."""
    R_inverse = np.swapaxes(matrices[:, :3, :3], 1, 2)
    result = np.tile(np.eye(4), (len(matrices), 1, 1))
    result[:, :3, :3] = R_inverse
    result[:, :3, 3] = -(R_inverse @ matrices[:, :3, 3, None])[:, :, 0]
    return result


def adjoints(matrices: Floats) -> Floats:
    """Return the (N, 6, 6) matrices that map twists of frame b to frame a, for ``Ts_a_b``."""
    R = matrices[:, :3, :3]
    Ad = np.zeros((len(matrices), 6, 6))
    Ad[:, :3, :3] = R
    Ad[:, 3:, 3:] = R
    Ad[:, :3, 3:] = skews(matrices[:, :3, 3]) @ R
    return Ad


def inverse(matrix: Floats) -> Floats:
    """Return the inverse of (..., n, n) matrices that are not rigid."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def posed(matrices: Floats) -> NDArray[np.bool_]:
    """Return which of (..., 4, 4) are there: NaN stands for none."""
    return np.asarray(np.isfinite(matrices).all(axis=(-2, -1)), dtype=np.bool_)


def rotation_vectors(R: Floats) -> Floats:
    """Return the (N, 3) rotation vectors [rad] of (N, 3, 3) rotations."""
    sine = 0.5 * np.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], axis=1)
    cosine = 0.5 * (R[:, 0, 0] + R[:, 1, 1] + R[:, 2, 2] - 1.0)
    length = np.sqrt(np.sum(sine * sine, axis=1))
    angle = np.arctan2(length, cosine)
    small = length < _SMALL_ANGLE
    vectors = sine * np.where(small, 1.0 + length * length / 6.0, angle / np.where(small, 1.0, length))[:, None]
    # Towards half a turn the sine says less and less about the axis.
    far = cosine < _FAR
    if far.any():
        vectors[far] = Rotation.from_matrix(R[far]).as_rotvec()
    return vectors


def log(matrices: Floats) -> Floats:
    """Return the twists (N, 6) with rotation angle at most pi of transforms (N, 4, 4)."""
    w = rotation_vectors(matrices[:, :3, :3])
    t = matrices[:, :3, 3]
    angle = np.linalg.norm(w, axis=1)
    half = 0.5 * np.maximum(angle, _SMALL_ANGLE)
    k = np.where(angle < _SMALL_ANGLE, 1 / 12 + angle * angle / 720, (1 - half / np.tan(half)) / (4 * half * half))
    W = skews(w)
    wt = W @ t[:, :, None]
    return np.hstack([t + (k[:, None, None] * (W @ wt) - 0.5 * wt)[:, :, 0], w])
