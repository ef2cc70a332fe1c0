"""What a calibration of the arm brings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from calibration.arm.link_errors import ArmPrior, LinkErrors
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.values import HandEyeResult
from vision_ik.robots import RobotModel
from vision_ik.types import Floats

_TOLD = 0.7
"""Share of the prior's standard deviation that is left: above it the views have said little about an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkError:
    """One error of the arm: by how much it differs from its drawing."""

    name: str
    """Joint and what is off, such as ``elbow_joint: zero``."""
    unit: str
    """m or rad."""
    estimate: float
    sigma: float
    """Standard deviation of the estimate."""
    prior_sigma: float
    """Standard deviation before any view."""

    @property
    def sigmas(self) -> float:
        """How many standard deviations the estimate lies from zero."""
        return abs(self.estimate) / self.sigma

    @property
    def is_told(self) -> bool:
        """Whether the views tell it: otherwise it is what the prior and the other errors leave."""
        return self.sigma < _TOLD * self.prior_sigma

    def __str__(self) -> str:
        """Return name, estimate and uncertainty in mm or degrees."""
        scale, unit = (1e3, "mm") if self.unit == "m" else (float(np.rad2deg(1.0)), "deg")
        return f"{self.name} {scale * self.estimate:+.3f} +- {scale * self.sigma:.3f} {unit}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ArmCalibration:
    """The arm as the views show it, with the hand-eye calibration that belongs to it."""

    robot: RobotModel
    """The calibrated arm; the nominal one where the views do not ask for another."""
    nominal: RobotModel
    adopted: bool
    """Whether ``robot`` is another arm than the nominal one."""
    gain: float
    """Logarithm of how much likelier the views are with a calibrated arm than with the nominal one."""
    prior: ArmPrior
    """How well the arm was taken to be built: the one given, or the likeliest of some."""
    link_errors: tuple[LinkError, ...]
    """What the views say, adopted or not."""
    hand_eye: HandEyeResult
    """With ``robot``."""
    hand_eye_nominal: HandEyeResult | None
    """With the nominal arm, for comparison; None where the views make no sense with it."""
    covariance: Floats
    """(12 + k, 12 + k) of T_mount_camera and T_holder_board (right perturbations, (v, w) [m, rad]) and of the k
    ``link_errors``; (12, 12) when the nominal arm stays."""
    errors: LinkErrors
    """What ``link_errors`` are errors of."""
    warnings: tuple[str, ...] = ()

    @property
    def held_out_before(self) -> float:
        """RMS distance [m] of the board from where the nominal arm, calibrated by the other views, has it; or NaN."""
        return float("nan") if self.hand_eye_nominal is None else self.hand_eye_nominal.held_out_translation

    @property
    def held_out_after(self) -> float:
        """The same [m] with ``robot``: each view predicted by an arm and a camera that it did not help to calibrate."""
        return self.hand_eye.held_out_translation

    @property
    def theta(self) -> Floats:
        """(k,) estimates of ``link_errors`` [m, rad]."""
        return np.array([error.estimate for error in self.link_errors])

    @property
    def note(self) -> str:
        """One line for the head of the arm's URDF."""
        if not self.adopted:
            return "Nominal geometry: the views ask for no other."
        before = "" if np.isnan(self.held_out_before) else f", {1e3 * self.held_out_before:.2f} mm before"
        return (
            f"Calibrated from {self.hand_eye.used_views} views of a board: held-out error "
            f"{1e3 * self.held_out_after:.2f} mm{before}. Differs from {self.nominal.name} ({self.nominal.hash})."
        )

    def predict(self, q: ArrayLike) -> tuple[Floats, Floats]:
        """Return where the camera will see the board at joints ``q`` (N, n), and how sure that is.

        Returns:
            (N, 4, 4) Ts_camera_board and their (N, 6, 6) covariances as left perturbations (camera frame), (v, w)
            [m, rad]: of the calibration alone, without the arm's repeatability.
        """
        joints = np.atleast_2d(np.asarray(q, dtype=np.float64))
        result = self.hand_eye
        state = ChainState(result.T_mount_camera.matrix, result.T_holder_board.matrix, np.eye(4)[None])
        flanges = self.robot.forward(joints)
        D, A = derivatives(state, flanges, result.mount)
        if self.adopted:
            D = np.concatenate([D, A @ self.errors.derivatives(self.theta, joints)[1]], axis=2)
        return camera_board(state, flanges, result.mount), D @ self.covariance @ np.swapaxes(D, 1, 2)
