"""From single pose estimates to a target that moves: filtered, predicted, robust to flips and gaps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from vision_ik.tags.motion_bank import MotionBank
from vision_ik.tags.pose_filter import MotionModel
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate, Target

_PRIOR_FRAMES = 5
"""The assumed corner noise counts like so many frames."""
_NOISE_FRAMES = 60
"""Frames over which the corner noise is averaged."""
_CONFIRMED = 0.3
"""Distance of an estimate from the rejected one before it, over that from the track, below which it confirms it."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """How the target may move and what is believed."""

    models: tuple[MotionModel, ...] = (
        MotionModel(acceleration=2e-3, angular_acceleration=0.01, speed=0.01, angular_speed=0.05),
        MotionModel(acceleration=0.07, angular_acceleration=0.01, speed=0.3, angular_speed=0.05),
        MotionModel(acceleration=0.07, angular_acceleration=0.5, speed=0.3, angular_speed=1.0),
        MotionModel(acceleration=2.0, angular_acceleration=6.0, speed=1.0, angular_speed=3.0),
    )
    """A target that stands or goes on steadily; one that is pushed about; one that is also turned about; one that
    a hand waves, or that a hand-held camera sees."""
    sojourn_s: float = 2.0
    """[s] Mean time between changes from one to another."""
    gate: float = 22.46
    """Largest squared Mahalanobis distance of an accepted estimate; 99.9 % of chi2 with 6 degrees of freedom."""
    rejections: int = 5
    """After so many rejected estimates in a row the target has jumped: start anew."""
    lost_after_s: float = 1.0
    """[s] Without an accepted estimate the track is given up."""
    decided: float = 10.0
    """Log-likelihood by which one planar solution must lead the other before the other is dropped."""
    pixel_sigma: float = 0.3
    """[px] Corner noise that the covariances of the estimates assume."""
    least_pixel_sigma: float = 0.05
    """[px] Corner noise believed at least, however well the corners fit."""


@dataclass(slots=True)
class _Track:
    """One hypothesis about the target; several exist while the planar ambiguity is open."""

    bank: MotionBank
    cost: float = 0.0
    """Sum of squared reprojection errors over sigma^2: minus twice the log-likelihood."""
    outcome: UpdateOutcome = UpdateOutcome.STARTED
    """Of the newest estimate."""


class TargetTracker:
    """Tracks one tag in the base frame and tells where it will be.

    Args:
        name: Of the target.
        T_tag_target: Where the goal is, seen from the tag.
        camera_covariance: (6, 6) of the camera's calibration (right perturbation), or None. It is
            the same in each frame, so it is added to the result and does not average out.
        settings: Motion model, gates.
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
        self._T_tag_target = T_tag_target or Transform.identity()
        self._camera_covariance = camera_covariance
        self._T_camera_tag = Transform.identity()
        self._tracks: list[_Track] = []
        self._last_seen = -np.inf
        self._newest = -np.inf
        self._rejected = 0
        self._stray: Transform | None = None
        """T_base_tag of the newest estimate when it was rejected."""
        self._frames = 0
        self._variance_ratio = 1.0
        """Of the corners' noise, as their fit shows it, over the one assumed."""

    @property
    def last_seen(self) -> float:
        """Time [s] of the newest accepted estimate; -inf before the first."""
        return self._last_seen

    def reset(self) -> None:
        """Forget the target."""
        self._tracks = []
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
        self._measure_noise(estimate)
        lost = estimate.timestamp - self._last_seen > self.settings.lost_after_s
        if not self._tracks or lost or self._jumped(estimate, T_base_camera):
            return self._start(estimate, T_base_camera)
        self._doubt(estimate, T_base_camera)
        self._weigh()
        outcome = self._tracks[0].outcome
        if outcome is UpdateOutcome.REJECTED:
            self._rejected += 1
            self._stray = T_base_camera @ estimate.T_camera_tag
            return self._start(estimate, T_base_camera) if self._rejected >= self.settings.rejections else outcome
        self._rejected = 0
        self._stray = None
        self._seen(estimate)
        return outcome

    def _jumped(self, estimate: PoseEstimate, T_base_camera: Transform) -> bool:
        """Return whether this estimate confirms the one rejected before: the target was put elsewhere.

        Filtering across such a jump would turn it into a velocity, and the prediction would run away.
        """
        if self._stray is None:
            return False
        T_base_tag = T_base_camera @ estimate.T_camera_tag
        from_track = self._tracks[0].bank.predicted(estimate.timestamp).pose.distance_to(T_base_tag)[0]
        return T_base_tag.distance_to(self._stray)[0] < _CONFIRMED * from_track

    def predict(self, timestamp: float) -> Target | None:
        """Return the target as it will be at ``timestamp`` [s]; None when never seen, or lost."""
        age = timestamp - self._last_seen
        if not self._tracks or age > self.settings.lost_after_s:
            return None
        ahead = self._tracks[0].bank.predicted(timestamp)
        Ad = self._T_tag_target.inv().adjoint()
        covariance = ahead.covariance
        if self._camera_covariance is not None:
            Ad_tag_camera = self._T_camera_tag.inv().adjoint()
            covariance = covariance + Ad_tag_camera @ self._camera_covariance @ Ad_tag_camera.T
        return Target(
            name=self.name,
            timestamp=max(timestamp, ahead.timestamp),
            T_base_target=ahead.pose @ self._T_tag_target,
            twist=Ad @ ahead.twist,
            covariance=Ad @ covariance @ Ad.T,
            age=max(0.0, age),
        )

    def _start(self, estimate: PoseEstimate, T_base_camera: Transform) -> UpdateOutcome:
        """Begin with each planar solution that the picture allows."""
        self._tracks, self._stray = [], None
        for T_camera_tag, error in _solutions(estimate):
            self._tracks.append(self._new_track(estimate, T_base_camera @ T_camera_tag, self._cost(error)))
        self._rejected = 0
        self._seen(estimate)
        self._weigh()
        return UpdateOutcome.STARTED

    def _new_track(self, estimate: PoseEstimate, T_base_tag: Transform, cost: float) -> _Track:
        s = self.settings
        return _Track(
            bank=MotionBank(T_base_tag, estimate.covariance, estimate.timestamp, s.models, s.sojourn_s), cost=cost
        )

    def _doubt(self, estimate: PoseEstimate, T_base_camera: Transform) -> None:
        """Feed every hypothesis; where all go against the picture, add the one that the picture prefers.

        A flip for a frame leaves the rival behind again; a track that sits on the mirrored solution
        (after a jump, say) pays for it in every frame, until the rival leads.
        """
        before = self._tracks[0].cost
        for track in self._tracks:
            self._correct(track, estimate, T_base_camera)
        outcomes = {track.outcome for track in self._tracks}
        if UpdateOutcome.FLIPPED in outcomes and UpdateOutcome.ACCEPTED not in outcomes:
            cost = before + self.settings.decided + self._cost(estimate.reprojection_error)
            self._tracks.append(self._new_track(estimate, T_base_camera @ estimate.T_camera_tag, cost))

    def _correct(self, track: _Track, estimate: PoseEstimate, T_base_camera: Transform) -> None:
        """Feed one hypothesis with the solution that fits it, if any does."""
        track.bank.predict(estimate.timestamp)
        covariance = estimate.covariance * self._variance_ratio
        solutions = _solutions(estimate)
        fits = [track.bank.distance(T_base_camera @ T, covariance) for T, _ in solutions]
        k = int(np.argmin(fits))
        if fits[k] > self.settings.gate:
            track.cost += self.settings.decided
            track.outcome = UpdateOutcome.REJECTED
            return
        track.bank.correct(T_base_camera @ solutions[k][0], covariance)
        track.cost += self._cost(solutions[k][1])
        track.outcome = UpdateOutcome.FLIPPED if k else UpdateOutcome.ACCEPTED

    def _weigh(self) -> None:
        """Put the likeliest hypothesis first and drop the others once that is certain."""
        self._tracks.sort(key=lambda track: track.cost)
        best = self._tracks[0].cost
        self._tracks = [track for track in self._tracks if track.cost - best <= 2.0 * self.settings.decided]
        for track in self._tracks:
            track.cost -= best

    def _measure_noise(self, estimate: PoseEstimate) -> None:
        """Learn the corner noise from the misfit: four corners have two degrees of freedom more than a pose."""
        if estimate.tag_id < 0:
            return  # a board; how many corners it has is not told here
        s = self.settings
        variance = 2.0 * estimate.reprojection_error**2
        floor = (s.least_pixel_sigma / s.pixel_sigma) ** 2
        self._frames += 1
        gain = 1.0 / min(self._frames + _PRIOR_FRAMES, _NOISE_FRAMES)
        ratio = self._variance_ratio + gain * (variance / s.pixel_sigma**2 - self._variance_ratio)
        self._variance_ratio = max(ratio, floor)

    def _seen(self, estimate: PoseEstimate) -> None:
        self._last_seen = estimate.timestamp
        self._T_camera_tag = estimate.T_camera_tag

    def _cost(self, reprojection_error: float) -> float:
        """Return the sum over the four corners of (distance / sigma)^2; bounded, so that no frame decides alone."""
        return min(4.0 * (reprojection_error / self.settings.pixel_sigma) ** 2, self.settings.decided)


def _solutions(estimate: PoseEstimate) -> list[tuple[Transform, float]]:
    """Return the planar solutions with their reprojection errors [px], the better one first."""
    found = [(estimate.T_camera_tag, estimate.reprojection_error)]
    if estimate.alternative is not None:
        found.append((estimate.alternative, estimate.alternative_error))
    return found
