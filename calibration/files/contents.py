"""What a file of views holds, before anybody looks for a board in its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from calibration.hand_eye.values import HandEyeView
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, Floats
from vision_ik.types._arrays import put, read_only


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PosedPicture:
    """A picture and where the arm was."""

    name: str
    """Path of the picture, beside the file that lists it."""
    T_base_flange: Transform
    """Flange in base as the arm reported it."""
    q: Floats | None = None
    """(n,) joints [rad], [m]; None when only the pose is known."""
    twist: Floats | None = None
    """(6,) of the flange in its frame, (v, w) [m/s, rad/s]; None at rest."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PosedPictures:
    """Pictures and poses of one calibration."""

    folder: Path
    """That the names of the pictures are relative to."""
    pictures: tuple[PosedPicture, ...]
    mount: Mount | None = None
    """None when the files do not say."""
    board: Board | None = None
    """None when the files do not say."""
    lens: CameraIntrinsics | None = None
    """As the files state it, perhaps nominal; None when they do not, or without the size of the pictures."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PosedCorners:
    """Views whose corners were found already."""

    views: tuple[HandEyeView, ...]
    image_size: tuple[int, int]
    """Width, height [px]."""
    mount: Mount | None = None
    """None when the file does not say."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PosePairs:
    """Poses of the arm and of the board, without pictures."""

    names: tuple[str, ...]
    Ts_base_flange: Floats
    """(N, 4, 4) flange in base as the arm reported it [m]."""
    Ts_camera_board: Floats
    """(N, 4, 4) board in the camera's optical frame [m]."""
    mount: Mount | None = None
    """None when the file does not say."""

    def __post_init__(self) -> None:
        for name in ("Ts_base_flange", "Ts_camera_board"):
            put(self, name, read_only(getattr(self, name), (len(self.names), 4, 4), name))


Contents: TypeAlias = PosedPictures | PosedCorners | PosePairs
