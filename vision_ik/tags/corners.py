"""Sub-pixel corners of markers: straight lines through the edges of the border, intersected.

Corner detectors look at a few pixels of a corner that is no saddle; the four edges hold far
more. Each edge is sampled along its normals, the steps from black to white are located as
gradient centroids, a robust line is fitted through them, and neighbouring lines meet in the
corner. Where the lens is known the lines are fitted in undistorted coordinates, in which
edges are straight.
"""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.tags.projection import project_rays, undistort
from vision_ik.types import CameraIntrinsics, Floats, Image

_ALONG = 24
"""Profiles per edge."""
_ENDS = 0.06
"""Share of an edge left out at each end, where the neighbouring edge shows in the profile."""
_ACROSS = 21
"""Samples per profile."""
_PASSES = 2
"""Each centres the profiles on the lines of the one before."""
_REACH = (2.0, 6.0)
"""[px] Least and largest half length of a profile; between them it is 0.8 cells."""
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
    lens = None if intrinsics is None or _is_straight(intrinsics) else intrinsics
    refined = quads
    for _ in range(_PASSES if len(quads) else 0):
        moved = _intersections(gray, refined, cells, lens)
        good = np.isfinite(moved).all(axis=(1, 2)) & (np.linalg.norm(moved - quads, axis=2).max(axis=1) < _MAX_MOVE)
        refined = np.where(good[:, None, None], moved, refined)
    return refined


def _is_straight(intrinsics: CameraIntrinsics) -> bool:
    return intrinsics.model == "pinhole" and not np.any(intrinsics.distortion)


def _intersections(gray: Image, quads: Floats, cells: int, lens: CameraIntrinsics | None) -> Floats:
    edges = np.roll(quads, -1, axis=1) - quads
    length = np.linalg.norm(edges, axis=2)
    # Clockwise in the picture with y down: (dy, -dx) points out of the marker.
    normals = np.stack([edges[..., 1], -edges[..., 0]], axis=-1) / length[..., None]
    reach = np.clip(0.8 * length.min(axis=1) / cells, *_REACH)
    along = np.linspace(_ENDS, 1.0 - _ENDS, _ALONG)
    base = quads[:, :, None] + along[:, None] * edges[:, :, None]
    offsets = np.linspace(-1.0, 1.0, _ACROSS) * reach[:, None]
    at = base[:, :, :, None] + offsets[:, None, None, :, None] * normals[:, :, None, None]
    grid = at.reshape(-1, _ACROSS, 2).astype(np.float32)
    columns, rows = np.ascontiguousarray(grid[..., 0]), np.ascontiguousarray(grid[..., 1])
    profiles = cv2.remap(gray.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    step = np.maximum(np.diff(profiles, axis=1).reshape(*base.shape[:3], _ACROSS - 1), 0.0).astype(np.float64)
    weight = step * step
    strength = weight.sum(axis=3)
    middle = 0.5 * (offsets[:, 1:] + offsets[:, :-1])
    shift = np.einsum("nemk,nk->nem", weight, middle) / np.maximum(strength, 1e-9)
    points = base + shift[..., None] * normals[:, :, None]
    # An edge's strong steps count alike; faint ones are covered or in glare.
    weights = np.minimum(strength / np.maximum(np.median(strength, axis=2, keepdims=True), 1e-9), 1.0)
    if lens is None:
        return _meet(_fit_lines(points, weights))
    rays = undistort(points.reshape(-1, 2), lens).reshape(points.shape)
    met = _meet(_fit_lines(rays, weights))
    return project_rays(met.reshape(-1, 2), lens).reshape(met.shape)


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
