"""Going to postures and looking: one picture each, taken after the arm has come to rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from calibration.hand_eye.values import HandEyeView
from calibration.views.missing import MissingBoard
from calibration.views.moving import Mover
from vision_ik.clock import Clock
from vision_ik.errors import FrameReadError, TagError
from vision_ik.robots import RobotModel
from vision_ik.tags import BoardFinder, TagDetector
from vision_ik.transforms import Transform
from vision_ik.types import Arm, Board, BoardDetection, Camera, Floats, Frame, TagBundle

_FRAME_TIMEOUT = 5.0
"""[s] For a picture taken at rest to arrive."""
_LATENCY = 0.1
"""[s] Typical time from light to picture, one frame period included."""
_FEWEST_CORNERS = 8
"""A sighting with fewer is too poor to calibrate with."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sighting:
    """What the camera saw in one posture."""

    q: Floats
    """(n,) measured at rest [rad], [m]."""
    T_base_flange: Transform
    """As the arm reports it: forward kinematics of ``q``."""
    frame: Frame
    detection: BoardDetection | None
    """None when the board was not seen, or hardly."""

    @property
    def view(self) -> HandEyeView | None:
        """The view for a calibration, None when the board was not seen."""
        if self.detection is None:
            return None
        return HandEyeView(T_base_flange=self.T_base_flange, detection=self.detection, q=self.q)


class Observer:
    """Sends the arm to a posture, waits for rest, and looks for the board.

    Args:
        arm: The arm.
        camera: A live camera on the same clock.
        board: What to look for, as told; which layout the print has is found out and remembered.
        robot: Model of the arm.
        clock: The clock of the run.
        speed: Share of the joints' limits that motions use.
        detector: Detector for the board's family; None takes a shared one.
        on_sighting: Called with every sighting: for pictures and progress.
        on_tick: Called after every command to the arm.
    """

    def __init__(
        self,
        arm: Arm,
        camera: Camera,
        board: Board,
        robot: RobotModel,
        *,
        clock: Clock,
        speed: float = 0.35,
        detector: TagDetector | None = None,
        on_sighting: Callable[[Sighting], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> None:
        self.robot = robot
        self._board = board
        self.camera = camera
        self.arm = arm
        self._clock = clock
        self._finder = BoardFinder(board, detector=detector)
        self._missing = MissingBoard(board)
        self._seen = False
        self._on_sighting = on_sighting
        self._mover = Mover(arm=arm, robot=robot, clock=clock, speed=speed, on_tick=on_tick)

    @property
    def board(self) -> Board:
        """What the print is, as far as is known."""
        return self._board if isinstance(self._finder.layout, TagBundle) else self._finder.layout

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was wrong with the board as told."""
        return self._finder.remarks

    def explain_missing(self) -> TagError | None:
        """Return what the pictures show in place of the board, ready to be raised; None when nothing, or the board."""
        return None if self._seen else self._missing.explain()

    def __call__(self, way: Floats) -> Sighting:
        """Move along the corners ``way`` ((n,) or (K, n)), rest at the last one, and look.

        Raises:
            ArmError: The arm refuses or does not come to rest.
            FrameReadError: No picture came.
            TagError: The picture shows the board mirrored, or its markers in another arrangement.
        """
        self._mover.go(way)
        frame = self._fresh_frame()
        state = self.arm.read()
        detection = self._finder.detect(frame)
        if detection is not None and len(detection.points_image) < _FEWEST_CORNERS:
            detection = None
        if detection is not None:
            self._seen = True
        elif not self._seen:
            self._missing.note(frame)
        T_base_flange = Transform(self.robot.forward(state.q))
        sighting = Sighting(q=state.q, T_base_flange=T_base_flange, frame=frame, detection=detection)
        if self._on_sighting is not None:
            self._on_sighting(sighting)
        return sighting

    def _fresh_frame(self) -> Frame:
        """Return the first picture whose light fell after now."""
        rest = self._clock.now()
        # Pictures on their way were taken while the arm moved: do not fetch (or render) them.
        self._clock.sleep_until(rest + _LATENCY)
        while not self.camera.ended and self._clock.now() < rest + _FRAME_TIMEOUT:
            frame = self.camera.read(timeout=0.5)
            if frame is not None and frame.timestamp >= rest:
                return frame
        raise FrameReadError(
            f"No picture came within {_FRAME_TIMEOUT:.0f} s after the arm stood still.",
            "Check the camera; calibrating by itself needs a live one.",
        )


def collect_views(observe: Callable[[Floats], Sighting], ways: Iterable[Floats]) -> list[HandEyeView]:
    """Visit postures and return the views in which the board was seen, named by their position.

    Args:
        observe: An ``Observer``, or anything that looks from a posture.
        ways: Way to each posture, (K, n) or (n,), such as ``ViewPlan.ways``.
    """
    views: list[HandEyeView] = []
    for i, way in enumerate(ways):
        sighting = observe(np.asarray(way))
        view = sighting.view
        if view is not None:
            views.append(replace(view, name=str(i)))
    return views
