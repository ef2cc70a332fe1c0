"""Where corners go in the pictures when they move on the board."""

from __future__ import annotations

from calibration.hand_eye.evidence import Corners
from calibration.lens.projection import project
from vision_ik.types import Floats


def by_board_point(corners: Corners, Ts_camera_board: Floats) -> Floats:
    """Return the (M, 2, 3) derivatives of the pixels by the corners' places on the board [px/m].

    Args:
        corners: In all N views.
        Ts_camera_board: (N, 4, 4).
    """
    _, by_point = project(corners.points_camera(Ts_camera_board), corners.intrinsics)
    return by_point @ Ts_camera_board[corners.view][:, :3, :3]
