"""What the lens does: intrinsics from views of a flat board, with an uncertainty that holds.

OpenCV finds the optimum; its standard deviations come out two to three times too small on real
pictures, because the corners of a view err together. Here the shape of the covariance comes from
the Jacobian and its size from how far calibrations of random halves of the views lie apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration import checks
from calibration.lens_fit import LensFit, calibrate_lens, held_out_residuals
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, LensModel

_FEWEST_VIEWS = 4
_HALVINGS = 6
"""Random splits of the views into halves; each gives one sample per parameter."""
_GRID = (8, 6)
"""Cells of the picture whose share with corners in them is the coverage."""
_GOOD_COVERAGE = 0.6
_GOOD_VIEWS = 10
_SAME_PX = 1.0
"""Views whose common corners moved less on average are the same picture twice."""
_BLURRED_RATIO = 3.0
"""Views whose residual is this many times the median (and above the floor below) are left out."""
_BLURRED_FLOOR = 0.5
"""[px]"""
_LARGEST_FOCAL_SIGMA = 0.05
"""Relative; beyond, the views say nothing useful about the focal length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LensView:
    """How one view fits the lens."""

    used: bool
    reason: str
    """Why it was left out; empty when used."""
    rms: float
    """[px] Root mean square distance between corners and their projection; NaN when left out before the fit."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntrinsicsResult:
    """A lens, how sure it is, and what it was computed from."""

    intrinsics: CameraIntrinsics
    """With the covariance of (fx, fy, cx, cy, distortion...)."""
    rms: float
    """[px] Over the used views."""
    held_out_rms: float
    """[px] Over views the lens was not computed from: each half of the views judges the other's lens."""
    inflation: float
    """By how much the spread between halves exceeds what independent corner noise explains (in sigma)."""
    coverage: float
    """Share of the picture, in cells of an 8x6 grid, with corners in it."""
    views: tuple[LensView, ...]
    warnings: tuple[str, ...] = ()

    @property
    def focal_sigma(self) -> float:
        """Standard deviation of the focal length [px], the larger of both axes."""
        covariance = self.intrinsics.covariance
        return float("nan") if covariance is None else float(np.sqrt(max(covariance[0, 0], covariance[1, 1])))

    @property
    def centre_sigma(self) -> float:
        """Standard deviation of the principal point [px], the larger of both axes."""
        covariance = self.intrinsics.covariance
        return float("nan") if covariance is None else float(np.sqrt(max(covariance[2, 2], covariance[3, 3])))


def calibrate_intrinsics(
    detections: Sequence[BoardDetection],
    *,
    image_size: tuple[int, int],
    model: LensModel = "pinhole",
    coefficients: int = 5,
    seed: int = 0,
) -> IntrinsicsResult:
    """Compute the intrinsics of a camera from views of one flat board.

    Good views show the board large, tilted by 20 to 45 degrees in several directions, and
    together reach into all corners of the picture.

    Args:
        detections: One per picture, at least 4; 15 or more are good.
        image_size: Width and height [px].
        model: "pinhole" or "fisheye" (equidistant, 4 coefficients).
        coefficients: Distortion coefficients of a pinhole lens: 4, 5 or 8.
        seed: Of the random halves.

    Raises:
        CalibrationError: Too few views, corners outside the picture, or views that leave the focal
            length undetermined.
    """
    if model == "pinhole" and coefficients not in (4, 5, 8):
        raise ValueError(f"A pinhole lens is calibrated with 4, 5 or 8 coefficients, not {coefficients}.")
    for i, detection in enumerate(detections):
        _check(detection, str(i), image_size)
    reasons = _repeated(detections)
    used = [i for i in range(len(detections)) if i not in reasons]
    _check_count(len(used), len(detections))

    reached = calibrate_lens([detections[i] for i in used], image_size, model, coefficients)
    limit = max(_BLURRED_FLOOR, _BLURRED_RATIO * float(np.median(reached.view_rms)))
    blurred = {i: float(rms) for i, rms in zip(used, reached.view_rms, strict=True) if rms > limit}
    if blurred:
        reasons |= {
            i: f"its corners miss the lens by {rms:.2f} px (others {limit / 3:.2f} px)" for i, rms in blurred.items()
        }
        used = [i for i in used if i not in blurred]
        _check_count(len(used), len(detections))
        reached = calibrate_lens([detections[i] for i in used], image_size, model, coefficients)
    covariance, inflation, held_out = _honest(detections, used, reached, image_size, model, coefficients, seed)
    intrinsics = replace(reached.intrinsics, covariance=covariance)
    coverage = _coverage([detections[i] for i in used], image_size)
    warnings = [f"View {i} was left out: {reason}." for i, reason in sorted(reasons.items())]
    rms = dict(zip(used, reached.view_rms.tolist(), strict=True))
    result = IntrinsicsResult(
        intrinsics=intrinsics,
        rms=float(np.sqrt(np.average(reached.view_rms**2, weights=reached.counts))),
        held_out_rms=held_out,
        inflation=inflation,
        coverage=coverage,
        views=tuple(
            LensView(used=i in rms, reason=reasons.get(i, ""), rms=float(rms.get(i, blurred.get(i, np.nan))))
            for i in range(len(detections))
        ),
        warnings=(*warnings, *_advice(len(used), coverage)),
    )
    _check_focal(result, len(used))
    return result


def _honest(
    detections: Sequence[BoardDetection],
    used: list[int],
    reached: LensFit,
    image_size: tuple[int, int],
    model: LensModel,
    coefficients: int,
    seed: int,
) -> tuple[Floats, float, float]:
    """Return the covariance with its size from half-splits, the factor applied, and the held-out RMS [px].

    Two halves of the views are independent; if each parameter vector has covariance 2 C, their
    difference d has 4 C, and d^T C^-1 d / (4 p) estimates how much too small C is.
    """
    rng = np.random.default_rng(seed)
    ratios: list[float] = []
    residuals: list[Floats] = []
    for _ in range(_HALVINGS):
        order = rng.permutation(used)
        halves = [order[: len(order) // 2].tolist(), order[len(order) // 2 :].tolist()]
        try:
            first, second = (
                calibrate_lens([detections[i] for i in half], image_size, model, coefficients, start=reached.intrinsics)
                for half in halves
            )
        except CalibrationError:
            continue  # halves of a few views may be singular: they tell nothing
        difference = first.parameters - second.parameters
        ratios.append(float(difference @ np.linalg.solve(reached.covariance, difference)) / (4.0 * len(difference)))
        for fitted, other in ((first, halves[1]), (second, halves[0])):
            residuals += [held_out_residuals(detections[i], fitted.intrinsics) for i in other]
    if not ratios:
        raise CalibrationError(
            f"Halves of these {len(used)} views do not determine the lens: its uncertainty cannot be told.",
            "Add views with the board tilted in several directions, in all parts of the picture.",
        )
    # The median: one half without tilt would swamp a mean.
    factor = max(1.0, float(np.median(ratios)))
    held_out = float(np.sqrt(np.mean(np.concatenate(residuals))))
    return reached.covariance * factor, float(np.sqrt(factor)), held_out


def _check(detection: BoardDetection, name: str, image_size: tuple[int, int]) -> None:
    checks.check_detection(detection, name)
    if float(np.ptp(detection.points_board[:, 2])) > 1e-9:
        raise CalibrationError(
            f"The board of view {name} is not flat.", "Calibrate the lens with a flat board (z = 0)."
        )
    low, high = detection.points_image.min(axis=0), detection.points_image.max(axis=0)
    if (low < -1.0).any() or (high > np.array(image_size)).any():
        size = f"{image_size[0]}x{image_size[1]}"
        raise CalibrationError(
            f"View {name} has corners at {high.round().tolist()} px, outside a picture of {size}.",
            "Give the size of the pictures the corners were found in.",
            view=name,
        )


def _check_count(used: int, given: int) -> None:
    if used < _FEWEST_VIEWS:
        raise CalibrationError(
            f"Only {used} of {given} views can be used; a lens calibration needs at least {_FEWEST_VIEWS}.",
            "Take 15 or more, with the board tilted, in all parts of the picture.",
            used=used,
        )


def _check_focal(result: IntrinsicsResult, used: int) -> None:
    relative = result.focal_sigma / float(result.intrinsics.K[0, 0])
    if not relative < _LARGEST_FOCAL_SIGMA:
        raise CalibrationError(
            f"These {used} views leave the focal length uncertain by {relative:.0%}.",
            "Add views with the board tilted by 20 to 45 degrees in several directions.",
            relative_sigma=relative,
        )


def _repeated(detections: Sequence[BoardDetection]) -> dict[int, str]:
    """Return the views that show the board where an earlier one does."""
    reasons: dict[int, str] = {}
    for i, later in enumerate(detections):
        for j in range(i):
            earlier = detections[j]
            same_points = later.points_board.shape == earlier.points_board.shape and np.allclose(
                later.points_board, earlier.points_board
            )
            if j not in reasons and same_points:
                moved = np.linalg.norm(later.points_image - earlier.points_image, axis=1).mean()
                if moved < _SAME_PX:
                    reasons[i] = f"it repeats view {j}"
                    break
    return reasons


def _coverage(detections: Sequence[BoardDetection], image_size: tuple[int, int]) -> float:
    points = np.concatenate([d.points_image for d in detections])
    cells = np.floor(points / np.array(image_size) * np.array(_GRID)).astype(np.int64)
    cells = np.clip(cells, 0, np.array(_GRID) - 1)
    return len(np.unique(cells, axis=0)) / float(_GRID[0] * _GRID[1])


def _advice(views: int, coverage: float) -> list[str]:
    advice: list[str] = []
    if views < _GOOD_VIEWS:
        advice.append(f"Only {views} views: 15 or more give a surer lens.")
    if coverage < _GOOD_COVERAGE:
        advice.append(f"Corners cover {coverage:.0%} of the picture: distortion beyond is extrapolated.")
    return advice
