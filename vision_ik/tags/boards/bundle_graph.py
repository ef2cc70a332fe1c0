"""A first layout of a bundle from many views: pairs vote for how they stand to each other, a tree joins them.

A single tag has two poses that look alike in each view; only the true one makes a pair stand the
same in all views, so the arrangement that most views agree on is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vision_ik.errors import InvalidPoseError
from vision_ik.tags.poses.estimation import estimate_pose
from vision_ik.tags.projection import project
from vision_ik.transforms import Transform, mean_transform
from vision_ik.types import CameraIntrinsics, Floats, TagDetection, tag_corners

_VIEWS_PER_PAIR = 24
"""Spread evenly over those that show a pair; each gives up to four candidates."""
_SAME_ANGLE = 0.25
"""[rad] Candidates within it support each other: frontal tags are uncertain in tilt by as much."""
_SAME_PLACE = 0.25
"""The same for the translation, beside a tag's edge and the distance of the two."""
_WORST = 1.0
"""Misfit beside a tag's edge that a view's best pose may count for each tag at most."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The tags of one frame, each once, and where the camera sees each, up to two ways."""

    tags: Mapping[int, TagDetection]
    Ts_camera_tag: Mapping[int, list[Transform]]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """How a tag stands to another, as most of the views that show both have it."""

    T_first_second: Transform
    votes: int


def read_view(tags: Sequence[TagDetection], sizes: Mapping[int, float], intrinsics: CameraIntrinsics) -> View:
    """Return the tags of one frame that have a size and a pose; an id seen twice is left out."""
    ids = [d.tag_id for d in tags]
    once = [d for d in tags if d.tag_id in sizes and ids.count(d.tag_id) == 1]
    kept: dict[int, TagDetection] = {}
    poses: dict[int, list[Transform]] = {}
    for detection in once:
        try:
            pose = estimate_pose(detection, sizes[detection.tag_id], intrinsics)
        except InvalidPoseError:
            continue
        kept[detection.tag_id] = detection
        poses[detection.tag_id] = [T for T in (pose.T_camera_tag, pose.alternative) if T is not None]
    return View(kept, poses)


def vote(views: Sequence[View], sizes: Mapping[int, float]) -> dict[tuple[int, int], Pair]:
    """Return the pairs of tags seen together, the smaller id first."""
    together: dict[tuple[int, int], list[View]] = {}
    for view in views:
        for pair in combinations(sorted(view.tags), 2):
            together.setdefault(pair, []).append(view)
    pairs: dict[tuple[int, int], Pair] = {}
    for (a, b), seen in together.items():
        chosen = np.unique(np.linspace(0, len(seen) - 1, min(len(seen), _VIEWS_PER_PAIR)).round().astype(int))
        pairs[a, b] = _elect([_candidates(seen[i], a, b) for i in chosen.tolist()], min(sizes[a], sizes[b]))
    return pairs


def join(pairs: Mapping[tuple[int, int], Pair], root: int, fewest: int) -> dict[int, Transform]:
    """Return T_root_tag of all tags that pairs of at least ``fewest`` votes connect, the surest pairs first (Prim)."""
    placed = {root: Transform.identity()}
    while True:
        links = [
            (pair.votes, -a, -b)
            for (a, b), pair in pairs.items()
            if (a in placed) != (b in placed) and pair.votes >= fewest
        ]
        if not links:
            return placed
        _, a, b = max(links)
        a, b = -a, -b
        T_a_b = pairs[a, b].T_first_second
        if a in placed:
            placed[b] = placed[a] @ T_a_b
        else:
            placed[a] = placed[b] @ T_a_b.inv()


def locate(
    view: View, Ts_bundle_tag: Mapping[int, Transform], sizes: Mapping[int, float], intrinsics: CameraIntrinsics
) -> Transform:
    """Return T_camera_bundle as one of the view's tags has it, the one that suits the others best."""
    known = [i for i in view.tags if i in Ts_bundle_tag]
    points = np.concatenate([Ts_bundle_tag[i].apply(tag_corners(sizes[i])) for i in known])
    corners = np.stack([view.tags[i].corners for i in known])
    edges = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).min(axis=1)
    proposals = [T @ Ts_bundle_tag[i].inv() for i in known for T in view.Ts_camera_tag[i]]

    def misfit(T_camera_bundle: Transform) -> float:
        uv = project(points, T_camera_bundle, intrinsics)[0].reshape(-1, 4, 2)
        distance = np.linalg.norm(uv - corners, axis=2).mean(axis=1) / edges
        return float(np.minimum(np.where(np.isfinite(distance), distance, _WORST), _WORST).sum())

    return min(proposals, key=misfit)


def _candidates(view: View, a: int, b: int) -> list[Transform]:
    return [T_a.inv() @ T_b for T_a in view.Ts_camera_tag[a] for T_b in view.Ts_camera_tag[b]]


def _elect(candidates: Sequence[Sequence[Transform]], size: float) -> Pair:
    """Return the candidate that most views support, averaged with its supporters."""
    flat = [T for view in candidates for T in view]
    owner = np.repeat(np.arange(len(candidates)), [len(view) for view in candidates])
    R, t = np.stack([T.rotation for T in flat]), np.stack([T.translation for T in flat])
    cosine = 0.5 * (np.einsum("iab,jab->ij", R, R) - 1.0)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    away = np.linalg.norm(t[:, None] - t[None], axis=2) / (size + np.linalg.norm(t, axis=1)[:, None])
    apart = np.maximum(angle / _SAME_ANGLE, away / _SAME_PLACE)
    nearest = _nearest_of_each(apart, owner, len(candidates))
    support = (nearest < 1.0).sum(axis=1)
    closeness = np.minimum(nearest, 1.0).sum(axis=1)
    best = int(np.lexsort((closeness, -support))[0])
    supporters = [
        flat[int(members[np.argmin(apart[best, members])])]
        for members in (np.flatnonzero(owner == k) for k in range(len(candidates)))
        if apart[best, members].min() < 1.0
    ]
    return Pair(mean_transform(supporters), int(support[best]))


def _nearest_of_each(apart: Floats, owner: np.ndarray[tuple[int], np.dtype[np.int64]], views: int) -> Floats:
    """Return (K, views): how far the nearest candidate of each view is from each candidate."""
    return np.stack([apart[:, owner == k].min(axis=1) for k in range(views)], axis=1)
