"""Everything vision-ik raises on purpose.

The tree; catch at the level you can act on::

    VisionIkError
    ├── ConfigError             a file the user wrote (rig, scene, camera, board) is malformed
    ├── InvalidPoseError        a pose is not finite or not a rigid transform (also a ValueError)
    ├── CameraError             a source of frames cannot be opened or has stopped
    │   ├── CameraNotFoundError
    │   └── FrameReadError      unreadable video, truncated image, unplugged webcam
    ├── TagError                family, dictionary or size of a tag is unknown
    ├── RobotError              a URDF is no serial chain, lacks limits, or a name is unknown
    ├── WeightsError            learned seeds are corrupt or belong to another robot
    ├── CalibrationError        views do not determine what was asked for
    ├── ArmError                the arm cannot be reached, refuses, or is stopped
    ├── RecordingError          something could not be written or read back
    └── MissingDependencyError  an optional package is not installed

Outcomes are not exceptions: no tag in view, a target out of reach and a solver
that did not converge are values (``[]``, ``IkSolution.status``).
"""

from __future__ import annotations


class VisionIkError(Exception):
    """Base of all errors of this project: one sentence of cause, one of remedy, and the facts.

    Args:
        cause: What is wrong, as one sentence.
        remedy: What to do about it, as one sentence.
        **facts: Values that belong to the error (paths, names, numbers), kept in ``facts``.
    """

    def __init__(self, cause: str, remedy: str, **facts: object) -> None:
        super().__init__(f"{cause.rstrip()} {remedy.rstrip()}")
        self.cause = cause
        self.remedy = remedy
        self.facts = facts

    def __reduce__(self) -> tuple[object, ...]:  # BaseException would pickle the joined sentence alone
        return _rebuilt, (type(self), self.cause, self.remedy, self.facts)


def _rebuilt(kind: type[VisionIkError], cause: str, remedy: str, facts: dict[str, object]) -> VisionIkError:
    return kind(cause, remedy, **facts)


class ConfigError(VisionIkError):
    """A file the user wrote is malformed."""


class InvalidPoseError(VisionIkError, ValueError):
    """A pose is not finite, or its rotation is not orthonormal with determinant +1."""


class CameraError(VisionIkError):
    """A source of frames cannot be used."""


class CameraNotFoundError(CameraError):
    """No camera or file stands behind the given source."""


class FrameReadError(CameraError):
    """The source opened, but a frame could not be read or decoded."""


class TagError(VisionIkError):
    """A tag's family, dictionary or size is unknown or inconsistent."""


class RobotError(VisionIkError):
    """A robot description cannot be used."""


class WeightsError(VisionIkError):
    """Learned seeds are corrupt or were trained for another robot."""


class CalibrationError(VisionIkError):
    """The views do not determine what was asked for."""


class ArmError(VisionIkError):
    """The arm cannot be reached, refuses a command, or has been stopped."""


class RecordingError(VisionIkError):
    """A file could not be written or read back."""


class MissingDependencyError(VisionIkError, ImportError):
    """An optional package is not installed."""
