"""What a tracker believes: how targets move, how well corners are seen, when a doubt is settled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vision_ik.tags.tracking.motion_bank import MotionModel

Preset = Literal["servo", "steady", "responsive"]

_STANDING = MotionModel(kind="standing", drift=2e-5, angular_drift=2e-4)
_STEADY = MotionModel(acceleration=2e-3, angular_acceleration=0.01, speed=0.01, angular_speed=0.05)
_TURNED = MotionModel(acceleration=0.07, angular_acceleration=0.5, speed=0.3, angular_speed=1.0)
_WAVED = MotionModel(acceleration=2.0, angular_acceleration=6.0, speed=1.0, angular_speed=3.0)
_CARRIED = MotionModel(kind="acceleration", speed=0.3, angular_speed=0.05, surge=0.1, angular_surge=2e-3)
_SWUNG = MotionModel(kind="acceleration", speed=0.3, angular_speed=0.05, surge=1.0, angular_surge=2e-3)
_SHAKEN = MotionModel(kind="acceleration", speed=1.0, angular_speed=3.0, surge=10.0, angular_surge=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """How the target may move and what is believed."""

    models: tuple[MotionModel, ...] = (_STANDING, _STEADY, _TURNED, _WAVED, _CARRIED, _SWUNG)
    """A target that stands; that goes on steadily; that is moved and turned about; that a hand waves, or a hand-held
    camera sees; that is carried along a curve; that swings."""
    sojourn_s: float = 2.0
    """[s] Mean time between changes from one to another."""
    decay_s: float = 1.0
    """[s] Over which an acceleration dies away."""
    gate: float = 0.999
    """Share of good estimates that the gate lets pass; its squared Mahalanobis distance follows from chi2."""
    rejections: int = 5
    """After so many rejected estimates in a row the target has jumped: start anew."""
    lost_after_s: float = 1.0
    """[s] Without an accepted estimate the track is given up."""
    decided: float = 10.0
    """Log-likelihood by which one planar solution must lead the other before the other is dropped."""
    settled_rad: float = 0.05
    """[rad] Rotation error (root mean square) that the planar ambiguity may leave in what is reported at first: until
    the pictures have narrowed it down to this, nothing is reported."""
    facing: tuple[float, float, float] | None = None
    """Direction in the base frame that the tag's face is known to look to; None when it may look anywhere."""
    facing_sigma: float = 0.3
    """[rad] How far off it may look."""
    pixel_sigma: float = 0.3
    """[px] Corner noise that the covariances of estimates without points assume."""
    least_pixel_sigma: float = 0.03
    """[px] Corner noise believed at least, however well the corners fit."""
    corner_bias: float = 0.035
    """[px] Corner error that stays the same from frame to frame, so that it does not average out, of a tag whose
    edges are 20 px long; it falls with the square of the length."""
    camera_lag: float = 0.1
    """Share of the camera's own motion since the last frame by which its pose may be wrong: time stamps of frames and
    of the arm's posture never agree fully."""

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("A tracker needs at least one motion model.")
        if not 0.0 < self.gate < 1.0:
            raise ValueError(f"gate must be in (0, 1), not {self.gate}.")
        for name in (
            "sojourn_s", "decay_s", "lost_after_s", "decided", "settled_rad", "facing_sigma", "pixel_sigma",
            "least_pixel_sigma",
        ):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}.")
        for name in ("corner_bias", "camera_lag"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, not {getattr(self, name)}.")
        if self.rejections < 1:
            raise ValueError(f"rejections must be at least 1, not {self.rejections}.")
        if self.facing is not None and not (len(self.facing) == 3 and 0.0 < math.hypot(*self.facing) < math.inf):
            raise ValueError(f"facing must be a direction of three finite numbers, not {self.facing}.")

    @classmethod
    def steady(cls) -> TrackerSettings:
        """Return the preset for targets that mostly stand: the least restless velocity, which a servo feeds forward.

        Measured with ``vision-ik bench tracking`` (default settings in brackets): jitter of a tag at rest 0.0077 % of
        its distance (0.0078), speed reported of it 0.0025 mm/s (0.010); 50 ms ahead 4.4 mm off while it swings (4.4)
        and 16.0 mm while it is shaken (16.1).
        """
        still = MotionModel(kind="standing", drift=2e-6, angular_drift=2e-5)
        return cls(models=(still, _STEADY, _TURNED, _WAVED, _CARRIED, _SWUNG), sojourn_s=10.0)

    @classmethod
    def responsive(cls) -> TrackerSettings:
        """Return the preset for targets that are shaken: it also believes in accelerations of 10 m/s^2.

        Measured with ``vision-ik bench tracking`` (default settings in brackets): 50 ms ahead 14.7 mm off while the
        tag is shaken (16.1) and 4.7 mm while it swings (4.4); at rest its jitter is 0.0078 % of the distance (0.0078)
        and the speed reported of it 0.035 mm/s (0.010).
        """
        return cls(models=(_STANDING, _STEADY, _TURNED, _WAVED, _CARRIED, _SWUNG, _SHAKEN), sojourn_s=0.5)

    @classmethod
    def named(cls, preset: Preset) -> TrackerSettings:
        """Return a preset by its name.

        Raises:
            ValueError: There is none of that name.
        """
        if preset not in ("servo", "steady", "responsive"):
            raise ValueError(f"A preset is servo, steady or responsive, not {preset!r}.")
        return {"servo": cls, "steady": cls.steady, "responsive": cls.responsive}[preset]()
