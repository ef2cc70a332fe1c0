"""A rig for pictures that come without one: the first seen tag is put within reach of the arm.

Nobody can know where the camera of somebody's video stood relative to a robot that was not
there. So the first sighting *defines* it: the tag is placed at a comfortable spot before the
arm, facing it, and everything else follows from what the camera sees. Every output of such a
run is marked as approximate.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vision_ik.rig import Rig
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate

_REACH_FRACTION = 0.55
"""Distance of the first tag from the base, as a part of the arm's reach."""
_HEIGHT_FRACTION = 0.45
"""Its height above the base, likewise."""


def reach_of(robot: RobotModel) -> float:
    """Return how far the flange gets from the base [m], over 2,000 random postures."""
    q = robot.random(np.random.default_rng(0), 2000)
    return float(np.linalg.norm(robot.forward(q)[:, :3, 3], axis=1).max())


def first_tag_pose(reach: float) -> Transform:
    """Return T_base_tag of the first seen tag: in front of the arm, upright, facing the base.

    Args:
        reach: Largest distance of the flange from the base [m].
    """
    R_base_tag = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return Transform.from_parts(R_base_tag, (_REACH_FRACTION * reach, 0.0, _HEIGHT_FRACTION * reach))


def approach_from_front(standoff: float) -> Transform:
    """Return T_tag_target: the tool ``standoff`` [m] before the tag, its z axis into the tag."""
    R_tag_tool: Floats = np.diag([1.0, -1.0, -1.0])
    return Transform.from_parts(R_tag_tool, (0.0, 0.0, standoff))


def place_first_tag(rig: Rig, first: PoseEstimate, reach: float) -> Rig:
    """Return the rig with its camera placed so that ``first`` is at the comfortable spot."""
    T_base_camera = first_tag_pose(reach) @ first.T_camera_tag.inv()
    return replace(rig, mount="eye_to_hand", T_mount_camera=T_base_camera, camera_covariance=None)
