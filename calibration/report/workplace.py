"""How sure a camera's pose makes points in front of it: the covariance carried to the work place."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vision_ik.transforms import Transform, skew
from vision_ik.types import Floats


def point_covariances(T_mount_camera: Transform, covariance: ArrayLike, p_camera: ArrayLike) -> Floats:
    """Return the (N, 3, 3) covariance [m^2], in the mount's axes, of where points that the camera sees are.

    With T exp(xi), a point p of the camera moves by R (v + w x p), so that J = R [I, -[p]x]. What the camera itself
    gets wrong about p (corners, lens) comes on top.

    Args:
        T_mount_camera: Camera in its mount.
        covariance: (6, 6) of it, tangent at the pose, (v, w) [m, rad].
        p_camera: (N, 3) points in the optical frame [m].
    """
    points = np.atleast_2d(np.asarray(p_camera, dtype=np.float64))
    sigma = np.asarray(covariance, dtype=np.float64)
    jacobians = np.stack([T_mount_camera.rotation @ np.hstack([np.eye(3), -skew(point)]) for point in points])
    return jacobians @ sigma @ np.swapaxes(jacobians, 1, 2)


def rms(covariances: Floats) -> Floats:
    """Return the root mean square length (N,) [m] of errors with covariances (N, 3, 3)."""
    return np.sqrt(np.trace(covariances, axis1=1, axis2=2))
