"""From single pose estimates to a target that moves: filtered, predicted, robust to flips and gaps."""

from __future__ import annotations

from collections import deque

import numpy as np

from vision_ik.tags.tracking.hypotheses import Hypotheses, UpdateOutcome
from vision_ik.tags.tracking.motion_bank import MotionState, to_base_axes
from vision_ik.tags.tracking.settings import TrackerSettings
from vision_ik.tags.tracking.sightings import Sighting
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate, Target

_CONFIRMED = 0.3
"""Distance of an estimate from the rejected one before it, over that from the track, below which it confirms it."""
_BROAD = 4.0
"""Rotation uncertainty, over what the ambiguity may leave, from which a target is not reported yet."""
_HISTORY = 64
"""States kept for questions about the past."""


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
        self._T_tag_target = T_tag_target or Transform.identity()
        self._camera_covariance = camera_covariance
        self._clear()

    def _clear(self) -> None:
        """Know nothing of any target."""
        self._tag_id: int | None = None
        """Of the estimates taken so far."""
        self._poses = Hypotheses(self.settings)
        self._history: deque[MotionState] = deque(maxlen=_HISTORY)
        self._settled = False
        self._last_seen = -np.inf
        self._newest = -np.inf
        self._rejected = 0
        self._stray: Transform | None = None
        """T_base_tag of the newest estimate when it was rejected."""
        self._T_camera_tag = Transform.identity()
        self._T_base_camera: Transform | None = None
        """Of the newest estimate."""
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
        return float(np.sqrt(np.trace(self._poses.spread()[3:, 3:])))

    def reset(self) -> None:
        """Forget the target, and that any was seen: the next estimate may be of any tag and time."""
        self._clear()

    def update(self, estimate: PoseEstimate, T_base_camera: Transform) -> UpdateOutcome:
        """Take in one estimate.

        Estimates that are not newer than the newest are ignored; one older than it by more than ``lost_after_s`` is
        the first of a stream that began anew, and so does the track.

        Args:
            estimate: Of the tag.
            T_base_camera: Where the camera was when the frame was taken.

        Raises:
            ValueError: The estimate is of another tag than those before.
        """
        if self._tag_id not in (None, estimate.tag_id):
            raise ValueError(
                f"{self.name} follows tag {self._tag_id}, not {estimate.tag_id}: "
                "use TargetTrackers for several tags, or reset it first."
            )
        if self._restarted(estimate.timestamp):
            self._clear()
        if estimate.timestamp <= self._newest:
            return UpdateOutcome.IGNORED
        self._tag_id, self._newest = estimate.tag_id, estimate.timestamp
        seen = Sighting(estimate, T_base_camera, self._poses.noise.ratio)
        self._lens = np.zeros((6, 6)) if estimate.lens_covariance is None else estimate.lens_covariance
        camera_noise = self._camera_moved(seen)
        lost = estimate.timestamp - self._last_seen > self.settings.lost_after_s
        if not self._poses.all or lost or self._jumped(seen):
            return self._start(seen)
        if self._poses.correct(seen, camera_noise):
            self._history.clear()
            self._settled = False
        outcome = self._poses.leader.outcome
        if outcome is UpdateOutcome.REJECTED:
            self._rejected += 1
            self._stray = seen.poses[0]
            return self._start(seen) if self._rejected >= self.settings.rejections else outcome
        self._rejected = 0
        self._stray = None
        self._poses.doubt(seen)
        self._note(seen)
        return outcome

    def distance(self, estimate: PoseEstimate, T_base_camera: Transform) -> float:
        """Return how far an estimate lies from what is predicted: its squared Mahalanobis distance over the gate's.

        At most 1 is this target's, as far as this estimate tells; infinity when nothing is tracked.
        """
        return self.compare(estimate, T_base_camera)[0]

    def compare(self, estimate: PoseEstimate, T_base_camera: Transform) -> tuple[float, float]:
        """Return `distance`, and minus twice the log-likelihood by which to tell whose an estimate is.

        The distance alone would give it to the target that is known worst; infinity when nothing is tracked.
        """
        lost = estimate.timestamp - self._last_seen > self.settings.lost_after_s
        if not self._poses.all or lost or self._restarted(estimate.timestamp):
            return np.inf, np.inf
        return self._poses.compare(Sighting(estimate, T_base_camera, self._poses.noise.ratio))

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
        covariance = to_base_axes(R.T, ahead.P[:6, :6] + self._poses.bias + self._poses.spread()) + self._lens
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

    def _start(self, seen: Sighting) -> UpdateOutcome:
        """Begin a track."""
        self._stray, self._rejected, self._settled = None, 0, False
        self._history.clear()
        self._poses.begin(seen)
        self._note(seen)
        return UpdateOutcome.STARTED

    def _restarted(self, timestamp: float) -> bool:
        """Return whether a time [s] lies so far back that the stream must have begun anew."""
        return timestamp < self._newest - self.settings.lost_after_s

    def _jumped(self, seen: Sighting) -> bool:
        """Return whether this estimate confirms the one rejected before: the target was put elsewhere.

        Filtering across such a jump would turn it into a velocity, and the prediction would run away.
        """
        if self._stray is None:
            return False
        from_track = self._poses.leader.bank.state.predicted(seen.timestamp).pose.distance_to(seen.poses[0])[0]
        return seen.poses[0].distance_to(self._stray)[0] < _CONFIRMED * from_track

    def _camera_moved(self, seen: Sighting) -> tuple[float, float]:
        """Return the noise [m, rad] that a moving camera puts on the tag's pose; also notes where the camera is."""
        before, self._T_base_camera = self._T_base_camera, seen.T_base_camera
        if before is None:
            return 0.0, 0.0
        m, rad = (self.settings.camera_lag * way for way in before.distance_to(seen.T_base_camera))
        return m + rad * float(np.linalg.norm(seen.T_camera_tag.translation)), rad

    def _note(self, seen: Sighting) -> None:
        """Keep what later questions need."""
        self._last_seen = seen.timestamp
        self._T_camera_tag = seen.T_camera_tag
        self._history.append(self._poses.leader.bank.state)
        broad = float(np.trace(self._poses.leader.bank.state.P[3:6, 3:6])) > (_BROAD * self.settings.settled_rad) ** 2
        self._settled = self._settled or (self.doubt_rad <= self.settings.settled_rad and not broad)
