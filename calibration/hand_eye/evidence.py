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

_LEAST_TOLD = 1e-8
"""Share of a direction's effect on the corners that no board pose may explain: below it rounding is all there is."""


@dataclass(frozen=True, slots=True, eq=False)
class Further:
    """What views say about k unknowns beside their own board poses."""

    by_theta: Floats
    """(N, 6, k) left twist by which each view misplaces the board per unit of an unknown that is not yet counted in."""
    information: Floats
    """(N, k, k) about the unknowns from corners that no board pose explains, for unit noise."""
    gradient: Floats
    """(N, k) of the same."""
    explained: Floats
    """(N,) sum of squares that each view's own best values of the unknowns would take away [px^2]."""
    rank: Floats
    """(N,) how many directions of the unknowns the corners of one view tell about beside its pose."""


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
    further: Further | None = None
    """About further unknowns, where their derivatives were given."""


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

    def linearise(self, Ts_camera_board: Floats, by_theta: Floats | None = None) -> Linearised:
        """Return each view's preferred pose relative to ``Ts_camera_board`` (N, 4, 4)."""
        ...

    def misfit(self, Ts_camera_board: Floats) -> Floats:
        """Return (N,) sums of squares; infinite where a point lies behind the camera."""
        ...

    def select(self, keep: NDArray[np.bool_]) -> Evidence:
        """Return the views where ``keep`` (N,) is true."""
        ...

    def take(self, order: NDArray[np.int_]) -> Evidence:
        """Return the views in another order."""
        ...


class Corners:
    """Board corners in pixels.

    Args:
        detections: One per view.
        intrinsics: Lens the pictures were taken with.
    """

    def __init__(self, detections: Sequence[BoardDetection], intrinsics: CameraIntrinsics) -> None:
        counts = np.array([len(d.points_image) for d in detections])
        self._fill(
            np.concatenate([d.points_board for d in detections]),
            np.concatenate([d.points_image for d in detections]),
            counts,
            intrinsics,
        )

    def _fill(
        self, points_board: Floats, points_image: Floats, counts: NDArray[np.int_], intrinsics: CameraIntrinsics
    ) -> None:
        self.points_board = points_board
        """(M, 3) [m], view after view."""
        self.points_image = points_image
        """(M, 2) [px]."""
        self.intrinsics = intrinsics
        self.count = len(counts)
        self.points = len(points_board)
        """M, corners in all views."""
        self.view: NDArray[np.int_] = np.repeat(np.arange(len(counts)), counts)
        """(M,) which view a corner belongs to."""
        self.residual_dof: Floats = 2.0 * counts.astype(np.float64) - 6.0
        self._counts = counts
        self._even = bool((counts == counts[:1]).all())
        self.starts: NDArray[np.int_] = np.concatenate([[0], np.cumsum(counts)[:-1]])
        """(N,) first corner of each view."""

    @property
    def centres(self) -> Floats:
        """(N, 3) centre of the seen points in the board frame [m]."""
        return np.add.reduceat(self.points_board, self.starts) / self._counts[:, None]

    def select(self, keep: NDArray[np.bool_]) -> Corners:
        """Return the views where ``keep`` (N,) is true."""
        points = keep[self.view]
        return self._with(self.points_board[points], self.points_image[points], self._counts[keep], self.intrinsics)

    def take(self, order: NDArray[np.int_]) -> Corners:
        """Return the views in another order."""
        points = np.concatenate([np.flatnonzero(self.view == i) for i in order])
        return self._with(self.points_board[points], self.points_image[points], self._counts[order], self.intrinsics)

    def changed(self, *, points_board: Floats | None = None, intrinsics: CameraIntrinsics | None = None) -> Corners:
        """Return the same pictures with other board points (M, 3) [m] or another lens."""
        return self._with(
            self.points_board if points_board is None else points_board,
            self.points_image,
            self._counts,
            intrinsics or self.intrinsics,
        )

    @staticmethod
    def _with(
        points_board: Floats, points_image: Floats, counts: NDArray[np.int_], intrinsics: CameraIntrinsics
    ) -> Corners:
        corners = Corners.__new__(Corners)
        corners._fill(points_board, points_image, counts, intrinsics)
        return corners

    def misfit(self, Ts_camera_board: Floats) -> Floats:
        """Return (N,) sums of squared pixel residuals [px^2]; infinite where a point lies behind the camera."""
        points = self.points_camera(Ts_camera_board)
        uv, _ = project(points, self.intrinsics)
        squares = np.where(points[:, 2] > 0, np.sum((self.points_image - uv) ** 2, axis=1), np.inf)
        return np.add.reduceat(squares, self.starts)

    def linearise(self, Ts_camera_board: Floats, by_theta: Floats | None = None) -> Linearised:
        """Return each view's preferred pose by one Gauss-Newton step from ``Ts_camera_board`` (N, 4, 4).

        Args:
            Ts_camera_board: (N, 4, 4).
            by_theta: (M, 2, k) derivatives of the projected corners by further unknowns.
        """
        points = self.points_camera(Ts_camera_board)
        uv, by_point = project(points, self.intrinsics)
        residual = self.points_image - uv
        J = np.concatenate([by_point, -by_point @ batch.skews(points)], axis=2)
        covariance = batch.inverse(self._products(J, J))
        gradient = self._products(J, residual[:, :, None])[:, :, 0]
        twist = (covariance @ gradient[:, :, None])[:, :, 0]
        misfit = np.add.reduceat(np.sum(residual**2, axis=1), self.starts)
        further = None if by_theta is None else self._further(J, by_theta, residual, covariance, twist)
        return Linearised(twist, covariance, misfit, misfit - np.einsum("na,na->n", twist, gradient), further)

    def _further(self, J: Floats, K: Floats, residual: Floats, covariance: Floats, twist: Floats) -> Further:
        """Return what each view says about unknowns with derivatives K (M, 2, k), its pose being free."""
        JtK = self._products(J, K)
        by_theta = covariance @ JtK
        KtK = self._products(K, K)
        within = KtK - np.swapaxes(JtK, 1, 2) @ by_theta
        gradient = self._products(K, residual[:, :, None])[:, :, 0]
        gradient = gradient - np.einsum("nak,na->nk", JtK, twist)
        # In units in which each unknown alone moves the corners by as much.
        unit = np.sqrt(np.maximum(np.einsum("nkk->nk", KtK), np.finfo(np.float64).tiny))
        values, vectors = np.linalg.eigh(within / (unit[:, :, None] * unit[:, None, :]))
        told = values > _LEAST_TOLD
        along = np.einsum("nkj,nk->nj", vectors, gradient / unit)
        explained = np.sum(np.where(told, along**2 / np.where(told, values, 1.0), 0.0), axis=1)
        return Further(by_theta, within, gradient, explained, told.sum(axis=1).astype(np.float64))

    def _products(self, A: Floats, B: Floats) -> Floats:
        """Return the (N, a, b) sums of A^T B over the corners of each view, for A (M, 2, a) and B (M, 2, b)."""
        if self._even:
            # All views show as many corners, as is common: one product of matrices for each.
            per_view = A.reshape(self.count, -1, A.shape[2])
            return np.swapaxes(per_view, 1, 2) @ B.reshape(self.count, -1, B.shape[2])
        return np.add.reduceat(np.swapaxes(A, 1, 2) @ B, self.starts)

    def points_camera(self, Ts_camera_board: Floats) -> Floats:
        """Return the (M, 3) board points in the camera frame [m]."""
        T = Ts_camera_board[self.view]
        return (T[:, :3, :3] @ self.points_board[:, :, None])[:, :, 0] + T[:, :3, 3]


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

    def take(self, order: NDArray[np.int_]) -> Poses:
        """Return the views in another order."""
        return Poses(self._poses[order], self._right[order])

    def misfit(self, Ts_camera_board: Floats) -> Floats:
        """Return (N,) zeros: a pose has no residual of its own."""
        return np.zeros(len(Ts_camera_board))

    def linearise(self, Ts_camera_board: Floats, by_theta: Floats | None = None) -> Linearised:
        """Return the twists from ``Ts_camera_board`` (N, 4, 4) to the given poses."""
        twist = batch.log(self._poses @ batch.inverses(Ts_camera_board))
        zeros = np.zeros(self.count)
        return Linearised(twist, self._covariances, zeros, zeros)
