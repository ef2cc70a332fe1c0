"""Which of the tags in view the loop follows."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from vision_ik.control import ServoSettings
from vision_ik.control.sight import Sight
from vision_ik.rig import Rig
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Frame, TagDetection, Target, tag_corners

SIZE = 0.08
LENS = CameraIntrinsics(K=np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]]), width=640, height=480)
LEFT = Transform.from_xyz_rpy((-0.15, 0.0, 0.6), (np.pi - 0.3, 0.2, 0.0))
RIGHT = Transform.from_xyz_rpy((0.15, 0.02, 0.6), (np.pi - 0.3, -0.2, 0.0))
RIG = Rig(robot="panda", mount="eye_to_hand", T_mount_camera=Transform.identity(), default_tag_size=SIZE)


class Listed:
    """Gives the detections it was told, frame by frame."""

    def __init__(self) -> None:
        self.next: list[tuple[int, Transform]] = []

    def detect(self, frame: Frame) -> list[TagDetection]:
        found: list[TagDetection] = []
        for tag_id, T in self.next:
            rotation, _ = cv2.Rodrigues(np.array(T.rotation))
            uv, _ = cv2.projectPoints(
                tag_corners(SIZE), rotation, np.array(T.translation), frame.intrinsics.K, np.zeros(5)
            )
            corners = np.asarray(uv, dtype=np.float64).reshape(4, 2)
            found.append(TagDetection(tag_id=tag_id, family="36h11", corners=corners, timestamp=frame.timestamp))
        return found


def frame(t: float) -> Frame:
    return Frame(image=np.zeros((480, 640, 3), np.uint8), timestamp=t, index=round(30 * t), intrinsics=LENS)


def watch(sight: Sight, detector: Listed, seen: list[tuple[int, Transform]], start: float, frames: int = 10) -> float:
    detector.next = seen
    for k in range(frames):
        sight.take(frame(start + k / 30), Transform.identity())
    return start + frames / 30


def test_two_tags_with_one_id_are_refused_by_name_until_one_is_gone() -> None:
    detector = Listed()
    sight = Sight(RIG, detector, ServoSettings())
    t = watch(sight, detector, [(7, LEFT), (7, RIGHT)], 0.0)
    assert sight.predict(t) is None
    assert sight.trouble is not None
    assert "2 tags with id 7" in sight.trouble.cause
    t = watch(sight, detector, [(7, RIGHT)], t)
    target = sight.predict(t)
    assert target is not None
    assert target.T_base_target.distance_to(RIGHT)[0] < 1e-3
    assert sight.trouble is None


def test_a_second_tag_with_the_id_of_the_followed_one_does_not_move_the_target() -> None:
    for order in ([(7, LEFT), (7, RIGHT)], [(7, RIGHT), (7, LEFT)]):
        detector = Listed()
        sight = Sight(RIG, detector, ServoSettings(tag_id=7))
        t = watch(sight, detector, [(7, LEFT)], 0.0)
        t = watch(sight, detector, order, t)
        target = sight.predict(t)
        assert target is not None
        assert target.T_base_target.distance_to(LEFT)[0] < 1e-3


def test_without_a_wish_the_tag_of_the_lowest_id_is_followed_though_others_come_in_pairs() -> None:
    detector = Listed()
    sight = Sight(RIG, detector, ServoSettings())
    t = watch(sight, detector, [(3, RIGHT), (7, LEFT), (7, LEFT)], 0.0)
    target = sight.predict(t)
    assert target is not None
    assert target.name == "tag 3"


def test_corners_that_fit_badly_are_followed_with_a_larger_covariance_not_refused() -> None:
    square = Transform.from_xyz_rpy((0.1, -0.05, 0.5), (np.pi - 0.6, 0.3, 0.0))

    class Bent(Listed):
        """A tag on a curved surface, with corners that are sharp."""

        def detect(self, frame: Frame) -> list[TagDetection]:
            bend = np.array([[3.0, 0.0], [-3.0, 0.0], [3.0, 0.0], [-3.0, 0.0]])
            return [replace(d, corners=d.corners + bend, covariance=0.02**2 * np.eye(8)) for d in super().detect(frame)]

    targets: list[Target] = []
    for detector in (Bent(), Listed()):
        sight = Sight(RIG, detector, ServoSettings())
        t = watch(sight, detector, [(7, square)], 0.0)
        target = sight.predict(t)
        assert target is not None
        targets.append(target)
    bent, flat = targets
    off = bent.T_base_target.translation - flat.T_base_target.translation
    assert bent.covariance[2, 2] > 10.0 * flat.covariance[2, 2]
    assert np.linalg.norm(off) < 0.05
