"""Whether views ask for another arm than the nominal one, and for which prior.

The evidence is the likelihood with the errors of the arm integrated out (MacKay, 1992): they cost as
much as the views narrow them down, so that an arm that is as drawn is left so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.arm.link_errors import ArmPrior, LinkErrors
from calibration.arm.link_term import LINK_TERM, LinkTerm
from calibration.hand_eye.evidence import Evidence
from calibration.hand_eye.joint_fit import JointFit, fit
from calibration.hand_eye.noise_levels import Variances, adjusted_covariance
from calibration.hand_eye.terms import TermStack
from calibration.hand_eye.values import HandEyeResult
from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where a fit begins."""

    result: HandEyeResult
    X: Floats
    Y: Floats
    variances: Variances
    theta: Floats | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Comparison:
    """Fits of the same views with and without errors of the arm."""

    evidence: Evidence
    """All N views."""
    Ts_base_flange: Floats
    """(N, 4, 4) of the nominal arm."""
    q: Floats
    """(N, n)"""
    errors: LinkErrors
    free: tuple[bool, bool, bool]
    """Which of pixel, arm translation and arm rotation is estimated."""
    pixel: float
    """Variance of a pixel where it is not estimated, see `Variances`."""

    def start(self, result: HandEyeResult) -> Start:
        """Return where a hand-eye calibration ended."""
        noise = result.arm_sigma
        pixel = result.pixel_sigma**2 if self.free[0] else self.pixel
        variances = Variances(pixel, noise.translation**2, noise.rotation**2)
        return Start(
            result, result.T_mount_camera.matrix, result.T_holder_board.matrix, variances, errors_found(result)
        )

    def likeliest(self, priors: Sequence[ArmPrior], start: Start) -> tuple[ArmPrior, Start]:
        """Return which of some priors the views speak for, and where the fit with it ended."""
        used = believed(start.result)
        answers: list[tuple[float, ArmPrior, Start]] = []
        for prior in priors:
            reached = self.answer(start, used, prior)
            start = Start(start.result, reached.state.X, reached.state.Y, reached.variances, reached.theta)
            answers.append((log_evidence(reached), prior, start))
        _, prior, start = max(answers, key=lambda answer: answer[0])
        return prior, start

    def answer(self, start: Start, used: NDArray[np.bool_], prior: ArmPrior | None) -> JointFit:
        """Fit the ``used`` (N,) views, with the arm's errors unless ``prior`` is None."""
        terms = [] if prior is None else [LinkTerm(errors=self.errors, q=self.q[used], prior=prior)]
        return fit(
            self.evidence.select(used),
            self.Ts_base_flange[used],
            start.result.mount,
            X=start.X,
            Y=start.Y,
            start=start.variances,
            free=self.free,
            terms=TermStack(terms),
            theta=start.theta if terms else None,
        )

    def covariance(self, reached: JointFit) -> Floats:
        """Return the (12 + k, 12 + k) covariance of camera, board and errors, the noise levels' own doubt included."""
        covariance = adjusted_covariance(reached.model, reached.variances, self.free)
        return 0.5 * (covariance + covariance.T)


def errors_found(result: HandEyeResult) -> Floats | None:
    """Return the errors of the arm (k,) in a result; None where they were no unknowns."""
    return next((term.theta for term in result.terms if term.name == LINK_TERM), None)


def believed(result: HandEyeResult) -> NDArray[np.bool_]:
    """Return which views (N,) are in a fit as they were given, without repair."""
    return np.array([view.used and not view.repair for view in result.views], dtype=np.bool_)


def log_evidence(reached: JointFit) -> float:
    """Return the log likelihood with the errors of the arm integrated out, by Laplace's method."""
    information = reached.solution.information
    volumes = np.linalg.slogdet(information[:12, :12])[1] - np.linalg.slogdet(information)[1]
    return reached.log_likelihood + 0.5 * float(volumes + np.log(reached.model.prior).sum())
