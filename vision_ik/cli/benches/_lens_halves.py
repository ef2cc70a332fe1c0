"""How far halves of a set of views lie apart, beside the uncertainty that is stated for the whole set.

Were each half of the views half of the knowledge, the difference of two halves would have four times
the variance of the whole set. Few views do not divide so: where those that tell most of the focal
length fall to one half, the other knows little. Views' errors being of one size, the variance of the
difference goes with A^-1 + B^-1, A and B being the halves' information, and that is at least
4 (A + B)^-1 whatever the halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from calibration import IntrinsicsResult
from calibration.lens.fit import LensFit, fit_lens
from calibration.lens.spread import honest_covariance
from calibration.lens.terms import View, prepare, terms
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats

_KNOWN_SPLITS = 20
"""Of each set with known truth: there are many sets."""


def spread_of_halves(
    views: Sequence[View], whole: LensFit, splits: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return how far fx of halves lie apart [px], and by what factor that is more than of halves that know half.

    The first is half of the difference's root mean square: were the factor 1, the whole set's standard
    deviation. Splits with a half that leaves the lens undetermined are passed over in both.
    """
    lens = whole.intrinsics
    of_whole = float(np.linalg.inv(whole.information.sum(axis=0))[0, 0])
    squares: list[float] = []
    factors: list[float] = []
    for _ in range(splits):
        order = rng.permutation(len(views)).tolist()
        halves = order[: len(views) // 2], order[len(views) // 2 :]
        try:
            first, second = (_fit([views[i] for i in rows], lens, start=whole.part(rows)) for rows in halves)
        except CalibrationError:
            continue
        of_halves = [float(np.linalg.inv(whole.information[rows].sum(axis=0))[0, 0]) for rows in halves]
        squares.append(float(first.parameters[0] - second.parameters[0]) ** 2)
        factors.append(sum(of_halves) / (4.0 * of_whole))
    return 0.5 * root(squares), float(np.sqrt(np.mean(factors)))


def _fit(views: Sequence[View], lens: CameraIntrinsics, *, start: LensFit | None = None) -> LensFit:
    return fit_lens(views, (lens.width, lens.height), lens.model, len(lens.distortion), start=start)


def known_halves(whole: IntrinsicsResult, sets: int) -> tuple[float, float, float, float, float, str]:
    """Return what halves tell of computed corners in the same poses, through a lens that is known.

    Returns:
        Root mean squares over the sets of the true error of fx and of the stated standard deviation [px],
        and of that, the halves' spread, and the spread divided by its factor over the true error; in words,
        how the stated over the divided spread of one set scatters.
    """
    lens, real = whole.intrinsics, prepare(whole.detections)
    poses = _fit(real, lens).poses
    nothing = np.empty(0)
    errors: list[float] = []
    variances: list[float] = []
    found: list[tuple[float, float]] = []
    for seed in range(sets):
        rng = np.random.default_rng((seed, 6))
        views: list[View] = []
        for view, pose in zip(real, poses, strict=True):
            blank = replace(view, pixels=np.zeros_like(view.pixels), weights=np.ones(view.count))
            uv = -terms(blank, pose, lens, nothing).residuals.reshape(-1, 2)
            views.append(replace(blank, pixels=uv + smear(view.points, rng)))
        fit = _fit(views, lens)
        errors.append(float(fit.parameters[0] - lens.K[0, 0]))
        variances.append(float(honest_covariance(fit)[0][0, 0]))
        found.append(spread_of_halves(views, fit, _KNOWN_SPLITS, rng))
    apart, geometry = np.array(found).T
    true, stated = root(np.square(errors)), root(variances)
    low, high = np.quantile(np.sqrt(variances) * geometry / apart, (0.05, 0.95))
    alone, right = root(np.square(apart)) / true, root(np.square(apart / geometry)) / true
    return true, stated, stated / true, alone, right, f"{low:.2f} to {high:.2f}"


def smear(points: Floats, rng: np.random.Generator) -> Floats:
    """Return errors (N, 2) [px] of which most is common to a view."""
    x, y = across(points)
    shapes = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])
    return (0.15 * rng.normal(size=(2, 6)) @ shapes).T + 0.1 * rng.normal(size=(len(points), 2))


def across(points: Floats) -> tuple[Floats, Floats]:
    """Return the points' places on the board, from -1 to 1 along its longer side."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y, _ = ((points - 0.5 * (low + high)) / (0.5 * (high - low).max())).T
    return x, y


def variance(result: IntrinsicsResult) -> float:
    """Return the stated variance of fx [px^2]."""
    covariance = result.intrinsics.covariance
    if covariance is None:
        raise CalibrationError("A calibration came without a covariance.", "This is a bug of vision-ik.")
    return float(covariance[0, 0])


def opencv(detections: Sequence[BoardDetection], ours: IntrinsicsResult) -> tuple[float, float]:
    """Return fx and its standard deviation by OpenCV, from the same corners and started at our lens."""
    lens = ours.intrinsics
    found = cv2.calibrateCameraExtended(
        [d.points_board.astype(np.float32) for d in detections],
        [d.points_image.astype(np.float32) for d in detections],
        (lens.width, lens.height),
        lens.K.copy(),
        lens.distortion.copy(),
        flags=cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_K3,
    )
    return float(found[1][0, 0]), float(np.ravel(found[5])[0])


def root(squares: Floats | Sequence[float]) -> float:
    """Return the root of the mean."""
    return float(np.sqrt(np.mean(squares)))
