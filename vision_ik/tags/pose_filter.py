"""A Kalman filter over a moving pose: constant velocity, driven by white acceleration.

State: position p and velocity v in the base frame, rotation R and body rate w. The error is
``(dp, dtheta, dv, dw)`` with ``R_true = R exp(dtheta)``: translation and rotation move
independently, so a tag that turns while it goes straight is predicted straight (a constant
body twist would send it around a screw).

Error-state form: Sola, "Quaternion kinematics for the error-state Kalman filter", 2017,
chapter 6; process noise: Bar-Shalom, Li, Kirubarajan, "Estimation with applications to tracking
and navigation", 2001, eq. (6.2.2-12).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision_ik.transforms import Transform, exp_rotation, log_rotation
from vision_ik.types import Floats

_EYE6, _EYE12 = np.eye(6), np.eye(12)
_POSE, _RATE = np.arange(6), np.arange(6, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionModel:
    """How a target may move."""

    acceleration: float
    """[m/s^2/sqrt(Hz)] Root density of the acceleration."""
    angular_acceleration: float
    """[rad/s^2/sqrt(Hz)]"""
    speed: float
    """[m/s] Standard deviation of the velocity when the target is first seen."""
    angular_speed: float
    """[rad/s]"""


class PoseFilter:
    """Position, rotation and velocity of one target with their covariance.

    Args:
        T_base_tag: First measured pose.
        covariance: (6, 6) of it, right perturbation, (v, w) [m, rad].
        timestamp: When it was measured [s].
        model: How the target may move.
    """

    def __init__(self, T_base_tag: Transform, covariance: Floats, timestamp: float, model: MotionModel) -> None:
        self.timestamp = timestamp
        self.model = model
        self._p = T_base_tag.translation
        self._R = T_base_tag.rotation
        self._v = np.zeros(3)
        self._w = np.zeros(3)
        self._P = np.zeros((12, 12))
        self._P[:6, :6] = _to_base_axes(self._R, covariance)
        self._P[6:9, 6:9] = model.speed**2 * np.eye(3)
        self._P[9:, 9:] = model.angular_speed**2 * np.eye(3)

    @property
    def pose(self) -> Transform:
        """T_base_tag at `timestamp`."""
        return Transform.from_parts(self._R, self._p)

    @property
    def twist(self) -> Floats:
        """(6,) (v, w) of the tag in its own frame [m/s, rad/s]."""
        return np.concatenate([self._R.T @ self._v, self._w])

    @property
    def covariance(self) -> Floats:
        """(6, 6) of the pose, right perturbation, (v, w) [m, rad]."""
        return _to_base_axes(self._R.T, self._P[:6, :6])

    @property
    def state_covariance(self) -> Floats:
        """(12, 12) of (dp, dtheta, dv, dw)."""
        return self._P

    def copy(self) -> PoseFilter:
        """Return a filter that goes on independently."""
        twin = PoseFilter.__new__(PoseFilter)
        twin.__dict__.update(self.__dict__)  # every update makes new arrays
        return twin

    def with_model(self, model: MotionModel) -> PoseFilter:
        """Return a filter in the same state that moves by another model."""
        twin = self.copy()
        twin.model = model
        return twin

    def shifted(self, error: Floats, covariance: Floats) -> PoseFilter:
        """Return a filter whose state lies off this one by ``error`` (12,), with ``covariance`` (12, 12)."""
        twin = self.copy()
        twin._shift(error)
        twin._P = covariance
        return twin

    def offset_of(self, other: PoseFilter) -> Floats:
        """Return the error (12,) by which the state of ``other`` lies off this one."""
        turn = log_rotation(self._R.T @ other._R)
        return np.concatenate([other._p - self._p, turn, other._v - self._v, other._w - self._w])

    def predict(self, timestamp: float) -> None:
        """Move on to ``timestamp`` [s]; the covariance grows."""
        dt = timestamp - self.timestamp
        if dt <= 0.0:
            return
        turn = exp_rotation(self._w * dt)
        F = _EYE12.copy()
        F[:6, 6:] = dt * _EYE6
        F[3:6, 3:6] = turn.T
        self._p = self._p + dt * self._v
        self._R = self._R @ turn
        self._P = F @ self._P @ F.T + self._process_noise(dt)
        self.timestamp = timestamp

    def innovation(self, T_base_tag: Transform, covariance: Floats) -> tuple[Floats, Floats, float]:
        """Return the residual (6,), its covariance (6, 6) and its squared Mahalanobis length.

        The filter must have been predicted to the time of the measurement.
        """
        residual = np.concatenate([T_base_tag.translation - self._p, log_rotation(self._R.T @ T_base_tag.rotation)])
        S = self._P[:6, :6] + _to_base_axes(T_base_tag.rotation, covariance)
        return residual, S, float(residual @ np.linalg.solve(S, residual))

    def correct(self, residual: Floats, S: Floats) -> None:
        """Take in a measurement by its `innovation`."""
        K = np.linalg.solve(S, self._P[:6]).T
        self._shift(K @ residual)
        P = self._P - K @ S @ K.T
        self._P = 0.5 * (P + P.T)

    def _shift(self, error: Floats) -> None:
        self._p = self._p + error[:3]
        self._R = self._R @ exp_rotation(error[3:6])
        self._v = self._v + error[6:9]
        self._w = self._w + error[9:]

    def _process_noise(self, dt: float) -> Floats:
        q = np.repeat((self.model.acceleration**2, self.model.angular_acceleration**2), 3)
        Q = np.zeros((12, 12))
        Q[_POSE, _POSE] = q * dt**3 / 3.0
        Q[_POSE, _RATE] = Q[_RATE, _POSE] = q * dt**2 / 2.0
        Q[_RATE, _RATE] = q * dt
        return Q


def _to_base_axes(R: Floats, covariance: Floats) -> Floats:
    """Turn the translation part of a (6, 6) covariance by R; the rotation part stays in the body."""
    turned = np.array(covariance, dtype=np.float64)
    turned[:3] = R @ turned[:3]
    turned[:, :3] = turned[:, :3] @ R.T
    return turned
