"""Where the camera is: hand-eye calibration with a covariance that holds.

Closed-form start by consensus, bad views named and left out, then maximum likelihood over mount,
board and arm errors with noise levels estimated from the data (``joint_fit``, ``noise_levels``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from calibration.hand_eye import checks
from calibration.hand_eye.agreement import Problem
from calibration.hand_eye.board_pose import all_board_poses, usual_covariances
from calibration.hand_eye.causes import Cause, Remark
from calibration.hand_eye.causes_set import unequal_error
from calibration.hand_eye.chain import arm_poses
from calibration.hand_eye.closed_form import both, discrepancies
from calibration.hand_eye.corners import better_corners, posed_without_misread
from calibration.hand_eye.evidence import Corners, Poses
from calibration.hand_eye.noise_levels import Variances
from calibration.hand_eye.repairs import solve_with_reasons
from calibration.hand_eye.terms import Term, TermStack
from calibration.hand_eye.turned_boards import ambiguity, counted_alike
from calibration.hand_eye.values import ArmNoise, HandEyeResult, HandEyeView
from calibration.systematics.candidates import SystematicNames, candidate_terms
from calibration.systematics.lens import LensRefinement
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, Floats

_REPEATED = Remark(cause=Cause.DUPLICATE, reason="repeats an earlier view")
_NO_POSE = Remark(cause=Cause.NO_POSE, reason="has corners that no pose of the board explains")
_START_ARM = ArmNoise(translation=0.5e-3, rotation=float(np.deg2rad(0.1)))
"""Where the estimate of the noise levels starts; the end does not depend on it."""
_START_PIXEL = 0.3
"""[px]"""


def calibrate_hand_eye(
    views: Sequence[HandEyeView],
    *,
    intrinsics: CameraIntrinsics,
    mount: Mount = "eye_to_hand",
    pixel_sigma: float | None = None,
    arm_sigma: ArmNoise | None = None,
    board: Board | None = None,
    terms: Sequence[Term] = (),
    systematics: SystematicNames = "auto",
    lens_from_views: bool = False,
    seed: int = 0,
) -> HandEyeResult:
    """Compute where the camera is from views of a board and the arm's own poses.

    Eye to hand: the camera stands still and the flange carries the board. Eye in hand: the flange
    carries the camera and the board stands still.

    Args:
        views: At least 3, with the flange turned about two axes; 10 to 15 well-spread ones are good.
        intrinsics: Lens the pictures were taken with. Its covariance, where it has one, goes into that of the
            result, and it is refined within it; a lens without one is taken as exact.
        mount: Who carries the camera.
        pixel_sigma: Noise of a corner per axis [px]; None estimates it.
        arm_sigma: Noise of the reported flange poses; None estimates it.
        board: Layout, when known: the views then choose between chess and marker corners, and where a turn maps the
            board to itself, from which of its corners each of them counts.
        terms: Further unknowns to estimate: what the arm or the sight may be systematically off by. Those that
            hold something of each view hold it of ``views``, in their order.
        systematics: What to look for beside, and to take into account only where the views ask for it: "auto" for
            all they can tell, or some of "time offset", "board scale", "board bend" and "lens".
        lens_from_views: Whether ``intrinsics`` were calibrated from these very views: lens and camera are then fitted
            together, and what the corners say of the lens counts once.
        seed: Of the random view triples the start is chosen from.

    Raises:
        CalibrationError: The views are too few, turn too little, or do not agree; the sentence says
            what is missing.
    """
    _check_arguments(mount, pixel_sigma, arm_sigma)
    checks.check_count(len(views))
    names = [view.name or str(i) for i, view in enumerate(views)]
    flanges = _stack([view.flange.matrix for view in views])
    excluded = dict.fromkeys(checks.duplicates(flanges, [v.detection for v in views]), _REPEATED)
    excluded |= _undetermined(views, names)
    flanges, misplaced = _misplaced(flanges)
    excluded |= misplaced
    detections, seen = posed_without_misread([view.detection for view in views], intrinsics)
    if board is not None:
        detections, before = better_corners(detections, board, intrinsics), detections
        changed = [i for i, (now, then) in enumerate(zip(detections, before, strict=True)) if now is not then]
        seen[changed] = all_board_poses([detections[i] for i in changed], intrinsics)
    detections, seen = counted_alike(detections, seen, flanges, mount=mount, board=board, seed=seed)
    for i in np.flatnonzero(~np.isfinite(seen[:, 0]).all(axis=(1, 2))).tolist():
        excluded.setdefault(i, _NO_POSE)
    seen[[i for i, remark in excluded.items() if remark is not _REPEATED]] = np.nan
    corners = Corners(detections, intrinsics)
    problem = Problem(
        flanges=flanges,
        mount=mount,
        names=names,
        evidence=corners,
        candidates=seen,
        start=Variances((pixel_sigma or _START_PIXEL) ** 2, *_squares(arm_sigma or _START_ARM)),
        free=(pixel_sigma is None, arm_sigma is None, arm_sigma is None),
        rng=np.random.default_rng(seed),
        terms=TermStack(terms),
        asked=candidate_terms(
            systematics,
            corners,
            flanges,
            [view.twist for view in views],
            terms,
            board,
            lens_from_views=lens_from_views,
        ),
        counted=() if intrinsics.covariance is None else (LensRefinement.of(intrinsics, from_views=lens_from_views),),
    )
    result = solve_with_reasons(problem, excluded, [view.twist for view in views])
    told = ambiguity(board)
    return replace(result, warnings=(told, *result.warnings)) if told else result


def calibrate_hand_eye_poses(
    Ts_base_flange: ArrayLike,
    Ts_camera_board: ArrayLike,
    *,
    mount: Mount = "eye_to_hand",
    covariances: ArrayLike | None = None,
    arm_sigma: ArmNoise | None = None,
    terms: Sequence[Term] = (),
    seed: int = 0,
) -> HandEyeResult:
    """Compute where the camera is from pairs of poses, without pixels.

    Less exact than ``calibrate_hand_eye``: how well a picture fixes each direction of the board's
    pose is lost unless ``covariances`` tell. Without them those of a board of usual size stand in, by a factor
    that is estimated (the ``pixel_sigma`` of the result).

    Args:
        Ts_base_flange: (N, 4, 4) as the arm reported.
        Ts_camera_board: (N, 4, 4) from the pictures.
        mount: Who carries the camera.
        covariances: (N, 6, 6) of Ts_camera_board, tangent at the pose, (v, w) [m, rad].
        arm_sigma: Noise of the reported flange poses; None estimates it.
        terms: Further unknowns of the arm, see ``calibrate_hand_eye``.
        seed: Of the random view triples the start is chosen from.

    Raises:
        CalibrationError: As in ``calibrate_hand_eye``.
    """
    _check_arguments(mount, None, arm_sigma)
    flanges = _stack([Transform(T).matrix for T in np.asarray(Ts_base_flange, dtype=np.float64)])
    boards = _stack([Transform(T).matrix for T in np.asarray(Ts_camera_board, dtype=np.float64)])
    checks.check_count(len(flanges))
    if len(flanges) != len(boards):
        raise unequal_error(flanges, boards, mount, np.random.default_rng(seed))
    checks.check_sights(boards)
    excluded = dict.fromkeys(checks.duplicates(flanges, [None] * len(flanges)), _REPEATED)
    flanges, misplaced = _misplaced(flanges)
    noise = usual_covariances(boards) if covariances is None else np.asarray(covariances, dtype=np.float64)
    problem = Problem(
        flanges=flanges,
        mount=mount,
        names=[str(i) for i in range(len(flanges))],
        evidence=Poses(boards, noise),
        candidates=boards[:, None],
        start=Variances(1.0, *_squares(arm_sigma or _START_ARM)),
        free=(covariances is None and bool(noise.any()), arm_sigma is None, arm_sigma is None),
        rng=np.random.default_rng(seed),
        terms=TermStack(terms),
    )
    return solve_with_reasons(problem, excluded | misplaced)


def closed_form_hand_eye(
    views: Sequence[HandEyeView], *, intrinsics: CameraIntrinsics, mount: Mount = "eye_to_hand"
) -> Transform:
    """Return T_mount_camera by the better closed form alone: a start, with nothing known about its error."""
    flanges = _stack([view.flange.matrix for view in views])
    boards = all_board_poses([view.detection for view in views], intrinsics)[:, 0]
    arms = arm_poses(flanges, mount)
    X, _ = min(both(arms, boards), key=lambda pair: float(np.median(discrepancies(arms, boards, *pair))))
    return Transform(X)


def _stack(matrices: list[Floats]) -> Floats:
    return np.stack(matrices) if matrices else np.empty((0, 4, 4))


def _undetermined(views: Sequence[HandEyeView], names: Sequence[str]) -> dict[int, Remark]:
    """Return the views whose corners determine no pose, and why.

    Raises:
        CalibrationError: Too few others are left, or the board cannot be in metres.
    """
    for view, name in zip(views, names, strict=True):
        checks.check_size(view.detection, name)
    reasons = {i: reason for i, view in enumerate(views) if (reason := checks.undetermined(view.detection))}
    if len(views) - len(reasons) < checks.MIN_VIEWS:
        first = next(iter(reasons), 0)
        checks.check_detection(views[first].detection, names[first])
    return {i: Remark(cause=Cause.NO_POSE, reason=reason) for i, reason in reasons.items()}


def _misplaced(Ts_base_flange: Floats) -> tuple[Floats, dict[int, Remark]]:
    """Return the views whose flange is where no arm reaches, and (N, 4, 4) flanges without such numbers."""
    reasons = checks.misplaced(Ts_base_flange)
    if not reasons:
        return Ts_base_flange, {}
    # They take no part, but must not spoil the numbers of those that do.
    flanges, good = Ts_base_flange.copy(), np.delete(Ts_base_flange, list(reasons), axis=0)
    flanges[list(reasons)] = good[0]
    return flanges, {i: Remark(cause=Cause.MISPLACED, reason=reason) for i, reason in reasons.items()}


def _squares(noise: ArmNoise) -> tuple[float, float]:
    return noise.translation**2, noise.rotation**2


def _check_arguments(mount: str, pixel_sigma: float | None, arm_sigma: ArmNoise | None) -> None:
    if mount not in ("eye_to_hand", "eye_in_hand"):
        raise ValueError(f"mount must be eye_to_hand or eye_in_hand, not {mount!r}.")
    if pixel_sigma is not None and not pixel_sigma > 0:
        raise ValueError(f"pixel_sigma must be positive, not {pixel_sigma}.")
    if arm_sigma is not None and not (arm_sigma.translation > 0 and arm_sigma.rotation > 0):
        raise ValueError(f"arm_sigma must be positive, not {arm_sigma}.")
