"""Learning how the tags of a bundle stand to each other, from a short video of it.

Move the camera around the body, or turn the body, so that every tag is seen together with a
neighbour in several views, from the left and right and above and below: the true one of a tag's
two planar poses shows in that alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vision_ik.errors import CalibrationError
from vision_ik.tags.boards.bundle_fit import BundleFit, Sight, adjust
from vision_ik.tags.boards.bundle_graph import Pair, View, join, locate, read_view, vote
from vision_ik.tags.poses.estimation import DEFAULT_PIXEL_SIGMA
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats, TagBundle, TagDetection

_MOST_VIEWS = 240
"""Views taken, spread evenly over those that show two tags or more; more of a video adds little."""
_FEWEST_VOTES = 3
"""Views that must agree on how two tags stand to each other."""
_OUTLIER = 4.0
"""Deviation of a tag's corners in a view (rms, in the scale of all) beyond which it is left out."""
_WORST_SHARE = 0.5
"""Share of a tag's sights left out beyond which it does not belong to a rigid body."""
_OWN_IDS = "Give each tag on the body an id of its own. "
_FILM_IT = "Film the body from all sides, close and sharp, with two tags or more in each picture."
_TYPICAL = 0.958
"""Median of the root of chi-square with 8 degrees of freedom over 8."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LearnedBundle:
    """A bundle as a video shows it, and how well it is known."""

    bundle: TagBundle
    """In the frame of its reference tag."""
    reference: int
    """Tag whose frame is the bundle's."""
    covariances: Mapping[int, Floats]
    """(6, 6) of each T_bundle_tag, tangent at the pose, (v, w) [m, rad]; zero for the reference."""
    rms_px: float
    """Root mean square of the errors of the corners that were used [px]."""
    views: int
    """Frames used."""
    sights: Mapping[int, int]
    """In how many of them each tag was used."""
    left_out: Mapping[int, str]
    """Why a tag that was seen is not part of the bundle, with what to do about it."""


def learn_bundle(
    views: Sequence[Sequence[TagDetection]],
    sizes: float | Mapping[int, float],
    intrinsics: CameraIntrinsics,
    *,
    reference: int | None = None,
    family: str = "36h11",
) -> LearnedBundle:
    """Return the bundle that the detections of many frames show, by bundle adjustment.

    Args:
        views: Detections of each frame; an id seen twice in one is left out of it.
        sizes: Edge of the black border [m], one for all tags, or by id.
        intrinsics: Lens.
        reference: Tag whose frame is the bundle's; None takes the smallest id.
        family: Written into the bundle.

    Raises:
        CalibrationError: Fewer than two tags are connected, or the reference is not among them.
        ValueError: A size is not positive and finite.
    """
    seen = Counter(d.tag_id for view in views for d in view)
    known = {i: sizes if isinstance(sizes, float | int) else sizes[i] for i in seen if _has_size(sizes, i)}
    if not all(0 < size < np.inf for size in known.values()):
        raise ValueError("The sizes of tags must be positive and finite.")
    useful = [view for view in views if len({d.tag_id for d in view if d.tag_id in known}) >= 2]
    chosen = np.unique(np.linspace(0, len(useful) - 1, min(len(useful), _MOST_VIEWS)).round().astype(int))
    read = [read_view(useful[i], known, intrinsics) for i in chosen.tolist()]
    pairs = vote(read, known)
    doubled = _doubled(views)
    placed = _place(pairs, sorted(known), reference, doubled)
    views_of_it = [view for view in read if sum(i in placed for i in view.tags) >= 2]
    fit, sights = _fit(views_of_it, placed, known, intrinsics)
    root = min(fit.Ts_bundle_tag) if reference is None else reference
    if root not in fit.Ts_bundle_tag or len(fit.Ts_bundle_tag) < 2:
        raise _not_connected(reference, sorted(fit.Ts_bundle_tag), doubled)
    fit, sights = _refit_about(fit, sights, known, intrinsics, root)
    count = Counter(s.tag_id for s in sights)
    return LearnedBundle(
        bundle=TagBundle(
            Ts_bundle_tag=fit.Ts_bundle_tag, sizes={i: known[i] for i in fit.Ts_bundle_tag}, family=family
        ),
        reference=root,
        covariances={i: _scale(fit, sights) * fit.covariances[i] for i in fit.Ts_bundle_tag},
        rms_px=float(np.sqrt(np.mean(fit.errors**2) / 2.0)),
        views=len({s.view for s in sights}),
        sights={i: count[i] for i in fit.Ts_bundle_tag},
        left_out={i: _reason(i, known, pairs, placed, doubled) for i in sorted(seen) if i not in fit.Ts_bundle_tag},
    )


def _has_size(sizes: float | Mapping[int, float], tag_id: int) -> bool:
    return not isinstance(sizes, Mapping) or tag_id in sizes


def _doubled(views: Sequence[Sequence[TagDetection]]) -> Counter[int]:
    """Return in how many views ids were seen more than once."""
    counts = (Counter(d.tag_id for d in view) for view in views)
    return Counter(i for count in counts for i, number in count.items() if number > 1)


def _place(
    pairs: Mapping[tuple[int, int], Pair], ids: Sequence[int], reference: int | None, doubled: Mapping[int, int]
) -> dict[int, Transform]:
    """Return T_root_tag of the largest connected set of tags, or of the one that holds the reference."""
    roots = ids if reference is None else [reference] if reference in ids else []
    trees = [join(pairs, root, _FEWEST_VOTES) for root in roots]
    placed = max(trees, key=len, default=dict[int, Transform]())
    if len(placed) < 2:
        raise _not_connected(reference, ids, doubled)
    return placed


def _fit(
    views: Sequence[View],
    placed: Mapping[int, Transform],
    sizes: Mapping[int, float],
    intrinsics: CameraIntrinsics,
) -> tuple[BundleFit, list[Sight]]:
    """Return the adjusted poses, without the tags that do not move with the others."""
    Ts_camera_bundle = [locate(view, placed, sizes, intrinsics) for view in views]
    sights = [
        Sight(k, i, np.array(detection.corners), _whitening(detection))
        for k, view in enumerate(views)
        for i, detection in view.tags.items()
        if i in placed
    ]
    fit = adjust(sights, placed, Ts_camera_bundle, sizes, intrinsics, _most_seen(sights))
    rejected = Counter(s.tag_id for s, bad in zip(sights, _outliers(fit), strict=True) if bad)
    total = Counter(s.tag_id for s in sights)
    loose = {i for i in total if rejected[i] > _WORST_SHARE * total[i]}
    if loose and len(total) - len(loose) >= 2:
        sights = [s for s in sights if s.tag_id not in loose]
        tags = {i: T for i, T in fit.Ts_bundle_tag.items() if i not in loose}
        fit = adjust(sights, tags, fit.Ts_camera_bundle, sizes, intrinsics, _most_seen(sights))
    return fit, sights


def _refit_about(
    fit: BundleFit,
    sights: Sequence[Sight],
    sizes: Mapping[int, float],
    intrinsics: CameraIntrinsics,
    root: int,
) -> tuple[BundleFit, list[Sight]]:
    """Return the poses in the frame of ``root``, fitted again without the sights that lie far off."""
    T_root_bundle = fit.Ts_bundle_tag[root].inv()
    tags = {i: T_root_bundle @ T for i, T in fit.Ts_bundle_tag.items()}
    bad = _outliers(fit)
    kept = [s for s, out in zip(sights, bad, strict=True) if not out]
    per_view = Counter(s.view for s in kept)
    kept = [s for s in kept if per_view[s.view] >= 2]  # one tag alone says nothing of the others
    order = {view: k for k, view in enumerate(sorted({s.view for s in kept}))}
    cameras = [fit.Ts_camera_bundle[view] @ T_root_bundle.inv() for view in order]
    kept = [Sight(order[s.view], s.tag_id, s.corners, s.whitening) for s in kept]
    tags = {i: T for i, T in tags.items() if i == root or any(s.tag_id == i for s in kept)}
    return adjust(kept, tags, cameras, sizes, intrinsics, root), kept


def _outliers(fit: BundleFit) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    scale = max(float(np.median(fit.deviations)) / _TYPICAL, 1e-6)
    return fit.deviations > _OUTLIER * scale


def _scale(fit: BundleFit, sights: Sequence[Sight]) -> float:
    """Return the variance of unit weight: what the corners' noise is beside what was assumed."""
    freedom = 8 * len(sights) - 6 * len(fit.Ts_camera_bundle) - 6 * (len(fit.Ts_bundle_tag) - 1)
    return float(8.0 * np.sum(fit.deviations**2) / max(freedom, 1))


def _most_seen(sights: Sequence[Sight]) -> int:
    return Counter(s.tag_id for s in sights).most_common(1)[0][0]


def _whitening(detection: TagDetection) -> Floats:
    """Return the (8, 8) matrix that makes the corners' errors independent with unit variance."""
    if detection.covariance is None:
        return np.eye(8) / DEFAULT_PIXEL_SIGMA
    values, vectors = np.linalg.eigh(detection.covariance)
    return (vectors / np.sqrt(np.maximum(values, 1e-6))).T


def _reason(
    tag_id: int,
    sizes: Mapping[int, float],
    pairs: Mapping[tuple[int, int], Pair],
    placed: Mapping[int, Transform],
    doubled: Counter[int],
) -> str:
    if tag_id not in sizes:
        return f"Tag {tag_id} has no size; give its edge."
    if tag_id in placed:
        return f"Tag {tag_id} does not move with the others; is it on the same rigid body, and its id there only once?"
    votes = max((pair.votes for ids, pair in pairs.items() if tag_id in ids), default=0)
    if votes < _FEWEST_VOTES and doubled[tag_id]:
        return f"Tag {tag_id} was seen more than once in {doubled[tag_id]} pictures; give each tag an id of its own."
    if votes == 0:
        return f"Tag {tag_id} was never seen together with another tag; show it beside a neighbour."
    if votes < _FEWEST_VOTES:
        return f"Only {votes} views agree on where tag {tag_id} is; show it longer beside a neighbour, and tilted."
    return f"Tag {tag_id} is connected to tags that are not connected to the others; show both groups together."


def _not_connected(reference: int | None, ids: Sequence[int], doubled: Mapping[int, int]) -> CalibrationError:
    listed = ", ".join(str(i) for i in ids) or "none"
    what = "No two tags" if reference is None else f"Tag {reference} and no other tag"
    twice = ", ".join(str(i) for i in sorted(doubled))
    return CalibrationError(
        f"{what} were seen together in {_FEWEST_VOTES} views that agree; tags with a size: {listed}"
        + (f"; more than once in a picture: {twice}." if twice else "."),
        (_OWN_IDS if twice else "") + _FILM_IT,
        tag_ids=list(ids),
        doubled=sorted(doubled),
    )
