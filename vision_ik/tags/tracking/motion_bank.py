"""One target, several ways to move: a filter for each, weighed by how well it foretells the measurements.

A still target is averaged over many frames, a moving one is followed; no single process noise
does both. Interacting multiple models: Blom, Bar-Shalom, "The interacting multiple model algorithm
for systems with Markovian switching coefficients", IEEE Trans. Automatic Control 33 (8), 1988. The
models differ in what they know to be zero (rates, accelerations); a target that begins to accelerate
takes on the spread that model has for it, so that the zeros of the others do not pass for knowledge
there (Yuan, Bar-Shalom, Willett et al., "A multiple IMM estimation approach with unbiased
mixing for thrusting projectiles", IEEE Trans. AES 48 (4), 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vision_ik.tags.tracking.motion_kernels import correct_all, mix, most_likely, predict_all
from vision_ik.tags.tracking.pose_filter import SPEED, N, add_noise, advance
from vision_ik.transforms import Transform, log_rotation
from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionModel:
    """How a target may move: it stands, keeps its velocity, or keeps its acceleration."""

    kind: Literal["standing", "velocity", "acceleration"] = "velocity"
    drift: float = 0.0
    """[m/sqrt(s)] Root density of the velocity, of a standing target: what its support gives way."""
    angular_drift: float = 0.0
    """[rad/sqrt(s)]"""
    acceleration: float = 0.0
    """[m/s^2/sqrt(Hz)] Root density of the acceleration, of a target that keeps its velocity."""
    angular_acceleration: float = 0.0
    """[rad/s^2/sqrt(Hz)]"""
    speed: float = 0.0
    """[m/s] Standard deviation of the velocity when the target begins to move so."""
    angular_speed: float = 0.0
    """[rad/s]"""
    surge: float = 0.0
    """[m/s^2] Standard deviation of the acceleration, of a target that keeps its acceleration."""
    angular_surge: float = 0.0
    """[rad/s^2]"""

    def densities(self, decay_s: float) -> Floats:
        """Return (3, 2) densities of the noise in rates, accelerations and jerks, linear and angular."""
        jerk = 2.0 / decay_s  # keeps the variance of an acceleration that decays over decay_s
        return np.array(
            [
                [self.drift**2, self.angular_drift**2],
                [self.acceleration**2, self.angular_acceleration**2],
                [jerk * self.surge**2, jerk * self.angular_surge**2],
            ]
        )

    def spread(self) -> Floats:
        """Return (2, 2) variances of rates and accelerations at the start, linear and angular."""
        return np.array([[self.speed**2, self.angular_speed**2], [self.surge**2, self.angular_surge**2]])

    @property
    def freedom(self) -> int:
        """0 when rates are zero, 1 when accelerations are, else 2."""
        return ("standing", "velocity", "acceleration").index(self.kind)


class Models:
    """The models of a bank as arrays, made once.

    Args:
        models: At least one.
        sojourn_s: Mean time a target keeps to one of them [s].
        decay_s: Over which accelerations die away [s].
    """

    def __init__(self, models: Sequence[MotionModel], sojourn_s: float, decay_s: float) -> None:
        self.freedom = np.array([m.freedom for m in models], dtype=np.int64)
        self.densities = np.stack([m.densities(decay_s) for m in models])
        self.spread = np.stack([m.spread() for m in models])
        for k, freedom in enumerate(self.freedom):
            self.spread[k, freedom:] = 0.0
        self.sojourn_s = sojourn_s
        self.decay_s = decay_s


@dataclass(frozen=True, slots=True, eq=False)
class PoseQuadratic:
    """What a measurement says of poses near one: its squared residual over its noise, to second order."""

    position: Floats
    """(3,) of the tag in the base frame, about which it holds [m]."""
    rotation: Floats
    """(3, 3)"""
    information: Floats
    """(6, 6) by (dp, dtheta)."""
    slope: Floats
    """(6,)"""
    misfit: float
    """Squared residual at the pose itself."""


@dataclass(frozen=True, slots=True, eq=False)
class MotionState:
    """Where a target is and how it moves, at one time."""

    timestamp: float
    """[s]"""
    x: Floats
    """(15,) position, velocity, body rate, acceleration, its angular like."""
    R: Floats
    """(3, 3) rotation in the base frame."""
    P: Floats
    """(18, 18) covariance."""
    densities: Floats
    """(3, 2) of the process noise, mean over the models."""
    decay_s: float
    """[s]"""

    @property
    def pose(self) -> Transform:
        """T_base_tag."""
        return Transform.from_parts(self.R, self.x[:3])

    @property
    def twist(self) -> Floats:
        """(6,) (v, w) of the tag in its own frame [m/s, rad/s]."""
        return np.concatenate([self.R.T @ self.x[3:6], self.x[6:9]])

    @property
    def covariance(self) -> Floats:
        """(6, 6) of the pose, right perturbation, (v, w) [m, rad]."""
        return to_tag_axes(self.R, self.P[:6, :6])

    def is_same(self, other: MotionState) -> bool:
        """Return whether the poses are nearer to each other than their uncertainty."""
        e = np.concatenate([other.x[:3] - self.x[:3], log_rotation(self.R.T @ other.R)])
        return float(e @ np.linalg.solve(self.P[:6, :6] + other.P[:6, :6], e)) < 1.0

    def predicted(self, timestamp: float) -> MotionState:
        """Return the state at a later time [s]; itself at earlier ones."""
        dt = timestamp - self.timestamp
        if dt <= 0.0:
            return self
        x, R, P = self.x.copy(), self.R.copy(), self.P.copy()
        advance(x, R, P, dt, self.decay_s)
        add_noise(P, dt, self.densities, 1.0)
        return MotionState(timestamp, x, R, P, self.densities, self.decay_s)


class MotionBank:
    """A pose filter for each motion model, mixed at every measurement.

    Args:
        T_base_tag: First measured pose.
        covariance: (6, 6) of it, right perturbation, (v, w) [m, rad].
        timestamp: When it was measured [s].
        models: How the target may move.
    """

    def __init__(self, T_base_tag: Transform, covariance: Floats, timestamp: float, models: Models) -> None:
        n = len(models.freedom)
        self._models = models
        self._timestamp = timestamp
        self._x, self._R, self._P = np.zeros((n, 15)), np.empty((n, 3, 3)), np.zeros((n, N, N))
        self._x[:, :3] = T_base_tag.translation
        self._R[:] = T_base_tag.rotation
        self._P[:, :6, :6] = to_base_axes(T_base_tag.rotation, covariance)
        for k in range(n):
            for block in range(4):
                at = SPEED + 3 * block
                self._P[k, at : at + 3, at : at + 3] = models.spread[k, block // 2, block % 2] * np.eye(3)
        self._weights = np.full(n, 1.0 / n)
        self._state = self._mixture()

    @property
    def weights(self) -> Floats:
        """Probability of each model."""
        return self._weights

    @property
    def state(self) -> MotionState:
        """The best single description of the target at the newest time predicted to or measured at."""
        return self._state

    def copy(self) -> MotionBank:
        """Return a bank that goes on independently."""
        twin = MotionBank.__new__(MotionBank)
        twin.__dict__.update(self.__dict__)
        twin._x, twin._R, twin._P = self._x.copy(), self._R.copy(), self._P.copy()
        return twin

    def turned(self, R: Floats, covariance: Floats, angular_speed: float) -> MotionBank:
        """Return a bank at the same place that is turned to ``R`` (3, 3) and forgets how this one turned.

        Args:
            R: The rotation.
            covariance: (3, 3) of it [rad^2].
            angular_speed: Standard deviation of the new rate [rad/s].
        """
        twin = self.copy()
        twin._R[:] = R
        twin._x[:, 6:9] = twin._x[:, 12:15] = 0.0
        for at, variance in ((3, covariance), (9, angular_speed**2 * np.eye(3)), (15, np.zeros((3, 3)))):
            twin._P[:, at : at + 3, :] = twin._P[:, :, at : at + 3] = 0.0
            twin._P[:, at : at + 3, at : at + 3] = variance
        twin._P[self._models.freedom == 0, 9:12, 9:12] = 0.0
        twin._state = twin._mixture()
        return twin

    def predict(self, timestamp: float) -> None:
        """Move on to ``timestamp`` [s], where the target may have changed its model meanwhile."""
        dt = timestamp - self._timestamp
        if dt <= 0.0:
            return
        m, n = self._models, len(self._weights)
        leave = -np.expm1(-dt / m.sojourn_s) * (n - 1) / n
        self._x, self._R, self._P, self._weights = predict_all(
            self._x, self._R, self._P, self._weights, m.freedom, m.densities, m.spread, leave, dt, m.decay_s
        )
        self._timestamp = timestamp
        self._state = self._mixture()

    def likeliest(
        self, points: Floats, pixels: Floats, weight: Floats, lens: Floats, T_camera_base: Transform
    ) -> PoseQuadratic | None:
        """Return points in a picture as a quadratic form about the pose that they and the prediction agree on.

        Args:
            points: (N, 3) in the tag's frame [m].
            pixels: (N, 2) [px]
            weight: (2N, 2N) inverse covariance of the pixels.
            lens: Packed.
            T_camera_base: At the time predicted to.

        Returns:
            None when the target would be behind the camera.
        """
        position, rotation = self._state.x[:3].copy(), self._state.R.copy()
        information, slope = np.empty((6, 6)), np.empty(6)
        misfit = most_likely(
            self._state.x,
            self._state.R,
            self._state.P,
            position,
            rotation,
            np.ascontiguousarray(T_camera_base.rotation),
            np.ascontiguousarray(T_camera_base.translation),
            points,
            pixels,
            weight,
            lens,
            information,
            slope,
        )
        return PoseQuadratic(position, rotation, information, slope, misfit) if np.isfinite(misfit) else None

    def correct(self, seen: PoseQuadratic, gate: float) -> tuple[float, float]:
        """Take in a measurement at the time predicted to, if its squared distance is within ``gate``.

        Returns:
            Squared Mahalanobis distance from the model that it fits best, and the log-likelihood (without the
            noise's own determinant).
        """
        x, R, P, weights = self._x.copy(), self._R.copy(), self._P.copy(), self._weights.copy()
        distance, likelihood = correct_all(
            x, R, P, weights, seen.position, seen.rotation, seen.information, seen.slope, seen.misfit
        )
        if distance <= gate:
            self._x, self._R, self._P, self._weights = x, R, P, weights
            self._state = self._mixture()
        return distance, likelihood

    def _mixture(self) -> MotionState:
        x, R, P = mix(self._x, self._R, self._P, self._weights)
        densities = np.tensordot(self._weights, self._models.densities, 1)
        return MotionState(self._timestamp, x, R, P, densities, self._models.decay_s)


def to_base_axes(R: Floats, covariance: Floats) -> Floats:
    """Turn the translation part of a (6, 6) covariance from the tag's axes; the rotation part stays in the body."""
    turned = np.array(covariance, dtype=np.float64)
    turned[:3] = R @ turned[:3]
    turned[:, :3] = turned[:, :3] @ R.T
    return turned


def to_tag_axes(R: Floats, covariance: Floats) -> Floats:
    """Turn the translation part of a (6, 6) covariance to the tag's axes."""
    return to_base_axes(R.T, covariance)
