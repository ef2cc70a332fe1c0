"""The seams third parties can fill; each has a contract suite in ``vision_ik.testing``."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from numpy.typing import ArrayLike

from vision_ik.transforms import TransformLike
from vision_ik.types.motion import IkBatch, IkSolution, JointCommand, JointState
from vision_ik.types.vision import CameraIntrinsics, Frame, TagDetection


@runtime_checkable
class Camera(Protocol):
    """A source of frames; a context manager that releases its device."""

    @property
    def intrinsics(self) -> CameraIntrinsics: ...

    @property
    def live(self) -> bool:
        """True when frames arrive by themselves and unread ones are dropped; False when each read is the next frame."""
        ...

    @property
    def ended(self) -> bool:
        """True once a finite source has given its last frame; a live one never ends."""
        ...

    def read(self, timeout: float = 1.0) -> Frame | None:
        """Return the newest unseen frame (live) or the next one; None when none came within ``timeout`` [s].

        ``timeout=0`` polls. A source whose clock is virtual moves that clock on while it waits.

        Raises:
            FrameReadError: The source is gone (unplugged) or a frame cannot be decoded.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Detector(Protocol):
    """Finds markers in a frame."""

    def detect(self, frame: Frame) -> list[TagDetection]:
        """Return the markers found, by increasing id; an empty list when there are none."""
        ...


@runtime_checkable
class IkSolver(Protocol):
    """Turns poses of the tool into joint angles."""

    def solve(self, T_base_tool: TransformLike, q_start: ArrayLike | None = None) -> IkSolution:
        """Return the solution nearest to ``q_start`` (n,), or the closest posture with the reason."""
        ...

    def solve_batch(self, Ts_base_tool: ArrayLike, q_start: ArrayLike | None = None) -> IkBatch:
        """Solve (N, 4, 4) poses; ``q_start`` is (n,) for all or (N, n)."""
        ...

    def solve_all(self, T_base_tool: TransformLike, q_start: ArrayLike | None = None) -> Sequence[IkSolution]:
        """Return the distinct converged solutions, nearest to ``q_start`` first."""
        ...


@runtime_checkable
class Arm(Protocol):
    """A manipulator; a context manager that leaves the arm stopped."""

    @property
    def joint_names(self) -> tuple[str, ...]: ...

    def read(self) -> JointState:
        """Return the newest joint state.

        Raises:
            ArmError: The arm cannot be reached.
        """
        ...

    def send(self, command: JointCommand) -> JointCommand:
        """Send a set-point; return what was really sent after the last guard.

        Raises:
            ArmError: The arm refuses (stopped, disconnected, foreign joint names).
        """
        ...

    def stop(self) -> None:
        """Decelerate to standstill and hold; safe to call at any time and more than once."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
