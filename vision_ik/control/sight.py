"""From frames to the tracked target: detection, pose, choice of the tag, track."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vision_ik.control.settings import ServoSettings
from vision_ik.errors import InvalidPoseError, TagError, VisionIkError
from vision_ik.rig import Rig
from vision_ik.tags import TargetTracker, estimate_pose
from vision_ik.transforms import Transform
from vision_ik.types import Detector, Frame, PoseEstimate, TagDetection, Target


class Sight:
    """What the loop knows of the target.

    Args:
        rig: Tag sizes, T_tag_target, covariance of the camera's pose.
        detector: Finds the tags.
        settings: Which tag to follow and how it may move.
    """

    def __init__(self, rig: Rig, detector: Detector, settings: ServoSettings) -> None:
        self._rig = rig
        self._detector = detector
        self._settings = settings
        # A target that may still be followed must not be forgotten yet.
        lost_after_s = max(settings.tracker.lost_after_s, settings.max_data_age)
        self._tracking = replace(settings.tracker, lost_after_s=lost_after_s)
        self._tag_id = settings.tag_id
        self._tracker: TargetTracker | None = None
        self._newest = -np.inf
        self.trouble: VisionIkError | None = None
        """Why tags that are seen cannot be used (no size known), until one can."""

    @property
    def last_seen(self) -> float:
        """When the target was last seen [s]; -inf for never."""
        return -np.inf if self._tracker is None else self._tracker.last_seen

    def take(self, frame: Frame, T_base_camera: Transform) -> tuple[list[TagDetection], list[PoseEstimate]]:
        """Take in a frame; return the tags in it and the poses of those whose size is known.

        A frame that is not newer than the last one shows nothing new: both lists are empty.
        """
        if frame.timestamp <= self._newest:
            return [], []
        self._newest = frame.timestamp
        detections = self._detector.detect(frame)
        poses = [pose for detection in detections if (pose := self._estimate(detection, frame)) is not None]
        chosen = self._choose(poses, frame.timestamp, T_base_camera)
        if chosen is not None and self._tracker is not None:
            self._tracker.update(chosen, T_base_camera)
        return detections, poses

    def predict(self, timestamp: float) -> Target | None:
        """Return the target as it will be at ``timestamp`` [s]; None when never seen, or lost."""
        return None if self._tracker is None else self._tracker.predict(timestamp)

    def _estimate(self, detection: TagDetection, frame: Frame) -> PoseEstimate | None:
        try:
            size = self._rig.tag_size(detection.tag_id)
        except TagError as error:
            self.trouble = error  # a stray tag must not stop the arm; told while nothing else is seen
            return None
        try:
            return estimate_pose(detection, size, frame.intrinsics)
        except InvalidPoseError as error:
            self.trouble = error
            return None

    def _choose(self, poses: list[PoseEstimate], timestamp: float, T_base_camera: Transform) -> PoseEstimate | None:
        """Return the estimate of the followed tag; without one, follow the first that is seen.

        Of two tags with one id the one nearer to the track is taken. Without a track nobody can tell
        which is meant: an arm must not go to the wrong one, so none is.
        """
        free = self._settings.tag_id is None
        lost = timestamp - self.last_seen > self._tracking.lost_after_s
        candidates = [pose for pose in poses if pose.tag_id == self._tag_id]
        if not candidates and free and lost:
            candidates = [pose for pose in poses if pose.tag_id == poses[0].tag_id]
        if not candidates:
            return None
        tracker = self._tracker if candidates[0].tag_id == self._tag_id and not lost else None
        if len(candidates) > 1 and tracker is None:
            self.trouble = TagError(
                f"{len(candidates)} tags with id {candidates[0].tag_id} are in view; which is meant cannot be told.",
                "Cover or remove the others, or print them with ids of their own.",
                tag_id=candidates[0].tag_id,
            )
            return None
        chosen = candidates[0]
        if tracker is not None and len(candidates) > 1:
            chosen = min(candidates, key=lambda pose: tracker.distance(pose, T_base_camera))
        if self._tracker is None or chosen.tag_id != self._tag_id:
            self._tag_id = chosen.tag_id
            self._tracker = TargetTracker(
                f"tag {chosen.tag_id}",
                T_tag_target=self._rig.T_tag_target,
                camera_covariance=self._rig.camera_covariance,
                settings=self._tracking,
            )
        self.trouble = None
        return chosen
