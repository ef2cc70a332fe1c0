"""Fit of one pose to the points of a board or bundle, some of which may be wrong."""

from __future__ import annotations

import cv2
import numpy as np

from vision_ik.tags.poses.algebra import Bools, whitening_of_markers
from vision_ik.tags.poses.kernels import fit_starts, refine
from vision_ik.tags.poses.noise import PointFit
from vision_ik.tags.poses.starts import look_at, plane_starts
from vision_ik.tags.projection import bearings_all, project_all
from vision_ik.types import Floats

_LEAST = 4
"""Points below which nothing is determined."""
_LINE = 1e-3
"""Spread across a line, over that along it, below which points lie on the line."""
_FLAT = 0.02
"""Spread out of a plane, over the lesser one within, below which points are as good as in the plane."""
_THICK = 0.3
"""Spread out of the plane above which a plane is no start worth trying."""
_GATE = 13.8
"""Squared Mahalanobis distance that one good point in a thousand exceeds (chi-square, two degrees of freedom)."""
_MEDIAN = 1.386
"""Median of the same."""
_ROUNDS = 8
_GATINGS = 4
_POOR_PX = 2.0
"""[px] Robust standard deviation above which other starts are tried."""
_SUBSETS = 24
"""Fours of points tried, of either kind."""


def fit_board(
    points: Floats, image: Floats, weights: Floats, covariances: Floats | None, lens: Floats
) -> PointFit | None:
    """Fit the pose of points to their pixels, wrong ones left out; None when too few are left or they lie on a line.

    Args:
        points: (N, 3) [m], in a plane or in space.
        image: (N, 2) [px].
        weights: (N,) [1/px] Reciprocal standard deviation of each coordinate.
        covariances: (M, 8, 8) [px^2] of the first 4 M points, four at a time; None where only the weights are known.
        lens: Packed lens.
    """
    points, image = points.copy(), image.copy()  # kernels are compiled once more for read-only arrays
    rays = np.empty((len(points), 3))
    bearings_all(image, lens, rays)
    seen: Bools = np.isfinite(rays[:, 2])
    if _shape(points[seen]) is None:
        return None
    kept = seen
    fitted = _fit_all(points, image, weights, covariances, lens, seen)
    T = None if fitted is None else _settle(points, image, weights, lens, seen, fitted.Ts[0])
    if T is None or _scale(points, image, weights, lens, seen, T) > (_POOR_PX * np.median(weights)) ** 2:
        T = _from_subsets(points, image, weights, lens, seen, T)
    for _ in range(_GATINGS):
        if T is None:
            return None
        distance = _distances(points, image, weights, lens, T)
        before, kept = kept, seen & (distance < _GATE * _scale(points, image, weights, lens, seen, T))
        if fitted is not None and np.array_equal(kept, before):
            return fitted
        fitted = _fit_all(points, image, weights, covariances, lens, kept, T)
        T = None if fitted is None else fitted.Ts[0]
    return fitted


def _fit_all(
    points: Floats,
    image: Floats,
    weights: Floats,
    covariances: Floats | None,
    lens: Floats,
    kept: Bools,
    T: Floats | None = None,
) -> PointFit | None:
    """Fit the points that are kept from every start there is, and from ``T``."""
    chosen, pixels = points[kept], image[kept]
    shape = _shape(chosen)
    if shape is None:
        return None
    thickness, T_plane = shape
    starts = [] if T is None else [T]
    if thickness < _THICK:
        starts += _plane_starts(chosen, pixels, lens, T_plane)
    if thickness >= _FLAT:
        starts += _space_starts(chosen, pixels, lens)
    if not starts:
        return None
    n = len(starts) + 1
    Ts, costs, Hs = np.empty((n, 4, 4)), np.empty(n), np.empty((n, 6, 6))
    normal = T_plane[2, :3].copy() if thickness < _THICK else np.zeros(3)
    if covariances is None:
        W = np.repeat(np.where(kept, weights, 0.0), 2)[:, None]
    else:
        W = np.empty((2 * len(points), 8))
        whitening_of_markers(covariances, weights, kept, W)
    # Points left out weigh nothing; where they are must not matter either.
    objects, seen = np.where(kept[:, None], points, chosen[0]), np.where(kept[:, None], image, pixels[0])
    found = fit_starts(objects, seen, lens, W, np.stack(starts), normal, Ts, costs, Hs)
    if not found:
        return None
    return PointFit(points=objects, image=seen, W=W, Ts=Ts[:found], costs=costs[:found], Hs=Hs[:found])


def _shape(points: Floats) -> tuple[float, Floats] | None:
    """Return how thick the points' best plane is over its lesser width, and T_plane_object (4, 4); None for a line."""
    if len(points) < _LEAST:
        return None
    centre = points.mean(axis=0)
    _, widths, axes = np.linalg.svd(points - centre, full_matrices=False)
    if not widths[1] > _LINE * widths[0]:
        return None
    if axes[2, 2] < 0.0:
        axes[1:] *= -1.0
    T = np.eye(4)
    T[:3, :3] = axes if np.linalg.det(axes) > 0.0 else axes * np.array([[-1.0], [1.0], [1.0]])
    T[:3, 3] = -T[:3, :3] @ centre
    return float(widths[2] / widths[1]), T


def _plane_starts(points: Floats, image: Floats, lens: Floats, T_plane_object: Floats) -> list[Floats]:
    """Return the poses T_camera_object (4, 4) that the best plane through the points leaves."""
    plane = points @ T_plane_object[:2, :3].T + T_plane_object[:2, 3]
    Ts = np.empty((2, 4, 4))
    count = plane_starts(np.ascontiguousarray(plane), image, lens, Ts)
    return [T @ T_plane_object for T in Ts[:count]]


def _space_starts(points: Floats, image: Floats, lens: Floats) -> list[Floats]:
    """Return the poses of points in space by SQPnP (Terzakis and Lourakis, ECCV 2020), seen by a virtual camera.

    That camera looks at the middle of the points, so that any lens and any angle will do.
    """
    rays = np.empty((len(points), 3))
    bearings_all(image, lens, rays)
    V = look_at(rays)
    turned = rays @ V.T
    if not (turned[:, 2] > 0.02).all():
        return []
    normalised = np.ascontiguousarray(turned[:, :2] / turned[:, 2:])
    centre = points.mean(axis=0)
    try:
        _, rvecs, tvecs, _ = cv2.solvePnPGeneric(
            np.ascontiguousarray(points - centre), normalised, np.eye(3), np.zeros(4), flags=cv2.SOLVEPNP_SQPNP
        )
    except cv2.error:
        return []  # the points determine nothing
    Ts: list[Floats] = []
    for rvec, tvec in zip(rvecs, tvecs, strict=True):
        T = np.eye(4)
        T[:3, :3] = V.T @ cv2.Rodrigues(np.asarray(rvec))[0]
        T[:3, 3] = V.T @ np.ravel(tvec) - T[:3, :3] @ centre
        if np.isfinite(T).all():
            Ts.append(T)
    return Ts


def _settle(points: Floats, image: Floats, weights: Floats, lens: Floats, seen: Bools, T: Floats) -> Floats | None:
    """Return the pose that most points agree on, near ``T``: weights of Geman and McClure, at the points' own scale."""
    T, H = T.copy(), np.empty((6, 6))
    chosen, pixels = np.ascontiguousarray(points[seen]), np.ascontiguousarray(image[seen])
    for _ in range(_ROUNDS):
        distance = _distances(points, image, weights, lens, T)[seen]
        scale = max(float(np.median(distance)) / _MEDIAN, 1.0)
        weight = 1.0 / (1.0 + distance / (_GATE * scale)) * weights[seen]
        before = T.copy()
        if not refine(chosen, pixels, lens, np.repeat(weight, 2)[:, None], T, H) < np.inf:
            return None
        if np.abs(T - before).max() < 1e-7:
            break
    return T


def _from_subsets(
    points: Floats, image: Floats, weights: Floats, lens: Floats, seen: Bools, T: Floats | None
) -> Floats | None:
    """Return the settled pose with the least median distance among ``T`` and those of fours of points.

    Fours that follow each other are tried first, as they are the corners of one marker, then fours at random.
    """
    rng, indices = np.random.default_rng(0), np.flatnonzero(seen)
    fours = [indices[i : i + 4] for i in range(0, len(indices) - 3, 4)][:_SUBSETS]
    fours += [rng.choice(indices, 4, replace=False) for _ in range(_SUBSETS)]
    best, least = T, np.inf if T is None else _scale(points, image, weights, lens, seen, T)
    for four in fours:
        shape = _shape(points[four])
        if shape is None:
            continue
        few, pixels = points[four], np.ascontiguousarray(image[four])
        flat = shape[0] < _FLAT
        starts = _plane_starts(few, pixels, lens, shape[1]) if flat else _space_starts(few, pixels, lens)
        for start in starts:
            scale = _scale(points, image, weights, lens, seen, start)
            if scale < least:
                best, least = start, scale
    return None if best is None else _settle(points, image, weights, lens, seen, best)


def _distances(points: Floats, image: Floats, weights: Floats, lens: Floats, T: Floats) -> Floats:
    """Return the squared Mahalanobis distances (N,) of the points from their pixels, infinite where unseen."""
    uv, J = np.empty((len(points), 2)), np.empty((2 * len(points), 6))
    project_all(points, T, lens, uv, J)
    squared = ((uv - image) ** 2).sum(axis=1) * weights**2
    return np.where(np.isfinite(squared), squared, np.inf)


def _scale(points: Floats, image: Floats, weights: Floats, lens: Floats, seen: Bools, T: Floats) -> float:
    """Return the robust ratio of the points' variance to the stated one, at least 1."""
    return max(float(np.median(_distances(points, image, weights, lens, T)[seen])) / _MEDIAN, 1.0)
