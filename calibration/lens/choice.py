"""Which lens model: the simplest that predicts views it has not seen as well as the best does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.lens.fit import LensFit, fit_lens
from calibration.lens.terms import View, settle
from vision_ik.errors import CalibrationError
from vision_ik.types import Floats, LensModel

MODELS: tuple[tuple[LensModel, int], ...] = (("pinhole", 4), ("pinhole", 5), ("fisheye", 4), ("pinhole", 8))
"""Simplest first. A fisheye comes before eight coefficients: beyond the corners seen it strays less."""
_FOLDS = 10
_FOLD_ITERATIONS = 12
"""From the fit to all views, which is near."""
_STANDARD_ERRORS = 1.0
"""By which a simpler model may be worse (the one-standard-error rule; Breiman et al., 1984)."""
_FEW = 4
"""Views, of which a difference must be twice as clear."""
_SAME = 0.01
"""Relative difference of the squared error that is none in practice."""
_FLOOR = 1e-3
"""[px] Errors below are all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LensCandidate:
    """A model that was tried."""

    model: LensModel
    coefficients: int
    rms: float
    """[px] Over the views it was fitted to; NaN where it could not be fitted."""
    held_out_rms: float
    """[px] Over views it was not fitted to; NaN where it could not be fitted."""
    focal: float
    """[px] Along x."""
    chosen: bool
    reason: str
    """Why it was not chosen; empty for the chosen one."""

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.model}, {self.coefficients} coefficients"


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A fit, and how it predicts each view when fitted without it."""

    fit: LensFit
    held_out: Floats
    """(N,) [px^2] Mean squared distance of each view's corners."""

    @property
    def held_out_rms(self) -> float:
        """[px] Over all corners."""
        return float(np.sqrt(np.average(self.held_out, weights=self.fit.counts)))


def try_model(
    views: Sequence[View],
    image_size: tuple[int, int],
    model: LensModel,
    coefficients: int,
    rng: np.random.Generator,
    *,
    start: LensFit | None = None,
    bend: bool = False,
) -> Trial:
    """Fit a model to all views, and to all but a tenth of them ten times over.

    Raises:
        CalibrationError: The views, or nine tenths of them, do not determine the model.
    """
    fit = fit_lens(views, image_size, model, coefficients, start=start, bend=bend)
    n = len(views)
    squares = np.empty(n)
    for fold in np.array_split(rng.permutation(n), min(n, _FOLDS)):
        rest = [i for i in range(n) if i not in set(fold.tolist())]
        other = fit_lens(
            [views[i] for i in rest],
            image_size,
            model,
            coefficients,
            start=fit.part(rest),
            bend=bend,
            iterations=_FOLD_ITERATIONS,
        )
        for i in fold.tolist():
            _, squares[i] = settle(views[i], fit.poses[i], other.intrinsics, other.bend)
            squares[i] /= views[i].count
    return Trial(fit, squares)


def choose(
    views: Sequence[View],
    image_size: tuple[int, int],
    models: Sequence[tuple[LensModel, int]],
    *,
    seed: int,
    bend: bool = False,
) -> tuple[Trial, tuple[LensCandidate, ...]]:
    """Return the trial of the chosen model, and all candidates.

    Args:
        views: Prepared together.
        image_size: Width and height [px].
        models: Simplest first.
        seed: Of the folds, the same ones for all.
        bend: Also find how the board is bent.

    Raises:
        CalibrationError: No model can be fitted.
    """
    trials: dict[int, Trial] = {}
    failures: dict[int, CalibrationError] = {}
    for i, (model, coefficients) in enumerate(models):
        try:
            trials[i] = try_model(views, image_size, model, coefficients, np.random.default_rng(seed), bend=bend)
        except CalibrationError as error:
            failures[i] = error
    if not trials:
        raise failures[0]
    best = min(trials, key=lambda i: trials[i].held_out_rms)
    chosen = next(i for i in trials if i == best or not is_worse(trials[i].held_out, trials[best].held_out))
    candidates: list[LensCandidate] = []
    for i, (model, coefficients) in enumerate(models):
        trial = trials.get(i)
        if trial is None:
            reason = "these views do not determine it"
        elif i == chosen:
            reason = ""
        elif i < chosen or is_worse(trial.held_out, trials[chosen].held_out):
            reason = "it predicts unseen views worse"
        else:
            reason = "a simpler model predicts unseen views as well"
        candidates.append(
            LensCandidate(
                model=model,
                coefficients=coefficients,
                rms=np.nan if trial is None else _rms(trial.fit),
                held_out_rms=np.nan if trial is None else trial.held_out_rms,
                focal=np.nan if trial is None else float(trial.fit.intrinsics.K[0, 0]),
                chosen=i == chosen,
                reason=reason,
            )
        )
    return trials[chosen], tuple(candidates)


def is_worse(held_out: Floats, best: Floats, *, errors: float = _STANDARD_ERRORS, least: float = _SAME) -> bool:
    """Return whether held-out errors are worse than others of the same views by more than chance.

    Args:
        held_out: (N,) [px^2]
        best: (N,) [px^2]
        errors: Standard errors that are chance.
        least: Relative difference that counts.
    """
    ratio = np.log((held_out + _FLOOR**2) / (best + _FLOOR**2))
    n = len(ratio)
    error = float(ratio.std(ddof=1)) / np.sqrt(n)
    # Of a handful of views the scatter is hardly known, as Student's distribution says.
    return float(ratio.mean()) > max(errors * (1.0 + (_FEW / n) ** 2) * error, least)


def _rms(fit: LensFit) -> float:
    return float(np.sqrt(np.average(fit.view_rms**2, weights=fit.counts)))
