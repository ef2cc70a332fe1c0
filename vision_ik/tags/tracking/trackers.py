"""Several tags at once, also where two of them share an id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from vision_ik.tags.tracking.hypotheses import UpdateOutcome
from vision_ik.tags.tracking.settings import TrackerSettings
from vision_ik.tags.tracking.tracker import TargetTracker
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate, Target

_CONFIRMED_FRAMES = 3
"""A further tag of an id that is tracked already is believed after so many estimates."""
_DOUBTFUL = 4.0
"""Share of the gate up to which a tracker may be given an estimate that it will refuse, rather than another its own."""
_FAR = 1e6
"""Cost of pairs that do not belong together."""


@dataclass(slots=True)
class _Tracked:
    """One tag."""

    tracker: TargetTracker
    number: int
    """1 for the first of its id."""
    estimates: int = 0

    @property
    def believed(self) -> bool:
        return self.number == 1 or self.estimates >= _CONFIRMED_FRAMES


class TargetTrackers:
    """Tracks every tag that is seen, each with a :class:`TargetTracker` of its own.

    Estimates go to the tracker of their id. Where an id is seen more than once they are shared out
    so that they are likeliest as a whole: tags with one id keep their tracks.

    Args:
        T_tag_target: Where the goal is, seen from the tag: one for all, or by id (identity for others).
        camera_covariance: (6, 6) of the camera's calibration (right perturbation), or None.
        settings: Of each tracker.
    """

    def __init__(
        self,
        *,
        T_tag_target: Transform | Mapping[int, Transform] | None = None,
        camera_covariance: Floats | None = None,
        settings: TrackerSettings | None = None,
    ) -> None:
        self.settings = settings or TrackerSettings()
        self._T_tag_target = T_tag_target
        self._camera_covariance = camera_covariance
        self._tracked: dict[int, list[_Tracked]] = defaultdict(list)

    def of(self, tag_id: int) -> list[TargetTracker]:
        """Return the trackers of one id, the first seen first."""
        return [tracked.tracker for tracked in self._tracked.get(tag_id, []) if tracked.believed]

    def update(self, estimates: Iterable[PoseEstimate], T_base_camera: Transform) -> list[UpdateOutcome]:
        """Take in all estimates of one frame.

        Args:
            estimates: Of the tags in the frame, in any order.
            T_base_camera: Where the camera was when the frame was taken.

        Returns:
            What became of each.
        """
        given = list(estimates)
        outcomes = [UpdateOutcome.IGNORED] * len(given)
        by_id: dict[int, list[int]] = defaultdict(list)
        for k, estimate in enumerate(given):
            by_id[estimate.tag_id].append(k)
        for tag_id, which in by_id.items():
            known = self._current(tag_id, given[which[0]].timestamp)
            for k, tracked in self._share_out([given[k] for k in which], known, T_base_camera):
                estimate = given[which[k]]
                chosen = tracked or self._new(tag_id)
                outcomes[which[k]] = chosen.tracker.update(estimate, T_base_camera)
                chosen.estimates += 1
        return outcomes

    def predict(self, timestamp: float) -> list[Target]:
        """Return every target as it will be at ``timestamp`` [s], by increasing id; those not known are left out."""
        targets = [
            tracked.tracker.predict(timestamp)
            for _, group in sorted(self._tracked.items())
            for tracked in group
            if tracked.believed
        ]
        return [target for target in targets if target is not None]

    def reset(self) -> None:
        """Forget all targets."""
        self._tracked.clear()

    def _current(self, tag_id: int, timestamp: float) -> list[_Tracked]:
        """Return the tags of an id, without further ones that were lost."""
        group = self._tracked[tag_id]
        # Also those last seen far in the future are: the stream began anew.
        alive = [t for t in group if abs(timestamp - t.tracker.last_seen) <= self.settings.lost_after_s]
        self._tracked[tag_id] = alive or group[:1]
        return self._tracked[tag_id]

    def _share_out(
        self, estimates: list[PoseEstimate], known: list[_Tracked], T_base_camera: Transform
    ) -> list[tuple[int, _Tracked | None]]:
        """Return which estimate goes to which tag (None: a new one); second detections of one tag go nowhere."""
        if not known or (len(known) == 1 and len(estimates) == 1):
            return [(k, known[0] if known else None) for k in range(len(estimates))]
        compared = np.array([[t.tracker.compare(e, T_base_camera) for t in known] for e in estimates])
        distances = compared[..., 0]
        # By likelihood, as a track that was not seen for a while is vague and thus near to everything.
        theirs = (distances <= _DOUBTFUL) & (distances.min(axis=1, keepdims=True) <= 1.0)
        cost = np.where(theirs, compared[..., 1], _FAR)
        rows, columns = linear_sum_assignment(cost)
        pairs = {int(r): known[c] for r, c in zip(rows, columns, strict=True) if cost[r, c] < _FAR}
        idle = [t for t in known if t not in pairs.values()]
        shared: list[tuple[int, _Tracked | None]] = list(pairs.items())
        for k in range(len(estimates)):
            if k in pairs or distances[k].min() <= 1.0:
                continue
            # A tag that was not found where it should be may have jumped: its tracker judges that.
            shared.append((k, idle.pop(0) if idle else None))
        return shared

    def _new(self, tag_id: int) -> _Tracked:
        group = self._tracked[tag_id]
        number = min(set(range(1, len(group) + 2)) - {tracked.number for tracked in group})
        T = self._T_tag_target
        tracker = TargetTracker(
            f"tag {tag_id}" if number == 1 else f"tag {tag_id} #{number}",
            T_tag_target=T.get(tag_id) if isinstance(T, Mapping) else T,
            camera_covariance=self._camera_covariance,
            settings=self.settings,
        )
        group.append(_Tracked(tracker=tracker, number=number))
        return group[-1]
