"""Which views belong together: start by consensus, fit, judge each view by the others, repeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, f

from calibration import batch
from calibration.hand_eye import checks
from calibration.hand_eye.causes import Remark
from calibration.hand_eye.chain import ChainState, arm_poses
from calibration.hand_eye.consensus import Start, find_start
from calibration.hand_eye.evidence import Evidence
from calibration.hand_eye.held_out import Verdicts, judge, middle
from calibration.hand_eye.joint_fit import JointFit, fit
from calibration.hand_eye.noise_levels import Variances
from calibration.hand_eye.terms import NO_TERMS, Term, TermStack
from calibration.systematics.selection import select
from calibration.systematics.sentences import systematics
from calibration.systematics.standing_out import Case
from calibration.systematics.systematic import Systematic
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.types import Floats

_OUTLIER_PROBABILITY = 1e-4
"""Chance that a good view is left out by its chi-square."""
_SPENT = 26
"""Numbers, of the six that each view gives, spent on mount, holder, the judged view itself and the noise levels."""
_BLURRED_RATIO = 6.0
"""A view whose corners scatter this many times the median (in sigma) is no good picture of this board."""
_BLURRED_FLOOR = 0.5
"""[px] Scatter below which no view is blamed."""
_LEAST_AGREEING = 0.5
"""Share of the views that must agree: below it nothing tells which of them are right."""
_FEWEST_TO_JUDGE = 5
"""With fewer views, any of them could be the one that is wrong: none is left out."""
_WHAT_TO_CHECK = (
    "Check that pictures and poses are paired, that the board sat firmly, the board's dimensions, who carries the "
    "camera (the mount), that poses are those of the flange in the base and not the inverse, and how their rotations "
    "were written (the order of Euler angles, about fixed or moving axes; the order of a quaternion)."
)
_LARGEST_ARM = (50e-3, float(np.deg2rad(5.0)))
"""[m], [rad] Noise no arm has: the chain is not the one that was told."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Settled:
    """A fit, and the views that agree with it."""

    reached: JointFit
    verdicts: Verdicts
    terms: TermStack
    """Further unknowns of the fit, for all views."""
    systematics: tuple[Systematic, ...]
    """What was looked for beside them."""
    used: NDArray[np.bool_]
    """(N,) views in the fit."""
    usable: NDArray[np.bool_]
    """(N,) views that could have been."""
    sharp: float
    """[px] Scatter of corners from which a view's are far worse than others'."""
    warnings: tuple[str, ...]
    """About the motion."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Problem:
    """Views made ready for the fit."""

    flanges: Floats
    """(N, 4, 4) Ts_base_flange as reported."""
    mount: Mount
    names: list[str]
    evidence: Evidence
    candidates: Floats
    """(N, 2, 4, 4) poses T_camera_board that each view's corners allow, best first; NaN where there is none."""
    start: Variances
    free: tuple[bool, bool, bool]
    """Which of the noise levels (pixel, arm translation, arm rotation) to estimate."""
    rng: np.random.Generator
    terms: TermStack = NO_TERMS
    """Further unknowns, for all views."""
    asked: tuple[Term, ...] = ()
    """More of them, that take part only where the views ask for them."""
    counted: tuple[Term, ...] = ()
    """And those of which the priors are what is known: they take part at the end, so that the result counts them."""

    def settle(
        self,
        excluded: Mapping[int, Remark],
        *,
        least_agreeing: float = _LEAST_AGREEING,
        core: bool = False,
        start: Start | None = None,
    ) -> Settled:
        """Fit without the views in ``excluded`` and those that contradict the rest.

        Args:
            excluded: Views that take no part.
            least_agreeing: Share of the views that must agree.
            core: Fit the views of the closed-form consensus alone, for others to be judged by.
            start: Where to begin, and which of the views that take part agree there; None looks for it.

        Raises:
            CalibrationError: Too few views, too little motion, or no agreement among the views: then its facts
                hold ``agreeing`` or ``arm_noise``.
        """
        usable = np.array([i not in excluded for i in range(len(self.names))], dtype=bool)
        checks.check_units(self.flanges)
        warnings = checks.check_motion(self.flanges[usable], lambda: self._predicted(usable))
        start = self._start(usable) if start is None else start
        used = usable.copy()
        used[usable] = start.agree | (len(start.agree) < _FEWEST_TO_JUDGE)
        self._check_agreement(used, usable, least_agreeing)
        reached, verdicts, used = self._settle(used, used if core else usable, start.X, start.Y, least_agreeing)
        arm, turn = (float(np.sqrt(v)) for v in (reached.variances.translation, reached.variances.rotation))
        if arm > _LARGEST_ARM[0] or turn > _LARGEST_ARM[1]:
            raise CalibrationError(
                f"The views fit only if the arm is off by {arm * 1e3:.0f} mm and {np.rad2deg(turn):.0f} deg in each.",
                _WHAT_TO_CHECK,
                arm_noise=arm,
            )
        if (used != usable).any():
            warnings = checks.check_motion(self.flanges[used])
        return Settled(
            reached=reached,
            verdicts=verdicts,
            terms=self.terms,
            systematics=(),
            used=used,
            usable=usable,
            sharp=_sharp(verdicts, used),
            warnings=tuple(warnings),
        )

    def ask(self, settled: Settled, *, least_agreeing: float = _LEAST_AGREEING) -> Settled:
        """Return the fit with those of the ``asked`` terms that the views want, and with all ``counted`` ones.

        Args:
            settled: The fit without them, of views that belong together.
            least_agreeing: Share of the views that must agree.
        """
        if not self.asked or settled.used.sum() <= _FEWEST_TO_JUDGE:
            return self._with_counted(settled)
        warnings = settled.warnings
        try:
            reached, verdicts, used, terms, found = self._ask(
                settled.reached, settled.verdicts, settled.used, settled.usable, least_agreeing
            )
            if (used != settled.used).any():
                warnings = tuple(checks.check_motion(self.flanges[used]))
        except (CalibrationError, np.linalg.LinAlgError):
            # What stands without them stands: a further unknown must not spoil it.
            return self._with_counted(settled)
        asked = replace(
            settled,
            reached=reached,
            verdicts=verdicts,
            terms=terms,
            systematics=found,
            used=used,
            sharp=_sharp(verdicts, used),
            warnings=warnings,
        )
        return self._with_counted(asked)

    def _with_counted(self, settled: Settled) -> Settled:
        """Return the fit with the ``counted`` terms that are not in it yet."""
        there = {term.name for term in settled.terms.terms}
        missing = [term for term in self.counted if term.name not in there]
        if not missing:
            return settled
        terms, reached = TermStack([*settled.terms.terms, *missing]), settled.reached
        theta = np.concatenate([reached.theta, np.zeros(terms.count - len(reached.theta))])
        wider = replace(self, terms=terms)
        reached = wider._fit(settled.used, reached.state.X, reached.state.Y, theta, reached.variances)
        return replace(settled, reached=reached, verdicts=wider._judge(reached, settled.used), terms=terms)

    def _predicted(self, usable: NDArray[np.bool_]) -> float:
        """Return how well the views would tell the camera's position [m] at the noise that the fit starts from."""
        start = self._start(usable)
        still = ChainState(start.X, start.Y, np.eye(4)[None])
        spread = self.evidence.select(usable).linearise(self.candidates[usable, 0]).covariance
        return checks.predicted_sigma(still, self.flanges[usable], self.mount, spread, self.start)

    def _ask(
        self,
        reached: JointFit,
        verdicts: Verdicts,
        used: NDArray[np.bool_],
        usable: NDArray[np.bool_],
        least_agreeing: float,
    ) -> tuple[JointFit, Verdicts, NDArray[np.bool_], TermStack, tuple[Systematic, ...]]:
        """Return the fit with the asked terms that the views want, those views, all terms, and what was found."""
        for last in (False, True):
            case = Case(
                evidence=self.evidence.select(used),
                flanges=self.flanges[used],
                mount=self.mount,
                free=self.free,
                base=self.terms.select(used),
            )
            candidates = [term.select(used) for term in self.asked]
            selection = select(case, reached, candidates)
            found = systematics(case, candidates, selection)
            best = selection.reached
            if best is reached:
                break
            terms = TermStack([*self.terms.terms, *selection.terms(self.asked)])
            wider, before = replace(self, terms=terms, start=best.variances), used
            best, verdicts, used = wider._settle(used, usable, best.state.X, best.state.Y, least_agreeing, best.theta)
            if last or (used == before).all():
                return best, verdicts, used, terms, found
            # Views that only seemed wrong are back: they may ask for more, or less.
            start = replace(best.variances, shared=self.start.shared)
            reached = self._fit(used, best.state.X, best.state.Y, best.theta[: self.terms.count], start)
            verdicts = self._judge(reached, used)
        return reached, verdicts, used, self.terms, found

    def _start(self, usable: NDArray[np.bool_]) -> Start:
        """Return closed-form X and Y and which usable views agree, mirrored board poses resolved."""
        candidates, evidence = self.candidates[usable], self.evidence.select(usable)
        terms = self.terms.select(usable)
        arms = arm_poses(terms.flanges(self.flanges[usable], np.zeros(terms.count)), self.mount)
        spreads = np.full((*candidates.shape[:2], 6, 6), np.nan)
        for k in range(candidates.shape[1]):
            known = batch.posed(candidates[:, k])
            if known.any():
                seen = evidence.select(known).linearise(candidates[known, k])
                spreads[known, k] = self.start.sight * seen.covariance
        return find_start(arms, candidates, spreads, evidence.centres, self.rng)

    def _settle(
        self,
        used: NDArray[np.bool_],
        usable: NDArray[np.bool_],
        X: Floats,
        Y: Floats,
        least_agreeing: float,
        theta: Floats | None = None,
    ) -> tuple[JointFit, Verdicts, NDArray[np.bool_]]:
        """Fit and judge every view by the others, until the set of used views stands."""
        variances = self.start
        theta = np.zeros(self.terms.count) if theta is None else theta
        tried: set[bytes] = set()
        while True:
            reached = self._fit(used, X, Y, theta, variances)
            X, Y, variances, theta = reached.state.X, reached.state.Y, reached.variances, reached.theta
            verdicts = self._judge(reached, used)
            agreeing = usable & ~self._contradicts(verdicts, used)
            tried.add(used.tobytes())
            if (used & ~agreeing).any():
                # One at a time, the worst first, so that no good view is blamed for a bad one.
                proposal = used.copy()
                proposal[np.argmax(np.where(used & ~agreeing, verdicts.chi_square, -np.inf))] = False
            else:
                proposal = agreeing
            if proposal.tobytes() in tried:
                return reached, verdicts, used
            used = proposal
            self._check_agreement(used, usable, least_agreeing)

    def _fit(self, used: NDArray[np.bool_], X: Floats, Y: Floats, theta: Floats, start: Variances) -> JointFit:
        try:
            return fit(
                self.evidence.select(used),
                self.flanges[used],
                self.mount,
                X=X,
                Y=Y,
                start=start,
                free=self.free,
                terms=self.terms.select(used),
                theta=theta,
            )
        except np.linalg.LinAlgError as error:
            # Views that are far from agreeing drive the fit to where nothing is told.
            raise CalibrationError(
                f"The {int(used.sum())} views do not agree with each other in any place of the camera.",
                _WHAT_TO_CHECK,
                agreeing=[],
            ) from error

    def _judge(self, reached: JointFit, used: NDArray[np.bool_]) -> Verdicts:
        return judge(reached, self.evidence, self.flanges, self.mount, self.candidates, used, self.terms)

    def _contradicts(self, verdicts: Verdicts, used: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which views (N,) do not belong; views nothing can be said about do."""
        if self.free[1]:
            # Levels estimated from few views are uncertain themselves: Fisher's F for the chi-square.
            limit = 6.0 * float(f.isf(_OUTLIER_PROBABILITY, 6, max(6 * int(used.sum()) - _SPENT, 2)))
        else:
            # Given levels may be too small for every view; that is said, not blamed on single views.
            scale = max(1.0, middle(verdicts.chi_square[used]) / float(chi2.median(6)))
            limit = scale * float(chi2.isf(_OUTLIER_PROBABILITY, 6))
        if used.sum() < _FEWEST_TO_JUDGE:
            # Noise found in so few views may be far too small: only gross errors stay out.
            return ~used & (verdicts.chi_square > limit)
        return (verdicts.chi_square > limit) | (verdicts.scatter > _sharp(verdicts, used))

    def _check_agreement(self, used: NDArray[np.bool_], usable: NDArray[np.bool_], least: float) -> None:
        if used.sum() < max(checks.MIN_VIEWS, least * usable.sum()):
            raise CalibrationError(
                f"Only {int(used.sum())} of {int(usable.sum())} views agree with each other.",
                _WHAT_TO_CHECK,
                agreeing=[self.names[i] for i in np.flatnonzero(used)],
            )
        checks.check_motion(self.flanges[used])


def _sharp(verdicts: Verdicts, used: NDArray[np.bool_]) -> float:
    """Return the scatter [px] from which corners are far worse than those of the ``used`` views."""
    return max(_BLURRED_FLOOR, _BLURRED_RATIO * middle(verdicts.scatter[used]))
