"""The arm as a depth camera sees it, against its model where the calibration puts it.

The model is seen through the camera as calibrated; measured points on and near what is visible of it
are moved onto it by point-to-plane ICP (Chen & Medioni, 1992) with Tukey's weights. The movement that is
left is how far the camera is off. It is told only along directions that the visible surfaces determine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from calibration import batch
from calibration.lens.projection import normalise
from calibration.validation.surfaces import Surface
from calibration.validation.values import CheckReport, Tolerance, skipped
from vision_ik.errors import MissingDependencyError
from vision_ik.transforms import Transform, TransformLike, as_transform
from vision_ik.types import CameraIntrinsics, Floats, Frame

_MOST_POINTS = 6000
_FEWEST_POINTS = 300
_GATES = (0.06, 0.03, 0.015, 0.015, 0.01, 0.01, 0.01, 0.01)
"""[m] Distances beyond which a point is not of the arm, iteration by iteration."""
_EDGE = 3
"""[px] Along outlines depth is mixed, and the model's outline is somewhere else: left out."""
_STEEP = 0.3
"""Cosine between surface and line of sight below which depth is poor."""
_BLOCK = 0.06
"""[m] Points nearer to each other than this err together: the model's shape does."""
_LOOSE = np.repeat([0.05, 0.1], 3)
"""[m], [rad] What is known of the camera anyway: keeps what the surfaces do not tell where it is."""
_TOLD = 4e-3
"""[m] Uncertainty of a direction, at the surface, above which it is not told."""
_CHANCE = 0.01
"""Of a sound calibration being called inconsistent."""
_LEAST_KNOWN = 1e-9
"""Of the largest variance: directions below it are not told."""
_NO_AREA = 1e-14
"""[m^2]"""
_LEAST_TUKEY = 2e-3
"""[m] Of the robust weights."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DepthOffset:
    """How the measured points lie to the model."""

    twist: Floats
    """(6,) of the camera: T_base_camera exp(twist) puts the points on the model, (v, w) [m, rad]."""
    covariance: Floats
    """(6, 6) of it, from how much parts of the surface disagree."""
    told: Floats
    """(6, k) directions, orthonormal in metres at the surface, that the visible surfaces determine."""
    to_middle: Floats
    """(6, 6) from twists of the camera to those in metres at the surface: shifts of the middle of the visible arm, and
    turns as far as they move its rim."""
    offset: Floats
    """(3,) by which the middle of the visible arm is displaced, camera frame, as far as it is told [m]."""
    offset_sigma: float
    """[m] Root mean square uncertainty of it."""
    offset_covariance: Floats
    """(3, 3) of it [m^2]; singular where it is not told in all directions."""
    blind_sigma: float
    """[m] Uncertainty of the shift of that middle along the direction that the surfaces tell worst."""
    residual: float
    """[m] RMS distance of the points from the model after ICP, robustly."""
    residual_before: float
    """[m] ... and before."""
    points: int
    blind: tuple[str, ...]
    """Movements that the surfaces do not tell, in words."""

    @property
    def tells_shifts(self) -> bool:
        """Whether the surfaces tell shifts of the middle of the visible arm along all directions."""
        return self.blind_sigma < _TOLD

    def expected(self, camera_covariance: Floats) -> Floats:
        """Return the (3, 3) covariance of the offset that a camera known to ``camera_covariance`` (6, 6) leads to."""
        carried = self.told @ self.told.T @ self.to_middle
        return (carried @ camera_covariance @ carried.T)[:3, :3]


def depth_check(
    frame: Frame,
    surfaces: Sequence[Surface],
    T_base_camera: TransformLike,
    *,
    intrinsics: CameraIntrinsics | None = None,
    tolerance: Tolerance | None = None,
    camera_covariance: Floats | None = None,
    hiding: Sequence[Surface] = (),
) -> tuple[CheckReport, DepthOffset | None]:
    """Compare the arm's model with the depth that a camera measured of it.

    Args:
        frame: With depth, aligned to the picture.
        surfaces: The arm in the posture of the picture, in the base frame (``arm_surfaces``); a board at a known
            place may be among them (``plate``).
        T_base_camera: Of that moment.
        intrinsics: Lens; the frame's by default.
        tolerance: What the task can bear.
        camera_covariance: (6, 6) of T_base_camera, to tell what an offset means.
        hiding: What may stand before the arm without being compared, in the base frame: a board whose place the
            calibration itself told.
    """
    if frame.depth is None:
        return skipped("depth", "The camera gives no depth."), None
    if not surfaces:
        return skipped("depth", "The model of the arm has no shape: its URDF has neither meshes nor primitives."), None
    try:
        scene, seen_through = _scene(surfaces), _scene([*surfaces, *hiding])
    except MissingDependencyError as error:
        return skipped("depth", error.cause), None
    lens, pose = frame.intrinsics if intrinsics is None else intrinsics, as_transform(T_base_camera)
    points = _near_model(np.asarray(frame.depth, dtype=np.float64), seen_through, len(surfaces), pose, lens)
    if len(points) < _FEWEST_POINTS:
        why = f"Only {len(points)} points of the depth image lie on or near where the arm should be seen"
        return skipped("depth", f"{why}: it is out of the picture, hidden, or the calibration is far off."), None
    found = _align(points, scene, pose)
    return _report(found, tolerance or Tolerance(), camera_covariance), found


def _scene(surfaces: Sequence[Surface]) -> Any:
    """Return Open3D's scene of the bodies.

    Raises:
        MissingDependencyError: Open3D is not installed.
    """
    try:
        import open3d as o3d
    except ImportError as error:
        raise MissingDependencyError("Open3D is not installed.", "Install it with `pip install open3d`.") from error
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    for surface in surfaces:
        scene.add_triangles(
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(surface.vertices, dtype=np.float32)),
            o3d.core.Tensor.from_numpy(np.ascontiguousarray(_with_area(surface), dtype=np.uint32)),
        )
    return scene


def _with_area(surface: Surface) -> NDArray[np.int64]:
    """Return the triangles (T, 3) that have a normal: at the poles of a round cap some have none."""
    a, b, c = np.moveaxis(surface.vertices[surface.triangles], 1, 0)
    return surface.triangles[np.linalg.norm(np.cross(b - a, c - a), axis=1) > _NO_AREA]


def _tensor(values: Floats) -> Any:
    import open3d as o3d

    return o3d.core.Tensor.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _near_model(depth: Floats, scene: Any, count: int, pose: Transform, lens: CameraIntrinsics) -> Floats:
    """Return measured points (N, 3), camera frame, where the first ``count`` bodies are expected, off outlines."""
    height, width = depth.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    xy = normalise(np.column_stack([columns.ravel(), rows.ravel()]), lens)
    rays = np.column_stack([xy, np.ones(len(xy))])
    cast = np.concatenate([np.broadcast_to(pose.translation, rays.shape), rays @ pose.rotation.T], axis=1)
    hits = scene.cast_rays(_tensor(cast), nthreads=1)
    # Rays of unit depth: their parameter is the depth itself.
    expected = hits["t_hit"].numpy().astype(np.float64).reshape(depth.shape)
    normals = hits["primitive_normals"].numpy().astype(np.float64)
    facing = np.abs(np.sum(normals * cast[:, 3:], axis=1)) / np.linalg.norm(rays, axis=1)
    seen = (hits["geometry_ids"].numpy().reshape(depth.shape) < count) & np.isfinite(expected)
    jumps = cv2.dilate(np.where(seen, expected, 0.0), np.ones((3, 3))) - cv2.erode(
        np.where(seen, expected, 0.0), np.ones((3, 3))
    )
    smooth = cv2.erode((seen & (jumps < _GATES[0])).astype(np.uint8), np.ones((2 * _EDGE + 1, 2 * _EDGE + 1))) > 0
    with np.errstate(invalid="ignore"):
        near = np.isfinite(depth) & (depth > 0) & (np.abs(depth - expected) < _GATES[0])
    keep = np.flatnonzero((smooth & near).ravel() & (facing > _STEEP))
    if len(keep) > _MOST_POINTS:
        keep = keep[np.linspace(0, len(keep) - 1, _MOST_POINTS).astype(np.int64)]
    return rays[keep] * depth.ravel()[keep, None]


def _align(points: Floats, scene: Any, pose: Transform) -> DepthOffset:
    """Move the points (N, 3) of the camera frame onto the model."""
    twist = np.zeros(6)
    prior = np.diag(1.0 / _LOOSE**2)
    before = 0.0
    weights, residual, J = np.empty(0), np.empty(0), np.empty((0, 6))
    moved = pose
    for step, gate in enumerate(_GATES):
        residual, J = _distances(points, scene, moved)
        spread = 1.4826 * float(np.median(np.abs(residual)))
        before = spread if step == 0 else before
        cut = max(min(gate, 4.0 * spread), _LEAST_TUKEY)
        weights = np.where(np.abs(residual) < cut, (1.0 - (residual / cut) ** 2) ** 2, 0.0)
        variance = max(spread, 2e-4) ** 2
        # A few hundred points of one smooth face are not so many independent ones.
        H = (J * (weights / variance)[:, None]).T @ J / len(points) * _FEWEST_POINTS
        g = (J * (weights / variance)[:, None]).T @ residual / len(points) * _FEWEST_POINTS
        delta = -np.linalg.solve(H + prior, g + prior @ twist)
        moved = moved @ Transform.exp(delta)
        twist = (pose.inv() @ moved).log()
        if np.linalg.norm(delta) < 1e-7:
            break
    return _describe(points, residual, J, weights, twist, before)


def _distances(points: Floats, scene: Any, pose: Transform) -> tuple[Floats, Floats]:
    """Return distances (N,) from the model's tangent planes, and derivatives (N, 6) by the camera's twist."""
    there = pose.apply(points)
    found = scene.compute_closest_points(_tensor(there), nthreads=1)
    nearest = found["points"].numpy().astype(np.float64)
    normals = found["primitive_normals"].numpy().astype(np.float64) @ pose.rotation
    gap = (there - nearest) @ pose.rotation
    # Where the nearest point lies on an edge, the way to it is the normal.
    length = np.linalg.norm(gap, axis=1)
    along = np.abs(np.sum(gap * normals, axis=1))
    edge = (length > 1e-4) & (along < 0.9 * length)
    normals = np.where(edge[:, None], gap / np.maximum(length, 1e-9)[:, None], normals)
    normals *= -np.sign(np.sum(normals * points, axis=1))[:, None]  # towards the camera
    residual = np.sum(gap * normals, axis=1)
    lever: Floats = np.asarray(np.cross(points, normals), dtype=np.float64)
    return residual, np.concatenate([normals, lever], axis=1)


def _describe(
    points: Floats, residual: Floats, J: Floats, weights: Floats, twist: Floats, before: float
) -> DepthOffset:
    """Return the alignment with what it tells, from how much parts of the surface disagree."""
    middle = np.average(points, axis=0, weights=np.maximum(weights, 1e-12))
    reach = float(np.sqrt(np.average(np.sum((points - middle) ** 2, axis=1), weights=np.maximum(weights, 1e-12))))
    # Twists about the middle of what is seen, turns counted in metres at its rim.
    to_middle = np.eye(6)
    to_middle[:3, 3:] = -batch.skews(middle)
    to_middle[3:, 3:] *= max(reach, 1e-3)
    from_middle = batch.inverse(to_middle)
    local = J @ from_middle
    blocks = np.unique(np.floor(points / _BLOCK).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
    count = int(blocks.max()) + 1
    gradients = np.zeros((count, 6))
    np.add.at(gradients, blocks, local * (weights * residual)[:, None])
    H = (local * weights[:, None]).T @ local
    values, vectors = np.linalg.eigh(H)
    floor = (2e-4) ** 2 * len(points)
    spread = gradients.T @ gradients * count / max(count - 1, 1) + 1e-8 * H
    inverse = vectors @ np.diag(1.0 / np.maximum(values, 1e-9 * values[-1])) @ vectors.T
    covariance = inverse @ spread @ inverse
    # Within a block points err together: no direction is surer than one block's worth of what is left over.
    scatter = float(np.average(residual**2, weights=np.maximum(weights, 1e-12)))
    covariance += inverse * (scatter + floor / len(points)) * len(points) / count
    sigmas = np.sqrt(np.einsum("ab,bc,ca->a", vectors.T, covariance, vectors))
    told = vectors[:, sigmas < _TOLD]
    kept = told @ told.T
    offset = (kept @ to_middle @ twist)[:3]
    offset_covariance = (kept @ covariance @ kept.T)[:3, :3]
    return DepthOffset(
        twist=twist,
        covariance=from_middle @ covariance @ from_middle.T,
        told=told,
        to_middle=to_middle,
        offset=offset,
        offset_sigma=float(np.sqrt(np.trace(offset_covariance))),
        offset_covariance=offset_covariance,
        blind_sigma=float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1])),
        residual=float(np.sqrt(scatter)),
        residual_before=before,
        points=len(points),
        blind=tuple(_movement(vectors[:, i]) for i in np.flatnonzero(sigmas >= _TOLD)),
    )


def _movement(direction: Floats) -> str:
    """Return a direction of movement of the camera in words."""
    strongest = int(np.argmax(np.abs(direction)))
    axis = ("right", "down", "forward")[strongest % 3]
    return f"a shift {axis}" if strongest < 3 else f"a turn about the axis that points {axis}"


def _is_explained(offset: Floats, covariance: Floats) -> bool:
    """Return whether an offset (3,) is one that its covariance (3, 3) explains, along the directions it is told."""
    values, vectors = np.linalg.eigh(covariance)
    known = values > _LEAST_KNOWN * values[-1]
    squares = (vectors.T @ offset)[known] ** 2 / values[known]
    return float(squares.sum()) < float(chi2.isf(_CHANCE, int(known.sum())))


def _report(found: DepthOffset, tolerance: Tolerance, camera_covariance: Floats | None) -> CheckReport:
    off, sigma = float(np.linalg.norm(found.offset)), found.offset_sigma
    told = found.told.shape[1] > 0
    consistent = None
    if camera_covariance is not None and told:
        consistent = _is_explained(found.offset, found.offset_covariance + found.expected(camera_covariance))
    bound = tolerance.translation
    passed = None
    if bound is not None and told:
        # Neither pass nor fail where the surfaces tell less than the tolerance asks for: what they do not tell may
        # be off by anything, and too much along one direction is too much.
        within = found.tells_shifts and off + sigma <= bound
        passed = True if within else False if off - 2.0 * sigma > bound else None
    verdict = {True: " Within the tolerance.", False: " More than the tolerance.", None: ""}[passed]
    if bound is not None and passed is None:
        verdict = " That is too near to the tolerance, or too unsure, for a verdict."
    blind = f" The visible surfaces do not tell {', '.join(found.blind)}." if found.blind else ""
    return CheckReport(
        name="depth",
        error=off,
        sigma=sigma,
        worst=off,
        count=found.points,
        passed=passed,
        consistent=consistent,
        sentence=f"{found.points} points of the arm lie {1e3 * found.residual:.1f} mm rms from its model once it is "
        f"moved by {1e3 * off:.1f} ± {1e3 * sigma:.1f} mm.{verdict}{blind}",
    )
