"""What the lens does: intrinsics from views of a flat board, with an uncertainty that holds.

OpenCV finds the optimum of a model that is given; its standard deviations come out several times too
small on real pictures, because the corners of a view err together. Here the model is chosen by how
well it predicts views it has not seen (:mod:`calibration.lens.choice`), and the uncertainty comes
from how far the views disagree (:mod:`calibration.lens.spread`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from calibration.lens import views as lens_views
from calibration.lens.advice import NextView, advise, picture_sigma, region_name
from calibration.lens.bend import BendChoice, choose_bend
from calibration.lens.choice import MODELS, LensCandidate
from calibration.lens.fit import LensFit, fit_lens
from calibration.lens.spread import honest_covariance
from calibration.lens.terms import View, prepare
from calibration.lens.views import LensView
from vision_ik.errors import CalibrationError
from vision_ik.types import BoardDetection, CameraIntrinsics, Floats, LensModel

LensChoice: TypeAlias = LensModel | Literal["auto"]
_FEWEST_VIEWS = 4
_GOOD_COVERAGE = 0.6
_GOOD_VIEWS = 10
_GOOD_TILT = np.deg2rad(20.0)
_GOOD_TILTED = 3
"""Views that should be tilted by more."""
_LARGEST_FOCAL_SIGMA = 0.05
"""Relative; beyond, the views say nothing useful about the focal length."""
_BENT = 2e-3
"""Bend over the board's half length from which it is worth a word."""
_ROUNDS = 3
"""Of leaving out views that miss the lens."""
_ADVISED = 3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntrinsicsResult:
    """A lens, how sure it is, and what it was computed from."""

    intrinsics: CameraIntrinsics
    """With the covariance of (fx, fy, cx, cy, distortion...)."""
    rms: float
    """[px] Over the used views."""
    held_out_rms: float
    """[px] Over views the lens was not computed from: it is fitted ten times to nine tenths of them."""
    inflation: float
    """By how much the spread between views exceeds what independent corner noise explains (in sigma)."""
    picture_sigma: float
    """[px] Uncertainty of where the lens puts a ray, root mean square over the whole picture."""
    candidates: tuple[LensCandidate, ...]
    """The models that were tried, simplest first."""
    board_bend: Floats
    """(3,) [m] Height of the board's middle line ends (xx), diagonal (xy) and upright line ends (yy); 0 when flat."""
    coverage: float
    """Share of the picture, in cells of an 8x6 grid, with corners in it."""
    coverage_map: Floats
    """(6, 8) corners in each cell of the picture, by rows from the top."""
    views: tuple[LensView, ...]
    detections: tuple[BoardDetection, ...]
    """The used views, misread corners left out."""
    residuals: Floats
    """(M, 4) [px] Corner in the picture and its distance from the projection (u, v, du, dv), of the used views."""
    next_views: tuple[NextView, ...]
    """What to show next, most useful first."""
    warnings: tuple[str, ...] = ()

    @property
    def focal_sigma(self) -> float:
        """Standard deviation of the focal length [px], the larger of both axes."""
        covariance = self.intrinsics.covariance
        return float("nan") if covariance is None else float(np.sqrt(max(covariance[0, 0], covariance[1, 1])))

    @property
    def tilts_deg(self) -> Floats:
        """Tilt (N,) of each used view [deg]."""
        return np.array([view.tilt_deg for view in self.views if view.used])


def calibrate_intrinsics(
    detections: Sequence[BoardDetection],
    *,
    image_size: tuple[int, int],
    model: LensChoice = "pinhole",
    coefficients: int = 5,
    bend: bool | None = None,
    names: Sequence[str] | None = None,
    edges_px: Sequence[float] | None = None,
    seed: int = 0,
) -> IntrinsicsResult:
    """Compute the intrinsics of a camera from views of one flat board.

    Good views show the board large, tilted by 20 to 45 degrees in several directions, and
    together reach into all corners of the picture.

    Mirrored pictures fit a lens as well as true ones, with the principal point mirrored. Points alone
    do not tell, for a board may have its y axis up or down: :func:`vision_ik.tags.detect_board` refuses
    them by the markers it reads, and a chessboard, which has none, is taken as it looks.

    Args:
        detections: One per picture, at least 4; 15 or more are good.
        image_size: Width and height [px].
        model: "pinhole", "fisheye" (equidistant, 4 coefficients), or "auto": the simplest of pinhole with
            4, 5 and 8 coefficients and fisheye that predicts unseen views as well as the best of them.
        coefficients: Distortion coefficients where the model is "pinhole": 4, 5 or 8.
        bend: Whether to find how the board is bent, too; None does where it predicts unseen views clearly
            better. Where it does so by little, the lens is that of a flat board, and what the bend would
            change counts as uncertainty.
        names: Of the views, for what is said about them; their numbers when None.
        edges_px: Width of the print's edges in each view, from :func:`calibration.edge_width`; blurred views
            are then left out before the fit.
        seed: Of the views' division for held-out errors.

    Raises:
        CalibrationError: Too few views, corners outside the picture, or views that leave the focal
            length undetermined.
    """
    if model == "pinhole" and coefficients not in (4, 5, 8):
        raise ValueError(f"A pinhole lens is calibrated with 4, 5 or 8 coefficients, not {coefficients}.")
    called = [str(i) for i in range(len(detections))] if names is None else list(names)
    widths = [float("nan")] * len(detections) if edges_px is None else list(edges_px)
    if not len(called) == len(widths) == len(detections):
        raise ValueError(f"{len(detections)} views need as many names and edge widths.")
    for detection, name in zip(detections, called, strict=True):
        lens_views.check(detection, name, image_size)
    models: Sequence[tuple[LensModel, int]] = MODELS
    if model != "auto":
        models = [(model, 4 if model == "fisheye" else coefficients)]
    chosen = _Selection(detections, called, widths, image_size, models)
    return _result(chosen, image_size, choose_bend(chosen.views, image_size, models, bend=bend, seed=seed))


class _Selection:
    """The views worth fitting a lens to, and why the others are not."""

    def __init__(
        self,
        detections: Sequence[BoardDetection],
        names: Sequence[str],
        edges_px: Sequence[float],
        image_size: tuple[int, int],
        models: Sequence[tuple[LensModel, int]],
    ) -> None:
        self.names, self.edges_px = names, edges_px
        self.reasons = lens_views.repeated(detections, names)
        self.reasons |= lens_views.blurred(edges_px)
        self.rms: dict[int, float] = {}
        self.dropped: dict[int, int] = {}
        self.detections = list(detections)
        self._leave_out_misfits(image_size, models)
        self.views = prepare(self.used_detections)

    @property
    def used(self) -> list[int]:
        """Numbers of the views that are left."""
        return [i for i in range(len(self.detections)) if i not in self.reasons]

    @property
    def used_detections(self) -> list[BoardDetection]:
        """The views that are left, misread corners left out."""
        return [self.detections[i] for i in self.used]

    def _leave_out_misfits(self, image_size: tuple[int, int], models: Sequence[tuple[LensModel, int]]) -> None:
        misfits: dict[int, str] = {}
        self._check_count()
        views = prepare(self.detections)
        fit = _plainest_fit([views[i] for i in self.used], image_size, models)
        for _ in range(_ROUNDS):
            far = lens_views.far_off(fit, self.used)
            if not far:
                break
            misfits |= far
            self.rms |= {i: float(fit.view_rms[self.used.index(i)]) for i in far}
            self.reasons |= far
            self._check_count()
            fit = _plainest_fit([views[i] for i in self.used], image_size, models)
        for i in sorted(misfits):
            mended = lens_views.without_misread(views[i], self.detections[i], fit)
            if mended is not None:
                self.dropped[i] = len(self.detections[i].points_board) - len(mended.points_board)
                self.detections[i] = mended
                del self.reasons[i]

    def _check_count(self) -> None:
        used = len(self.used)
        if used < _FEWEST_VIEWS:
            why = "; ".join(sorted({f"{self.names[i]}: {reason}" for i, reason in self.reasons.items()})[:4])
            raise CalibrationError(
                f"Only {used} of {len(self.detections)} views can be used; a lens calibration needs at least "
                f"{_FEWEST_VIEWS}{f' ({why})' if why else ''}.",
                "Take 15 or more, with the board tilted, in all parts of the picture.",
                used=used,
            )


def _plainest_fit(
    views: Sequence[View], image_size: tuple[int, int], models: Sequence[tuple[LensModel, int]]
) -> LensFit:
    """Return the fit that suits most views of those with the fewest unknowns: enough to tell which views miss it."""
    fits: list[LensFit] = []
    failure: CalibrationError | None = None
    for model, coefficients in models:
        if coefficients == 8 and len(models) > 1:
            continue
        try:
            fits.append(fit_lens(views, image_size, model, coefficients))
        except CalibrationError as error:
            failure = failure or error
    if failure is not None and not fits:
        raise failure
    return min(fits, key=lambda fit: float(np.median(fit.view_rms)))


def _result(chosen: _Selection, image_size: tuple[int, int], choice: BendChoice) -> IntrinsicsResult:
    fit, used = choice.trial.fit, chosen.used
    alone, inflation = honest_covariance(fit)
    shared = choice.doubted(alone)
    p = len(fit.parameters)
    intrinsics = replace(fit.intrinsics, covariance=shared[:p, :p])
    _check_focal(intrinsics, len(used))
    map_ = lens_views.coverage_map(chosen.used_detections, image_size)
    coverage = float((map_ > 0).mean())
    tilts = dict(zip(used, lens_views.tilts(chosen.views, fit).tolist(), strict=True))
    rms = dict(zip(used, fit.view_rms.tolist(), strict=True))
    advice = advise(chosen.views, fit, alone, inflation, doubt=shared - alone, count=_ADVISED)
    return IntrinsicsResult(
        intrinsics=intrinsics,
        rms=float(np.sqrt(np.average(fit.view_rms**2, weights=fit.counts))),
        held_out_rms=choice.trial.held_out_rms,
        inflation=inflation,
        picture_sigma=picture_sigma(fit, shared),
        candidates=choice.candidates,
        board_bend=fit.bend if len(fit.bend) else np.zeros(3),
        coverage=coverage,
        coverage_map=map_,
        views=tuple(
            LensView(
                name=name,
                used=i in rms,
                reason=chosen.reasons.get(i, ""),
                rms=float(rms.get(i, chosen.rms.get(i, np.nan))),
                tilt_deg=float(np.rad2deg(tilts.get(i, np.nan))),
                dropped=chosen.dropped.get(i, 0),
                edge_px=chosen.edges_px[i],
            )
            for i, name in enumerate(chosen.names)
        ),
        detections=tuple(chosen.used_detections),
        residuals=lens_views.residuals(chosen.views, fit),
        next_views=tuple(advice),
        warnings=(
            *_left_out(chosen),
            *_weak_points(chosen, map_, np.array(list(tilts.values()))),
            *_about_bend(chosen, choice, alone),
        ),
    )


def _check_focal(intrinsics: CameraIntrinsics, used: int) -> None:
    covariance = intrinsics.covariance
    variance = np.inf if covariance is None else max(covariance[0, 0], covariance[1, 1])
    relative = float(np.sqrt(variance)) / float(intrinsics.K[0, 0])
    if not relative < _LARGEST_FOCAL_SIGMA:
        raise CalibrationError(
            f"These {used} views leave the focal length uncertain by {relative:.0%}.",
            "Add views with the board tilted by 20 to 45 degrees in several directions.",
            relative_sigma=relative,
        )


def _left_out(chosen: _Selection) -> list[str]:
    said = [f"View {chosen.names[i]} was left out: {reason}." for i, reason in sorted(chosen.reasons.items())]
    return said + [
        f"{count} misread {'corner' if count == 1 else 'corners'} of view {chosen.names[i]} "
        f"{'was' if count == 1 else 'were'} left out."
        for i, count in sorted(chosen.dropped.items())
    ]


def _weak_points(chosen: _Selection, coverage_map: Floats, tilts: Floats) -> list[str]:
    said: list[str] = []
    if len(chosen.used) < _GOOD_VIEWS:
        said.append(f"Only {len(chosen.used)} views: 15 or more give a surer lens.")
    coverage = float((coverage_map > 0).mean())
    if coverage < _GOOD_COVERAGE:
        empty = _empty_regions(coverage_map)
        where = f" Nothing was shown at the {', '.join(empty)}." if empty else ""
        said.append(f"Corners cover {coverage:.0%} of the picture: distortion beyond is extrapolated.{where}")
    if (tilts > _GOOD_TILT).sum() < _GOOD_TILTED:
        said.append(
            f"Only {(tilts > _GOOD_TILT).sum()} views are tilted by more than {np.rad2deg(_GOOD_TILT):.0f} degrees: "
            "the focal length comes from tilted views."
        )
    return said


def _about_bend(chosen: _Selection, choice: BendChoice, covariance: Floats) -> list[str]:
    """Return what there is to say about the board's bend; the covariance is the one without doubt about it."""
    fit = choice.trial.fit
    shift = float(choice.shift[int(np.argmax(np.abs(choice.shift[:2])))])
    matters = bool((np.abs(choice.shift[:2]) > np.sqrt(np.diag(covariance)[:2])).any())
    if len(fit.bend):
        half = 0.5 * max(np.ptp(np.concatenate([view.points for view in chosen.views]), axis=0))
        largest = float(np.abs(fit.bend).max())
        if not matters and largest <= _BENT * half:
            return []
        moved = f", and moves the focal length by {-shift:+.1f} px" if matters else ""
        return [
            f"The board is bent by {1e3 * largest:.1f} mm, which is taken into account{moved}: "
            "glue it to something flat."
        ]
    if choice.other is None or not matters:
        return []
    return [
        f"The board may be bent by {1e3 * float(np.abs(choice.other.bend).max()):.2f} mm, which would move the focal "
        f"length by {shift:+.1f} px; it is taken as flat, and that counts in the uncertainty. Glue the board to "
        "something flat, or add tilted views."
    ]


def _empty_regions(coverage_map: Floats) -> list[str]:
    """Return the ninths of the picture without corners."""
    rows, columns = coverage_map.shape
    return [
        region_name(i, j)
        for i in range(3)
        for j in range(3)
        if not coverage_map[
            round(i * rows / 3) : round((i + 1) * rows / 3), round(j * columns / 3) : round((j + 1) * columns / 3)
        ].any()
    ]
