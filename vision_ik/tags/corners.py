"""Sub-pixel corners of markers: straight lines through the edges of the border, intersected.

Corner detectors look at a few pixels of a corner that is no saddle; the four edges hold far
more. Each edge is sampled along its normals, the steps from black to white are located as
gradient centroids, a robust line is fitted through them, and neighbouring lines meet in the
corner. Where the lens is known the lines are fitted in undistorted coordinates, in which
edges are straight.

The first pass looks far and weighs steps by their square, which ignores what else is in the
profile but is biased by up to 0.2 px where an edge runs along the pixels. The others look as
far as the blur that the first one saw and weigh by the step itself: that centroid is exact
for any symmetric blur, and a short profile holds little noise.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_ik.tags.projection import project_rays, undistort
from vision_ik.types import CameraIntrinsics, Floats, Image

_ALONG = 24
"""Profiles per edge."""
_ENDS = 0.06
"""Share of an edge left out at each end, where the neighbouring edge shows in the profile."""
_ACROSS = 21
"""Samples per profile."""
_FIRST_REACH = 0.8
"""[cells] Half length of the first profiles: inside the border, outside the quiet zone."""
_LATER_REACH = 0.5
"""[cells] Longest half length of the later profiles: blurred bits stay outside."""
_REACH = (1.25, 6.0)
"""[px] Bounds of the half length."""
_BLURS = 3.0
"""Half length of the later profiles in widths of the step (root mean square, squared weights)."""
_LATER_PASSES = 2
_FAINT = 0.3
"""Share of an edge's typical strength below which a profile is left out."""
_MAX_MOVE = 3.0
"""[px] A corner that would move farther has lost its edge and stays."""
_BATCH = 200
"""Markers at a time; OpenCV's remap takes at most 32767 rows."""


def refine_corners(gray: Image, quads: Floats, cells: int, intrinsics: CameraIntrinsics | None = None) -> Floats:
    """Return the corners moved onto the intersections of the border's edges.

    Args:
        gray: (H, W) picture.
        quads: (N, 4, 2) corners [px], clockwise in the picture.
        cells: Cells along an edge, border included.
        intrinsics: Lens, or None to take edges as straight in the picture.

    Returns:
        (N, 4, 2) [px]; a marker whose edges cannot be followed keeps its corners.
    """
    if len(quads) > _BATCH:
        parts = [refine_corners(gray, quads[i : i + _BATCH], cells, intrinsics) for i in range(0, len(quads), _BATCH)]
        return np.concatenate(parts)
    if not len(quads):
        return quads
    lens = None if intrinsics is None or _is_straight(intrinsics) else intrinsics
    picture = gray.astype(np.float32)
    cell = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2).min(axis=1) / cells
    reach = np.clip(_FIRST_REACH * cell, 2.0, _REACH[1])
    moved, width = _intersections(picture, quads, reach, lens, squared=True)
    refined = _accept(moved, quads, quads)
    reach = np.clip(np.minimum(_LATER_REACH * cell, _BLURS * width), *_REACH)
    for _ in range(_LATER_PASSES):
        moved, _ = _intersections(picture, refined, reach, lens, squared=False)
        refined = _accept(moved, refined, quads)
    return refined


def _accept(moved: Floats, before: Floats, start: Floats) -> Floats:
    """Return the moved corners of the markers that stayed near where they started, the others as before."""
    good = np.isfinite(moved).all(axis=(1, 2)) & (np.linalg.norm(moved - start, axis=2).max(axis=1) < _MAX_MOVE)
    return np.where(good[:, None, None], moved, before)


def _is_straight(intrinsics: CameraIntrinsics) -> bool:
    return intrinsics.model == "pinhole" and not np.any(intrinsics.distortion)


def _intersections(
    gray: NDArray[np.float32], quads: Floats, reach: Floats, lens: CameraIntrinsics | None, *, squared: bool
) -> tuple[Floats, Floats]:
    """Return the corners (N, 4, 2) [px] where the fitted edges meet, and the width (N,) [px] of their steps."""
    base, normals = _edge_points(quads, lens)
    offsets = np.linspace(-1.0, 1.0, _ACROSS) * reach[:, None]
    at = base[:, :, :, None] + offsets[:, None, None, :, None] * normals[:, :, :, None]
    grid = at.reshape(-1, _ACROSS, 2).astype(np.float32)
    columns, rows = np.ascontiguousarray(grid[..., 0]), np.ascontiguousarray(grid[..., 1])
    profiles = cv2.remap(gray, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    step = np.diff(profiles, axis=1).reshape(*base.shape[:3], _ACROSS - 1).astype(np.float64)
    weight = np.maximum(step, 0.0) ** 2 if squared else step
    strength = weight.sum(axis=3)
    typical = np.maximum(np.median(strength, axis=2, keepdims=True), 1e-9)
    clear = strength > _FAINT * typical  # elsewhere the edge is covered or in glare
    total = np.where(clear, strength, 1.0)
    middle = 0.5 * (offsets[:, 1:] + offsets[:, :-1])
    shift = np.where(clear, np.einsum("nemk,nk->nem", weight, middle) / total, 0.0)
    spread = np.where(clear, np.einsum("nemk,nk->nem", weight, middle**2) / total, 0.0) - shift**2
    points = base + np.clip(shift, -reach[:, None, None], reach[:, None, None])[..., None] * normals
    weights = np.where(clear, np.minimum(strength / typical, 1.0), 0.0)
    width = np.sqrt(np.maximum(np.median(spread, axis=(1, 2)), 0.0))
    if lens is None:
        return _meet(_fit_lines(points, weights)), width
    rays = undistort(points.reshape(-1, 2), lens).reshape(points.shape)
    met = _meet(_fit_lines(rays, weights))
    return project_rays(met.reshape(-1, 2), lens).reshape(met.shape), width


def _edge_points(quads: Floats, lens: CameraIntrinsics | None) -> tuple[Floats, Floats]:
    """Return points (N, 4, M, 2) [px] along the edges, bent as the lens bends them, and the outward normals there."""
    corners = quads if lens is None else undistort(quads.reshape(-1, 2), lens).reshape(quads.shape)
    along = np.linspace(_ENDS, 1.0 - _ENDS, _ALONG)[:, None]
    base = corners[:, :, None] + along * (np.roll(corners, -1, axis=1) - corners)[:, :, None]
    if lens is not None:
        base = project_rays(base.reshape(-1, 2), lens).reshape(base.shape)
    tangents = np.gradient(base, axis=2)
    # Clockwise in the picture with y down: (dy, -dx) points out of the marker.
    normals = np.stack([tangents[..., 1], -tangents[..., 0]], axis=-1)
    return base, normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def _fit_lines(points: Floats, weights: Floats) -> Floats:
    """Return (N, 4, 3) homogeneous lines a x + b y + c = 0 with (a, b) a unit normal, outliers left out."""
    centre, normal = _fit_once(points, weights)
    distance = np.abs(((points - centre[:, :, None]) * normal[:, :, None]).sum(axis=3))
    spread = 1.4826 * np.median(distance, axis=2, keepdims=True) + 1e-12
    centre, normal = _fit_once(points, weights * (distance < 3.0 * spread))
    return np.concatenate([normal, -(centre * normal).sum(axis=2, keepdims=True)], axis=2)


def _fit_once(points: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return centres and unit normals (N, 4, 2) of the lines with the least weighted squared distances."""
    total = np.maximum(weights.sum(axis=2), 1e-9)[..., None]
    centre = (weights[..., None] * points).sum(axis=2) / total
    d = points - centre[:, :, None]
    xx, xy, yy = ((weights * d[..., i] * d[..., j]).sum(axis=2) for i, j in ((0, 0), (0, 1), (1, 1)))
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy) + 0.5 * np.pi  # across the axis of the greatest spread
    return centre, np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _meet(lines: Floats) -> Floats:
    """Return the (N, 4, 2) points where each edge meets the one before: the corners in order."""
    met = np.cross(np.roll(lines, 1, axis=1), lines)
    with np.errstate(divide="ignore", invalid="ignore"):
        return met[..., :2] / met[..., 2:]
