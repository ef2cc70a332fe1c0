"""Watch over a running system: is the camera still where the calibration put it?

Markers that stay where they are are seen again and again. Their offsets from where they should be are
averaged over short times, so that noise which lasts a few frames counts once, and feed cumulative sums
(see `calibration.drift.cusum`), one set for the camera and one for each marker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.stats import chi2

from calibration.drift.cusum import ShiftSums
from calibration.drift.explaining import Moved, Seen, Shift, explain
from calibration.drift.places import MarkerTrack
from calibration.drift.sightings import Chain, KnownMarker
from calibration.hand_eye.values import ArmNoise
from vision_ik.rig import Rig
from vision_ik.transforms import TransformLike, as_transform
from vision_ik.types import Floats, PoseEstimate

_TYPICAL_ARM = ArmNoise(translation=0.5e-3, rotation=float(np.deg2rad(0.1)))
_FLOOR = ArmNoise(translation=0.05e-3, rotation=float(np.deg2rad(0.005)))
_NOTICE = ArmNoise(translation=1e-3, rotation=float(np.deg2rad(0.15)))
_REMEMBERED = 1000
"""Observations kept to tell what moved."""
_SETTLING = 20.0
"""[s] After an alarm in which what moved is asked again: what is seen meanwhile tells more and more."""
_ELSEWHERE = 1e-6
"""Chance that a marker which stands where it was known is said to stand elsewhere."""


class DriftState(StrEnum):
    """What the monitor has to say."""

    LEARNING = "learning"
    """The first sightings: how noisy they are, and where markers are whose place was not told."""
    OK = "ok"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DriftStatus:
    """What is known after a sighting."""

    state: DriftState
    time: float
    """[s] of the last sighting; of the alarm once there is one."""
    level: float
    """The largest sum over the threshold: 1 and more is an alarm."""
    sentence: str
    remedy: str = ""
    moved: Moved | None = None
    """What moved; None while nothing did."""
    markers: tuple[int, ...] = ()
    """Ids of the markers it may be."""
    translation: float = 0.0
    """[m] How far it moved."""
    rotation: float = 0.0
    """[rad] By which angle."""
    since: float = float("nan")
    """[s] The last time that everything was in its place."""
    shift: Floats | None = None
    """(6,) twist of T_mount_camera (right perturbation) when the camera moved, else of T_holder_tag of the marker."""
    shift_covariance: Floats | None = None
    """(6, 6) of it."""


class DriftMonitor:
    """Takes in sightings of known markers and says when camera or markers are not where they were.

    Args:
        rig: The calibration to watch over.
        markers: What stays where it is, on the base or on the flange.
        arm_sigma: Noise of the arm as its calibration found it; used where the arm is between camera and marker.
        notice: Shift that matters, along or about each axis. Half of it never raises an alarm.
        false_alarm_hours: Mean time between false alarms, at least.
        period: [s] Sightings are averaged over. Noise that lasts longer is measured at the start and allowed for.
        learning: Averages that the start takes, per marker; noise that is still there in them widens what is noticed.
        floor: What nothing is steadier than.

    Raises:
        CalibrationError: The rig does not know where its camera is.
    """

    def __init__(
        self,
        rig: Rig,
        markers: Sequence[KnownMarker],
        *,
        arm_sigma: ArmNoise = _TYPICAL_ARM,
        notice: ArmNoise = _NOTICE,
        false_alarm_hours: float = 1000.0,
        period: float = 0.5,
        learning: int = 40,
        floor: ArmNoise = _FLOOR,
    ) -> None:
        if not markers:
            raise ValueError("At least one marker is needed.")
        if len({marker.tag_id for marker in markers}) < len(markers):
            raise ValueError("Every marker needs an id of its own.")
        if not (false_alarm_hours > 0.0 and period > 0.0 and learning >= 4):
            raise ValueError("false_alarm_hours and period must be positive, learning at least 4.")
        self.markers = tuple(markers)
        self._chains = [Chain.of(rig, marker, arm_sigma, floor) for marker in markers]
        self._camera_covariance = rig.camera_covariance
        self._period, self._learning, self._notice = period, learning, notice
        steps = false_alarm_hours * 3600.0 / period
        self.threshold = float(np.log(steps * ShiftSums.count() * (1 + len(markers))))
        self.restart()

    def restart(self) -> None:
        """Forget everything seen: after a new calibration, or a marker that was put elsewhere on purpose."""
        self._tracks = [MarkerTrack(m, c, self._learning) for m, c in zip(self.markers, self._chains, strict=True)]
        self._sums = [
            ShiftSums(self._notice.translation, self._notice.rotation, self.threshold)
            for _ in range(1 + len(self.markers))
        ]
        self._recent: deque[Seen] = deque(maxlen=_REMEMBERED)
        self._began = self._now = float("-inf")
        self._alarm: DriftStatus | None = None

    def places(self) -> tuple[KnownMarker, ...]:
        """Return the markers with the places that were learned, to be told to the next monitor."""
        return tuple(track.place() for track in self._tracks)

    def update(
        self, timestamp: float, sightings: Sequence[PoseEstimate], T_base_flange: TransformLike | None = None
    ) -> DriftStatus:
        """Take in what one frame shows.

        Args:
            timestamp: [s] Of the frame; not before the last one.
            sightings: Poses of tags in it; others than the known markers are passed over.
            T_base_flange: Where the arm was; needed where the arm is between camera and marker.

        Raises:
            ValueError: Time runs backward, or the arm's pose is missing.
        """
        if not timestamp >= self._now:
            raise ValueError(f"Time runs backward: {timestamp} s after {self._now} s.")
        if timestamp >= self._began + self._period:
            self._close()
            self._began = timestamp
        self._now = timestamp
        flange = None if T_base_flange is None else as_transform(T_base_flange)
        of_id = {seen.tag_id: seen for seen in sightings}
        for track in self._tracks:
            seen = of_id.get(track.marker.tag_id)
            if seen is not None:
                track.see(seen, flange)
        return self.status

    @property
    def status(self) -> DriftStatus:
        """What is known now."""
        if self._alarm is not None:
            return self._alarm
        level = max(sums.value for sums in self._sums) / self.threshold
        learnt = sum(track.learnt for track in self._tracks)
        if learnt == 0:
            words = "Learning how steady the markers look."
            return DriftStatus(state=DriftState.LEARNING, time=self._now, level=level, sentence=words)
        words = f"Camera and markers are where they were ({learnt} of {len(self._tracks)} markers watched)."
        return DriftStatus(state=DriftState.OK, time=self._now, level=level, sentence=words)

    def _close(self) -> None:
        """End a period: feed the sums with what every marker showed in it."""
        ended: list[Seen] = []
        open_: list[Seen] = []
        news = False
        for index, track in enumerate(self._tracks):
            was_learning = not track.learnt
            for seen, over in track.close(index, self._now, self._camera_covariance):
                (ended if over else open_).append(seen)
            news |= was_learning and track.learnt
        self._recent.extend(ended)
        if self._alarm is not None:
            self._refine(self._alarm, open_)
            return
        if news and all(track.learnt or not track.started for track in self._tracks):
            self._check_places()
        for which, sums in enumerate(self._sums):
            mine = [s for s in ended if which in (0, s.marker + 1)]
            if mine:
                sums.add(sums.ratios([_for_sums(s, which) for s in mine]), self._now)
            still = [s for s in open_ if which in (0, s.marker + 1)]
            if still:
                sums.preview(sums.ratios([_for_sums(s, which) for s in still]))
        if max(sums.value for sums in self._sums) >= self.threshold:
            since = max(self._sums, key=lambda sums: sums.value).since
            self._alarm = self._warning(explain([s for s in self._recent if s.time > since] + open_), since, self._now)

    def _refine(self, alarm: DriftStatus, open_: list[Seen]) -> None:
        """Ask again what moved, with what was seen since the alarm."""
        behind = [s for s in self._recent if s.time > alarm.since] + open_
        if np.isfinite(alarm.since) and behind and self._now < alarm.time + _SETTLING:
            self._alarm = self._warning(explain(behind), alarm.since, alarm.time)

    def _check_places(self) -> None:
        """Compare the places that markers were learned in with the ones that were told."""
        told = [track.told for track in self._tracks if track.told is not None]
        limit = float(chi2.isf(_ELSEWHERE, 6))
        if any(float(s.offset.twist @ np.linalg.solve(s.covariance, s.offset.twist)) > limit for s in told):
            self._alarm = self._warning(explain(told), float("-inf"), self._now)

    def _warning(self, shift: Shift, since: float, raised: float) -> DriftStatus:
        size = shift.size
        far = f"about {size.translation * 1e3:.1f} mm and {np.rad2deg(size.rotation):.2f} deg"
        labels = " and ".join(self.markers[i].label for i in shift.markers)
        when = f" since t = {since:.1f} s" if np.isfinite(since) else " since the calibration"
        match shift.moved:
            case Moved.CAMERA:
                sentence = f"The camera moved by {far}{when}."
                remedy = "Calibrate again: three views suffice, with the old result as prior."
            case Moved.MARKER:
                sentence = f"{labels.capitalize()} moved by {far}{when}; the camera did not."
                remedy = "Put it back, or restart the monitor if it stays there."
            case Moved.EITHER:
                sentence = f"The camera or {labels} moved: {labels} is seen {far} off{when}."
                remedy = (
                    "Check both; calibrate again with three views if it was the camera. A second marker would tell."
                )
        return DriftStatus(
            state=DriftState.WARNING,
            time=raised,
            level=max(1.0, max(sums.value for sums in self._sums) / self.threshold),
            sentence=sentence,
            remedy=remedy,
            moved=shift.moved,
            markers=tuple(self.markers[i].tag_id for i in shift.markers),
            translation=size.translation,
            rotation=size.rotation,
            since=since,
            shift=shift.twist,
            shift_covariance=shift.covariance,
        )


def _for_sums(seen: Seen, which: int) -> tuple[Floats, Floats, Floats, Floats]:
    by_shift = seen.offset.by_camera if which == 0 else np.eye(6)
    return seen.offset.twist, seen.covariance, seen.stays, by_shift
