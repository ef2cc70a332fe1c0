"""What is told of a fit: the result with its covariance, each view's report, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from calibration.hand_eye.agreement import Problem, Settled
from calibration.hand_eye.causes import Cause, Remark
from calibration.hand_eye.chain import ChainState, camera_board
from calibration.hand_eye.evidence import Corners, Evidence
from calibration.hand_eye.held_out import Verdicts, middle
from calibration.hand_eye.noise_levels import adjusted_covariance
from calibration.hand_eye.values import ArmNoise, HandEyeResult, ViewReport
from calibration.systematics.lens import LensRefinement
from calibration.systematics.time_offset import time_offset
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats

_POOR_SIGMA = 10e-3
"""[m] Predicted error above which the result is called poor."""
_FEW_WORDS = 3
"""Repairs that are told one by one."""


def outcome(problem: Problem, settled: Settled, remarks: Mapping[int, Remark]) -> HandEyeResult:
    """Return what is to be told of a fit.

    Args:
        problem: The views.
        settled: The fit.
        remarks: What was found about single views.
    """
    reached, verdicts, used = settled.reached, settled.verdicts, settled.used
    reports = _reports(problem.names, verdicts, used, remarks)
    covariance = adjusted_covariance(reached.model, reached.variances, problem.free)
    left_out = [f"View {report.name} was left out: it {report.reason}." for report in reports if report.reason]
    mended = _mended(reports)
    sigma = float(np.sqrt(np.trace(covariance[:3, :3])))
    motion = [f"{text} As they are, its position is known to {sigma * 1e3:.1f} mm." for text in settled.warnings]
    doubts = _doubts(sigma, verdicts, used, problem.free)
    striking = [systematic.sentence for systematic in settled.systematics if systematic.striking]
    terms = settled.terms.select(used)
    evidence = terms.evidence(problem.evidence.select(used), reached.theta)
    flanges = terms.flanges(problem.flanges[used], reached.theta)
    corners = float((0.5 * (evidence.residual_dof + 6.0)).sum())
    still = ChainState(reached.state.X, reached.state.Y, np.eye(4)[None])
    chain = evidence.misfit(camera_board(still, flanges, problem.mount))
    return HandEyeResult(
        mount=problem.mount,
        T_mount_camera=Transform(reached.state.X),
        covariance=_symmetric(covariance[:6, :6]),
        T_holder_board=Transform(reached.state.Y),
        joint_covariance=_symmetric(covariance[:12, :12]),
        pixel_sigma=float(np.sqrt(reached.variances.pixel)),
        sight_sigma=float(np.sqrt(reached.variances.sight)),
        arm_sigma=ArmNoise(
            translation=float(np.sqrt(reached.variances.translation)),
            rotation=float(np.sqrt(reached.variances.rotation)),
        ),
        noise_estimated=any(problem.free),
        views=reports,
        pixel_rms=float(np.sqrt(reached.misfit.sum() / corners)),
        chain_rms=float(np.sqrt(chain.sum() / corners)),
        warnings=(*motion, *striking, *mended, *left_out, *doubts),
        terms=settled.terms.estimates(reached.theta, _symmetric(covariance[12:, 12:])),
        log_likelihood=reached.log_likelihood,
        systematics=settled.systematics,
        intrinsics=_lens(evidence, settled, covariance[12:, 12:]),
        time_offset=time_offset(settled.terms.terms, reached.theta),
    )


def _reports(
    names: Sequence[str], verdicts: Verdicts, used: NDArray[np.bool_], remarks: Mapping[int, Remark]
) -> tuple[ViewReport, ...]:
    """Return what is to be said of each view."""
    reports: list[ViewReport] = []
    for i, name in enumerate(names):
        position, angle = float(verdicts.position[i]), float(verdicts.rotation[i])
        remark = remarks.get(i)
        if remark is None and not used[i]:
            remark = Remark(cause=Cause.UNEXPLAINED, reason="nothing that was tried explains it", contradicts=True)
        reason = remark.reason if remark is not None and not used[i] else ""
        if reason and remark is not None and remark.contradicts:
            by = f"{position * 1e3:.1f} mm and {np.rad2deg(angle):.2f} deg"
            reason = f"contradicts the other views by {by}: {reason}"
        reports.append(
            ViewReport(
                name=name,
                used=bool(used[i]),
                reason=reason,
                chi_square=float(verdicts.chi_square[i]),
                pixel_rms=float(verdicts.pixel_rms[i]),
                position_error=position,
                rotation_error=angle,
                cause=None if remark is None else remark.cause,
                repair=remark.repair if remark is not None and used[i] else "",
            )
        )
    return tuple(reports)


def _doubts(sigma: float, verdicts: Verdicts, used: NDArray[np.bool_], free: tuple[bool, bool, bool]) -> list[str]:
    """Return warnings about the result as a whole, its position known to ``sigma`` [m]."""
    doubts: list[str] = []
    if sigma > _POOR_SIGMA:
        doubts.append(f"The camera's position is uncertain by {sigma * 1e3:.0f} mm: add views.")
    agreement = middle(verdicts.chi_square[used]) / float(chi2.median(6))
    if not all(free) and agreement > 2.0:
        cause = f"The views scatter {np.sqrt(agreement):.1f} times as much as the given noise levels explain"
        doubts.append(f"{cause}: the stated uncertainty is too small.")
    return doubts


def _mended(reports: Sequence[ViewReport]) -> list[str]:
    """Return a sentence about each kind of repair."""
    groups: dict[Cause, list[ViewReport]] = {}
    for report in reports:
        if report.repair and report.cause is not None and report.cause is not Cause.PLANAR_FLIP:
            groups.setdefault(report.cause, []).append(report)
    told: list[str] = []
    for cause, views in groups.items():
        if len(views) == 1:
            told.append(f"View {views[0].name} was mended: {views[0].repair}.")
            continue
        repairs = list(dict.fromkeys(view.repair for view in views))
        what = "; ".join(repairs) if len(repairs) <= _FEW_WORDS else f"{cause.value}, each as its report says"
        told.append(f"Views {', '.join(view.name for view in views)} were mended: {what}.")
    return told


def _lens(evidence: Evidence, settled: Settled, covariance: Floats) -> CameraIntrinsics | None:
    """Return the lens of the fit; None where nothing was seen through one."""
    if not isinstance(evidence, Corners):
        return None
    for term, part in zip(settled.terms.terms, settled.terms.slices, strict=True):
        if isinstance(term, LensRefinement):
            return term.judged(evidence.intrinsics, covariance[part, part])
    return evidence.intrinsics


def _symmetric(matrix: Floats) -> Floats:
    return 0.5 * (matrix + matrix.T)
