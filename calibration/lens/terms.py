"""What one view says about a lens: residuals and derivatives, with its own pose taken out.

Unknowns that all views share are the lens (fx, fy, cx, cy, distortion...) and, where asked for, the
bend of the board; each view adds its pose (Rodrigues vector and translation, as OpenCV has them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, LensModel

BENDS = 3
"""Parameters of a board's bend [m]: heights of xx, xy and yy where x and y reach the rim of the points."""
_POWERS = np.array([3, 5, 7, 9])
"""Of the angle, in the polynomial of the equidistant lens (Kannala & Brandt, 2006)."""
_LEAST_COSINE = 0.1
"""Between a corner's ray and the middle one, for a first guess of the pose."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A view prepared for fitting."""

    points: Floats
    """(N, 3) [m] on the flat board."""
    shapes: Floats
    """(N, 3) height of each point per unit of each bend."""
    pixels: Floats
    """(N, 2) [px]"""
    weights: Floats
    """(N,) by which residuals are multiplied."""

    @property
    def count(self) -> int:
        """Corners."""
        return len(self.pixels)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Residuals of a view and their derivatives."""

    residuals: Floats
    """(2N,) [px] Measured minus projected, weighted."""
    by_shared: Floats
    """(2N, q) of the projection."""
    by_pose: Floats
    """(2N, 6) of the projection."""

    @property
    def squares(self) -> float:
        """Sum of squared residuals [px^2]."""
        return float(self.residuals @ self.residuals)


def prepare(detections: Sequence[BoardDetection]) -> list[View]:
    """Return the views, with the bend's shapes scaled by the extent of the whole board.

    Where every corner says how sure it is, the surer ones weigh more; the weight of a typical corner is 1.
    """
    corners = np.concatenate([d.points_board for d in detections])
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle, half = 0.5 * (low + high), max(0.5 * float((high - low).max()), 1e-9)
    typical = _typical_sigma(detections)
    views: list[View] = []
    for detection in detections:
        x, y = ((detection.points_board - middle) / half).T[:2]
        weights = np.ones(len(x))
        if typical is not None and detection.sigma is not None:
            weights = typical / np.maximum(detection.sigma, 0.3 * typical)
        views.append(
            View(
                np.ascontiguousarray(detection.points_board),
                np.column_stack([x * x, x * y, y * y]),
                np.ascontiguousarray(detection.points_image),
                weights,
            )
        )
    return views


def _typical_sigma(detections: Sequence[BoardDetection]) -> float | None:
    known = [d.sigma for d in detections if d.sigma is not None]
    if len(known) < len(detections):
        return None
    typical = float(np.median(np.concatenate(known)))
    return typical if typical > 0.0 else None


def lens_of(shared: Floats, image_size: tuple[int, int], model: LensModel, coefficients: int) -> CameraIntrinsics:
    """Return the lens in a vector of shared unknowns.

    Raises:
        ValueError: The vector is no lens.
    """
    fx, fy, cx, cy = shared[:4]
    return CameraIntrinsics(
        K=np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
        distortion=shared[4 : 4 + coefficients],
        width=image_size[0],
        height=image_size[1],
        model=model,
    )


def terms(view: View, pose: Floats, lens: CameraIntrinsics, bend: Floats) -> Terms:
    """Return residuals and derivatives of a view at a pose (6,) for a lens and a bend (0 or 3,)."""
    points = view.points
    if len(bend):
        points = points + np.outer(view.shapes @ bend, [0.0, 0.0, 1.0])
    uv, by_lens, by_pose = _fisheye(points, pose, lens) if lens.model == "fisheye" else _pinhole(points, pose, lens)
    if len(bend):
        # Lifting a point by dz along the board's normal n moves it by n dz in the camera.
        normal = cv2.Rodrigues(pose[:3])[0][:, 2]
        by_height = by_pose[:, 3:] @ normal
        by_lens = np.column_stack([by_lens, by_height[:, None] * np.repeat(view.shapes, 2, axis=0)])
    weights = np.repeat(view.weights, 2)
    residuals = (view.pixels - uv).ravel() * weights
    return Terms(residuals, by_lens * weights[:, None], by_pose * weights[:, None])


def _pinhole(points: Floats, pose: Floats, lens: CameraIntrinsics) -> tuple[Floats, Floats, Floats]:
    """Return pixels (N, 2) and their derivatives by lens (2N, p) and pose (2N, 6)."""
    uv, J = cv2.projectPoints(points, pose[:3], pose[3:], lens.K, lens.distortion)
    J = np.asarray(J, dtype=np.float64)  # columns: rotation 3, translation 3, f 2, c 2, distortion
    return np.asarray(uv, dtype=np.float64).reshape(-1, 2), J[:, 6 : 10 + len(lens.distortion)], J[:, :6]


def _fisheye(points: Floats, pose: Floats, lens: CameraIntrinsics) -> tuple[Floats, Floats, Floats]:
    """As :func:`_pinhole`, for the equidistant lens; unlike OpenCV's also beyond 90 degrees off the axis."""
    R, by_vector = cv2.Rodrigues(pose[:3])
    at = points @ R.T + pose[3:]
    x, y, z = at.T
    r = np.maximum(np.hypot(x, y), 1e-12)
    angle = np.arctan2(r, z)
    powers = angle[:, None] ** _POWERS
    bent = angle + powers @ lens.distortion
    growth = 1.0 + (_POWERS * powers / angle[:, None]) @ lens.distortion
    direction = np.column_stack([x, y]) / r[:, None]
    focal = np.array([lens.K[0, 0], lens.K[1, 1]])
    n = len(points)
    by_lens = np.zeros((n, 2, 8))
    by_lens[:, [0, 1], [0, 1]] = bent[:, None] * direction
    by_lens[:, [0, 1], [2, 3]] = 1.0
    by_lens[:, :, 4:] = (focal * direction)[:, :, None] * powers[:, None, :]
    # Along the direction the angle changes, across it only the direction does.
    squared = r * r + z * z
    along = growth * z / squared
    across = bent / r
    outer = direction[:, :, None] * direction[:, None, :]
    by_point = np.empty((n, 2, 3))
    by_point[:, :, :2] = along[:, None, None] * outer + across[:, None, None] * (np.eye(2) - outer)
    by_point[:, :, 2] = -(growth * r / squared)[:, None] * direction
    by_point *= focal[:, None]
    by_pose = np.empty((n, 2, 6))
    turned = np.einsum("kij,nj->nik", np.asarray(by_vector, dtype=np.float64).reshape(3, 3, 3), points)
    by_pose[:, :, :3] = by_point @ turned
    by_pose[:, :, 3:] = by_point
    uv = focal * bent[:, None] * direction + lens.K[:2, 2]
    return uv, by_lens.reshape(-1, 8), by_pose.reshape(-1, 6)


def start_pose(view: View, lens: CameraIntrinsics) -> Floats | None:
    """Return the pose (6,) that explains a view best through a lens, of both a flat board has; None without one."""
    rays = directions(view.pixels, lens)
    if not np.isfinite(rays).all():
        return None
    # Looking straight at the board, no corner is far off the axis, however wide the lens.
    middle = rays.mean(axis=0)
    axis = np.cross(middle, [0.0, 0.0, 1.0])
    sine = float(np.linalg.norm(axis))
    R_straight_camera = cv2.Rodrigues(axis / max(sine, 1e-12) * np.arctan2(sine, middle[2]))[0]
    x, y, z = R_straight_camera @ rays.T
    if (z < _LEAST_COSINE).any():
        return None
    try:
        _, rotations, translations, _ = cv2.solvePnPGeneric(
            view.points.reshape(-1, 1, 3),
            np.column_stack([x / z, y / z]).reshape(-1, 1, 2),
            np.eye(3),
            None,
            flags=cv2.SOLVEPNP_IPPE,
        )
    except cv2.error:
        return None
    best: Floats | None = None
    least = np.inf
    for rotation, translation in zip(rotations, translations, strict=True):
        R = R_straight_camera.T @ cv2.Rodrigues(rotation)[0]
        pose = np.concatenate([cv2.Rodrigues(R)[0].ravel(), R_straight_camera.T @ np.ravel(translation)])
        if np.isfinite(pose).all():
            pose, squares = settle(view, pose, lens, np.empty(0), rounds=4)
            if squares < least:
                best, least = pose, squares
    return best


def directions(pixels: Floats, lens: CameraIntrinsics) -> Floats:
    """Return the unit rays (N, 3) of pixels, roughly where the lens is no longer one-to-one."""
    if lens.model == "pinhole":
        flat = np.asarray(cv2.undistortPoints(pixels.reshape(-1, 1, 2), lens.K, lens.distortion)).reshape(-1, 2)
        rays = np.column_stack([flat, np.ones(len(flat))])
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)
    plane = (pixels - lens.K[:2, 2]) / np.diag(lens.K)[:2]
    bent = np.maximum(np.linalg.norm(plane, axis=1), 1e-12)
    angle = bent.copy()
    for _ in range(10):
        powers = angle[:, None] ** _POWERS
        growth = 1.0 + (_POWERS * powers / angle[:, None]) @ lens.distortion
        angle = np.clip(angle - (angle + powers @ lens.distortion - bent) / np.maximum(growth, 0.1), 1e-12, np.pi)
    return np.column_stack([plane / bent[:, None] * np.sin(angle)[:, None], np.cos(angle)])


def settle(view: View, pose: Floats, lens: CameraIntrinsics, bend: Floats, *, rounds: int = 8) -> tuple[Floats, float]:
    """Return the pose (6,) of least squares through a given lens, from a start, and its sum of squares [px^2]."""
    now = terms(view, pose, lens, bend)
    damping = 1e-4
    for _ in range(rounds):
        H = now.by_pose.T @ now.by_pose
        step = np.linalg.solve(H + damping * np.diag(np.diag(H)), now.by_pose.T @ now.residuals)
        moved = terms(view, pose + step, lens, bend)
        if moved.squares < now.squares:
            done = now.squares - moved.squares < 1e-9 * now.squares
            pose, now, damping = pose + step, moved, 0.1 * damping
            if done:
                break
        else:
            damping *= 30.0
    return pose, now.squares
