"""One target, two ways to move: a filter for each, weighed by how well it foretells the measurements.

A still target is averaged over many frames, a moving one is followed; no single process noise
does both. Interacting multiple models: Blom, Bar-Shalom, "The interacting multiple model algorithm
for systems with Markovian switching coefficients", IEEE Trans. Automatic Control 33 (8), 1988.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vision_ik.tags.pose_filter import MotionModel, PoseFilter
from vision_ik.transforms import Transform
from vision_ik.types import Floats


class MotionBank:
    """A pose filter for each motion model, mixed at every measurement.

    Args:
        T_base_tag: First measured pose.
        covariance: (6, 6) of it, right perturbation, (v, w) [m, rad].
        timestamp: When it was measured [s].
        models: At least one.
        sojourn_s: Mean time a target keeps to one model [s].
    """

    def __init__(
        self,
        T_base_tag: Transform,
        covariance: Floats,
        timestamp: float,
        models: Sequence[MotionModel],
        sojourn_s: float,
    ) -> None:
        self._filters = [PoseFilter(T_base_tag, covariance, timestamp, model) for model in models]
        self._weights = np.full(len(models), 1.0 / len(models))
        self._sojourn_s = sojourn_s
        self._best: PoseFilter | None = None

    @property
    def weights(self) -> Floats:
        """Probability of each model."""
        return self._weights

    def predicted(self, timestamp: float) -> PoseFilter:
        """Return the best single description of the target at ``timestamp`` [s]; the bank stays as it is.

        The mixture is made once a measurement: its mean moves as the mean of the moved filters would, and
        its process noise is the mean of theirs.
        """
        if self._best is None:
            self._best = _blend(self._filters, self._weights).with_model(self._mean_model())
        ahead = self._best.copy()
        ahead.predict(timestamp)
        return ahead

    def predict(self, timestamp: float) -> None:
        """Move on to ``timestamp`` [s], where the target may have changed its model meanwhile."""
        dt = timestamp - self._filters[0].timestamp
        n = len(self._filters)
        leave = (1.0 - np.exp(-max(dt, 0.0) / self._sojourn_s)) * (n - 1) / n
        transition = np.full((n, n), leave / max(n - 1, 1))
        np.fill_diagonal(transition, 1.0 - leave)
        joint = self._weights[:, None] * transition  # from i to j
        arriving = joint.sum(axis=0)
        mixed = [_blend(self._filters, joint[:, j] / arriving[j], onto=j) for j in range(n)]
        self._filters, self._weights = mixed, arriving
        for f in self._filters:
            f.predict(timestamp)
        self._best = None

    def distance(self, T_base_tag: Transform, covariance: Floats) -> float:
        """Return the squared Mahalanobis distance of a measurement from the model it fits best."""
        return min(f.innovation(T_base_tag, covariance)[2] for f in self._filters)

    def correct(self, T_base_tag: Transform, covariance: Floats) -> None:
        """Take in a measurement at the time predicted to."""
        log_likelihood = np.empty(len(self._filters))
        for k, f in enumerate(self._filters):
            residual, S, distance = f.innovation(T_base_tag, covariance)
            log_likelihood[k] = -0.5 * (distance + float(np.linalg.slogdet(S)[1]))
            f.correct(residual, S)
        likelihood = np.exp(log_likelihood - log_likelihood.max())
        # A model that was all but excluded must be able to come back at once.
        weights = np.maximum(self._weights * likelihood, 1e-6)
        self._weights = weights / weights.sum()
        self._best = None

    def _mean_model(self) -> MotionModel:
        """Return the model whose noise variances are the means of all, by weight."""
        models = [f.model for f in self._filters]
        variances = np.array([(m.acceleration, m.angular_acceleration, m.speed, m.angular_speed) for m in models]) ** 2
        mean = np.sqrt(self._weights @ variances).tolist()
        return MotionModel(acceleration=mean[0], angular_acceleration=mean[1], speed=mean[2], angular_speed=mean[3])


def _blend(filters: Sequence[PoseFilter], weights: Floats, onto: int | None = None) -> PoseFilter:
    """Return one filter with mean and covariance of the mixture; its model is that of ``onto``, or the likeliest."""
    base = filters[int(np.argmax(weights)) if onto is None else onto]
    offsets = np.array([base.offset_of(f) for f in filters])
    mean = weights @ offsets
    covariance = np.zeros((12, 12))
    for weight, f, offset in zip(weights, filters, offsets, strict=True):
        spread = offset - mean
        covariance += weight * (f.state_covariance + np.outer(spread, spread))
    return base.shifted(mean, covariance)
