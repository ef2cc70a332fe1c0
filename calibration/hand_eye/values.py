"""What goes into a hand-eye calibration and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.hand_eye.causes import Cause
from calibration.hand_eye.correcting import corrected
from calibration.hand_eye.terms import TermEstimate
from calibration.systematics.systematic import Systematic
from vision_ik.rig import Mount
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats
from vision_ik.types._arrays import put, read_only


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HandEyeView:
    """One posture of the arm and what the camera saw in it."""

    T_base_flange: TransformLike
    """Flange in base as the arm reports it."""
    detection: BoardDetection
    name: str = ""
    """Shown in messages; the view's position in the list when empty."""
    q: Floats | None = None
    """(n,) measured joints [rad], [m]; None when only the pose is known."""
    twist: Floats | None = None
    """(6,) of the flange while the picture was taken, in the flange frame, (v, w) [m/s, rad/s]; None at rest."""

    def __post_init__(self) -> None:
        put(self, "T_base_flange", as_transform(self.T_base_flange))
        for name, shape in (("q", (None,)), ("twist", (6,))):
            value = getattr(self, name)
            if value is not None:
                put(self, name, read_only(value, shape, name))

    @property
    def flange(self) -> Transform:
        """``T_base_flange`` as a Transform."""
        return as_transform(self.T_base_flange)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmNoise:
    """How far the flange is from where the arm says it is, per axis, one standard deviation."""

    translation: float
    """[m]"""
    rotation: float
    """[rad]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewReport:
    """How one view fits the calibration."""

    name: str
    used: bool
    """False when the view was left out of the fit."""
    reason: str
    """Why it was left out; empty when used."""
    chi_square: float
    """Squared distance between the seen pose of the board and the one predicted from all other
    views, in units of its covariance: 6 degrees of freedom."""
    pixel_rms: float
    """[px] Corners against the lens model, board pose free: detection and lens alone."""
    position_error: float
    """[m] Board centre: seen against predicted from all other views (NaN with fewer than 4 views)."""
    rotation_error: float
    """[rad] Same, for the board's orientation."""
    cause: Cause | None = None
    """What was wrong with it; None when nothing was."""
    repair: str = ""
    """What was done so that it could be used; empty when nothing was, or when it did not help."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HandEyeResult:
    """Where the camera is, how sure that is, and how each view agrees."""

    mount: Mount
    T_mount_camera: Transform
    """T_base_camera (eye to hand) or T_flange_camera (eye in hand)."""
    covariance: Floats
    """(6, 6) of T_mount_camera, tangent at the pose (right perturbation, camera frame), (v, w)
    [m, rad]. Holds for arm and pixel noise, and for the lens where its own covariance is known."""
    T_holder_board: Transform
    """The board in the frame that holds it: T_flange_board (eye to hand) or T_base_board (eye in hand)."""
    joint_covariance: Floats
    """(12, 12) of T_mount_camera and T_holder_board together."""
    pixel_sigma: float
    """[px] Noise of a corner per axis; estimated unless it was given. For pose pairs, the factor on the sigmas of their
    covariances; 1 where those were given."""
    sight_sigma: float
    """[px] ... as far as a view's board pose depends on it: larger than ``pixel_sigma`` where the corners of a view
    err together. What further views will be off by follows from this one."""
    arm_sigma: ArmNoise
    """Noise of the arm; estimated unless it was given."""
    noise_estimated: bool
    """Whether any of the noise levels came from the data."""
    views: tuple[ViewReport, ...]
    pixel_rms: float
    """[px] Over the used views, with the arm's errors taken out."""
    chain_rms: float
    """[px] Over the used views, projected through the calibrated chain with the arm taken at its word."""
    warnings: tuple[str, ...] = ()
    terms: tuple[TermEstimate, ...] = ()
    """What the views say about each further unknown that was asked for, in the order of asking."""
    log_likelihood: float = float("nan")
    """Of the used views, restricted by the twelve unknowns of mount and holder: twice what k further unknowns gain
    is chi-square with k degrees of freedom where they are really zero and nothing was known of them. Means something
    only beside that of another fit of the same views."""
    systematics: tuple[Systematic, ...] = ()
    """What was looked for beside the camera's place: found or not, with a sentence each."""
    intrinsics: CameraIntrinsics | None = None
    """The lens that belongs to this result: as given, or refined where the views asked for it; None for pose pairs."""
    time_offset: float = 0.0
    """[s] To add to a picture's time stamp to have it on the arm's clock; 0 unless the views told otherwise."""

    @property
    def used_views(self) -> int:
        """Number of views in the fit."""
        return sum(view.used for view in self.views)

    @property
    def sigma_translation(self) -> float:
        """Predicted root mean square error of the camera's position [m]."""
        return float(np.sqrt(np.trace(self.covariance[:3, :3])))

    @property
    def sigma_rotation(self) -> float:
        """Predicted root mean square error of the camera's orientation [rad]."""
        return float(np.sqrt(np.trace(self.covariance[3:, 3:])))

    @property
    def held_out_translation(self) -> float:
        """RMS distance [m] between seen and predicted board centre, each view predicted by the others.

        Holds the noise of the held-out view itself, so it is larger than ``sigma_translation``.
        NaN with fewer than 4 views.
        """
        return _rms([view.position_error for view in self.views if view.used])

    @property
    def held_out_rotation(self) -> float:
        """RMS angle [rad] between seen and predicted board, each view predicted by the others."""
        return _rms([view.rotation_error for view in self.views if view.used])

    def corrected(self, views: Sequence[HandEyeView]) -> list[HandEyeView]:
        """Return further views, as taken, with the board's points and the flanges as this calibration has them.

        The camera's place belongs to a board of the size and shape, to a clock and to an arm that were found with it
        (``terms``): whatever compares views with it must put them right first. The lens is in ``intrinsics``.
        """
        return corrected(self.terms, views, self.intrinsics)


def _rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
