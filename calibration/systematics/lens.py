"""The lens refined together with mount and holder, from where its own calibration left it.

What a calibration of the lens leaves uncertain, the arm may know: it moved the board by so much, and
the picture by so many pixels. The prior is that calibration with its covariance; along the
directions it determined well, little will move. That it moves as far as its calibration allows is
no news; that it moves farther is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.hand_eye.evidence import Corners
from calibration.lens.fit import parameters
from calibration.lens.projection import lens_derivatives
from vision_ik.types import CameraIntrinsics, Floats

_UNKNOWN_FOCAL = 0.03
"""Standard deviation, as a share, of the focal lengths of a lens that nobody says how sure it is; ..."""
_UNKNOWN_ASPECT = 0.003
"""... of their ratio; ..."""
_UNKNOWN_CENTRE = 0.02
"""... of the image centre along each axis, as a share of the picture's width; ..."""
_UNKNOWN_DISTORTION = 0.1
"""... of each coefficient of the distortion, ..."""
_UNKNOWN_TANGENTIAL = 0.003
"""... and of the tangential ones."""
_FROM_VIEWS = 10.0
"""By how much wider the prior is where the views themselves calibrated the lens: it then counts for a hundredth."""
_LEAST_SHARE = 1e-9
"""Of the largest variance, in units of a pixel each: directions below it are taken as known."""


@dataclass(frozen=True, slots=True, eq=False)
class LensRefinement:
    """A `SightTerm`: how far the lens is from its calibration, in standard deviations of it."""

    axes: Floats
    """(p, k) by how much each of fx, fy, cx, cy, distortion changes per unknown."""
    width: float = 1.0
    """Standard deviation of the unknowns: above 1 where the calibration is contradicted or nothing independent."""
    calibrated: bool = True
    """Whether the axes are those of its calibration; else they are a guess, and the lens is exact if nothing speaks
    against it."""

    @classmethod
    def of(cls, intrinsics: CameraIntrinsics, *, from_views: bool = False) -> LensRefinement:
        """Return the refinement of a lens with its covariance as prior, or a wide one where it has none.

        Args:
            intrinsics: As calibrated.
            from_views: Whether it was calibrated from the very views of the fit. Their corners then tell the lens
                in the fit, and must not tell it a second time as its prior.
        """
        covariance = _unknown(intrinsics) if intrinsics.covariance is None else intrinsics.covariance
        unit = _pixels_per_unit(intrinsics)
        values, vectors = np.linalg.eigh(covariance * np.outer(unit, unit))
        free = values > _LEAST_SHARE * values[-1]
        axes = vectors[:, free] * np.sqrt(values[free]) / unit[:, None]
        width = _FROM_VIEWS if from_views and intrinsics.covariance is not None else 1.0
        return cls(axes, width=width, calibrated=intrinsics.covariance is not None)

    @property
    def name(self) -> str:
        """Short, for people."""
        return "lens"

    @property
    def parameters(self) -> tuple[str, ...]:
        """One per principal axis of the prior, in its standard deviations."""
        return tuple(f"axis {i} [sigma]" for i in range(self.axes.shape[1]))

    @property
    def sigma(self) -> Floats:
        """(k,) in standard deviations of the calibration."""
        return np.full(self.axes.shape[1], self.width)

    def widened(self, width: float) -> LensRefinement:
        """Return the term with a prior that trusts the calibration less by ``width``."""
        return replace(self, width=width)

    def refined(self, intrinsics: CameraIntrinsics, theta: Floats) -> CameraIntrinsics:
        """Return the lens moved by ``theta`` (k,)."""
        values = parameters(intrinsics) + self.axes @ theta
        K = np.array([[values[0], 0.0, values[2]], [0.0, values[1], values[3]], [0.0, 0.0, 1.0]])
        return replace(intrinsics, K=K, distortion=values[4:])

    def judged(self, intrinsics: CameraIntrinsics, covariance: Floats) -> CameraIntrinsics:
        """Return a refined lens with the ``covariance`` (k, k) of its refinement, guessed no longer."""
        spread = self.axes @ covariance @ self.axes.T
        return replace(intrinsics, covariance=0.5 * (spread + spread.T), approximate=False)

    def evidence(self, corners: Corners, theta: Floats) -> Corners:
        """Return ``corners`` seen through the lens moved by ``theta`` (k,)."""
        return corners.changed(intrinsics=self.refined(corners.intrinsics, theta))

    def derivatives(self, corners: Corners, theta: Floats, Ts_camera_board: Floats) -> Floats:
        """Return (M, 2, k) [px]."""
        return lens_derivatives(corners.points_camera(Ts_camera_board), corners.intrinsics) @ self.axes

    def select(self, keep: NDArray[np.bool_]) -> LensRefinement:
        """Return itself: all views were taken through one lens."""
        return self


def _unknown(intrinsics: CameraIntrinsics) -> Floats:
    """Return a wide covariance (p, p) for a lens that comes without one."""
    f = float(intrinsics.K[0, 0])
    variances = np.full(4 + len(intrinsics.distortion), _UNKNOWN_DISTORTION**2)
    variances[2:4] = (_UNKNOWN_CENTRE * intrinsics.width) ** 2
    if intrinsics.model == "pinhole":
        variances[6:8] = _UNKNOWN_TANGENTIAL**2
    covariance = np.diag(variances)
    covariance[:2, :2] = (_UNKNOWN_FOCAL * f) ** 2 + np.diag(np.full(2, (_UNKNOWN_ASPECT * f) ** 2))
    return covariance


def _pixels_per_unit(intrinsics: CameraIntrinsics) -> Floats:
    """Return (p,) roughly how far each parameter moves a corner halfway to the picture's edge, per unit of it."""
    f = float(intrinsics.K[0, 0])
    reach = 0.25 * intrinsics.width / f
    unit = np.full(4 + len(intrinsics.distortion), f * reach**3)
    unit[:2], unit[2:4] = reach, 1.0
    return unit
