"""How sure a fitted lens is: from how the views disagree, not from how well each of them fits.

The corners of one view err together: its board is bent a little, it is a little out of focus, its
exposure smears all corners one way. Counting corners as independent, as OpenCV does, then gives
standard deviations several times too small. Here each view counts as one observation. At the
optimum its pull on the lens (score) is known; how far the pulls scatter gives the covariance
(cluster-robust sandwich; Liang & Zeger, 1986).

Few views make that covariance wrong in two ways. It is too small, because each view pulls the
optimum towards itself: its pull is divided by sqrt(1 - leverage), which makes the variance unbiased
(CR2; Bell & McCaffrey, 2002). And it is itself uncertain, all the more so for an unknown that few of
the views tell about: an error then exceeds it as often as Student's distribution says, with the
degrees of freedom by Satterthwaite's approximation (Bell & McCaffrey, section 4; Imbens & Kolesar,
2016). Each standard deviation is widened so that it holds the truth as often as one of a normal
distribution does.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, stdtrit

from calibration.lens.fit import LensFit
from vision_ik.types import Floats

_LEAST = 0.02
"""One minus leverage, at least: a view that alone fixes a direction leaves nothing to judge it by."""
_WITHIN = float(ndtr(1.0))
"""Probability that a normal error is not above its standard deviation."""


def honest_covariance(fit: LensFit) -> tuple[Floats, float]:
    """Return the covariance (q, q) of the shared unknowns, and by how much it exceeds OpenCV's in sigma.

    With few views the scatter of the pulls is itself uncertain, so it is drawn towards that of
    independent corners, scaled to the same size, by q / (n + q).
    """
    n, q = fit.scores.shape
    # In units in which all views together have the identity as their information.
    whiten = np.linalg.inv(np.linalg.cholesky(fit.information.sum(axis=0)))
    leverage = whiten @ fit.information @ whiten.T
    values, vectors = np.linalg.eigh(0.5 * (leverage + leverage.transpose(0, 2, 1)))
    correction = (vectors / np.sqrt(np.maximum(1.0 - values, _LEAST))[:, None, :]) @ vectors.transpose(0, 2, 1)
    pulls = np.einsum("nij,nj->ni", correction, fit.scores @ whiten.T)
    scatter = pulls.T @ pulls
    size = float(np.trace(scatter)) / q
    kept = n / (n + q)
    covariance = whiten.T @ (kept * scatter + (1.0 - kept) * size * np.eye(q)) @ whiten
    freedom = _degrees_of_freedom(leverage, correction, whiten / np.linalg.norm(whiten, axis=0))
    wider = stdtrit(freedom, _WITHIN)
    inflation = float(np.sqrt(size / fit.variance)) if fit.variance > 0.0 else 1.0
    return covariance * np.outer(wider, wider), inflation


def _degrees_of_freedom(leverage: Floats, correction: Floats, directions: Floats) -> Floats:
    """Return how well each unknown's variance is known, as that of so many independent normal errors is.

    Were the views' errors normal and of one size, the corrected pulls of views i and j would covary by
    -B_i B_j, where B = correction leverage, and those of one view by correction leverage correction - B B.
    An unknown's variance is a quadratic form of the pulls, whose mean and variance follow from that.
    That the scatter is drawn towards one that is the same in all directions makes it no better known
    here: views need not err alike about all unknowns.

    Args:
        leverage: (n, q, q) of each view.
        correction: (n, q, q) that its pull was multiplied by.
        directions: (q, q) Unit vectors, by columns, along which the pulls move each unknown.
    """
    drawn = correction @ leverage
    own = drawn @ correction - drawn @ drawn
    within = np.einsum("ap,nab,bp->np", directions, own, directions)
    along = drawn @ directions
    between = np.einsum("nap,nbp->pab", along, along)
    squares = (
        np.sum(between**2, axis=(1, 2)) - np.sum(np.sum(along**2, axis=1) ** 2, axis=0) + np.sum(within**2, axis=0)
    )
    return np.sum(within, axis=0) ** 2 / squares
