"""The poses that the pictures of a target allow, each with motion models of its own.

A plane seen from afar has two poses that look alike. Each that the pictures allow is a hypothesis
with a bank of motion models of its own, and pays for what it did not foretell: corners that do not
fit it, and turns that it has to make to go on fitting (the wrong pose turns about as soon as the
line of sight does, the true one need not). Evidence = likelihood of all pictures so far; the
tempering below keeps corner errors that are the same in each frame from passing for ever more of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from vision_ik.tags.tracking.corner_noise import CornerNoise
from vision_ik.tags.tracking.motion_bank import Models, MotionBank, PoseQuadratic, to_base_axes
from vision_ik.tags.tracking.settings import TrackerSettings
from vision_ik.tags.tracking.sightings import (
    Sighting,
    angle_between,
    chi2_limit,
    covariance_of,
    midway,
    unconstrained_misfit,
    widened,
)
from vision_ik.transforms import Transform, log_rotation
from vision_ik.types import Floats

_NO_BARRIER = 6.0
"""Misfit halfway between the planar solutions, beyond the better one's, below which they are one broad pose."""
_APART = 9.0
"""Squared Mahalanobis distance of a planar solution from the track from which it counts as another pose."""
_CROSSED = 0.1
"""[rad] Between solutions so near to each other a track that began between them may have gone to either."""


class UpdateOutcome(Enum):
    """What became of a pose estimate."""

    STARTED = "started"
    """It began the track, or began it anew after a loss."""
    ACCEPTED = "accepted"
    FLIPPED = "flipped"
    """Its mirrored planar solution fitted the track and was taken instead."""
    REJECTED = "rejected"
    """Neither solution fits the track."""
    IGNORED = "ignored"
    """Its time stamp is not after the newest one."""


@dataclass(slots=True)
class Hypothesis:
    """One pose that the pictures allow; several exist while the planar ambiguity is open."""

    bank: MotionBank
    cost: float = 0.0
    """Minus twice the log-likelihood."""
    frames: int = 0
    """For how long it has been weighed against the others."""
    outcome: UpdateOutcome = UpdateOutcome.STARTED
    """Of the newest estimate."""


class Hypotheses:
    """What one target may be doing.

    Args:
        settings: Motion models, gates, when a doubt is settled.
    """

    def __init__(self, settings: TrackerSettings) -> None:
        self.settings = settings
        self._models = Models(settings.models, settings.sojourn_s, settings.decay_s)
        self._turning_s = max(model.angular_speed for model in settings.models)
        self.all: list[Hypothesis] = []
        """The likeliest first; none before the first estimate."""
        self._began_broad = False
        """Whether the track began as one pose between two solutions, and was not held against the other one since."""
        self.noise = CornerNoise(settings)
        self.bias = np.zeros((6, 6))
        """Covariance of the pose, base axes, from corner errors that are the same in each frame."""

    @property
    def leader(self) -> Hypothesis:
        """The likeliest."""
        return self.all[0]

    def begin(self, seen: Sighting) -> None:
        """Begin with each planar solution that the picture allows."""
        misfits = [seen.misfit(k, self.settings.pixel_sigma) for k in range(len(seen.poses))]
        if not self.noise.frames:
            self.noise.learn(seen, min(misfits))
        broad = self._between(seen, min(misfits))
        self._began_broad = broad is not None
        if broad is not None:
            self.all = [broad]
        else:
            self.all = [
                Hypothesis(
                    bank=MotionBank(pose, seen.covariance(k), seen.timestamp, self._models),
                    cost=self._bounded(misfits[k]) + self._unlikely(pose.rotation),
                )
                for k, pose in enumerate(seen.poses)
            ]
        self._weigh()

    def correct(self, seen: Sighting, camera_noise: tuple[float, float]) -> bool:
        """Feed all with an estimate, as each sees it; return whether another one leads now.

        Args:
            seen: The estimate.
            camera_noise: [m, rad] On the tag's pose, from a camera that moves.
        """
        before = self.leader
        for hypothesis in self.all:
            self._correct(hypothesis, seen, camera_noise)
        self._weigh()
        return self.leader is not before

    def compare(self, seen: Sighting) -> tuple[float, float]:
        """Return how an estimate agrees with what is predicted for its time, by the hypothesis it is nearest to.

        Returns:
            Squared Mahalanobis distance over the gate's, and minus twice the log-likelihood: of two targets, the one
            that foretells it better has less of this, however vague the other is.
        """
        nearest, surprise = np.inf, np.inf
        for hypothesis in self.all:
            bank = hypothesis.bank.copy()
            bank.predict(seen.timestamp)
            fit = seen.near(bank)
            if fit is not None:
                distance, likelihood = bank.correct(fit[0], np.inf)
                nearest, surprise = min(nearest, distance), min(surprise, -2.0 * likelihood)
        return nearest / chi2_limit(self.settings.gate, seen.dimension), surprise

    def doubt(self, seen: Sighting) -> None:
        """Add the mirrored pose as a hypothesis where the picture allows it, far behind the first.

        Far behind, as the pictures until now spoke for the first; but if they go on speaking for the other, as
        after a tag was turned through the view from the front, it will lead in the end.
        """
        leader = self.leader
        if len(self.all) > 1 or len(seen.poses) < 2:
            return
        s = self.settings
        angles = [angle_between(leader.bank.state.R, pose.rotation) for pose in seen.poses]
        near, far = (0, 1) if angles[0] <= angles[1] else (1, 0)
        sigma = s.pixel_sigma
        if seen.misfit(far, sigma) - seen.misfit(near, sigma) > 2.0 * s.decided:
            return
        pose = seen.poses[far]
        w = log_rotation(leader.bank.state.R.T @ pose.rotation)
        if float(w @ np.linalg.solve(leader.bank.state.P[3:6, 3:6], w)) < _APART:
            return
        behind = s.decided
        if self._began_broad:  # so that which side it settled on was not decided by much
            behind = min(behind, 0.5 * float(w @ w) / _CROSSED**2)
            self._began_broad = False
        bank = leader.bank.turned(np.array(pose.rotation), seen.covariance(far)[3:, 3:], self._turning_s)
        self.all.append(Hypothesis(bank=bank, cost=leader.cost + 2.0 * behind, outcome=UpdateOutcome.ACCEPTED))

    def spread(self) -> Floats:
        """Return the (6, 6) spread of the other hypotheses about the first, base axes."""
        spread = np.zeros((6, 6))
        if len(self.all) < 2:
            return spread
        leads = np.array([self._lead_over(track) for track in self.all])
        weights = np.exp(-leads)
        weights /= weights.sum()
        first = self.leader.bank.state
        for weight, track in zip(weights[1:], self.all[1:], strict=True):
            other = track.bank.state
            e = np.concatenate([other.x[:3] - first.x[:3], log_rotation(first.R.T @ other.R)])
            spread += weight * np.outer(e, e)
        return spread

    def _between(self, seen: Sighting, least: float) -> Hypothesis | None:
        """Return one broad track when nothing in the picture parts the two solutions: seen nearly from the front."""
        if len(seen.poses) < 2:
            return None
        middle, half = midway(*seen.poses)
        fit = seen.at(middle)
        if fit is None or float(np.linalg.norm(half)) > 0.5:
            return None
        # The best that this rotation allows, wherever the tag is.
        A, b = fit.information[:3, :3], fit.slope[:3]
        move = np.linalg.solve(A, b)
        if fit.misfit - float(b @ move) - least > _NO_BARRIER:
            return None
        covariance = covariance_of(fit)
        covariance[3:, 3:] += np.outer(half, half)
        place = Transform.from_parts(middle.rotation, middle.translation + move)
        return Hypothesis(bank=MotionBank(place, covariance, seen.timestamp, self._models))

    def _correct(self, hypothesis: Hypothesis, seen: Sighting, camera_noise: tuple[float, float]) -> None:
        """Feed one hypothesis with the estimate as it sees it, if it fits."""
        hypothesis.bank.predict(seen.timestamp)
        hypothesis.frames += 1
        gate = chi2_limit(self.settings.gate, seen.dimension)
        found = seen.near(hypothesis.bank)
        if found is None:
            hypothesis.cost += 2.0 * self.settings.decided
            hypothesis.outcome = UpdateOutcome.REJECTED
            return
        raw, solution = found
        fit = raw if camera_noise == (0.0, 0.0) else widened(raw, *camera_noise)
        distance, likelihood = hypothesis.bank.correct(fit, gate)
        if distance > gate:
            # Pays what an estimate at the gate would, and some: an outlier shall not decide.
            hypothesis.cost += -2.0 * likelihood - distance + gate + self.settings.decided
            hypothesis.outcome = UpdateOutcome.REJECTED
            return
        hypothesis.cost += -2.0 * likelihood
        if seen.dimension == 6:
            hypothesis.cost += self._bounded(seen.misfit(solution, self.settings.pixel_sigma))
        hypothesis.outcome = UpdateOutcome.FLIPPED if solution else UpdateOutcome.ACCEPTED
        if hypothesis is self.leader:
            self._learn_noise(seen, raw, solution)

    def _weigh(self) -> None:
        """Put the likeliest hypothesis first, drop those that are out of the question or no other than the first."""
        self.all.sort(key=lambda track: track.cost)
        leader = self.leader
        kept = [leader]
        for track in self.all[1:]:
            if self._lead_over(track) <= 1.2 * self.settings.decided and not leader.bank.state.is_same(
                track.bank.state
            ):
                kept.append(track)
        self.all = kept
        least = leader.cost
        for track in kept:
            track.cost -= least

    def _lead_over(self, track: Hypothesis) -> float:
        """Return by how much log-likelihood the first hypothesis leads this one.

        Over n frames the mean of a corner error has the variance sigma^2 / n + bias^2, not sigma^2 / n.
        """
        lead = 0.5 * (track.cost - self.leader.cost)
        return lead / (1.0 + track.frames * self.noise.bias_share)

    def _learn_noise(self, seen: Sighting, fit: PoseQuadratic, solution: int) -> None:
        misfit = unconstrained_misfit(fit) if seen.dimension > 6 else seen.misfit(solution, self.settings.pixel_sigma)
        self.noise.learn(seen, misfit)
        self.bias = self.noise.bias_share * to_base_axes(fit.rotation, covariance_of(fit))

    def _bounded(self, misfit: float) -> float:
        """Return the misfit of a frame, bounded so that it does not decide alone."""
        return min(misfit, 2.0 * self.settings.decided)

    def _unlikely(self, R: Floats) -> float:
        """Return what a hypothesis pays for facing another way than the tag is known to."""
        s = self.settings
        if s.facing is None:
            return 0.0
        known = np.asarray(s.facing) / np.linalg.norm(s.facing)
        return float(np.arccos(np.clip(known @ R[:, 2], -1.0, 1.0)) / s.facing_sigma) ** 2
