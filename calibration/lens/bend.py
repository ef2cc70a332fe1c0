"""Whether the board is bent: taken into account where the views clearly tell, counted as doubt where they hint at it.

A bend of a tenth of a millimetre moves the focal length by more than the views' noise does. What
explains the views a little better may be the bend, or errors of the corners that look like one; so
a bend that only may be there is no reason to move the lens, but one to be less sure of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.lens.choice import LensCandidate, Trial, choose, is_worse, try_model
from calibration.lens.fit import LensFit
from calibration.lens.terms import View
from vision_ik.errors import CalibrationError
from vision_ik.types import Floats, LensModel

_CLEARLY = 3.0
"""Standard errors by which a clear bend makes unseen views better predicted."""
_CLEAR_GAIN = 0.1
"""Share of the squared held-out error that it takes away: errors that views share do not average out."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BendChoice:
    """A lens with the board bent or flat, and what the other would change."""

    trial: Trial
    candidates: tuple[LensCandidate, ...]
    """All of them with the same board."""
    other: LensFit | None = None
    """The same model with the board flat where it is bent, or bent where that may be so; else None."""

    @property
    def shift(self) -> Floats:
        """(p,) from the lens to that of the other fit."""
        own = self.trial.fit.parameters
        return np.zeros(len(own)) if self.other is None else self.other.parameters - own

    def doubted(self, covariance: Floats) -> Floats:
        """Return a covariance (q, q) of the shared unknowns with the doubt whether a flat board is bent."""
        if self.other is None or len(self.trial.fit.bend):
            return covariance
        return covariance + np.outer(self.shift, self.shift)


def choose_bend(
    views: Sequence[View],
    image_size: tuple[int, int],
    models: Sequence[tuple[LensModel, int]],
    *,
    bend: bool | None,
    seed: int,
) -> BendChoice:
    """Return the lens of the model and board that predict unseen views.

    Args:
        views: Prepared together.
        image_size: Width and height [px].
        models: Simplest first.
        bend: Whether the board is bent; None to find out.
        seed: Of the views' division for held-out errors.

    Raises:
        CalibrationError: No model can be fitted.
    """
    if bend:
        trial, candidates = choose(views, image_size, models, seed=seed, bend=True)
        return BendChoice(trial=trial, candidates=candidates)
    flat, candidates = choose(views, image_size, models, seed=seed)
    if bend is False:
        return BendChoice(trial=flat, candidates=candidates)
    lens = flat.fit.intrinsics
    kind: tuple[LensModel, int] = (lens.model, len(lens.distortion))
    try:
        rng = np.random.default_rng(seed)
        bent = try_model(views, image_size, *kind, rng, start=flat.fit, bend=True)
    except CalibrationError:  # too few views to tell
        return BendChoice(trial=flat, candidates=candidates)
    if not is_worse(flat.held_out, bent.held_out):
        return BendChoice(trial=flat, candidates=candidates)
    if not is_worse(flat.held_out, bent.held_out, errors=_CLEARLY, least=_CLEAR_GAIN):
        return BendChoice(trial=flat, candidates=candidates, other=bent.fit)
    trial, candidates = choose(views, image_size, models, seed=seed, bend=True)
    chosen = trial.fit.intrinsics
    # Without the bend another model may have been the best: then there is nothing to compare with.
    same = (chosen.model, len(chosen.distortion)) == kind
    return BendChoice(trial=trial, candidates=candidates, other=flat.fit if same else None)
