"""From single pose estimates to a target that moves: filtered, predicted, robust to flips and gaps.

A plane seen from afar has two poses that look alike. Each that the pictures allow is a hypothesis
with a bank of motion models of its own, and pays for what it did not foretell: corners that do not
fit it, and turns that it has to make to go on fitting (the wrong pose turns about as soon as the
line of sight does, the true one need not). Evidence = likelihood of all pictures so far; the
tempering below keeps corner errors that are the same in each frame from passing for ever more of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np

from vision_ik.tags.tracking.corner_noise import CornerNoise
from vision_ik.tags.tracking.motion_bank import Models, MotionBank, MotionState, PoseQuadratic, to_base_axes
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
from vision_ik.types import Floats, PoseEstimate, Target

_CONFIRMED = 0.3
"""Distance of an estimate from the rejected one before it, over that from the track, below which it confirms it."""
_NO_BARRIER = 6.0
"""Misfit halfway between the planar solutions, beyond the better one's, below which they are one broad pose."""
_APART = 9.0
"""Squared Mahalanobis distance of a planar solution from the track from which it counts as another pose."""
_BROAD = 4.0
"""Rotation uncertainty, over what the ambiguity may leave, from which a target is not reported yet."""
_CROSSED = 0.1
"""[rad] Between solutions so near to each other a track that began between them may have gone to either."""
_HISTORY = 64
"""States kept for questions about the past."""


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
class _Track:
    """One hypothesis about the target; several exist while the planar ambiguity is open."""

    bank: MotionBank
    cost: float = 0.0
    """Minus twice the log-likelihood."""
    frames: int = 0
    """For how long it has been weighed against the others."""
    outcome: UpdateOutcome = UpdateOutcome.STARTED
    """Of the newest estimate."""


class TargetTracker:
    """Tracks one tag in the base frame and tells where it will be.

    Args:
        name: Of the target.
        T_tag_target: Where the goal is, seen from the tag.
        camera_covariance: (6, 6) of the camera's calibration (right perturbation), or None. It is
            the same in each frame, so it is added to the result and does not average out.
        settings: Motion models, gates; see :meth:`TrackerSettings.steady` and ``responsive``.
    """

    def __init__(
        self,
        name: str = "target",
        *,
        T_tag_target: Transform | None = None,
        camera_covariance: Floats | None = None,
        settings: TrackerSettings | None = None,
    ) -> None:
        self.name = name
        self.settings = settings or TrackerSettings()
        s = self.settings
        self._models = Models(s.models, s.sojourn_s, s.decay_s)
        self._turning_s = max(model.angular_speed for model in s.models)
        self._T_tag_target = T_tag_target or Transform.identity()
        self._camera_covariance = camera_covariance
        self._T_camera_tag = Transform.identity()
        self._tracks: list[_Track] = []
        self._began_broad = False
        """Whether the track began as one pose between two solutions, and was not held against the other one since."""
        self._history: deque[MotionState] = deque(maxlen=_HISTORY)
        self._settled = False
        self._last_seen = -np.inf
        self._newest = -np.inf
        self._rejected = 0
        self._stray: Transform | None = None
        """T_base_tag of the newest estimate when it was rejected."""
        self._T_base_camera: Transform | None = None
        """Of the newest estimate."""
        self._camera_noise = (0.0, 0.0)
        """[m, rad] On the tag's pose, from a camera that moves."""
        self._noise = CornerNoise(s)
        self._bias = np.zeros((6, 6))
        """Covariance of the pose, base axes, from corner errors that are the same in each frame."""
        self._lens = np.zeros((6, 6))
        """Covariance of the pose, tag's axes, from the uncertainty of the lens."""

    @property
    def last_seen(self) -> float:
        """Time [s] of the newest accepted estimate; -inf before the first."""
        return self._last_seen

    @property
    def settled(self) -> bool:
        """Whether the planar ambiguity is narrowed down far enough for the target to be reported."""
        return self._settled

    @property
    def doubt_rad(self) -> float:
        """Rotation error [rad], root mean square, that the planar ambiguity leaves open."""
        return float(np.sqrt(np.trace(self._ambiguity()[3:, 3:])))

    def reset(self) -> None:
        """Forget the target."""
        self._tracks = []
        self._history.clear()
        self._settled = False
        self._last_seen = -np.inf

    def update(self, estimate: PoseEstimate, T_base_camera: Transform) -> UpdateOutcome:
        """Take in one estimate.

        Args:
            estimate: Of the tag.
            T_base_camera: Where the camera was when the frame was taken.
        """
        if estimate.timestamp <= self._newest:
            return UpdateOutcome.IGNORED
        self._newest = estimate.timestamp
        seen = Sighting(estimate, T_base_camera, self._noise.ratio)
        self._lens = np.zeros((6, 6)) if estimate.lens_covariance is None else estimate.lens_covariance
        self._camera_noise = self._camera_moved(seen)
        lost = estimate.timestamp - self._last_seen > self.settings.lost_after_s
        if not self._tracks or lost or self._jumped(seen):
            return self._start(seen)
        for track in self._tracks:
            self._correct(track, seen)
        self._weigh()
        leader = self._tracks[0]
        if leader.outcome is UpdateOutcome.REJECTED:
            self._rejected += 1
            self._stray = seen.poses[0]
            return self._start(seen) if self._rejected >= self.settings.rejections else leader.outcome
        self._rejected = 0
        self._stray = None
        self._doubt(seen)
        self._note(seen)
        return leader.outcome

    def distance(self, estimate: PoseEstimate, T_base_camera: Transform) -> float:
        """Return how far an estimate lies from what is predicted: its squared Mahalanobis distance over the gate's.

        At most 1 is this target's, as far as this estimate tells; infinity when nothing is tracked.
        """
        if not self._tracks or estimate.timestamp - self._last_seen > self.settings.lost_after_s:
            return np.inf
        seen = Sighting(estimate, T_base_camera, self._noise.ratio)
        nearest = np.inf
        for track in self._tracks:
            bank = track.bank.copy()
            bank.predict(estimate.timestamp)
            fit = seen.near(bank)
            if fit is not None:
                nearest = min(nearest, bank.correct(fit[0], np.inf)[0])
        return nearest / chi2_limit(self.settings.gate, seen.dimension)

    def predict(self, timestamp: float) -> Target | None:
        """Return the target as it will be, or was, at ``timestamp`` [s].

        Past times are answered from the newest estimate that is not after them, as it was then.

        Returns:
            None when the target was never seen, is lost, when its planar ambiguity is not settled yet (see
            `settled`), or when the past asked for is forgotten.
        """
        if not self._settled or timestamp - self._last_seen > self.settings.lost_after_s:
            return None
        known = next((state for state in reversed(self._history) if state.timestamp <= timestamp), None)
        if known is None:
            return None
        ahead = known.predicted(timestamp)
        R = ahead.R
        covariance = to_base_axes(R.T, ahead.P[:6, :6] + self._bias + self._ambiguity()) + self._lens
        Ad = self._T_tag_target.inv().adjoint()
        if self._camera_covariance is not None:
            Ad_tag_camera = self._T_camera_tag.inv().adjoint()
            covariance = covariance + Ad_tag_camera @ self._camera_covariance @ Ad_tag_camera.T
        return Target(
            name=self.name,
            timestamp=timestamp,
            T_base_target=ahead.pose @ self._T_tag_target,
            twist=Ad @ ahead.twist,
            covariance=Ad @ covariance @ Ad.T,
            age=max(0.0, timestamp - min(known.timestamp, self._last_seen)),
        )

    # -- hypotheses -----------------------------------------------------------

    def _start(self, seen: Sighting) -> UpdateOutcome:
        """Begin with each planar solution that the picture allows."""
        s = self.settings
        self._stray, self._rejected, self._settled = None, 0, False
        self._history.clear()
        misfits = [seen.misfit(k, s.pixel_sigma) for k in range(len(seen.poses))]
        if not self._noise.frames:
            self._noise.learn(seen, min(misfits))
        broad = self._between(seen, min(misfits))
        self._began_broad = broad is not None
        if broad is not None:
            self._tracks = [broad]
        else:
            self._tracks = [
                _Track(
                    bank=MotionBank(pose, seen.covariance(k), seen.timestamp, self._models),
                    cost=self._bounded(misfits[k]) + self._unlikely(pose.rotation),
                )
                for k, pose in enumerate(seen.poses)
            ]
        self._weigh()
        self._note(seen)
        return UpdateOutcome.STARTED

    def _between(self, seen: Sighting, least: float) -> _Track | None:
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
        return _Track(bank=MotionBank(place, covariance, seen.timestamp, self._models))

    def _correct(self, track: _Track, seen: Sighting) -> None:
        """Feed one hypothesis with the estimate as it sees it, if it fits."""
        track.bank.predict(seen.timestamp)
        track.frames += 1
        gate = chi2_limit(self.settings.gate, seen.dimension)
        found = seen.near(track.bank)
        if found is None:
            track.cost += 2.0 * self.settings.decided
            track.outcome = UpdateOutcome.REJECTED
            return
        raw, solution = found
        fit = raw if self._camera_noise == (0.0, 0.0) else widened(raw, *self._camera_noise)
        distance, likelihood = track.bank.correct(fit, gate)
        if distance > gate:
            # Pays what an estimate at the gate would, and some: an outlier shall not decide.
            track.cost += -2.0 * likelihood - distance + gate + self.settings.decided
            track.outcome = UpdateOutcome.REJECTED
            return
        track.cost += -2.0 * likelihood
        if seen.dimension == 6:
            track.cost += self._bounded(seen.misfit(solution, self.settings.pixel_sigma))
        track.outcome = UpdateOutcome.FLIPPED if solution else UpdateOutcome.ACCEPTED
        if track is self._tracks[0]:
            self._learn_noise(seen, raw, solution)

    def _weigh(self) -> None:
        """Put the likeliest hypothesis first, drop those that are out of the question or no other than the first."""
        before = self._tracks[0]
        self._tracks.sort(key=lambda track: track.cost)
        leader = self._tracks[0]
        if leader is not before:
            self._history.clear()
            self._settled = False
        kept = [leader]
        for track in self._tracks[1:]:
            if self._lead_over(track) <= 1.2 * self.settings.decided and not leader.bank.state.is_same(
                track.bank.state
            ):
                kept.append(track)
        self._tracks = kept
        least = leader.cost
        for track in kept:
            track.cost -= least

    def _lead_over(self, track: _Track) -> float:
        """Return by how much log-likelihood the first hypothesis leads this one.

        Over n frames the mean of a corner error has the variance sigma^2 / n + bias^2, not sigma^2 / n.
        """
        lead = 0.5 * (track.cost - self._tracks[0].cost)
        return lead / (1.0 + track.frames * self._noise.bias_share)

    def _doubt(self, seen: Sighting) -> None:
        """Add the mirrored pose as a hypothesis where the picture allows it, far behind the first.

        Far behind, as the pictures until now spoke for the first; but if they go on speaking for the other, as
        after a tag was turned through the view from the front, it will lead in the end.
        """
        leader = self._tracks[0]
        if len(self._tracks) > 1 or len(seen.poses) < 2:
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
        self._tracks.append(_Track(bank=bank, cost=leader.cost + 2.0 * behind, outcome=UpdateOutcome.ACCEPTED))

    def _ambiguity(self) -> Floats:
        """Return the (6, 6) spread of the other hypotheses about the first, base axes."""
        spread = np.zeros((6, 6))
        if len(self._tracks) < 2:
            return spread
        leads = np.array([self._lead_over(track) for track in self._tracks])
        weights = np.exp(-leads)
        weights /= weights.sum()
        first = self._tracks[0].bank.state
        for weight, track in zip(weights[1:], self._tracks[1:], strict=True):
            other = track.bank.state
            e = np.concatenate([other.x[:3] - first.x[:3], log_rotation(first.R.T @ other.R)])
            spread += weight * np.outer(e, e)
        return spread

    def _jumped(self, seen: Sighting) -> bool:
        """Return whether this estimate confirms the one rejected before: the target was put elsewhere.

        Filtering across such a jump would turn it into a velocity, and the prediction would run away.
        """
        if self._stray is None:
            return False
        from_track = self._tracks[0].bank.state.predicted(seen.timestamp).pose.distance_to(seen.poses[0])[0]
        return seen.poses[0].distance_to(self._stray)[0] < _CONFIRMED * from_track

    def _camera_moved(self, seen: Sighting) -> tuple[float, float]:
        """Return the noise [m, rad] that a moving camera puts on the tag's pose; also notes where the camera is."""
        before, self._T_base_camera = self._T_base_camera, seen.T_base_camera
        if before is None:
            return 0.0, 0.0
        m, rad = (self.settings.camera_lag * way for way in before.distance_to(seen.T_base_camera))
        return m + rad * float(np.linalg.norm(seen.T_camera_tag.translation)), rad

    # -- bookkeeping ----------------------------------------------------------

    def _note(self, seen: Sighting) -> None:
        """Keep what later questions need."""
        self._last_seen = seen.timestamp
        self._T_camera_tag = seen.T_camera_tag
        self._history.append(self._tracks[0].bank.state)
        broad = float(np.trace(self._tracks[0].bank.state.P[3:6, 3:6])) > (_BROAD * self.settings.settled_rad) ** 2
        self._settled = self._settled or (self.doubt_rad <= self.settings.settled_rad and not broad)

    def _learn_noise(self, seen: Sighting, fit: PoseQuadratic, solution: int) -> None:
        misfit = unconstrained_misfit(fit) if seen.dimension > 6 else seen.misfit(solution, self.settings.pixel_sigma)
        self._noise.learn(seen, misfit)
        self._bias = self._noise.bias_share * to_base_axes(fit.rotation, covariance_of(fit))

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
