"""Pictures and poses on clocks that differ: where the flange was when the picture was really taken.

The offset is what must be added to a picture's time stamp to have it on the arm's clock. Pictures
stamped when they arrive, 50 ms after the light did, have an offset of -50 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from calibration import batch
from calibration.hand_eye.terms import Term
from calibration.hand_eye.values import HandEyeView
from vision_ik.errors import CalibrationError
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, Floats

_FEWEST_POSES = 4
"""A cubic needs as many."""


@dataclass(frozen=True, slots=True, eq=False)
class TimeOffset:
    """An `ArmTerm`: the flange moved on along its twist by the offset [s]; exact where the twist is constant."""

    Ts_base_flange: Floats
    """(N, 4, 4) as reported for each picture."""
    twists: Floats
    """(N, 6) of the flange then, in its own frame (v, w) [m/s, rad/s]; zero at rest."""
    sigma_offset: float = 0.1
    """[s] Standard deviation of the offset before any view."""

    @property
    def name(self) -> str:
        """Short, for people."""
        return "time offset"

    @property
    def parameters(self) -> tuple[str, ...]:
        """One: the offset."""
        return ("offset [s]",)

    @property
    def sigma(self) -> Floats:
        """(1,) [s]."""
        return np.array([self.sigma_offset])

    def flanges(self, theta: Floats) -> Floats:
        """Return the (N, 4, 4) poses ``theta`` (1,) [s] later."""
        return self.Ts_base_flange @ batch.exp(theta[0] * self.twists)

    def derivatives(self, theta: Floats) -> Floats:
        """Return (N, 6, 1): a twist stays its own under the motion it makes."""
        return self.twists[:, :, None]

    def select(self, keep: NDArray[np.bool_]) -> TimeOffset:
        """Return the term for the views where ``keep`` (N,) is true."""
        return TimeOffset(self.Ts_base_flange[keep], self.twists[keep], self.sigma_offset)

    def further(self, views: Sequence[HandEyeView]) -> TimeOffset:
        """Return the term for other views; one without a twist was taken at rest."""
        return _of_views(views, self.sigma_offset)


class FlangeRecording:
    """Where the flange was at any time, between the poses that the arm reported.

    Cubic between the poses, with continuous speed and acceleration.

    Args:
        timestamps: (R,) [s] on the arm's clock, increasing.
        Ts_base_flange: (R, 4, 4) poses then.

    Raises:
        CalibrationError: Fewer than four poses, numbers that do not match, or times that do not increase.
    """

    def __init__(self, timestamps: ArrayLike, Ts_base_flange: ArrayLike) -> None:
        times, poses = np.asarray(timestamps, dtype=np.float64), np.asarray(Ts_base_flange, dtype=np.float64)
        if times.ndim != 1 or poses.shape != (len(times), 4, 4):
            raise CalibrationError(
                f"{len(np.atleast_1d(times))} time stamps, but poses of shape {poses.shape}.",
                "Give one time stamp [s] and one 4x4 pose for each report of the arm.",
            )
        if len(times) < _FEWEST_POSES or not (np.isfinite(times).all() and (np.diff(times) > 0.0).all()):
            raise CalibrationError(
                "The arm's poses are too few, or their times do not increase.",
                f"Record at least {_FEWEST_POSES} poses in the order in which the arm reported them.",
                poses=len(times),
            )
        self.timestamps = times
        self._translation = CubicSpline(times, poses[:, :3, 3])
        self._rotation = RotationSpline(times, Rotation.from_matrix(poses[:, :3, :3]))

    def covers(self, timestamps: ArrayLike) -> NDArray[np.bool_]:
        """Return which times (N,) lie within the recording."""
        times = np.asarray(timestamps, dtype=np.float64)
        return (times >= self.timestamps[0]) & (times <= self.timestamps[-1])

    def poses(self, timestamps: ArrayLike) -> Floats:
        """Return the (N, 4, 4) Ts_base_flange at times (N,); beyond the ends, those at the ends."""
        times = self._within(timestamps)
        Ts_base_flange = np.tile(np.eye(4), (len(times), 1, 1))
        Ts_base_flange[:, :3, :3] = self._rotation(times).as_matrix()
        Ts_base_flange[:, :3, 3] = self._translation(times)
        return Ts_base_flange

    def twists(self, timestamps: ArrayLike) -> Floats:
        """Return the (N, 6) twists of the flange in its own frame (v, w) [m/s, rad/s]; beyond the ends zero."""
        times = self._within(timestamps)
        R = self._rotation(times)
        v = R.inv().apply(self._translation(times, 1))
        w = np.asarray(self._rotation(times, 1), dtype=np.float64)
        return np.hstack([v, w]) * self.covers(timestamps)[:, None]

    def _within(self, timestamps: ArrayLike) -> Floats:
        return np.clip(np.asarray(timestamps, dtype=np.float64), self.timestamps[0], self.timestamps[-1])


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTimeOffset:
    """An `ArmTerm`: the offset [s], with the flange where the arm recorded it then."""

    recording: FlangeRecording
    timestamps: Floats
    """(N,) [s] of the pictures."""
    sigma_offset: float = 0.1
    """[s] Standard deviation of the offset before any view."""

    @property
    def name(self) -> str:
        """Short, for people."""
        return "time offset"

    @property
    def parameters(self) -> tuple[str, ...]:
        """One: the offset."""
        return ("offset [s]",)

    @property
    def sigma(self) -> Floats:
        """(1,) [s]."""
        return np.array([self.sigma_offset])

    def flanges(self, theta: Floats) -> Floats:
        """Return the (N, 4, 4) poses ``theta`` (1,) [s] after the pictures' time stamps."""
        return self.recording.poses(self.timestamps + theta[0])

    def derivatives(self, theta: Floats) -> Floats:
        """Return (N, 6, 1)."""
        return self.recording.twists(self.timestamps + theta[0])[:, :, None]

    def select(self, keep: NDArray[np.bool_]) -> RecordedTimeOffset:
        """Return the term for the views where ``keep`` (N,) is true."""
        return RecordedTimeOffset(self.recording, self.timestamps[keep], self.sigma_offset)

    def further(self, views: Sequence[HandEyeView]) -> TimeOffset:
        """Return the term for other views, which the recording need not cover: they move on along their twists."""
        return _of_views(views, self.sigma_offset)


def _of_views(views: Sequence[HandEyeView], sigma_offset: float) -> TimeOffset:
    still = np.zeros(6)
    twists = [still if view.twist is None else view.twist for view in views]
    return TimeOffset(np.stack([view.flange.matrix for view in views]), np.stack(twists), sigma_offset)


def time_offset(terms: Sequence[Term], theta: Floats) -> float:
    """Return the offset [s] among the values (k,) of some terms' unknowns; 0 where no term is one of time."""
    start = 0
    for term in terms:
        if isinstance(term, TimeOffset | RecordedTimeOffset):
            return float(theta[start])
        start += len(term.parameters)
    return 0.0


def views_from_stream(
    detections: Sequence[BoardDetection], recording: FlangeRecording, *, time_offset: float = 0.0
) -> list[HandEyeView]:
    """Return a view for each picture that the arm's recording covers, with the flange's pose and twist then.

    Args:
        detections: The board, with the time stamps of the pictures [s].
        recording: Where the flange was.
        time_offset: [s] To add to a picture's time stamp to have it on the arm's clock.
    """
    times = np.array([detection.timestamp for detection in detections]) + time_offset
    inside = recording.covers(times)
    poses, twists = recording.poses(times), recording.twists(times)
    return [
        HandEyeView(
            T_base_flange=Transform(pose), detection=detection, name=f"{detection.timestamp:.3f} s", twist=twist
        )
        for detection, pose, twist, covered in zip(detections, poses, twists, inside, strict=True)
        if covered
    ]
