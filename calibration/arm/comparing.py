"""Whether views ask for another arm than the nominal one, and for which prior.

The evidence is the likelihood with the errors of the arm integrated out (MacKay, 1992): they cost as
much as the views narrow them down, so that an arm that is as drawn is left so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.arm.link_errors import ArmPrior, LinkErrors
from calibration.arm.link_term import LinkTerm
from calibration.hand_eye.evidence import Evidence
from calibration.hand_eye.joint_fit import JointFit, fit
from calibration.hand_eye.noise_levels import Variances, adjusted_covariance
from calibration.hand_eye.terms import Term, TermStack
from calibration.hand_eye.values import HandEyeResult
from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where a fit begins."""

    result: HandEyeResult
    X: Floats
    Y: Floats
    variances: Variances
    thetas: Mapping[str, Floats]
    """By name of the term."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Choice:
    """The likeliest of some priors."""

    prior: ArmPrior
    start: Start
    """Where the fit with it ended."""
    evidence: float
    """Of that fit."""
    best: float
    """The same, or that of the arm as drawn where it is larger."""


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
    others: tuple[Term, ...] = ()
    """Further unknowns that every fit has."""
    free: tuple[bool, bool, bool]
    """Which of pixel, arm translation and arm rotation is estimated."""
    pixel: float
    """Variance of a pixel where it is not estimated, see `Variances`."""

    def start(self, result: HandEyeResult) -> Start:
        """Return where a hand-eye calibration ended."""
        noise = result.arm_sigma
        pixel = result.pixel_sigma**2 if self.free[0] else self.pixel
        variances = Variances(pixel, noise.translation**2, noise.rotation**2)
        thetas = {term.name: term.theta for term in result.terms}
        return Start(result, result.T_mount_camera.matrix, result.T_holder_board.matrix, variances, thetas)

    def choose(self, priors: Sequence[ArmPrior], start: Start) -> Choice:
        """Return which of some priors the views of ``start`` speak for."""
        used = believed(start.result)
        drawn = log_evidence(self.answer(start, used, None))
        choices: list[Choice] = []
        for prior in priors:
            reached = self.answer(start, used, prior)
            thetas = dict(zip((term.name for term in self.terms(prior)), self.split(reached.theta), strict=True))
            start = Start(start.result, reached.state.X, reached.state.Y, reached.variances, thetas)
            evidence = log_evidence(reached)
            choices.append(Choice(prior=prior, start=start, evidence=evidence, best=max(evidence, drawn)))
        return max(choices, key=lambda choice: choice.evidence)

    def answer(self, start: Start, used: NDArray[np.bool_], prior: ArmPrior | None) -> JointFit:
        """Fit the ``used`` (N,) views, with the arm's errors unless ``prior`` is None."""
        terms = [term.select(used) for term in self.terms(prior)]
        start_at = [start.thetas.get(term.name, np.zeros(len(term.parameters))) for term in terms]
        return fit(
            self.evidence.select(used),
            self.Ts_base_flange[used],
            start.result.mount,
            X=start.X,
            Y=start.Y,
            start=start.variances,
            free=self.free,
            terms=TermStack(terms),
            theta=np.concatenate(start_at) if terms else None,
        )

    def terms(self, prior: ArmPrior | None) -> list[Term]:
        """Return the further unknowns of a fit: errors of the arm, unless ``prior`` is None, and the others."""
        arm: list[Term] = [] if prior is None else [LinkTerm(errors=self.errors, q=self.q, prior=prior)]
        return [*arm, *self.others]

    def split(self, theta: Floats) -> list[Floats]:
        """Return the unknowns of a fit with errors of the arm term by term."""
        return np.split(theta, np.cumsum([self.errors.count, *(len(term.parameters) for term in self.others)])[:-1])

    def covariance(self, reached: JointFit) -> Floats:
        """Return the (12 + k, 12 + k) covariance of camera, board and errors.

        The other unknowns and the noise levels add their doubt.
        """
        size = 12 + self.errors.count
        covariance = adjusted_covariance(reached.model, reached.variances, self.free)[:size, :size]
        return 0.5 * (covariance + covariance.T)


def believed(result: HandEyeResult) -> NDArray[np.bool_]:
    """Return which views (N,) are in a fit as they were given, without repair."""
    return np.array([view.used and not view.repair for view in result.views], dtype=np.bool_)


def log_evidence(reached: JointFit) -> float:
    """Return the log likelihood with the errors of the arm and the other unknowns integrated out (Laplace)."""
    information = reached.solution.information
    volumes = np.linalg.slogdet(information[:12, :12])[1] - np.linalg.slogdet(information)[1]
    return reached.log_likelihood + 0.5 * float(volumes + np.log(reached.model.prior).sum())
