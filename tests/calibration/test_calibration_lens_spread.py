"""How sure a fitted lens is said to be, where the views' errors follow a law that is known."""

from __future__ import annotations

import numpy as np
import pytest
from calibration_stage import LENS

from calibration.lens.fit import LensFit
from calibration.lens.spread import honest_covariance
from vision_ik.types import Floats

_SETS = 800


def fit_of(pulls: Floats, information: Floats) -> tuple[LensFit, Floats]:
    """Return a linear fit of views with these pulls (n, q) at the truth, and its error (q,)."""
    error = np.linalg.solve(information.sum(axis=0), pulls.sum(axis=0))
    n = len(pulls)
    return LensFit(
        LENS, np.empty(0), np.zeros((n, 6)), pulls - information @ error, information, 1.0, np.ones(n), np.ones(n)
    ), error


def unequal_views(n: int, q: int, rng: np.random.Generator) -> Floats:
    """Return the information (n, q, q) of views of which a few tell most."""
    factors = rng.normal(size=(n, q, q)) * np.exp(0.8 * rng.normal(size=(n, 1, 1)))
    return factors @ factors.transpose(0, 2, 1)


@pytest.mark.parametrize(("n", "q"), [(6, 3), (8, 8), (15, 8)])
def test_one_standard_deviation_holds_the_truth_in_68_of_100_or_little_more_however_few_the_views(
    n: int, q: int, rng: np.random.Generator
) -> None:
    information = unequal_views(n, q, rng)
    roots = np.linalg.cholesky(information)
    within = np.zeros(q)
    for _ in range(_SETS):
        fit, error = fit_of(2.0 * np.einsum("nij,nj->ni", roots, rng.normal(size=(n, q))), information)
        covariance, _ = honest_covariance(fit)
        within += error**2 < np.diag(covariance)
    assert 0.67 < within.mean() / _SETS < 0.76
    assert within.min() / _SETS > 0.63
    assert within.max() / _SETS < 0.8


def test_what_one_view_alone_tells_is_stated_with_a_wide_margin(rng: np.random.Generator) -> None:
    """Nothing disagrees with that view: that it pulls little is no sign of being right."""
    information = np.tile(np.diag([1.0, 1.0]), (12, 1, 1))
    information[0, 0, 0] = 60.0
    ratios: list[Floats] = []
    for _ in range(300):
        pulls = rng.normal(size=(12, 2)) * np.sqrt(np.diagonal(information, axis1=1, axis2=2))
        covariance, _ = honest_covariance(fit_of(pulls, information)[0])
        ratios.append(np.sqrt(np.diag(covariance) * np.diag(information.sum(axis=0))))
    alone, shared = np.mean(ratios, axis=0)
    assert 1.1 < alone / shared < 1.8


def test_views_that_disagree_as_independent_corners_do_are_not_inflated(rng: np.random.Generator) -> None:
    information = unequal_views(15, 8, rng)
    roots = np.linalg.cholesky(information)
    inflations = [
        honest_covariance(fit_of(np.einsum("nij,nj->ni", roots, rng.normal(size=(15, 8))), information)[0])[1]
        for _ in range(300)
    ]
    assert np.mean(np.square(inflations)) == pytest.approx(1.0, abs=0.05)
