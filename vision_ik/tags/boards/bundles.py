"""Finding tag bundles: all visible tags of one rigid body, whatever its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vision_ik.errors import InvalidPoseError
from vision_ik.tags.boards.faults import shared_detector
from vision_ik.tags.detection.detector import TagDetector
from vision_ik.tags.poses.estimation import estimate_board_pose, estimate_pose
from vision_ik.tags.projection import project
from vision_ik.transforms import Transform
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, Frame, TagBundle, TagDetection

_MAX_MISFIT = 0.25
"""Share of a tag's edge by which its corners may miss where the bundle's pose puts them."""

_ROUGH_PX = 1.0
"""[px] Standard deviation of corners that were not refined, where those of other tags were."""


def detect_bundle(frame: Frame, bundle: TagBundle, *, detector: TagDetector | None = None) -> BoardDetection | None:
    """Return the corners of all tags of a bundle seen in a frame, None when none is.

    A tag that is not where the others say, such as a loose one with the same id, is left out.

    Args:
        frame: Picture.
        bundle: Where the tags are on the body.
        detector: Detector to use; None takes the shared one of the bundle's family.
    """
    found = (detector or shared_detector(bundle.family)).detect(frame)
    tags = consistent_tags(found, bundle, frame.intrinsics)
    return _gathered(tags, bundle) if tags else None


def corner_sigmas(tags: Sequence[TagDetection]) -> Floats | None:
    """Return the standard deviation [px] of each corner (4 N,), None where no tag's were measured."""
    covariances = corner_covariances(tags)
    if covariances is None:
        return None
    variances = np.diagonal(covariances, axis1=1, axis2=2).reshape(-1, 2)
    return np.sqrt(variances.mean(axis=1))


def corner_covariances(tags: Sequence[TagDetection]) -> Floats | None:
    """Return the covariances [px^2] of the corners of each tag (N, 8, 8), None where no tag's were measured.

    Tags whose edges could not be followed, mostly half covered ones, have rough corners beside the others.
    """
    if all(tag.covariance is None for tag in tags):
        return None
    rough = _ROUGH_PX**2 * np.eye(8)
    return np.stack([rough if tag.covariance is None else tag.covariance for tag in tags])


def consistent_tags(
    found: Sequence[TagDetection], bundle: TagBundle, intrinsics: CameraIntrinsics
) -> list[TagDetection]:
    """Return the tags of a bundle that agree on one pose of it, by id.

    Each tag proposes poses, both planar solutions of its own; the pose that most tags agree with
    wins, and among poses with as many the one that fits best. Its tags then give the pose that
    all are held against.
    """
    known = [d for d in found if d.tag_id in bundle.markers]
    if len(known) < 2:
        return known
    best: Floats = np.full(len(known), np.inf)
    for proposer in known:
        reach = _reach(proposer, known, bundle)
        for T_camera_bundle in bundle_poses(proposer, bundle, intrinsics):
            misfit = _misfit(T_camera_bundle, known, bundle.markers, intrinsics) / (1.0 + reach)
            if _rank(misfit) > _rank(best):
                best = misfit
    voters = [d for d, miss in zip(known, best, strict=True) if miss < _MAX_MISFIT]
    pose = estimate_board_pose(_gathered(voters, bundle), intrinsics) if len(voters) > 1 else None
    if pose is not None:
        best = _misfit(pose.T_camera_tag, known, bundle.markers, intrinsics)
    chosen: dict[int, int] = {}
    for i in np.flatnonzero(best < _MAX_MISFIT).tolist():
        tag_id = known[i].tag_id
        if tag_id not in chosen or best[i] < best[chosen[tag_id]]:
            chosen[tag_id] = i
    return [known[chosen[tag_id]] for tag_id in sorted(chosen)]


def bundle_poses(detection: TagDetection, bundle: TagBundle, intrinsics: CameraIntrinsics) -> list[Transform]:
    """Return T_camera_bundle as one of its tags alone would have it: up to two, none for corners of no square."""
    try:
        pose = estimate_pose(detection, bundle.sizes[detection.tag_id], intrinsics)
    except InvalidPoseError:
        return []
    T_tag_bundle = bundle.Ts_bundle_tag[detection.tag_id].inv()
    both = [pose.T_camera_tag] if pose.alternative is None else [pose.T_camera_tag, pose.alternative]
    return [T_camera_tag @ T_tag_bundle for T_camera_tag in both]


def _gathered(tags: Sequence[TagDetection], bundle: TagBundle) -> BoardDetection:
    return BoardDetection(
        points_board=np.concatenate([bundle.markers[d.tag_id] for d in tags]),
        points_image=np.concatenate([d.corners for d in tags]),
        timestamp=tags[0].timestamp,
        tag_ids=tuple(d.tag_id for d in tags),
        sigma=corner_sigmas(tags),
        marker_covariances=corner_covariances(tags),
        layout=bundle,
    )


def _misfit(
    T_camera_bundle: Transform,
    known: Sequence[TagDetection],
    markers: Mapping[int, Floats],
    intrinsics: CameraIntrinsics,
) -> Floats:
    """Return how far (N,) the corners of each tag are from where a pose puts them, in edges; inf for a tag's back."""
    points = np.concatenate([markers[d.tag_id] for d in known])
    uv = project(points, T_camera_bundle, intrinsics)[0].reshape(-1, 4, 2)
    corners = np.stack([d.corners for d in known])
    edges = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).min(axis=1)
    distance = np.linalg.norm(uv - corners, axis=2).max(axis=1) / edges
    in_camera = T_camera_bundle.apply(points).reshape(-1, 4, 3)
    normals = np.cross(in_camera[:, 3] - in_camera[:, 0], in_camera[:, 1] - in_camera[:, 0])
    faces = np.einsum("ij,ij->i", normals, in_camera[:, 0]) < 0.0
    return np.where(np.isfinite(distance) & faces & (in_camera[:, :, 2] > 0).all(axis=1), distance, np.inf)


def _reach(proposer: TagDetection, known: Sequence[TagDetection], bundle: TagBundle) -> Floats:
    """Return the distance (N,) of each tag from the proposer, in its edges: errors of its pose grow with it."""
    centre = bundle.Ts_bundle_tag[proposer.tag_id].translation
    away = [float(np.linalg.norm(bundle.Ts_bundle_tag[d.tag_id].translation - centre)) for d in known]
    return np.array(away) / bundle.sizes[proposer.tag_id]


def _rank(misfit: Floats) -> tuple[int, float]:
    agree = misfit < _MAX_MISFIT
    return int(agree.sum()), -float(misfit[agree].sum())
