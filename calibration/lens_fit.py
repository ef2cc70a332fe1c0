"""One least-squares fit of a lens by OpenCV, and its covariance for independent corner noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from calibration import batch
from calibration.board_pose import board_poses
from calibration.lens import project
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, LensModel


@dataclass(frozen=True, slots=True, eq=False)
class LensFit:
    """A fitted lens."""

    intrinsics: CameraIntrinsics
    covariance: Floats
    """(p, p) of (fx, fy, cx, cy, distortion...), if corner errors were independent."""
    view_rms: Floats
    """(N,) [px]"""
    counts: Floats
    """(N,) corners per view."""

    @property
    def parameters(self) -> Floats:
        """(p,) fx, fy, cx, cy, distortion."""
        return parameters(self.intrinsics)


def parameters(lens: CameraIntrinsics) -> Floats:
    """Return (fx, fy, cx, cy, distortion...)."""
    return np.concatenate([[lens.K[0, 0], lens.K[1, 1], lens.K[0, 2], lens.K[1, 2]], lens.distortion])


def calibrate_lens(
    detections: Sequence[BoardDetection],
    image_size: tuple[int, int],
    model: LensModel,
    coefficients: int,
    *,
    start: CameraIntrinsics | None = None,
) -> LensFit:
    """Fit a lens and the board's poses to all corners by least squares.

    Raises:
        CalibrationError: The optimisation fails, or the views leave a parameter undetermined.
    """
    try:
        K, distortion, rotations, translations = _optimise(detections, image_size, model, coefficients, start)
        intrinsics = CameraIntrinsics(
            K=K, distortion=distortion, width=image_size[0], height=image_size[1], model=model
        )
    except (cv2.error, ValueError) as error:
        raise CalibrationError(
            f"The lens could not be fitted to these {len(detections)} views: {str(error).splitlines()[-1].strip()}.",
            "Add views with the board tilted by 20 to 45 degrees, and check the board's layout.",
        ) from error
    information = np.zeros((4 + len(distortion),) * 2)
    squares: list[float] = []
    for detection, rotation, translation in zip(detections, rotations, translations, strict=True):
        residual, by_lens, by_pose = _derivatives(detection, rotation, translation, intrinsics)
        squares.append(float(residual @ residual))
        coupling = by_lens.T @ by_pose
        information += by_lens.T @ by_lens - coupling @ np.linalg.solve(by_pose.T @ by_pose, coupling.T)
    counts = np.array([len(d.points_image) for d in detections], dtype=np.float64)
    dof = float(2.0 * counts.sum()) - 6.0 * len(detections) - len(information)
    scale = np.sqrt(np.diag(information))
    if dof < 1.0 or not (scale > 0).all() or np.linalg.cond(information / np.outer(scale, scale)) > 1e12:
        raise CalibrationError(
            f"These {len(detections)} views leave the lens undetermined.",
            "Add views with the board tilted by 20 to 45 degrees in several directions.",
        )
    covariance = batch.inverse(information) * float(np.sum(squares)) / dof
    return LensFit(intrinsics, covariance, np.sqrt(np.array(squares) / counts), counts)


def held_out_residuals(detection: BoardDetection, intrinsics: CameraIntrinsics) -> Floats:
    """Return the squared distances (N,) [px^2] of a view's corners to their best projection through a given lens."""
    poses = board_poses(detection, intrinsics)
    if len(poses) == 0:
        return np.full(len(detection.points_image), np.nan)
    points = detection.points_board @ poses[0, :3, :3].T + poses[0, :3, 3]
    return np.sum((project(points, intrinsics)[0] - detection.points_image) ** 2, axis=1)


def _optimise(
    detections: Sequence[BoardDetection],
    image_size: tuple[int, int],
    model: LensModel,
    coefficients: int,
    start: CameraIntrinsics | None,
) -> tuple[Floats, Floats, Sequence[Any], Sequence[Any]]:
    K = np.eye(3) if start is None else start.K.copy()
    if model == "fisheye":
        flags = _fisheye_flag("RECOMPUTE_EXTRINSIC") | _fisheye_flag("FIX_SKEW")
        D = np.zeros((4, 1)) if start is None else start.distortion.reshape(4, 1).copy()
        if start is not None:
            flags |= _fisheye_flag("USE_INTRINSIC_GUESS")
        _, K, D, rotations, translations = cv2.fisheye.calibrate(
            [d.points_board.reshape(1, -1, 3) for d in detections],
            [d.points_image.reshape(1, -1, 2) for d in detections],
            image_size,
            K,
            D,
            flags=flags,
            criteria=(cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-9),
        )
    else:
        flags = {4: cv2.CALIB_FIX_K3, 5: 0, 8: cv2.CALIB_RATIONAL_MODEL}[coefficients]
        D = np.zeros(coefficients) if start is None else start.distortion.copy()
        if start is not None:
            flags |= cv2.CALIB_USE_INTRINSIC_GUESS
        _, K, D, rotations, translations = cv2.calibrateCamera(
            [d.points_board.astype(np.float32) for d in detections],
            [d.points_image.astype(np.float32) for d in detections],
            image_size,
            K,
            D,
            flags=flags,
            criteria=(cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-9),
        )
    length = 4 if model == "fisheye" else coefficients
    return np.asarray(K, dtype=np.float64), np.ravel(D)[:length].astype(np.float64), rotations, translations


def _derivatives(
    detection: BoardDetection, rotation: object, translation: object, intrinsics: CameraIntrinsics
) -> tuple[Floats, Floats, Floats]:
    """Return residuals (2N,) and their derivatives by lens (2N, p) and board pose (2N, 6)."""
    r, t = (np.asarray(v, dtype=np.float64).reshape(3, 1) for v in (rotation, translation))
    points = np.ascontiguousarray(detection.points_board).reshape(-1, 1, 3)
    p = len(intrinsics.distortion)
    if intrinsics.model == "fisheye":
        uv, jacobian = cv2.fisheye.projectPoints(
            points, r, t, intrinsics.K, intrinsics.distortion, jacobian=np.empty(0)
        )
        J = cast("Floats", jacobian)
        by_lens, by_pose = J[:, :8], J[:, 8:14]
    else:
        uv, jacobian = cv2.projectPoints(points, r, t, intrinsics.K, intrinsics.distortion)
        J = cast("Floats", jacobian)
        by_lens, by_pose = J[:, 6 : 10 + p], J[:, :6]
    residual = (detection.points_image - np.asarray(uv).reshape(-1, 2)).ravel()
    return residual, by_lens, by_pose


def _fisheye_flag(name: str) -> int:
    """Return a flag of the fisheye model: OpenCV 5 moved them out of ``cv2.fisheye``."""
    value = getattr(cv2.fisheye, f"CALIB_{name}", None)
    return int(getattr(cv2, f"CALIB_{name}") if value is None else value)
