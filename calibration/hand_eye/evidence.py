"""What the views say about each pose of the board in the camera, linearised where the fit stands.

Two kinds: corners in pixels through the lens model, or ready-made poses with a covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.lens.projection import project
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Linearised:
    """Each view's own best pose of the board, relative to the poses asked about."""

    twist: Floats
    """(N, 6) left twist from the pose asked about to the one the view prefers."""
    covariance: Floats
    """(N, 6, 6) of that twist, for unit noise (1 px)."""
    misfit: Floats
    """(N,) sum of squares at the poses asked about [px^2]."""
    misfit_free: Floats
    """(N,) sum of squares at the poses the views prefer, to second order [px^2]."""


class Evidence(Protocol):
    """Anything that can say where each view sees the board."""

    @property
    def count(self) -> int:
        """Number of views."""
        ...

    @property
    def residual_dof(self) -> Floats:
        """(N,) degrees of freedom left in each view after its own board pose."""
        ...

    @property
    def centres(self) -> Floats:
        """(N, 3) centre of the seen points in the board frame [m]."""
        ...

    def linearise(self, Ts_camera_board: Floats) -> Linearised:
        """Return each view's preferred pose relative to ``Ts_camera_board`` (N, 4, 4)."""
        ...

    def misfit(self, Ts_camera_board: Floats) -> Floats:
        """Return (N,) sums of squares; infinite where a point lies behind the camera."""
        ...
        ...

    def select(self, keep: NDArray[np.bool_]) -> Evidence:
        """Return the views where ``keep`` (N,) is true."""
        ...


class Corners:
    """Board corners in pixels.

    Args:
        detections: One per view.
        intrinsics: Lens the pictures were taken with.
    """

    def __init__(self, detections: Sequence[BoardDetection], intrinsics: CameraIntrinsics) -> None:
        self._detections = tuple(detections)
        self._intrinsics = intrinsics
        self._points_board = np.concatenate([d.points_board for d in detections])
        self._points_image = np.concatenate([d.points_image for d in detections])
        counts = np.array([len(d.points_image) for d in detections])
        self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._view = np.repeat(np.arange(len(detections)), counts)
        self.count = len(detections)
        self.residual_dof: Floats = 2.0 * counts - 6.0
        self.centres: Floats = np.stack([d.points_board.mean(axis=0) for d in detections])

    def select(self, keep: NDArray[np.bool_]) -> Corners:
        """Return the views where ``keep`` (N,) is true."""
        return Corners([d for d, k in zip(self._detections, keep, strict=True) if k], self._intrinsics)

    def misfit(self, Ts_camera_board: Floats) -> Floats:
        """Return (N,) sums of squared pixel residuals [px^2]; infinite where a point lies behind the camera."""
        points = self._points_camera(Ts_camera_board)
        uv, _ = project(points, self._intrinsics)
        squares = np.where(points[:, 2] > 0, np.sum((self._points_image - uv) ** 2, axis=1), np.inf)
        return np.add.reduceat(squares, self._starts)

    def linearise(self, Ts_camera_board: Floats) -> Linearised:
        """Return each view's preferred pose by one Gauss-Newton step from ``Ts_camera_board`` (N, 4, 4)."""
        points = self._points_camera(Ts_camera_board)
        uv, by_point = project(points, self._intrinsics)
        residual = self._points_image - uv
        J = np.concatenate([by_point, -by_point @ batch.skews(points)], axis=2)
        information = np.add.reduceat(np.einsum("mia,mib->mab", J, J), self._starts)
        gradient = np.add.reduceat(np.einsum("mia,mi->ma", J, residual), self._starts)
        covariance = np.linalg.inv(information)
        twist = np.einsum("nab,nb->na", covariance, gradient)
        misfit = np.add.reduceat(np.sum(residual**2, axis=1), self._starts)
        return Linearised(twist, covariance, misfit, misfit - np.einsum("na,na->n", twist, gradient))

    def _points_camera(self, Ts_camera_board: Floats) -> Floats:
        T = Ts_camera_board[self._view]
        return np.einsum("mab,mb->ma", T[:, :3, :3], self._points_board) + T[:, :3, 3]


class Poses:
    """Board poses that something else estimated.

    Args:
        Ts_camera_board: (N, 4, 4).
        covariances: (N, 6, 6), tangent at the pose (right perturbation), (v, w) [m, rad].
    """

    def __init__(self, Ts_camera_board: Floats, covariances: Floats) -> None:
        self._poses = Ts_camera_board
        self._right = covariances
        Ad = batch.adjoints(Ts_camera_board)
        self._covariances = Ad @ covariances @ np.swapaxes(Ad, 1, 2)
        self.count = len(Ts_camera_board)
        self.residual_dof: Floats = np.zeros(self.count)
        self.centres: Floats = np.zeros((self.count, 3))

    def select(self, keep: NDArray[np.bool_]) -> Poses:
        """Return the views where ``keep`` (N,) is true."""
        return Poses(self._poses[keep], self._right[keep])

    def misfit(self, Ts_camera_board: Floats) -> Floats:
        """Return (N,) zeros: a pose has no residual of its own."""
        return np.zeros(len(Ts_camera_board))

    def linearise(self, Ts_camera_board: Floats) -> Linearised:
        """Return the twists from ``Ts_camera_board`` (N, 4, 4) to the given poses."""
        twist = batch.log(self._poses @ batch.inverses(Ts_camera_board))
        zeros = np.zeros(self.count)
        return Linearised(twist, self._covariances, zeros, zeros)
