"""Fresh views against the calibration: where the board is seen, and where the chain puts it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2

from calibration import batch
from calibration.hand_eye.board_pose import all_board_poses, refine
from calibration.hand_eye.chain import ChainState, camera_board, derivatives
from calibration.hand_eye.evidence import Corners
from calibration.hand_eye.held_out import nearest
from calibration.hand_eye.values import HandEyeResult, HandEyeView
from calibration.validation.values import CheckedView, CheckReport, Tolerance, rms, skipped
from vision_ik.types import CameraIntrinsics

_CHANCE = 0.01
"""Of a sound calibration being called inconsistent."""


def held_out_check(
    result: HandEyeResult,
    views: Sequence[HandEyeView],
    *,
    intrinsics: CameraIntrinsics,
    tolerance: Tolerance | None = None,
) -> tuple[CheckReport, tuple[CheckedView, ...]]:
    """Judge a calibration by views it was not computed from; their own noise is in the errors.

    Args:
        result: The calibration; the board must still be mounted as it was.
        views: Fresh ones, as taken: they are put right by what the calibration found beside (``corrected``).
        intrinsics: Lens of the pictures.
        tolerance: What the task can bear.
    """
    candidates = all_board_poses([view.detection for view in views], intrinsics) if views else np.empty((0, 2, 4, 4))
    posed = np.asarray(np.isfinite(candidates[:, 0]).all(axis=(1, 2)), dtype=np.bool_)
    if not posed.any():
        return skipped("held-out views", "No fresh view shows the board."), ()
    chosen = result.corrected([view for view, good in zip(views, posed.tolist(), strict=True) if good])
    flanges = np.stack([view.flange.matrix for view in chosen])
    n = len(chosen)
    state = ChainState(result.T_mount_camera.matrix, result.T_holder_board.matrix, np.tile(np.eye(4), (n, 1, 1)))
    expected = camera_board(state, flanges, result.mount)
    corners = Corners([view.detection for view in chosen], intrinsics)
    seen, _ = refine(corners, nearest(candidates[posed], expected))
    D, A = derivatives(state, flanges, result.mount)
    arm = np.repeat([result.arm_sigma.translation, result.arm_sigma.rotation], 3) ** 2
    V = result.sight_sigma**2 * corners.linearise(seen).covariance + A * arm @ np.swapaxes(A, 1, 2)
    shared = D @ result.joint_covariance @ np.swapaxes(D, 1, 2)
    error = batch.log(seen @ batch.inverses(expected))
    squares = np.einsum("na,na->n", error, np.linalg.solve(V + shared, error[:, :, None])[:, :, 0])
    centres = np.concatenate([corners.centres, np.ones((n, 1))], axis=1)
    middle = (seen @ centres[:, :, None])[:, :3, 0]
    away = np.linalg.norm(middle - (expected @ centres[:, :, None])[:, :3, 0], axis=1)
    lever = np.concatenate([np.tile(np.eye(3), (n, 1, 1)), -batch.skews(middle)], axis=2)
    spread = np.sqrt(np.einsum("nab,nbc,nac->n", lever, V + shared, lever))
    counts = np.array([len(view.detection.points_image) for view in chosen])
    pixels = np.sqrt(corners.misfit(expected) / counts)
    told = tuple(
        CheckedView(
            name=view.name or str(i + 1),
            position_error=float(away[i]),
            rotation_error=float(np.linalg.norm(error[i, 3:])),
            position_sigma=float(spread[i]),
            chi_square=float(squares[i]),
            pixel_rms=float(pixels[i]),
        )
        for i, view in enumerate(chosen)
    )
    return _report(told, tolerance or Tolerance()), told


def _report(views: Sequence[CheckedView], tolerance: Tolerance) -> CheckReport:
    off, turned = rms([view.position_error for view in views]), rms([view.rotation_error for view in views])
    sigma = rms([view.position_sigma for view in views])
    # What the calibration is off by is the same in all views, so their sum has heavier tails than independent
    # ones would: the mean is judged as one view would be.
    mean = float(np.mean([view.chi_square for view in views]))
    consistent = mean < float(chi2.isf(_CHANCE, 6))
    bounds = [(off, tolerance.translation), (turned, tolerance.rotation)]
    given = [value <= bound for value, bound in bounds if bound is not None]
    passed = all(given) if given else None
    verdict = {True: " Within the tolerance.", False: " More than the tolerance.", None: ""}[passed]
    doubt = "" if consistent else " The calibration does not explain so much: something moved, or the lens is another."
    return CheckReport(
        name="held-out views",
        error=off,
        sigma=sigma,
        worst=max(view.position_error for view in views),
        count=len(views),
        passed=passed,
        consistent=consistent,
        sentence=f"{len(views)} fresh views show the board {1e3 * off:.2f} mm and {np.rad2deg(turned):.3f} deg from "
        f"where the calibration puts it; {1e3 * sigma:.2f} mm are to be expected.{verdict}{doubt}",
    )
