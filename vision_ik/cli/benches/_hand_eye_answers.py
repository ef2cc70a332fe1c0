"""What our calibration and OpenCV's say about a real set-up, from the same corners, lens and poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np

from calibration import HandEyeResult, HandEyeView, calibrate_hand_eye, calibrate_hand_eye_poses
from calibration.batch import inverses
from calibration.hand_eye.chain import arm_poses
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.terms import SightTerm
from calibration.systematics.candidates import candidate_terms
from vision_ik.cli.benches._hand_eye_sets import RealSet
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answer:
    """What a method says."""

    X: Floats
    """(4, 4) T_mount_camera."""
    Y: Floats
    """(4, 4) T_holder_board."""
    lens: CameraIntrinsics | None
    sees: Callable[[BoardDetection, CameraIntrinsics], BoardDetection] | None = None
    """Returns a detection with the board as the method found it."""
    result: HandEyeResult | None = None


Method: TypeAlias = Callable[[RealSet, Sequence[int], Sequence[int], CameraIntrinsics | None], Answer]
"""From a set, the training views, the view whose pose each of them is given, and the lens. Raises CalibrationError."""


def methods_for(real: RealSet) -> dict[str, Method]:
    """Return what can be tried on a set, ours first."""
    methods: dict[str, Method] = {"ours": _ours}
    if real.detections:
        methods["ours, lens within its doubt alone"] = _ours_plain
    if hasattr(cv2, "calibrateHandEye"):
        for name in ("TSAI", "PARK", "HORAUD", "ANDREFF", "DANIILIDIS"):
            methods[f"OpenCV {name}"] = _opencv_hand_eye(getattr(cv2, f"CALIB_HAND_EYE_{name}"))
    if hasattr(cv2, "calibrateRobotWorldHandEye"):
        for name in ("SHAH", "LI"):
            methods[f"OpenCV {name}"] = _opencv_robot_world(getattr(cv2, f"CALIB_ROBOT_WORLD_HAND_EYE_{name}"))
    return methods


def _ours(real: RealSet, train: Sequence[int], partners: Sequence[int], lens: CameraIntrinsics | None) -> Answer:
    flanges = real.Ts_base_flange[list(partners)]
    if lens is None:
        result = calibrate_hand_eye_poses(flanges, real.boards(None)[list(train)], mount=real.mount)
        return Answer(X=result.T_mount_camera.matrix, Y=result.T_holder_board.matrix, lens=None, result=result)
    result = calibrate_hand_eye(_views(real, train, flanges), intrinsics=lens, mount=real.mount)

    def sees(detection: BoardDetection, of: CameraIntrinsics) -> BoardDetection:
        corners = Corners([real.detections[i] for i in train], of)
        terms = {term.name: term for term in candidate_terms(("board scale", "board bend"), corners, flanges, ())}
        seen = Corners([detection], of)
        for found in result.terms:
            term = terms.get(found.name)
            if isinstance(term, SightTerm):
                seen = term.evidence(seen, found.theta)
        return replace(detection, points_board=seen.points_board)

    return Answer(
        X=result.T_mount_camera.matrix,
        Y=result.T_holder_board.matrix,
        lens=result.intrinsics,
        sees=sees,
        result=result,
    )


def _ours_plain(real: RealSet, train: Sequence[int], partners: Sequence[int], lens: CameraIntrinsics | None) -> Answer:
    if lens is None:
        raise ValueError("Only views with corners have systematic errors to look for.")
    views = _views(real, train, real.Ts_base_flange[list(partners)])
    result = calibrate_hand_eye(views, intrinsics=lens, mount=real.mount, systematics=())
    return Answer(X=result.T_mount_camera.matrix, Y=result.T_holder_board.matrix, lens=result.intrinsics)


def _views(real: RealSet, train: Sequence[int], flanges: Floats) -> list[HandEyeView]:
    return [
        HandEyeView(T_base_flange=T, detection=real.detections[i], name=str(i))
        for i, T in zip(train, flanges, strict=True)
    ]


def _opencv_hand_eye(flag: int) -> Method:
    def method(real: RealSet, train: Sequence[int], partners: Sequence[int], lens: CameraIntrinsics | None) -> Answer:
        A, M = _arms_and_boards(real, train, partners, lens)
        # OpenCV's "gripper in base" is the inverse of our A: for eye to hand the caller has to know.
        G = inverses(A)
        R, t = cv2.calibrateHandEye(*_lists(G), *_lists(M), method=flag)
        X = _matrix(R, t)
        # It leaves the holder of the board to the caller: the mean over the views.
        Ys = G @ X @ M
        u, _, vt = np.linalg.svd(Ys[:, :3, :3].sum(axis=0))
        Y = _matrix(u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt, Ys[:, :3, 3].mean(axis=0))
        return Answer(X=X, Y=Y, lens=lens)

    return method


def _opencv_robot_world(flag: int) -> Method:
    def method(real: RealSet, train: Sequence[int], partners: Sequence[int], lens: CameraIntrinsics | None) -> Answer:
        A, M = _arms_and_boards(real, train, partners, lens)
        Ry, ty, Rx, tx = cv2.calibrateRobotWorldHandEye(*_lists(M), *_lists(A), method=flag)
        X, Y = inverses(np.stack([_matrix(Rx, tx), _matrix(Ry, ty)]))
        return Answer(X=X, Y=Y, lens=lens)

    return method


def _arms_and_boards(
    real: RealSet, train: Sequence[int], partners: Sequence[int], lens: CameraIntrinsics | None
) -> tuple[Floats, Floats]:
    return arm_poses(real.Ts_base_flange[list(partners)], real.mount), real.boards(lens)[list(train)]


def _lists(Ts: Floats) -> tuple[list[Floats], list[Floats]]:
    return list(Ts[:, :3, :3]), list(Ts[:, :3, 3])


def _matrix(R: object, t: object) -> Floats:
    T = np.eye(4)
    T[:3, :3] = np.asarray(R, dtype=np.float64)
    T[:3, 3] = np.ravel(np.asarray(t, dtype=np.float64))
    if not np.isfinite(T).all():
        raise CalibrationError("OpenCV returned no numbers.", "Nothing can be done.")
    return T
