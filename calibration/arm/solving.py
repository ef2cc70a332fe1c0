"""The arm as it is, from the views of a hand-eye calibration with joints.

The errors of the arm's geometry are unknowns beside mount, holder and noise levels, with priors, in
the same likelihood (``hand_eye.joint_fit``); they are adopted only where the evidence asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from calibration.arm import checks
from calibration.arm.comparing import Comparison, believed, log_evidence
from calibration.arm.link_errors import ArmPrior, LinkErrors
from calibration.arm.link_term import LINK_TERM
from calibration.arm.values import ArmCalibration, LinkError
from calibration.hand_eye.checks import check_detection
from calibration.hand_eye.corners import better_corners, posed_without_misread
from calibration.hand_eye.evidence import Corners, Poses
from calibration.hand_eye.solving import calibrate_hand_eye, calibrate_hand_eye_poses
from calibration.hand_eye.terms import Term
from calibration.hand_eye.turned_boards import counted_alike
from calibration.hand_eye.values import ArmNoise, HandEyeResult, HandEyeView
from calibration.systematics.board_scale import BoardScale
from calibration.systematics.lens import LensRefinement
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Board, CameraIntrinsics, Floats

_DEGREE = float(np.deg2rad(1.0))
PRIORS = (
    ArmPrior(),
    ArmPrior(zero=_DEGREE),
    ArmPrior(position=2e-3, angle=0.4 * _DEGREE, zero=0.4 * _DEGREE),
    ArmPrior(position=2e-3, angle=0.4 * _DEGREE, zero=3.0 * _DEGREE),
)
"""How arms may be built: as machines are; with zeros that were set by hand; from kits; both."""
BOARD_SIGMA = 0.01
"""Printers scale to fit the page; who measured an edge knows better."""
_GAIN = 5.0
"""Evidence from which another arm than the nominal one is adopted: odds of 150 to 1."""
_OPTION_GAIN = 2.0
"""Evidence from which the board is taken to be of another size than told: odds of 7 to 1."""

_Solve = Callable[[Sequence[Term]], HandEyeResult]


def calibrate_arm(
    views: Sequence[HandEyeView],
    *,
    robot: RobotModel,
    intrinsics: CameraIntrinsics,
    mount: Mount = "eye_to_hand",
    prior: ArmPrior | None = None,
    board_sigma: float = BOARD_SIGMA,
    pixel_sigma: float | None = None,
    arm_sigma: ArmNoise | None = None,
    board: Board | None = None,
    seed: int = 0,
) -> ArmCalibration:
    """Compute joint zeros and link geometry of the arm together with where the camera is.

    The result's ``robot`` is a model like any other: `save_urdf` writes it, `load_solver` solves for it, with the
    learned seeds of the nominal arm. Where the views do not ask for another arm, it is the nominal one.

    Args:
        views: With joints ``q``; 30 and more that use the joints' ranges. Their flange poses are not used: the
            controller may have computed them from a chain of its own.
        robot: The arm as drawn; the chain that the joints belong to.
        intrinsics: Lens the pictures were taken with. Its covariance, where it has one, goes into everything that is
            told of arm and camera, and it is refined within it; a lens without one is taken as exact.
        mount: Who carries the camera.
        prior: How well the arm is built; None takes the likeliest of some, from machines to kits.
        board_sigma: Share by which the board may be larger or smaller than told, one standard deviation. Where the
            views ask for it, it is estimated, too: links would change to fit a wrong board. 0 takes it as exact.
        pixel_sigma: Noise of a corner per axis [px]; None estimates it.
        arm_sigma: Noise of the flange from view to view: the arm's repeatability; None estimates it.
        board: Layout, when known, as `calibrate_hand_eye` takes it.
        seed: Of the random view triples the start is chosen from.

    Raises:
        CalibrationError: Views have no joints, or those of another arm; or as in ``calibrate_hand_eye``.
    """
    q = checks.joints_of(views, robot)
    flanges = robot.forward(q)
    warnings = checks.check_reported(views, flanges)
    for i, view in enumerate(views):
        check_detection(view.detection, view.name or str(i))
    detections, seen = posed_without_misread([view.detection for view in views], intrinsics)
    if board is not None:
        detections = better_corners(detections, board, intrinsics)
    detections, _ = counted_alike(detections, seen, flanges, mount=mount, board=board, seed=seed)
    own = [
        replace(view, T_base_flange=Transform(T), detection=detection, name=view.name or str(i))
        for i, (view, T, detection) in enumerate(zip(views, flanges, detections, strict=True))
    ]

    def solve(terms: Sequence[Term]) -> HandEyeResult:
        return calibrate_hand_eye(
            own,
            intrinsics=intrinsics,
            mount=mount,
            pixel_sigma=pixel_sigma,
            arm_sigma=arm_sigma,
            board=board,
            terms=terms,
            systematics=(),
            seed=seed,
        )

    comparison = Comparison(
        evidence=Corners(detections, intrinsics),
        Ts_base_flange=flanges,
        q=q,
        errors=LinkErrors.of(robot),
        others=() if intrinsics.covariance is None else (LensRefinement.of(intrinsics),),
        free=(pixel_sigma is None, arm_sigma is None, arm_sigma is None),
        pixel=1.0 if pixel_sigma is None else pixel_sigma**2,
    )
    optional = (BoardScale(sigma_scale=board_sigma),) if board_sigma > 0.0 else ()
    return _calibrate(robot, comparison, optional, solve, prior, warnings)


def calibrate_arm_poses(
    q: ArrayLike,
    Ts_camera_board: ArrayLike,
    *,
    robot: RobotModel,
    mount: Mount = "eye_to_hand",
    covariances: ArrayLike | None = None,
    prior: ArmPrior | None = None,
    arm_sigma: ArmNoise | None = None,
    seed: int = 0,
) -> ArmCalibration:
    """Compute joint zeros and link geometry from joints and poses of a target: of a tag, or of a tracker.

    Args:
        q: (N, n) joints [rad], [m].
        Ts_camera_board: (N, 4, 4) where the target was seen in each.
        robot: The arm as drawn.
        mount: Who carries the camera.
        covariances: (N, 6, 6) of Ts_camera_board, tangent at the pose, (v, w) [m, rad]; without, all noise is the
            arm's.
        prior: See `calibrate_arm`.
        arm_sigma: See `calibrate_arm`.
        seed: See `calibrate_arm`.

    Raises:
        CalibrationError: As in ``calibrate_hand_eye``.
    """
    joints = np.asarray(q, dtype=np.float64)
    if joints.ndim != 2 or joints.shape[1] != robot.n:
        raise ValueError(f"{robot.name} has {robot.n} joints: q must be (N, {robot.n}), not {joints.shape}.")
    boards = np.asarray(Ts_camera_board, dtype=np.float64)
    noise = np.zeros((len(boards), 6, 6)) if covariances is None else np.asarray(covariances, dtype=np.float64)
    flanges = robot.forward(joints)

    def solve(terms: Sequence[Term]) -> HandEyeResult:
        return calibrate_hand_eye_poses(
            flanges, boards, mount=mount, covariances=noise, arm_sigma=arm_sigma, terms=terms, seed=seed
        )

    comparison = Comparison(
        evidence=Poses(boards, noise),
        Ts_base_flange=flanges,
        q=joints,
        errors=LinkErrors.of(robot),
        free=(False, arm_sigma is None, arm_sigma is None),
        pixel=1.0,
    )
    return _calibrate(robot, comparison, (), solve, prior, [])


def _calibrate(
    robot: RobotModel,
    comparison: Comparison,
    optional: tuple[Term, ...],
    solve: _Solve,
    prior: ArmPrior | None,
    warnings: list[str],
) -> ArmCalibration:
    """Fit without and with errors of the arm, and with the ``optional`` terms, and keep what the views ask for."""
    errors, priors = comparison.errors, PRIORS if prior is None else (prior,)
    if errors.count == 0:
        return _as_drawn(robot, comparison, solve(()), priors[0], 0.0, (), warnings)
    begin, nominal = _begin(comparison, solve, priors[-1])
    choice = comparison.choose(priors, comparison.start(begin))
    if optional:
        wider = replace(comparison, others=(*comparison.others, *optional))
        other = wider.choose(priors, comparison.start(begin))
        if other.best > choice.best + _OPTION_GAIN:
            comparison, choice = wider, other
            _, nominal = _begin(comparison, solve, priors[-1])
    likeliest = choice.prior
    # Everything once more: a bad view hides in the errors of an arm that was not calibrated.
    calibrated = solve(comparison.terms(likeliest))
    used = believed(calibrated)
    reached = comparison.answer(choice.start, used, likeliest)
    gain = np.inf
    if nominal is not None:
        gain = log_evidence(reached) - log_evidence(comparison.answer(comparison.start(nominal), used, None))
    thetas, covariance = comparison.start(calibrated).thetas, comparison.covariance(reached)
    theta = thetas[LINK_TERM]
    link_errors = _told(errors, theta, covariance, likeliest)
    warnings = warnings + checks.doubts(comparison.q[used], robot, link_errors)
    if nominal is not None and gain < _GAIN:
        return _as_drawn(robot, comparison, nominal, likeliest, gain, link_errors, warnings)
    name = robot.name if robot.name.endswith("_calibrated") else f"{robot.name}_calibrated"
    return ArmCalibration(
        robot=replace(robot, name=name, fixed=errors.fixed(theta)),
        nominal=robot,
        adopted=True,
        gain=gain,
        prior=likeliest,
        link_errors=link_errors,
        hand_eye=calibrated,
        hand_eye_nominal=nominal,
        covariance=covariance,
        errors=errors,
        warnings=(*warnings, *checks.scale(calibrated), *calibrated.warnings),
    )


def _begin(comparison: Comparison, solve: _Solve, widest: ArmPrior) -> tuple[HandEyeResult, HandEyeResult | None]:
    """Return a result to begin with, and the nominal arm's: None where the views make no sense with the drawing.

    Raises:
        CalibrationError: They make no sense with any arm.
    """
    try:
        nominal = solve(comparison.terms(None))
    except CalibrationError as refusal:
        try:
            return solve(comparison.terms(widest)), None
        except CalibrationError:
            raise refusal from None
    return nominal, nominal


def _told(errors: LinkErrors, theta: Floats, covariance: Floats, prior: ArmPrior) -> tuple[LinkError, ...]:
    sigma = np.sqrt(np.diag(covariance)[12:])
    columns = zip(errors.names, theta.tolist(), sigma.tolist(), errors.sigma(prior).tolist(), strict=True)
    return tuple(
        LinkError(
            name=name[: name.index(" [")],
            unit=name[name.index("[") + 1 : -1],
            estimate=estimate,
            sigma=after,
            prior_sigma=before,
        )
        for name, estimate, after, before in columns
    )


def _as_drawn(
    robot: RobotModel,
    comparison: Comparison,
    nominal: HandEyeResult,
    prior: ArmPrior,
    gain: float,
    link_errors: tuple[LinkError, ...],
    warnings: list[str],
) -> ArmCalibration:
    """Return the nominal arm, with what was found of its errors."""
    return ArmCalibration(
        robot=robot,
        nominal=robot,
        adopted=False,
        gain=gain,
        prior=prior,
        link_errors=link_errors,
        hand_eye=nominal,
        hand_eye_nominal=nominal,
        covariance=nominal.joint_covariance,
        errors=comparison.errors,
        warnings=(*warnings, *checks.scale(nominal), *nominal.warnings),
    )
