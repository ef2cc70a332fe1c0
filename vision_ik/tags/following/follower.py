"""Following markers from frame to frame: little to look at in each, and hands on them do no harm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision_ik.tags.detection.detector import TagDetector
from vision_ik.tags.detection.gate import TemporalGate
from vision_ik.tags.families import find_family
from vision_ik.tags.following.flow import flow_motion
from vision_ik.tags.following.known_pattern import KnownPattern
from vision_ik.tags.following.legibility import Legibility
from vision_ik.tags.following.placing import Placement, PrintPlacer
from vision_ik.tags.following.windows import Window, cut
from vision_ik.tags.quads import apart, least_width, longest_edge, on_print
from vision_ik.types import Floats, Frame, TagDetection

_NEWCOMER = 0.15
"""[edges] Error of the first prediction, of a marker whose speed is not known yet."""
_STEADY_S = 0.1
"""[s] For so long a velocity is believed."""
_ERROR_MEMORY = 0.7
"""Share of the recent prediction error that remains from frame to frame."""
_FORESEEN = 0.5
"""[cells] Predictions that were off by more lead to the edges next to the right ones: flow comes first."""
_SAME_PLACE = 0.5
"""[edges] Detections with one id whose middles are nearer than this are one marker."""
_REGION = 0.5
"""[edges] Margin around a marker that is searched for; it is twice as wide from the second frame without it on."""
_LOOK_AGAIN = 5
"""[frames] between two looks at the whole picture while a marker is lost and others are followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowSettings:
    """How long markers are kept, and how often new ones are looked for."""

    look_every: int = 30
    """[frames] between two looks at the whole picture; without a marker in view, every frame is looked at, though
    after the first with little effort: each of them climbs one rung of the detector's ladder besides the first."""
    keep_s: float = 0.5
    """[s] A marker that cannot be found for so long is forgotten."""
    carry_s: float = 5.0
    """[s] A marker is carried on for so long while what is visible of it would fit another marker, too."""

    def __post_init__(self) -> None:
        if self.look_every < 1 or not (self.keep_s >= 0.0 and self.carry_s >= 0.0):
            raise ValueError(
                f"Looks every {self.look_every} frames, {self.keep_s} s and {self.carry_s} s must be positive."
            )


@dataclass(slots=True, eq=False, kw_only=True)
class _Track:
    """One marker from frame to frame."""

    last: TagDetection
    pattern: KnownPattern | None
    """None for families whose print is not known here."""
    window: Window
    """Part of the newest frame in which it was found."""
    knots: Floats
    """(K, 2) on the print, what the flow starts from."""
    identified: float
    """[s] When it was last read, or what was visible belonged to no other marker."""
    velocity: Floats
    """(4, 2) [px/s] of the corners."""
    error: float
    """[px] Of recent predictions."""
    missed: int = 0
    """Frames since it was found."""

    @property
    def edge(self) -> float:
        """Longest edge [px]."""
        return longest_edge(self.last.corners)

    def predicted(self, timestamp: float) -> Floats:
        """Return the corners (4, 2) [px] at constant velocity, which nothing keeps for long."""
        ahead = min(timestamp - self.last.timestamp, _STEADY_S)
        return self.last.corners + ahead * self.velocity


class TagFollower:
    """Finds the markers that a detector finds, and goes on where it cannot: a stateful `Detector`.

    Each marker is expected where it was going. There its known print is laid onto the picture, which reads it as a
    detector would and costs a fraction; where the motion was not foreseen, optical flow leads there. Of a marker
    that is partly covered, what is visible is matched, and the hidden corners follow from it: such detections say
    ``tracked``, and their covariance says how well each corner is known. Nothing is carried on that does not look
    like the print. Markers that are lost are searched for with the detector around their place; new ones are found
    by looking at the whole picture every so many frames.

    Args:
        detector: Finds markers.
        settings: How long, how often.
    """

    def __init__(self, detector: TagDetector | None = None, *, settings: FollowSettings | None = None) -> None:
        self.detector = detector or TagDetector()
        self.settings = settings or FollowSettings()
        self._placer = PrintPlacer(find_family(self.detector.family))
        self.reset()

    def reset(self) -> None:
        """Forget all markers."""
        self._tracks: list[_Track] = []
        self._size = (0, 0)
        self._newest = -np.inf
        self._until_look = 0
        self._turn: int | None = None  # the first look climbs the whole ladder
        self._gate = TemporalGate()
        self._held = self._again = False

    @property
    def followed(self) -> tuple[int, ...]:
        """Ids of the markers that are followed, seen in the newest frame or not."""
        return tuple(sorted(track.last.tag_id for track in self._tracks))

    def detect(self, frame: Frame) -> list[TagDetection]:
        """Return the markers in a frame by increasing id; an id seen twice is reported twice.

        Time that goes back, or pictures of another size, begin anew.
        """
        if frame.timestamp < self._newest or frame.image.shape[:2] != self._size:
            self.reset()
        self._newest, self._size = frame.timestamp, frame.image.shape[:2]
        for track in self._tracks:
            self._follow(track, frame)
        self._part()
        self._search(frame)
        self._tracks = [track for track in self._tracks if self._kept(track)]
        found = [track.last for track in self._tracks if not track.missed]
        return sorted(found, key=lambda d: (d.tag_id, *d.corners[0]))

    def _kept(self, track: _Track) -> bool:
        if track.missed and self._newest - track.last.timestamp > self.settings.keep_s:
            return False
        return self._in_picture(track)

    def _in_picture(self, track: _Track) -> bool:
        height, width = self._size
        x, y = track.predicted(self._newest).mean(axis=0)
        return bool(0.0 <= x < width and 0.0 <= y < height)

    def _follow(self, track: _Track, frame: Frame) -> None:
        """Find a marker near its predicted place, by its print alone."""
        track.missed += 1
        if track.pattern is None or not self._in_picture(track):
            return
        corners = track.predicted(frame.timestamp)
        cell = least_width(corners) / len(track.pattern.cells)
        foreseen = track.missed == 1 and track.error < _FORESEEN * cell
        if foreseen and self._lay(track, frame, corners):
            return
        flowed = _flowed(track, frame, corners)
        if (flowed is None or not self._lay(track, frame, flowed)) and not foreseen:
            self._lay(track, frame, corners)

    def _lay(self, track: _Track, frame: Frame, corners: Floats, read: TagDetection | None = None) -> bool:
        """Lay the print of a marker onto the frame; take it in when enough of it is there.

        Args:
            track: The marker.
            frame: Where to look.
            corners: (4, 2) [px] where it is expected.
            read: What a detector says of it.
        """
        placed = self._placer.place(frame, corners, track.pattern)
        if placed is None:
            return False
        if placed.legibility is not Legibility.RECOGNISED or read is not None:
            track.identified = frame.timestamp
        elif frame.timestamp - track.identified > self.settings.carry_s:
            return False
        track.window, track.knots = placed.window, placed.knots
        _move(track, _detection(track.last, placed, frame.timestamp, read))
        return True

    def _part(self) -> None:
        """Keep the surer of two tracks of one id that ended up on one marker."""
        kept: list[_Track] = []
        for track in sorted(self._tracks, key=lambda t: (t.missed, t.last.tracked, t.last.hamming)):
            if not any(not other.missed and not track.missed and _one(other.last, track.last) for other in kept):
                kept.append(track)
        self._tracks = kept

    def _search(self, frame: Frame) -> None:
        """Look around the places of lost markers; at the whole picture when it is time to or that did not help."""
        for track in [track for track in self._tracks if track.missed]:
            for detection in self._search_around(track, frame):
                self._take(detection, frame)
        self._until_look -= 1
        astray = any(track.missed % _LOOK_AGAIN == 1 for track in self._tracks)
        if self._until_look < 0 or astray or all(track.missed for track in self._tracks):
            self._look(frame)

    def _search_around(self, track: _Track, frame: Frame) -> list[TagDetection]:
        """Return what the detector finds around the predicted place of a lost marker."""
        corners = track.predicted(frame.timestamp)
        rim = _REGION * track.edge * min(track.missed, 2) + 2.0 * track.error
        turn = None if track.missed == 1 else track.missed - 2
        near = {track.last.tag_id: corners}
        return self.detector.search(frame, expected=near, rim=rim, regions_only=True, turn=turn).detections

    def _look(self, frame: Frame) -> None:
        """Look at the whole picture."""
        self._until_look = self.settings.look_every
        self._held = False
        for detection in self.detector.search(frame, turn=self._turn).detections:
            self._take(detection, frame)
        # A new marker that was hard to read needs a second look of the same kind, but not one after the other.
        self._again = self._held and not self._again
        if self._again:
            self._until_look = 0
        else:
            self._turn = 0 if self._turn is None else self._turn + 1

    def _take(self, detection: TagDetection, frame: Frame) -> None:
        """Take in what the detector found: a marker that is followed, or a new one."""
        same = [track for track in self._tracks if track.last.tag_id == detection.tag_id]
        for track in same:
            if not track.missed and _one(track.last, detection):
                if track.last.tracked:
                    # From where its print lies: a detector may take the rim of the cover for the marker's edge.
                    self._lay(track, frame, track.last.corners, detection)
                return
        if any(_covers(track, detection) for track in self._tracks):
            return  # what is visible there belongs to another marker: a misread cover
        lost = [track for track in same if track.missed]
        if lost:
            distances = [apart(track.predicted(frame.timestamp), detection.corners) for track in lost]
            track = lost[int(np.argmin(distances))]
            if min(distances) < track.edge * (1 + track.missed):
                self._settle(track, detection, frame)
                return
            self._tracks.remove(track)  # it was put elsewhere
        elif not self._gate.pass_on([detection]):
            self._held = True
            return
        track = _Track(
            last=detection,
            pattern=self._placer.pattern(detection.tag_id),
            window=cut(frame.image, (0, 0, 1, 1)),
            knots=np.empty((0, 2)),
            identified=frame.timestamp,
            velocity=np.zeros((4, 2)),
            error=_NEWCOMER * longest_edge(detection.corners),
        )
        self._tracks.append(track)
        self._settle(track, detection, frame)

    def _settle(self, track: _Track, detection: TagDetection, frame: Frame) -> None:
        """Put a track where the detector found its marker, exactly where its print lies if that can be told."""
        if not self._lay(track, frame, detection.corners, detection):
            track.identified = frame.timestamp
            _move(track, detection)


def _detection(before: TagDetection, placed: Placement, timestamp: float, read: TagDetection | None) -> TagDetection:
    """Return what a placed print is reported as; ``read`` is what a detector says of it."""
    return TagDetection(
        tag_id=before.tag_id,
        family=before.family,
        corners=placed.corners,
        timestamp=timestamp,
        hamming=placed.hidden_bits if read is None else read.hamming,
        margin=float("nan") if read is None else read.margin,
        covariance=placed.covariance,
        tracked=read is None and placed.legibility is not Legibility.READ,
    )


def _move(track: _Track, detection: TagDetection) -> None:
    """Take in where a marker is now."""
    elapsed = detection.timestamp - track.last.timestamp
    if elapsed > 0.0:
        miss = float(np.linalg.norm(detection.corners - track.predicted(detection.timestamp), axis=1).max())
        track.error = max(miss, _ERROR_MEMORY * track.error)
        track.velocity = (detection.corners - track.last.corners) / elapsed
    track.last, track.missed = detection, 0


def _flowed(track: _Track, frame: Frame, corners: Floats) -> Floats | None:
    """Return where optical flow since the last sighting puts the corners (4, 2) [px], or None."""
    if not len(track.knots):  # a detector found it, and its print could not be laid there
        return None
    before = track.window
    shift = np.rint(corners.mean(axis=0) - track.last.corners.mean(axis=0)).astype(np.int64)
    height, width = before.gray.shape
    x0, y0 = (before.origin.astype(np.int64) + shift).tolist()
    after = cut(frame.image, (x0, y0, x0 + width, y0 + height))
    points = on_print(track.last.corners, track.knots)
    guess = on_print(corners, track.knots)
    motion = flow_motion(before.gray, after.gray, points - before.origin, guess - after.origin)
    if motion is None:
        return None
    return (track.last.corners - before.origin) @ motion[:, :2].T + motion[:, 2] + after.origin


def _covers(track: _Track, detection: TagDetection) -> bool:
    """Return whether another marker was just found where a detection lies."""
    other = track.last.tag_id != detection.tag_id
    return other and not track.missed and apart(track.last.corners, detection.corners) < _SAME_PLACE * track.edge


def _one(a: TagDetection, b: TagDetection) -> bool:
    """Return whether two detections are of one marker."""
    near = apart(a.corners, b.corners) < _SAME_PLACE * max(longest_edge(a.corners), longest_edge(b.corners))
    return a.tag_id == b.tag_id and near
